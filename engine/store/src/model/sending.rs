// SPDX-License-Identifier: EUPL-1.2
//! What becomes of a delivery: claimed within its lane, started, ended, recovered, told about.

use std::{num::NonZeroU32, sync::Arc};

use kop_core::{Breaker, LaneHealth, LaneLimits, Receipt, Ticket, sendung::Level};

use super::{
    Mistake, Subject,
    driver::{Driver, LANES, Wrong, agree, held, hold, lease_seconds, limits, paced, pick},
    reference::{BREAKER, Del, Item},
};
use crate::{
    conformance::{Fixture, LEASE},
    error::StoreError,
    records::DeliveryState,
    steps::{AttemptEnd, ClaimedDelivery, DeliveryClaim, DeliveryLease, Lanes},
};

/// The lanes as they are configured at a claim.
struct Configured {
    places: u32,
    mistake: Option<Mistake>,
}

impl Lanes for Configured {
    fn limits(&self, _: &str, lane: &str) -> LaneLimits {
        limits(lane, self.places, self.mistake)
    }
}

fn breaker() -> Breaker {
    let (most, first, longest) = BREAKER;
    Breaker {
        nach_fehlern: NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN),
        erste_pause_s: first.unsigned_abs(),
        laengste_pause_s: longest.unsigned_abs(),
    }
}

impl<S: Subject> Driver<S> {
    pub(super) async fn claim_deliveries(&mut self, limit: u8, per_lane: u8) -> Result<(), Wrong> {
        let lanes = Configured { places: per_lane.into(), mistake: self.mistake };
        let claim = DeliveryClaim {
            lanes: Arc::new(lanes),
            ..Fixture::claim_deliveries(limit.into(), per_lane.into())
        };
        let got = self.subject.store().claim_deliveries(claim, self.at(0)).await;
        let mut claimed = got.map_err(|error| format!("{error:?}"))?;
        self.spoil_claims(&mut claimed);
        let (now, until) = (self.world.now, self.world.now + lease_seconds());
        let due = |lane: &(kop_core::TenantId, String)| {
            let same = |n: &usize| self.lane_of(*n) == *lane && self.world.dels[*n].claimable(now);
            (0..self.world.dels.len()).filter(same).count()
        };
        let mut lanes: Vec<_> = (0..self.world.dels.len()).map(|n| self.lane_of(n)).collect();
        lanes.sort();
        lanes.dedup();
        let room = |lane| self.world.room(lane, per_lane.into(), paced(&lane.1));
        let all: usize = lanes.iter().map(|lane| room(lane).min(due(lane))).sum();
        let wanted = all.min(limit.into());
        if claimed.len() != wanted {
            return Err(format!("{} are handed out, but should be {wanted}", claimed.len()));
        }
        for one in claimed {
            let n = self.del(one.lease.delivery_id)?;
            let lane = self.lane_of(n);
            let room = self.world.room(&lane, per_lane.into(), paced(&lane.1));
            hold(room > 0, "a lane is not overfilled, nor faster than its pace, nor used while it pauses")?;
            // A question about what was handed over waits for nobody.
            let alone = !self.world.dels[n].holds || !self.world.under_way(n);
            hold(alone, "one after another")?;
            let del = &mut self.world.dels[n];
            hold(del.claimable(now), "only what is due is handed out, once, and never what may have left")?;
            hold(one.lease.token > del.token, "tokens grow")?;
            hold(one.message.content_hash == del.hash, "the stored bytes")?;
            hold(one.delivery.ticket.is_some() == del.asks(), "a ticket makes it a question")?;
            if del.state == DeliveryState::Wartend {
                del.state = DeliveryState::Laufend;
            }
            (del.lease_until, del.token) = (Some(until), one.lease.token);
            // Those that begin in one step do so in the same moment.
            let paced = paced(&lane.1);
            self.world.begin(lane, paced);
            self.seen.tokens.insert(one.lease.delivery_id, one.lease.token);
            self.del_leases.push(one.lease.clone());
            self.seen.handed_out.push(one);
        }
        Ok(())
    }

    /// What a store with one of the mistakes would hand out as well.
    fn spoil_claims(&self, claimed: &mut Vec<ClaimedDelivery>) {
        let wrong = self.world.dels.iter().find(|del| match self.mistake {
            Some(Mistake::SendsAgainAfterReceipt) => del.state == DeliveryState::Zugestellt,
            Some(Mistake::SendsWhatMayHaveLeft) => del.interrupted(self.world.now),
            _ => false,
        });
        let old = wrong
            .and_then(|del| self.seen.handed_out.iter().rev().find(|one| one.lease.delivery_id == del.id));
        claimed.extend(old.cloned().map(|mut one| {
            one.lease.token += 1;
            one
        }));
    }

