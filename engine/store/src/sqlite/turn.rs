// SPDX-License-Identifier: EUPL-1.2
//! Whose turn it is in an ordered lane: the first by Eingangszeitpunkt, and only when nothing that came earlier is
//! still on its way there.

use kop_core::{DeliveryId, Order, SubmissionId, TenantId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};

use super::row;
use crate::error::StoreError;

/// The key of all deliveries that go to a receiver one after another; otherwise it is the Vorgang.
const WHOLE_LANE: &str = "";

/// The lanes in which something waits under a key. Each is one step into the index, however much waits in it.
pub(super) const WAITING: &str = "WITH RECURSIVE waiting (lane) AS (
     SELECT min(lane) FROM delivery INDEXED BY delivery_queued
         WHERE tenant = ?1 AND order_key = ?2 AND queued = 1
     UNION ALL
     SELECT (SELECT min(d.lane) FROM delivery d INDEXED BY delivery_queued
         WHERE d.tenant = ?1 AND d.order_key = ?2 AND d.queued = 1 AND d.lane > waiting.lane)
     FROM waiting WHERE waiting.lane IS NOT NULL)
     SELECT lane FROM waiting WHERE lane IS NOT NULL";

/// Whether one of a key is under way: looked for among what is leased, which its lane's places bound.
pub(super) const UNDER_WAY: &str = "SELECT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_leased
     WHERE tenant = ?1 AND lane = ?2 AND order_key = ?3 AND lease_until IS NOT NULL AND holds = 1)";

/// The place of a new delivery.
pub(super) struct Place {
    /// Those with the same key in a lane do not overtake each other; `None`: any order.
    pub(super) key: Option<String>,
    /// Sorts them.
    pub(super) position: String,
    /// Whether something is before it.
    pub(super) queued: bool,
}

/// Where a new delivery of a processed submission stands.
pub(super) fn place(
    conn: &Connection,
    tenant: &TenantId,
    lane: &str,
    submission: SubmissionId,
    delivery: DeliveryId,
    order: Order,
) -> Result<Place, StoreError> {
    if order == Order::Keine {
        return Ok(Place { key: None, position: String::new(), queued: false });
    }
    let (received_at, vorgang): (i64, String) = conn
        .prepare_cached(
            "SELECT received_at, vorgang_id FROM submission WHERE tenant = ?1 AND submission_id = ?2",
        )?
        .query_row((tenant.as_str(), submission.to_string()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let key = if order == Order::Empfaenger { WHOLE_LANE.to_owned() } else { vorgang };
    let position = format!("{received_at:020}/{submission}/{delivery}");
    let before: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM delivery WHERE tenant = ?1 AND lane = ?2 AND order_key = ?3 AND holds = 1
                 AND (position < ?4 OR lease_until IS NOT NULL))",
        )?
        .query_row((tenant.as_str(), lane, &key, &position), |row| row.get(0))?;
    let queued = before || on_its_way(conn, tenant.as_str(), &key, &position)?;
    if !queued {
        // Processed only now, after a person mended it: those behind it that had their turn wait again.
        conn.prepare_cached(
            "UPDATE delivery SET queued = 1, due_at = NULL
             WHERE tenant = ?1 AND lane = ?2 AND order_key = ?3 AND holds = 1 AND position > ?4 AND state = 'wartend'
                 AND queued = 0",
        )?
        .execute((tenant.as_str(), lane, &key, &position))?;
    }
    Ok(Place { key: Some(key), position, queued })
}

