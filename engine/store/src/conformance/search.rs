// SPDX-License-Identifier: EUPL-1.2
//! Finding things again.

use super::fixture::Fixture;
use crate::{
    api::Store,
    records::{FoundId, SubmissionFilter, SubmissionState},
    steps::{AccessEntry, event},
};

pub(super) async fn lists_filter_and_page(store: &dyn Store) {
    let fixture = Fixture::default();
    for number in 0..7 {
        // Some at the same moment: pages must neither skip nor repeat them.
        fixture.delivered_to(store, "nord", &format!("N-{number}"), &["dms"], Fixture::at(number / 3)).await;
    }
    fixture.delivered_to(store, "nord", "X", &["bauaufsicht", "bauaufsicht"], Fixture::at(5)).await;
    let mut hund = fixture.submission("sued", "S", "S");
    hund.form_id = Some("hundesteuer".to_owned());
    store.accept(hund, Fixture::at(9)).await.unwrap();

    let tenant = Some(Fixture::tenant("nord"));
    for (filter, expected) in [
        (SubmissionFilter::default(), 9),
        (SubmissionFilter { tenant: tenant.clone(), ..Default::default() }, 8),
        (SubmissionFilter { receiver: Some("dms".into()), tenant: tenant.clone(), ..Default::default() }, 7),
        (SubmissionFilter { receiver: Some("bauaufsicht".into()), ..Default::default() }, 1),
        (SubmissionFilter { form_id: Some("hundesteuer".into()), ..Default::default() }, 1),
        (SubmissionFilter { vendor_id: Some("N-3".into()), ..Default::default() }, 1),
        (SubmissionFilter { vendor_id: Some("N-3".into()), tenant: tenant.clone(), ..Default::default() }, 1),
        (
            SubmissionFilter {
                form_id: Some("bauantrag".into()),
                tenant: tenant.clone(),
                ..Default::default()
            },
            8,
        ),
        (SubmissionFilter { vorgangsnummer: Some("MUS-2026-000008".into()), ..Default::default() }, 1),
        (
            SubmissionFilter {
                vorgangsnummer: Some("MUS-2026-000002".into()),
                tenant: tenant.clone(),
                ..Default::default()
            },
            1,
        ),
        (SubmissionFilter { since: Some(Fixture::at(2)), ..Default::default() }, 3),
        (SubmissionFilter { state: Some(SubmissionState::Eingegangen), ..Default::default() }, 1),
        (SubmissionFilter { state: Some(SubmissionState::Klaerung), ..Default::default() }, 0),
    ] {
        let whole = store.submissions(SubmissionFilter { limit: 100, ..filter.clone() }).await.unwrap();
        assert_eq!(whole.items.len(), expected, "{filter:?}");
        assert!(whole.next.is_none());
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page =
                store.submissions(SubmissionFilter { limit: 2, after, ..filter.clone() }).await.unwrap();
            paged.extend(page.items);
            let Some(next) = page.next else { break };
            after = Some(next.to_string().parse().unwrap());
        }
        assert_eq!(paged, whole.items, "{filter:?}");
        assert!(paged.is_sorted_by_key(|item| std::cmp::Reverse(item.received_at)));
    }
    let counts = store.counts(None).await.unwrap();
    assert_eq!(counts.submissions["verarbeitet"], 8);
    assert_eq!(counts.deliveries["wartend"], 9);
    let tenant = Fixture::tenant("nord");
    let filter = SubmissionFilter { tenant: Some(tenant.clone()), limit: 1, ..SubmissionFilter::default() };
    let seen = store.submissions(filter).await.unwrap().items.first().map(|item| item.submission_id);
    for submission_id in [None, seen] {
        let (who, what) = ("m.muster".to_owned(), "reveal".to_owned());
        let entry = AccessEntry { tenant: tenant.clone(), who, what, submission_id };
        store.log_access(entry, Fixture::at(9)).await.unwrap();
    }
    let detail = store.submission(&tenant, seen.unwrap()).await.unwrap();
    let access = detail.events.iter().find(|line| line.kind == event::EINGESEHEN).unwrap();
    assert_eq!(access.params["von"], "m.muster");
}

pub(super) async fn short_ids_are_resolved(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = fixture.delivered_to(store, "nord", "A", &["dms"], Fixture::at(0)).await;
    store.accept(fixture.submission("sued", "A", "x"), Fixture::at(0)).await.unwrap();
    let nord = Fixture::tenant("nord");
    let detail = store.submission(&nord, accepted.submission_id).await.unwrap();

    let one = |mut found: Vec<crate::Found>| {
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    let by_number = one(store.resolve(Some(&nord), "MUS-2026-000001").await.unwrap());
    assert_eq!(by_number.id, FoundId::Submission(accepted.submission_id));
    assert_eq!(store.resolve(None, "MUS-2026-000001").await.unwrap().len(), 2, "one of each tenant");
    let whole = detail.messages[0].message_id.to_string().to_uppercase();
    let message = one(store.resolve(None, &whole).await.unwrap());
    assert_eq!(message.id, FoundId::Message(detail.messages[0].message_id));
    assert_eq!(message.submission_id, accepted.submission_id);
    // Counted ids begin alike, so their beginning is ambiguous.
    assert_eq!(store.resolve(Some(&nord), "0000").await.unwrap().len(), 3);
    for nothing in ["", "000", "ffff", "MUS-2026-999999", "%", "0000' OR 1=1 --"] {
        assert!(store.resolve(Some(&nord), nothing).await.unwrap().is_empty(), "{nothing:?}");
    }
}