    pub(super) async fn renew_delivery(&mut self, lease: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.del_leases, lease) else { return Ok(()) };
        let got = self.subject.store().renew_delivery(&lease, LEASE, self.at(0)).await;
        let until = self.world.now + lease_seconds();
        let n = self.del(lease.delivery_id)?;
        let del = &mut self.world.dels[n];
        if agree(got, held(del.held_by(lease.token)))?.is_some() {
            del.lease_until = Some(until);
        }
        Ok(())
    }

    pub(super) async fn start(&mut self, lease: DeliveryLease) -> Result<(), Wrong> {
        let attempt = self.fixture.attempt();
        let store = self.subject.store();
        let got = store.start_attempt(&lease, attempt, self.at(0)).await;
        let n = self.del(lease.delivery_id)?;
        let now = self.at(0);
        let del = &mut self.world.dels[n];
        match (del.held_by(lease.token), del.open) {
            (false, _) => drop(agree(got, Err(StoreError::StaleLease))?),
            (true, Some(_)) => {
                hold(matches!(got, Err(StoreError::NotPossible(_))), "one attempt at a time")?;
            }
            (true, None) => {
                let started = agree(got, Ok(()))?.ok_or("an attempt")?;
                del.attempts += u32::from(!del.asks());
                hold(started.number == del.attempts, "attempts are counted")?;
                del.open = Some(attempt);
                let again = store.start_attempt(&lease, attempt, now).await;
                hold(again == Ok(started), "told again, it is the same start")?;
            }
        }
        Ok(())
    }

    /// A claim, and an attempt of the first that it gave.
    pub(super) async fn attempt(&mut self, end: u8, by: u8) -> Result<(), Wrong> {
        let before = self.del_leases.len();
        self.claim_deliveries(1, 2).await?;
        let Some(lease) = self.del_leases.get(before).cloned() else { return Ok(()) };
        self.start(lease.clone()).await?;
        self.finish(lease, end, by).await
    }

    pub(super) async fn finish(&mut self, mut lease: DeliveryLease, end: u8, by: u8) -> Result<(), Wrong> {
        let at = self.world.now + i64::from(by);
        let (moment, problem) = (Fixture::at(at), Fixture::problem("KOP-TEST"));
        let item = self.fixture.work_item("KOP-TEST");
        let id = item.work_item_id;
        let ours = end >= 224;
        let end = match end % 7 {
            0 | 1 => AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: None }),
            2 => AttemptEnd::Retry { at: moment, problem },
            3 => AttemptEnd::Unclear { at: moment, problem },
            4 => AttemptEnd::Rejected { work_item: item, problem },
            5 => AttemptEnd::Unknown { work_item: item, problem },
            _ => AttemptEnd::Pending {
                ticket: Ticket { reference: "T-1".to_owned(), ask_after: LEASE },
                until: moment,
            },
        };
        let failing = !matches!(
            end,
            AttemptEnd::Delivered(_) | AttemptEnd::Rejected { .. } | AttemptEnd::Pending { .. }
        );
        let health = match (ours, failing) {
            (true, _) => LaneHealth::Unknown,
            (false, true) if self.mistake == Some(Mistake::IgnoresFailures) => LaneHealth::Unknown,
            (false, true) => LaneHealth::Failing(breaker()),
            (false, false) => LaneHealth::Well,
        };
        let own = lease.token;
        if self.mistake == Some(Mistake::IgnoresToken) {
            lease.token = self.seen.tokens.get(&lease.delivery_id).copied().unwrap_or(own);
        }
        let store = self.subject.store();
        let got = store.finish_attempt(lease.clone(), end.clone(), health, Vec::new(), self.at(0)).await;
        let (n, now) = (self.del(lease.delivery_id)?, self.world.now);
        let del = &mut self.world.dels[n];
        if !del.held_by(own) {
            return agree(got, Err(StoreError::StaleLease)).map(drop);
        }
        if del.open.is_none() {
            return hold(matches!(got, Err(StoreError::NotPossible(_))), "only what was started ends");
        }
        agree(got, Ok(()))?;
        let again = if del.asks() { DeliveryState::Nachverfolgt } else { DeliveryState::Wartend };
        (del.state, del.next) = match &end {
            AttemptEnd::Delivered(_) => (DeliveryState::Zugestellt, None),
            AttemptEnd::Pending { .. } => (DeliveryState::Nachverfolgt, Some(at)),
            AttemptEnd::Retry { .. } | AttemptEnd::Unclear { .. } => (again, Some(at)),
            AttemptEnd::Rejected { .. } => (DeliveryState::Abgewiesen, None),
            AttemptEnd::GivenUp { .. } | AttemptEnd::Unknown { .. } => (DeliveryState::Klaerung, None),
        };
        del.unclear |= matches!(end, AttemptEnd::Unclear { .. } | AttemptEnd::Unknown { .. });
        del.tell = del.tell.filter(|_| del.next.is_some());
        (del.lease_until, del.open) = (None, None);
        let (state, parks, sub) = (del.state, del.parks, del.sub);
        let kept = self.world.lanes.entry((del.tenant.clone(), del.lane.clone())).or_default();
        match (ours, failing) {
            (true, _) => {}
            (false, true) => kept.failed(now),
            (false, false) => kept.well(),
        }
        match state {
            DeliveryState::Wartend => self.world.wait_for_turn(n),
            DeliveryState::Abgewiesen | DeliveryState::Klaerung if parks => {}
            _ => self.world.let_pass(n),
        }
        if state == DeliveryState::Zugestellt {
            self.world.close_of(n);
        }
        if self.world.dels[n].parked() {
            self.world.items.push(Item { id, sub, del: Some(n), processing: false });
        }
        Ok(())
    }

    pub(super) async fn recover(&mut self, limit: u8) -> Result<(), Wrong> {
        let got = self.subject.store().recover(LEASE, limit.into(), self.at(0)).await;
        let interrupted = got.map_err(|error| format!("{error:?}"))?;
        let (now, until) = (self.world.now, self.world.now + lease_seconds());
        let wanted = self.world.dels.iter().filter(|del| del.interrupted(now)).count();
        hold(interrupted.len() == wanted.min(limit.into()), "what has no end is found")?;
        for one in interrupted {
            let lease = one.claimed.lease;
            let n = self.del(lease.delivery_id)?;
            let del = &mut self.world.dels[n];
            hold(del.interrupted(now), "only what has no end")?;
            hold(del.open == Some(one.attempt.attempt_id), "the attempt that was started")?;
            hold(lease.token > del.token, "tokens grow")?;
            (del.token, del.lease_until) = (lease.token, Some(until));
            self.seen.tokens.insert(lease.delivery_id, lease.token);
            self.del_leases.push(lease);
        }
        Ok(())
    }

    /// Tells about everything that takes long, once.
    pub(super) async fn tell(&mut self) -> Result<(), Wrong> {
        let got = self.subject.store().overdue(100, self.at(0)).await;
        let mut overdue = got.map_err(|error| format!("{error:?}"))?;
        if self.mistake == Some(Mistake::TellsAgain) {
            overdue.extend(self.seen.overdue.first().cloned());
        }
        let late = |del: &&Del| del.tell.is_some_and(|at| at <= self.world.now);
        let wanted = self.world.dels.iter().filter(late).count();
        hold(overdue.len() == wanted, "what takes long is found, and nothing else")?;
        for one in overdue {
            let n = self.del(one.delivery_id)?;
            let del = &self.world.dels[n];
            let late = del.tell.is_some_and(|at| at <= self.world.now);
            hold(late && !del.over(), "what has come to its end is not told about")?;
            let (item, again) = (self.fixture.work_item("KOP-TEST"), self.fixture.work_item("KOP-TEST"));
            let id = item.work_item_id;
            let store = self.subject.store();
            hold(store.tell(&one, item, self.at(0)).await == Ok(true), "a person is told")?;
            hold(store.tell(&one, again, self.at(0)).await == Ok(false), "and told once")?;
            self.world.dels[n].tell = None;
            let sub = self.world.dels[n].sub;
            self.world.items.push(Item { id, sub, del: Some(n), processing: false });
            self.seen.overdue.push(one);
        }
        Ok(())
    }

    /// What is kept of the lanes.
    pub(super) async fn compare_lanes(&self) -> Result<(), Wrong> {
        let got = self.subject.store().lanes(None).await.map_err(|error| format!("{error:?}"))?;
        for ((tenant, lane), kept) in &self.world.lanes {
            let found = got.iter().find(|one| (&one.tenant, &one.lane) == (tenant, lane));
            let until = |at: i64| (at > 0).then(|| Fixture::at(at));
            let found = found.map_or((0, 0, None), |one| (one.failures, one.trips, one.paused_until));
            let wanted = (kept.failures, kept.trips, until(kept.paused_until));
            if found != wanted {
                return Err(format!("lane {lane} is {found:?}, but should be {wanted:?}"));
            }
        }
        hold(got.iter().all(|one| LANES.contains(&one.lane.as_str())), "no other lane")
    }
}
