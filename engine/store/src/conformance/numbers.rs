// SPDX-License-Identifier: EUPL-1.2
//! Numbers about what is open, lines that others add, and runs that do not count.

use super::fixture::Fixture;
use crate::{
    api::Store,
    error::StoreError,
    records::DeliveryState,
    steps::{AttemptEnd, NewEvent, Processed, event},
};

pub(super) async fn gauges_count_what_is_open(store: &dyn Store) {
    let fixture = Fixture::default();
    store.writable().await.unwrap();
    assert_eq!(store.gauges().await.unwrap(), crate::Gauges::default());
    fixture.delivered_to(store, "nord", "A", &["dms", "amt"], Fixture::at(1)).await;
    fixture.delivered_to(store, "nord", "B", &["dms"], Fixture::at(5)).await;
    fixture.delivered_to(store, "sued", "C", &["dms"], Fixture::at(7)).await;
    store.accept(fixture.submission("nord", "D", "x"), Fixture::at(8)).await.unwrap();
    let waiting = store.accept(fixture.submission("nord", "E", "x"), Fixture::at(9)).await.unwrap();

    // One is on its way, one is delivered and no longer counts.
    let mut claimed =
        store.claim_deliveries(Fixture::claim_deliveries(10, 1), Fixture::at(10)).await.unwrap();
    assert_eq!(claimed.len(), 3);
    claimed.sort_by_key(|one| (one.delivery.tenant.to_string(), one.delivery.lane.clone()));
    let done = store.start_attempt(&claimed[0].lease, fixture.attempt(), Fixture::at(10)).await.unwrap();
    let receipt = kop_core::Receipt { level: kop_core::sendung::Level::Empfangen, reference: None };
    store
        .finish_attempt(
            done.lease,
            AttemptEnd::Delivered(receipt),
            kop_core::LaneHealth::Well,
            Vec::new(),
            Fixture::at(11),
        )
        .await
        .unwrap();
    store.start_attempt(&claimed[1].lease, fixture.attempt(), Fixture::at(11)).await.unwrap();

    let gauges = store.gauges().await.unwrap();
    let submissions: Vec<_> =
        gauges.submissions.iter().map(|one| (one.tenant.as_str(), one.count, one.oldest)).collect();
    assert_eq!(submissions, [("nord", 2, Fixture::at(8))]);
    let mut deliveries: Vec<_> = gauges
        .deliveries
        .iter()
        .map(|one| (one.tenant.as_str(), one.lane.as_str(), one.state, one.count, one.oldest))
        .collect();
    deliveries.sort_by_key(|one| (one.0.to_owned(), one.2.as_str()));
    assert_eq!(
        deliveries,
        [
            ("nord", "dms", DeliveryState::Laufend, 1, Fixture::at(1)),
            ("nord", "dms", DeliveryState::Wartend, 1, Fixture::at(5)),
            ("sued", "dms", DeliveryState::Laufend, 1, Fixture::at(7)),
        ]
    );
    assert_eq!((store.backlog(100).await.unwrap(), store.backlog(2).await.unwrap()), (5, 2));

    let claim = crate::SubmissionClaim {
        only: Some((Fixture::tenant("nord"), waiting.submission_id)),
        ..Fixture::claim(1)
    };
    let claimed = store.claim_submissions(claim, Fixture::at(12)).await.unwrap().remove(0);
    let processed = Processed {
        state: crate::SubmissionState::Klaerung,
        work_items: vec![
            fixture.work_item("KOP-TEST-A"),
            fixture.work_item("KOP-TEST-A"),
            fixture.work_item("KOP-TEST-B"),
        ],
        ..Fixture::processed(Vec::new())
    };
    store.record_processed(claimed.lease, processed, Fixture::at(13)).await.unwrap();
    let gauges = store.gauges().await.unwrap();
    let causes: Vec<_> =
        gauges.work_items.iter().map(|one| (one.fingerprint.as_str(), one.count, one.oldest)).collect();
    assert_eq!(causes, [("KOP-TEST-A|||", 2, Fixture::at(13)), ("KOP-TEST-B|||", 1, Fixture::at(13))]);
    assert_eq!(gauges.open_work_items, 3);
}

pub(super) async fn a_run_that_is_given_back_does_not_count(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let accepted = store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    let line = |kind: &str| NewEvent {
        kind: kind.to_owned(),
        message_id: None,
        delivery_id: None,
        params: serde_json::json!({ "code": "KOP-TEST" }),
    };
    for round in 0..3 {
        let now = Fixture::at(10 * (round + 1));
        let claimed = store.claim_submissions(Fixture::claim(1), now).await.unwrap().remove(0);
        assert_eq!(claimed.submission.summary.runs, 1);
        let events = vec![line(event::VIRENPRUEFUNG)];
        store.defer(claimed.lease.clone(), Fixture::at(10 * (round + 2)), events, now).await.unwrap();
        let stale = store.defer(claimed.lease, now, Vec::new(), now).await;
        assert_eq!(stale.unwrap_err(), StoreError::StaleLease);
    }
    store.annotate(&tenant, accepted.submission_id, line(event::FREIGEGEBEN), Fixture::at(50)).await.unwrap();
    let elsewhere =
        store.annotate(&Fixture::tenant("sued"), accepted.submission_id, line("x"), Fixture::at(50)).await;
    assert_eq!(elsewhere.unwrap_err(), StoreError::NotFound);
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    let kinds: Vec<_> = detail.events.iter().map(|line| line.kind.as_str()).collect();
    let round = [event::ZURUECKGESTELLT, event::VIRENPRUEFUNG];
    assert_eq!(kinds[1..], [&round[..], &round, &round, &[event::FREIGEGEBEN]].concat());
}
