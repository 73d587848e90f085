// SPDX-License-Identifier: EUPL-1.2
//! Takes steps on the store and on the reference, and compares what came of them. Here: what becomes of a submission.

use std::{num::NonZeroU32, time::Duration};

use kop_core::{DeliveryId, LaneLimits, Order, SubmissionId, TenantId, WhenParked, clock::Zeitpunkt};

use super::{
    Mistake, Op, Seen, Subject,
    reference::{DISTANCE, Del, Item, Sub, World},
};
use crate::{
    conformance::{Fixture, LEASE},
    error::StoreError,
    records::{DeliveryState, SubmissionState},
    steps::{DeliveryLease, NewMessage, Processed, SubmissionLease},
};

/// Tenants that things go to in turn.
const TENANTS: [&str; 2] = ["nord", "sued"];

/// Lanes: without order, with a pace, one after another, and those of a Vorgang one after another.
pub(super) const LANES: [&str; 4] = ["frei", "takt", "reihe", "vorgang"];

/// After so many seconds a person is told.
pub(super) const TELL_AFTER: i64 = 150;

/// A step that is not as the reference says.
pub(super) type Wrong = String;

pub(super) struct Driver<S> {
    pub(super) subject: S,
    pub(super) mistake: Option<Mistake>,
    pub(super) seen: Seen,
    pub(super) fixture: Fixture,
    pub(super) world: World,
    /// Every lease ever given, stale ones included.
    pub(super) sub_leases: Vec<SubmissionLease>,
    pub(super) del_leases: Vec<DeliveryLease>,
}

pub(super) fn lease_seconds() -> i64 {
    LEASE.as_secs().cast_signed()
}

pub(super) fn pick<T: Clone>(list: &[T], n: u8) -> Option<T> {
    (!list.is_empty()).then(|| list[usize::from(n) % list.len()].clone())
}

/// The store's answer must be what the reference says.
pub(super) fn agree<T>(
    got: Result<T, StoreError>,
    wanted: Result<(), StoreError>,
) -> Result<Option<T>, Wrong> {
    match (got, wanted) {
        (Ok(value), Ok(())) => Ok(Some(value)),
        (Err(got), Err(wanted)) if got == wanted => Ok(None),
        (Ok(_), Err(wanted)) => Err(format!("went through, but should be refused: {wanted:?}")),
        (Err(got), wanted) => Err(format!("{got:?}, but should be {wanted:?}")),
    }
}

pub(super) fn hold(condition: bool, what: &str) -> Result<(), Wrong> {
    if condition { Ok(()) } else { Err(what.to_owned()) }
}

pub(super) fn held(condition: bool) -> Result<(), StoreError> {
    if condition { Ok(()) } else { Err(StoreError::StaleLease) }
}

pub(super) fn paced(lane: &str) -> bool {
    lane == LANES[1]
}

/// What a lane may do.
pub(super) fn limits(lane: &str, places: u32, mistake: Option<Mistake>) -> LaneLimits {
    let pace = paced(lane) && mistake != Some(Mistake::IgnoresPace);
    let per_minute = u32::try_from(60 / DISTANCE).ok().and_then(NonZeroU32::new);
    let places = if mistake == Some(Mistake::IgnoresPlaces) { 9 } else { places };
    LaneLimits { places, per_minute: per_minute.filter(|_| pace) }
}

fn order(lane: &str) -> Order {
    match LANES.iter().position(|one| *one == lane) {
        Some(2) => Order::Empfaenger,
        Some(3) => Order::Vorgang,
        _ => Order::Keine,
    }
}

impl<S: Subject> Driver<S> {
    pub(super) fn new(subject: S, mistake: Option<Mistake>) -> Self {
        Self {
            subject,
            mistake,
            seen: Seen::default(),
            fixture: Fixture::default(),
            world: World::default(),
            sub_leases: Vec::new(),
            del_leases: Vec::new(),
        }
    }

