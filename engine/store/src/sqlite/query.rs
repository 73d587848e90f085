// SPDX-License-Identifier: EUPL-1.2
//! Questions: lists, one submission whole, Klärungsfälle, short ids, numbers.

use std::{collections::BTreeMap, fmt::Write as _};

use kop_core::{SubmissionId, TenantId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension, Row, types::Value};

use super::row;
use crate::{
    error::StoreError,
    records::{
        Counts, Cursor, Found, FoundId, OriginCount, SubmissionDetail, SubmissionFilter, SubmissionPage,
        WorkItemGroup, WorkItemRecord,
    },
    steps::Overdue,
};

const LONGEST_PAGE: u32 = 1000;
const USUAL_PAGE: u32 = 50;

/// Matches that an ambiguous text gets.
const AMBIGUOUS: usize = 20;

pub(super) fn next_due(conn: &Connection, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError> {
    let next: Option<i64> = conn
        .prepare_cached(
            "SELECT min(at) FROM (
                 SELECT min(due_at) AS at FROM submission WHERE state = 'eingegangen' AND due_at > ?1
                 UNION ALL SELECT min(due_at) FROM delivery WHERE due_at > ?1
                 UNION ALL SELECT min(lease_until) FROM delivery
                     WHERE open_attempt IS NOT NULL AND lease_until > ?1
                 UNION ALL SELECT min(tell_at) FROM delivery WHERE tell_at > ?1
                 UNION ALL SELECT min(paused_until) FROM lane WHERE paused_until > ?1
                 UNION ALL SELECT min(ready_at) FROM lane WHERE ready_at > ?1)",
        )?
        .query_row([row::micros(now)], |row| row.get(0))?;
    Ok(next.and_then(|at| Zeitpunkt::from_microsecond(at).ok()))
}

