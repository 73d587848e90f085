// SPDX-License-Identifier: EUPL-1.2
//! Who serves. Each process has a number, a lock on it that the database releases with its connection, and a row that
//! says when it was seen last, by the database's clock. What a process that is gone had leased is freed at once
//! instead of when the leases run out. One that only seemed to be gone (cut off from the database) writes nothing any
//! more with its old leases, since whoever takes over counts their token up.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, task::JoinHandle};

use super::{
    locks::PROCESS,
    pool::{Conn, Connector, Pool},
    row,
};
use crate::error::StoreError;

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// One that holds no lock and was not seen for so long is gone. Long enough to connect again after the database was
/// restarted, so that nobody is taken for dead who only lost the connection. As SQL.
const GRACE: &str = "interval '5 seconds'";

/// What a process does, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// Takes submissions in.
    Intake,
    /// Processes and delivers.
    Worker,
    /// Both.
    All,
    /// One command that processes what it handed in.
    Command,
}

impl ProcessRole {
    fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Worker => "worker",
            Self::All => "all",
            Self::Command => "command",
        }
    }
}

/// This process among those that serve; ends with its value.
pub(super) struct Presence {
    pub(super) number: i32,
    keeper: JoinHandle<()>,
    stop: Arc<Notify>,
}

impl Presence {
    /// Takes a number and starts to give signs of life.
    pub(super) async fn begin(
        connector: &Connector,
        pool: &Pool,
        role: ProcessRole,
    ) -> Result<Self, StoreError> {
        let conn = connector.connect().await?;
        let found = conn.query_one("SELECT nextval('kop_process_id')::integer", &[]).await?;
        let number = row::get(&found, 0)?;
        let process = Process { number, role, connector: connector.clone(), pool: pool.clone() };
        process.enter(&conn).await?;
        process.beat(&conn).await?;
        let stop = Arc::new(Notify::new());
        let keeper = tokio::spawn(process.keep(conn, stop.clone()));
        Ok(Self { number, keeper, stop })
    }

    /// Leaves in good order: others need not wait until it counts as gone.
    pub(super) async fn end(&mut self) {
        self.stop.notify_one();
        let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.keeper).await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Closes the connection, and with it the lock.
        self.keeper.abort();
    }
}

struct Process {
    number: i32,
    role: ProcessRole,
    connector: Connector,
    pool: Pool,
}

impl Process {
    /// Locks the number and says who has it.
    async fn enter(&self, conn: &Conn) -> Result<(), StoreError> {
        conn.query_one("SELECT pg_advisory_lock($1, $2)", &[&PROCESS, &self.number]).await?;
        conn.execute(
            "INSERT INTO kop_process (process, role) VALUES ($1, $2)
             ON CONFLICT (process) DO UPDATE SET seen_at = clock_timestamp()",
            &[&self.number, &self.role.as_str()],
        )
        .await?;
        Ok(())
    }

    async fn keep(self, mut conn: Conn, stop: Arc<Notify>) {
        let mut lost = false;
        loop {
            tokio::select! {
                () = stop.notified() => break,
                () = tokio::time::sleep(BEAT) => {}
            }
            if conn.is_closed() {
                match self.connector.connect().await {
                    Ok(again) => conn = again,
                    Err(error) => {
                        if !lost {
                            tracing::error!(%error, "The database cannot be reached.");
                        }
                        lost = true;
                        continue;
                    }
                }
                if self.enter(&conn).await.is_ok() {
                    tracing::info!(process = self.number, "Connected to the database again.");
                    lost = false;
                }
                continue;
            }
            if let Err(error) = self.beat(&conn).await {
                tracing::warn!(%error, "A sign of life could not be given.");
            }
        }
        let _ = free(&conn, self.number).await;
    }

    /// A sign of life, and a look at the others.
    async fn beat(&self, conn: &Conn) -> Result<(), StoreError> {
        let seen = conn
            .execute("UPDATE kop_process SET seen_at = clock_timestamp() WHERE process = $1", &[&self.number])
            .await?;
        if seen == 0 {
            // Taken for gone meanwhile; whatever was leased is with others now.
            self.enter(conn).await?;
        }
        for found in conn.query(&gone_sql(), &[&self.number]).await? {
            let number: i32 = row::get(&found, 0)?;
            let step = self.pool.begin().await?;
            let freed = self.take_over(&step, number).await;
            if let Some((submissions, deliveries)) = step.end(freed).await? {
                tracing::warn!(
                    process = number,
                    submissions,
                    deliveries,
                    "A process is gone; its leases are freed."
                );
            }
        }
        Ok(())
    }

