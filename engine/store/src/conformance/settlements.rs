// SPDX-License-Identifier: EUPL-1.2
//! Settling a source: stored with the submission, due when what it waits for has happened and never later than its
//! latest moment, and nothing of the application hangs on it.

use std::time::Duration;

use kop_core::{LaneHealth, MessageId, Receipt, SettleAt, SubmissionId, clock::Zeitpunkt, sendung::Level};

use super::fixture::Fixture;
use crate::{
    api::Store,
    error::StoreError,
    records::{DeliveryRecord, DeliveryState, SubmissionState},
    retention::{Deletion, Phase, RetentionQuery},
    settlement::Settlement,
    steps::{Accepted, AttemptEnd, Processed, Replacement, RetryTarget, event},
};

/// Accepts a submission that its source waits for.
async fn accepted(
    store: &dyn Store,
    fixture: &Fixture,
    key: &str,
    when: SettleAt,
    latest: Option<Zeitpunkt>,
    now: i64,
) -> Accepted {
    let new = crate::NewSubmission {
        settlement: Some(fixture.settlement(key, when, latest)),
        ..fixture.submission("nord", key, key)
    };
    store.accept(new, Fixture::at(now)).await.unwrap()
}

/// The submission's settlements, in the order in which they were made.
async fn settlements(store: &dyn Store, id: SubmissionId) -> Vec<DeliveryRecord> {
    let detail = store.submission(&Fixture::tenant("nord"), id).await.unwrap();
    let of = |message: MessageId| detail.deliveries.iter().find(|one| one.message_id == message).cloned();
    let all = detail.messages.iter().filter_map(|message| of(message.message_id));
    all.filter(|one| one.settles.is_some()).collect()
}

async fn one(store: &dyn Store, id: SubmissionId) -> DeliveryRecord {
    let mut all = settlements(store, id).await;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Delivers what is due at a moment; the lanes' names.
async fn due(store: &dyn Store, fixture: &Fixture, now: i64) -> Vec<String> {
    let now = Fixture::at(now);
    let claimed = store.claim_deliveries(Fixture::claim_deliveries(10, 10), now).await.unwrap();
    for one in &claimed {
        let started = store.start_attempt(&one.lease, fixture.attempt(), now).await.unwrap();
        let end = delivered(Level::Uebergeben);
        store.finish_attempt(started.lease, end, LaneHealth::Well, Vec::new(), now).await.unwrap();
    }
    claimed.into_iter().map(|one| one.delivery.lane).collect()
}

async fn process(store: &dyn Store, fixture: &Fixture, receivers: &[&str], now: i64) {
    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(now)).await.unwrap().remove(0);
    let messages = receivers.iter().map(|receiver| fixture.message(receiver, None)).collect();
    store.record_processed(claimed.lease, Fixture::processed(messages), Fixture::at(now)).await.unwrap();
}

/// Ends the attempt of the one delivery that is due.
async fn end(store: &dyn Store, fixture: &Fixture, end: AttemptEnd, now: i64) -> String {
    let (claimed, started) = fixture.start_one(store, Fixture::at(now)).await;
    store
        .finish_attempt(started.lease, end, LaneHealth::Unknown, Vec::new(), Fixture::at(now))
        .await
        .unwrap();
    claimed.delivery.lane
}

fn delivered(level: Level) -> AttemptEnd {
    AttemptEnd::Delivered(Receipt { level, reference: None })
}

