// SPDX-License-Identifier: EUPL-1.2
//! The store for several machines: one PostgreSQL database. A step is a transaction; PostgreSQL commits those that
//! wait at the same time together. Claims skip what another process is taking (`FOR UPDATE SKIP LOCKED`); a lane is
//! locked while its places are counted. Its modules hold SQL; nothing outside them does.

mod acts;
mod attempts;
mod deliveries;
mod gauges;
mod lanes;
mod locks;
mod notify;
mod pool;
mod processes;
mod query;
mod retention;
mod row;
mod schema;
mod settle;
mod submissions;
mod timeline;
mod tls;
mod turn;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use kop_core::{AttemptId, ContentHash, LaneHealth, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt};
use tokio::sync::Mutex;

pub use self::{notify::Notifications, processes::ProcessRole};
use self::{
    pool::{Connector, Pool, Step},
    processes::{Presence, Unsure},
};
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

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    connector: Connector,
    pool: Pool,
    presence: Option<Mutex<Presence>>,
    holder: Option<i32>,
    submissions: Mutex<Claims<String>>,
    deliveries: Mutex<Claims<LastServed>>,
}

/// Claims come one after another.
#[derive(Default)]
struct Claims<L> {
    last: L,
    /// Freed by the next claim.
    unsure: Vec<Unsure>,
}

impl<L> Claims<L> {
    /// Ends the step of a claim, which has freed what was unsure before. Where nobody knows whether its COMMIT came
    /// through, nobody works on what it claimed.
    async fn end<T>(
        &mut self,
        step: Step,
        claimed: Result<Vec<T>, StoreError>,
        lease: impl Fn(&T) -> Unsure,
    ) -> Result<Vec<T>, StoreError> {
        let unsure: Vec<_> = claimed.iter().flatten().map(lease).collect();
        let ended = step.end(claimed).await;
        match &ended {
            Ok(_) => self.unsure.clear(),
            Err(_) => self.unsure.extend(unsure),
        }
        ended
    }
}

fn unsure(lease: &DeliveryLease) -> Unsure {
    let (tenant, id) = (lease.tenant.to_string(), lease.delivery_id.to_string());
    Unsure { tenant, id, token: lease.token }
}

impl PostgresStore {
    /// Opens the database as one of the processes that serve. Migrates it. What a process that is gone had leased is
    /// freed within seconds. `url` is a `postgresql://` address with its password; it is never repeated in an error.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`]; the server cannot be reached or is not set up to keep what it commits.
    pub async fn serve(url: &str, role: ProcessRole) -> Result<Self, StoreError> {
        let connector = Connector::new(url)?;
        let pool = Pool::new(connector.clone());
        schema::migrate(&pool).await?;
        let presence = Presence::begin(&connector, &pool, role).await?;
        Ok(Self::over(connector, pool, Some(presence)))
    }

    /// Opens the database for questions, a person's acts and `accept`. Claims and recovery are refused with
    /// [`StoreError::NotPossible`].
    ///
    /// # Errors
    /// As [`PostgresStore::serve`].
    pub async fn attach(url: &str) -> Result<Self, StoreError> {
        let connector = Connector::new(url)?;
        let pool = Pool::new(connector.clone());
        schema::migrate(&pool).await?;
        Ok(Self::over(connector, pool, None))
    }

    fn over(connector: Connector, pool: Pool, presence: Option<Presence>) -> Self {
        Self {
            connector,
            pool,
            holder: presence.as_ref().map(|presence| presence.number),
            presence: presence.map(Mutex::new),
            submissions: Mutex::default(),
            deliveries: Mutex::default(),
        }
    }

    /// Whether some process, this one included, processes and delivers at present.
    ///
    /// # Errors
    /// The database's own.
    pub async fn somebody_works(&self) -> Result<bool, StoreError> {
        let conn = self.pool.lend().await?;
        let found = processes::somebody_works(&conn).await?;
        conn.give_back();
        Ok(found)
    }

    /// Leaves in good order: others may take over at once what is still leased. Nothing may be claimed after.
    pub async fn leave(&self) {
        if let Some(presence) = &self.presence {
            presence.lock().await.end().await;
        }
    }