/// Whether a submission that came earlier is not processed yet: its delivery may still come before.
fn on_its_way(conn: &Connection, tenant: &str, key: &str, position: &str) -> Result<bool, StoreError> {
    let mut parts = position.split('/');
    let received_at: i64 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(i64::MAX);
    let submission = parts.next().unwrap_or_default();
    let sql = if key == WHOLE_LANE {
        "SELECT EXISTS (SELECT 1 FROM submission INDEXED BY submission_state WHERE tenant = ?1
             AND state = 'eingegangen' AND (received_at, submission_id) < (?2, ?3) AND ?4 = '')"
    } else {
        "SELECT EXISTS (SELECT 1 FROM submission INDEXED BY submission_open_vorgang WHERE tenant = ?1
             AND vorgang_id = ?4 AND state = 'eingegangen' AND (received_at, submission_id) < (?2, ?3))"
    };
    let any =
        conn.prepare_cached(sql)?.query_row((tenant, received_at, submission, key), |row| row.get(0))?;
    Ok(any)
}

/// Gives the first of a key its turn, when nothing is under way or before it.
pub(super) fn advance(
    conn: &Connection,
    tenant: &str,
    lane: &str,
    key: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let first: Option<(String, String, bool)> = conn
        .prepare_cached(
            "SELECT delivery_id, position, queued FROM delivery INDEXED BY delivery_order
             WHERE tenant = ?1 AND lane = ?2 AND order_key = ?3 AND holds = 1 ORDER BY position LIMIT 1",
        )?
        .query_row((tenant, lane, key), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((delivery, position, true)) = first else { return Ok(()) };
    let under_way: bool = conn.prepare_cached(UNDER_WAY)?.query_row((tenant, lane, key), |row| row.get(0))?;
    if under_way || on_its_way(conn, tenant, key, &position)? {
        return Ok(());
    }
    conn.prepare_cached(
        "UPDATE delivery SET queued = 0, due_at = coalesce(next_try_at, ?3)
         WHERE tenant = ?1 AND delivery_id = ?2",
    )?
    .execute((tenant, delivery, row::micros(now)))?;
    Ok(())
}

/// Lets pass what waited for a submission that has been processed now: what goes to a receiver one after another, and
/// what belongs to its Vorgang.
pub(super) fn advance_after(
    conn: &Connection,
    tenant: &str,
    submission: SubmissionId,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let vorgang: String = conn
        .prepare_cached("SELECT vorgang_id FROM submission WHERE tenant = ?1 AND submission_id = ?2")?
        .query_row((tenant, submission.to_string()), |row| row.get(0))?;
    for key in [WHOLE_LANE, &vorgang] {
        let lanes: Vec<String> = conn
            .prepare_cached(WAITING)?
            .query_map((tenant, key), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        lanes.iter().try_for_each(|lane| advance(conn, tenant, lane, key, now))?;
    }
    Ok(())
}

/// A delivery no longer holds up those behind it.
pub(super) fn let_pass(
    conn: &Connection,
    tenant: &str,
    delivery: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let held: Option<(String, String)> = conn
        .prepare_cached(
            "UPDATE delivery SET holds = 0 WHERE tenant = ?1 AND delivery_id = ?2 AND holds = 1
             RETURNING lane, order_key",
        )?
        .query_row((tenant, delivery), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    held.map_or(Ok(()), |(lane, key)| advance(conn, tenant, &lane, &key, now))
}

/// A delivery that failed and is to be tried again goes behind those that came before it, were there any meanwhile.
pub(super) fn wait_for_turn(
    conn: &Connection,
    tenant: &str,
    delivery: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let place: Option<(String, String, bool)> = conn
        .prepare_cached(
            "SELECT lane, order_key, EXISTS (SELECT 1 FROM delivery e WHERE e.tenant = d.tenant AND e.lane = d.lane
                 AND e.order_key = d.order_key AND e.holds = 1 AND e.position < d.position)
             FROM delivery d WHERE tenant = ?1 AND delivery_id = ?2 AND holds = 1",
        )?
        .query_row((tenant, delivery), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((lane, key, true)) = place else { return Ok(()) };
    conn.prepare_cached(
        "UPDATE delivery SET queued = 1, due_at = NULL WHERE tenant = ?1 AND delivery_id = ?2",
    )?
    .execute((tenant, delivery))?;
    advance(conn, tenant, &lane, &key, now)
}
