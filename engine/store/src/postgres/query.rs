// SPDX-License-Identifier: EUPL-1.2
//! Questions: lists, one submission whole, Klärungsfälle, short ids, numbers.

use std::{collections::BTreeMap, fmt::Write as _};

use kop_core::{SubmissionId, TenantId, clock::Zeitpunkt};
use tokio_postgres::{Row, types::ToSql};

use super::{
    pool::{Conn, Params},
    row,
};
use crate::{
    error::StoreError,
    records::{
        Counts, Cursor, Found, FoundId, OriginCount, SubmissionDetail, SubmissionFilter, SubmissionPage,
        WorkItemGroup, WorkItemRecord,
    },
    steps::Overdue,
    values::micros,
};

const LONGEST_PAGE: u32 = 1000;
const USUAL_PAGE: u32 = 50;

/// Matches that an ambiguous text gets.
const AMBIGUOUS: usize = 20;

pub(super) async fn next_due(conn: &Conn, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError> {
    let found = conn
        .query_one(
            "SELECT least(
                 (SELECT min(due_at) FROM submission WHERE state = 'eingegangen' AND due_at > $1),
                 (SELECT min(due_at) FROM delivery WHERE due_at > $1),
                 (SELECT min(lease_until) FROM delivery WHERE open_attempt IS NOT NULL AND lease_until > $1),
                 (SELECT min(tell_at) FROM delivery WHERE tell_at > $1),
                 (SELECT min(paused_until) FROM lane WHERE paused_until > $1),
                 (SELECT min(ready_at) FROM lane WHERE ready_at > $1))",
            &[&micros(now)],
        )
        .await?;
    let next: Option<i64> = row::get(&found, 0)?;
    Ok(next.and_then(|at| Zeitpunkt::from_microsecond(at).ok()))
}

pub(super) async fn overdue(conn: &Conn, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError> {
    let sql = "SELECT d.tenant, d.delivery_id, d.lane,
                 CASE WHEN d.settles IS NULL THEN m.created_at ELSE d.give_up_at - d.give_up_after END
             FROM delivery d
         JOIN message m ON m.tenant = d.tenant AND m.message_id = d.message_id
         WHERE d.tell_at <= $1 ORDER BY d.tell_at LIMIT $2";
    list(conn, sql, &[&micros(now), &i64::from(limit)], |row| {
        Ok(Overdue {
            tenant: row::parsed(row, 0)?,
            delivery_id: row::parsed(row, 1)?,
            lane: row::get(row, 2)?,
            since: row::moment(row, 3)?,
        })
    })
    .await
}

pub(super) async fn submissions(
    conn: &Conn,
    filter: &SubmissionFilter,
) -> Result<SubmissionPage, StoreError> {
    let limit = match filter.limit {
        0 => USUAL_PAGE,
        n => n.min(LONGEST_PAGE),
    };
    let (sql, values) = list_sql(filter, limit + 1);
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
    let mut items = list(conn, &sql, &values, row::summary).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| Cursor { received_at: micros(last.received_at), submission_id: last.submission_id });
    Ok(SubmissionPage { items, next })
}

/// The statement for a list and its values.
pub(super) fn list_sql(filter: &SubmissionFilter, limit: u32) -> (String, Vec<Box<dyn ToSql + Sync + Send>>) {
    let mut sql = format!("SELECT {} FROM submission s", row::SUMMARY);
    let mut order = "s";
    let mut values: Vec<Box<dyn ToSql + Sync + Send>> = Vec::new();
    let mut conditions = String::from(" WHERE true");
    let mut all = |condition: &str, value: Box<dyn ToSql + Sync + Send>| {
        values.push(value);
        let _ = write!(conditions, " AND {}", condition.replace('?', &format!("${}", values.len())));
    };
    if let Some(receiver) = &filter.receiver {
        // Led by the receiver's own index; a submission with two messages for it appears once.
        sql = format!(
            "SELECT DISTINCT ON (m.received_at, m.submission_id) {} FROM message m
             JOIN submission s ON s.tenant = m.tenant AND s.submission_id = m.submission_id",
            row::SUMMARY
        );
        order = "m";
        all("m.receiver = ?", Box::new(receiver.clone()));
        if let Some(tenant) = &filter.tenant {
            all("m.tenant = ?", Box::new(tenant.to_string()));
        }
    }
    if let Some(tenant) = &filter.tenant {
        all("s.tenant = ?", Box::new(tenant.to_string()));
    }
    if let Some(state) = filter.state {
        all("s.state = ?", Box::new(state.as_str()));
    }
    for (column, value) in [
        ("s.form_id = ?", &filter.form_id),
        ("s.vorgangsnummer = ?", &filter.vorgangsnummer),
        ("s.vendor_id = ?", &filter.vendor_id),
    ] {
        if let Some(value) = value {
            all(column, Box::new(row::text(value).into_owned()));
        }
    }
    if let Some(since) = filter.since {
        all(&format!("{order}.received_at >= ?"), Box::new(micros(since)));
    }
    if let Some(after) = &filter.after {
        values.push(Box::new(after.received_at));
        values.push(Box::new(after.submission_id.to_string()));
        let last = values.len();
        let _ = write!(
            conditions,
            " AND ({order}.received_at, {order}.submission_id) < (${}, ${last})",
            last - 1
        );
    }
    let _ = write!(
        sql,
        "{conditions} ORDER BY {order}.received_at DESC, {order}.submission_id DESC LIMIT {limit}"
    );
    (sql, values)
}

