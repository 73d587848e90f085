// SPDX-License-Identifier: EUPL-1.2
//! How much of a lane may be under way: places, pace, and the pause of a receiver that does not answer.

use std::collections::HashMap;

use kop_core::{Breaker, LaneHealth, LaneLimits, TenantId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};

use super::row;
use crate::{
    error::StoreError,
    pace::{Kept, Pace},
    records::LaneRecord,
};

fn kept(conn: &Connection, tenant: &str, lane: &str) -> Result<Kept, StoreError> {
    let found = conn
        .prepare_cached("SELECT trips, paused_until, paced_until FROM lane WHERE tenant = ?1 AND lane = ?2")?
        .query_row((tenant, lane), |row| {
            Ok(Kept { trips: row.get(0)?, paused_until: row.get(1)?, paced_until: row.get(2)? })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Deliveries of a lane that occupy a place: leased, or with an attempt whose end nobody recorded.
fn under_way(conn: &Connection, tenant: &str, lane: &str, now: Zeitpunkt) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached(
            // What is leased is counted in the index alone; few leases have run out.
            "SELECT (SELECT count(*) FROM delivery WHERE tenant = ?1 AND lane = ?2 AND lease_until > ?3)
                  + (SELECT count(*) FROM delivery WHERE tenant = ?1 AND lane = ?2 AND lease_until <= ?3
                     AND open_attempt IS NOT NULL)",
        )?
        .query_row((tenant, lane, row::micros(now)), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// How many more of a lane may begin now.
pub(super) fn room(
    conn: &Connection,
    tenant: &str,
    lane: &str,
    limits: LaneLimits,
    now: Zeitpunkt,
) -> Result<u64, StoreError> {
    let kept = kept(conn, tenant, lane)?;
    Ok(kept.room(limits, under_way(conn, tenant, lane, now)?, row::micros(now)))
}

/// Notes that attempts of a lane begin.
pub(super) fn spend(
    conn: &Connection,
    tenant: &str,
    lane: &str,
    limits: LaneLimits,
    count: u64,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let Some(per_minute) = limits.per_minute.filter(|_| count > 0) else { return Ok(()) };
    let kept = kept(conn, tenant, lane)?;
    let (until, ready) = Pace::new(per_minute).spend(kept.paced_until, count, row::micros(now));
    conn.prepare_cached(
        "INSERT INTO lane (tenant, lane, paced_until, ready_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (tenant, lane) DO UPDATE SET paced_until = ?3, ready_at = ?4",
    )?
    .execute((tenant, lane, until, ready))?;
    Ok(())
}

/// Notes begun attempts of several lanes.
pub(super) fn spend_all<'a>(
    conn: &Connection,
    begun: impl Iterator<Item = (&'a str, &'a str)>,
    limits: impl Fn(&str, &str) -> LaneLimits,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let mut counts: HashMap<(&str, &str), u64> = HashMap::new();
    for lane in begun {
        *counts.entry(lane).or_default() += 1;
    }
    counts
        .into_iter()
        .try_for_each(|((tenant, lane), count)| spend(conn, tenant, lane, limits(tenant, lane), count, now))
}

/// Notes what an attempt told about the receiver.
pub(super) fn note(
    conn: &Connection,
    tenant: &str,
    lane: &str,
    health: LaneHealth,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    match health {
        LaneHealth::Unknown => Ok(()),
        LaneHealth::Well => {
            conn.prepare_cached(
                "UPDATE lane SET failures = 0, trips = 0, paused_until = 0
                 WHERE tenant = ?1 AND lane = ?2 AND failures > 0",
            )?
            .execute((tenant, lane))?;
            Ok(())
        }
        LaneHealth::Failing(breaker) => failed(conn, tenant, lane, breaker, now),
    }
}

fn failed(
    conn: &Connection,
    tenant: &str,
    lane: &str,
    breaker: Breaker,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let failures: u32 = conn
        .prepare_cached(
            "INSERT INTO lane (tenant, lane, failures) VALUES (?1, ?2, 1)
             ON CONFLICT (tenant, lane) DO UPDATE SET failures = failures + 1 RETURNING failures",
        )?
        .query_row((tenant, lane), |row| row.get(0))?;
    let kept = kept(conn, tenant, lane)?;
    // What was under way when the lane tripped tells nothing new.
    if failures < breaker.nach_fehlern.get() || kept.paused_until > row::micros(now) {
        return Ok(());
    }
    let trip = kept.trips + 1;
    conn.prepare_cached("UPDATE lane SET trips = ?3, paused_until = ?4 WHERE tenant = ?1 AND lane = ?2")?
        .execute((tenant, lane, trip, row::micros(row::after(now, breaker.pause(trip)))))?;
    Ok(())
}

pub(super) fn all(conn: &Connection, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError> {
    let lanes = conn
        .prepare_cached(
            "SELECT tenant, lane, failures, trips, nullif(paused_until, 0) FROM lane
             WHERE ?1 IS NULL OR tenant = ?1 ORDER BY tenant, lane",
        )?
        .query_map([tenant.map(TenantId::as_str)], |row| {
            Ok(LaneRecord {
                tenant: row::parsed(row, 0)?,
                lane: row.get(1)?,
                failures: row.get(2)?,
                trips: row.get(3)?,
                paused_until: row::moment_opt(row, 4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lanes)
}
