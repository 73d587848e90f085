// SPDX-License-Identifier: EUPL-1.2
//! Claiming of deliveries: what is due, whose lane has room, what a crash left.

use std::{collections::VecDeque, time::Duration};

use kop_core::{TenantId, WhenParked, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};

use super::{attempts, lanes, row, timeline::Timeline, turn};
use crate::{
    error::StoreError,
    steps::{
        ClaimedDelivery, DeliveryClaim, DeliveryLease, Interrupted, Lanes, NewDelivery, NewMessage,
        StartedAttempt,
    },
    turns::{DueOfLanes, LastServed, take_lanes},
};

/// Stores a new message's delivery and, when asked, it is its turn and its lane has room, starts its first attempt.
pub(super) fn insert(
    timeline: &Timeline<'_>,
    new: &NewMessage,
) -> Result<Option<StartedAttempt>, StoreError> {
    let (conn, now) = (timeline.conn, timeline.now);
    let (tenant, lane) = (timeline.tenant.as_str(), &new.receiver);
    let NewDelivery { delivery_id, order, when_parked, tell_after, give_up_after, first_attempt } =
        new.delivery;
    let place = turn::place(conn, timeline.tenant, lane, timeline.submission, delivery_id, order)?;
    conn.prepare_cached(
        "INSERT INTO delivery (tenant, delivery_id, message_id, submission_id, lane, state, next_try_at, due_at,
             order_key, position, queued, holds, holds_parked, tell_after, tell_at, give_up_after, give_up_at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'wartend', ?6, CASE WHEN ?9 THEN NULL ELSE ?6 END, ?7, ?8, ?9, ?10, ?11, ?12,
             ?13, ?14, ?15)",
    )?
    .execute(rusqlite::params![
        tenant,
        delivery_id.to_string(),
        new.message_id.to_string(),
        timeline.submission.to_string(),
        lane,
        row::micros(now),
        place.key,
        place.position,
        place.queued,
        place.key.is_some(),
        place.key.is_some() && when_parked == WhenParked::Warten,
        row::span(tell_after),
        row::micros(row::after(now, tell_after)),
        row::span(give_up_after),
        row::micros(row::after(now, give_up_after)),
    ])?;
    let Some(first) = first_attempt.filter(|_| !place.queued) else { return Ok(None) };
    if lanes::room(conn, tenant, lane, first.limits, now)? == 0 {
        return Ok(None);
    }
    let lease =
        lease(conn, tenant, &delivery_id.to_string(), first.lease_for, now)?.ok_or(StoreError::StaleLease)?;
    lanes::spend(conn, tenant, lane, first.limits, 1, now)?;
    attempts::start(conn, lease, first.attempt_id, now).map(Some)
}

/// Leases one delivery if it is due. A question keeps its state, a sending is under way from here on.
fn lease(
    conn: &Connection,
    tenant: &str,
    delivery: &str,
    lease_for: Duration,
    now: Zeitpunkt,
) -> Result<Option<DeliveryLease>, StoreError> {
    let until = row::after(now, lease_for);
    let leased = conn
        .prepare_cached(
            "UPDATE delivery SET token = token + 1, lease_until = ?3, due_at = ?3, settle_waits = 0,
                 state = CASE state WHEN 'wartend' THEN 'laufend' ELSE state END
             WHERE tenant = ?1 AND delivery_id = ?2 AND due_at <= ?4
             RETURNING token, tenant, delivery_id",
        )?
        .query_row((tenant, delivery, row::micros(until), row::micros(now)), |row| {
            Ok(DeliveryLease {
                tenant: row::parsed(row, 1)?,
                delivery_id: row::parsed(row, 2)?,
                token: row.get::<_, i64>(0)?.unsigned_abs(),
                until,
            })
        })
        .optional()?;
    Ok(leased)
}

pub(super) fn claim(
    conn: &Connection,
    claim: &DeliveryClaim,
    last: &mut LastServed,
    now: Zeitpunkt,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let chosen = match &claim.only {
        Some((tenant, id)) => one(conn, tenant, &id.to_string(), &*claim.lanes, now)?,
        None => due(conn, claim, last, now)?,
    };
    let mut claimed = Vec::with_capacity(chosen.len());
    for (tenant, delivery) in chosen {
        if let Some(lease) = lease(conn, &tenant, &delivery, claim.lease_for, now)? {
            claimed.push(load(conn, lease)?);
        }
    }
    let begun = claimed.iter().map(|one| (one.delivery.tenant.as_str(), one.delivery.lane.as_str()));
    lanes::spend_all(conn, begun, |tenant, lane| claim.lanes.limits(tenant, lane), now)?;
    Ok(claimed)
}

fn one(
    conn: &Connection,
    tenant: &TenantId,
    delivery: &str,
    lanes: &dyn Lanes,
    now: Zeitpunkt,
) -> Result<Vec<(String, String)>, StoreError> {
    let lane: String = conn.query_row(
        "SELECT lane FROM delivery WHERE tenant = ?1 AND delivery_id = ?2",
        (tenant.as_str(), delivery),
        |row| row.get(0),
    )?;
    let full = lanes::room(conn, tenant.as_str(), &lane, lanes.limits(tenant.as_str(), &lane), now)? == 0;
    Ok(if full { Vec::new() } else { vec![(tenant.to_string(), delivery.to_owned())] })
}

