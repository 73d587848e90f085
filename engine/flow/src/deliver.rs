// SPDX-License-Identifier: EUPL-1.2
//! From a stored message to its receiver: one attempt at a time, recorded as started before its first byte
//! leaves. What an attempt's outcome leads to is decided here and nowhere else.

use std::{sync::Arc, time::Duration};

use kop_connector_api::Connector;
use kop_core::{
    AttemptId, DeliveryId, Diagnostic, LaneHealth, LaneLimits, LanePolicy, MessageId, Outcome, Repeatability,
    Sendung, SubmissionId, TenantId, WorkItemId, Zeitpunkt, diagnostic::Class,
};
use kop_store::{
    AttemptEnd, ClaimedDelivery, DeliveryClaim, Interrupted, Lanes, NewWorkItem, Overdue, StartedAttempt,
};
use kop_tenant::{Generation, Receiver, Tenants};

use tracing::Instrument;

use crate::{engine::Engine, insist::insist, trace};

/// Longer than any attempt ([`kop_core::lane::LONGEST_ATTEMPT`]), so that it ends before someone else may take the
/// delivery over.
pub(crate) const LEASE: Duration = Duration::from_secs(900);

/// Deliveries told about in one look.
const TOLD_AT_ONCE: u32 = 100;

/// The lanes as the tenants have configured them. A receiver that is gone keeps the usual limits.
struct LanesOf(Arc<Tenants>);

impl Lanes for LanesOf {
    fn limits(&self, tenant: &str, lane: &str) -> LaneLimits {
        let generation = tenant.parse().ok().and_then(|tenant: TenantId| self.0.get(&tenant));
        let receiver = generation.as_ref().and_then(|generation| generation.receiver(lane));
        receiver.map(|receiver| receiver.lane).unwrap_or_default().limits()
    }
}

/// How long the start of an attempt waits for a store that cannot take it: with the longest attempt, it ends within the
/// lease.
const INSIST_ON_START: Duration = Duration::from_secs(50);

/// How long its end waits, at most: while its lease holds nobody else decides about it, and whoever stops the program
/// waits for it.
const INSIST_ON_END: Duration = Duration::from_secs(300);

/// A delivery whose attempt is recorded as started.
pub struct Start {
    /// Where it comes from.
    pub submission: SubmissionId,
    /// The attempt.
    pub started: StartedAttempt,
    /// What to send.
    pub sendung: Sendung,
    /// To whom.
    pub receiver: String,
    /// Configuration to send under.
    pub generation: Arc<Generation>,
}

/// Leases deliveries that are due. Errors are logged; the next look tries again.
pub async fn claim(
    engine: &Engine,
    limit: u32,
    only: Option<(TenantId, DeliveryId)>,
) -> Vec<ClaimedDelivery> {
    let lanes = Arc::new(LanesOf(engine.parts.tenants.clone()));
    let claim = DeliveryClaim { lease_for: LEASE, limit, lanes, only };
    engine.parts.store.claim_deliveries(claim, engine.now()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "Deliveries cannot be claimed.");
        Vec::new()
    })
}

/// Attempts that a crash left without an end.
pub async fn recover(engine: &Engine, limit: u32) -> Vec<Interrupted> {
    engine.parts.store.recover(LEASE, limit, engine.now()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "Interrupted attempts cannot be looked for.");
        Vec::new()
    })
}

/// Starts and carries out an attempt of a claimed delivery: a sending, or a question about an earlier one.
pub async fn attempt(engine: &Engine, claimed: ClaimedDelivery) {
    let attempt_id = AttemptId(engine.parts.ids.next());
    let start = || engine.parts.store.start_attempt(&claimed.lease, attempt_id, engine.now());
    let started = match insist(INSIST_ON_START, start).await {
        Ok(started) => started,
        Err(error) => {
            tracing::warn!(delivery = %claimed.delivery.delivery_id, %error, "The attempt could not be started.");
            return;
        }
    };
    let traced = trace::Attempt::of_claimed(engine, &claimed, &started);
    let span = span(&started, claimed.delivery.submission_id, claimed.delivery.message_id);
    let ended = carry_out(engine, claimed, started).instrument(span).await;
    tell(engine, traced, ended);
}

/// Tells the trace of an attempt whose end is recorded.
fn tell(engine: &Engine, traced: Option<trace::Attempt<'_>>, ended: Option<Ended>) {
    if let (Some(traced), Some(ended)) = (traced, ended) {
        traced.end(engine, &ended);
    }
}

/// Every line that is logged about an attempt says by its ids what it belongs to.
fn span(started: &StartedAttempt, submission: SubmissionId, message: MessageId) -> tracing::Span {
    let lease = &started.lease;
    tracing::info_span!(
        "attempt", tenant = %lease.tenant, %submission, %message, delivery = %lease.delivery_id,
        attempt = %started.attempt_id
    )
}

