// SPDX-License-Identifier: EUPL-1.2
//! The life of a submission, and what may go wrong on the way.

use std::{collections::HashSet, time::Duration};

use kop_core::{LaneHealth, Receipt, Ticket, sendung::Level};

use super::fixture::{Fixture, LEASE};
use crate::{
    api::Store,
    error::StoreError,
    records::{AttemptKind, AttemptOutcome, DeliveryState, MessageState, SubmissionState},
    steps::{AttemptEnd, Processed, RetryTarget, event},
};

fn receipt() -> AttemptEnd {
    AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: Some("R-1".to_owned()) })
}

pub(super) async fn the_same_submission_gets_the_first_answer(store: &dyn Store) {
    let fixture = Fixture::default();
    let first = store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    assert_eq!(first.vorgangsnummer, "MUS-2026-000001");

    let mut again = fixture.submission("nord", "A", "x");
    again.document = Box::new(|_| panic!("a repeat is not rendered"));
    let again = store.accept(again, Fixture::at(60)).await.unwrap();
    assert!(again.repeated);
    assert_eq!((again.submission_id, again.vorgang_id), (first.submission_id, first.vorgang_id));
    assert_eq!((again.received_at, &again.vorgangsnummer), (first.received_at, &first.vorgangsnummer));

    let other = store.accept(fixture.submission("nord", "A", "y"), Fixture::at(61)).await.unwrap();
    assert!(other.conflict && !other.repeated, "a re-used key loses no application");
    assert_eq!(other.vorgangsnummer, "MUS-2026-000002");
    let detail = store.submission(&Fixture::tenant("nord"), other.submission_id).await.unwrap();
    assert_eq!(detail.work_items.len(), 1);
    let document = format!("MUS-2026-000002 {}", Fixture::at(61));
    assert_eq!(detail.submission.document, document.as_bytes());

    let elsewhere = store.accept(fixture.submission("sued", "A", "x"), Fixture::at(62)).await.unwrap();
    assert!(!elsewhere.repeated, "tenants do not see each other");
    assert_eq!(elsewhere.vorgangsnummer, "MUS-2026-000001");
    let foreign = store.submission(&Fixture::tenant("sued"), first.submission_id).await;
    assert_eq!(foreign.unwrap_err(), StoreError::NotFound);
}

pub(super) async fn a_submission_goes_all_the_way(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let accepted = store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    let claimed = store.claim_submissions(Fixture::claim(10), Fixture::at(1)).await.unwrap().remove(0);
    assert_eq!(claimed.submission.summary.submission_id, accepted.submission_id);
    assert!(store.claim_submissions(Fixture::claim(10), Fixture::at(1)).await.unwrap().is_empty());

    let (fast, full) = (
        fixture.message("bauaufsicht", fixture.first_attempt()),
        fixture.message("bauaufsicht", fixture.first_attempt()),
    );
    let sent = fast.clone();
    let started = store
        .record_processed(claimed.lease.clone(), Fixture::processed(vec![fast, full]), Fixture::at(2))
        .await
        .unwrap();
    assert_eq!(started.len(), 1, "the lane has one place");
    assert_eq!((started[0].lease.delivery_id, started[0].number), (sent.delivery.delivery_id, 1));
    let twice = store.record_processed(claimed.lease, Fixture::processed(vec![]), Fixture::at(3)).await;
    assert_eq!(twice.unwrap_err(), StoreError::StaleLease);

    let lease = started[0].lease.clone();
    store
        .finish_attempt(lease.clone(), receipt(), LaneHealth::Unknown, Vec::new(), Fixture::at(4))
        .await
        .unwrap();
    let again = store.finish_attempt(lease, receipt(), LaneHealth::Unknown, Vec::new(), Fixture::at(5)).await;
    assert_eq!(again.unwrap_err(), StoreError::StaleLease);

    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    assert_eq!(detail.submission.summary.state, SubmissionState::Verarbeitet);
    let message = detail.messages.iter().find(|m| m.message_id == sent.message_id).unwrap();
    assert_eq!(message.state, MessageState::Zugestellt);
    assert_eq!((&message.main, &message.parts), (&sent.main, &sent.parts));
    assert_eq!((message.mapping_hash, message.generation), (sent.mapping_hash, sent.generation));
    let delivery = detail.deliveries.iter().find(|d| d.message_id == sent.message_id).unwrap();
    assert_eq!(delivery.state, DeliveryState::Zugestellt);
    assert_eq!(delivery.receipt.as_ref().unwrap().reference.as_deref(), Some("R-1"));
    assert_eq!(detail.attempts[0].outcome, Some(AttemptOutcome::Zugestellt));
    assert_eq!(detail.attempts[0].level, Some(Level::Empfangen));
    let kinds: Vec<_> = detail.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            event::EINGEGANGEN,
            event::VERARBEITET,
            event::NACHRICHT,
            event::VERSUCH,
            event::NACHRICHT,
            event::ZUGESTELLT
        ]
    );
    let waiting = store.claim_deliveries(Fixture::claim_deliveries(10, 1), Fixture::at(6)).await.unwrap();
    assert_eq!(waiting.len(), 1, "the other one has its place now");
    assert_eq!(waiting[0].vorgangsnummer, accepted.vorgangsnummer);
}

