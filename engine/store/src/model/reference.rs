// SPDX-License-Identifier: EUPL-1.2
//! The reference: what is there, and what each step may do with it. Seconds, not moments; no SQL, no indexes.

use kop_core::{AttemptId, ContentHash, DeliveryId, MessageId, TenantId};

use crate::records::{DeliveryState, SubmissionState};
use crate::steps::Accepted;

/// A submission.
pub(super) struct Sub {
    pub(super) tenant: TenantId,
    pub(super) accepted: Accepted,
    pub(super) key: u8,
    pub(super) content: u8,
    pub(super) state: SubmissionState,
    pub(super) received: i64,
    pub(super) due: i64,
    pub(super) leased: bool,
    pub(super) token: u64,
    pub(super) runs: u32,
    pub(super) corrections: u32,
}

impl Sub {
    pub(super) fn claimable(&self, now: i64) -> bool {
        self.state == SubmissionState::Eingegangen && self.due <= now
    }

    /// Whether a lease with this token may still write.
    pub(super) fn held_by(&self, token: u64) -> bool {
        self.state == SubmissionState::Eingegangen && self.leased && self.token == token
    }

    pub(super) fn crash(&mut self) {
        if self.state == SubmissionState::Eingegangen && self.leased {
            self.leased = false;
            self.due = self.received;
        }
    }
}

/// A delivery with its message.
pub(super) struct Del {
    pub(super) tenant: TenantId,
    pub(super) sub: usize,
    pub(super) id: DeliveryId,
    pub(super) message: MessageId,
    pub(super) hash: ContentHash,
    pub(super) lane: String,
    pub(super) state: DeliveryState,
    /// When the next attempt or question may be; `None` once nothing is to come by itself.
    pub(super) next: Option<i64>,
    pub(super) lease_until: Option<i64>,
    pub(super) token: u64,
    pub(super) open: Option<AttemptId>,
    pub(super) attempts: u32,
    pub(super) unclear: bool,
    pub(super) replaced: bool,
}

impl Del {
    pub(super) fn claimable(&self, now: i64) -> bool {
        // What was started may have left: it is never handed out to be sent as if it had not.
        self.open.is_none()
            && match self.lease_until {
                Some(until) => until <= now,
                None => self.next.is_some_and(|at| at <= now),
            }
    }

    /// Whether it takes a place of its lane.
    pub(super) fn busy(&self, now: i64) -> bool {
        self.lease_until.is_some_and(|until| until > now || self.open.is_some())
    }

    /// Whether it was started and its lease ran out.
    pub(super) fn interrupted(&self, now: i64) -> bool {
        self.open.is_some() && self.lease_until.is_some_and(|until| until <= now)
    }

    pub(super) fn held_by(&self, token: u64) -> bool {
        self.lease_until.is_some() && self.token == token
    }

    /// Whether its next attempt asks instead of sending.
    pub(super) fn asks(&self) -> bool {
        self.state == DeliveryState::Nachverfolgt
    }

    /// Why a person may not have it sent again now.
    pub(super) fn retry(&self) -> Result<(), String> {
        use DeliveryState::{Abgewiesen, Klaerung, Wartend};
        let may = self.lease_until.is_none() && matches!(self.state, Wartend | Abgewiesen | Klaerung);
        if may { Ok(()) } else { Err(self.state.to_string()) }
    }

    /// Why a person may not have another one made instead.
    pub(super) fn replace(&self, despite: bool) -> Result<(), String> {
        use DeliveryState::{Ersetzt, Laufend, Nachverfolgt, Zugestellt};
        if self.lease_until.is_some() || matches!(self.state, Laufend | Nachverfolgt | Ersetzt) {
            return Err(self.state.to_string());
        }
        if self.replaced {
            return Err("ersetzt".to_owned());
        }
        match self.state {
            Zugestellt if !despite => Err("zugestellt".to_owned()),
            _ if self.unclear && !despite => Err("unklar".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn crash(&mut self) {
        match (self.lease_until, self.open) {
            (Some(_), None) => {
                self.lease_until = None;
                if self.state == DeliveryState::Laufend {
                    self.state = DeliveryState::Wartend;
                }
                // It was due when it was claimed.
                self.next = self.next.or(Some(0));
            }
            (Some(_), Some(_)) => self.lease_until = Some(0),
            _ => {}
        }
    }
}