async fn carry_out(engine: &Engine, claimed: ClaimedDelivery, started: StartedAttempt) -> Option<Ended> {
    let tenant = &claimed.delivery.tenant;
    let Some(generation) = engine.parts.tenants.get(tenant) else {
        return finish(engine, None, started, Said::ours(not_loaded())).await;
    };
    let sendung = sendung(&claimed, &generation);
    #[cfg(feature = "mutants")]
    let sendung = crate::mutant::remap_on_retry(engine, &claimed, &generation, sendung).await;
    if let Some(ticket) = &claimed.delivery.ticket {
        let Some(receiver) = generation.receiver(&claimed.message.receiver) else {
            return finish(engine, None, started, Said::ours(receiver_gone())).await;
        };
        let said = match engine.connector(&generation, receiver) {
            Ok(connector) => {
                Said::by(&*connector, bounded(engine, receiver, connector.follow_up(ticket)).await)
            }
            Err(problem) => Said::ours(problem),
        };
        return finish(engine, Some(receiver), started, said).await;
    }
    let (submission, receiver) = (claimed.delivery.submission_id, claimed.message.receiver.clone());
    hand_over(engine, Start { submission, started, sendung, receiver, generation }).await
}

/// Sends a started attempt's bytes and records what came of it.
pub async fn send(engine: &Engine, start: Start) {
    let traced = trace::Attempt::first(engine, &start);
    let span = span(&start.started, start.submission, start.sendung.message_id);
    let ended = hand_over(engine, start).instrument(span).await;
    tell(engine, traced, ended);
}

async fn hand_over(engine: &Engine, start: Start) -> Option<Ended> {
    let Start { started, sendung, receiver, generation, .. } = start;
    let Some(receiver) = generation.receiver(&receiver) else {
        return finish(engine, None, started, Said::ours(receiver_gone())).await;
    };
    let said = if generation.stage.may_reach(receiver.stage) {
        match engine.connector(&generation, receiver) {
            Ok(connector) => {
                Said::by(&*connector, bounded(engine, receiver, connector.deliver(&sendung)).await)
            }
            Err(problem) => Said::ours(problem),
        }
    } else {
        // The check of the configuration refuses this; a second lock costs nothing.
        let outcome = Outcome::Reject(wrong_stage());
        Said { outcome, repeatability: Repeatability::Unsafe, by_receiver: false }
    };
    finish(engine, Some(receiver), started, said).await
}

/// Decides about an attempt that was started and never ended, by what its receiver can bear.
pub async fn after_interruption(engine: &Engine, interrupted: Interrupted) {
    let Interrupted { claimed, attempt } = &interrupted;
    let started = StartedAttempt {
        lease: claimed.lease.clone(),
        attempt_id: attempt.attempt_id,
        number: attempt.number,
        give_up_at: claimed.delivery.give_up_at,
    };
    let generation = engine.parts.tenants.get(&claimed.delivery.tenant);
    let receiver = generation.as_ref().and_then(|generation| generation.receiver(&claimed.message.receiver));
    let repeatability = generation
        .as_ref()
        .zip(receiver)
        .and_then(|(generation, receiver)| engine.connector(generation, receiver).ok())
        .map_or(Repeatability::Unsafe, |connector| connector.repeatability());
    let receiver = receiver.map(|receiver| &**receiver);
    let outcome = Outcome::Unknown(interrupted_problem());
    let span = span(&started, claimed.delivery.submission_id, claimed.delivery.message_id);
    let said = Said { outcome, repeatability, by_receiver: false };
    let traced = trace::Attempt::interrupted(engine, &interrupted, &started);
    let ended = finish(engine, receiver, started, said).instrument(span).await;
    tell(engine, traced, ended);
}

/// Tells a person about deliveries that take long; their attempts go on.
pub async fn tell_overdue(engine: &Engine) {
    let store = &engine.parts.store;
    let overdue = match store.overdue(TOLD_AT_ONCE, engine.now()).await {
        Ok(overdue) => overdue,
        Err(error) => {
            tracing::error!(%error, "Overdue deliveries cannot be looked for.");
            return;
        }
    };
    for one in overdue {
        let item = NewWorkItem::new(WorkItemId(engine.parts.ids.next()), vec![takes_long(&one)]);
        match store.tell(&one, item, engine.now()).await {
            Ok(true) => {
                tracing::warn!(tenant = %one.tenant, delivery = %one.delivery_id, "Delivery takes long.");
            }
            Ok(false) => {}
            Err(error) => tracing::error!(delivery = %one.delivery_id, %error, "A person could not be told."),
        }
    }
}

