// SPDX-License-Identifier: EUPL-1.2
//! The database's part of backup and restore: a copy of one moment, and a look at a copy.

use std::path::Path;

use kop_core::{ContentHash, TenantId};
use rusqlite::Connection;

use super::{DATABASE_FILE, row, schema};
use crate::error::StoreError;

/// Numbers that are left out after a restore: whatever was given out since the backup is not given out again.
const GAP: u32 = 1000;

/// Copies the database of a data folder, which may be in use, to a new file: one state of all rows, without gaps.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none; [`StoreError::NewerSchema`].
pub(crate) fn copy(folder: &Path, to: &Path) -> Result<(), StoreError> {
    let from = folder.join(DATABASE_FILE);
    if !from.is_file() {
        return Err(StoreError::NotFound);
    }
    let conn = super::connect(&from)?;
    if schema::version(&conn)? != schema::VERSION {
        return Err(StoreError::NotPossible(
            "the database has to be migrated first; start the engine once".to_owned(),
        ));
    }
    let name = to.to_str().ok_or_else(|| StoreError::File("the path is not UTF-8".to_owned()))?;
    conn.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Every blob that a copy names, by tenant, each once, in order.
pub(crate) fn named(
    copy: &Path,
    mut each: impl FnMut(&TenantId, &ContentHash) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let conn = Connection::open_with_flags(copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement =
        conn.prepare("SELECT DISTINCT tenant, sha256 FROM blob_ref ORDER BY tenant, sha256")?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        each(&row::parsed(found, 0)?, &row::parsed(found, 1)?)?;
    }
    Ok(())
}

/// Looks through a restored database and makes it ready: it is whole, of a version that this engine knows, and gives out
/// no number twice.
///
/// # Errors
/// [`StoreError::Damaged`], [`StoreError::NewerSchema`].
pub(crate) fn make_ready(database: &Path) -> Result<(), StoreError> {
    let conn = super::connect(database)?;
    schema::version(&conn)?;
    let whole: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if whole != "ok" {
        return Err(StoreError::Damaged("database".to_owned()));
    }
    conn.execute("UPDATE counter SET last = last + ?1", [GAP])?;
    Ok(())
}
