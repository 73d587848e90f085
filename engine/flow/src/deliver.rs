// SPDX-License-Identifier: EUPL-1.2
//! From a stored message to its receiver: one attempt at a time, recorded as started before its first byte
//! leaves. What an attempt's outcome leads to is decided here and nowhere else.

use std::{sync::Arc, time::Duration};

use kop_core::{
    AttemptId, DeliveryId, Diagnostic, Outcome, Repeatability, Sendung, TenantId, WorkItemId, Zeitpunkt,
};
use kop_store::{
    AttemptEnd, ClaimedDelivery, DeliveryClaim, Interrupted, MessageRecord, NewWorkItem, StartedAttempt,
};
use kop_tenant::{Generation, Receiver};

use crate::engine::Engine;

/// Longer than [`SEND_DEADLINE`], so that an attempt ends before someone else may take the delivery over.
pub(crate) const LEASE: Duration = Duration::from_secs(900);

/// No attempt lasts longer.
const SEND_DEADLINE: Duration = Duration::from_secs(840);

/// A delivery whose attempt is recorded as started.
pub struct Start {
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
    per_lane: u32,
    only: Option<(TenantId, DeliveryId)>,
) -> Vec<ClaimedDelivery> {
    let claim = DeliveryClaim { lease_for: LEASE, limit, per_lane, only };
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
    let started = match engine.parts.store.start_attempt(&claimed.lease, attempt_id, engine.now()).await {
        Ok(started) => started,
        Err(error) => {
            tracing::warn!(delivery = %claimed.delivery.delivery_id, %error, "The attempt could not be started.");
            return;
        }
    };
    let tenant = &claimed.delivery.tenant;
    let Some(generation) = engine.parts.tenants.get(tenant) else {
        let outcome = Outcome::Retry { after: None, problem: not_loaded() };
        return finish(engine, None, Repeatability::Unsafe, started, outcome).await;
    };
    let sendung = sendung(&claimed, &generation);
    #[cfg(feature = "mutants")]
    let sendung = crate::mutant::remap_on_retry(engine, &claimed, &generation, sendung).await;
    if let Some(ticket) = &claimed.delivery.ticket {
        let receiver = generation.receiver(&claimed.message.receiver);
        let (outcome, repeatability) = match connect(engine, &generation, &claimed.message) {
            Ok(connector) => (bounded(connector.follow_up(ticket)).await, connector.repeatability()),
            Err(problem) => (Outcome::Retry { after: None, problem }, Repeatability::Unsafe),
        };
        return finish(engine, receiver.map(|receiver| &**receiver), repeatability, started, outcome).await;
    }
    send(engine, Start { started, sendung, receiver: claimed.message.receiver.clone(), generation }).await;
}

/// Sends a started attempt's bytes and records what came of it.
pub async fn send(engine: &Engine, start: Start) {
    let Start { started, sendung, receiver, generation } = start;
    let Some(receiver) = generation.receiver(&receiver) else {
        let outcome = Outcome::Retry { after: None, problem: receiver_gone() };
        return finish(engine, None, Repeatability::Unsafe, started, outcome).await;
    };
    let (outcome, repeatability) = if generation.stage.may_reach(receiver.stage) {
        match engine.connector(&generation, receiver) {
            Ok(connector) => (bounded(connector.deliver(&sendung)).await, connector.repeatability()),
            Err(problem) => (Outcome::Retry { after: None, problem }, Repeatability::Unsafe),
        }
    } else {
        // The check of the configuration refuses this; a second lock costs nothing.
        (Outcome::Reject(wrong_stage()), Repeatability::Unsafe)
    };
    finish(engine, Some(receiver), repeatability, started, outcome).await;
}