    async fn take_over(&self, conn: &Conn, number: i32) -> Result<Option<(u64, u64)>, StoreError> {
        let alone = conn.query_one("SELECT pg_try_advisory_xact_lock($1, $2)", &[&PROCESS, &number]).await?;
        if !row::get::<bool>(&alone, 0)? {
            return Ok(None);
        }
        free(conn, number).await.map(Some)
    }
}

/// Those that were not seen for some time. Right after a restart of the database nobody was.
fn gone_sql() -> String {
    format!(
        "SELECT process FROM kop_process WHERE process <> $1 AND seen_at < clock_timestamp() - {GRACE}
         AND pg_postmaster_start_time() < clock_timestamp() - {GRACE}"
    )
}

/// What a leased delivery becomes when nobody works on it any more.
const FREED: &str =
    "holder = NULL, due_at = CASE WHEN open_attempt IS NULL THEN coalesce(next_try_at, 0) END,
    lease_until = CASE WHEN open_attempt IS NULL THEN NULL ELSE 0 END,
    state = CASE WHEN open_attempt IS NULL AND state = 'laufend' THEN 'wartend' ELSE state END";

/// Frees what a process had leased: what was only claimed may go on at once, what was started is to be recovered.
async fn free(conn: &Conn, number: i32) -> Result<(u64, u64), StoreError> {
    let submissions = conn
        .execute(
            "UPDATE submission SET due_at = received_at, leased = 0, holder = NULL
             WHERE holder = $1 AND leased = 1 AND state = 'eingegangen'",
            &[&number],
        )
        .await?;
    let sql = format!("UPDATE delivery SET {FREED} WHERE holder = $1 AND lease_until IS NOT NULL");
    let deliveries = conn.execute(&sql, &[&number]).await?;
    conn.execute("DELETE FROM kop_process WHERE process = $1", &[&number]).await?;
    Ok((submissions, deliveries))
}

/// Something claimed by a COMMIT that was not answered: it may be leased, and nobody works on it.
pub(super) struct Unsure {
    pub(super) tenant: String,
    pub(super) id: String,
    pub(super) token: u64,
}

/// Tenants, ids and tokens, each as PostgreSQL takes a list.
fn columns(unsure: &[Unsure]) -> (Vec<&str>, Vec<&str>, Vec<i64>) {
    let keys = unsure.iter().map(|one| (one.tenant.as_str(), (one.id.as_str(), one.token.cast_signed())));
    let (tenants, rest): (Vec<_>, Vec<_>) = keys.unzip();
    let (ids, tokens) = rest.into_iter().unzip();
    (tenants, ids, tokens)
}

/// Frees those submissions that a process claimed without knowing; the runs do not count.
pub(super) async fn free_submissions(conn: &Conn, number: i32, unsure: &[Unsure]) -> Result<(), StoreError> {
    if unsure.is_empty() {
        return Ok(());
    }
    let (tenants, ids, tokens) = columns(unsure);
    conn.execute(
        "UPDATE submission s SET due_at = received_at, leased = 0, holder = NULL, runs = greatest(runs - 1, 0)
         FROM unnest($2::text[], $3::text[], $4::bigint[]) AS mine (tenant, id, token)
         WHERE s.tenant = mine.tenant AND s.submission_id = mine.id AND s.token = mine.token AND s.holder = $1
             AND s.leased = 1 AND s.state = 'eingegangen'",
        &[&number, &tenants, &ids, &tokens],
    )
    .await?;
    Ok(())
}

/// The same for deliveries; an attempt without an end is recovered anew.
pub(super) async fn free_deliveries(conn: &Conn, number: i32, unsure: &[Unsure]) -> Result<(), StoreError> {
    if unsure.is_empty() {
        return Ok(());
    }
    let (tenants, ids, tokens) = columns(unsure);
    let sql = format!(
        "UPDATE delivery d SET {FREED}
         FROM unnest($2::text[], $3::text[], $4::bigint[]) AS mine (tenant, id, token)
         WHERE d.tenant = mine.tenant AND d.delivery_id = mine.id AND d.token = mine.token AND d.holder = $1
             AND d.lease_until IS NOT NULL"
    );
    conn.execute(&sql, &[&number, &tenants, &ids, &tokens]).await?;
    Ok(())
}

/// Whether some process that processes and delivers was seen lately.
pub(super) async fn somebody_works(conn: &Conn) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM kop_process
             WHERE role IN ('worker', 'all') AND seen_at > clock_timestamp() - {GRACE})"
    );
    row::get(&conn.query_one(&sql, &[]).await?, 0)
}
