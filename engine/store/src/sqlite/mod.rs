// SPDX-License-Identifier: EUPL-1.2
//! The default store: one SQLite file (WAL, `synchronous=FULL`), one writing thread with group commit, a few
//! reading connections. Its modules hold SQL; nothing outside them does.

mod acts;
mod attempts;
pub(crate) mod backup;
mod blob_refs;
mod deliveries;
mod gauges;
mod lanes;
mod query;
mod readers;
mod retention;
mod row;
mod schema;
mod settle;
mod submissions;
mod timeline;
mod turn;
mod writer;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use kop_core::{AttemptId, ContentHash, LaneHealth, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt};
use rusqlite::{Connection, config::DbConfig};

use self::{readers::Readers, writer::Writer};
use crate::{
    api::Store,
    error::StoreError,
    records::{
        Counts, Found, Gauges, LaneRecord, SubmissionDetail, SubmissionFilter, SubmissionPage, WorkItemGroup,
        WorkItemRecord,
    },
    retention::{Deletion, DeletionRecord, Orphans, RetentionCandidate, RetentionQuery},
    steps::{
        Accepted, AccessEntry, AttemptEnd, ClaimedDelivery, ClaimedSubmission, DeliveryClaim, DeliveryLease,
        Interrupted, NewCorrections, NewEvent, NewSubmission, NewWorkItem, Overdue, Processed, Replacement,
        RetryTarget, Rewritten, StartedAttempt, SubmissionClaim, SubmissionLease,
    },
    turns::LastServed,
};

/// How long a step waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The file that says who serves.
const LOCK_FILE: &str = "kop.lock";

/// `PRAGMA auto_vacuum`: unused pages go back when asked for.
const INCREMENTAL: i64 = 2;

/// The database below the data folder.
pub(crate) const DATABASE_FILE: &str = "kop.db";

/// A store in one SQLite file.
pub struct SqliteStore {
    readers: Readers,
    // After the readers: the last connection to close folds the log into the file.
    writer: Writer,
    serving: bool,
    path: PathBuf,
    last_submission: Arc<Mutex<String>>,
    last_delivery: Arc<Mutex<LastServed>>,
}

impl SqliteStore {
    /// Opens the data folder as the one process that processes and delivers; ends all leases of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerSchema`], or the file cannot be opened.
    pub(crate) fn serve(folder: &Path) -> Result<Self, StoreError> {
        let lock = take_lock(folder)?;
        let conn = prepare(folder)?;
        let tx = conn.unchecked_transaction()?;
        // Deferred ones keep their moment; what was leased may go on at once.
        tx.execute_batch(
            "UPDATE submission SET due_at = received_at, leased = 0 WHERE state = 'eingegangen' AND leased = 1;
             UPDATE delivery SET due_at = coalesce(next_try_at, 0), lease_until = NULL,
                 state = CASE state WHEN 'laufend' THEN 'wartend' ELSE state END
             WHERE lease_until IS NOT NULL AND open_attempt IS NULL;
             UPDATE delivery SET lease_until = 0 WHERE open_attempt IS NOT NULL;",
        )?;
        tx.commit()?;
        Self::start(folder, conn, Some(lock))
    }

    /// Opens the data folder beside a process that may be serving: questions, a person's acts and `accept`
    /// work, claims do not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no database; [`StoreError::NewerSchema`].
    pub(crate) fn attach(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE_FILE);
        if !path.is_file() {
            return Err(StoreError::NotFound);
        }
        let conn = connect(&path)?;
        let conn = if schema::version(&conn)? == schema::VERSION {
            conn
        } else {
            drop(conn);
            let _lock = take_lock(folder)?;
            prepare(folder)?
        };
        Self::start(folder, conn, None)
    }

    fn start(folder: &Path, conn: Connection, lock: Option<Connection>) -> Result<Self, StoreError> {
        let serving = lock.is_some();
        Ok(Self {
            readers: Readers::new(&folder.join(DATABASE_FILE)),
            writer: Writer::start(conn, lock)?,
            serving,
            path: folder.join(DATABASE_FILE),
            last_submission: Arc::default(),
            last_delivery: Arc::default(),
        })
    }

    /// Commits that changed something, since the start.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    fn must_serve(&self) -> Result<(), StoreError> {
        if self.serving {
            Ok(())
        } else {
            Err(StoreError::NotPossible("this process does not serve".to_owned()))
        }
    }
}

