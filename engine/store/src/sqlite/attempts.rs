// SPDX-License-Identifier: EUPL-1.2
//! An attempt: recorded as started before its first byte leaves, and its end together with what follows.

use kop_core::{
    AttemptId, Diagnostic, LaneHealth, MessageId, Receipt, SubmissionId, Ticket, clock::Zeitpunkt,
    sendung::Level,
};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{deliveries::kind_of, lanes, row, timeline::Timeline, turn};
use crate::{
    error::StoreError,
    records::{AttemptKind, AttemptOutcome, DeliveryState, MessageState},
    steps::{AttemptEnd, DeliveryLease, NewEvent, NewWorkItem, StartedAttempt, event},
};

struct Held {
    submission: SubmissionId,
    message: MessageId,
    lane: String,
    state: String,
    attempts: u32,
    give_up_at: Zeitpunkt,
    open_attempt: Option<String>,
}

/// The delivery, when the lease still holds.
fn check(conn: &Connection, lease: &DeliveryLease) -> Result<Held, StoreError> {
    conn.prepare_cached(
        "SELECT submission_id, message_id, state, attempts, open_attempt, lane, give_up_at FROM delivery
         WHERE tenant = ?1 AND delivery_id = ?2 AND token = ?3 AND lease_until IS NOT NULL",
    )?
    .query_row((lease.tenant.as_str(), lease.delivery_id.to_string(), lease.token.cast_signed()), |row| {
        Ok(Held {
            submission: row::parsed(row, 0)?,
            message: row::parsed(row, 1)?,
            state: row.get(2)?,
            attempts: row.get(3)?,
            open_attempt: row.get(4)?,
            lane: row.get(5)?,
            give_up_at: row::moment(row, 6)?,
        })
    })
    .optional()?
    .ok_or(StoreError::StaleLease)
}

pub(super) fn start(
    conn: &Connection,
    lease: DeliveryLease,
    attempt_id: AttemptId,
    now: Zeitpunkt,
) -> Result<StartedAttempt, StoreError> {
    let held = check(conn, &lease)?;
    if held.open_attempt.is_some() {
        return Err(StoreError::NotPossible("an attempt is under way".to_owned()));
    }
    let kind = kind_of(&held.state);
    let number = held.attempts + u32::from(kind == AttemptKind::Senden);
    let (tenant, delivery) = (lease.tenant.as_str(), lease.delivery_id.to_string());
    conn.prepare_cached(
        "INSERT INTO attempt (tenant, delivery_id, attempt_id, submission_id, kind, number, started_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        tenant,
        &delivery,
        attempt_id.to_string(),
        held.submission.to_string(),
        kind.as_str(),
        number,
        row::micros(now),
    ))?;
    conn.prepare_cached(
        "UPDATE delivery SET open_attempt = ?3, attempts = ?4, due_at = NULL
         WHERE tenant = ?1 AND delivery_id = ?2",
    )?
    .execute((tenant, &delivery, attempt_id.to_string(), number))?;
    Timeline::new(conn, &lease.tenant, held.submission, now)
        .about(held.message, lease.delivery_id)
        .add(event::VERSUCH, &json!({ "versuch": number, "art": kind.as_str() }))?;
    Ok(StartedAttempt { lease, attempt_id, number, give_up_at: held.give_up_at })
}

/// What an end means for attempt, delivery and message.
struct Effect<'a> {
    outcome: AttemptOutcome,
    delivery: DeliveryState,
    message: MessageState,
    next_try_at: Option<Zeitpunkt>,
    receipt: Option<&'a Receipt>,
    ticket: Option<&'a Ticket>,
    problem: Option<&'a Diagnostic>,
    work_item: Option<&'a NewWorkItem>,
    event: &'static str,
}

impl<'a> Effect<'a> {
    fn of(end: &'a AttemptEnd, asked: bool) -> Self {
        let none = Self {
            outcome: AttemptOutcome::Zugestellt,
            delivery: DeliveryState::Zugestellt,
            message: MessageState::Zugestellt,
            next_try_at: None,
            receipt: None,
            ticket: None,
            problem: None,
            work_item: None,
            event: event::ZUGESTELLT,
        };
        match end {
            AttemptEnd::Delivered(receipt) => Self { receipt: Some(receipt), ..none },
            AttemptEnd::Pending { ticket, until } => Self {
                outcome: AttemptOutcome::Nachverfolgt,
                delivery: DeliveryState::Nachverfolgt,
                message: MessageState::Offen,
                next_try_at: Some(*until),
                ticket: Some(ticket),
                event: event::NACHVERFOLGT,
                ..none
            },
            AttemptEnd::Retry { at, problem } | AttemptEnd::Unclear { at, problem } => Self {
                outcome: match end {
                    AttemptEnd::Unclear { .. } => AttemptOutcome::Unklar,
                    _ => AttemptOutcome::Wiederholung,
                },
                delivery: if asked { DeliveryState::Nachverfolgt } else { DeliveryState::Wartend },
                message: MessageState::Offen,
                next_try_at: Some(*at),
                problem: Some(problem),
                event: event::WIEDERHOLUNG,
                ..none
            },
            AttemptEnd::GivenUp { problem, work_item } => Self {
                outcome: AttemptOutcome::Aufgegeben,
                delivery: DeliveryState::Klaerung,
                message: MessageState::Klaerung,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::AUFGEGEBEN,
                ..none
            },
            AttemptEnd::Rejected { problem, work_item } => Self {
                outcome: AttemptOutcome::Abgewiesen,
                delivery: DeliveryState::Abgewiesen,
                message: MessageState::Abgewiesen,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::ABGEWIESEN,
                ..none
            },
            AttemptEnd::Unknown { problem, work_item } => Self {
                outcome: AttemptOutcome::Unklar,
                delivery: DeliveryState::Klaerung,
                message: MessageState::Klaerung,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::UNKLAR,
                ..none
            },
        }
    }