/// Decides about an attempt that was started and never ended, by what its receiver can bear.
pub async fn after_interruption(engine: &Engine, interrupted: Interrupted) {
    let Interrupted { claimed, attempt } = interrupted;
    let started =
        StartedAttempt { lease: claimed.lease, attempt_id: attempt.attempt_id, number: attempt.number };
    let generation = engine.parts.tenants.get(&claimed.delivery.tenant);
    let receiver = generation.as_ref().and_then(|generation| generation.receiver(&claimed.message.receiver));
    let repeatability = generation
        .as_ref()
        .and_then(|generation| connect(engine, generation, &claimed.message).ok())
        .map_or(Repeatability::Unsafe, |connector| connector.repeatability());
    let receiver = receiver.map(|receiver| &**receiver);
    finish(engine, receiver, repeatability, started, Outcome::Unknown(interrupted_problem())).await;
}

async fn bounded(call: impl Future<Output = Outcome>) -> Outcome {
    tokio::time::timeout(SEND_DEADLINE, call).await.unwrap_or_else(|_| {
        Outcome::Unknown(Diagnostic::new(
            "KOP-F015",
            "Der Empfänger hat in der vorgesehenen Zeit nicht geantwortet.",
            "The receiver did not answer in time.",
        ))
    })
}

fn connect(
    engine: &Engine,
    generation: &Generation,
    message: &MessageRecord,
) -> Result<Arc<dyn kop_connector_api::Connector>, Diagnostic> {
    let receiver = generation.receiver(&message.receiver).ok_or_else(receiver_gone)?;
    engine.connector(generation, receiver)
}

/// Records how an attempt ended and what follows from it.
async fn finish(
    engine: &Engine,
    receiver: Option<&Receiver>,
    repeatability: Repeatability,
    started: StartedAttempt,
    outcome: Outcome,
) {
    let delivery_id = started.lease.delivery_id;
    let end = decide(engine, receiver, &started, outcome, repeatability);
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
    if let Err(error) = engine.parts.store.finish_attempt(started.lease, end, Vec::new(), engine.now()).await
    {
        // The attempt stays "started"; once its lease has run out it is treated like one that a crash left.
        tracing::error!(delivery = %delivery_id, %error, "The end of an attempt could not be stored.");
    }
}

fn decide(
    engine: &Engine,
    receiver: Option<&Receiver>,
    started: &StartedAttempt,
    outcome: Outcome,
    repeatability: Repeatability,
) -> AttemptEnd {
    let now = engine.now();
    let work_item = |problem: &Diagnostic| {
        let mut item = NewWorkItem::new(WorkItemId(engine.parts.ids.next()), vec![problem.clone()]);
        item.delivery_id = Some(started.lease.delivery_id);
        item
    };
    // The spread comes from the delivery's id, so that the same run gives the same schedule.
    let spread = f64::from(started.lease.delivery_id.0.as_bytes()[15]) / 255.0;
    let schedule = receiver.map(|receiver| receiver.retry).unwrap_or_default();
    let pause = schedule.pause_after(started.number, spread);
    match outcome {
        Outcome::Receipt(receipt) => AttemptEnd::Delivered(receipt),
        Outcome::Pending(ticket) => {
            AttemptEnd::Pending { until: later(now, ticket.ask_after.max(Duration::from_secs(1))), ticket }
        }
        Outcome::Retry { after, problem } => match pause {
            Some(pause) => {
                AttemptEnd::Retry { at: later(now, pause.max(after.unwrap_or_default())), problem }
            }
            None => AttemptEnd::GivenUp { work_item: work_item(&problem), problem },
        },
        Outcome::Reject(problem) => AttemptEnd::Rejected { work_item: work_item(&problem), problem },
        Outcome::Unknown(problem) => match (repeatability, pause) {
            (Repeatability::Idempotent, Some(pause)) => {
                AttemptEnd::Unclear { at: later(now, pause), problem }
            }
            // A question needs a ticket, and an attempt of unknown end has none: a person decides.
            (Repeatability::Idempotent | Repeatability::Queryable | Repeatability::Unsafe, _) => {
                AttemptEnd::Unknown { work_item: work_item(&problem), problem }
            }
        },
    }
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

fn not_loaded() -> Diagnostic {
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
