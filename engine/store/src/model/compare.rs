// SPDX-License-Identifier: EUPL-1.2
//! Everything that is stored is as the reference has it: nothing lost, nothing more.

use std::collections::BTreeSet;

use super::{
    Subject,
    driver::{Driver, Wrong, hold},
    reference::{Del, Sub},
};
use crate::{
    error::StoreError,
    records::{DeliveryState, MessageState, SubmissionDetail},
};

impl<S: Subject> Driver<S> {
    pub(super) async fn compare(&self) -> Result<(), Wrong> {
        for (n, sub) in self.world.subs.iter().enumerate() {
            let got = self.subject.store().submission(&sub.tenant, sub.accepted.submission_id).await;
            if sub.gone {
                hold(matches!(got, Err(StoreError::NotFound)), "nothing is known of what was deleted")?;
                continue;
            }
            let detail = got.map_err(|error| format!("an accepted submission: {error:?}"))?;
            let summary = &detail.submission.summary;
            hold((summary.state, summary.runs) == (sub.state, sub.runs), "state and runs of the submission")?;
            hold(detail.corrections.len() == sub.corrections as usize, "corrections")?;
            contents(sub, &detail)?;
            let open: BTreeSet<_> = (detail.work_items.iter())
                .filter(|item| item.closed_at.is_none())
                .map(|item| item.work_item_id.to_string())
                .collect();
            let items = self.world.items.iter().filter(|item| item.sub == n);
            hold(open == items.map(|item| item.id.to_string()).collect(), "the open Klärungsfälle")?;
            let dels: Vec<_> = self.world.dels.iter().filter(|del| del.sub == n).collect();
            hold(detail.deliveries.len() == dels.len() && detail.messages.len() == dels.len(), "deliveries")?;
            dels.into_iter().try_for_each(|del| delivery(del, sub, &detail))?;
        }
        self.compare_lanes().await
    }
}

/// Contents are there until they are deleted, and nothing of them is left then.
fn contents(sub: &Sub, detail: &SubmissionDetail) -> Result<(), Wrong> {
    let record = &detail.submission;
    hold(record.summary.content_deleted_at.is_some() == sub.empty, "whether contents are there is told")?;
    let problems = detail.attempts.iter().any(|attempt| attempt.problem.is_some());
    let items = detail.work_items.iter().any(|item| !item.diagnostics.is_empty());
    let left = [!record.document.is_empty(), !record.payload.is_empty(), sub.empty && (problems || items)];
    hold(left == [!sub.empty, !sub.empty, false], "contents are there until they are deleted")
}

fn delivery(del: &Del, sub: &Sub, detail: &SubmissionDetail) -> Result<(), Wrong> {
    let found = detail.deliveries.iter().find(|one| one.delivery_id == del.id);
    let found = found.ok_or("a delivery is lost")?;
    let message = detail.messages.iter().find(|one| one.message_id == del.message);
    let message = message.ok_or("a message is lost")?;
    let is = (found.state, found.attempts, found.queued);
    let should = (del.state, del.attempts, del.queued);
    if is != should {
        return Err(format!("delivery in {} is {is:?}, but should be {should:?}", del.lane));
    }
    hold(found.receipt.is_some() == (del.state == DeliveryState::Zugestellt), "a receipt is proof")?;
    hold(message.content_hash == del.hash, "the bytes never change")?;
    hold(message.main.name.is_empty() == sub.empty, "a message's document goes with the contents")?;
    let follows = match del.state {
        DeliveryState::Wartend | DeliveryState::Laufend | DeliveryState::Nachverfolgt => MessageState::Offen,
        DeliveryState::Zugestellt => MessageState::Zugestellt,
        DeliveryState::Abgewiesen => MessageState::Abgewiesen,
        DeliveryState::Klaerung => MessageState::Klaerung,
        DeliveryState::Ersetzt => MessageState::Ersetzt,
    };
    hold(message.state == follows, "the message follows its delivery")?;
    let mut open = detail.attempts.iter().filter(|one| one.delivery_id == del.id && one.ended_at.is_none());
    hold(open.next().map(|one| one.attempt_id) == del.open, "the open attempt")?;
    hold(open.next().is_none(), "at most one open attempt")?;
    let needs = matches!(del.state, DeliveryState::Wartend | DeliveryState::Nachverfolgt);
    hold(!needs || found.next_try_at.is_some(), "what waits has its moment")
}
