// SPDX-License-Identifier: EUPL-1.2
//! Deletion: what it is asked for, what stands in its way, what is noted about it. Periods and receivers come
//! from whoever asks; this module knows no configuration.

use kop_core::{ContentHash, SubmissionId, TenantId, clock::Zeitpunkt, sendung::Level};
use serde::Serialize;

use crate::records::{Cursor, DeliveryState, SubmissionState, SubmissionSummary};

/// What is deleted. Contents go first; who came when, and what became of it, stays longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The document, names and bytes of payload and messages, tickets, problems' masked values.
    Inhalte,
    /// Everything else: submission, Vorgang, messages, deliveries, attempts, Klärungsfälle, timeline, log of access.
    Metadaten,
}

impl Phase {
    /// The word, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inhalte => "inhalte",
            Self::Metadaten => "metadaten",
        }
    }
}

/// Which submissions to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionQuery {
    /// The Mandant.
    pub tenant: TenantId,
    /// [`Phase::Inhalte`]: those that have their contents. [`Phase::Metadaten`]: those that have none any more.
    pub phase: Phase,
    /// Received before this moment.
    pub received_before: Zeitpunkt,
    /// Continue after this place.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// A submission with what decides about its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionCandidate {
    /// Head.
    pub summary: SubmissionSummary,
    /// Names of the routes that made messages of it, each once, in order.
    pub routes: Vec<String>,
    /// Its deliveries.
    pub deliveries: Vec<CandidateDelivery>,
    /// Klärungsfälle that nobody closed.
    pub open_work_items: u64,
}

impl RetentionCandidate {
    /// Where the next page starts.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            received_at: self.summary.received_at.as_microsecond(),
            submission_id: self.summary.submission_id,
        }
    }
}

/// A delivery, as far as a deletion asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateDelivery {
    /// The receiver's name.
    pub receiver: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// How far the receiver's receipt goes.
    pub level: Option<Level>,
    /// It tells the submission's source: open, it blocks; the outcome of the submission does not hang on it.
    pub settles: bool,
}

/// A receipt that must be there first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// The receiver's name.
    pub receiver: String,
    /// It must have got so far.
    pub level: Level,
}

/// Why something may not be deleted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "grund")]
pub enum Blocker {
    /// It is not processed yet.
    Unverarbeitet,
    /// A person has to look at something.
    Klaerungsfall {
        /// How many are open.
        offen: u64,
    },
    /// A delivery is under way or waits.
    Zustellung {
        /// The receiver.
        empfaenger: String,
    },
    /// A receipt is missing, or says less than it must.
    Quittung {
        /// The receiver.
        empfaenger: String,
    },
}

/// What stands in the way of a deletion: an unfinished processing or delivery and an open Klärungsfall always,
/// and every demanded receipt that is not there. A demand for a receiver that got no message is not met.
pub fn blockers(candidate: &RetentionCandidate, demands: &[Demand]) -> Vec<Blocker> {
    let mut found = Vec::new();
    if candidate.summary.state == SubmissionState::Eingegangen {
        found.push(Blocker::Unverarbeitet);
    }
    if candidate.open_work_items > 0 {
        found.push(Blocker::Klaerungsfall { offen: candidate.open_work_items });
    }
    let over = [
        DeliveryState::Zugestellt,
        DeliveryState::Abgewiesen,
        DeliveryState::Klaerung,
        DeliveryState::Ersetzt,
    ];
    for delivery in candidate.deliveries.iter().filter(|delivery| !over.contains(&delivery.state)) {
        found.push(Blocker::Zustellung { empfaenger: delivery.receiver.clone() });
    }
    let met = |demand: &&Demand| {
        // What was replaced is over; what replaced it has to have arrived.
        let to = |delivery: &&CandidateDelivery| {
            delivery.receiver == demand.receiver && delivery.state != DeliveryState::Ersetzt
        };
        let mut all = candidate.deliveries.iter().filter(to).peekable();
        all.peek().is_some()
            && all.all(|delivery| {
                delivery.state == DeliveryState::Zugestellt && delivery.level >= Some(demand.level)
            })
    };
    let missing = demands.iter().filter(|demand| !met(demand));
    found.extend(missing.map(|demand| Blocker::Quittung { empfaenger: demand.receiver.clone() }));
    found
}