    fn holder(&self) -> Result<i32, StoreError> {
        self.holder.ok_or_else(|| StoreError::NotPossible("this process does not serve".to_owned()))
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn accept(&self, new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError> {
        let step = self.pool.begin().await?;
        let result = submissions::accept(&step, new, now).await;
        step.end(result).await
    }

    async fn claim_submissions(
        &self,
        claim: SubmissionClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedSubmission>, StoreError> {
        let holder = self.holder()?;
        let mut claims = self.submissions.lock().await;
        let step = self.pool.begin().await?;
        let result = match processes::free_submissions(&step, holder, &claims.unsure).await {
            Ok(()) => submissions::claim(&step, &claim, &mut claims.last, holder, now).await,
            Err(error) => Err(error),
        };
        let unsure = |one: &ClaimedSubmission| {
            let (tenant, id) = (one.lease.tenant.to_string(), one.lease.submission_id.to_string());
            Unsure { tenant, id, token: one.lease.token }
        };
        claims.end(step, result, unsure).await
    }

    async fn renew_submission(
        &self,
        lease: &SubmissionLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<SubmissionLease, StoreError> {
        let step = self.pool.begin().await?;
        let result = submissions::renew(&step, lease.clone(), lease_for, now).await;
        step.end(result).await
    }

    async fn record_processed(
        &self,
        lease: SubmissionLease,
        processed: Processed,
        now: Zeitpunkt,
    ) -> Result<Vec<StartedAttempt>, StoreError> {
        let holder = self.holder()?;
        let step = self.pool.begin().await?;
        let result = submissions::record_processed(&step, &lease, &processed, holder, now).await;
        step.end(result).await
    }

    async fn defer(
        &self,
        lease: SubmissionLease,
        at: Zeitpunkt,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = submissions::defer(&step, &lease, at, &events, now).await;
        step.end(result).await
    }

    async fn claim_deliveries(
        &self,
        claim: DeliveryClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let holder = self.holder()?;
        let mut claims = self.deliveries.lock().await;
        let step = self.pool.begin().await?;
        let result = match processes::free_deliveries(&step, holder, &claims.unsure).await {
            Ok(()) => deliveries::claim(&step, &claim, &mut claims.last, holder, now).await,
            Err(error) => Err(error),
        };
        claims.end(step, result, |one| unsure(&one.lease)).await
    }

    async fn renew_delivery(
        &self,
        lease: &DeliveryLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<DeliveryLease, StoreError> {
        let step = self.pool.begin().await?;
        let result = deliveries::renew(&step, lease.clone(), lease_for, now).await;
        step.end(result).await
    }

    async fn start_attempt(
        &self,
        lease: &DeliveryLease,
        attempt_id: AttemptId,
        now: Zeitpunkt,
    ) -> Result<StartedAttempt, StoreError> {
        let step = self.pool.begin().await?;
        let result = attempts::start(&step, lease.clone(), attempt_id, now).await;
        step.end(result).await
    }

    async fn finish_attempt(
        &self,
        lease: DeliveryLease,
        end: AttemptEnd,
        health: LaneHealth,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = attempts::finish(&step, &lease, &end, health, &events, now).await;
        step.end(result).await
    }

    async fn overdue(&self, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError> {
        let step = self.pool.look().await?;
        let result = query::overdue(&step, limit, now).await;
        step.end(result).await
    }

    async fn tell(&self, overdue: &Overdue, item: NewWorkItem, now: Zeitpunkt) -> Result<bool, StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::tell(&step, overdue, &item, now).await;
        step.end(result).await
    }

    async fn lanes(&self, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError> {
        let step = self.pool.look().await?;
        let result = lanes::all(&step, tenant).await;
        step.end(result).await
    }

    async fn recover(
        &self,
        lease_for: Duration,
        limit: u32,
        now: Zeitpunkt,
    ) -> Result<Vec<Interrupted>, StoreError> {
        let holder = self.holder()?;
        let mut claims = self.deliveries.lock().await;
        let step = self.pool.begin().await?;
        let result = match processes::free_deliveries(&step, holder, &claims.unsure).await {
            Ok(()) => deliveries::recover(&step, lease_for, limit, holder, now).await,
            Err(error) => Err(error),
        };
        claims.end(step, result, |one| unsure(&one.claimed.lease)).await
    }

    async fn next_due(&self, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError> {
        let step = self.pool.look().await?;
        let result = query::next_due(&step, now).await;
        step.end(result).await
    }

    async fn retry(
        &self,
        tenant: &TenantId,
        target: RetryTarget,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::retry(&step, tenant, target, who, now).await;
        step.end(result).await
    }

    async fn correct(
        &self,
        tenant: &TenantId,
        corrections: NewCorrections,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::correct(&step, tenant, &corrections, now).await;
        step.end(result).await
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        replacement: Replacement,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::replace(&step, tenant, &replacement, now).await;
        step.end(result).await
    }

    async fn close_work_item(
        &self,
        tenant: &TenantId,
        work_item: WorkItemId,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::close_work_item(&step, tenant, work_item, who, now).await;
        step.end(result).await
    }

    async fn log_access(&self, entry: AccessEntry, now: Zeitpunkt) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::log_access(&step, &entry, now).await;
        step.end(result).await
    }

    async fn submissions(&self, filter: SubmissionFilter) -> Result<SubmissionPage, StoreError> {
        let step = self.pool.look().await?;
        let result = query::submissions(&step, &filter).await;
        step.end(result).await
    }

    async fn submission(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
    ) -> Result<SubmissionDetail, StoreError> {
        let step = self.pool.look().await?;
        let result = query::submission(&step, tenant, submission).await;
        step.end(result).await
    }

    async fn work_item_groups(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<WorkItemGroup>, StoreError> {
        let step = self.pool.look().await?;
        let result = query::work_item_groups(&step, tenant, limit).await;
        step.end(result).await
    }

    async fn open_work_items(
        &self,
        tenant: Option<&TenantId>,
        fingerprint: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WorkItemRecord>, StoreError> {
        let step = self.pool.look().await?;
        let result = query::open_work_items(&step, tenant, fingerprint, limit).await;
        step.end(result).await
    }

    async fn resolve(&self, tenant: Option<&TenantId>, text: &str) -> Result<Vec<Found>, StoreError> {
        let step = self.pool.look().await?;
        let result = query::resolve(&step, tenant, text).await;
        step.end(result).await
    }

    async fn annotate(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
        line: NewEvent,
        now: Zeitpunkt,
    ) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = acts::annotate(&step, tenant, submission, &line, now).await;
        step.end(result).await
    }

    async fn gauges(&self) -> Result<Gauges, StoreError> {
        let step = self.pool.look().await?;
        let result = gauges::gauges(&step).await;
        step.end(result).await
    }

    async fn backlog(&self, at_most: u64) -> Result<u64, StoreError> {
        let step = self.pool.look().await?;
        let result = gauges::backlog(&step, at_most).await;
        step.end(result).await
    }

    async fn writable(&self) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = gauges::writable(&step).await;
        step.end(result).await
    }

    async fn unnamed_blobs(
        &self,
        tenant: &TenantId,
        candidates: BTreeSet<ContentHash>,
    ) -> Result<Vec<ContentHash>, StoreError> {
        let step = self.pool.look().await?;
        let result = retention::unnamed(&step, tenant, &candidates).await;
        step.end(result).await
    }

    async fn retention_candidates(
        &self,
        query: RetentionQuery,
    ) -> Result<Vec<RetentionCandidate>, StoreError> {
        let step = self.pool.look().await?;
        let result = retention::candidates(&step, &query).await;
        step.end(result).await
    }

    async fn delete(&self, deletion: Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError> {
        let step = self.pool.begin().await?;
        let result = retention::delete(&step, &deletion, now).await;
        step.end(result).await
    }

    async fn deletions(&self, tenant: &TenantId, limit: u32) -> Result<Vec<DeletionRecord>, StoreError> {
        let step = self.pool.look().await?;
        let result = retention::deletions(&step, tenant, limit).await;
        step.end(result).await
    }

    async fn release_space(&self, _bytes: u64) -> Result<u64, StoreError> {
        // The server's autovacuum does it.
        Ok(0)
    }

    async fn rewrite(&self, tenant: &TenantId, rewritten: Rewritten) -> Result<(), StoreError> {
        let step = self.pool.begin().await?;
        let result = submissions::rewrite(&step, tenant, &rewritten).await;
        step.end(result).await
    }

    async fn counts(&self, tenant: Option<&TenantId>) -> Result<Counts, StoreError> {
        let step = self.pool.look().await?;
        let result = query::counts(&step, tenant).await;
        step.end(result).await
    }
}

#[cfg(test)]
mod broken;
#[cfg(test)]
mod tests;
