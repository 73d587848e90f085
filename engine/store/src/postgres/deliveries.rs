// SPDX-License-Identifier: EUPL-1.2
//! Claiming of deliveries: what is due, whose lane has room, what a crash left. How many of a lane are under way is
//! counted while the lane is locked, so that machines together stay within its places.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use kop_core::{LaneLimits, SubmissionId, TenantId, WhenParked, clock::Zeitpunkt};
use serde_json::json;

use super::{
    attempts,
    lanes::{self, Lane},
    pool::Conn,
    row,
    timeline::Timeline,
    turn,
};
use crate::{
    error::StoreError,
    records::AttemptKind,
    steps::{
        ClaimedDelivery, DeliveryClaim, DeliveryLease, Interrupted, Lanes, NewDelivery, NewMessage,
        StartedAttempt, event,
    },
    turns::{DueOfLanes, LastServed, take_lanes},
    values::{after, micros, span},
};

/// Locks those lanes of new messages that have room for a first attempt, until the step ends; gives them. A full one
/// is not waited for.
pub(super) async fn lock_free_lanes(
    conn: &Conn,
    tenant: &TenantId,
    messages: &[NewMessage],
    now: Zeitpunkt,
) -> Result<BTreeSet<Lane>, StoreError> {
    let wanted: BTreeMap<Lane, LaneLimits> = messages
        .iter()
        .filter_map(|new| {
            let lane = (tenant.to_string(), new.receiver.clone());
            Some((lane, new.delivery.first_attempt?.limits))
        })
        .collect();
    let names = wanted.keys().cloned().collect();
    let limits = |tenant: &str, lane: &str| wanted[&(tenant.to_owned(), lane.to_owned())];
    let mut free = lanes::room(conn, &names, limits, now).await?;
    free.retain(|_, room| *room > 0);
    let free: BTreeSet<Lane> = free.into_keys().collect();
    if !free.is_empty() {
        lanes::lock(conn, &free).await?;
    }
    Ok(free)
}

/// Stores a new message's delivery and, when asked, it is its turn and its lane (then locked) has room, starts its
/// first attempt. The tenant's order is locked.
pub(super) async fn insert(
    conn: &Conn,
    of: (&TenantId, SubmissionId),
    timeline: &mut Timeline<'_>,
    new: &NewMessage,
    locked: &BTreeSet<Lane>,
    holder: i32,
    now: Zeitpunkt,
) -> Result<Option<StartedAttempt>, StoreError> {
    let (tenant_id, submission) = of;
    let tenant = tenant_id.as_str();
    let NewDelivery { delivery_id, order, when_parked, tell_after, give_up_after, first_attempt } =
        new.delivery;
    let place = turn::place(conn, tenant_id, &new.receiver, submission, delivery_id, order).await?;
    let lane = (tenant.to_owned(), new.receiver.clone());
    let mut first = first_attempt.filter(|_| !place.queued && locked.contains(&lane));
    if let Some(limits) = first.map(|first| first.limits) {
        let room = lanes::room(conn, &BTreeSet::from([lane]), |_, _| limits, now).await?;
        first = first.filter(|_| room.values().any(|room| *room > 0));
    }
    let until = first.map(|first| micros(after(now, first.lease_for)));
    let started = first.is_some();
    let give_up_at = after(now, give_up_after);
    conn.execute(
        "INSERT INTO delivery (tenant, delivery_id, message_id, submission_id, lane, state, next_try_at, due_at,
             order_key, position, queued, holds, holds_parked, tell_after, tell_at, give_up_after, give_up_at,
             attempts, lease_until, token, holder, open_attempt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $10 OR $18::text IS NOT NULL THEN NULL ELSE $7::bigint END,
             $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $19, $17, $20, $18)",
        &[
            &tenant,
            &delivery_id.to_string(),
            &new.message_id.to_string(),
            &submission.to_string(),
            &new.receiver,
            &if started { "laufend" } else { "wartend" },
            &micros(now),
            &place.key,
            &place.position,
            &place.queued,
            &place.key.is_some(),
            &(place.key.is_some() && when_parked == WhenParked::Warten),
            &span(tell_after),
            &micros(after(now, tell_after)),
            &span(give_up_after),
            &micros(give_up_at),
            &i64::from(started),
            &first.map(|first| first.attempt_id.to_string()),
            &until,
            &first.map(|_| holder),
        ],
    )
    .await?;
    let Some(first) = first else { return Ok(None) };
    conn.execute(
        "INSERT INTO attempt (tenant, delivery_id, attempt_id, submission_id, kind, number, started_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6)",
        &[
            &tenant,
            &delivery_id.to_string(),
            &first.attempt_id.to_string(),
            &submission.to_string(),
            &AttemptKind::Senden.as_str(),
            &micros(now),
        ],
    )
    .await?;
    lanes::spend(conn, tenant, &new.receiver, first.limits, 1, now).await?;
    timeline.add(event::VERSUCH, &json!({ "versuch": 1, "art": AttemptKind::Senden.as_str() }))?;
    let until = after(now, first.lease_for);
    let lease = DeliveryLease { tenant: tenant_id.clone(), delivery_id, token: 1, until };
    Ok(Some(StartedAttempt { lease, attempt_id: first.attempt_id, number: 1, give_up_at }))
}