pub(super) async fn a_stale_lease_records_nothing(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    let slow = store.claim_submissions(Fixture::claim(1), Fixture::at(0)).await.unwrap().remove(0);
    let renewed = store.renew_submission(&slow.lease, LEASE, Fixture::at(50)).await.unwrap();
    assert!(store.claim_submissions(Fixture::claim(1), Fixture::at(70)).await.unwrap().is_empty());
    let quick = store.claim_submissions(Fixture::claim(1), Fixture::at(111)).await.unwrap().remove(0);
    assert_eq!(quick.submission.summary.runs, 2);

    let message = fixture.message("bauaufsicht", None);
    let late =
        store.record_processed(renewed.clone(), Fixture::processed(vec![message]), Fixture::at(112)).await;
    assert_eq!(late.unwrap_err(), StoreError::StaleLease);
    let renew = store.renew_submission(&renewed, LEASE, Fixture::at(112)).await;
    assert_eq!(renew.unwrap_err(), StoreError::StaleLease);
    let detail = store.submission(&Fixture::tenant("nord"), accepted.submission_id).await.unwrap();
    assert!(detail.messages.is_empty() && detail.events.len() == 1, "nothing of a stale step is kept");

    store.defer(quick.lease, Fixture::at(500), Vec::new(), Fixture::at(113)).await.unwrap();
    assert_eq!(store.next_due(Fixture::at(113)).await.unwrap(), Some(Fixture::at(500)));
    assert!(store.claim_submissions(Fixture::claim(1), Fixture::at(499)).await.unwrap().is_empty());
    assert_eq!(store.claim_submissions(Fixture::claim(1), Fixture::at(500)).await.unwrap().len(), 1);
}

pub(super) async fn a_failed_attempt_waits_for_its_moment(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let (claimed, started) = fixture.start_one(store, Fixture::at(1)).await;
    assert_eq!(started.number, 1);
    let second = store.start_attempt(&claimed.lease, fixture.attempt(), Fixture::at(1)).await;
    assert!(matches!(second, Err(StoreError::NotPossible(_))), "one attempt at a time");
    let retry = AttemptEnd::Retry { at: Fixture::at(30), problem: Fixture::problem("KOP-TEST") };
    store
        .finish_attempt(started.lease, retry, LaneHealth::Unknown, Vec::new(), Fixture::at(2))
        .await
        .unwrap();

    assert_eq!(store.next_due(Fixture::at(2)).await.unwrap(), Some(Fixture::at(30)));
    let early = store.claim_deliveries(Fixture::claim_deliveries(1, 1), Fixture::at(29)).await.unwrap();
    assert!(early.is_empty());
    let (_, started) = fixture.start_one(store, Fixture::at(30)).await;
    assert_eq!(started.number, 2);
    let given_up = AttemptEnd::GivenUp {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST-GIVEN-UP"),
    };
    store
        .finish_attempt(started.lease, given_up, LaneHealth::Unknown, Vec::new(), Fixture::at(31))
        .await
        .unwrap();
    let detail = store.submission(&Fixture::tenant("nord"), accepted.submission_id).await.unwrap();
    assert_eq!(detail.deliveries[0].state, DeliveryState::Klaerung);
    assert_eq!(detail.work_items[0].delivery_id, Some(detail.deliveries[0].delivery_id));
    assert_eq!(detail.attempts[0].problem.as_ref().unwrap().code, "KOP-TEST");
    assert_eq!(store.next_due(Fixture::at(31)).await.unwrap(), None);
}