/// Due deliveries: tenants take turns, and within a tenant its lanes do.
fn due(
    conn: &Connection,
    claim: &DeliveryClaim,
    last: &mut LastServed,
    now: Zeitpunkt,
) -> Result<Vec<(String, String)>, StoreError> {
    let any: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE due_at <= ?1)")?
        .query_row([row::micros(now)], |row| row.get(0))?;
    let limit = claim.limit as usize;
    if !any || limit == 0 {
        return Ok(Vec::new());
    }
    let mut next_lane = conn.prepare_cached(
        "SELECT tenant, lane FROM delivery WHERE due_at IS NOT NULL AND (tenant, lane) > (?1, ?2)
         ORDER BY tenant, lane LIMIT 1",
    )?;
    let mut of_lane = conn.prepare_cached(
        "SELECT delivery_id FROM delivery WHERE tenant = ?1 AND lane = ?2 AND due_at <= ?3
         ORDER BY due_at LIMIT ?4",
    )?;
    let mut tenants: Vec<(String, DueOfLanes)> = Vec::new();
    let (mut tenant, mut lane) = (String::new(), String::new());
    while let Some(found) =
        next_lane.query_row((&tenant, &lane), |row| Ok((row.get(0)?, row.get(1)?))).optional()?
    {
        (tenant, lane) = found;
        let room = lanes::room(conn, &tenant, &lane, claim.lanes.limits(&tenant, &lane), now)?;
        let room = room.min(u64::from(claim.limit));
        let ids = of_lane
            .query_map((&tenant, &lane, row::micros(now), room.cast_signed()), |row| row.get(0))?
            .collect::<Result<VecDeque<String>, _>>()?;
        if ids.is_empty() {
            continue;
        }
        match tenants.last_mut() {
            Some((name, lanes)) if *name == tenant => lanes.push((lane.clone(), ids)),
            _ => tenants.push((tenant.clone(), vec![(lane.clone(), ids)])),
        }
    }
    let taken = take_lanes(tenants, limit, last);
    Ok(taken.into_iter().map(|(tenant, _, delivery)| (tenant, delivery)).collect())
}

/// Everything that sending or asking needs.
fn load(conn: &Connection, lease: DeliveryLease) -> Result<ClaimedDelivery, StoreError> {
    let key = (lease.tenant.as_str(), lease.delivery_id.to_string());
    let delivery = conn
        .prepare_cached(&format!("{} WHERE tenant = ?1 AND delivery_id = ?2", row::DELIVERY))?
        .query_row(key, row::delivery)?;
    let message = conn
        .prepare_cached(&format!("{} WHERE tenant = ?1 AND message_id = ?2", row::MESSAGE))?
        .query_row((lease.tenant.as_str(), delivery.message_id.to_string()), row::message)?;
    let (vorgangsnummer, received_at) = conn
        .prepare_cached(
            "SELECT vorgangsnummer, received_at FROM submission WHERE tenant = ?1 AND submission_id = ?2",
        )?
        .query_row((lease.tenant.as_str(), delivery.submission_id.to_string()), |row| {
            Ok((row.get(0)?, row::moment(row, 1)?))
        })?;
    Ok(ClaimedDelivery { lease, delivery, message, vorgangsnummer, received_at })
}

pub(super) fn renew(
    conn: &Connection,
    lease: DeliveryLease,
    lease_for: Duration,
    now: Zeitpunkt,
) -> Result<DeliveryLease, StoreError> {
    let until = row::after(now, lease_for);
    // An open attempt is never claimable, whatever its lease.
    let changed = conn
        .prepare_cached(
            "UPDATE delivery SET lease_until = ?4, due_at = CASE WHEN open_attempt IS NULL THEN ?4 END
             WHERE tenant = ?1 AND delivery_id = ?2 AND token = ?3 AND lease_until IS NOT NULL",
        )?
        .execute((
            lease.tenant.as_str(),
            lease.delivery_id.to_string(),
            lease.token.cast_signed(),
            row::micros(until),
        ))?;
    if changed == 0 { Err(StoreError::StaleLease) } else { Ok(DeliveryLease { until, ..lease }) }
}

/// Leases what was started and has no end although its lease ran out.
pub(super) fn recover(
    conn: &Connection,
    lease_for: Duration,
    limit: u32,
    now: Zeitpunkt,
) -> Result<Vec<Interrupted>, StoreError> {
    let until = row::after(now, lease_for);
    let open: Vec<(DeliveryLease, String)> = conn
        .prepare_cached(
            "SELECT tenant, delivery_id, token + 1, open_attempt FROM delivery
             WHERE open_attempt IS NOT NULL AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2",
        )?
        .query_map((row::micros(now), limit), |row| {
            let lease = DeliveryLease {
                tenant: row::parsed(row, 0)?,
                delivery_id: row::parsed(row, 1)?,
                token: row.get::<_, i64>(2)?.unsigned_abs(),
                until,
            };
            Ok((lease, row.get(3)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut interrupted = Vec::with_capacity(open.len());
    for (lease, attempt) in open {
        let key = (lease.tenant.as_str(), lease.delivery_id.to_string(), lease.token.cast_signed());
        conn.prepare_cached(
            "UPDATE delivery SET token = ?3, lease_until = ?4 WHERE tenant = ?1 AND delivery_id = ?2",
        )?
        .execute((key.0, &key.1, key.2, row::micros(until)))?;
        let attempt = conn
            .prepare_cached(&format!(
                "{} WHERE tenant = ?1 AND delivery_id = ?2 AND attempt_id = ?3",
                row::ATTEMPT
            ))?
            .query_row((key.0, &key.1, attempt), row::attempt)?;
        interrupted.push(Interrupted { claimed: load(conn, lease)?, attempt });
    }
    Ok(interrupted)
}
