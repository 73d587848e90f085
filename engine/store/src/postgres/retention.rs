// SPDX-License-Identifier: EUPL-1.2
//! Deletion: which blobs rows name, what is old enough, one submission at a time. The space of deleted rows goes back
//! with the server's own autovacuum.

use std::collections::BTreeSet;

use kop_core::{BlobRef, ContentHash, Part, Receipt, SubmissionId, TenantId, clock::Zeitpunkt};
use serde_json::json;

use super::{pool::Conn, row, timeline::Timeline};
use crate::{
    error::StoreError,
    records::SubmissionSummary,
    retention::{
        CandidateDelivery, Deletion, DeletionRecord, Orphans, Phase, RetentionCandidate, RetentionQuery,
        blockers,
    },
    steps::event,
    values::{json as as_json, micros},
};

/// Notes that a submission, or a message of it, names these.
pub(super) async fn name_blobs<'a>(
    conn: &Conn,
    tenant: &str,
    submission: &str,
    blobs: impl Iterator<Item = &'a BlobRef>,
) -> Result<(), StoreError> {
    let hashes: Vec<String> = blobs.map(|blob| blob.sha256.to_string()).collect();
    conn.execute(
        "INSERT INTO blob_ref (tenant, submission_id, sha256) SELECT $1, $2, unnest($3::text[])
         ON CONFLICT DO NOTHING",
        &[&tenant, &submission, &hashes],
    )
    .await?;
    Ok(())
}

/// Of these, the ones that no row of the tenant names.
pub(super) async fn unnamed(
    conn: &Conn,
    tenant: &TenantId,
    candidates: &BTreeSet<ContentHash>,
) -> Result<Vec<ContentHash>, StoreError> {
    let hashes: Vec<String> = candidates.iter().map(ContentHash::to_string).collect();
    let rows = conn
        .query(
            "SELECT asked FROM unnest($2::text[]) asked
             WHERE NOT EXISTS (SELECT 1 FROM blob_ref b WHERE b.tenant = $1 AND b.sha256 = asked)",
            &[&tenant.as_str(), &hashes],
        )
        .await?;
    rows.iter().map(|found| row::parsed(found, 0)).collect()
}

pub(super) async fn candidates(
    conn: &Conn,
    query: &RetentionQuery,
) -> Result<Vec<RetentionCandidate>, StoreError> {
    let of_phase = match query.phase {
        Phase::Inhalte => "s.content_deleted_at IS NULL",
        Phase::Metadaten => "s.content_deleted_at IS NOT NULL",
    };
    let sql = format!(
        "SELECT {} FROM submission s WHERE s.tenant = $1 AND {of_phase} AND s.received_at < $2
             AND (s.received_at, s.submission_id) > ($3, $4)
         ORDER BY s.received_at, s.submission_id LIMIT $5",
        row::SUMMARY
    );
    let after =
        query.after.map_or((i64::MIN, String::new()), |at| (at.received_at, at.submission_id.to_string()));
    let before = micros(query.received_before);
    let rows = conn
        .query(&sql, &[&query.tenant.as_str(), &before, &after.0, &after.1, &i64::from(query.limit)])
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for one in &rows {
        found.push(candidate(conn, row::summary(one)?).await?);
    }
    Ok(found)
}

