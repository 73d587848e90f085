// SPDX-License-Identifier: EUPL-1.2
//! How much of a lane may be under way: places, pace, and the pause of a receiver that does not answer. Counted while
//! the lane is locked, so that machines together stay within it.

use std::collections::{BTreeMap, BTreeSet};

use kop_core::{Breaker, LaneHealth, LaneLimits, TenantId, clock::Zeitpunkt};

use super::{locks::LANE, pool::Conn, row};
use crate::{
    error::StoreError,
    pace::{Kept, Pace},
    records::LaneRecord,
    values::{after, micros},
};

/// A lane: tenant and receiver.
pub(super) type Lane = (String, String);

/// The lock of a lane, as an SQL expression over its tenant and name; its seed is the first value.
const LOCK: &str = "hashtextextended(lane.tenant || E'\\n' || lane.lane, $1)";

/// Locks lanes until the step ends, always in the same order, so that two steps cannot wait for each other.
pub(super) async fn lock(conn: &Conn, lanes: &BTreeSet<Lane>) -> Result<(), StoreError> {
    let (tenants, names): (Vec<&str>, Vec<&str>) =
        lanes.iter().map(|(tenant, lane)| (tenant.as_str(), lane.as_str())).unzip();
    let sql = format!(
        "SELECT pg_advisory_xact_lock({LOCK}) FROM unnest($2::text[], $3::text[]) AS lane (tenant, lane)"
    );
    conn.query(&sql, &[&LANE, &tenants, &names]).await?;
    Ok(())
}

/// Locks those lanes that nobody else has locked; gives them.
pub(super) async fn try_lock(conn: &Conn, lanes: &BTreeSet<Lane>) -> Result<BTreeSet<Lane>, StoreError> {
    let (tenants, names): (Vec<&str>, Vec<&str>) =
        lanes.iter().map(|(tenant, lane)| (tenant.as_str(), lane.as_str())).unzip();
    let sql = format!(
        "SELECT lane.tenant, lane.lane FROM unnest($2::text[], $3::text[]) AS lane (tenant, lane)
         WHERE pg_try_advisory_xact_lock({LOCK})"
    );
    let rows = conn.query(&sql, &[&LANE, &tenants, &names]).await?;
    rows.iter().map(|found| Ok((row::get(found, 0)?, row::get(found, 1)?))).collect()
}

/// How many more of each lane may begin now.
pub(super) async fn room(
    conn: &Conn,
    lanes: &BTreeSet<Lane>,
    limits: impl Fn(&str, &str) -> LaneLimits,
    now: Zeitpunkt,
) -> Result<BTreeMap<Lane, u64>, StoreError> {
    if lanes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (tenants, names): (Vec<&str>, Vec<&str>) =
        lanes.iter().map(|(tenant, lane)| (tenant.as_str(), lane.as_str())).unzip();
    // Under way is what is leased, or has an attempt whose end nobody recorded.
    let rows = conn
        .query(
            "SELECT lane.tenant, lane.lane,
                 (SELECT count(*) FROM delivery busy WHERE busy.tenant = lane.tenant AND busy.lane = lane.lane
                     AND busy.lease_until IS NOT NULL
                     AND (busy.lease_until > $1 OR busy.open_attempt IS NOT NULL)),
                 coalesce(kept.trips, 0), coalesce(kept.paused_until, 0), coalesce(kept.paced_until, 0)
             FROM unnest($2::text[], $3::text[]) AS lane (tenant, lane)
             LEFT JOIN lane kept ON kept.tenant = lane.tenant AND kept.lane = lane.lane",
            &[&micros(now), &tenants, &names],
        )
        .await?;
    rows.iter()
        .map(|found| {
            let lane: Lane = (row::get(found, 0)?, row::get(found, 1)?);
            let kept = Kept {
                trips: row::count(found, 3)?,
                paused_until: row::get(found, 4)?,
                paced_until: row::get(found, 5)?,
            };
            let room = kept.room(limits(&lane.0, &lane.1), row::count(found, 2)?, micros(now));
            Ok((lane, room))
        })
        .collect()
}

/// Notes that attempts of a locked lane begin.
pub(super) async fn spend(
    conn: &Conn,
    tenant: &str,
    lane: &str,
    limits: LaneLimits,
    count: u64,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let Some(per_minute) = limits.per_minute.filter(|_| count > 0) else { return Ok(()) };
    let kept = conn
        .query_opt("SELECT paced_until FROM lane WHERE tenant = $1 AND lane = $2", &[&tenant, &lane])
        .await?;
    let paced_until = kept.map_or(Ok(0), |found| row::get(&found, 0))?;
    let (until, ready) = Pace::new(per_minute).spend(paced_until, count, micros(now));
    conn.execute(
        "INSERT INTO lane (tenant, lane, paced_until, ready_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant, lane) DO UPDATE SET paced_until = $3, ready_at = $4",
        &[&tenant, &lane, &until, &ready],
    )
    .await?;
    Ok(())
}

/// Notes what an attempt told about the receiver.
pub(super) async fn note(
    conn: &Conn,
    tenant: &str,
    lane: &str,
    health: LaneHealth,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    match health {
        LaneHealth::Unknown => Ok(()),
        LaneHealth::Well => {
            conn.execute(
                "UPDATE lane SET failures = 0, trips = 0, paused_until = 0
                 WHERE tenant = $1 AND lane = $2 AND failures > 0",
                &[&tenant, &lane],
            )
            .await?;
            Ok(())
        }
        LaneHealth::Failing(breaker) => failed(conn, tenant, lane, breaker, now).await,
    }
}

async fn failed(
    conn: &Conn,
    tenant: &str,
    lane: &str,
    breaker: Breaker,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    // Locks the row, so that two failures at once count as two.
    let kept = conn
        .query_one(
            "INSERT INTO lane (tenant, lane, failures) VALUES ($1, $2, 1)
             ON CONFLICT (tenant, lane) DO UPDATE SET failures = lane.failures + 1
             RETURNING failures, trips, paused_until",
            &[&tenant, &lane],
        )
        .await?;
    let (failures, trips): (u32, u32) = (row::count(&kept, 0)?, row::count(&kept, 1)?);
    // What was under way when the lane tripped tells nothing new.
    if failures < breaker.nach_fehlern.get() || row::get::<i64>(&kept, 2)? > micros(now) {
        return Ok(());
    }
    let trip = trips + 1;
    conn.execute(
        "UPDATE lane SET trips = $3, paused_until = $4 WHERE tenant = $1 AND lane = $2",
        &[&tenant, &lane, &i64::from(trip), &micros(after(now, breaker.pause(trip)))],
    )
    .await?;
    Ok(())
}

pub(super) async fn all(conn: &Conn, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError> {
    let rows = conn
        .query(
            "SELECT tenant, lane, failures, trips, nullif(paused_until, 0) FROM lane
             WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, lane",
            &[&tenant.map(TenantId::as_str)],
        )
        .await?;
    rows.iter()
        .map(|found| {
            Ok(LaneRecord {
                tenant: row::parsed(found, 0)?,
                lane: row::get(found, 1)?,
                failures: row::count(found, 2)?,
                trips: row::count(found, 3)?,
                paused_until: row::moment_opt(found, 4)?,
            })
        })
        .collect()
}
