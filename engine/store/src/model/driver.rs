// SPDX-License-Identifier: EUPL-1.2
//! Takes steps on the store and on the reference, and compares what came of them.

use kop_core::{DeliveryId, LaneHealth, Receipt, SubmissionId, Ticket, sendung::Level};

use super::{
    Mistake, Op, Seen, Subject,
    reference::{Del, Sub},
};
use crate::{
    conformance::{Fixture, LEASE},
    error::StoreError,
    records::{DeliveryState, MessageState, SubmissionState},
    steps::{
        AttemptEnd, ClaimedDelivery, DeliveryLease, NewCorrection, NewCorrections, NewMessage, Processed,
        Replacement, RetryTarget, SubmissionLease,
    },
};

/// Tenants and lanes that things go to in turn.
const TENANTS: [&str; 2] = ["nord", "sued"];
const LANES: [&str; 2] = ["bauaufsicht", "dms"];

/// A step that is not as the reference says.
type Wrong = String;

pub(super) struct Driver<S> {
    subject: S,
    mistake: Option<Mistake>,
    seen: Seen,
    fixture: Fixture,
    now: i64,
    subs: Vec<Sub>,
    dels: Vec<Del>,
    /// Every lease ever given, stale ones included.
    sub_leases: Vec<SubmissionLease>,
    del_leases: Vec<DeliveryLease>,
}

fn lease_seconds() -> i64 {
    LEASE.as_secs().cast_signed()
}

fn pick<T: Clone>(list: &[T], n: u8) -> Option<T> {
    (!list.is_empty()).then(|| list[usize::from(n) % list.len()].clone())
}

/// The store's answer must be what the reference says.
fn agree<T>(got: Result<T, StoreError>, wanted: Result<(), StoreError>) -> Result<Option<T>, Wrong> {
    match (got, wanted) {
        (Ok(value), Ok(())) => Ok(Some(value)),
        (Err(got), Err(wanted)) if got == wanted => Ok(None),
        (Ok(_), Err(wanted)) => Err(format!("went through, but should be refused: {wanted:?}")),
        (Err(got), wanted) => Err(format!("{got:?}, but should be {wanted:?}")),
    }
}

fn hold(condition: bool, what: &str) -> Result<(), Wrong> {
    if condition { Ok(()) } else { Err(what.to_owned()) }
}

fn refused(why: Result<(), String>) -> Result<(), StoreError> {
    why.map_err(StoreError::NotPossible)
}

impl<S: Subject> Driver<S> {
    pub(super) fn new(subject: S, mistake: Option<Mistake>) -> Self {
        Self {
            subject,
            mistake,
            seen: Seen::default(),
            fixture: Fixture::default(),
            now: 0,
            subs: Vec::new(),
            dels: Vec::new(),
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
            Op::Record { lease, what } => self.record(lease, what).await?,
            Op::Defer { lease, by } => self.defer(lease, by).await?,
            Op::ClaimDeliveries { limit, per_lane } => self.claim_deliveries(limit, per_lane).await?,
            Op::RenewDelivery { lease } => self.renew_delivery(lease).await?,
            Op::Start { lease } => self.start(lease).await?,
            Op::Finish { lease, end, by } => self.finish(lease, end, by).await?,
            Op::Recover { limit } => self.recover(limit).await?,
            Op::RetryDelivery { which } => self.retry_delivery(which).await?,
            Op::RetrySubmission { which } => self.retry_submission(which).await?,
            Op::CloseWorkItem { which } => self.close(which).await?,
            Op::Correct { which } => self.correct(which).await?,
            Op::Replace { which, despite } => self.replace(which, despite).await?,
            Op::Crash => {
                self.subject.crash();
                self.subs.iter_mut().for_each(Sub::crash);
                self.dels.iter_mut().for_each(Del::crash);
            }
            Op::Advance { by } => self.now += i64::from(by),
        }
        self.compare().await
    }

    fn at(&self, by: i64) -> kop_core::Zeitpunkt {
        Fixture::at(self.now + by)
    }

