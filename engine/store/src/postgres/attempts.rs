// SPDX-License-Identifier: EUPL-1.2
//! An attempt: recorded as started before its first byte leaves, and its end together with what follows.

use kop_core::{AttemptId, LaneHealth, MessageId, SubmissionId, clock::Zeitpunkt};
use serde_json::json;

use super::{lanes, pool::Conn, row, settle, timeline::Timeline, turn};
use crate::{
    effect::{Effect, kind_of},
    error::StoreError,
    records::{AttemptKind, AttemptRecord, DeliveryState},
    steps::{AttemptEnd, DeliveryLease, NewEvent, StartedAttempt, event},
    values::{json as as_json, micros},
};

struct Held {
    submission: SubmissionId,
    message: MessageId,
    lane: String,
    state: String,
    attempts: u32,
    give_up_at: Zeitpunkt,
    holds_parked: bool,
    open_attempt: Option<String>,
}

/// Locks the delivery, when the lease still holds.
async fn check(conn: &Conn, lease: &DeliveryLease) -> Result<Held, StoreError> {
    let found = conn
        .query_opt(
            "SELECT submission_id, message_id, state, attempts, open_attempt, lane, give_up_at, holds_parked
             FROM delivery
             WHERE tenant = $1 AND delivery_id = $2 AND token = $3 AND lease_until IS NOT NULL FOR UPDATE",
            &[&lease.tenant.as_str(), &lease.delivery_id.to_string(), &lease.token.cast_signed()],
        )
        .await?
        .ok_or(StoreError::StaleLease)?;
    Ok(Held {
        submission: row::parsed(&found, 0)?,
        message: row::parsed(&found, 1)?,
        state: row::get(&found, 2)?,
        attempts: row::count(&found, 3)?,
        open_attempt: row::get(&found, 4)?,
        lane: row::get(&found, 5)?,
        give_up_at: row::moment(&found, 6)?,
        holds_parked: row::get(&found, 7)?,
    })
}

/// One attempt of a delivery.
pub(super) async fn one(
    conn: &Conn,
    lease: &DeliveryLease,
    attempt: String,
) -> Result<AttemptRecord, StoreError> {
    let sql = format!("{} WHERE tenant = $1 AND delivery_id = $2 AND attempt_id = $3", row::ATTEMPT);
    let found =
        conn.query_one(&sql, &[&lease.tenant.as_str(), &lease.delivery_id.to_string(), &attempt]).await?;
    row::attempt(&found)
}

pub(super) async fn start(
    conn: &Conn,
    lease: DeliveryLease,
    attempt_id: AttemptId,
    now: Zeitpunkt,
) -> Result<StartedAttempt, StoreError> {
    let held = check(conn, &lease).await?;
    if held.open_attempt.as_deref() == Some(attempt_id.to_string().as_str()) {
        return Ok(StartedAttempt { lease, attempt_id, number: held.attempts, give_up_at: held.give_up_at });
    }
    if held.open_attempt.is_some() {
        return Err(StoreError::NotPossible("an attempt is under way".to_owned()));
    }
    let kind = kind_of(&held.state);
    let number = held.attempts + u32::from(kind == AttemptKind::Senden);
    conn.execute(
        "WITH started AS (
             INSERT INTO attempt (tenant, delivery_id, attempt_id, submission_id, kind, number, started_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7))
         UPDATE delivery SET open_attempt = $3, attempts = $6, due_at = NULL
         WHERE tenant = $1 AND delivery_id = $2",
        &[
            &lease.tenant.as_str(),
            &lease.delivery_id.to_string(),
            &attempt_id.to_string(),
            &held.submission.to_string(),
            &kind.as_str(),
            &i64::from(number),
            &micros(now),
        ],
    )
    .await?;
    let mut timeline = Timeline::new(&lease.tenant, held.submission, now);
    timeline
        .about(Some(held.message), Some(lease.delivery_id))
        .add(event::VERSUCH, &json!({ "versuch": number, "art": kind.as_str() }))?;
    timeline.write(conn).await?;
    Ok(StartedAttempt { lease, attempt_id, number, give_up_at: held.give_up_at })
}

pub(super) async fn finish(
    conn: &Conn,
    lease: &DeliveryLease,
    end: &AttemptEnd,
    health: LaneHealth,
    events: &[NewEvent],
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    turn::lock_of(conn, lease.tenant.as_str(), &lease.delivery_id.to_string()).await?;
    let held = check(conn, lease).await?;
    let Some(attempt) = held.open_attempt else {
        return Err(StoreError::NotPossible("no attempt is under way".to_owned()));
    };
    let effect = Effect::of(end, kind_of(&held.state) == AttemptKind::Nachfragen);
    let (tenant, delivery) = (lease.tenant.as_str(), lease.delivery_id.to_string());
    conn.execute(
        "WITH ended AS (
             UPDATE attempt SET ended_at = $4, outcome = $5, level = $6, problem = $7
             WHERE tenant = $1 AND delivery_id = $2 AND attempt_id = $3)
         UPDATE message SET state = $9 WHERE tenant = $1 AND message_id = $8",
        &[
            &tenant,
            &delivery,
            &attempt,
            &micros(now),
            &effect.outcome.as_str(),
            &effect.level_word()?,
            &effect.problem.map(as_json).transpose()?,
            &held.message.to_string(),
            &effect.message.as_str(),
        ],
    )
    .await?;
    conn.execute(
        "UPDATE delivery SET state = $3, next_try_at = $4, due_at = $4, receipt = $5,
             ticket = CASE WHEN $7 THEN ticket ELSE $6 END, lease_until = NULL, holder = NULL, open_attempt = NULL,
             tell_at = CASE WHEN $8 THEN tell_at END
         WHERE tenant = $1 AND delivery_id = $2",
        &[
            &tenant,
            &delivery,
            &effect.delivery.as_str(),
            &effect.next_try_at.map(micros),
            &effect.receipt.map(as_json).transpose()?,
            &effect.ticket.map(as_json).transpose()?,
            &effect.keeps_ticket(),
            &effect.next_try_at.is_some(),
        ],
    )
    .await?;
    match effect.delivery {
        DeliveryState::Wartend | DeliveryState::Laufend => {
            turn::wait_for_turn(conn, tenant, &delivery, now).await?;
        }
        DeliveryState::Abgewiesen | DeliveryState::Klaerung | DeliveryState::Ersetzt if held.holds_parked => {
        }
        _ => turn::let_pass(conn, tenant, &delivery, now).await?,
    }
    let mut timeline = Timeline::new(&lease.tenant, held.submission, now);
    timeline.about(Some(held.message), Some(lease.delivery_id)).add(effect.event, &effect.params()?)?;
    if effect.delivery == DeliveryState::Zugestellt {
        // Somebody was told that it takes long: it has arrived.
        timeline.close_of_delivery(conn, &delivery).await?;
    }
    if let Some(item) = effect.work_item {
        timeline.open_all("zustellung", std::slice::from_ref(item))?;
    }
    timeline.add_all(events)?;
    timeline.write(conn).await?;
    settle::look(conn, &lease.tenant, held.submission, now).await?;
    // Last, since others that end in the same lane wait from here until the commit.
    lanes::note(conn, tenant, &held.lane, health, now).await
}
