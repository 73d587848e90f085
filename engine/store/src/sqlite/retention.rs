// SPDX-License-Identifier: EUPL-1.2
//! Deletion: what is old enough, one submission at a time, and the space that it leaves.

use std::time::Duration;

use kop_core::Receipt;
use kop_core::{BlobRef, ContentHash, Part, SubmissionId, TenantId, clock::Zeitpunkt, sendung::Level};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{blob_refs, row, timeline::Timeline};
use crate::{
    error::StoreError,
    records::SubmissionSummary,
    retention::{
        CandidateDelivery, Deletion, DeletionRecord, Orphans, Phase, RetentionCandidate, RetentionQuery,
        blockers,
    },
    steps::event,
};

/// Submissions of a phase, oldest first. Led by `submission_kept` or `submission_received`.
pub(super) fn candidates_sql(phase: Phase) -> String {
    let of_phase = match phase {
        Phase::Inhalte => "s.content_deleted_at IS NULL",
        Phase::Metadaten => "s.content_deleted_at IS NOT NULL",
    };
    format!(
        "SELECT {} FROM submission s WHERE s.tenant = ?1 AND {of_phase} AND s.received_at < ?2
             AND (s.received_at, s.submission_id) > (?3, ?4)
         ORDER BY s.received_at, s.submission_id LIMIT ?5",
        row::SUMMARY
    )
}

pub(super) fn candidates(
    conn: &Connection,
    query: &RetentionQuery,
) -> Result<Vec<RetentionCandidate>, StoreError> {
    let after =
        query.after.map_or((i64::MIN, String::new()), |at| (at.received_at, at.submission_id.to_string()));
    let found = conn
        .prepare_cached(&candidates_sql(query.phase))?
        .query_map(
            (query.tenant.as_str(), row::micros(query.received_before), after.0, after.1, query.limit),
            row::summary,
        )?
        .collect::<Result<Vec<_>, _>>()?;
    found.into_iter().map(|summary| candidate(conn, summary)).collect()
}

