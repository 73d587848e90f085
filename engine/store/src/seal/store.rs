// SPDX-License-Identifier: EUPL-1.2
//! A store around a store: seals what may hold personal data on its way in and opens it on its way out. Sealed are the
//! document, and names and media types of payload and messages; blobs seal themselves. Everything that is searched,
//! sorted or counted stays as it is.
//!
//! What cannot be opened for lack of a key is never handed out in part. In lists of many tenants' work it is left out:
//! its lease runs out, and it is tried again.

use std::collections::BTreeSet;
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kop_core::{
    AttemptId, ContentHash, LaneHealth, MessageId, Part, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt,
};

use super::{
    keys::{Keyring, Keys},
    value,
};
use crate::{
    api::Store,
    error::StoreError,
    records::{
        CorrectionRecord, Counts, Cursor, Found, Gauges, LaneRecord, MessageRecord, PayloadPart,
        SubmissionDetail, SubmissionFilter, SubmissionPage, SubmissionRecord, WorkItemGroup, WorkItemRecord,
    },
    retention::{Deletion, DeletionRecord, Orphans, RetentionCandidate, RetentionQuery},
    steps::{
        Accepted, AccessEntry, AttemptEnd, ClaimedDelivery, ClaimedSubmission, DeliveryClaim, DeliveryLease,
        Interrupted, NewCorrections, NewEvent, NewMessage, NewSubmission, NewWorkItem, Overdue, Processed,
        Replacement, RetryTarget, Rewritten, RewrittenCorrection, StartedAttempt, SubmissionClaim,
        SubmissionLease,
    },
};

/// A store whose contents are sealed with their tenants' keys.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    keys: Arc<dyn Keys>,
}

/// One tenant's ring, or none.
type Ring = Option<Arc<Keyring>>;

impl SealedStore {
    /// Seals what goes into a store.
    pub fn new(inner: Arc<dyn Store>, keys: Arc<dyn Keys>) -> Self {
        Self { inner, keys }
    }