/// Holds the lock for as long as the connection lives; the system releases it when the process dies.
fn take_lock(folder: &Path) -> Result<Connection, StoreError> {
    let in_use = |error: StoreError| match error {
        StoreError::Busy => StoreError::InUse(folder.display().to_string()),
        other => other,
    };
    let conn = Connection::open(folder.join(LOCK_FILE))?;
    conn.busy_timeout(Duration::from_millis(200))?;
    conn.execute_batch("BEGIN EXCLUSIVE").map_err(|error| in_use(error.into()))?;
    Ok(conn)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(128);
    // Else a statement with a partial index in sight is planned anew for each new value.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON;",
    )?;
    #[cfg(feature = "mutants")]
    if crate::mutant::database_unsynced() {
        conn.execute_batch("PRAGMA synchronous = OFF")?;
    }
    Ok(conn)
}

/// Opens and migrates. The version is looked at before anything is changed.
fn prepare(folder: &Path) -> Result<Connection, StoreError> {
    let path = folder.join(DATABASE_FILE);
    let mut conn = connect(&path)?;
    schema::version(&conn)?;
    // What was deleted must be able to leave the file. A new file takes the setting at once; an older one is written
    // anew, once.
    let whole: i64 = conn.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    if whole != INCREMENTAL {
        conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        if schema::version(&conn)? > 0 {
            tracing::info!("The database is written anew, so that deleted rows give their space back.");
            conn.execute_batch("VACUUM")?;
        }
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Database(format!("journal mode is {mode}, not WAL")));
    }
    schema::migrate(&mut conn)?;
    crate::blob::sync_dir(folder)?;
    Ok(conn)
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError> {
        self.writer.run(move |conn| submissions::accept(conn, new, now)).await
    }

    async fn claim_submissions(
        &self,
        claim: SubmissionClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedSubmission>, StoreError> {
        self.must_serve()?;
        let last = self.last_submission.clone();
        self.writer
            .run(move |conn| {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                submissions::claim(conn, &claim, &mut last, now)
            })
            .await
    }

    async fn renew_submission(
        &self,
        lease: &SubmissionLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<SubmissionLease, StoreError> {
        let lease = lease.clone();
        self.writer.run(move |conn| submissions::renew(conn, lease, lease_for, now)).await
    }

    async fn record_processed(
        &self,
        lease: SubmissionLease,
        processed: Processed,
        now: Zeitpunkt,
    ) -> Result<Vec<StartedAttempt>, StoreError> {
        self.writer.run(move |conn| submissions::record_processed(conn, &lease, &processed, now)).await
    }

    async fn defer(
        &self,
        lease: SubmissionLease,
        at: Zeitpunkt,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.writer.run(move |conn| submissions::defer(conn, &lease, at, &events, now)).await
    }

    async fn claim_deliveries(
        &self,
        claim: DeliveryClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.must_serve()?;
        let last = self.last_delivery.clone();
        self.writer
            .run(move |conn| {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                deliveries::claim(conn, &claim, &mut last, now)
            })
            .await
    }

    async fn renew_delivery(
        &self,
        lease: &DeliveryLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<DeliveryLease, StoreError> {
        let lease = lease.clone();
        self.writer.run(move |conn| deliveries::renew(conn, lease, lease_for, now)).await
    }

    async fn start_attempt(
        &self,
        lease: &DeliveryLease,
        attempt_id: AttemptId,
        now: Zeitpunkt,
    ) -> Result<StartedAttempt, StoreError> {
        let lease = lease.clone();
        self.writer.run(move |conn| attempts::start(conn, lease, attempt_id, now)).await
    }

    async fn finish_attempt(
        &self,
        lease: DeliveryLease,
        end: AttemptEnd,
        health: LaneHealth,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        self.writer.run(move |conn| attempts::finish(conn, &lease, &end, health, &events, now)).await
    }

    async fn overdue(&self, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError> {
        self.readers.run(move |conn| query::overdue(conn, limit, now)).await
    }

    async fn tell(&self, overdue: &Overdue, item: NewWorkItem, now: Zeitpunkt) -> Result<bool, StoreError> {
        let overdue = overdue.clone();
        self.writer.run(move |conn| acts::tell(conn, &overdue, &item, now)).await
    }

    async fn lanes(&self, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError> {
        let tenant = tenant.cloned();
        self.readers.run(move |conn| lanes::all(conn, tenant.as_ref())).await
    }

    async fn recover(
        &self,
        lease_for: Duration,
        limit: u32,
        now: Zeitpunkt,
    ) -> Result<Vec<Interrupted>, StoreError> {
        self.must_serve()?;
        self.writer.run(move |conn| deliveries::recover(conn, lease_for, limit, now)).await
    }

    async fn next_due(&self, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError> {
        self.readers.run(move |conn| query::next_due(conn, now)).await
    }

    async fn retry(
        &self,
        tenant: &TenantId,
        target: RetryTarget,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let (tenant, who) = (tenant.clone(), who.to_owned());
        self.writer.run(move |conn| acts::retry(conn, &tenant, target, &who, now)).await
    }

    async fn correct(
        &self,
        tenant: &TenantId,
        corrections: NewCorrections,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer.run(move |conn| acts::correct(conn, &tenant, &corrections, now)).await
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        replacement: Replacement,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer.run(move |conn| acts::replace(conn, &tenant, &replacement, now)).await
    }

    async fn close_work_item(
        &self,
        tenant: &TenantId,
        work_item: WorkItemId,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let (tenant, who) = (tenant.clone(), who.to_owned());
        self.writer.run(move |conn| acts::close_work_item(conn, &tenant, work_item, &who, now)).await
    }

    async fn annotate(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
        line: NewEvent,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer.run(move |conn| acts::annotate(conn, &tenant, submission, &line, now)).await
    }

    async fn log_access(&self, entry: AccessEntry, now: Zeitpunkt) -> Result<(), StoreError> {
        self.writer.run(move |conn| acts::log_access(conn, &entry, now)).await
    }

    async fn submissions(&self, filter: SubmissionFilter) -> Result<SubmissionPage, StoreError> {
        self.readers.run(move |conn| query::submissions(conn, &filter)).await
    }

    async fn submission(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
    ) -> Result<SubmissionDetail, StoreError> {
        let tenant = tenant.clone();
        self.readers.run(move |conn| query::submission(conn, &tenant, submission)).await
    }

    async fn work_item_groups(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<WorkItemGroup>, StoreError> {
        let tenant = tenant.cloned();
        self.readers.run(move |conn| query::work_item_groups(conn, tenant.as_ref(), limit)).await
    }

    async fn open_work_items(
        &self,
        tenant: Option<&TenantId>,
        fingerprint: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WorkItemRecord>, StoreError> {
        let (tenant, fingerprint) = (tenant.cloned(), fingerprint.map(str::to_owned));
        self.readers
            .run(move |conn| query::open_work_items(conn, tenant.as_ref(), fingerprint.as_deref(), limit))
            .await
    }

    async fn resolve(&self, tenant: Option<&TenantId>, text: &str) -> Result<Vec<Found>, StoreError> {
        let (tenant, text) = (tenant.cloned(), text.to_owned());
        self.readers.run(move |conn| query::resolve(conn, tenant.as_ref(), &text)).await
    }

    async fn unnamed_blobs(
        &self,
        tenant: &TenantId,
        candidates: BTreeSet<ContentHash>,
    ) -> Result<Vec<ContentHash>, StoreError> {
        let tenant = tenant.clone();
        self.readers.run(move |conn| blob_refs::unnamed(conn, &tenant, &candidates)).await
    }

    async fn retention_candidates(
        &self,
        query: RetentionQuery,
    ) -> Result<Vec<RetentionCandidate>, StoreError> {
        self.readers.run(move |conn| retention::candidates(conn, &query)).await
    }

    async fn delete(&self, deletion: Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError> {
        self.writer.run(move |conn| retention::delete(conn, &deletion, now)).await
    }

    async fn deletions(&self, tenant: &TenantId, limit: u32) -> Result<Vec<DeletionRecord>, StoreError> {
        let tenant = tenant.clone();
        self.readers.run(move |conn| retention::deletions(conn, &tenant, limit)).await
    }

    async fn release_space(&self, bytes: u64) -> Result<u64, StoreError> {
        let released = self.writer.run(move |conn| retention::release(conn, bytes)).await?;
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || retention::checkpoint(&path))
            .await
            .map_err(|error| StoreError::Database(error.to_string()))??;
        Ok(released)
    }

    async fn rewrite(&self, tenant: &TenantId, rewritten: Rewritten) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        self.writer.run(move |conn| submissions::rewrite(conn, &tenant, &rewritten)).await
    }

    async fn gauges(&self) -> Result<Gauges, StoreError> {
        self.readers.run(gauges::gauges).await
    }

    async fn backlog(&self, at_most: u64) -> Result<u64, StoreError> {
        self.readers.run(move |conn| gauges::backlog(conn, at_most)).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        // Sets a setting to what it is: changes nothing and is still a page that goes to the disk.
        self.writer.run(|conn| Ok(conn.pragma_update(None, "user_version", schema::version(conn)?)?)).await
    }

    async fn counts(&self, tenant: Option<&TenantId>) -> Result<Counts, StoreError> {
        let tenant = tenant.cloned();
        self.readers.run(move |conn| query::counts(conn, tenant.as_ref())).await
    }
}

#[cfg(test)]
mod tests;