pub(super) async fn submission(
    conn: &Conn,
    tenant: &TenantId,
    id: SubmissionId,
) -> Result<SubmissionDetail, StoreError> {
    let (tenant, id) = (tenant.as_str(), id.to_string());
    let key: Params<'_> = &[&tenant, &id];
    let of =
        |what: &str, order: &str| format!("{what} WHERE tenant = $1 AND submission_id = $2 ORDER BY {order}");
    let attempts = format!(
        "{} WHERE tenant = $1 AND delivery_id IN
             (SELECT delivery_id FROM delivery WHERE tenant = $1 AND submission_id = $2)
         ORDER BY started_at, attempt_id",
        row::ATTEMPT
    );
    Ok(SubmissionDetail {
        submission: row::one_submission(conn, tenant, &id).await?,
        corrections: list(conn, &of(row::CORRECTION, "seq"), key, row::correction).await?,
        messages: list(conn, &of(row::MESSAGE, "created_at, message_id"), key, row::message).await?,
        deliveries: list(conn, &of(row::DELIVERY, "delivery_id"), key, row::delivery).await?,
        attempts: list(conn, &attempts, key, row::attempt).await?,
        work_items: list(conn, &of(row::WORK_ITEM, "opened_at, work_item_id"), key, row::work_item).await?,
        events: list(conn, &of(row::EVENT, "seq"), key, row::event).await?,
    })
}

async fn list<T>(
    conn: &Conn,
    sql: &str,
    params: Params<'_>,
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    conn.query(sql, params).await?.iter().map(read).collect()
}

pub(super) async fn work_item_groups(
    conn: &Conn,
    tenant: Option<&TenantId>,
    limit: u32,
) -> Result<Vec<WorkItemGroup>, StoreError> {
    let rows = conn
        .query(
            "SELECT tenant, fingerprint, count(*), min(opened_at), max(opened_at) FROM work_item
             WHERE closed_at IS NULL AND ($1::text IS NULL OR tenant = $1)
             GROUP BY tenant, fingerprint ORDER BY count(*) DESC, min(opened_at), tenant, fingerprint LIMIT $2",
            &[&tenant.map(TenantId::as_str), &i64::from(limit.min(LONGEST_PAGE))],
        )
        .await?;
    let mut groups = Vec::with_capacity(rows.len());
    for found in &rows {
        let (tenant, fingerprint): (TenantId, String) = (row::parsed(found, 0)?, row::get(found, 1)?);
        let sample = open_work_items(conn, Some(&tenant), Some(&fingerprint), 1)
            .await?
            .pop()
            .ok_or_else(|| StoreError::Damaged("index of open work items".to_owned()))?;
        let origins = origins(conn, &tenant, &fingerprint).await?;
        groups.push(WorkItemGroup {
            origins,
            tenant,
            fingerprint,
            count: row::count(found, 2)?,
            oldest: row::moment(found, 3)?,
            newest: row::moment(found, 4)?,
            sample,
        });
    }
    Ok(groups)
}

/// Where the open Klärungsfälle of a cause come from.
async fn origins(conn: &Conn, tenant: &TenantId, fingerprint: &str) -> Result<Vec<OriginCount>, StoreError> {
    let sql = "SELECT origin, count(*), min(opened_at) FROM work_item
         WHERE tenant = $1 AND fingerprint = $2 AND closed_at IS NULL AND origin IS NOT NULL
         GROUP BY origin ORDER BY min(opened_at), origin LIMIT $3";
    list(conn, sql, &[&tenant.as_str(), &fingerprint, &i64::from(WorkItemGroup::ORIGINS)], |row| {
        Ok(OriginCount {
            origin: row::from_json(row, 0)?,
            count: row::count(row, 1)?,
            oldest: row::moment(row, 2)?,
        })
    })
    .await
}

