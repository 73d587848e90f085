// SPDX-License-Identifier: EUPL-1.2
//! What a person sees and does about causes, messages and wrong values.

use kop_core::{ContentHash, LaneHealth, MessageId, Receipt, sendung::Level};

use super::fixture::Fixture;
use crate::{
    api::Store,
    error::StoreError,
    records::{DeliveryState, MessageState, Origin, SubmissionState},
    steps::{
        AttemptEnd, NewCorrection, NewCorrections, NewWorkItem, Processed, Replacement, RetryTarget, event,
    },
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
    store
        .finish_attempt(started.lease, rejected, LaneHealth::Unknown, Vec::new(), Fixture::at(6))
        .await
        .unwrap();
    let tenant = Fixture::tenant("sued");
    let groups = store.work_item_groups(Some(&tenant), 10).await.unwrap();
    let of = &groups[0].origins[0].origin;
    assert_eq!((of.receiver.as_str(), of.mapping_hash), ("dms", claimed.message.mapping_hash));
    let target = RetryTarget::Delivery(claimed.lease.delivery_id);
    store.retry(&tenant, target, "m.muster", Fixture::at(7)).await.unwrap();
    assert!(store.work_item_groups(Some(&tenant), 10).await.unwrap().is_empty());
}

pub(super) async fn a_message_is_made_instead_of_another(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let instead = |earlier: MessageId, despite: bool| Replacement {
        earlier,
        message: fixture.message("bauaufsicht", fixture.first_attempt()),
        version: "aktuelle".to_owned(),
        who: "m.muster".to_owned(),
        reason: "Tabelle berichtigt".to_owned(),
        despite,
    };
    let not_possible = |result: Result<(), StoreError>, state: &str| {
        assert_eq!(result.unwrap_err(), StoreError::NotPossible(state.to_owned()));
    };
    let accepted = fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let (claimed, started) = fixture.start_one(store, Fixture::at(1)).await;
    let first = claimed.message.message_id;
    not_possible(store.replace(&tenant, instead(first, true), Fixture::at(1)).await, "laufend");
    let rejected = AttemptEnd::Rejected {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST-REJECTED"),
    };
    store
        .finish_attempt(started.lease, rejected, LaneHealth::Unknown, Vec::new(), Fixture::at(2))
        .await
        .unwrap();

    let second = instead(first, false);
    store.replace(&tenant, second.clone(), Fixture::at(3)).await.unwrap();
    not_possible(store.replace(&tenant, instead(first, true), Fixture::at(3)).await, "ersetzt");
    let old = RetryTarget::Delivery(claimed.lease.delivery_id);
    not_possible(store.retry(&tenant, old, "m.muster", Fixture::at(3)).await, "ersetzt");
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    let message = |id: MessageId| detail.messages.iter().find(|one| one.message_id == id).unwrap();
    assert_eq!((message(first).state, message(first).ersetzt), (MessageState::Ersetzt, None));
    let new = message(second.message.message_id);
    assert_eq!((new.state, new.ersetzt), (MessageState::Offen, Some(first)));
    assert_eq!(new.pinned.as_ref(), Some(&second.message.pinned));
    assert_ne!(new.nachrichten_uuid, message(first).nachrichten_uuid);
    assert!(detail.work_items.iter().all(|item| item.closed_at.is_some()));
    let line = detail.events.iter().find(|line| line.kind == event::ERSETZT).unwrap();
    assert_eq!((line.message_id, &line.params["grund"]), (Some(first), &"Tabelle berichtigt".into()));

    // Only the new one goes out. Where it may have arrived, a person has to say so twice.
    let (claimed, started) = fixture.start_one(store, Fixture::at(4)).await;
    assert_eq!(claimed.message.message_id, second.message.message_id);
    let unclear = AttemptEnd::Unclear { at: Fixture::at(100), problem: Fixture::problem("KOP-TEST") };
    store
        .finish_attempt(started.lease, unclear, LaneHealth::Unknown, Vec::new(), Fixture::at(5))
        .await
        .unwrap();
    not_possible(
        store.replace(&tenant, instead(claimed.message.message_id, false), Fixture::at(6)).await,
        "unklar",
    );
    let third = instead(claimed.message.message_id, true);
    store.replace(&tenant, third.clone(), Fixture::at(7)).await.unwrap();
    let (claimed, started) = fixture.start_one(store, Fixture::at(200)).await;
    assert_eq!(claimed.message.message_id, third.message.message_id);
    let receipt = AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: None });
    store
        .finish_attempt(started.lease, receipt, LaneHealth::Unknown, Vec::new(), Fixture::at(201))
        .await
        .unwrap();

    // What arrived stays so; another one beside it is sent only on the person's word.
    let arrived = third.message.message_id;
    not_possible(store.replace(&tenant, instead(arrived, false), Fixture::at(202)).await, "zugestellt");
    store.replace(&tenant, instead(arrived, true), Fixture::at(203)).await.unwrap();
    not_possible(store.replace(&tenant, instead(arrived, true), Fixture::at(204)).await, "ersetzt");
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    let states: Vec<_> = detail.deliveries.iter().map(|delivery| delivery.state).collect();
    let count = |state: DeliveryState| states.iter().filter(|one| **one == state).count();
    assert_eq!((count(DeliveryState::Ersetzt), count(DeliveryState::Zugestellt)), (2, 1), "{states:?}");
    assert_eq!(count(DeliveryState::Wartend), 1);
}