/// An outcome, and who it tells about.
struct Said {
    outcome: Outcome,
    repeatability: Repeatability,
    /// The receiver was reached, or could not be: it counts for its lane. Otherwise the reason is our own.
    by_receiver: bool,
}

impl Said {
    /// Nothing left; to be tried again once a person has mended it.
    fn ours(problem: Diagnostic) -> Self {
        let outcome = Outcome::Retry { after: None, problem };
        Self { outcome, repeatability: Repeatability::Unsafe, by_receiver: false }
    }

    fn by(connector: &dyn Connector, outcome: Outcome) -> Self {
        Self { outcome, repeatability: connector.repeatability(), by_receiver: true }
    }

    fn health(&self, lane: LanePolicy) -> LaneHealth {
        match (&self.outcome, self.by_receiver) {
            (_, false) => LaneHealth::Unknown,
            (Outcome::Receipt(_) | Outcome::Pending(_) | Outcome::Reject(_), true) => LaneHealth::Well,
            (Outcome::Retry { .. } | Outcome::Unknown(_), true) => LaneHealth::Failing(lane.unterbrechung),
        }
    }
}

async fn bounded(engine: &Engine, receiver: &Receiver, call: impl Future<Output = Outcome>) -> Outcome {
    let begun = std::time::Instant::now();
    let outcome = tokio::time::timeout(receiver.lane.deadline(), call).await;
    engine.metrics.deliver.observe(begun.elapsed());
    outcome.unwrap_or_else(|_| {
        Outcome::Unknown(Diagnostic::new(
            "KOP-F015",
            "Der Empfänger hat in der vorgesehenen Zeit nicht geantwortet.",
            "The receiver did not answer in time.",
        ))
    })
}

/// How a recorded attempt ended, and when.
pub(crate) struct Ended {
    pub(crate) end: AttemptEnd,
    pub(crate) at: Zeitpunkt,
}

/// Records how an attempt ended and what follows from it; `None` when that could not be recorded.
async fn finish(
    engine: &Engine,
    receiver: Option<&Receiver>,
    started: StartedAttempt,
    said: Said,
) -> Option<Ended> {
    let at = engine.now();
    let delivery_id = started.lease.delivery_id;
    let health = said.health(receiver.map(|receiver| receiver.lane).unwrap_or_default());
    engine.metrics.ended(kop_store::AttemptOutcome::from(&said.outcome).as_str());
    let end = decide(engine, receiver, &started, said);
    match &end {
        AttemptEnd::Delivered(receipt) => {
            tracing::info!(delivery = %delivery_id, level = ?receipt.level, "Delivered.");
        }
        AttemptEnd::Pending { .. } => {
            tracing::info!(delivery = %delivery_id, "Handed over, to be followed up.");
        }
        AttemptEnd::Retry { at, problem } | AttemptEnd::Unclear { at, problem } => {
            tracing::warn!(delivery = %delivery_id, next = %at, %problem, "Attempt failed, will be repeated.");
        }
        AttemptEnd::GivenUp { problem, .. }
        | AttemptEnd::Rejected { problem, .. }
        | AttemptEnd::Unknown { problem, .. } => {
            tracing::error!(delivery = %delivery_id, %problem, "Delivery needs a person.");
        }
    }
    let store = &engine.parts.store;
    let lease = started.lease.until.duration_since(engine.now());
    let lease = Duration::try_from(lease).unwrap_or_default();
    let recorded = insist(INSIST_ON_END.min(lease), || {
        store.finish_attempt(started.lease.clone(), end.clone(), health, Vec::new(), engine.now())
    });
    match recorded.await {
        Ok(()) => Some(Ended { end, at }),
        Err(error) => {
            // The attempt stays "started"; once its lease has run out it is treated like one that a crash left.
            tracing::error!(delivery = %delivery_id, %error, "The end of an attempt could not be stored.");
            None
        }
    }
}