pub(super) async fn tenants_and_lanes_take_turns(store: &dyn Store) {
    let fixture = Fixture::default();
    for number in 0..20 {
        let key = number.to_string();
        store.accept(fixture.submission("gross", &key, &key), Fixture::at(number)).await.unwrap();
    }
    store.accept(fixture.submission("klein", "A", "x"), Fixture::at(30)).await.unwrap();
    let mut seen = HashSet::new();
    for _ in 0..2 {
        for claimed in store.claim_submissions(Fixture::claim(1), Fixture::at(40)).await.unwrap() {
            seen.insert(claimed.lease.tenant.to_string());
            let messages = vec![fixture.message("eins", None), fixture.message("zwei", None)];
            store
                .record_processed(claimed.lease, Fixture::processed(messages), Fixture::at(40))
                .await
                .unwrap();
        }
    }
    assert_eq!(seen.len(), 2, "the small tenant does not wait for the big one");

    for claimed in store.claim_submissions(Fixture::claim(50), Fixture::at(40)).await.unwrap() {
        let message = fixture.message("eins", None);
        store
            .record_processed(claimed.lease, Fixture::processed(vec![message]), Fixture::at(40))
            .await
            .unwrap();
    }
    let claimed = store.claim_deliveries(Fixture::claim_deliveries(4, 2), Fixture::at(41)).await.unwrap();
    let lanes: HashSet<_> =
        claimed.iter().map(|c| (c.lease.tenant.to_string(), c.delivery.lane.clone())).collect();
    assert_eq!(lanes.len(), 4, "each tenant's lanes take turns");
    let rest = store.claim_deliveries(Fixture::claim_deliveries(50, 2), Fixture::at(41)).await.unwrap();
    assert_eq!(rest.len(), 1, "only one lane has a second delivery, and it has one place left");
    let later = store.claim_deliveries(Fixture::claim_deliveries(50, 2), Fixture::at(200)).await.unwrap();
    assert_eq!(later.len(), 5, "leases that ran out without an attempt are given again");
}

pub(super) async fn an_attempt_without_end_is_recovered(store: &dyn Store) {
    let fixture = Fixture::default();
    fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let (_, started) = fixture.start_one(store, Fixture::at(1)).await;
    let renewed = store.renew_delivery(&started.lease, LEASE, Fixture::at(30)).await.unwrap();
    assert!(store.recover(LEASE, 10, Fixture::at(80)).await.unwrap().is_empty());

    let claimed = store.claim_deliveries(Fixture::claim_deliveries(10, 5), Fixture::at(100)).await.unwrap();
    assert!(claimed.is_empty(), "whether it arrived is not known, so it is not sent again");
    let interrupted = store.recover(LEASE, 10, Fixture::at(100)).await.unwrap().remove(0);
    assert_eq!(interrupted.attempt.attempt_id, started.attempt_id);
    assert_eq!((interrupted.attempt.ended_at, interrupted.attempt.number), (None, 1));
    assert!(store.recover(LEASE, 10, Fixture::at(101)).await.unwrap().is_empty());
    let late =
        store.finish_attempt(renewed, receipt(), LaneHealth::Unknown, Vec::new(), Fixture::at(102)).await;
    assert_eq!(late.unwrap_err(), StoreError::StaleLease);

    let unclear = AttemptEnd::Unclear { at: Fixture::at(103), problem: Fixture::problem("KOP-TEST") };
    store
        .finish_attempt(interrupted.claimed.lease, unclear, LaneHealth::Unknown, Vec::new(), Fixture::at(103))
        .await
        .unwrap();
    let (claimed, started) = fixture.start_one(store, Fixture::at(103)).await;
    assert_eq!(claimed.message, interrupted.claimed.message, "the same bytes go out");
    assert_eq!(started.number, 2);
    let detail = store.submission(&claimed.delivery.tenant, claimed.delivery.submission_id).await.unwrap();
    assert_eq!(detail.attempts[0].outcome, Some(AttemptOutcome::Unklar), "repeated, yet nobody knows");
    assert!(detail.work_items.is_empty(), "the receiver bears it, so no person is needed");
}

