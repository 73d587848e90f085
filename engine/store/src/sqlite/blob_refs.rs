// SPDX-License-Identifier: EUPL-1.2
//! Which blobs are named by a row. Written in the step that writes the row.

use std::collections::{BTreeSet, HashSet};

use kop_core::{BlobRef, ContentHash, SubmissionId, TenantId};
use rusqlite::Connection;

use super::row;
use crate::error::StoreError;

/// Notes that a submission, or a message of it, names these.
pub(super) fn add<'a>(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    blobs: impl Iterator<Item = &'a BlobRef>,
) -> Result<(), StoreError> {
    let submission = submission.to_string();
    let mut insert = conn.prepare_cached(
        "INSERT OR IGNORE INTO blob_ref (tenant, submission_id, sha256) VALUES (?1, ?2, ?3)",
    )?;
    for blob in blobs {
        insert.execute((tenant.as_str(), &submission, blob.sha256.to_string()))?;
    }
    Ok(())
}

/// Of these, the ones that no row of the tenant names.
pub(super) fn unnamed(
    conn: &Connection,
    tenant: &TenantId,
    candidates: &BTreeSet<ContentHash>,
) -> Result<Vec<ContentHash>, StoreError> {
    let mut left: HashSet<String> = candidates.iter().map(ContentHash::to_string).collect();
    let mut named = conn.prepare_cached("SELECT sha256 FROM blob_ref WHERE tenant = ?1")?;
    let mut rows = named.query([tenant.as_str()])?;
    while !left.is_empty() {
        let Some(row) = rows.next()? else { break };
        left.remove(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
    }
    Ok(candidates.iter().filter(|hash| left.contains(&hash.to_string())).copied().collect())
}

/// What a submission and its messages name.
pub(super) fn of_submission(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
) -> Result<BTreeSet<ContentHash>, StoreError> {
    let mut named =
        conn.prepare_cached("SELECT sha256 FROM blob_ref WHERE tenant = ?1 AND submission_id = ?2")?;
    let hashes = named
        .query_map((tenant.as_str(), submission.to_string()), |row| row::parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    Ok(hashes)
}
