// SPDX-License-Identifier: EUPL-1.2
//! Makes submissions, messages and moments for the suite.

use std::{sync::Arc, time::Duration};

use kop_core::{
    AttemptId, BlobRef, ContentHash, DeliveryId, Diagnostic, IdSource, LaneLimits, MessageId, Order, Part,
    SettleAt, SubmissionId, TenantId, VorgangId, WhenParked, WorkItemId, clock::Zeitpunkt, diagnostic::Class,
    diagnostic::Severity, ids::CountingIds,
};

use crate::{
    api::Store,
    records::{PayloadPart, SubmissionState},
    settlement::NewSettlement,
    steps::{
        Accepted, ClaimedDelivery, DeliveryClaim, FirstAttempt, Lanes, NewDelivery, NewMessage,
        NewSubmission, NewWorkItem, Processed, StartedAttempt, SubmissionClaim,
    },
};

/// How long leases last in the suite.
pub const LEASE: Duration = Duration::from_secs(60);

/// The same limits for every lane.
struct Same(LaneLimits);

impl Lanes for Same {
    fn limits(&self, _: &str, _: &str) -> LaneLimits {
        self.0
    }
}

fn limits(places: u32) -> LaneLimits {
    LaneLimits { places, per_minute: None }
}

/// Makes things with ids that count upwards.
#[derive(Default)]
pub struct Fixture {
    ids: CountingIds,
}

impl Fixture {
    /// `seconds` after the suite's beginning.
    ///
    /// # Panics
    /// Never for the seconds of a test.
    pub fn at(seconds: i64) -> Zeitpunkt {
        Zeitpunkt::from_second(1_790_000_000 + seconds).expect("within range")
    }

