// SPDX-License-Identifier: EUPL-1.2
//! What is kept, for how long, and what goes.

use kop_core::{ContentHash, LaneHealth, Receipt, SubmissionId, sendung::Level};

use super::fixture::Fixture;
use crate::{
    api::Store,
    error::StoreError,
    retention::{Deletion, Demand, Phase, RetentionQuery},
    steps::{AttemptEnd, RetryTarget, event},
};

pub(super) async fn blobs_that_a_row_names_are_told_from_others(store: &dyn Store) {
    let fixture = Fixture::default();
    fixture.delivered_to(store, "nord", "A", &["bauaufsicht"], Fixture::at(0)).await;
    let hash = |content: &str| Fixture::blob(content).sha256;
    let all = ["A", "antrag.xml", "lageplan.pdf", "verworfen"].map(hash);
    let unnamed = store.unnamed_blobs(&Fixture::tenant("nord"), all.into()).await.unwrap();
    assert_eq!(unnamed, [hash("verworfen")], "payload, main document and parts are named");
    let elsewhere = store.unnamed_blobs(&Fixture::tenant("sued"), all.into()).await.unwrap();
    assert_eq!(elsewhere.len(), all.len(), "another tenant's rows name nothing of this one");
    let nothing = store.unnamed_blobs(&Fixture::tenant("nord"), [].into()).await.unwrap();
    assert_eq!(nothing, [] as [ContentHash; 0]);
}

fn deletion(submission_id: SubmissionId, phase: Phase, demands: &[Demand]) -> Deletion {
    Deletion { tenant: Fixture::tenant("nord"), submission_id, phase, demands: demands.to_vec(), days: 90 }
}

fn query(phase: Phase, before: i64) -> RetentionQuery {
    RetentionQuery {
        tenant: Fixture::tenant("nord"),
        phase,
        received_before: Fixture::at(before),
        after: None,
        limit: 10,
    }
}

pub(super) async fn contents_go_before_metadata_and_nothing_open_goes(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let accepted = fixture.delivered_to(store, "nord", "A", &["dms"], Fixture::at(0)).await;
    let id = accepted.submission_id;
    let younger = fixture.delivered_to(store, "nord", "B", &["amt"], Fixture::at(100)).await;
    let demands = [Demand { receiver: "dms".to_owned(), level: Level::Empfangen }];

    assert_eq!(store.retention_candidates(query(Phase::Inhalte, 0)).await.unwrap(), []);
    let found = store.retention_candidates(query(Phase::Inhalte, 1)).await.unwrap();
    assert_eq!((found.len(), found[0].summary.submission_id), (1, id));
    assert_eq!((found[0].routes.as_slice(), found[0].deliveries.len()), (&["Bauantrag".to_owned()][..], 1));
    let after = RetentionQuery { after: Some(found[0].cursor()), ..query(Phase::Inhalte, 1000) };
    let page = store.retention_candidates(after).await.unwrap();
    assert_eq!(page.len(), 1, "pages go on where the last ended");
    assert_eq!(page[0].summary.submission_id, younger.submission_id);

    let waiting = store.delete(deletion(id, Phase::Inhalte, &demands), Fixture::at(200)).await;
    assert!(matches!(waiting, Err(StoreError::NotPossible(_))), "the delivery waits: {waiting:?}");
    let claim = crate::steps::DeliveryClaim {
        only: Some((tenant.clone(), found_delivery(store, id).await)),
        ..Fixture::claim_deliveries(1, 1)
    };
    let claimed = store.claim_deliveries(claim, Fixture::at(201)).await.unwrap().remove(0);
    let started = store.start_attempt(&claimed.lease, fixture.attempt(), Fixture::at(201)).await.unwrap();
    let receipt = Receipt { level: Level::Empfangen, reference: Some("R-1".to_owned()) };
    store
        .finish_attempt(
            started.lease,
            AttemptEnd::Delivered(receipt),
            LaneHealth::Unknown,
            vec![],
            Fixture::at(202),
        )
        .await
        .unwrap();
    let more = [Demand { level: Level::Angenommen, ..demands[0].clone() }];
    let missing = store.delete(deletion(id, Phase::Inhalte, &more), Fixture::at(203)).await;
    assert!(matches!(missing, Err(StoreError::NotPossible(_))), "the receipt says less: {missing:?}");
    let early = store.delete(deletion(id, Phase::Metadaten, &demands), Fixture::at(203)).await;
    assert!(matches!(early, Err(StoreError::NotPossible(_))), "contents first: {early:?}");

    let before = store.submission(&tenant, id).await.unwrap();
    let orphans = store.delete(deletion(id, Phase::Inhalte, &demands), Fixture::at(204)).await.unwrap();
    let hash = |content: &str| Fixture::blob(content).sha256;
    assert_eq!(orphans, ["A", "antrag.xml", "lageplan.pdf"].map(hash).into());
    let unnamed = store.unnamed_blobs(&tenant, orphans).await.unwrap();
    assert_eq!(unnamed, [hash("A")], "the other submission names the same parts still");
    let detail = store.submission(&tenant, id).await.unwrap();
    assert_eq!(detail.submission.summary.content_deleted_at, Some(Fixture::at(204)));
    assert_eq!((detail.submission.document.len(), detail.submission.payload.len()), (0, 0));
    assert_eq!((detail.messages[0].main.name.as_str(), detail.messages[0].parts.len()), ("", 0));
    assert_eq!(detail.messages[0].content_hash, before.messages[0].content_hash);
    assert_eq!(detail.deliveries[0].receipt, before.deliveries[0].receipt, "the proof stays");
    assert_eq!(detail.events.last().unwrap().kind, event::INHALTE_GELOESCHT);
    let twice = store.delete(deletion(id, Phase::Inhalte, &demands), Fixture::at(205)).await;
    assert!(matches!(twice, Err(StoreError::NotPossible(_))));
    let delivery = RetryTarget::Delivery(detail.deliveries[0].delivery_id);
    let retried = store.retry(&tenant, delivery, "amt", Fixture::at(205)).await;
    assert!(matches!(retried, Err(StoreError::NotPossible(_))));

    let again = store.accept(fixture.submission("nord", "A", "A"), Fixture::at(206)).await.unwrap();
    assert!(again.repeated && again.vorgangsnummer == accepted.vorgangsnummer, "a repeat is still known");

    assert_eq!(store.retention_candidates(query(Phase::Metadaten, 1)).await.unwrap().len(), 1);
    store.delete(deletion(id, Phase::Metadaten, &demands), Fixture::at(300)).await.unwrap();
    assert_eq!(store.submission(&tenant, id).await.unwrap_err(), StoreError::NotFound);
    assert_eq!(store.retention_candidates(query(Phase::Metadaten, 1000)).await.unwrap(), []);
    let log = store.deletions(&tenant, 10).await.unwrap();
    let told: Vec<_> = log.iter().map(|line| (line.submission_id, line.phase, line.at)).collect();
    assert_eq!(told, [(id, Phase::Metadaten, Fixture::at(300)), (id, Phase::Inhalte, Fixture::at(204))]);
    let anew = store.accept(fixture.submission("nord", "A", "A"), Fixture::at(301)).await.unwrap();
    assert!(!anew.repeated, "nothing is known of it any more");
    assert_eq!(anew.vorgangsnummer, "MUS-2026-000003", "no number is given twice");
    store.release_space(u64::MAX).await.unwrap();
}

async fn found_delivery(store: &dyn Store, id: SubmissionId) -> kop_core::DeliveryId {
    store.submission(&Fixture::tenant("nord"), id).await.unwrap().deliveries[0].delivery_id
}
