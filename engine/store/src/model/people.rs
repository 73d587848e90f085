// SPDX-License-Identifier: EUPL-1.2
//! What people do: have something tried again, corrected, made anew, settled, and deleted when its time has come.

use kop_core::sendung::Level;

use super::{
    Mistake, Subject,
    driver::{Driver, LANES, TELL_AFTER, Wrong, agree, hold},
    reference::{Del, Sub},
};
use crate::{
    error::StoreError,
    records::{DeliveryState, SubmissionState},
    retention::{Deletion, Demand, Phase},
    steps::{NewCorrection, NewCorrections, Replacement, RetryTarget},
};

/// Whoever acts.
const WHO: &str = "m.muster";

/// What a store says to an act, when the contents are there. Which of several reasons it names is its own affair.
fn allowed<T>(got: Result<T, StoreError>, empty: bool, why: Result<(), String>) -> Result<Option<T>, Wrong> {
    if !empty {
        return agree(got, why.map_err(StoreError::NotPossible));
    }
    hold(matches!(got, Err(StoreError::NotPossible(_))), "without contents nothing can be done")?;
    Ok(None)
}

/// One of the indices that fit.
fn choose(count: usize, which: u8, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let all: Vec<_> = (0..count).filter(|n| fits(*n)).collect();
    (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
}

impl<S: Subject> Driver<S> {
    fn any_sub(&self, which: u8) -> Option<usize> {
        choose(self.world.subs.len(), which, |n| !self.world.subs[n].gone)
    }

    fn any_del(&self, which: u8) -> Option<usize> {
        choose(self.world.dels.len(), which, |n| !self.sub_of(n).gone)
    }

    fn sub_of(&self, n: usize) -> &Sub {
        &self.world.subs[self.world.dels[n].sub]
    }

    pub(super) async fn retry_delivery(&mut self, which: u8) -> Result<(), Wrong> {
        let Some(n) = self.any_del(which) else { return Ok(()) };
        let (tenant, target) =
            (self.world.dels[n].tenant.clone(), RetryTarget::Delivery(self.world.dels[n].id));
        let got = self.subject.store().retry(&tenant, target, WHO, self.at(0)).await;
        if allowed(got, self.sub_of(n).empty, self.world.dels[n].retry())?.is_some() {
            let now = self.world.now;
            let tell = now + TELL_AFTER;
            let del = &mut self.world.dels[n];
            (del.state, del.next, del.attempts) = (DeliveryState::Wartend, Some(now), 0);
            del.tell = Some(tell);
            self.world.close_of(n);
            self.world.wait_for_turn(n);
        }
        Ok(())
    }

    pub(super) async fn retry_submission(&mut self, which: u8) -> Result<(), Wrong> {
        let Some(n) = self.any_sub(which) else { return Ok(()) };
        let (tenant, id) = (self.world.subs[n].tenant.clone(), self.world.subs[n].accepted.submission_id);
        let got = self.subject.store().retry(&tenant, RetryTarget::Submission(id), WHO, self.at(0)).await;
        let now = self.world.now;
        let sub = &mut self.world.subs[n];
        let may = if sub.state == SubmissionState::Klaerung { Ok(()) } else { Err(sub.state.to_string()) };
        if allowed(got, sub.empty, may)?.is_some() {
            (sub.state, sub.due, sub.leased, sub.runs) =
                (SubmissionState::Eingegangen, now, false, sub.runs.min(1));
            self.world.items.retain(|item| item.sub != n || !item.processing);
        }
        Ok(())
    }

    pub(super) async fn close(&mut self, which: u8) -> Result<(), Wrong> {
        let Some(at) = choose(self.world.items.len(), which, |_| true) else { return Ok(()) };
        let item = self.world.items.remove(at);
        let tenant = self.world.subs[item.sub].tenant.clone();
        let store = self.subject.store();
        agree(store.close_work_item(&tenant, item.id, WHO, self.at(0)).await, Ok(()))?;
        let again = store.close_work_item(&tenant, item.id, WHO, self.at(0)).await;
        agree(again, Err(StoreError::NotFound))?;
        if let Some(del) = item.del.filter(|n| self.world.dels[*n].parked()) {
            self.world.let_pass(del);
        }
        Ok(())
    }

    pub(super) async fn correct(&mut self, which: u8) -> Result<(), Wrong> {
        let Some(n) = self.any_sub(which) else { return Ok(()) };
        let new = NewCorrections {
            submission_id: self.world.subs[n].accepted.submission_id,
            seen: self.world.subs[n].corrections,
            corrections: vec![NewCorrection {
                path: "hund/rufname".to_owned(),
                before: None,
                after: "Rex".to_owned(),
            }],
            reason: "Anruf".to_owned(),
            who: "M. Muster".to_owned(),
            account: "mmuster".to_owned(),
        };
        let tenant = self.world.subs[n].tenant.clone();
        let got = self.subject.store().correct(&tenant, new, self.at(0)).await;
        let sub = &mut self.world.subs[n];
        let waits = sub.state == SubmissionState::Eingegangen;
        let may = if waits { Err(sub.state.to_string()) } else { Ok(()) };
        if allowed(got, sub.empty, may)?.is_some() {
            sub.corrections += 1;
        }
        Ok(())
    }

    pub(super) async fn replace(&mut self, which: u8, despite: bool) -> Result<(), Wrong> {
        let Some(n) = self.any_del(which) else { return Ok(()) };
        let message = self.message(&self.world.dels[n].lane, true, false);
        let replacement = Replacement {
            earlier: self.world.dels[n].message,
            message: message.clone(),
            version: "aktuelle".to_owned(),
            who: WHO.to_owned(),
            reason: "berichtigt".to_owned(),
            despite,
        };
        let tenant = self.world.dels[n].tenant.clone();
        let got = self.subject.store().replace(&tenant, replacement, self.at(0)).await;
        if allowed(got, self.sub_of(n).empty, self.world.dels[n].replace(despite))?.is_some() {
            let del = &mut self.world.dels[n];
            del.replaced = true;
            if del.state != DeliveryState::Zugestellt {
                (del.state, del.next, del.tell) = (DeliveryState::Ersetzt, None, None);
                del.queued = false;
            }
            self.world.close_of(n);
            let sub = self.world.dels[n].sub;
            self.add(sub, &message, false);
            self.world.let_pass(n);
        }
        Ok(())
    }

    /// The next phase of deletion; some receivers have to have it first.
    pub(super) async fn delete(&mut self, which: u8, demand: u8) -> Result<(), Wrong> {
        let Some(n) = self.any_sub(which) else { return Ok(()) };
        let demanded = LANES.get(usize::from(demand)).copied();
        let sub = &self.world.subs[n];
        let demand = |lane: &str| Demand { receiver: lane.to_owned(), level: Level::Empfangen };
        let ignored = self.mistake == Some(Mistake::DeletesUndelivered);
        let deletion = Deletion {
            tenant: sub.tenant.clone(),
            submission_id: sub.accepted.submission_id,
            phase: if sub.empty { Phase::Metadaten } else { Phase::Inhalte },
            demands: demanded.filter(|_| !ignored).map(demand).into_iter().collect(),
            days: 90,
        };
        let blocked = self.world.blocked(n, demanded);
        let store = self.subject.store();
        if self.mistake == Some(Mistake::DeletesWhatIsOpen) {
            for item in self.world.items.iter().filter(|item| item.sub == n) {
                let _ = store.close_work_item(&deletion.tenant, item.id, WHO, self.at(0)).await;
            }
        }
        let other = if sub.empty { Phase::Inhalte } else { Phase::Metadaten };
        let order = store.delete(Deletion { phase: other, ..deletion.clone() }, self.at(0)).await;
        hold(matches!(order, Err(StoreError::NotPossible(_))), "contents go first, and once")?;
        let got = store.delete(deletion, self.at(0)).await;
        if blocked {
            return hold(matches!(got, Err(StoreError::NotPossible(_))), "what is not settled stays");
        }
        hold(got.is_ok(), "what is settled may go")?;
        let sub = &mut self.world.subs[n];
        (sub.gone, sub.empty, sub.corrections) = (sub.empty, true, 0);
        if sub.gone {
            let of = |del: &&mut Del| del.sub == n;
            self.world.dels.iter_mut().filter(of).for_each(|del| del.holds = false);
        }
        Ok(())
    }
}
