// SPDX-License-Identifier: EUPL-1.2
//! Whose turn it is in an ordered lane: the first by Eingangszeitpunkt, and only when nothing that came earlier is
//! still on its way there. A tenant's order is decided by one step at a time: see [`lock`].

use kop_core::{DeliveryId, Order, SubmissionId, TenantId, clock::Zeitpunkt};

use super::{locks::ORDER, pool::Conn, row};
use crate::{error::StoreError, values::micros};

/// The key of all deliveries that go to a receiver one after another; otherwise it is the Vorgang.
const WHOLE_LANE: &str = "";

/// The lanes in which something waits for a submission, with the key under which it does. Each is one step into the
/// index, however much waits in it.
const WAITING: &str = "WITH RECURSIVE keys (order_key) AS (
         SELECT $3::text UNION SELECT vorgang_id FROM submission WHERE tenant = $1 AND submission_id = $2),
     waiting (order_key, lane) AS (
         SELECT order_key, (SELECT min(d.lane) FROM delivery d
             WHERE d.tenant = $1 AND d.order_key = keys.order_key AND d.queued) FROM keys
         UNION ALL
         SELECT order_key, (SELECT min(d.lane) FROM delivery d
             WHERE d.tenant = $1 AND d.order_key = waiting.order_key AND d.queued AND d.lane > waiting.lane)
         FROM waiting WHERE lane IS NOT NULL)
     SELECT lane, order_key FROM waiting WHERE lane IS NOT NULL";

/// The place of a new delivery.
pub(super) struct Place {
    /// Those with the same key in a lane do not overtake each other; `None`: any order.
    pub(super) key: Option<String>,
    /// Sorts them.
    pub(super) position: String,
    /// Whether something is before it.
    pub(super) queued: bool,
}

/// Locks a tenant's order until the step ends; before any row, so that two steps cannot wait for each other. Steps
/// that add nothing ordered only have to come before or after those that do.
pub(super) async fn lock(conn: &Conn, tenant: &str, ordered: bool) -> Result<(), StoreError> {
    let sql = if ordered {
        "SELECT pg_advisory_xact_lock(hashtextextended($1, $2))"
    } else {
        "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, $2))"
    };
    conn.query(sql, &[&tenant, &ORDER]).await?;
    Ok(())
}

/// The same for a step about one delivery, where that one has an order.
pub(super) async fn lock_of(conn: &Conn, tenant: &str, delivery: &str) -> Result<(), StoreError> {
    let ordered = conn
        .query_opt(
            "SELECT order_key IS NOT NULL FROM delivery WHERE tenant = $1 AND delivery_id = $2",
            &[&tenant, &delivery],
        )
        .await?;
    match ordered {
        Some(found) if row::get(&found, 0)? => lock(conn, tenant, true).await,
        _ => Ok(()),
    }
}

/// Where a new delivery of a processed submission stands.
pub(super) async fn place(
    conn: &Conn,
    tenant: &TenantId,
    lane: &str,
    submission: SubmissionId,
    delivery: DeliveryId,
    order: Order,
) -> Result<Place, StoreError> {
    if order == Order::Keine {
        return Ok(Place { key: None, position: String::new(), queued: false });
    }
    let tenant = tenant.as_str();
    let found = conn
        .query_one(
            "SELECT received_at, vorgang_id FROM submission WHERE tenant = $1 AND submission_id = $2",
            &[&tenant, &submission.to_string()],
        )
        .await?;
    let (received_at, vorgang): (i64, String) = (row::get(&found, 0)?, row::get(&found, 1)?);
    let key = if order == Order::Empfaenger { WHOLE_LANE.to_owned() } else { vorgang };
    let position = format!("{received_at:020}/{submission}/{delivery}");
    let before = conn
        .query_opt(
            "SELECT position < $4 FROM delivery WHERE tenant = $1 AND lane = $2 AND order_key = $3 AND holds
             ORDER BY position LIMIT 1",
            &[&tenant, &lane, &key, &position],
        )
        .await?;
    let queued = before.map_or(Ok(false), |before| row::get(&before, 0))?
        || under_way(conn, tenant, lane, &key).await?
        || on_its_way(conn, tenant, &key, &position).await?;
    if !queued {
        // Processed only now, after a person mended it: those behind it that had their turn wait again.
        conn.execute(
            "UPDATE delivery SET queued = TRUE, due_at = NULL
             WHERE tenant = $1 AND lane = $2 AND order_key = $3 AND holds AND position > $4 AND state = 'wartend'
                 AND NOT queued",
            &[&tenant, &lane, &key, &position],
        )
        .await?;
    }
    Ok(Place { key: Some(key), position, queued })
}