    /// Takes one step, then compares everything that is stored with the reference.
    pub(super) async fn take(&mut self, op: Op) -> Result<(), Wrong> {
        match op {
            Op::Accept { key, content } => self.accept(key, content).await?,
            Op::ClaimSubmissions { limit } => self.claim_submissions(limit).await?,
            Op::RenewSubmission { lease } => self.renew_submission(lease).await?,
            Op::Record { lease, what } => {
                if let Some(lease) = pick(&self.sub_leases, lease) {
                    self.record(lease, what).await?;
                }
            }
            Op::Process { what } => {
                self.claim_submissions(1).await?;
                if let Some(lease) = self.sub_leases.last().cloned() {
                    self.record(lease, what).await?;
                }
            }
            Op::Defer { lease, by } => self.defer(lease, by).await?,
            Op::ClaimDeliveries { limit, per_lane } => self.claim_deliveries(limit, per_lane).await?,
            Op::RenewDelivery { lease } => self.renew_delivery(lease).await?,
            Op::Start { lease } => {
                if let Some(lease) = pick(&self.del_leases, lease) {
                    self.start(lease).await?;
                }
            }
            Op::Finish { lease, end, by } => {
                if let Some(lease) = pick(&self.del_leases, lease) {
                    self.finish(lease, end, by).await?;
                }
            }
            Op::Attempt { end, by } => self.attempt(end, by).await?,
            Op::Recover { limit } => self.recover(limit).await?,
            Op::Tell => self.tell().await?,
            Op::RetryDelivery { which } => self.retry_delivery(which).await?,
            Op::RetrySubmission { which } => self.retry_submission(which).await?,
            Op::CloseWorkItem { which } => self.close(which).await?,
            Op::Correct { which } => self.correct(which).await?,
            Op::Replace { which, despite } => self.replace(which, despite).await?,
            Op::Delete { which, demand } => self.delete(which, demand).await?,
            Op::Crash => {
                self.subject.crash();
                self.world.subs.iter_mut().for_each(Sub::crash);
                self.world.dels.iter_mut().for_each(Del::crash);
            }
            Op::Advance { by } => self.world.now += i64::from(by),
        }
        self.compare().await
    }

    pub(super) fn at(&self, by: i64) -> Zeitpunkt {
        Fixture::at(self.world.now + by)
    }

    async fn accept(&mut self, key: u8, content: u8) -> Result<(), Wrong> {
        let tenant = TENANTS[usize::from(key) % 2];
        let (name, text) = (key.to_string(), format!("{key}-{content}"));
        let new = self.fixture.submission(tenant, &name, &text);
        let conflict = new.conflict.work_item_id;
        let got = self.subject.store().accept(new, self.at(0)).await;
        let accepted = got.map_err(|error| format!("{error:?}"))?;
        let mut known = self.world.subs.iter().filter(|sub| sub.key == key && !sub.gone);
        if let Some(first) = known.clone().find(|sub| sub.content == content) {
            hold(accepted.repeated, "a repeat is told")?;
            return hold(
                accepted.submission_id == first.accepted.submission_id,
                "a repeat gets the first answer",
            );
        }
        hold(!accepted.repeated, "new content is no repeat")?;
        hold(accepted.conflict == known.next().is_some(), "a re-used key is told")?;
        if accepted.conflict {
            let sub = self.world.subs.len();
            self.world.items.push(Item { id: conflict, sub, del: None, processing: false });
        }
        self.world.subs.push(Sub {
            tenant: Fixture::tenant(tenant),
            accepted,
            key,
            content,
            state: SubmissionState::Eingegangen,
            received: self.world.now,
            due: self.world.now,
            leased: false,
            token: 0,
            runs: 0,
            corrections: 0,
            empty: false,
            gone: false,
        });
        Ok(())
    }

    async fn claim_submissions(&mut self, limit: u8) -> Result<(), Wrong> {
        let got = self.subject.store().claim_submissions(Fixture::claim(limit.into()), self.at(0)).await;
        let claimed = got.map_err(|error| format!("{error:?}"))?;
        let now = self.world.now;
        let waiting = self.world.subs.iter().filter(|sub| sub.claimable(now)).count();
        hold(claimed.len() <= limit.into(), "no more than asked for")?;
        hold(!claimed.is_empty() || waiting == 0, "what is due is handed out")?;
        for one in claimed {
            let n = self.sub(one.lease.submission_id)?;
            let sub = &mut self.world.subs[n];
            hold(sub.claimable(now), "only what is due is handed out, once")?;
            hold(one.lease.token > sub.token, "tokens grow")?;
            (sub.leased, sub.token) = (true, one.lease.token);
            (sub.due, sub.runs) = (now + lease_seconds(), sub.runs + 1);
            self.sub_leases.push(one.lease);
        }
        Ok(())
    }