fn decide(engine: &Engine, receiver: Option<&Receiver>, started: &StartedAttempt, said: Said) -> AttemptEnd {
    let now = engine.now();
    let work_item = |problem: &Diagnostic| {
        let mut item = NewWorkItem::new(WorkItemId(engine.parts.ids.next()), vec![problem.clone()]);
        item.delivery_id = Some(started.lease.delivery_id);
        item
    };
    // The spread comes from the delivery's id, so that the same run gives the same schedule.
    let spread = f64::from(started.lease.delivery_id.0.as_bytes()[15]) / 255.0;
    let schedule = receiver.map(|receiver| receiver.retry).unwrap_or_default();
    // The third clock: no attempt after it.
    let in_time = |pause: Duration| Some(later(now, pause)).filter(|at| *at <= started.give_up_at);
    let next = |problem: &Diagnostic, least: Duration| {
        let pause = schedule.pause_after(started.number, spread).filter(|_| may_pass(problem));
        pause.and_then(|pause| in_time(pause.max(least)))
    };
    match said.outcome {
        Outcome::Receipt(receipt) => AttemptEnd::Delivered(receipt),
        Outcome::Pending(ticket) => {
            if let Some(until) = in_time(ticket.ask_after.max(Duration::from_secs(1))) {
                AttemptEnd::Pending { until, ticket }
            } else {
                let problem = never_confirmed();
                AttemptEnd::GivenUp { work_item: work_item(&problem), problem }
            }
        }
        Outcome::Retry { after, problem } => match next(&problem, after.unwrap_or_default()) {
            Some(at) => AttemptEnd::Retry { at, problem },
            None => AttemptEnd::GivenUp { work_item: work_item(&problem), problem },
        },
        Outcome::Reject(problem) => AttemptEnd::Rejected { work_item: work_item(&problem), problem },
        Outcome::Unknown(problem) => match (said.repeatability, next(&problem, Duration::ZERO)) {
            (Repeatability::Idempotent, Some(at)) => AttemptEnd::Unclear { at, problem },
            // A question needs a ticket, and an attempt of unknown end has none: a person decides.
            (Repeatability::Idempotent | Repeatability::Queryable | Repeatability::Unsafe, _) => {
                AttemptEnd::Unknown { work_item: work_item(&problem), problem }
            }
        },
    }
}

/// Whether the same bytes may fare better another time. What is wrong with the application or its mapping stays wrong,
/// whatever a connector says.
fn may_pass(problem: &Diagnostic) -> bool {
    !matches!(problem.class, Class::Fachlich | Class::Zuordnung)
}

fn later(now: Zeitpunkt, pause: Duration) -> Zeitpunkt {
    now.checked_add(pause).unwrap_or(Zeitpunkt::MAX)
}

fn sendung(claimed: &ClaimedDelivery, generation: &Generation) -> Sendung {
    Sendung {
        tenant: claimed.delivery.tenant.clone(),
        message_id: claimed.message.message_id,
        delivery_id: claimed.delivery.delivery_id,
        stage: generation.stage,
        vorgangsnummer: claimed.vorgangsnummer.clone(),
        mapping: claimed.message.mapping.clone(),
        received_at: claimed.received_at,
        created_at: claimed.message.created_at,
        main: claimed.message.main.clone(),
        parts: claimed.message.parts.clone(),
    }
}

pub(crate) fn not_loaded() -> Diagnostic {
    Diagnostic::new(
        "KOP-F007",
        "Die Konfiguration des Mandanten ist nicht geladen.",
        "The tenant's configuration is not loaded.",
    )
}

fn receiver_gone() -> Diagnostic {
    Diagnostic::new(
        "KOP-F016",
        "Den Empfänger dieser Sendung gibt es in der Konfiguration nicht mehr.",
        "The receiver of this message is no longer in the configuration.",
    )
}

fn wrong_stage() -> Diagnostic {
    Diagnostic::new(
        "KOP-F017",
        "Mandant und Empfänger gehören zu verschiedenen Stufen; die Sendung wurde nicht übergeben.",
        "Tenant and receiver belong to different stages; the message was not handed over.",
    )
}

fn interrupted_problem() -> Diagnostic {
    Diagnostic::new(
        "KOP-F018",
        "Die Zustellung wurde unterbrochen; ob der Empfänger die Sendung hat, ist nicht bekannt.",
        "The delivery was interrupted; whether the receiver has the message is not known.",
    )
}

fn takes_long(overdue: &Overdue) -> Diagnostic {
    Diagnostic::new(
        "KOP-F022",
        "Die Sendung ist noch nicht beim Empfänger; es wird weiter versucht.",
        "The message has not reached its receiver yet; attempts go on.",
    )
    .with_detail(format!("Empfänger „{}“, seit {}", overdue.lane, overdue.since))
}

fn never_confirmed() -> Diagnostic {
    Diagnostic::new(
        "KOP-F023",
        "Der Empfänger hat die Sendung übernommen, ihren Empfang aber nie bestätigt.",
        "The receiver took the message over and never confirmed it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_mend_is_not_tried_again_blindly() {
        let of = |class| may_pass(&Diagnostic { class, ..takes_long(&overdue()) });
        assert!(of(Class::Technisch) && of(Class::Struktur));
        assert!(!of(Class::Fachlich) && !of(Class::Zuordnung));
    }

    fn overdue() -> Overdue {
        Overdue {
            tenant: "nord".parse().unwrap(),
            delivery_id: DeliveryId(uuid::Uuid::nil()),
            lane: "amt".to_owned(),
            since: Zeitpunkt::UNIX_EPOCH,
        }
    }
}
