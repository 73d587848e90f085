// SPDX-License-Identifier: EUPL-1.2
//! What a person sees and does about causes, messages and wrong values.

use kop_core::ContentHash;

use super::fixture::Fixture;
use crate::{
    api::Store,
    records::{Origin, SubmissionState},
    steps::{AttemptEnd, NewWorkItem, Processed, RetryTarget},
};

pub(super) async fn causes_tell_where_they_come_from(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let origin = |version: &str| Origin {
        route: "Bauantrag".to_owned(),
        receiver: "bauaufsicht".to_owned(),
        mapping: "bauantrag-xbau".to_owned(),
        mapping_hash: ContentHash::of(version.as_bytes()),
        mapping_version: Some(version.to_owned()),
    };
    for (at, version) in [(1, "14"), (2, "14"), (3, "15")] {
        let accepted =
            store.accept(fixture.submission("nord", &at.to_string(), "x"), Fixture::at(at)).await.unwrap();
        let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(at)).await.unwrap().remove(0);
        assert_eq!(claimed.lease.submission_id, accepted.submission_id);
        let item = NewWorkItem { origin: Some(origin(version)), ..fixture.work_item("KOP-TEST-MAPPING") };
        let unclear = Processed {
            state: SubmissionState::Klaerung,
            work_items: vec![item, fixture.work_item("KOP-TEST-ROUTE")],
            ..Fixture::processed(vec![])
        };
        store.record_processed(claimed.lease, unclear, Fixture::at(at)).await.unwrap();
    }
    let groups = store.work_item_groups(Some(&tenant), 10).await.unwrap();
    let mapping = groups.iter().find(|group| group.fingerprint.starts_with("KOP-TEST-MAPPING")).unwrap();
    let told: Vec<_> =
        mapping.origins.iter().map(|one| (one.origin.clone(), one.count, one.oldest)).collect();
    assert_eq!(told, [(origin("14"), 2, Fixture::at(1)), (origin("15"), 1, Fixture::at(3))]);
    let route = groups.iter().find(|group| group.fingerprint.starts_with("KOP-TEST-ROUTE")).unwrap();
    assert_eq!((route.count, route.origins.len()), (3, 0));

    // What a delivery left takes its message's.
    fixture.delivered_to(store, "sued", "A", &["dms"], Fixture::at(4)).await;
    let (claimed, started) = fixture.start_one(store, Fixture::at(5)).await;
    let rejected = AttemptEnd::Rejected {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST-REJECTED"),
    };
    store.finish_attempt(started.lease, rejected, Vec::new(), Fixture::at(6)).await.unwrap();
    let tenant = Fixture::tenant("sued");
    let groups = store.work_item_groups(Some(&tenant), 10).await.unwrap();
    let of = &groups[0].origins[0].origin;
    assert_eq!((of.receiver.as_str(), of.mapping_hash), ("dms", claimed.message.mapping_hash));
    let target = RetryTarget::Delivery(claimed.lease.delivery_id);
    store.retry(&tenant, target, "m.muster", Fixture::at(7)).await.unwrap();
    assert!(store.work_item_groups(Some(&tenant), 10).await.unwrap().is_empty());
}
