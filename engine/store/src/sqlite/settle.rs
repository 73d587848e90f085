// SPDX-License-Identifier: EUPL-1.2
//! Deliveries that settle a source: stored with the submission, due in the step in which what they wait for happens.

use kop_core::{DeliveryId, MessageId, SettleAt, SubmissionId, TenantId, clock::Zeitpunkt};
use rusqlite::Connection;
use serde_json::json;

use super::{row, submissions, timeline::Timeline};
use crate::{
    error::StoreError,
    settlement::{NewSettlement, reached},
    steps::event,
};

/// Stores the settlement of the timeline's submission.
pub(super) fn insert(
    timeline: &Timeline<'_>,
    new: &NewSettlement,
    received_at: i64,
) -> Result<(), StoreError> {
    let (conn, now) = (timeline.conn, timeline.now);
    let message = new.message();
    submissions::insert_message(timeline, &message, None, received_at)?;
    let due = new.due(now);
    let from = due.unwrap_or(now);
    conn.prepare_cached(
        "INSERT INTO delivery (tenant, delivery_id, message_id, submission_id, lane, state, next_try_at, due_at,
             tell_after, tell_at, give_up_after, give_up_at, settles, settle_waits)
         VALUES (?1, ?2, ?3, ?4, ?5, 'wartend', ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(rusqlite::params![
        timeline.tenant.as_str(),
        new.delivery_id.to_string(),
        new.message_id.to_string(),
        timeline.submission.to_string(),
        message.receiver,
        due.map(row::micros),
        row::span(new.tell_after),
        due.map(|due| row::micros(row::after(due, new.tell_after))),
        row::span(new.give_up_after),
        row::micros(row::after(from, new.give_up_after)),
        new.when.as_str(),
        new.waits(),
    ])?;
    timeline
        .about(new.message_id, new.delivery_id)
        .add(event::QUITTUNG, &json!({ "quelle": new.source, "wenn": new.when, "spaetestens": new.latest }))
}

/// The source brings a submission again that is stored: it is settled again, unless that is under way or waits for a
/// person already.
pub(super) fn again(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    new: &NewSettlement,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let message = new.message();
    let under_way: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM delivery d
                 JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
                 WHERE d.tenant = ?1 AND d.submission_id = ?2 AND d.settles IS NOT NULL AND d.state <> 'zugestellt'
                     AND d.lane = ?3 AND m.content_hash = ?4)",
        )?
        .query_row(
            (
                tenant.as_str(),
                submission.to_string(),
                &message.receiver,
                message.content_hash.to_string(),
            ),
            |row| row.get(0),
        )?;
    if under_way {
        return Ok(());
    }
    let received_at: i64 = conn
        .prepare_cached("SELECT received_at FROM submission WHERE tenant = ?1 AND submission_id = ?2")?
        .query_row((tenant.as_str(), submission.to_string()), |row| row.get(0))?;
    insert(&Timeline::new(conn, tenant, submission, now), new, received_at)?;
    look(conn, tenant, submission, now)
}

/// Makes due what waited for what has happened by now. To be called in every step that may have brought it about.
pub(super) fn look(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let id = submission.to_string();
    let waiting: Vec<(DeliveryId, MessageId, SettleAt)> = conn
        .prepare_cached(
            "SELECT delivery_id, message_id, settles FROM delivery INDEXED BY delivery_settles
             WHERE tenant = ?1 AND submission_id = ?2 AND settle_waits = 1",
        )?
        .query_map((tenant.as_str(), &id), |row| {
            Ok((row::parsed(row, 0)?, row::parsed(row, 1)?, row::parsed(row, 2)?))
        })?
        .collect::<Result<_, _>>()?;
    if waiting.is_empty() {
        return Ok(());
    }
    let state = conn
        .prepare_cached("SELECT state FROM submission WHERE tenant = ?1 AND submission_id = ?2")?
        .query_row((tenant.as_str(), &id), |row| row::parsed(row, 0))?;
    let deliveries = conn
        .prepare_cached(
            "SELECT state, receipt FROM delivery
             WHERE tenant = ?1 AND submission_id = ?2 AND settles IS NULL",
        )?
        .query_map((tenant.as_str(), &id), |row| Ok((row::parsed(row, 0)?, row::from_json_opt(row, 1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for (delivery, message, when) in waiting {
        if !reached(when, state, &deliveries) {
            continue;
        }
        // One that was claimed meanwhile does not wait any more.
        conn.prepare_cached(
            "UPDATE delivery SET settle_waits = 0, next_try_at = ?3, due_at = ?3, tell_at = ?3 + tell_after,
                 give_up_at = ?3 + give_up_after
             WHERE tenant = ?1 AND delivery_id = ?2",
        )?
        .execute((tenant.as_str(), delivery.to_string(), row::micros(now)))?;
        Timeline::new(conn, tenant, submission, now)
            .about(message, delivery)
            .add(event::QUITTUNG_FAELLIG, &json!({ "wenn": when }))?;
    }
    Ok(())
}