async fn candidate(conn: &Conn, summary: SubmissionSummary) -> Result<RetentionCandidate, StoreError> {
    let (tenant, id) = (summary.tenant.to_string(), summary.submission_id.to_string());
    let sql = "SELECT DISTINCT route FROM message WHERE tenant = $1 AND submission_id = $2 AND route <> '' ORDER BY route";
    let routes = conn.query(sql, &[&tenant, &id]).await?;
    let sql = "SELECT lane, state, receipt, settles IS NOT NULL FROM delivery
               WHERE tenant = $1 AND submission_id = $2";
    let deliveries = conn.query(sql, &[&tenant, &id]).await?;
    let sql = "SELECT count(*) FROM work_item WHERE tenant = $1 AND submission_id = $2 AND closed_at IS NULL";
    let open = conn.query_one(sql, &[&tenant, &id]).await?;
    Ok(RetentionCandidate {
        summary,
        routes: routes.iter().map(|found| row::get(found, 0)).collect::<Result<_, _>>()?,
        deliveries: deliveries
            .iter()
            .map(|found| {
                let receipt: Option<Receipt> = row::from_json_opt(found, 2)?;
                Ok(CandidateDelivery {
                    receiver: row::get(found, 0)?,
                    state: row::parsed(found, 1)?,
                    level: receipt.map(|receipt| receipt.level),
                    settles: row::get(found, 3)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        open_work_items: row::count(&open, 0)?,
    })
}

/// Deletes, when nothing is in the way at this moment.
pub(super) async fn delete(conn: &Conn, deletion: &Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError> {
    let (tenant, submission) = (deletion.tenant.as_str(), deletion.submission_id.to_string());
    let sql = format!(
        "SELECT {} FROM submission s WHERE s.tenant = $1 AND s.submission_id = $2 FOR UPDATE",
        row::SUMMARY
    );
    let summary = row::summary(&conn.query_one(&sql, &[&tenant, &submission]).await?)?;
    // A person's act on a delivery waits, or is seen.
    conn.query(
        "SELECT 1 FROM delivery WHERE tenant = $1 AND submission_id = $2 ORDER BY delivery_id FOR UPDATE",
        &[&tenant, &submission],
    )
    .await?;
    let received_at = summary.received_at;
    if summary.content_deleted_at.is_some() != (deletion.phase == Phase::Metadaten) {
        return Err(StoreError::NotPossible("contents go first, and once".to_owned()));
    }
    if let Some(blocker) = blockers(&candidate(conn, summary).await?, &deletion.demands).first() {
        return Err(StoreError::NotPossible(format!("deletion is blocked: {blocker:?}")));
    }
    let named = conn
        .query(
            "SELECT sha256 FROM blob_ref WHERE tenant = $1 AND submission_id = $2",
            &[&tenant, &submission],
        )
        .await?;
    let orphans = named.iter().map(|found| row::parsed(found, 0)).collect::<Result<_, _>>()?;
    match deletion.phase {
        Phase::Inhalte => {
            contents(conn, tenant, &submission, now).await?;
            let mut timeline = Timeline::new(&deletion.tenant, deletion.submission_id, now);
            timeline.add(event::INHALTE_GELOESCHT, &json!({ "tage": deletion.days }))?;
            timeline.write(conn).await?;
        }
        Phase::Metadaten => metadata(conn, tenant, &submission).await?,
    }
    conn.execute(
        "INSERT INTO deletion_log (tenant, at, submission_id, received_at, phase, days)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            &tenant,
            &micros(now),
            &submission,
            &micros(received_at),
            &deletion.phase.as_str(),
            &i64::from(deletion.days),
        ],
    )
    .await?;
    Ok(orphans)
}

/// A person's act needs contents.
pub(super) async fn has_contents(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
) -> Result<(), StoreError> {
    let found = conn
        .query_one(
            "SELECT content_deleted_at IS NOT NULL FROM submission
             WHERE tenant = $1 AND submission_id = $2 FOR SHARE",
            &[&tenant.as_str(), &submission.to_string()],
        )
        .await?;
    if row::get(&found, 0)? {
        return Err(StoreError::NotPossible("contents are deleted".to_owned()));
    }
    Ok(())
}

async fn contents(conn: &Conn, tenant: &str, submission: &str, now: Zeitpunkt) -> Result<(), StoreError> {
    let nothing = Part {
        name: String::new(),
        content_type: String::new(),
        blob: BlobRef { sha256: ContentHash::of(b""), size: 0 },
    };
    conn.execute(
        "UPDATE submission SET document = '', payload = '[]', content_deleted_at = $3
         WHERE tenant = $1 AND submission_id = $2",
        &[&tenant, &submission, &micros(now)],
    )
    .await?;
    conn.execute(
        "UPDATE message SET main = $3, parts = '[]' WHERE tenant = $1 AND submission_id = $2",
        &[&tenant, &submission, &as_json(&nothing)?],
    )
    .await?;
    for statement in [
        "UPDATE delivery SET ticket = NULL WHERE tenant = $1 AND submission_id = $2",
        "UPDATE attempt SET problem = NULL WHERE tenant = $1 AND delivery_id IN
             (SELECT delivery_id FROM delivery WHERE tenant = $1 AND submission_id = $2)",
        "UPDATE work_item SET diagnostics = '[]' WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM correction WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM blob_ref WHERE tenant = $1 AND submission_id = $2",
    ] {
        conn.execute(statement, &[&tenant, &submission]).await?;
    }
    Ok(())
}

async fn metadata(conn: &Conn, tenant: &str, submission: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM attempt WHERE tenant = $1 AND delivery_id IN
             (SELECT delivery_id FROM delivery WHERE tenant = $1 AND submission_id = $2)",
        "DELETE FROM delivery WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM message WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM blob_ref WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM work_item WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM event WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM access_log WHERE tenant = $1 AND submission_id = $2",
        "DELETE FROM vorgang WHERE tenant = $1 AND vorgang_id =
             (SELECT vorgang_id FROM submission WHERE tenant = $1 AND submission_id = $2)",
        "DELETE FROM submission WHERE tenant = $1 AND submission_id = $2",
    ] {
        conn.execute(statement, &[&tenant, &submission]).await?;
    }
    Ok(())
}

/// The log of deletions, newest first.
pub(super) async fn deletions(
    conn: &Conn,
    tenant: &TenantId,
    limit: u32,
) -> Result<Vec<DeletionRecord>, StoreError> {
    let rows = conn
        .query(
            "SELECT tenant, at, submission_id, received_at, phase, days FROM deletion_log
             WHERE tenant = $1 ORDER BY at DESC LIMIT $2",
            &[&tenant.as_str(), &i64::from(limit)],
        )
        .await?;
    rows.iter()
        .map(|found| {
            let phase: &str = row::get(found, 4)?;
            Ok(DeletionRecord {
                tenant: row::parsed(found, 0)?,
                at: row::moment(found, 1)?,
                submission_id: row::parsed(found, 2)?,
                received_at: row::moment(found, 3)?,
                phase: if phase == "inhalte" { Phase::Inhalte } else { Phase::Metadaten },
                days: row::count(found, 5)?,
            })
        })
        .collect()
}