    async fn accept(&mut self, key: u8, content: u8) -> Result<(), Wrong> {
        let tenant = TENANTS[usize::from(key) % 2];
        let (name, text) = (key.to_string(), format!("{key}-{content}"));
        let new = self.fixture.submission(tenant, &name, &text);
        let got = self.subject.store().accept(new, self.at(0)).await;
        let accepted = got.map_err(|error| format!("{error:?}"))?;
        let same = self.subs.iter().find(|sub| (sub.key, sub.content) == (key, content));
        if let Some(first) = same {
            hold(accepted.repeated, "a repeat is told")?;
            return hold(
                accepted.submission_id == first.accepted.submission_id,
                "a repeat gets the first answer",
            );
        }
        hold(!accepted.repeated, "new content is no repeat")?;
        hold(accepted.conflict == self.subs.iter().any(|sub| sub.key == key), "a re-used key is told")?;
        self.subs.push(Sub {
            tenant: Fixture::tenant(tenant),
            accepted,
            key,
            content,
            state: SubmissionState::Eingegangen,
            received: self.now,
            due: self.now,
            leased: false,
            token: 0,
            runs: 0,
            corrections: 0,
        });
        Ok(())
    }

    async fn claim_submissions(&mut self, limit: u8) -> Result<(), Wrong> {
        let got = self.subject.store().claim_submissions(Fixture::claim(limit.into()), self.at(0)).await;
        let claimed = got.map_err(|error| format!("{error:?}"))?;
        let waiting = self.subs.iter().filter(|sub| sub.claimable(self.now)).count();
        hold(claimed.len() <= limit.into(), "no more than asked for")?;
        hold(!claimed.is_empty() || waiting == 0, "what is due is handed out")?;
        for one in claimed {
            let until = self.now + lease_seconds();
            let now = self.now;
            let sub = self.sub_mut(one.lease.submission_id)?;
            hold(sub.claimable(now), "only what is due is handed out, once")?;
            hold(one.lease.token > sub.token, "tokens grow")?;
            (sub.leased, sub.token, sub.due, sub.runs) = (true, one.lease.token, until, sub.runs + 1);
            self.sub_leases.push(one.lease);
        }
        Ok(())
    }