pub(super) async fn a_correction_lies_over_the_document(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let accepted = store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    let new = |seen: u32, after: &[&str]| NewCorrections {
        submission_id: accepted.submission_id,
        seen,
        corrections: after
            .iter()
            .map(|after| NewCorrection {
                path: "hund[1]/rufname".to_owned(),
                before: Some("Waldi".to_owned()),
                after: (*after).to_owned(),
            })
            .collect(),
        reason: "Anruf".to_owned(),
        who: "M. Muster".to_owned(),
        account: "mmuster".to_owned(),
    };
    let refused = |state: &str| Err(StoreError::NotPossible(state.to_owned()));
    assert_eq!(store.correct(&tenant, new(0, &["Bello"]), Fixture::at(1)).await, refused("eingegangen"));
    let claimed = store.claim_submissions(Fixture::claim(1), Fixture::at(1)).await.unwrap().remove(0);
    store.record_processed(claimed.lease, Fixture::processed(vec![]), Fixture::at(2)).await.unwrap();
    let before = store.submission(&tenant, accepted.submission_id).await.unwrap();

    store.correct(&tenant, new(0, &["Bello", "Rex"]), Fixture::at(3)).await.unwrap();
    assert_eq!(store.correct(&tenant, new(0, &["Hasso"]), Fixture::at(4)).await, refused("korrigiert"));
    store.correct(&tenant, new(2, &["Hasso"]), Fixture::at(5)).await.unwrap();
    let foreign = store.correct(&Fixture::tenant("sued"), new(3, &["Hasso"]), Fixture::at(6)).await;
    assert_eq!(foreign, Err(StoreError::NotFound));
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    assert_eq!(detail.submission.document, before.submission.document, "byte for byte");
    let kept: Vec<_> = detail.corrections.iter().map(|one| (one.seq, one.after.as_str(), one.at)).collect();
    let (three, five) = (Fixture::at(3), Fixture::at(5));
    assert_eq!(kept, [(1, "Bello", three), (2, "Rex", three), (3, "Hasso", five)]);
    assert_eq!(detail.corrections[0].before.as_deref(), Some("Waldi"));
    let line = detail.events.iter().find(|line| line.kind == event::KORRIGIERT).unwrap();
    assert!(!line.params.to_string().contains("Bello"), "the timeline holds no value");
}