pub(super) async fn a_source_is_told_when_its_moment_has_come(store: &dyn Store) {
    let fixture = Fixture::default();
    let lane = || vec!["quelle:formulare".to_owned()];

    let stored = accepted(store, &fixture, "A", SettleAt::Gespeichert, None, 0).await;
    let record = one(store, stored.submission_id).await;
    let at_once = Settlement { when: SettleAt::Gespeichert, waits: false };
    assert_eq!((record.settles, record.next_try_at), (Some(at_once), Some(Fixture::at(0))));
    assert_eq!(due(store, &fixture, 0).await, lane());
    process(store, &fixture, &[], 1).await;

    let checked = accepted(store, &fixture, "B", SettleAt::Geprueft, None, 10).await;
    let record = one(store, checked.submission_id).await;
    let waiting = Settlement { when: SettleAt::Geprueft, waits: true };
    assert_eq!((record.settles, record.next_try_at), (Some(waiting), None));
    assert_eq!(
        due(store, &fixture, 100).await,
        [] as [String; 0],
        "without a latest moment it waits for what it waits for"
    );
    process(store, &fixture, &[], 101).await;
    assert_eq!(due(store, &fixture, 101).await, lane());

    let handed = accepted(store, &fixture, "C", SettleAt::Zugestellt, None, 200).await;
    process(store, &fixture, &["amt", "dms"], 201).await;
    assert!(one(store, handed.submission_id).await.settles.unwrap().waits);
    let mut open = store.claim_deliveries(Fixture::claim_deliveries(10, 1), Fixture::at(202)).await.unwrap();
    assert_eq!(open.len(), 2);
    let last = open.remove(1);
    let first = store.start_attempt(&open[0].lease, fixture.attempt(), Fixture::at(202)).await.unwrap();
    let ticket = kop_core::Ticket { reference: "T".to_owned(), ask_after: Duration::from_secs(900) };
    let handed_over = AttemptEnd::Pending { ticket, until: Fixture::at(5000) };
    store.finish_attempt(first.lease, handed_over, LaneHealth::Well, vec![], Fixture::at(203)).await.unwrap();
    assert_eq!(due(store, &fixture, 203).await, [] as [String; 0], "one of two");
    let second = store.start_attempt(&last.lease, fixture.attempt(), Fixture::at(204)).await.unwrap();
    let end_of_it = delivered(Level::Uebergeben);
    store.finish_attempt(second.lease, end_of_it, LaneHealth::Well, vec![], Fixture::at(204)).await.unwrap();
    assert_eq!(due(store, &fixture, 204).await, lane(), "handed over, both of them, in the very step");
    let detail = store.submission(&Fixture::tenant("nord"), handed.submission_id).await.unwrap();
    let line = detail.events.iter().find(|line| line.kind == event::QUITTUNG_FAELLIG).unwrap();
    assert_eq!((line.at, &line.params["wenn"]), (Fixture::at(204), &"zugestellt".into()));

    let received = accepted(store, &fixture, "D", SettleAt::Quittiert, None, 300).await;
    process(store, &fixture, &["amt"], 301).await;
    assert_eq!(end(store, &fixture, delivered(Level::Transportiert), 302).await, "amt");
    assert!(one(store, received.submission_id).await.settles.unwrap().waits, "a receipt says more");
    accepted(store, &fixture, "E", SettleAt::Quittiert, None, 400).await;
    process(store, &fixture, &["amt"], 401).await;
    assert_eq!(end(store, &fixture, delivered(Level::Empfangen), 402).await, "amt");
    assert_eq!(due(store, &fixture, 402).await, lane());
}

pub(super) async fn a_source_never_waits_longer_than_its_latest_moment(store: &dyn Store) {
    let fixture = Fixture::default();
    let latest = Some(Fixture::at(1000));
    let id = accepted(store, &fixture, "A", SettleAt::Zugestellt, latest, 0).await.submission_id;
    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(1)).await.unwrap().remove(0);
    let unclear = Processed {
        state: SubmissionState::Klaerung,
        work_items: vec![fixture.work_item("KOP-TEST")],
        ..Fixture::processed(vec![])
    };
    store.record_processed(claimed.lease, unclear, Fixture::at(2)).await.unwrap();
    let counts = (store.backlog(10).await.unwrap(), store.gauges().await.unwrap().deliveries.len());
    assert_eq!(counts, (0, 0), "what waits for something to happen is nobody's backlog");
    assert_eq!(store.next_due(Fixture::at(3)).await.unwrap(), latest, "the machine wakes up for it");
    assert_eq!(due(store, &fixture, 999).await, [] as [String; 0]);
    assert!(store.overdue(10, Fixture::at(1599)).await.unwrap().is_empty(), "counted from when it is due");
    let retry = AttemptEnd::Retry { at: Fixture::at(1010), problem: Fixture::problem("KOP-TEST") };
    assert_eq!(end(store, &fixture, retry, 1000).await, "quelle:formulare");
    let open = store.gauges().await.unwrap().deliveries;
    assert_eq!((open.len(), open[0].oldest), (1, Fixture::at(1000)), "its age counts from when it was due");
    let overdue = store.overdue(10, Fixture::at(1600)).await.unwrap();
    assert_eq!(overdue[0].since, Fixture::at(1000));
    end(store, &fixture, delivered(Level::Uebergeben), 1010).await;

    // The application is what it was, and what happens to it later settles nothing a second time.
    let tenant = Fixture::tenant("nord");
    let detail = store.submission(&tenant, id).await.unwrap();
    assert_eq!(detail.submission.summary.state, SubmissionState::Klaerung);
    assert!(detail.work_items.iter().all(|item| item.closed_at.is_none()));
    store.retry(&tenant, RetryTarget::Submission(id), "m.muster", Fixture::at(1011)).await.unwrap();
    process(store, &fixture, &["amt"], 1012).await;
    assert_eq!(end(store, &fixture, delivered(Level::Empfangen), 1013).await, "amt");
    assert_eq!(due(store, &fixture, 9000).await, [] as [String; 0]);
}