pub(super) fn overdue(conn: &Connection, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError> {
    let overdue = conn
        .prepare_cached(
            "SELECT d.tenant, d.delivery_id, d.lane,
                 CASE WHEN d.settles IS NULL THEN m.created_at ELSE d.give_up_at - d.give_up_after END
             FROM delivery d
             JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
             WHERE d.tell_at <= ?1 ORDER BY d.tell_at LIMIT ?2",
        )?
        .query_map((row::micros(now), limit), |row| {
            Ok(Overdue {
                tenant: row::parsed(row, 0)?,
                delivery_id: row::parsed(row, 1)?,
                lane: row.get(2)?,
                since: row::moment(row, 3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(overdue)
}

pub(super) fn submissions(
    conn: &Connection,
    filter: &SubmissionFilter,
) -> Result<SubmissionPage, StoreError> {
    let limit = match filter.limit {
        0 => USUAL_PAGE,
        n => n.min(LONGEST_PAGE),
    };
    let (sql, values) = list_sql(filter, limit + 1);
    let mut items = conn
        .prepare_cached(&sql)?
        .query_map(rusqlite::params_from_iter(values), row::summary)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| Cursor { received_at: row::micros(last.received_at), submission_id: last.submission_id });
    Ok(SubmissionPage { items, next })
}

/// The most selective index of a tenant's list. The planner has no statistics and would walk through time.
fn leading_index(filter: &SubmissionFilter) -> Option<&'static str> {
    if filter.vorgangsnummer.is_some() {
        Some("submission_number")
    } else if filter.vendor_id.is_some() {
        Some("submission_vendor")
    } else if filter.form_id.is_some() {
        Some("submission_form")
    } else if filter.state.is_some() {
        Some("submission_state")
    } else {
        None
    }
}

/// The statement for a list, led by the index that fits, and its values.
pub(super) fn list_sql(filter: &SubmissionFilter, limit: u32) -> (String, Vec<Value>) {
    let mut sql = format!("SELECT {} FROM submission s", row::SUMMARY);
    let mut order = "s";
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = String::from(" WHERE true");
    let mut all = |condition: &str, value: Value| {
        values.push(value);
        let _ = write!(conditions, " AND {}", condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(receiver) = &filter.receiver {
        // Led by the receiver's own index; a submission with two messages for it appears once.
        sql = format!("SELECT DISTINCT {} FROM message m", row::SUMMARY);
        sql.push_str(" CROSS JOIN submission s ON s.tenant = m.tenant AND s.submission_id = m.submission_id");
        order = "m";
        all("m.receiver = ?", receiver.clone().into());
        if let Some(tenant) = &filter.tenant {
            all("m.tenant = ?", tenant.to_string().into());
        }
    } else if let Some(index) = filter.tenant.as_ref().and_then(|_| leading_index(filter)) {
        let _ = write!(sql, " INDEXED BY {index}");
    }
    if let Some(tenant) = &filter.tenant {
        all("s.tenant = ?", tenant.to_string().into());
    }
    if let Some(state) = filter.state {
        all("s.state = ?", state.as_str().to_owned().into());
    }
    for (column, value) in [
        ("s.form_id = ?", &filter.form_id),
        ("s.vorgangsnummer = ?", &filter.vorgangsnummer),
        ("s.vendor_id = ?", &filter.vendor_id),
    ] {
        if let Some(value) = value {
            all(column, value.clone().into());
        }
    }
    if let Some(since) = filter.since {
        all(&format!("{order}.received_at >= ?"), row::micros(since).into());
    }
    if let Some(after) = &filter.after {
        values.push(after.received_at.into());
        values.push(after.submission_id.to_string().into());
        let last = values.len();
        let _ = write!(
            conditions,
            " AND ({order}.received_at, {order}.submission_id) < (?{}, ?{last})",
            last - 1
        );
    }
    let _ = write!(
        sql,
        "{conditions} ORDER BY {order}.received_at DESC, {order}.submission_id DESC LIMIT {limit}"
    );
    (sql, values)
}

pub(super) fn submission(
    conn: &Connection,
    tenant: &TenantId,
    id: SubmissionId,
) -> Result<SubmissionDetail, StoreError> {
    let (tenant, id) = (tenant.as_str(), id.to_string());
    let of = |rest: &str| format!("{rest} AND submission_id = ?2");
    Ok(SubmissionDetail {
        submission: row::submission(conn, tenant, &id)?,
        corrections: list(
            conn,
            &format!("{} ORDER BY seq", of(&format!("{} WHERE tenant = ?1", row::CORRECTION))),
            (tenant, &id),
            row::correction,
        )?,
        messages: list(
            conn,
            &format!(
                "{} ORDER BY created_at, message_id",
                of(&format!("{} WHERE tenant = ?1", row::MESSAGE))
            ),
            (tenant, &id),
            row::message,
        )?,
        deliveries: list(
            conn,
            &format!("{} ORDER BY delivery_id", of(&format!("{} WHERE tenant = ?1", row::DELIVERY))),
            (tenant, &id),
            row::delivery,
        )?,
        attempts: list(
            conn,
            &format!(
                "{} WHERE tenant = ?1 AND delivery_id IN
                     (SELECT delivery_id FROM delivery WHERE tenant = ?1 AND submission_id = ?2)
                 ORDER BY started_at, attempt_id",
                row::ATTEMPT
            ),
            (tenant, &id),
            row::attempt,
        )?,
        work_items: list(
            conn,
            &format!(
                "{} ORDER BY opened_at, work_item_id",
                of(&format!("{} WHERE tenant = ?1", row::WORK_ITEM))
            ),
            (tenant, &id),
            row::work_item,
        )?,
        events: list(
            conn,
            &format!("{} ORDER BY seq", of(&format!("{} WHERE tenant = ?1", row::EVENT))),
            (tenant, &id),
            row::event,
        )?,
    })
}

fn list<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    Ok(conn.prepare_cached(sql)?.query_map(params, read)?.collect::<Result<_, _>>()?)
}

pub(super) fn work_item_groups(
    conn: &Connection,
    tenant: Option<&TenantId>,
    limit: u32,
) -> Result<Vec<WorkItemGroup>, StoreError> {
    let groups = list(
        conn,
        "SELECT tenant, fingerprint, count(*), min(opened_at), max(opened_at) FROM work_item
         WHERE closed_at IS NULL AND (?1 IS NULL OR tenant = ?1)
         GROUP BY tenant, fingerprint ORDER BY count(*) DESC, min(opened_at), tenant, fingerprint LIMIT ?2",
        (tenant.map(TenantId::as_str), limit.min(LONGEST_PAGE)),
        |row| {
            Ok((
                row::parsed::<TenantId>(row, 0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?.unsigned_abs(),
                row::moment(row, 3)?,
                row::moment(row, 4)?,
            ))
        },
    )?;
    let mut with_sample = Vec::with_capacity(groups.len());
    for (tenant, fingerprint, count, oldest, newest) in groups {
        let sample = open_work_items(conn, Some(&tenant), Some(&fingerprint), 1)?
            .pop()
            .ok_or_else(|| StoreError::Damaged("index of open work items".to_owned()))?;
        let origins = origins(conn, &tenant, &fingerprint)?;
        with_sample.push(WorkItemGroup { tenant, fingerprint, count, oldest, newest, sample, origins });
    }
    Ok(with_sample)
}

/// Where the open Klärungsfälle of a cause come from.
fn origins(conn: &Connection, tenant: &TenantId, fingerprint: &str) -> Result<Vec<OriginCount>, StoreError> {
    list(
        conn,
        "SELECT origin, count(*), min(opened_at) FROM work_item
         WHERE tenant = ?1 AND fingerprint = ?2 AND closed_at IS NULL AND origin IS NOT NULL
         GROUP BY origin ORDER BY min(opened_at), origin LIMIT ?3",
        (tenant.as_str(), fingerprint, WorkItemGroup::ORIGINS),
        |row| {
            Ok(OriginCount {
                origin: row::from_json(row, 0)?,
                count: row.get::<_, i64>(1)?.unsigned_abs(),
                oldest: row::moment(row, 2)?,
            })
        },
    )
}

pub(super) fn open_work_items(
    conn: &Connection,
    tenant: Option<&TenantId>,
    fingerprint: Option<&str>,
    limit: u32,
) -> Result<Vec<WorkItemRecord>, StoreError> {
    let mut sql = format!("{} WHERE closed_at IS NULL", row::WORK_ITEM);
    let mut values: Vec<Value> = Vec::new();
    for (column, value) in [("tenant", tenant.map(TenantId::as_str)), ("fingerprint", fingerprint)] {
        if let Some(value) = value {
            values.push(value.to_owned().into());
            let _ = write!(sql, " AND {column} = ?{}", values.len());
        }
    }
    let _ = write!(sql, " ORDER BY opened_at, work_item_id LIMIT {}", limit.min(LONGEST_PAGE));
    list(conn, &sql, rusqlite::params_from_iter(values), row::work_item)
}

pub(super) fn resolve(
    conn: &Connection,
    tenant: Option<&TenantId>,
    text: &str,
) -> Result<Vec<Found>, StoreError> {
    let text = text.trim();
    if text.len() < 4 || text.len() > 200 {
        return Ok(Vec::new());
    }
    let tenants = match tenant {
        Some(tenant) => vec![tenant.to_string()],
        // Every tenant that ever stored something has a counter.
        None => list(conn, "SELECT DISTINCT tenant FROM counter", [], |row| row.get(0))?,
    };
    let prefix = text.to_ascii_lowercase();
    let is_id = prefix.len() <= 36 && prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let mut found = Vec::new();
    for tenant in &tenants {
        found.extend(list(
            conn,
            "SELECT tenant, submission_id, vorgangsnummer, submission_id FROM submission
             WHERE tenant = ?1 AND vorgangsnummer = ?2",
            (tenant, text),
            |row| found_row(row, |row| row::parsed(row, 3).map(FoundId::Submission)),
        )?);
        if !is_id {
            continue;
        }
        // 'g' is behind every hexadecimal digit, so this is exactly the range of the prefix.
        let range = (tenant, &prefix, format!("{prefix}g"));
        found.extend(list(
            conn,
            "SELECT tenant, submission_id, vorgangsnummer, submission_id FROM submission
             WHERE tenant = ?1 AND submission_id >= ?2 AND submission_id < ?3 LIMIT 20",
            (range.0, range.1, &range.2),
            |row| found_row(row, |row| row::parsed(row, 3).map(FoundId::Submission)),
        )?);
        found.extend(list(
            conn,
            "SELECT m.tenant, m.submission_id, s.vorgangsnummer, m.message_id
             FROM message m JOIN submission s USING (tenant, submission_id)
             WHERE m.tenant = ?1 AND m.message_id >= ?2 AND m.message_id < ?3 LIMIT 20",
            (range.0, range.1, &range.2),
            |row| found_row(row, |row| row::parsed(row, 3).map(FoundId::Message)),
        )?);
        found.extend(list(
            conn,
            "SELECT d.tenant, d.submission_id, s.vorgangsnummer, d.delivery_id
             FROM delivery d JOIN submission s USING (tenant, submission_id)
             WHERE d.tenant = ?1 AND d.delivery_id >= ?2 AND d.delivery_id < ?3 LIMIT 20",
            (range.0, range.1, &range.2),
            |row| found_row(row, |row| row::parsed(row, 3).map(FoundId::Delivery)),
        )?);
        if found.len() >= AMBIGUOUS {
            break;
        }
    }
    found.truncate(AMBIGUOUS);
    Ok(found)
}

fn found_row(
    row: &Row<'_>,
    id: impl FnOnce(&Row<'_>) -> rusqlite::Result<FoundId>,
) -> rusqlite::Result<Found> {
    Ok(Found {
        tenant: row::parsed(row, 0)?,
        submission_id: row::parsed(row, 1)?,
        vorgangsnummer: row.get(2)?,
        id: id(row)?,
    })
}

pub(super) fn counts(conn: &Connection, tenant: Option<&TenantId>) -> Result<Counts, StoreError> {
    let tenant = tenant.map(TenantId::as_str);
    let by_state = |table: &str| -> Result<BTreeMap<String, u64>, StoreError> {
        let sql =
            format!("SELECT state, count(*) FROM {table} WHERE ?1 IS NULL OR tenant = ?1 GROUP BY state");
        let rows = list(conn, &sql, [tenant], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.into_iter().collect())
    };
    let open: Option<i64> = conn
        .prepare_cached(
            "SELECT count(*) FROM work_item WHERE closed_at IS NULL AND (?1 IS NULL OR tenant = ?1)",
        )?
        .query_row([tenant], |row| row.get(0))
        .optional()?;
    Ok(Counts {
        submissions: by_state("submission")?,
        deliveries: by_state("delivery")?,
        open_work_items: open.unwrap_or_default().unsigned_abs(),
    })
}