    async fn renew_submission(&mut self, lease: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.sub_leases, lease) else { return Ok(()) };
        let got = self.subject.store().renew_submission(&lease, LEASE, self.at(0)).await;
        let until = self.now + lease_seconds();
        let sub = self.sub_mut(lease.submission_id)?;
        let holds = sub.held_by(lease.token);
        if agree(got, if holds { Ok(()) } else { Err(StoreError::StaleLease) })?.is_some() {
            sub.due = until;
        }
        Ok(())
    }

    async fn record(&mut self, lease: u8, what: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.sub_leases, lease) else { return Ok(()) };
        let first = what & 8 != 0;
        let messages: Vec<NewMessage> = (0..what & 3)
            .map(|n| {
                let attempt = if first { self.fixture.first_attempt() } else { None };
                self.fixture.message(LANES[usize::from(n) % 2], attempt)
            })
            .collect();
        let klaerung = what & 4 != 0;
        let processed = Processed {
            state: if klaerung { SubmissionState::Klaerung } else { SubmissionState::Verarbeitet },
            work_items: if klaerung { vec![self.fixture.work_item("KOP-TEST")] } else { Vec::new() },
            ..Fixture::processed(messages.clone())
        };
        let state = processed.state;
        let got = self.subject.store().record_processed(lease.clone(), processed, self.at(0)).await;
        let sub = self.sub_mut(lease.submission_id)?;
        let holds = sub.held_by(lease.token);
        let Some(started) = agree(got, if holds { Ok(()) } else { Err(StoreError::StaleLease) })? else {
            return Ok(());
        };
        (sub.state, sub.leased) = (state, false);
        for message in &messages {
            self.add(&lease.tenant, lease.submission_id, message)?;
        }
        let before = self.busy_lanes();
        for one in started {
            let wanted =
                messages.iter().find(|message| message.delivery.delivery_id == one.lease.delivery_id);
            let first = wanted.and_then(|message| message.delivery.first_attempt);
            hold(
                first.is_some_and(|first| first.attempt_id == one.attempt_id),
                "only what asked is started",
            )?;
            let until = self.now + lease_seconds();
            let del = self.del_mut(one.lease.delivery_id)?;
            (del.state, del.lease_until, del.token) = (DeliveryState::Laufend, Some(until), one.lease.token);
            (del.open, del.attempts) = (Some(one.attempt_id), 1);
            let (tenant, lane) = (del.tenant.clone(), del.lane.clone());
            hold(!before.contains(&(tenant.clone(), lane.clone())), "a full lane starts nothing")?;
            hold(self.busy(&tenant, &lane) == 1, "a lane is not overfilled")?;
            self.seen.tokens.insert(one.lease.delivery_id, one.lease.token);
            self.del_leases.push(one.lease);
        }
        Ok(())
    }

    /// Lanes that have something under way.
    fn busy_lanes(&self) -> Vec<(kop_core::TenantId, String)> {
        let busy = self.dels.iter().filter(|del| del.busy(self.now));
        busy.map(|del| (del.tenant.clone(), del.lane.clone())).collect()
    }

    fn add(
        &mut self,
        tenant: &kop_core::TenantId,
        submission: SubmissionId,
        message: &NewMessage,
    ) -> Result<(), Wrong> {
        let sub = self.subs.iter().position(|sub| sub.accepted.submission_id == submission);
        self.dels.push(Del {
            tenant: tenant.clone(),
            sub: sub.ok_or("an unknown submission")?,
            id: message.delivery.delivery_id,
            message: message.message_id,
            hash: message.content_hash,
            lane: message.receiver.clone(),
            state: DeliveryState::Wartend,
            next: Some(self.now),
            lease_until: None,
            token: 0,
            open: None,
            attempts: 0,
            unclear: false,
            replaced: false,
        });
        Ok(())
    }

    async fn defer(&mut self, lease: u8, by: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.sub_leases, lease) else { return Ok(()) };
        let at = self.now + i64::from(by);
        let got = self.subject.store().defer(lease.clone(), Fixture::at(at), Vec::new(), self.at(0)).await;
        let sub = self.sub_mut(lease.submission_id)?;
        let holds = sub.held_by(lease.token);
        if agree(got, if holds { Ok(()) } else { Err(StoreError::StaleLease) })?.is_some() {
            (sub.leased, sub.due, sub.runs) = (false, at, sub.runs.saturating_sub(1));
        }
        Ok(())
    }

    fn busy(&self, tenant: &kop_core::TenantId, lane: &str) -> usize {
        let same = |del: &&Del| del.tenant == *tenant && del.lane == lane;
        self.dels.iter().filter(same).filter(|del| del.busy(self.now)).count()
    }

    async fn claim_deliveries(&mut self, limit: u8, per_lane: u8) -> Result<(), Wrong> {
        let claim = Fixture::claim_deliveries(limit.into(), per_lane.into());
        let got = self.subject.store().claim_deliveries(claim, self.at(0)).await;
        let mut claimed = got.map_err(|error| format!("{error:?}"))?;
        self.spoil_claims(&mut claimed);
        let room = |del: &Del| self.busy(&del.tenant, &del.lane) < usize::from(per_lane);
        let waiting = self.dels.iter().any(|del| del.claimable(self.now) && room(del));
        hold(claimed.len() <= limit.into() || self.mistake.is_some(), "no more than asked for")?;
        hold(!claimed.is_empty() || !waiting, "what is due and has room is handed out")?;
        for one in claimed {
            let (now, until) = (self.now, self.now + lease_seconds());
            let del = self.del_mut(one.lease.delivery_id)?;
            hold(del.claimable(now), "only what is due is handed out, once, and never what may have left")?;
            hold(one.lease.token > del.token, "tokens grow")?;
            hold(one.message.content_hash == del.hash, "the stored bytes")?;
            hold(one.delivery.ticket.is_some() == del.asks(), "a ticket makes it a question")?;
            if del.state == DeliveryState::Wartend {
                del.state = DeliveryState::Laufend;
            }
            (del.lease_until, del.token) = (Some(until), one.lease.token);
            let (tenant, lane) = (del.tenant.clone(), del.lane.clone());
            hold(self.busy(&tenant, &lane) <= usize::from(per_lane), "a lane is not overfilled")?;
            self.seen.tokens.insert(one.lease.delivery_id, one.lease.token);
            self.del_leases.push(one.lease.clone());
            self.seen.handed_out.push(one);
        }
        Ok(())
    }

    /// What a store with one of the mistakes would hand out as well.
    fn spoil_claims(&self, claimed: &mut Vec<ClaimedDelivery>) {
        let wrongly = |del: &Del| match self.mistake {
            Some(Mistake::SendsAgainAfterReceipt) => del.state == DeliveryState::Zugestellt,
            Some(Mistake::SendsWhatMayHaveLeft) => del.interrupted(self.now),
            Some(Mistake::IgnoresToken) | None => false,
        };
        let wrong = self.dels.iter().find(|del| wrongly(del));
        let old = wrong
            .and_then(|del| self.seen.handed_out.iter().rev().find(|one| one.lease.delivery_id == del.id));
        claimed.extend(old.cloned().map(|mut one| {
            one.lease.token += 1;
            one
        }));
    }

    async fn renew_delivery(&mut self, lease: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.del_leases, lease) else { return Ok(()) };
        let got = self.subject.store().renew_delivery(&lease, LEASE, self.at(0)).await;
        let until = self.now + lease_seconds();
        let del = self.del_mut(lease.delivery_id)?;
        let holds = del.held_by(lease.token);
        if agree(got, if holds { Ok(()) } else { Err(StoreError::StaleLease) })?.is_some() {
            del.lease_until = Some(until);
        }
        Ok(())
    }

    async fn start(&mut self, lease: u8) -> Result<(), Wrong> {
        let Some(lease) = pick(&self.del_leases, lease) else { return Ok(()) };
        let attempt = self.fixture.attempt();
        let got = self.subject.store().start_attempt(&lease, attempt, self.at(0)).await;
        let del = self.del_mut(lease.delivery_id)?;
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
            }
        }
        Ok(())
    }

    async fn finish(&mut self, lease: u8, end: u8, by: u8) -> Result<(), Wrong> {
        let Some(mut lease) = pick(&self.del_leases, lease) else { return Ok(()) };
        let at = self.now + i64::from(by);
        let (moment, problem) = (Fixture::at(at), Fixture::problem("KOP-TEST"));
        let item = || self.fixture.work_item("KOP-TEST");
        let end = match end % 7 {
            0 | 1 => AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: None }),
            2 => AttemptEnd::Retry { at: moment, problem },
            3 => AttemptEnd::Unclear { at: moment, problem },
            4 => AttemptEnd::Rejected { work_item: item(), problem },
            5 => AttemptEnd::Unknown { work_item: item(), problem },
            _ => AttemptEnd::Pending {
                ticket: Ticket { reference: "T-1".to_owned(), ask_after: LEASE },
                until: moment,
            },
        };
        let own = lease.token;
        if self.mistake == Some(Mistake::IgnoresToken) {
            lease.token = self.seen.tokens.get(&lease.delivery_id).copied().unwrap_or(own);
        }
        let got = self
            .subject
            .store()
            .finish_attempt(lease.clone(), end.clone(), LaneHealth::Unknown, Vec::new(), self.at(0))
            .await;
        let del = self.del_mut(lease.delivery_id)?;
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
        (del.lease_until, del.open) = (None, None);
        Ok(())
    }

    async fn recover(&mut self, limit: u8) -> Result<(), Wrong> {
        let got = self.subject.store().recover(LEASE, limit.into(), self.at(0)).await;
        let interrupted = got.map_err(|error| format!("{error:?}"))?;
        let wanted = self.dels.iter().filter(|del| del.interrupted(self.now)).count();
        hold(interrupted.len() == wanted.min(limit.into()), "what has no end is found")?;
        for one in interrupted {
            let lease = one.claimed.lease;
            let (now, until) = (self.now, self.now + lease_seconds());
            let del = self.del_mut(lease.delivery_id)?;
            hold(del.interrupted(now), "only what has no end")?;
            hold(del.open == Some(one.attempt.attempt_id), "the attempt that was started")?;
            hold(lease.token > del.token, "tokens grow")?;
            (del.token, del.lease_until) = (lease.token, Some(until));
            self.seen.tokens.insert(lease.delivery_id, lease.token);
            self.del_leases.push(lease);
        }
        Ok(())
    }

    async fn retry_delivery(&mut self, which: u8) -> Result<(), Wrong> {
        let Some(n) = self.any_del(which) else { return Ok(()) };
        let (tenant, target) = (self.dels[n].tenant.clone(), RetryTarget::Delivery(self.dels[n].id));
        let got = self.subject.store().retry(&tenant, target, "m.muster", self.at(0)).await;
        if agree(got, refused(self.dels[n].retry()))?.is_some() {
            let del = &mut self.dels[n];
            (del.state, del.next, del.attempts) = (DeliveryState::Wartend, Some(self.now), 0);
        }
        Ok(())
    }

    async fn retry_submission(&mut self, which: u8) -> Result<(), Wrong> {
        if self.subs.is_empty() {
            return Ok(());
        }
        let n = usize::from(which) % self.subs.len();
        let (tenant, id) = (self.subs[n].tenant.clone(), self.subs[n].accepted.submission_id);
        let target = RetryTarget::Submission(id);
        let got = self.subject.store().retry(&tenant, target, "m.muster", self.at(0)).await;
        let sub = &mut self.subs[n];
        let may = if sub.state == SubmissionState::Klaerung { Ok(()) } else { Err(sub.state.to_string()) };
        if agree(got, refused(may))?.is_some() {
            (sub.state, sub.due, sub.leased, sub.runs) =
                (SubmissionState::Eingegangen, self.now, false, sub.runs.min(1));
        }
        Ok(())
    }

    async fn close(&mut self, which: u8) -> Result<(), Wrong> {
        let open = self.subject.store().open_work_items(None, None, 1000).await;
        let Some(item) = pick(&open.map_err(|error| format!("{error:?}"))?, which) else { return Ok(()) };
        let store = self.subject.store();
        let got = store.close_work_item(&item.tenant, item.work_item_id, "m.muster", self.at(0)).await;
        agree(got, Ok(()))?;
        let got = store.close_work_item(&item.tenant, item.work_item_id, "m.muster", self.at(0)).await;
        agree(got, Err(StoreError::NotFound)).map(drop)
    }

    async fn correct(&mut self, which: u8) -> Result<(), Wrong> {
        if self.subs.is_empty() {
            return Ok(());
        }
        let n = usize::from(which) % self.subs.len();
        let new = NewCorrections {
            submission_id: self.subs[n].accepted.submission_id,
            seen: self.subs[n].corrections,
            corrections: vec![NewCorrection {
                path: "hund/rufname".to_owned(),
                before: None,
                after: "Rex".to_owned(),
            }],
            reason: "Anruf".to_owned(),
            who: "M. Muster".to_owned(),
            account: "mmuster".to_owned(),
        };
        let tenant = self.subs[n].tenant.clone();
        let got = self.subject.store().correct(&tenant, new, self.at(0)).await;
        let sub = &mut self.subs[n];
        let waits = sub.state == SubmissionState::Eingegangen;
        let may = if waits { Err(sub.state.to_string()) } else { Ok(()) };
        if agree(got, refused(may))?.is_some() {
            sub.corrections += 1;
        }
        Ok(())
    }

    async fn replace(&mut self, which: u8, despite: bool) -> Result<(), Wrong> {
        let Some(n) = self.any_del(which) else { return Ok(()) };
        let message = self.fixture.message(&self.dels[n].lane, self.fixture.first_attempt());
        let replacement = Replacement {
            earlier: self.dels[n].message,
            message: message.clone(),
            version: "aktuelle".to_owned(),
            who: "m.muster".to_owned(),
            reason: "berichtigt".to_owned(),
            despite,
        };
        let tenant = self.dels[n].tenant.clone();
        let got = self.subject.store().replace(&tenant, replacement, self.at(0)).await;
        if agree(got, refused(self.dels[n].replace(despite)))?.is_some() {
            let del = &mut self.dels[n];
            del.replaced = true;
            if del.state != DeliveryState::Zugestellt {
                (del.state, del.next) = (DeliveryState::Ersetzt, None);
            }
            let submission = self.subs[self.dels[n].sub].accepted.submission_id;
            self.add(&tenant, submission, &message)?;
        }
        Ok(())
    }

    fn any_del(&self, which: u8) -> Option<usize> {
        (!self.dels.is_empty()).then(|| usize::from(which) % self.dels.len())
    }

    fn sub_mut(&mut self, id: SubmissionId) -> Result<&mut Sub, Wrong> {
        let found = self.subs.iter_mut().find(|sub| sub.accepted.submission_id == id);
        found.ok_or_else(|| "a submission that nobody sent".to_owned())
    }

    fn del_mut(&mut self, id: DeliveryId) -> Result<&mut Del, Wrong> {
        let found = self.dels.iter_mut().find(|del| del.id == id);
        found.ok_or_else(|| "a delivery that nobody made".to_owned())
    }

    /// Everything that is stored is as the reference has it: nothing lost, nothing more.
    async fn compare(&self) -> Result<(), Wrong> {
        for (n, sub) in self.subs.iter().enumerate() {
            let got = self.subject.store().submission(&sub.tenant, sub.accepted.submission_id).await;
            let detail = got.map_err(|error| format!("an accepted submission: {error:?}"))?;
            let summary = &detail.submission.summary;
            hold((summary.state, summary.runs) == (sub.state, sub.runs), "state and runs of the submission")?;
            hold(detail.corrections.len() == sub.corrections as usize, "corrections")?;
            let dels: Vec<_> = self.dels.iter().filter(|del| del.sub == n).collect();
            hold(detail.deliveries.len() == dels.len() && detail.messages.len() == dels.len(), "deliveries")?;
            for del in dels {
                let found = detail.deliveries.iter().find(|one| one.delivery_id == del.id);
                let found = found.ok_or("a delivery is lost")?;
                let message = detail.messages.iter().find(|one| one.message_id == del.message);
                let message = message.ok_or("a message is lost")?;
                if (found.state, found.attempts) != (del.state, del.attempts) {
                    let (is, should) = ((found.state, found.attempts), (del.state, del.attempts));
                    return Err(format!("delivery {is:?}, but should be {should:?}"));
                }
                hold(
                    found.receipt.is_some() == (del.state == DeliveryState::Zugestellt),
                    "a receipt is proof",
                )?;
                hold(message.content_hash == del.hash, "the bytes never change")?;
                let follows = match del.state {
                    DeliveryState::Wartend | DeliveryState::Laufend | DeliveryState::Nachverfolgt => {
                        MessageState::Offen
                    }
                    DeliveryState::Zugestellt => MessageState::Zugestellt,
                    DeliveryState::Abgewiesen => MessageState::Abgewiesen,
                    DeliveryState::Klaerung => MessageState::Klaerung,
                    DeliveryState::Ersetzt => MessageState::Ersetzt,
                };
                hold(message.state == follows, "the message follows its delivery")?;
                let mut open =
                    detail.attempts.iter().filter(|one| one.delivery_id == del.id && one.ended_at.is_none());
                hold(open.next().map(|one| one.attempt_id) == del.open, "the open attempt")?;
                hold(open.next().is_none(), "at most one open attempt")?;
                let needs = matches!(del.state, DeliveryState::Wartend | DeliveryState::Nachverfolgt);
                hold(!needs || found.next_try_at.is_some(), "what waits has its moment")?;
            }
        }
        Ok(())
    }
}