/// A delivery that may be claimed: tenant, lane, id.
type Candidate = (String, String, String);

pub(super) async fn claim(
    conn: &Conn,
    claim: &DeliveryClaim,
    last: &mut LastServed,
    holder: i32,
    now: Zeitpunkt,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let wanted = match &claim.only {
        Some((tenant, id)) => {
            let key: (&str, &str) = (tenant.as_str(), &id.to_string());
            let sql = "SELECT lane FROM delivery WHERE tenant = $1 AND delivery_id = $2";
            let lane = row::get(&conn.query_one(sql, &[&key.0, &key.1]).await?, 0)?;
            vec![(tenant.to_string(), lane, key.1.to_owned())]
        }
        None => due(conn, claim, last, now).await?,
    };
    let chosen = within_room(conn, wanted, &*claim.lanes, now).await?;
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let until = after(now, claim.lease_for);
    let tenants: Vec<&str> = chosen.iter().map(|one| one.0.as_str()).collect();
    let ids: Vec<&str> = chosen.iter().map(|one| one.2.as_str()).collect();
    // A question keeps its state, a sending is under way from here on.
    let leased = conn
        .query(
            "WITH free AS (
                 SELECT d.tenant, d.delivery_id FROM unnest($1::text[], $2::text[]) AS wanted (tenant, delivery_id)
                 JOIN delivery d USING (tenant, delivery_id) WHERE d.due_at <= $4 FOR UPDATE OF d SKIP LOCKED)
             UPDATE delivery d SET token = token + 1, lease_until = $3, due_at = $3, holder = $5, settle_waits = FALSE,
                 state = CASE state WHEN 'wartend' THEN 'laufend' ELSE state END
             FROM free WHERE d.tenant = free.tenant AND d.delivery_id = free.delivery_id
             RETURNING d.tenant, d.delivery_id, d.token",
            &[&tenants, &ids, &micros(until), &micros(now), &holder],
        )
        .await?;
    let mut claimed = Vec::with_capacity(leased.len());
    for found in &leased {
        let lease = DeliveryLease {
            tenant: row::parsed(found, 0)?,
            delivery_id: row::parsed(found, 1)?,
            token: row::count(found, 2)?,
            until,
        };
        claimed.push(load(conn, lease).await?);
    }
    claimed.sort_by_key(|one| {
        let id = one.lease.delivery_id.to_string();
        chosen.iter().position(|wanted| wanted.0 == one.lease.tenant.as_str() && wanted.2 == id)
    });
    let mut begun: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for one in &claimed {
        *begun.entry((one.delivery.tenant.as_str(), one.delivery.lane.as_str())).or_default() += 1;
    }
    for ((tenant, lane), count) in begun {
        lanes::spend(conn, tenant, lane, claim.lanes.limits(tenant, lane), count, now).await?;
    }
    Ok(claimed)
}

/// Locks the lanes of the candidates and leaves out those that have no place there. A lane that another process is
/// claiming from right now is its for this time.
async fn within_room(
    conn: &Conn,
    wanted: Vec<Candidate>,
    limits: &dyn Lanes,
    now: Zeitpunkt,
) -> Result<Vec<Candidate>, StoreError> {
    let names: BTreeSet<Lane> = wanted.iter().map(|one| (one.0.clone(), one.1.clone())).collect();
    let locked = lanes::try_lock(conn, &names).await?;
    let mut room = lanes::room(conn, &locked, |tenant, lane| limits.limits(tenant, lane), now).await?;
    let fits = |one: &Candidate| {
        let Some(left) = room.get_mut(&(one.0.clone(), one.1.clone())) else { return false };
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    };
    Ok(wanted.into_iter().filter(fits).collect())
}