pub(super) async fn a_pending_delivery_is_asked_about(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let (_, started) = fixture.start_one(store, Fixture::at(1)).await;
    let ticket = Ticket { reference: "T-1".to_owned(), ask_after: Duration::from_secs(5) };
    let pending = AttemptEnd::Pending { ticket: ticket.clone(), until: Fixture::at(10) };
    store
        .finish_attempt(started.lease, pending, LaneHealth::Unknown, Vec::new(), Fixture::at(2))
        .await
        .unwrap();

    let (claimed, started) = fixture.start_one(store, Fixture::at(10)).await;
    assert_eq!(claimed.delivery.ticket.as_ref(), Some(&ticket));
    assert_eq!(started.number, 1, "a question is no sending");
    let retry = AttemptEnd::Retry { at: Fixture::at(20), problem: Fixture::problem("KOP-TEST") };
    store
        .finish_attempt(started.lease, retry, LaneHealth::Unknown, Vec::new(), Fixture::at(11))
        .await
        .unwrap();

    let (claimed, started) = fixture.start_one(store, Fixture::at(20)).await;
    assert_eq!(claimed.delivery.ticket.as_ref(), Some(&ticket), "a failed question is asked again");
    store
        .finish_attempt(started.lease, receipt(), LaneHealth::Unknown, Vec::new(), Fixture::at(21))
        .await
        .unwrap();
    let detail = store.submission(&Fixture::tenant("nord"), accepted.submission_id).await.unwrap();
    let kinds: Vec<_> = detail.attempts.iter().map(|attempt| attempt.kind).collect();
    assert_eq!(kinds, [AttemptKind::Senden, AttemptKind::Nachfragen, AttemptKind::Nachfragen]);
    assert_eq!(detail.deliveries[0].state, DeliveryState::Zugestellt);
    assert_eq!((detail.deliveries[0].attempts, &detail.deliveries[0].ticket), (1, &None));
}

pub(super) async fn a_person_has_a_refused_delivery_sent_again(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let accepted = fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let (claimed, started) = fixture.start_one(store, Fixture::at(1)).await;
    let target = RetryTarget::Delivery(claimed.lease.delivery_id);
    let running = store.retry(&tenant, target, "m.muster", Fixture::at(1)).await;
    assert!(matches!(running, Err(StoreError::NotPossible(_))), "what is under way is not started twice");
    let rejected = AttemptEnd::Rejected {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST-REJECTED"),
    };
    store
        .finish_attempt(started.lease, rejected, LaneHealth::Unknown, Vec::new(), Fixture::at(2))
        .await
        .unwrap();
    let groups = store.work_item_groups(Some(&tenant), 10).await.unwrap();
    assert_eq!((groups.len(), groups[0].count), (1, 1));

    store.retry(&tenant, target, "m.muster", Fixture::at(3)).await.unwrap();
    assert!(store.work_item_groups(Some(&tenant), 10).await.unwrap().is_empty());
    let (again, started) = fixture.start_one(store, Fixture::at(3)).await;
    assert_eq!(again.message.content_hash, claimed.message.content_hash);
    assert_eq!(started.number, 1, "a person's act begins a new round of attempts");
    store
        .finish_attempt(started.lease, receipt(), LaneHealth::Unknown, Vec::new(), Fixture::at(4))
        .await
        .unwrap();
    let done = store.retry(&tenant, target, "m.muster", Fixture::at(5)).await;
    assert!(matches!(done, Err(StoreError::NotPossible(_))), "what is delivered is not sent again");
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    let act = detail.events.iter().find(|line| line.kind == event::NEU_ANGESTOSSEN).unwrap();
    assert_eq!(act.params["von"], "m.muster");
}