/// A deletion to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The Mandant.
    pub tenant: TenantId,
    /// The submission.
    pub submission_id: SubmissionId,
    /// What goes.
    pub phase: Phase,
    /// Receipts that must be there; looked at again in the same step.
    pub demands: Vec<Demand>,
    /// The period that has passed, in days, for the log.
    pub days: u32,
}

/// A line of the log of deletions: nothing in it comes from an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeletionRecord {
    /// The Mandant.
    pub tenant: TenantId,
    /// When.
    pub at: Zeitpunkt,
    /// The submission.
    pub submission_id: SubmissionId,
    /// When it had come in.
    pub received_at: Zeitpunkt,
    /// What went.
    pub phase: Phase,
    /// The period, in days.
    pub days: u32,
}

/// What a deletion leaves to be done.
pub type Orphans = std::collections::BTreeSet<ContentHash>;

#[cfg(test)]
mod tests {
    use kop_core::VorgangId;
    use uuid::Uuid;

    use super::*;

    fn candidate(deliveries: &[(&str, DeliveryState, Option<Level>)]) -> RetentionCandidate {
        let at = crate::conformance::Fixture::at(0);
        RetentionCandidate {
            summary: SubmissionSummary {
                tenant: "nord".parse().unwrap(),
                submission_id: SubmissionId(Uuid::nil()),
                vorgang_id: VorgangId(Uuid::nil()),
                vorgangsnummer: "NORD-2026-000001".into(),
                source: "ozg-cloud".into(),
                vendor_id: None,
                form_id: None,
                form_name: None,
                received_at: at,
                state: SubmissionState::Verarbeitet,
                runs: 1,
                content_deleted_at: None,
            },
            routes: Vec::new(),
            deliveries: deliveries
                .iter()
                .map(|(receiver, state, level)| CandidateDelivery {
                    receiver: (*receiver).to_owned(),
                    state: *state,
                    level: *level,
                    settles: false,
                })
                .collect(),
            open_work_items: 0,
        }
    }

    #[test]
    fn receipts_klaerungsfaelle_and_what_is_under_way_block() {
        let dms = |level| vec![Demand { receiver: "dms".into(), level }];
        let missing = vec![Blocker::Quittung { empfaenger: "dms".into() }];
        let delivered = candidate(&[
            ("amt", DeliveryState::Zugestellt, Some(Level::Empfangen)),
            ("dms", DeliveryState::Zugestellt, Some(Level::Uebergeben)),
        ]);
        assert_eq!(blockers(&delivered, &[]), []);
        assert_eq!(blockers(&delivered, &dms(Level::Uebergeben)), []);
        assert_eq!(blockers(&delivered, &dms(Level::Empfangen)), missing, "handed over is not received");
        let without = candidate(&[("amt", DeliveryState::Zugestellt, Some(Level::Empfangen))]);
        assert_eq!(blockers(&without, &dms(Level::Uebergeben)), missing, "no message, no receipt");
        let refused = candidate(&[("dms", DeliveryState::Abgewiesen, None)]);
        assert_eq!(blockers(&refused, &dms(Level::Uebergeben)), missing);
        assert_eq!(blockers(&refused, &[]), [], "refused, and nobody has anything left to settle");
        for state in [DeliveryState::Wartend, DeliveryState::Laufend, DeliveryState::Nachverfolgt] {
            let open = candidate(&[("dms", state, None)]);
            assert_eq!(blockers(&open, &[]), [Blocker::Zustellung { empfaenger: "dms".into() }]);
        }
        let mut unsettled = candidate(&[]);
        unsettled.open_work_items = 2;
        unsettled.summary.state = SubmissionState::Eingegangen;
        assert_eq!(blockers(&unsettled, &[]), [Blocker::Unverarbeitet, Blocker::Klaerungsfall { offen: 2 }]);
    }
}