    /// A tenant.
    ///
    /// # Panics
    /// When the name is none.
    pub fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant id")
    }

    /// A problem whose code needs no page.
    pub fn problem(code: &str) -> Diagnostic {
        Diagnostic {
            code: code.to_owned(),
            severity: Severity::Fehler,
            class: Class::Technisch,
            ..Diagnostic::new("KOP-S001", "Es ging nicht.", "It did not work.")
        }
    }

    /// A Klärungsfall with one problem.
    pub fn work_item(&self, code: &str) -> NewWorkItem {
        NewWorkItem::new(WorkItemId(self.ids.next()), vec![Self::problem(code)])
    }

    /// A submission with this key and content.
    pub fn submission(&self, tenant: &str, key: &str, content: &str) -> NewSubmission {
        NewSubmission {
            tenant: Self::tenant(tenant),
            submission_id: SubmissionId(self.ids.next()),
            vorgang_id: VorgangId(self.ids.next()),
            source: "ozg-cloud".to_owned(),
            idem_key: key.to_owned(),
            content_hash: ContentHash::of(content.as_bytes()),
            vendor_id: Some(key.to_owned()),
            form_id: Some("bauantrag".to_owned()),
            form_name: Some("Bauantrag".to_owned()),
            number_prefix: "MUS".to_owned(),
            number_year: 2026,
            document: Box::new(|assigned| {
                Ok(format!("{} {}", assigned.vorgangsnummer, assigned.received_at).into_bytes())
            }),
            payload: vec![PayloadPart {
                key: "envelope".to_owned(),
                file_name: None,
                content_type: Some("application/json".to_owned()),
                blob: Self::blob(content),
            }],
            remarks: Vec::new(),
            conflict: self.work_item("KOP-TEST-CONFLICT"),
            events: Vec::new(),
            settlement: None,
        }
    }

    /// Telling the source of a submission, whose ticket is this.
    pub fn settlement(&self, ticket: &str, when: SettleAt, latest: Option<Zeitpunkt>) -> NewSettlement {
        let ticket = Part {
            name: "quittung".to_owned(),
            content_type: "application/octet-stream".to_owned(),
            blob: Self::blob(ticket),
        };
        NewSettlement {
            message_id: MessageId(self.ids.next()),
            delivery_id: DeliveryId(self.ids.next()),
            nachrichten_uuid: self.ids.next(),
            source: "formulare".to_owned(),
            engine_version: "0.1.0".to_owned(),
            generation: ContentHash::of(b"generation"),
            content_hash: kop_core::Sendung::content_hash(&ticket, &[]),
            ticket,
            when,
            latest,
            tell_after: Duration::from_secs(600),
            give_up_after: Duration::from_secs(3600),
        }
    }

    /// The blob that such a content would be.
    pub fn blob(content: &str) -> BlobRef {
        BlobRef { sha256: ContentHash::of(content.as_bytes()), size: content.len() as u64 }
    }

    /// A message for a receiver.
    pub fn message(&self, receiver: &str, first_attempt: Option<FirstAttempt>) -> NewMessage {
        let part = |name: &str| Part {
            name: name.to_owned(),
            content_type: "application/xml".to_owned(),
            blob: Self::blob(name),
        };
        let (main, parts) = (part("antrag.xml"), vec![part("lageplan.pdf")]);
        NewMessage {
            message_id: MessageId(self.ids.next()),
            route: "Bauantrag".to_owned(),
            receiver: receiver.to_owned(),
            nachrichten_uuid: self.ids.next(),
            engine_version: "0.1.0".to_owned(),
            generation: ContentHash::of(b"generation"),
            mapping: "bauantrag-xbau".to_owned(),
            mapping_hash: ContentHash::of(b"mapping"),
            schema_package: Some(ContentHash::of(b"schema")),
            content_hash: kop_core::Sendung::content_hash(&main, &parts),
            main,
            parts,
            pinned: serde_json::json!({ "land": "01" }),
            delivery: NewDelivery {
                delivery_id: DeliveryId(self.ids.next()),
                order: Order::Keine,
                when_parked: WhenParked::Warten,
                tell_after: Duration::from_secs(600),
                give_up_after: Duration::from_secs(3600),
                first_attempt,
            },
        }
    }

    /// A new attempt's id.
    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.ids.next())
    }

    /// Asks for the first attempt to be started at once.
    pub fn first_attempt(&self) -> Option<FirstAttempt> {
        Some(FirstAttempt { attempt_id: self.attempt(), lease_for: LEASE, limits: limits(1) })
    }

    /// Everything that is due, up to `limit`.
    pub fn claim(limit: u32) -> SubmissionClaim {
        SubmissionClaim { lease_for: LEASE, limit, only: None }
    }

    /// Deliveries that are due.
    pub fn claim_deliveries(limit: u32, per_lane: u32) -> DeliveryClaim {
        Self::claim_within(limit, limits(per_lane))
    }

    /// Deliveries that are due and within these limits, the same for each lane.
    pub fn claim_within(limit: u32, limits: LaneLimits) -> DeliveryClaim {
        DeliveryClaim { lease_for: LEASE, limit, lanes: Arc::new(Same(limits)), only: None }
    }

    /// The result "worked, these messages".
    pub fn processed(messages: Vec<NewMessage>) -> Processed {
        Processed {
            state: SubmissionState::Verarbeitet,
            messages,
            work_items: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Accepts a submission and makes a message of it for each receiver.
    ///
    /// # Panics
    /// When the store fails.
    pub async fn delivered_to(
        &self,
        store: &dyn Store,
        tenant: &str,
        key: &str,
        receivers: &[&str],
        now: Zeitpunkt,
    ) -> Accepted {
        let accepted = store.accept(self.submission(tenant, key, key), now).await.unwrap();
        let claim =
            SubmissionClaim { only: Some((Self::tenant(tenant), accepted.submission_id)), ..Self::claim(1) };
        let claimed = store.claim_submissions(claim, now).await.unwrap().remove(0);
        let messages = receivers.iter().map(|receiver| self.message(receiver, None)).collect();
        store.record_processed(claimed.lease, Self::processed(messages), now).await.unwrap();
        accepted
    }

    /// Claims the one delivery that is due and starts its attempt.
    ///
    /// # Panics
    /// When not exactly one is due.
    pub async fn start_one(&self, store: &dyn Store, now: Zeitpunkt) -> (ClaimedDelivery, StartedAttempt) {
        let mut claimed = store.claim_deliveries(Self::claim_deliveries(10, 1), now).await.unwrap();
        assert_eq!(claimed.len(), 1, "exactly one delivery is due");
        let claimed = claimed.remove(0);
        let started = store.start_attempt(&claimed.lease, self.attempt(), now).await.unwrap();
        (claimed, started)
    }
}