    async fn renew_submission(&mut self, lease: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.sub_leases, lease) else { return Ok(()) };
        let got = self.subject.store().renew_submission(&lease, LEASE, self.at(0)).await;
        let n = self.sub(lease.submission_id)?;
        let until = self.world.now + lease_seconds();
        let sub = &mut self.world.subs[n];
        if agree(got, held(sub.held_by(lease.token)))?.is_some() {
            sub.due = until;
        }
        Ok(())
    }

    /// Messages for a submission: to one lane after another, or all to the same; some start their first attempt.
    fn messages(&self, what: u8) -> Vec<NewMessage> {
        let (first, lane, all) = (what & 8 != 0, usize::from(what >> 4 & 3), what & 64 != 0);
        let to = |n: u8| LANES[(lane + if all { 0 } else { usize::from(n) }) % LANES.len()];
        (0..what & 3).map(|n| self.message(to(n), first, what & 128 != 0)).collect()
    }

    pub(super) fn message(&self, lane: &str, first: bool, passes: bool) -> NewMessage {
        let mut attempt = self.fixture.first_attempt().filter(|_| first);
        if let Some(first) = &mut attempt {
            first.limits = limits(lane, 1, self.mistake);
        }
        let mut message = self.fixture.message(lane, attempt);
        let unordered = self.mistake == Some(Mistake::IgnoresOrder);
        message.delivery.order = if unordered { Order::Keine } else { order(lane) };
        message.delivery.when_parked = match self.mistake {
            Some(Mistake::NeverWaitsForPeople) => WhenParked::Weiter,
            _ if passes => WhenParked::Weiter,
            _ => WhenParked::Warten,
        };
        message.delivery.tell_after = Duration::from_secs(TELL_AFTER.unsigned_abs());
        message
    }

    async fn record(&mut self, lease: SubmissionLease, what: u8) -> Result<(), Wrong> {
        let messages = self.messages(what);
        let klaerung = what & 4 != 0;
        let processed = Processed {
            state: if klaerung { SubmissionState::Klaerung } else { SubmissionState::Verarbeitet },
            work_items: if klaerung { vec![self.fixture.work_item("KOP-TEST")] } else { Vec::new() },
            ..Fixture::processed(messages.clone())
        };
        let (state, items) = (processed.state, processed.work_items.clone());
        let store = self.subject.store();
        let got = store.record_processed(lease.clone(), processed.clone(), self.at(0)).await;
        let n = self.sub(lease.submission_id)?;
        let Some(started) = agree(got, held(self.world.subs[n].held_by(lease.token)))? else {
            return Ok(());
        };
        (self.world.subs[n].state, self.world.subs[n].leased) = (state, false);
        for item in items {
            self.world.items.push(Item { id: item.work_item_id, sub: n, del: None, processing: true });
        }
        let told_again = store.record_processed(lease.clone(), processed, self.at(0)).await;
        let again = if messages.is_empty() { Err(StoreError::StaleLease) } else { Ok(started.clone()) };
        hold(told_again == again, "told again, it is the same step")?;
        let mut expected = 0;
        for message in &messages {
            let del = self.add(n, message, what & 128 != 0);
            let lane = (lease.tenant.clone(), message.receiver.clone());
            let Some(first) = message.delivery.first_attempt else { continue };
            if self.world.dels[del].queued || self.world.room(&lane, 1, paced(&lane.1)) == 0 {
                continue;
            }
            expected += 1;
            let one = started.iter().find(|one| one.attempt_id == first.attempt_id);
            let one = one.ok_or("a first attempt that may start is started")?;
            self.world.begin(lane.clone(), paced(&lane.1));
            let until = self.world.now + lease_seconds();
            let del = &mut self.world.dels[del];
            (del.state, del.lease_until, del.token) = (DeliveryState::Laufend, Some(until), one.lease.token);
            (del.open, del.attempts) = (Some(one.attempt_id), 1);
            self.seen.tokens.insert(one.lease.delivery_id, one.lease.token);
            self.del_leases.push(one.lease.clone());
        }
        hold(started.len() == expected, "nothing else is started")?;
        self.world.advance_all(&lease.tenant);
        Ok(())
    }

    pub(super) fn add(&mut self, sub: usize, message: &NewMessage, passes: bool) -> usize {
        let order = order(&message.receiver);
        self.world.stand(Del {
            tenant: self.world.subs[sub].tenant.clone(),
            sub,
            id: message.delivery.delivery_id,
            message: message.message_id,
            hash: message.content_hash,
            lane: message.receiver.clone(),
            state: DeliveryState::Wartend,
            next: Some(self.world.now),
            lease_until: None,
            token: 0,
            open: None,
            attempts: 0,
            unclear: false,
            replaced: false,
            order,
            parks: order != Order::Keine && !passes,
            holds: false,
            queued: false,
            tell: Some(self.world.now + TELL_AFTER),
        })
    }

    async fn defer(&mut self, lease: u8, by: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.sub_leases, lease) else { return Ok(()) };
        let at = self.world.now + i64::from(by);
        let got = self.subject.store().defer(lease.clone(), Fixture::at(at), Vec::new(), self.at(0)).await;
        let n = self.sub(lease.submission_id)?;
        let sub = &mut self.world.subs[n];
        if agree(got, held(sub.held_by(lease.token)))?.is_some() {
            (sub.leased, sub.due, sub.runs) = (false, at, sub.runs.saturating_sub(1));
        }
        Ok(())
    }

    fn sub(&self, id: SubmissionId) -> Result<usize, Wrong> {
        let found = self.world.subs.iter().position(|sub| sub.accepted.submission_id == id);
        found.ok_or_else(|| "a submission that nobody sent".to_owned())
    }

    pub(super) fn del(&self, id: DeliveryId) -> Result<usize, Wrong> {
        let found = self.world.dels.iter().position(|del| del.id == id);
        found.ok_or_else(|| "a delivery that nobody made".to_owned())
    }

    pub(super) fn lane_of(&self, n: usize) -> (TenantId, String) {
        (self.world.dels[n].tenant.clone(), self.world.dels[n].lane.clone())
    }
}
