// SPDX-License-Identifier: EUPL-1.2
//! Numbers for metrics, alarms and backpressure, from the partial indexes over what is open.

use super::{pool::Conn, row};
use crate::{
    error::StoreError,
    records::{Gauges, OpenCause, OpenDeliveries, OpenSubmissions},
};

pub(super) async fn gauges(conn: &Conn) -> Result<Gauges, StoreError> {
    let submissions = conn
        .query(
            "SELECT tenant, count(*), min(received_at) FROM submission WHERE state = 'eingegangen' GROUP BY tenant",
            &[],
        )
        .await?;
    // Those that are due some time, those that are claimed, and those that wait for their turn. A
    // settlement that waits for something of the submission to happen is none yet: nobody could hurry it; later
    // its age counts from when it was due.
    let deliveries = conn
        .query(
            "SELECT d.tenant, d.lane, d.state, count(*),
                 min(CASE WHEN d.settles IS NULL THEN m.created_at ELSE d.give_up_at - d.give_up_after END) FROM (
                 SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
                     WHERE due_at IS NOT NULL AND NOT settle_waits
                 UNION ALL SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
                     WHERE lease_until IS NOT NULL AND due_at IS NULL
                 UNION ALL SELECT tenant, lane, state, message_id, settles, give_up_at, give_up_after FROM delivery
                     WHERE queued AND due_at IS NULL AND lease_until IS NULL
             ) d JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
             GROUP BY d.tenant, d.lane, d.state",
            &[],
        )
        .await?;
    let causes = conn
        .query(
            "SELECT tenant, fingerprint, count(*), min(opened_at) FROM work_item WHERE closed_at IS NULL
             GROUP BY tenant, fingerprint ORDER BY count(*) DESC, tenant, fingerprint LIMIT $1",
            &[&i64::from(Gauges::MOST_CAUSES)],
        )
        .await?;
    let open = conn.query_one("SELECT count(*) FROM work_item WHERE closed_at IS NULL", &[]).await?;
    Ok(Gauges {
        submissions: submissions
            .iter()
            .map(|found| {
                Ok(OpenSubmissions {
                    tenant: row::parsed(found, 0)?,
                    count: row::count(found, 1)?,
                    oldest: row::moment(found, 2)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        deliveries: deliveries
            .iter()
            .map(|found| {
                Ok(OpenDeliveries {
                    tenant: row::parsed(found, 0)?,
                    lane: row::get(found, 1)?,
                    state: row::parsed(found, 2)?,
                    count: row::count(found, 3)?,
                    oldest: row::moment(found, 4)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        work_items: causes
            .iter()
            .map(|found| {
                Ok(OpenCause {
                    tenant: row::parsed(found, 0)?,
                    fingerprint: row::get(found, 1)?,
                    count: row::count(found, 2)?,
                    oldest: row::moment(found, 3)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        open_work_items: row::count(&open, 0)?,
    })
}

pub(super) async fn backlog(conn: &Conn, at_most: u64) -> Result<u64, StoreError> {
    let found = conn
        .query_one(
            "SELECT count(*) FROM (
                 SELECT 1 FROM submission WHERE state = 'eingegangen'
                 UNION ALL SELECT 1 FROM delivery WHERE due_at IS NOT NULL AND NOT settle_waits
                 UNION ALL SELECT 1 FROM delivery WHERE lease_until IS NOT NULL AND due_at IS NULL
                 UNION ALL SELECT 1 FROM delivery WHERE queued AND due_at IS NULL AND lease_until IS NULL
                 LIMIT $1) open",
            &[&i64::try_from(at_most).unwrap_or(i64::MAX)],
        )
        .await?;
    row::count(&found, 0)
}

/// Writes a row and leaves it as it was: a page that goes to the disk.
pub(super) async fn writable(conn: &Conn) -> Result<(), StoreError> {
    conn.execute("UPDATE kop_schema SET version = version", &[]).await?;
    Ok(())
}
