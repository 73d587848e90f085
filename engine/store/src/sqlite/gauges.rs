// SPDX-License-Identifier: EUPL-1.2
//! Numbers for metrics, alarms and backpressure, all of them from the partial indexes over what is open.

use kop_core::TenantId;
use rusqlite::Connection;

use super::row;
use crate::{
    error::StoreError,
    records::{DeliveryState, Gauges, OpenCause, OpenDeliveries, OpenSubmissions},
};

/// Not yet processed, by tenant.
pub(super) const SUBMISSIONS: &str = "SELECT tenant, count(*), min(received_at) FROM submission
     INDEXED BY submission_due WHERE state = 'eingegangen' GROUP BY tenant";

/// Open deliveries: those that are due some time, those that are claimed, and those that wait for their turn. A
/// settlement that waits for something of the submission to happen is none yet: nobody could hurry it; later
/// its age counts from when it was due.
pub(super) const DELIVERIES: &str = "SELECT d.tenant, d.lane, d.state, count(*),
         min(CASE WHEN d.settles IS NULL THEN m.created_at ELSE d.give_up_at - d.give_up_after END) FROM (
         SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
             INDEXED BY delivery_due WHERE due_at IS NOT NULL AND settle_waits = 0
         UNION ALL SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
             INDEXED BY delivery_leased WHERE lease_until IS NOT NULL AND due_at IS NULL
         UNION ALL SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
             INDEXED BY delivery_queued WHERE queued = 1 AND due_at IS NULL AND lease_until IS NULL
     ) d CROSS JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
     GROUP BY d.tenant, d.lane, d.state";

/// Open Klärungsfälle by cause.
pub(super) const CAUSES: &str = "SELECT tenant, fingerprint, count(*), min(opened_at) FROM work_item
     INDEXED BY work_item_open WHERE closed_at IS NULL GROUP BY tenant, fingerprint
     ORDER BY count(*) DESC, tenant, fingerprint LIMIT ?1";

pub(super) fn gauges(conn: &Connection) -> Result<Gauges, StoreError> {
    let submissions = conn
        .prepare_cached(SUBMISSIONS)?
        .query_map([], |row| {
            Ok(OpenSubmissions {
                tenant: row::parsed::<TenantId>(row, 0)?,
                count: row.get::<_, i64>(1)?.unsigned_abs(),
                oldest: row::moment(row, 2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let deliveries = conn
        .prepare_cached(DELIVERIES)?
        .query_map([], |row| {
            Ok(OpenDeliveries {
                tenant: row::parsed::<TenantId>(row, 0)?,
                lane: row.get(1)?,
                state: row::parsed::<DeliveryState>(row, 2)?,
                count: row.get::<_, i64>(3)?.unsigned_abs(),
                oldest: row::moment(row, 4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let work_items = conn
        .prepare_cached(CAUSES)?
        .query_map([Gauges::MOST_CAUSES], |row| {
            Ok(OpenCause {
                tenant: row::parsed::<TenantId>(row, 0)?,
                fingerprint: row.get(1)?,
                count: row.get::<_, i64>(2)?.unsigned_abs(),
                oldest: row::moment(row, 3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let open: i64 = conn
        .prepare_cached("SELECT count(*) FROM work_item INDEXED BY work_item_open WHERE closed_at IS NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(Gauges { submissions, deliveries, work_items, open_work_items: open.unsigned_abs() })
}

pub(super) fn backlog(conn: &Connection, at_most: u64) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM (
                 SELECT 1 FROM submission WHERE state = 'eingegangen'
                 UNION ALL SELECT 1 FROM delivery WHERE due_at IS NOT NULL AND settle_waits = 0
                 UNION ALL SELECT 1 FROM delivery WHERE lease_until IS NOT NULL AND due_at IS NULL
                 UNION ALL SELECT 1 FROM delivery WHERE queued = 1 AND due_at IS NULL AND lease_until IS NULL
                 LIMIT ?1)",
        )?
        .query_row([i64::try_from(at_most).unwrap_or(i64::MAX)], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}
