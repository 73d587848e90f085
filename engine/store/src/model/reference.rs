// SPDX-License-Identifier: EUPL-1.2
//! The reference: what is there, and what each step may do with it. Seconds, not moments; no SQL, no indexes.

use std::collections::BTreeMap;

use kop_core::{AttemptId, ContentHash, DeliveryId, MessageId, Order, TenantId, WorkItemId};

use crate::records::{DeliveryState, SubmissionState};
use crate::steps::Accepted;

/// Seconds between two attempts of a lane with a pace.
pub(super) const DISTANCE: i64 = 10;
/// Failures in a row after which a lane pauses, its first pause and its longest, in seconds.
pub(super) const BREAKER: (u32, i64, i64) = (2, 30, 100);

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
    /// Its contents are deleted.
    pub(super) empty: bool,
    /// Its metadata too: nothing is known of it.
    pub(super) gone: bool,
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

    /// Sorts by Eingangszeitpunkt.
    fn place(&self) -> (i64, String) {
        (self.received, self.accepted.submission_id.to_string())
    }
}

/// A delivery with its message.
#[allow(clippy::struct_excessive_bools, reason = "facts about it that are independent of each other")]
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
    pub(super) order: Order,
    /// Whether those behind it wait until it is settled, also when a person has to settle it.
    pub(super) parks: bool,
    /// Whether those behind it wait for it.
    pub(super) holds: bool,
    /// Whether it waits for those before it.
    pub(super) queued: bool,
    /// When a person is to be told.
    pub(super) tell: Option<i64>,
}

impl Del {
    pub(super) fn claimable(&self, now: i64) -> bool {
        // What was started may have left: it is never handed out to be sent as if it had not.
        self.open.is_none()
            && !self.queued
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

    /// Whether nothing more comes of it by itself.
    pub(super) fn over(&self) -> bool {
        use DeliveryState::{Laufend, Nachverfolgt, Wartend};
        !matches!(self.state, Wartend | Laufend | Nachverfolgt)
    }

    /// Whether a person has to look at it.
    pub(super) fn parked(&self) -> bool {
        matches!(self.state, DeliveryState::Abgewiesen | DeliveryState::Klaerung)
    }

    /// Why a person may not have it sent again now.
    pub(super) fn retry(&self) -> Result<(), String> {
        let may = self.lease_until.is_none() && (self.state == DeliveryState::Wartend || self.parked());
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

/// An open Klärungsfall.
pub(super) struct Item {
    pub(super) id: WorkItemId,
    pub(super) sub: usize,
    pub(super) del: Option<usize>,
    /// Opened because processing failed: closed when it is begun again.
    pub(super) processing: bool,
}

/// A lane: tenant and receiver.
pub(super) type Lane = (TenantId, String);

/// What is kept of a lane.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) failures: u32,
    pub(super) trips: u32,
    pub(super) paused_until: i64,
    /// With a pace: when the next attempt may begin.
    pub(super) paced_until: i64,
}

impl Kept {
    pub(super) fn well(&mut self) {
        (self.failures, self.trips, self.paused_until) = (0, 0, 0);
    }

    pub(super) fn failed(&mut self, now: i64) {
        let (most, first, longest) = BREAKER;
        self.failures += 1;
        if self.failures >= most && self.paused_until <= now {
            self.trips += 1;
            self.paused_until = now + (first << (self.trips - 1).min(8)).min(longest);
        }
    }
}

/// Everything.
#[derive(Default)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) subs: Vec<Sub>,
    pub(super) dels: Vec<Del>,
    pub(super) items: Vec<Item>,
    pub(super) lanes: BTreeMap<Lane, Kept>,
}

impl World {
    /// How many more of a lane may begin now.
    pub(super) fn room(&self, lane: &Lane, places: usize, paced: bool) -> usize {
        let kept = self.lanes.get(lane).copied().unwrap_or_default();
        // After a pause a single attempt finds out whether the receiver is back.
        let places = if kept.trips > 0 { 1 } else { places };
        let same = |del: &&Del| (&del.tenant, &del.lane) == (&lane.0, &lane.1);
        let busy = self.dels.iter().filter(same).filter(|del| del.busy(self.now)).count();
        let room = if kept.paused_until > self.now { 0 } else { places.saturating_sub(busy) };
        match paced {
            true if kept.paced_until > self.now => 0,
            true => room.min(1),
            false => room,
        }
    }