    /// Seals again what is stored under an older key, or not sealed at all, up to `limit` submissions from `after` on;
    /// how many were written anew, and where to go on.
    ///
    /// # Errors
    /// A key is missing; what was written until then stays.
    pub async fn reseal(
        &self,
        tenant: &TenantId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<(u64, Option<Cursor>), StoreError> {
        let Some(ring) = self.keys.ring(tenant)? else { return Ok((0, None)) };
        let filter =
            SubmissionFilter { tenant: Some(tenant.clone()), after, limit, ..SubmissionFilter::default() };
        let page = self.inner.submissions(filter).await?;
        let mut written = 0;
        for summary in page.items.iter().filter(|one| one.content_deleted_at.is_none()) {
            let detail = match self.inner.submission(tenant, summary.submission_id).await {
                Ok(detail) => detail,
                Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            if let Some(rewritten) = anew(&ring, &detail)? {
                match self.inner.rewrite(tenant, rewritten).await {
                    Ok(()) => written += 1,
                    // Deleted meanwhile.
                    Err(StoreError::NotFound | StoreError::NotPossible(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((written, page.next))
    }

    fn open_submission(&self, stored: SubmissionRecord) -> Result<SubmissionRecord, StoreError> {
        let (tenant, id) = (stored.summary.tenant.clone(), stored.summary.submission_id);
        let ring = Opening { tenant: &tenant, keys: &*self.keys };
        let document = ring.bytes(&document_place(id), stored.document)?;
        let payload = stored.payload.into_iter().enumerate().map(|(n, part)| ring.payload(id, n, part));
        Ok(SubmissionRecord { document, payload: payload.collect::<Result<_, _>>()?, ..stored })
    }

    fn open_message(&self, stored: MessageRecord) -> Result<MessageRecord, StoreError> {
        let (tenant, id) = (stored.tenant.clone(), stored.message_id);
        let ring = Opening { tenant: &tenant, keys: &*self.keys };
        let main = ring.part(id, 0, stored.main)?;
        let parts = stored.parts.into_iter().enumerate().map(|(n, part)| ring.part(id, n + 1, part));
        Ok(MessageRecord { main, parts: parts.collect::<Result<_, _>>()?, ..stored })
    }

    /// Leaves out what cannot be opened, and says so.
    fn those_that_open<T>(&self, all: Vec<T>, open: impl Fn(&Self, T) -> Result<T, StoreError>) -> Vec<T> {
        let opened = all.into_iter().map(|one| open(self, one));
        opened
            .filter_map(|one| {
                one.inspect_err(|error| tracing::error!(%error, "Stored data cannot be opened; put off."))
                    .ok()
            })
            .collect()
    }
}

fn document_place(id: SubmissionId) -> String {
    format!("dokument/{id}")
}

fn payload_place(id: SubmissionId, n: usize) -> String {
    format!("eingang/{id}/{n}")
}

fn value_place(id: SubmissionId, path: &str) -> String {
    format!("korrektur/{id}/{path}")
}

fn reason_place(id: SubmissionId) -> String {
    format!("grund/{id}")
}

fn part_place(id: MessageId, n: usize) -> String {
    format!("sendung/{id}/{n}")
}

/// Seals texts into one.
fn seal_texts<T: serde::Serialize>(ring: &Keyring, place: &str, texts: &T) -> Result<String, StoreError> {
    let plain = serde_json::to_vec(texts).map_err(|error| StoreError::Document(error.to_string()))?;
    Ok(value::to_text(&value::seal(ring, place, plain)?))
}

fn seal_payload(
    ring: &Ring,
    id: SubmissionId,
    n: usize,
    part: PayloadPart,
) -> Result<PayloadPart, StoreError> {
    let Some(ring) = ring else {
        return Ok(PayloadPart { key: value::escape(&part.key), ..part });
    };
    let names = (&part.key, &part.file_name, &part.content_type);
    let key = seal_texts(ring, &payload_place(id, n), &names)?;
    Ok(PayloadPart { key, file_name: None, content_type: None, blob: part.blob })
}

fn seal_part(ring: &Ring, id: MessageId, n: usize, part: Part) -> Result<Part, StoreError> {
    let Some(ring) = ring else { return Ok(Part { name: value::escape(&part.name), ..part }) };
    let name = seal_texts(ring, &part_place(id, n), &(&part.name, &part.content_type))?;
    Ok(Part { name, content_type: String::new(), blob: part.blob })
}

fn seal_message(ring: &Ring, message: &mut NewMessage) -> Result<(), StoreError> {
    let id = message.message_id;
    message.main = seal_part(ring, id, 0, message.main.clone())?;
    let parts = std::mem::take(&mut message.parts).into_iter().enumerate();
    message.parts = parts.map(|(n, part)| seal_part(ring, id, n + 1, part)).collect::<Result<_, _>>()?;
    Ok(())
}

fn seal_text(ring: &Ring, place: &str, text: &str) -> Result<String, StoreError> {
    match ring {
        Some(ring) => seal_texts(ring, place, &text),
        None => Ok(value::escape(text)),
    }
}

/// Opens what belongs to one tenant.
struct Opening<'a> {
    tenant: &'a TenantId,
    keys: &'a dyn Keys,
}

impl Opening<'_> {
    fn bytes(&self, place: &str, stored: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if !value::is_sealed(&stored) {
            return Ok(stored);
        }
        match self.keys.ring(self.tenant)? {
            Some(ring) => value::open(&ring, place, &stored),
            None => Err(Keyring::missing(self.tenant, value::slot(&stored)?)),
        }
    }

    /// Texts that were sealed into one; `None` when they were not.
    fn texts<T: serde::de::DeserializeOwned>(
        &self,
        place: &str,
        stored: &str,
    ) -> Result<Option<T>, StoreError> {
        let Some(sealed) = value::from_text(stored) else { return Ok(None) };
        let plain = self.bytes(place, sealed?)?;
        serde_json::from_slice(&plain).map(Some).map_err(|_| super::keys::crypto_damaged())
    }

    fn text(&self, place: &str, stored: &str) -> Result<String, StoreError> {
        Ok(self.texts(place, stored)?.unwrap_or_else(|| value::unescape(stored).to_owned()))
    }

    fn correction(&self, id: SubmissionId, stored: CorrectionRecord) -> Result<CorrectionRecord, StoreError> {
        let place = value_place(id, &stored.path);
        let before = stored.before.as_deref().map(|text| self.text(&place, text)).transpose()?;
        let (after, reason) =
            (self.text(&place, &stored.after)?, self.text(&reason_place(id), &stored.reason)?);
        Ok(CorrectionRecord { before, after, reason, ..stored })
    }

    fn payload(&self, id: SubmissionId, n: usize, stored: PayloadPart) -> Result<PayloadPart, StoreError> {
        Ok(match self.texts(&payload_place(id, n), &stored.key)? {
            Some((key, file_name, content_type)) => {
                PayloadPart { key, file_name, content_type, blob: stored.blob }
            }
            None => PayloadPart { key: value::unescape(&stored.key).to_owned(), ..stored },
        })
    }

    fn part(&self, id: MessageId, n: usize, stored: Part) -> Result<Part, StoreError> {
        Ok(match self.texts(&part_place(id, n), &stored.name)? {
            Some((name, content_type)) => Part { name, content_type, blob: stored.blob },
            None => Part { name: value::unescape(&stored.name).to_owned(), ..stored },
        })
    }
}

/// Brings values under the ring's first key, and remembers whether one was not.
struct Renewing<'a> {
    ring: &'a Arc<Keyring>,
    changed: bool,
}

impl Renewing<'_> {
    /// A sealed text under the first key; `None` when it is not sealed, and so has to be.
    fn sealed(&mut self, text: &str) -> Result<Option<String>, StoreError> {
        let Some(sealed) = value::from_text(text) else {
            self.changed = true;
            return Ok(None);
        };
        let fresh = value::rewrap(self.ring, &sealed?)?;
        self.changed |= fresh.is_some();
        Ok(Some(fresh.map_or_else(|| text.to_owned(), |fresh| value::to_text(&fresh))))
    }

    fn text(&mut self, place: &str, stored: &str) -> Result<String, StoreError> {
        match self.sealed(stored)? {
            Some(text) => Ok(text),
            None => seal_texts(self.ring, place, &value::unescape(stored)),
        }
    }
}

/// The contents of a submission under the ring's first key; `None` when they are already.
fn anew(ring: &Arc<Keyring>, detail: &SubmissionDetail) -> Result<Option<Rewritten>, StoreError> {
    let some_ring = Some(ring.clone());
    let mut renewing = Renewing { ring, changed: false };
    let id = detail.submission.summary.submission_id;
    let stored = &detail.submission.document;
    let fresh = if value::is_sealed(stored) {
        value::rewrap(ring, stored)?
    } else {
        Some(value::seal(ring, &document_place(id), stored.clone())?)
    };
    renewing.changed |= fresh.is_some();
    let document = fresh.unwrap_or_else(|| stored.clone());
    let mut payload = Vec::new();
    for (n, part) in detail.submission.payload.iter().enumerate() {
        payload.push(if let Some(key) = renewing.sealed(&part.key)? {
            PayloadPart { key, ..part.clone() }
        } else {
            let key = value::unescape(&part.key).to_owned();
            seal_payload(&some_ring, id, n, PayloadPart { key, ..part.clone() })?
        });
    }
    let mut messages = Vec::new();
    for message in &detail.messages {
        let mut parts = Vec::new();
        for (n, part) in std::iter::once(&message.main).chain(&message.parts).enumerate() {
            parts.push(if let Some(name) = renewing.sealed(&part.name)? {
                Part { name, ..part.clone() }
            } else {
                let name = value::unescape(&part.name).to_owned();
                seal_part(&some_ring, message.message_id, n, Part { name, ..part.clone() })?
            });
        }
        let main = parts.remove(0);
        messages.push((message.message_id, main, parts));
    }
    let mut corrections = Vec::new();
    for one in &detail.corrections {
        let place = value_place(id, &one.path);
        let before = one.before.as_deref().map(|text| renewing.text(&place, text)).transpose()?;
        let after = renewing.text(&place, &one.after)?;
        let reason = renewing.text(&reason_place(id), &one.reason)?;
        corrections.push(RewrittenCorrection { seq: one.seq, before, after, reason });
    }
    let rewritten = Rewritten { submission_id: id, document, payload, messages, corrections };
    Ok(renewing.changed.then_some(rewritten))
}

#[async_trait]
impl Store for SealedStore {
    async fn accept(&self, mut new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError> {
        let ring = self.keys.ring(&new.tenant)?;
        let id = new.submission_id;
        let payload = std::mem::take(&mut new.payload).into_iter().enumerate();
        new.payload = payload.map(|(n, part)| seal_payload(&ring, id, n, part)).collect::<Result<_, _>>()?;
        if let Some(settlement) = &mut new.settlement {
            settlement.ticket = seal_part(&ring, settlement.message_id, 0, settlement.ticket.clone())?;
        }
        if let Some(ring) = ring {
            let render = new.document;
            new.document = Box::new(move |assigned| {
                let plain = render(assigned)?;
                value::seal(&ring, &document_place(id), plain).map_err(|error| error.to_string())
            });
        }
        self.inner.accept(new, now).await
    }

    async fn claim_submissions(
        &self,
        claim: SubmissionClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedSubmission>, StoreError> {
        let claimed = self.inner.claim_submissions(claim, now).await?;
        Ok(self.those_that_open(claimed, |this, one| {
            Ok(ClaimedSubmission { submission: this.open_submission(one.submission)?, ..one })
        }))
    }

    async fn renew_submission(
        &self,
        lease: &SubmissionLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<SubmissionLease, StoreError> {
        self.inner.renew_submission(lease, lease_for, now).await
    }

    async fn record_processed(
        &self,
        lease: SubmissionLease,
        mut processed: Processed,
        now: Zeitpunkt,
    ) -> Result<Vec<StartedAttempt>, StoreError> {
        let ring = self.keys.ring(&lease.tenant)?;
        for message in &mut processed.messages {
            seal_message(&ring, message)?;
        }
        self.inner.record_processed(lease, processed, now).await
    }

    async fn defer(
        &self,
        lease: SubmissionLease,
        at: Zeitpunkt,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.inner.defer(lease, at, events, now).await
    }

    async fn claim_deliveries(
        &self,
        claim: DeliveryClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let claimed = self.inner.claim_deliveries(claim, now).await?;
        Ok(self.those_that_open(claimed, |this, one| {
            Ok(ClaimedDelivery { message: this.open_message(one.message)?, ..one })
        }))
    }

    async fn renew_delivery(
        &self,
        lease: &DeliveryLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<DeliveryLease, StoreError> {
        self.inner.renew_delivery(lease, lease_for, now).await
    }

    async fn start_attempt(
        &self,
        lease: &DeliveryLease,
        attempt_id: AttemptId,
        now: Zeitpunkt,
    ) -> Result<StartedAttempt, StoreError> {
        self.inner.start_attempt(lease, attempt_id, now).await
    }

    async fn finish_attempt(
        &self,
        lease: DeliveryLease,
        end: AttemptEnd,
        health: LaneHealth,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.inner.finish_attempt(lease, end, health, events, now).await
    }

    async fn recover(
        &self,
        lease_for: Duration,
        limit: u32,
        now: Zeitpunkt,
    ) -> Result<Vec<Interrupted>, StoreError> {
        let interrupted = self.inner.recover(lease_for, limit, now).await?;
        Ok(self.those_that_open(interrupted, |this, one| {
            let message = this.open_message(one.claimed.message)?;
            Ok(Interrupted { claimed: ClaimedDelivery { message, ..one.claimed }, ..one })
        }))
    }

    async fn next_due(&self, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError> {
        self.inner.next_due(now).await
    }

    async fn retry(
        &self,
        tenant: &TenantId,
        target: RetryTarget,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.inner.retry(tenant, target, who, now).await
    }

    async fn correct(
        &self,
        tenant: &TenantId,
        mut corrections: NewCorrections,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let ring = self.keys.ring(tenant)?;
        let id = corrections.submission_id;
        corrections.reason = seal_text(&ring, &reason_place(id), &corrections.reason)?;
        for one in &mut corrections.corrections {
            let before =
                one.before.as_deref().map(|text| seal_text(&ring, &value_place(id, &one.path), text));
            one.before = before.transpose()?;
            one.after = seal_text(&ring, &value_place(id, &one.path), &one.after)?;
        }
        self.inner.correct(tenant, corrections, now).await
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        mut replacement: Replacement,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        seal_message(&self.keys.ring(tenant)?, &mut replacement.message)?;
        self.inner.replace(tenant, replacement, now).await
    }

    async fn overdue(&self, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError> {
        self.inner.overdue(limit, now).await
    }

    async fn tell(&self, overdue: &Overdue, item: NewWorkItem, now: Zeitpunkt) -> Result<bool, StoreError> {
        self.inner.tell(overdue, item, now).await
    }

    async fn lanes(&self, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError> {
        self.inner.lanes(tenant).await
    }

    async fn close_work_item(
        &self,
        tenant: &TenantId,
        work_item: WorkItemId,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.inner.close_work_item(tenant, work_item, who, now).await
    }

    async fn log_access(&self, entry: AccessEntry, now: Zeitpunkt) -> Result<(), StoreError> {
        self.inner.log_access(entry, now).await
    }

    async fn submissions(&self, filter: SubmissionFilter) -> Result<SubmissionPage, StoreError> {
        self.inner.submissions(filter).await
    }

    async fn submission(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
    ) -> Result<SubmissionDetail, StoreError> {
        let detail = self.inner.submission(tenant, submission).await?;
        let messages = detail.messages.into_iter().map(|message| self.open_message(message));
        let opening = Opening { tenant, keys: &*self.keys };
        let corrections = detail.corrections.into_iter().map(|one| opening.correction(submission, one));
        Ok(SubmissionDetail {
            submission: self.open_submission(detail.submission)?,
            messages: messages.collect::<Result<_, _>>()?,
            corrections: corrections.collect::<Result<_, _>>()?,
            ..detail
        })
    }

    async fn work_item_groups(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<WorkItemGroup>, StoreError> {
        self.inner.work_item_groups(tenant, limit).await
    }

    async fn open_work_items(
        &self,
        tenant: Option<&TenantId>,
        fingerprint: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WorkItemRecord>, StoreError> {
        self.inner.open_work_items(tenant, fingerprint, limit).await
    }

    async fn resolve(&self, tenant: Option<&TenantId>, text: &str) -> Result<Vec<Found>, StoreError> {
        self.inner.resolve(tenant, text).await
    }

    async fn unnamed_blobs(
        &self,
        tenant: &TenantId,
        candidates: BTreeSet<ContentHash>,
    ) -> Result<Vec<ContentHash>, StoreError> {
        self.inner.unnamed_blobs(tenant, candidates).await
    }

    async fn retention_candidates(
        &self,
        query: RetentionQuery,
    ) -> Result<Vec<RetentionCandidate>, StoreError> {
        self.inner.retention_candidates(query).await
    }

    async fn delete(&self, deletion: Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError> {
        self.inner.delete(deletion, now).await
    }

    async fn deletions(&self, tenant: &TenantId, limit: u32) -> Result<Vec<DeletionRecord>, StoreError> {
        self.inner.deletions(tenant, limit).await
    }

    async fn release_space(&self, bytes: u64) -> Result<u64, StoreError> {
        self.inner.release_space(bytes).await
    }

    async fn rewrite(&self, tenant: &TenantId, rewritten: Rewritten) -> Result<(), StoreError> {
        self.inner.rewrite(tenant, rewritten).await
    }

    async fn annotate(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
        line: NewEvent,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.inner.annotate(tenant, submission, line, now).await
    }

    async fn gauges(&self) -> Result<Gauges, StoreError> {
        self.inner.gauges().await
    }

    async fn backlog(&self, at_most: u64) -> Result<u64, StoreError> {
        self.inner.backlog(at_most).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        self.inner.writable().await
    }

    async fn counts(&self, tenant: Option<&TenantId>) -> Result<Counts, StoreError> {
        self.inner.counts(tenant).await
    }
}

#[cfg(test)]
mod tests;