pub(super) async fn a_person_has_a_submission_processed_again(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let mut new = fixture.submission("nord", "A", "x");
    new.remarks = vec![fixture.work_item("KOP-TEST-REMARK")];
    let accepted = store.accept(new, Fixture::at(0)).await.unwrap();
    let target = RetryTarget::Submission(accepted.submission_id);
    let waiting = store.retry(&tenant, target, "m.muster", Fixture::at(0)).await;
    assert!(matches!(waiting, Err(StoreError::NotPossible(_))));

    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(1)).await.unwrap().remove(0);
    let unclear = Processed {
        state: SubmissionState::Klaerung,
        work_items: vec![fixture.work_item("KOP-TEST-MAPPING")],
        ..Fixture::processed(vec![])
    };
    store.record_processed(claimed.lease, unclear, Fixture::at(2)).await.unwrap();
    assert!(store.claim_submissions(Fixture::claim(1), Fixture::at(3)).await.unwrap().is_empty());
    store.retry(&tenant, target, "m.muster", Fixture::at(4)).await.unwrap();
    let open = store.open_work_items(Some(&tenant), None, 10).await.unwrap();
    assert_eq!(open.len(), 1, "what was remarked at acceptance stays open");
    store.close_work_item(&tenant, open[0].work_item_id, "m.muster", Fixture::at(5)).await.unwrap();
    assert_eq!(store.counts(Some(&tenant)).await.unwrap().open_work_items, 0);
    let again = store.close_work_item(&tenant, open[0].work_item_id, "m.muster", Fixture::at(5)).await;
    assert_eq!(again.unwrap_err(), StoreError::NotFound);

    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(5)).await.unwrap().remove(0);
    assert_eq!(claimed.submission.summary.runs, 2, "not the first run");
    let unclear = Processed {
        state: SubmissionState::Klaerung,
        work_items: vec![fixture.work_item("KOP-TEST-MAPPING")],
        ..Fixture::processed(vec![])
    };
    store.record_processed(claimed.lease, unclear, Fixture::at(5)).await.unwrap();
    store.retry(&tenant, target, "m.muster", Fixture::at(5)).await.unwrap();
    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(5)).await.unwrap().remove(0);
    assert_eq!(claimed.submission.summary.runs, 2, "each act of a person begins a new round");
    let worked = Fixture::processed(vec![fixture.message("bauaufsicht", None)]);
    store.record_processed(claimed.lease, worked, Fixture::at(6)).await.unwrap();
    let twice = store.retry(&tenant, target, "m.muster", Fixture::at(7)).await;
    assert!(matches!(twice, Err(StoreError::NotPossible(_))));
}

/// Its answer was lost on the way, so the caller tells it again.
pub(super) async fn a_step_told_again_is_the_same_step(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = store.accept(fixture.submission("nord", "A", "A"), Fixture::at(0)).await.unwrap();
    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(1)).await.unwrap().remove(0);
    let messages = vec![fixture.message("amt", fixture.first_attempt()), fixture.message("dms", None)];
    let processed = Fixture::processed(messages);
    let record = async |second| {
        store.record_processed(claimed.lease.clone(), processed.clone(), Fixture::at(second)).await
    };
    let started = record(2).await.unwrap();
    assert_eq!(started.len(), 1);
    assert_eq!(record(3).await, Ok(started.clone()), "what was started is told again");
    let other = Fixture::processed(vec![fixture.message("amt", fixture.first_attempt())]);
    let stale = store.record_processed(claimed.lease.clone(), other, Fixture::at(3)).await;
    assert_eq!(stale, Err(StoreError::StaleLease), "nothing else is recorded by an old lease");

    let (dms, attempt) = (
        store.claim_deliveries(Fixture::claim_deliveries(9, 9), Fixture::at(4)).await.unwrap().remove(0),
        fixture.attempt(),
    );
    let first = store.start_attempt(&dms.lease, attempt, Fixture::at(4)).await.unwrap();
    assert_eq!(store.start_attempt(&dms.lease, attempt, Fixture::at(5)).await, Ok(first));
    let another = store.start_attempt(&dms.lease, fixture.attempt(), Fixture::at(5)).await;
    assert!(matches!(another, Err(StoreError::NotPossible(_))), "{another:?}");

    let recovered = store.recover(LEASE, 9, Fixture::at(1000)).await.unwrap();
    assert_eq!(recovered.len(), 2);
    assert_eq!(record(1001).await, Ok(Vec::new()), "others have taken it over");
    let detail = store.submission(&Fixture::tenant("nord"), accepted.submission_id).await.unwrap();
    assert_eq!((detail.messages.len(), detail.attempts.len()), (2, 2), "nothing is recorded twice");
}