    /// An attempt of a lane begins.
    pub(super) fn begin(&mut self, lane: Lane, paced: bool) {
        if paced {
            let kept = self.lanes.entry(lane).or_default();
            kept.paced_until = kept.paced_until.max(self.now) + DISTANCE;
        }
    }

    /// The others that a delivery must not overtake, or that must not overtake it.
    fn row(&self, n: usize) -> Vec<usize> {
        let del = &self.dels[n];
        let together = |other: &Del| {
            (&other.tenant, &other.lane, other.order) == (&del.tenant, &del.lane, del.order)
                && (del.order == Order::Empfaenger || other.sub == del.sub)
        };
        let all = 0..self.dels.len();
        all.filter(|m| *m != n && del.order != Order::Keine && together(&self.dels[*m])).collect()
    }

    fn place(&self, n: usize) -> (i64, String, String) {
        let (received, sub) = self.subs[self.dels[n].sub].place();
        (received, sub, self.dels[n].id.to_string())
    }

    /// Those before it that it has to wait for.
    fn before(&self, n: usize) -> bool {
        self.row(n).iter().any(|m| self.dels[*m].holds && self.place(*m) < self.place(n))
    }

    /// Whether something that came earlier may still come before it: it is not processed yet.
    fn expected(&self, n: usize) -> bool {
        let del = &self.dels[n];
        let earlier = |sub: &Sub| {
            sub.tenant == del.tenant
                && sub.state == SubmissionState::Eingegangen
                && sub.place() < self.subs[del.sub].place()
        };
        del.order == Order::Empfaenger && self.subs.iter().any(earlier)
    }

    /// Whether another one of its row is leased.
    pub(super) fn under_way(&self, n: usize) -> bool {
        self.row(n).iter().any(|m| self.dels[*m].holds && self.dels[*m].lease_until.is_some())
    }

    /// A new delivery takes its place.
    pub(super) fn stand(&mut self, del: Del) -> usize {
        let n = self.dels.len();
        self.dels.push(del);
        self.dels[n].holds = self.dels[n].order != Order::Keine;
        if self.dels[n].holds {
            self.dels[n].queued = self.before(n) || self.under_way(n) || self.expected(n);
            if !self.dels[n].queued {
                // Those behind it that had their turn wait again.
                for m in self.row(n) {
                    let other = &self.dels[m];
                    if other.holds && other.state == DeliveryState::Wartend && self.place(m) > self.place(n) {
                        self.dels[m].queued = true;
                    }
                }
            }
        }
        n
    }

    /// The first that waits in a row gets its turn.
    pub(super) fn advance(&mut self, n: usize) {
        let mut row = self.row(n);
        row.push(n);
        row.retain(|m| self.dels[*m].holds);
        let Some(first) = row.into_iter().min_by_key(|m| self.place(*m)) else { return };
        if !self.under_way(first) && !self.expected(first) {
            self.dels[first].queued = false;
        }
    }

    /// Everything of a tenant that waits.
    pub(super) fn advance_all(&mut self, tenant: &TenantId) {
        for n in 0..self.dels.len() {
            if self.dels[n].queued && self.dels[n].tenant == *tenant {
                self.advance(n);
            }
        }
    }

    /// It holds up nobody any more.
    pub(super) fn let_pass(&mut self, n: usize) {
        if std::mem::take(&mut self.dels[n].holds) {
            self.advance(n);
        }
    }

    /// It is to be tried again: behind those that came before it.
    pub(super) fn wait_for_turn(&mut self, n: usize) {
        if self.dels[n].holds && self.before(n) {
            self.dels[n].queued = true;
            self.advance(n);
        }
    }

    pub(super) fn close_of(&mut self, n: usize) {
        self.items.retain(|item| item.del != Some(n));
    }

    /// Why nothing of a submission may be deleted. `demanded` receivers have to have it.
    pub(super) fn blocked(&self, sub: usize, demanded: Option<&str>) -> bool {
        let of = || self.dels.iter().filter(|del| del.sub == sub);
        let to = || of().filter(|del| demanded == Some(&*del.lane) && del.state != DeliveryState::Ersetzt);
        let missing = demanded.is_some()
            && (to().count() == 0 || to().any(|del| del.state != DeliveryState::Zugestellt));
        self.subs[sub].state == SubmissionState::Eingegangen
            || self.items.iter().any(|item| item.sub == sub)
            || of().any(|del| !del.over())
            || missing
    }
}