    /// How far the delivery got with this attempt.
    fn level(&self) -> Option<Level> {
        match self.outcome {
            AttemptOutcome::Zugestellt => self.receipt.map(|receipt| receipt.level),
            AttemptOutcome::Nachverfolgt => Some(Level::Uebergeben),
            _ => None,
        }
    }
}

pub(super) fn finish(
    conn: &Connection,
    lease: &DeliveryLease,
    end: &AttemptEnd,
    health: LaneHealth,
    events: &[NewEvent],
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let held = check(conn, lease)?;
    let Some(attempt) = held.open_attempt else {
        return Err(StoreError::NotPossible("no attempt is under way".to_owned()));
    };
    let asked = kind_of(&held.state) == AttemptKind::Nachfragen;
    let effect = Effect::of(end, asked);
    let level = effect.level().map(|level| row::word(&level)).transpose()?;
    let (tenant, delivery) = (lease.tenant.as_str(), lease.delivery_id.to_string());
    conn.prepare_cached(
        "UPDATE attempt SET ended_at = ?4, outcome = ?5, level = ?6, problem = ?7
         WHERE tenant = ?1 AND delivery_id = ?2 AND attempt_id = ?3",
    )?
    .execute((
        tenant,
        &delivery,
        attempt,
        row::micros(now),
        effect.outcome.as_str(),
        &level,
        effect.problem.map(row::json).transpose()?,
    ))?;
    // A question that failed is asked again with the ticket that is there.
    conn.prepare_cached(
        "UPDATE delivery SET state = ?3, next_try_at = ?4, due_at = ?4, receipt = ?5,
             ticket = CASE WHEN ?7 THEN ticket ELSE ?6 END, lease_until = NULL, open_attempt = NULL,
             tell_at = CASE WHEN ?8 THEN tell_at END
         WHERE tenant = ?1 AND delivery_id = ?2",
    )?
    .execute((
        tenant,
        &delivery,
        effect.delivery.as_str(),
        effect.next_try_at.map(row::micros),
        effect.receipt.map(row::json).transpose()?,
        effect.ticket.map(row::json).transpose()?,
        effect.delivery == DeliveryState::Nachverfolgt && effect.ticket.is_none(),
        effect.next_try_at.is_some(),
    ))?;
    lanes::note(conn, tenant, &held.lane, health, now)?;
    match effect.delivery {
        DeliveryState::Wartend | DeliveryState::Laufend => turn::wait_for_turn(conn, tenant, &delivery, now)?,
        DeliveryState::Zugestellt | DeliveryState::Nachverfolgt => {
            turn::let_pass(conn, tenant, &delivery, now)?;
        }
        DeliveryState::Abgewiesen | DeliveryState::Klaerung | DeliveryState::Ersetzt => {
            let stays: bool = conn
                .prepare_cached("SELECT holds_parked FROM delivery WHERE tenant = ?1 AND delivery_id = ?2")?
                .query_row((tenant, &delivery), |row| row.get(0))?;
            if !stays {
                turn::let_pass(conn, tenant, &delivery, now)?;
            }
        }
    }
    conn.prepare_cached("UPDATE message SET state = ?3 WHERE tenant = ?1 AND message_id = ?2")?.execute((
        tenant,
        held.message.to_string(),
        effect.message.as_str(),
    ))?;
    let timeline =
        Timeline::new(conn, &lease.tenant, held.submission, now).about(held.message, lease.delivery_id);
    let code = effect.problem.map(|problem| &problem.code);
    timeline.add(
        effect.event,
        &match effect.event {
            event::ZUGESTELLT => json!({ "stufe": level }),
            event::NACHVERFOLGT => json!({ "bis": effect.next_try_at }),
            event::WIEDERHOLUNG => json!({ "um": effect.next_try_at, "code": code }),
            _ => json!({ "code": code }),
        },
    )?;
    if effect.delivery == DeliveryState::Zugestellt {
        // Somebody was told that it takes long: it has arrived.
        timeline.close_of_delivery(&delivery)?;
    }
    if let Some(item) = effect.work_item {
        timeline.open_all("zustellung", std::slice::from_ref(item))?;
    }
    timeline.add_all(events)
}