/// Due deliveries of lanes with room: tenants take turns, and within a tenant its lanes do. Every lane is one step
/// into the index, however much waits in it.
async fn due(
    conn: &Conn,
    claim: &DeliveryClaim,
    last: &mut LastServed,
    now: Zeitpunkt,
) -> Result<Vec<Candidate>, StoreError> {
    // Asked as "the first", here and in `turn`: asked as EXISTS, a planner whose statistics are old reads the whole
    // table because it expects to find one soon.
    let first = conn
        .query_opt(
            "SELECT due_at <= $1 FROM delivery WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1",
            &[&micros(now)],
        )
        .await?;
    if !first.map_or(Ok(false), |first| row::get(&first, 0))? || claim.limit == 0 {
        return Ok(Vec::new());
    }
    let rows = conn
        .query(
            "WITH RECURSIVE waiting AS (
                 (SELECT tenant, lane FROM delivery WHERE due_at IS NOT NULL ORDER BY tenant, lane LIMIT 1)
                 UNION ALL
                 SELECT next.tenant, next.lane FROM waiting CROSS JOIN LATERAL (
                     SELECT tenant, lane FROM delivery d
                     WHERE d.due_at IS NOT NULL AND (d.tenant, d.lane) > (waiting.tenant, waiting.lane)
                     ORDER BY d.tenant, d.lane LIMIT 1) next)
             SELECT lane.tenant, lane.lane, one.delivery_id FROM waiting lane
             CROSS JOIN LATERAL (SELECT delivery_id, due_at FROM delivery d
                 WHERE d.tenant = lane.tenant AND d.lane = lane.lane AND d.due_at <= $1
                 ORDER BY d.due_at, d.delivery_id LIMIT $2) one
             ORDER BY lane.tenant, lane.lane, one.due_at, one.delivery_id",
            &[&micros(now), &i64::from(claim.limit)],
        )
        .await?;
    let found = rows
        .iter()
        .map(|found| Ok(((row::get(found, 0)?, row::get(found, 1)?), row::get(found, 2)?)))
        .collect::<Result<Vec<(Lane, String)>, StoreError>>()?;
    // A look without locks; those that are taken are looked at again.
    let names = found.iter().map(|(lane, _)| lane.clone()).collect();
    let mut room = lanes::room(conn, &names, |tenant, lane| claim.lanes.limits(tenant, lane), now).await?;
    let mut tenants: Vec<(String, DueOfLanes)> = Vec::new();
    for ((tenant, lane), id) in found {
        match room.get_mut(&(tenant.clone(), lane.clone())) {
            Some(left) if *left > 0 => *left -= 1,
            _ => continue,
        }
        if tenants.last().is_none_or(|(name, _)| *name != tenant) {
            tenants.push((tenant, Vec::new()));
        }
        let Some((_, lanes)) = tenants.last_mut() else { continue };
        match lanes.last_mut() {
            Some((name, ids)) if *name == lane => ids.push_back(id),
            _ => lanes.push((lane, VecDeque::from([id]))),
        }
    }
    Ok(take_lanes(tenants, claim.limit as usize, last))
}

/// Everything that sending or asking needs.
async fn load(conn: &Conn, lease: DeliveryLease) -> Result<ClaimedDelivery, StoreError> {
    let (tenant, id) = (lease.tenant.as_str(), lease.delivery_id.to_string());
    let sql = format!("{} WHERE tenant = $1 AND delivery_id = $2", row::DELIVERY);
    let delivery = row::delivery(&conn.query_one(&sql, &[&tenant, &id]).await?)?;
    let sql = format!("{} WHERE tenant = $1 AND message_id = $2", row::MESSAGE);
    let message = row::message(&conn.query_one(&sql, &[&tenant, &delivery.message_id.to_string()]).await?)?;
    let sql = "SELECT vorgangsnummer, received_at FROM submission WHERE tenant = $1 AND submission_id = $2";
    let found = conn.query_one(sql, &[&tenant, &delivery.submission_id.to_string()]).await?;
    let (vorgangsnummer, received_at) = (row::get(&found, 0)?, row::moment(&found, 1)?);
    Ok(ClaimedDelivery { lease, delivery, message, vorgangsnummer, received_at })
}

pub(super) async fn renew(
    conn: &Conn,
    lease: DeliveryLease,
    lease_for: Duration,
    now: Zeitpunkt,
) -> Result<DeliveryLease, StoreError> {
    let until = after(now, lease_for);
    // An open attempt is never claimable, whatever its lease.
    let changed = conn
        .execute(
            "UPDATE delivery SET lease_until = $4::bigint, due_at = CASE WHEN open_attempt IS NULL THEN $4::bigint END
             WHERE tenant = $1 AND delivery_id = $2 AND token = $3 AND lease_until IS NOT NULL",
            &[
                &lease.tenant.as_str(),
                &lease.delivery_id.to_string(),
                &lease.token.cast_signed(),
                &micros(until),
            ],
        )
        .await?;
    if changed == 0 { Err(StoreError::StaleLease) } else { Ok(DeliveryLease { until, ..lease }) }
}

/// Leases what was started and has no end although its lease ran out.
pub(super) async fn recover(
    conn: &Conn,
    lease_for: Duration,
    limit: u32,
    holder: i32,
    now: Zeitpunkt,
) -> Result<Vec<Interrupted>, StoreError> {
    let until = after(now, lease_for);
    let open = conn
        .query(
            "WITH open AS (
                 SELECT tenant, delivery_id FROM delivery WHERE open_attempt IS NOT NULL AND lease_until <= $1
                 ORDER BY lease_until LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE delivery d SET token = token + 1, lease_until = $3, holder = $4
             FROM open WHERE d.tenant = open.tenant AND d.delivery_id = open.delivery_id
             RETURNING d.tenant, d.delivery_id, d.token, d.open_attempt",
            &[&micros(now), &i64::from(limit), &micros(until), &holder],
        )
        .await?;
    let mut interrupted = Vec::with_capacity(open.len());
    for found in &open {
        let lease = DeliveryLease {
            tenant: row::parsed(found, 0)?,
            delivery_id: row::parsed(found, 1)?,
            token: row::count(found, 2)?,
            until,
        };
        let attempt = attempts::one(conn, &lease, row::get(found, 3)?).await?;
        interrupted.push(Interrupted { claimed: load(conn, lease).await?, attempt });
    }
    Ok(interrupted)
}