/// Whether a submission that came earlier is not processed yet: its delivery may still come before.
async fn on_its_way(conn: &Conn, tenant: &str, key: &str, position: &str) -> Result<bool, StoreError> {
    let mut parts = position.split('/');
    let received_at: i64 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let submission = parts.next().unwrap_or_default();
    let earlier = if key == WHOLE_LANE {
        conn.query_opt(
            "SELECT (received_at, submission_id) < ($2, $3) FROM submission
             WHERE tenant = $1 AND state = 'eingegangen' ORDER BY received_at, submission_id LIMIT 1",
            &[&tenant, &received_at, &submission],
        )
        .await?
    } else {
        conn.query_opt(
            "SELECT (received_at, submission_id) < ($2, $3) FROM submission
             WHERE tenant = $1 AND vorgang_id = $4 AND state = 'eingegangen'
             ORDER BY received_at, submission_id LIMIT 1",
            &[&tenant, &received_at, &submission, &key],
        )
        .await?
    };
    earlier.map_or(Ok(false), |earlier| row::get(&earlier, 0))
}

/// Whether one of a key is under way.
async fn under_way(conn: &Conn, tenant: &str, lane: &str, key: &str) -> Result<bool, StoreError> {
    let first = conn
        .query_opt(
            "SELECT delivery_id FROM delivery WHERE tenant = $1 AND lane = $2 AND lease_until IS NOT NULL
                 AND order_key = $3 AND holds ORDER BY lease_until LIMIT 1",
            &[&tenant, &lane, &key],
        )
        .await?;
    Ok(first.is_some())
}

/// Gives the first of a key its turn, when nothing is under way or before it.
async fn advance(conn: &Conn, tenant: &str, lane: &str, key: &str, now: Zeitpunkt) -> Result<(), StoreError> {
    let first = conn
        .query_opt(
            "SELECT delivery_id, position, queued FROM delivery
             WHERE tenant = $1 AND lane = $2 AND order_key = $3 AND holds ORDER BY position LIMIT 1",
            &[&tenant, &lane, &key],
        )
        .await?;
    let Some(first) = first else { return Ok(()) };
    let (delivery, position): (&str, &str) = (row::get(&first, 0)?, row::get(&first, 1)?);
    if !row::get::<bool>(&first, 2)? {
        return Ok(());
    }
    if under_way(conn, tenant, lane, key).await? || on_its_way(conn, tenant, key, position).await? {
        return Ok(());
    }
    conn.execute(
        "UPDATE delivery SET queued = FALSE, due_at = coalesce(next_try_at, $3)
         WHERE tenant = $1 AND delivery_id = $2",
        &[&tenant, &delivery, &micros(now)],
    )
    .await?;
    Ok(())
}

/// Lets pass what waited for a submission that has been processed now: what goes to a receiver one after another, and
/// what belongs to its Vorgang.
pub(super) async fn advance_after(
    conn: &Conn,
    tenant: &str,
    submission: SubmissionId,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let waiting = conn.query(WAITING, &[&tenant, &submission.to_string(), &WHOLE_LANE]).await?;
    for found in &waiting {
        advance(conn, tenant, row::get(found, 0)?, row::get(found, 1)?, now).await?;
    }
    Ok(())
}

/// A delivery no longer holds up those behind it.
pub(super) async fn let_pass(
    conn: &Conn,
    tenant: &str,
    delivery: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let held = conn
        .query_opt(
            "UPDATE delivery SET holds = FALSE WHERE tenant = $1 AND delivery_id = $2 AND holds
             RETURNING lane, order_key",
            &[&tenant, &delivery],
        )
        .await?;
    let Some(held) = held else { return Ok(()) };
    advance(conn, tenant, row::get(&held, 0)?, row::get(&held, 1)?, now).await
}

/// A delivery that failed and is to be tried again goes behind those that came before it, were there any meanwhile.
pub(super) async fn wait_for_turn(
    conn: &Conn,
    tenant: &str,
    delivery: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let place = conn
        .query_opt(
            "SELECT lane, order_key, (SELECT e.position < d.position FROM delivery e WHERE e.tenant = d.tenant
                 AND e.lane = d.lane AND e.order_key = d.order_key AND e.holds ORDER BY e.position LIMIT 1)
             FROM delivery d WHERE tenant = $1 AND delivery_id = $2 AND holds",
            &[&tenant, &delivery],
        )
        .await?;
    let Some(place) = place else { return Ok(()) };
    if !row::get::<bool>(&place, 2)? {
        return Ok(());
    }
    conn.execute(
        "UPDATE delivery SET queued = TRUE, due_at = NULL WHERE tenant = $1 AND delivery_id = $2",
        &[&tenant, &delivery],
    )
    .await?;
    advance(conn, tenant, row::get(&place, 0)?, row::get(&place, 1)?, now).await
}