fn candidate(conn: &Connection, summary: SubmissionSummary) -> Result<RetentionCandidate, StoreError> {
    let key = (summary.tenant.to_string(), summary.submission_id.to_string());
    let routes = conn
        .prepare_cached(
            "SELECT DISTINCT route FROM message WHERE tenant = ?1 AND submission_id = ?2 AND route <> '' ORDER BY route",
        )?
        .query_map((&key.0, &key.1), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let deliveries = conn
        .prepare_cached(
            "SELECT lane, state, receipt, settles IS NOT NULL FROM delivery
             WHERE tenant = ?1 AND submission_id = ?2",
        )?
        .query_map((&key.0, &key.1), |row| {
            let receipt: Option<Receipt> = row::from_json_opt(row, 2)?;
            Ok(CandidateDelivery {
                receiver: row.get(0)?,
                state: row::parsed(row, 1)?,
                level: receipt.map(|receipt: Receipt| -> Level { receipt.level }),
                settles: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let open: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM work_item WHERE tenant = ?1 AND submission_id = ?2 AND closed_at IS NULL",
        )?
        .query_row((&key.0, &key.1), |row| row.get(0))?;
    Ok(RetentionCandidate { summary, routes, deliveries, open_work_items: open.unsigned_abs() })
}

/// Deletes, when nothing is in the way at this moment.
pub(super) fn delete(conn: &Connection, deletion: &Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError> {
    let (tenant, submission) = (deletion.tenant.as_str(), deletion.submission_id.to_string());
    let summary = conn
        .prepare_cached(&format!(
            "SELECT {} FROM submission s WHERE s.tenant = ?1 AND s.submission_id = ?2",
            row::SUMMARY
        ))?
        .query_row((tenant, &submission), row::summary)?;
    let received_at = summary.received_at;
    let gone = summary.content_deleted_at.is_some();
    if gone != (deletion.phase == Phase::Metadaten) {
        return Err(StoreError::NotPossible("contents go first, and once".to_owned()));
    }
    if let Some(blocker) = blockers(&candidate(conn, summary)?, &deletion.demands).first() {
        return Err(StoreError::NotPossible(format!("deletion is blocked: {blocker:?}")));
    }
    let orphans = blob_refs::of_submission(conn, &deletion.tenant, deletion.submission_id)?;
    match deletion.phase {
        Phase::Inhalte => {
            contents(conn, tenant, &submission, now)?;
            Timeline::new(conn, &deletion.tenant, deletion.submission_id, now)
                .add(event::INHALTE_GELOESCHT, &json!({ "tage": deletion.days }))?;
        }
        Phase::Metadaten => metadata(conn, tenant, &submission)?,
    }
    conn.prepare_cached(
        "INSERT INTO deletion_log (tenant, at, submission_id, received_at, phase, days)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        tenant,
        row::micros(now),
        &submission,
        row::micros(received_at),
        deletion.phase.as_str(),
        deletion.days,
    ))?;
    Ok(orphans)
}

/// A person's act needs contents.
pub(super) fn has_contents(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
) -> Result<(), StoreError> {
    let deleted: bool = conn
        .prepare_cached(
            "SELECT content_deleted_at IS NOT NULL FROM submission WHERE tenant = ?1 AND submission_id = ?2",
        )?
        .query_row((tenant.as_str(), submission.to_string()), |row| row.get(0))?;
    if deleted { Err(StoreError::NotPossible("contents are deleted".to_owned())) } else { Ok(()) }
}

fn contents(conn: &Connection, tenant: &str, submission: &str, now: Zeitpunkt) -> Result<(), StoreError> {
    let nothing = Part {
        name: String::new(),
        content_type: String::new(),
        blob: BlobRef { sha256: ContentHash::of(b""), size: 0 },
    };
    conn.prepare_cached(
        "UPDATE submission SET content_deleted_at = ?3
         WHERE tenant = ?1 AND submission_id = ?2",
    )?
    .execute((tenant, submission, row::micros(now)))?;
    conn.prepare_cached(
        "UPDATE message SET main = ?3, parts = '[]' WHERE tenant = ?1 AND submission_id = ?2",
    )?
    .execute((tenant, submission, row::json(&nothing)?))?;
    for statement in [
        "DELETE FROM submission_content WHERE tenant = ?1 AND submission_id = ?2",
        "UPDATE delivery SET ticket = NULL WHERE tenant = ?1 AND submission_id = ?2",
        "UPDATE attempt SET problem = NULL WHERE tenant = ?1 AND delivery_id IN
             (SELECT delivery_id FROM delivery WHERE tenant = ?1 AND submission_id = ?2)",
        "UPDATE work_item SET diagnostics = '[]' WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM correction WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM blob_ref WHERE tenant = ?1 AND submission_id = ?2",
    ] {
        conn.prepare_cached(statement)?.execute((tenant, submission))?;
    }
    Ok(())
}

fn metadata(conn: &Connection, tenant: &str, submission: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM attempt WHERE tenant = ?1 AND delivery_id IN
             (SELECT delivery_id FROM delivery WHERE tenant = ?1 AND submission_id = ?2)",
        "DELETE FROM delivery WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM message WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM blob_ref WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM work_item WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM event WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM access_log WHERE tenant = ?1 AND submission_id = ?2",
        "DELETE FROM vorgang WHERE tenant = ?1 AND vorgang_id =
             (SELECT vorgang_id FROM submission WHERE tenant = ?1 AND submission_id = ?2)",
        "DELETE FROM submission WHERE tenant = ?1 AND submission_id = ?2",
    ] {
        conn.prepare_cached(statement)?.execute((tenant, submission))?;
    }
    Ok(())
}

/// The log of deletions, newest first.
pub(super) fn deletions(
    conn: &Connection,
    tenant: &TenantId,
    limit: u32,
) -> Result<Vec<DeletionRecord>, StoreError> {
    let records = conn
        .prepare_cached(
            "SELECT tenant, at, submission_id, received_at, phase, days FROM deletion_log
             WHERE tenant = ?1 ORDER BY at DESC LIMIT ?2",
        )?
        .query_map(params![tenant.as_str(), limit], |row| {
            Ok(DeletionRecord {
                tenant: row::parsed(row, 0)?,
                at: row::moment(row, 1)?,
                submission_id: row::parsed::<SubmissionId>(row, 2)?,
                received_at: row::moment(row, 3)?,
                phase: if row.get_ref(4)?.as_str()? == "inhalte" { Phase::Inhalte } else { Phase::Metadaten },
                days: row.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(records)
}

/// Gives up to `pages` unused pages back to the file's end; the bytes. The file itself becomes shorter with the
/// next checkpoint.
pub(super) fn release(conn: &Connection, bytes: u64) -> Result<u64, StoreError> {
    let number = |pragma: &str| -> Result<u64, StoreError> {
        Ok(conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    let (page, before) = (number("page_size")?.max(1), number("page_count")?);
    let mut vacuum = conn.prepare(&format!("PRAGMA incremental_vacuum({})", (bytes / page).max(1)))?;
    let mut rows = vacuum.query([])?;
    // One page per row that is read.
    while rows.next()?.is_some() {}
    Ok(before.saturating_sub(number("page_count")?) * page)
}

/// Folds the log into the file and empties it, so that what was deleted is in neither. Readers that look at an older
/// state put it off to the next time.
pub(super) fn checkpoint(path: &std::path::Path) -> Result<(), StoreError> {
    let conn = super::connect(path)?;
    conn.busy_timeout(Duration::from_millis(500))?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
