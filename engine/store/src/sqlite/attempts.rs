// SPDX-License-Identifier: EUPL-1.2
//! An attempt: recorded as started before its first byte leaves, and its end together with what follows.

use kop_core::{AttemptId, LaneHealth, MessageId, SubmissionId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{lanes, row, settle, timeline::Timeline, turn};
use crate::{
    effect::{Effect, kind_of},
    error::StoreError,
    records::{AttemptKind, DeliveryState},
    steps::{AttemptEnd, DeliveryLease, NewEvent, StartedAttempt, event},
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
    if held.open_attempt.as_deref() == Some(attempt_id.to_string().as_str()) {
        return Ok(StartedAttempt { lease, attempt_id, number: held.attempts, give_up_at: held.give_up_at });
    }
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
    let effect = Effect::of(end, kind_of(&held.state) == AttemptKind::Nachfragen);
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
        effect.level_word()?,
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
        effect.keeps_ticket(),
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
    timeline.add(effect.event, &effect.params()?)?;
    if effect.delivery == DeliveryState::Zugestellt {
        // Somebody was told that it takes long: it has arrived.
        timeline.close_of_delivery(&delivery)?;
    }
    if let Some(item) = effect.work_item {
        timeline.open_all("zustellung", std::slice::from_ref(item))?;
    }
    timeline.add_all(events)?;
    settle::look(conn, &lease.tenant, held.submission, now)
}