pub(super) async fn open_work_items(
    conn: &Conn,
    tenant: Option<&TenantId>,
    fingerprint: Option<&str>,
    limit: u32,
) -> Result<Vec<WorkItemRecord>, StoreError> {
    let mut sql = format!("{} WHERE closed_at IS NULL", row::WORK_ITEM);
    let mut values: Vec<&str> = Vec::new();
    for (column, value) in [("tenant", tenant.map(TenantId::as_str)), ("fingerprint", fingerprint)] {
        if let Some(value) = value {
            values.push(value);
            let _ = write!(sql, " AND {column} = ${}", values.len());
        }
    }
    let _ = write!(sql, " ORDER BY opened_at, work_item_id LIMIT {}", limit.min(LONGEST_PAGE));
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    list(conn, &sql, &values, row::work_item).await
}

/// Makes of a found id what it is the id of.
type Kind = fn(&Row) -> Result<FoundId, StoreError>;

pub(super) async fn resolve(
    conn: &Conn,
    tenant: Option<&TenantId>,
    asked: &str,
) -> Result<Vec<Found>, StoreError> {
    let asked = row::text(asked.trim());
    if asked.len() < 4 || asked.len() > 200 {
        return Ok(Vec::new());
    }
    let tenants = match tenant {
        Some(tenant) => vec![tenant.to_string()],
        // Every tenant that ever stored something has a counter.
        None => {
            list(conn, "SELECT DISTINCT tenant FROM counter ORDER BY tenant", &[], |row| row::get(row, 0))
                .await?
        }
    };
    let prefix = asked.to_ascii_lowercase();
    let is_id = prefix.len() <= 36 && prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    // 'g' is behind every hexadecimal digit, so this is exactly the range of the prefix.
    let end = format!("{prefix}g");
    let kinds: [(&str, &str, Kind); 3] = [
        ("submission", "submission_id", |row| row::parsed(row, 3).map(FoundId::Submission)),
        ("message", "message_id", |row| row::parsed(row, 3).map(FoundId::Message)),
        ("delivery", "delivery_id", |row| row::parsed(row, 3).map(FoundId::Delivery)),
    ];
    let mut found = Vec::new();
    for tenant in &tenants {
        let by_number = "SELECT tenant, submission_id, vorgangsnummer, submission_id FROM submission
             WHERE tenant = $1 AND vorgangsnummer = $2";
        found.extend(list(conn, by_number, &[tenant, &asked], |row| found_row(row, kinds[0].2)).await?);
        if !is_id {
            continue;
        }
        for (table, column, kind) in kinds {
            let sql = format!(
                "SELECT s.tenant, s.submission_id, s.vorgangsnummer, one.{column}
                 FROM {table} one JOIN submission s USING (tenant, submission_id)
                 WHERE one.tenant = $1 AND one.{column} >= $2 AND one.{column} < $3 LIMIT 20"
            );
            found.extend(list(conn, &sql, &[tenant, &prefix, &end], |row| found_row(row, kind)).await?);
        }
        if found.len() >= AMBIGUOUS {
            break;
        }
    }
    found.truncate(AMBIGUOUS);
    Ok(found)
}

fn found_row(row: &Row, kind: Kind) -> Result<Found, StoreError> {
    Ok(Found {
        tenant: row::parsed(row, 0)?,
        submission_id: row::parsed(row, 1)?,
        vorgangsnummer: row::get(row, 2)?,
        id: kind(row)?,
    })
}

pub(super) async fn counts(conn: &Conn, tenant: Option<&TenantId>) -> Result<Counts, StoreError> {
    let tenant = tenant.map(TenantId::as_str);
    let open = conn
        .query_one(
            "SELECT count(*) FROM work_item WHERE closed_at IS NULL AND ($1::text IS NULL OR tenant = $1)",
            &[&tenant],
        )
        .await?;
    Ok(Counts {
        submissions: by_state(conn, "submission", tenant).await?,
        deliveries: by_state(conn, "delivery", tenant).await?,
        open_work_items: row::count(&open, 0)?,
    })
}

async fn by_state(
    conn: &Conn,
    table: &str,
    tenant: Option<&str>,
) -> Result<BTreeMap<String, u64>, StoreError> {
    let sql =
        format!("SELECT state, count(*) FROM {table} WHERE $1::text IS NULL OR tenant = $1 GROUP BY state");
    let rows = list(conn, &sql, &[&tenant], |row| Ok((row::get(row, 0)?, row::count(row, 1)?))).await?;
    Ok(rows.into_iter().collect())
}