pub(super) async fn what_fails_to_settle_leaves_the_application_alone(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let id = accepted(store, &fixture, "A", SettleAt::Gespeichert, None, 0).await.submission_id;
    let retry = AttemptEnd::Retry { at: Fixture::at(50), problem: Fixture::problem("KOP-TEST") };
    end(store, &fixture, retry, 1).await;
    process(store, &fixture, &["amt"], 2).await;
    assert_eq!(end(store, &fixture, delivered(Level::Empfangen), 3).await, "amt");
    let given_up = AttemptEnd::GivenUp {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST-QUELLE"),
    };
    end(store, &fixture, given_up, 50).await;
    let detail = store.submission(&tenant, id).await.unwrap();
    assert_eq!(detail.submission.summary.state, SubmissionState::Verarbeitet);
    let item = &detail.work_items[0];
    assert!(item.closed_at.is_none() && item.origin.is_none(), "no mapping made it: {item:?}");
    let parked = one(store, id).await;
    assert_eq!((parked.state, item.delivery_id), (DeliveryState::Klaerung, Some(parked.delivery_id)));

    // It is no message that could be mapped again, but a person can have it tried again.
    let instead = Replacement {
        earlier: parked.message_id,
        message: fixture.message("quelle:formulare", None),
        version: "aktuelle".to_owned(),
        who: "m.muster".to_owned(),
        reason: "x".to_owned(),
        despite: true,
    };
    let refused = store.replace(&tenant, instead, Fixture::at(51)).await;
    assert_eq!(refused, Err(StoreError::NotPossible("quittung".to_owned())));
    store
        .retry(&tenant, RetryTarget::Delivery(parked.delivery_id), "m.muster", Fixture::at(60))
        .await
        .unwrap();

    // Whatever is open about it keeps the submission.
    let query = RetentionQuery {
        tenant: tenant.clone(),
        phase: Phase::Inhalte,
        received_before: Fixture::at(1),
        after: None,
        limit: 10,
    };
    let candidates = store.retention_candidates(query).await.unwrap();
    assert_eq!(candidates[0].routes, ["Bauantrag"], "a settlement belongs to no route");
    assert_eq!(candidates[0].deliveries.iter().filter(|one| one.settles).count(), 1);
    let deletion =
        |phase| Deletion { tenant: tenant.clone(), submission_id: id, phase, demands: Vec::new(), days: 1 };
    let kept = store.delete(deletion(Phase::Inhalte), Fixture::at(61)).await;
    assert!(matches!(kept, Err(StoreError::NotPossible(_))), "{kept:?}");
    end(store, &fixture, delivered(Level::Uebergeben), 62).await;
    let orphans = store.delete(deletion(Phase::Inhalte), Fixture::at(63)).await.unwrap();
    assert!(orphans.contains(&Fixture::blob("A").sha256), "the ticket's bytes go too");
    store.delete(deletion(Phase::Metadaten), Fixture::at(64)).await.unwrap();
}

pub(super) async fn a_source_that_brings_it_again_is_told_again(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let id = accepted(store, &fixture, "A", SettleAt::Zugestellt, None, 0).await.submission_id;
    // While it waits, and another time after a crash: the one settlement stays the one.
    for at in [1, 2] {
        let again = accepted(store, &fixture, "A", SettleAt::Zugestellt, None, at).await;
        assert!(again.repeated && again.submission_id == id);
    }
    assert_eq!(settlements(store, id).await.len(), 1);
    process(store, &fixture, &["amt"], 3).await;
    assert_eq!(end(store, &fixture, delivered(Level::Uebergeben), 4).await, "amt");
    end(store, &fixture, delivered(Level::Uebergeben), 5).await;

    // Put there once more after it was settled: settled once more, at once, and nothing is processed.
    let again = accepted(store, &fixture, "A", SettleAt::Zugestellt, None, 10).await;
    assert!(again.repeated);
    let all = settlements(store, id).await;
    assert_eq!((all.len(), all[0].state), (2, DeliveryState::Zugestellt));
    assert!(store.claim_submissions(Fixture::claim(1), Fixture::at(10)).await.unwrap().is_empty());
    assert_eq!(end(store, &fixture, delivered(Level::Uebergeben), 10).await, "quelle:formulare");

    // The same application under another name in the source: that one is settled too.
    let other = crate::NewSubmission {
        settlement: Some(fixture.settlement("anders", SettleAt::Gespeichert, None)),
        ..fixture.submission("nord", "A", "A")
    };
    assert!(store.accept(other, Fixture::at(20)).await.unwrap().repeated);
    assert_eq!(settlements(store, id).await.len(), 3);

    // A person lets go at once.
    let id = accepted(store, &fixture, "B", SettleAt::Quittiert, None, 30).await.submission_id;
    let waiting = one(store, id).await;
    let target = RetryTarget::Delivery(waiting.delivery_id);
    store.retry(&tenant, target, "m.muster", Fixture::at(31)).await.unwrap();
    let told = one(store, id).await;
    assert_eq!(told.settles.map(|one| one.waits), Some(false));
    assert_eq!(told.next_try_at, Some(Fixture::at(31)));
}
