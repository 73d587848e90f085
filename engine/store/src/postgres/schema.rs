// SPDX-License-Identifier: EUPL-1.2
//! The tables, as numbered steps forward. A step that was released is never edited; a change is a new step.

use super::{
    locks::MIGRATION,
    pool::{Conn, Pool},
};
use crate::error::StoreError;

const STEPS: &[&str] = &[include_str!("0001.sql"), include_str!("0002.sql"), include_str!("0003.sql")];

/// The version that this engine writes.
pub(super) const VERSION: u32 = STEPS.len() as u32;

/// Brings the database to [`VERSION`], all in one transaction and one process at a time. A newer one is left alone.
///
/// # Errors
/// [`StoreError::NewerSchema`], or the server cannot be relied upon.
pub(super) async fn migrate(pool: &Pool) -> Result<(), StoreError> {
    let step = pool.begin().await?;
    let result = forward(&step).await;
    step.end(result).await
}

async fn forward(conn: &Conn) -> Result<(), StoreError> {
    reliable(conn).await?;
    conn.query_one("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION]).await?;
    let known = conn.query_one("SELECT to_regclass('kop_schema') IS NOT NULL", &[]).await?;
    let found: i64 = if known.get(0) {
        conn.query_one("SELECT version FROM kop_schema", &[]).await?.get(0)
    } else {
        conn.batch("CREATE TABLE kop_schema (version BIGINT NOT NULL); INSERT INTO kop_schema VALUES (0)")
            .await?;
        0
    };
    let found = u32::try_from(found).map_err(|_| StoreError::Damaged("schema version".to_owned()))?;
    if found > VERSION {
        return Err(StoreError::NewerSchema { found, known: VERSION });
    }
    for number in found..VERSION {
        conn.batch(STEPS[number as usize]).await?;
        tracing::info!(version = number + 1, "Database schema migrated.");
    }
    if found < VERSION {
        conn.execute("UPDATE kop_schema SET version = $1", &[&i64::from(VERSION)]).await?;
    }
    Ok(())
}

/// A server that may forget what it has committed is refused.
async fn reliable(conn: &Conn) -> Result<(), StoreError> {
    let row = conn
        .query_one(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'),
                 current_setting('full_page_writes'), current_setting('server_encoding'), pg_is_in_recovery()",
            &[],
        )
        .await?;
    let refuse = |what: &str| Err(StoreError::Database(format!("PostgreSQL is not set up safely: {what}")));
    if row.get::<_, &str>(0) == "off" {
        return refuse("synchronous_commit is off");
    }
    if row.get::<_, &str>(1) == "off" || row.get::<_, &str>(2) == "off" {
        return refuse("fsync or full_page_writes is off");
    }
    if row.get::<_, &str>(3) != "UTF8" {
        return refuse("its encoding is not UTF8");
    }
    if row.get::<_, bool>(4) { refuse("it is a standby") } else { Ok(()) }
}
