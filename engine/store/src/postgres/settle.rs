// SPDX-License-Identifier: EUPL-1.2
//! Deliveries that settle a source: stored with the submission, due in the step in which what they wait for happens.
//!
//! Two steps of one submission that end at the same time must not both see the other's delivery as open: whoever
//! looks has locked the settlement after writing its own part, so the second one sees what the first has committed.

use kop_core::{DeliveryId, MessageId, SettleAt, SubmissionId, TenantId, clock::Zeitpunkt};
use serde_json::json;

use super::{pool::Conn, row, submissions, timeline::Timeline};
use crate::{
    error::StoreError,
    settlement::{NewSettlement, reached},
    steps::event,
    values::{after, micros, span},
};

/// Stores the settlement of a submission.
pub(super) async fn insert(
    conn: &Conn,
    of: (&TenantId, SubmissionId),
    timeline: &mut Timeline<'_>,
    new: &NewSettlement,
    received_at: i64,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (tenant, submission) = of;
    let message = new.message();
    submissions::insert_message(conn, tenant, submission, &message, None, received_at, now).await?;
    let due = new.due(now);
    conn.execute(
        "INSERT INTO delivery (tenant, delivery_id, message_id, submission_id, lane, state, next_try_at, due_at,
             tell_after, tell_at, give_up_after, give_up_at, settles, settle_waits)
         VALUES ($1, $2, $3, $4, $5, 'wartend', $6, $6, $7, $8, $9, $10, $11, $12)",
        &[
            &tenant.as_str(),
            &new.delivery_id.to_string(),
            &new.message_id.to_string(),
            &submission.to_string(),
            &message.receiver,
            &due.map(micros),
            &span(new.tell_after),
            &due.map(|due| micros(after(due, new.tell_after))),
            &span(new.give_up_after),
            &micros(after(due.unwrap_or(now), new.give_up_after)),
            &new.when.as_str(),
            &new.waits(),
        ],
    )
    .await?;
    timeline.about(Some(new.message_id), Some(new.delivery_id)).add(
        event::QUITTUNG,
        &json!({ "quelle": new.source, "wenn": new.when, "spaetestens": new.latest }),
    )?;
    timeline.about(None, None);
    Ok(())
}

/// The source brings a submission again that is stored: it is settled again, unless that is under way or waits for a
/// person already.
pub(super) async fn again(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
    new: &NewSettlement,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (name, id) = (tenant.as_str(), submission.to_string());
    let found = conn
        .query_one(
            "SELECT received_at FROM submission WHERE tenant = $1 AND submission_id = $2 FOR UPDATE",
            &[&name, &id],
        )
        .await?;
    let message = new.message();
    let under_way = conn
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM delivery d
                 JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
                 WHERE d.tenant = $1 AND d.submission_id = $2 AND d.settles IS NOT NULL AND d.state <> 'zugestellt'
                     AND d.lane = $3 AND m.content_hash = $4)",
            &[&name, &id, &message.receiver, &message.content_hash.to_string()],
        )
        .await?;
    if row::get(&under_way, 0)? {
        return Ok(());
    }
    // An attempt that ends now either is seen by the look below, or waits and then sees the new settlement. Its own
    // delivery first and settlements last, as whoever ends it locks them.
    conn.query(
        "SELECT 1 FROM delivery WHERE tenant = $1 AND submission_id = $2 AND settles IS NULL
         ORDER BY delivery_id FOR UPDATE",
        &[&name, &id],
    )
    .await?;
    let mut timeline = Timeline::new(tenant, submission, now);
    insert(conn, (tenant, submission), &mut timeline, new, row::get(&found, 0)?, now).await?;
    timeline.write(conn).await?;
    look(conn, tenant, submission, now).await
}

/// Locks what of a submission waits to be settled.
pub(super) async fn lock(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
) -> Result<Vec<(DeliveryId, MessageId, SettleAt)>, StoreError> {
    let waiting = conn
        .query(
            "SELECT delivery_id, message_id, settles FROM delivery
             WHERE tenant = $1 AND submission_id = $2 AND settle_waits ORDER BY delivery_id FOR UPDATE",
            &[&tenant.as_str(), &submission.to_string()],
        )
        .await?;
    waiting.iter().map(|one| Ok((row::parsed(one, 0)?, row::parsed(one, 1)?, row::parsed(one, 2)?))).collect()
}

/// Makes due what waited for what has happened by now. To be called in every step that may have brought it about,
/// after it has written its own part and before it locks a lane.
pub(super) async fn look(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let waiting = lock(conn, tenant, submission).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let (name, id) = (tenant.as_str(), submission.to_string());
    let sql = "SELECT state FROM submission WHERE tenant = $1 AND submission_id = $2";
    let state = row::parsed(&conn.query_one(sql, &[&name, &id]).await?, 0)?;
    let sql = "SELECT state, receipt FROM delivery
               WHERE tenant = $1 AND submission_id = $2 AND settles IS NULL";
    let rows = conn.query(sql, &[&name, &id]).await?;
    let deliveries = rows
        .iter()
        .map(|one| Ok((row::parsed(one, 0)?, row::from_json_opt(one, 1)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let mut timeline = Timeline::new(tenant, submission, now);
    for (delivery, message, when) in waiting {
        if !reached(when, state, &deliveries) {
            continue;
        }
        conn.execute(
            "UPDATE delivery SET settle_waits = FALSE, next_try_at = $3, due_at = $3, tell_at = $3 + tell_after,
                 give_up_at = $3 + give_up_after
             WHERE tenant = $1 AND delivery_id = $2",
            &[&name, &delivery.to_string(), &micros(now)],
        )
        .await?;
        timeline
            .about(Some(message), Some(delivery))
            .add(event::QUITTUNG_FAELLIG, &json!({ "wenn": when }))?;
    }
    timeline.write(conn).await
}
