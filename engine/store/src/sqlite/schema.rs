// SPDX-License-Identifier: EUPL-1.2
//! The tables, as numbered steps forward. A step that was released is never edited; a change is a new step.

use rusqlite::Connection;

use crate::error::StoreError;

const STEPS: &[&str] = &[
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
    include_str!("0005.sql"),
    include_str!("0006.sql"),
    include_str!("0007.sql"),
    include_str!("0008.sql"),
];

/// The version that this engine writes.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// The version of the file; 0 for a new one.
///
/// # Errors
/// [`StoreError::NewerSchema`]: a newer engine wrote it, and nothing may be touched.
pub(super) fn version(conn: &Connection) -> Result<u32, StoreError> {
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION { Err(StoreError::NewerSchema { found, known: VERSION }) } else { Ok(found) }
}

/// Brings the file to [`VERSION`], each step in a transaction of its own.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    for number in version(conn)?..VERSION {
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        tx.execute_batch(STEPS[number as usize])?;
        tx.pragma_update(None, "user_version", number + 1)?;
        tx.commit()?;
        tracing::info!(version = number + 1, "database schema migrated");
    }
    Ok(())
}
