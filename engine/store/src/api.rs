// SPDX-License-Identifier: EUPL-1.2
//! The contract of a store. Every step is atomic and durable when its call returns; every key starts with
//! the tenant; no call asks a clock. `crate::conformance` says the same in tests.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use kop_core::{AttemptId, ContentHash, LaneHealth, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt};

use crate::{
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
};

/// Keeps submissions and everything that becomes of them.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a submission; durable when this returns. Same tenant, source, key and content: the first answer
    /// again, and the document is not rendered. Same key, other content: stored too, with the Klärungsfall.
    async fn accept(&self, new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError>;

    /// Leases submissions that are to be processed, tenants in turns. One whose lease ran out is given again.
    async fn claim_submissions(
        &self,
        claim: SubmissionClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedSubmission>, StoreError>;

    /// Prolongs a lease.
    ///
    /// # Errors
    /// [`StoreError::StaleLease`] when it ran out and was given on.
    async fn renew_submission(
        &self,
        lease: &SubmissionLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<SubmissionLease, StoreError>;

    /// Records what became of a claimed submission, all in one step. Returns the first attempts that were
    /// started; a message whose lane was full is not among them and waits to be claimed. Told again with the same
    /// messages, because the answer was lost, it records nothing and answers the same.
    ///
    /// # Errors
    /// [`StoreError::StaleLease`]: nothing was recorded.
    async fn record_processed(
        &self,
        lease: SubmissionLease,
        processed: Processed,
        now: Zeitpunkt,
    ) -> Result<Vec<StartedAttempt>, StoreError>;

    /// Gives a claimed submission back, to be processed not before `at`. The run does not count as one
    /// ([`crate::SubmissionSummary::runs`]): nothing was made of it.
    async fn defer(
        &self,
        lease: SubmissionLease,
        at: Zeitpunkt,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// Leases due deliveries (sendings and questions) of lanes that have room and do not pause, tenants and lanes in
    /// turns. A lane that tripped and whose pause is over gets one at a time until one went well.
    async fn claim_deliveries(
        &self,
        claim: DeliveryClaim,
        now: Zeitpunkt,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;

    /// Prolongs a lease.
    async fn renew_delivery(
        &self,
        lease: &DeliveryLease,
        lease_for: Duration,
        now: Zeitpunkt,
    ) -> Result<DeliveryLease, StoreError>;

    /// Records that an attempt starts. Only when this has returned may its first byte leave. Told again about the same
    /// attempt, because the answer was lost, it records nothing and answers the same.
    async fn start_attempt(
        &self,
        lease: &DeliveryLease,
        attempt_id: AttemptId,
        now: Zeitpunkt,
    ) -> Result<StartedAttempt, StoreError>;

    /// Records how the delivery's running attempt ended, with the delivery's new state and what it told about its
    /// lane, in one step. A delivery that arrived closes its Klärungsfälle. When it no longer holds up those behind
    /// it, the next one's turn comes.
    ///
    /// # Errors
    /// [`StoreError::StaleLease`]: someone else has taken over; nothing was recorded.
    async fn finish_attempt(
        &self,
        lease: DeliveryLease,
        end: AttemptEnd,
        health: LaneHealth,
        events: Vec<NewEvent>,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// Deliveries, at most `limit`, that are neither delivered nor with a person although their time to tell one has
    /// come.
    async fn overdue(&self, limit: u32, now: Zeitpunkt) -> Result<Vec<Overdue>, StoreError>;

    /// Opens the Klärungsfall of an overdue delivery, once; its attempts go on. False when it is settled by now or was
    /// told before.
    async fn tell(&self, overdue: &Overdue, item: NewWorkItem, now: Zeitpunkt) -> Result<bool, StoreError>;

    /// Lanes that had failures or a limited pace; tenant by tenant.
    async fn lanes(&self, tenant: Option<&TenantId>) -> Result<Vec<LaneRecord>, StoreError>;

    /// Hands out, with fresh leases, up to `limit` attempts that were started and whose lease ran out without
    /// an end. Their lanes count as busy until they are finished. A store that is opened for serving ends all
    /// earlier leases, so the first call after a start finds everything that a crash left.
    async fn recover(
        &self,
        lease_for: Duration,
        limit: u32,
        now: Zeitpunkt,
    ) -> Result<Vec<Interrupted>, StoreError>;

    /// The next moment after `now` at which something becomes due or a lease runs out. What is due already is
    /// for the claims; a delivery that waits for a place in its lane is claimable once an attempt ends.
    async fn next_due(&self, now: Zeitpunkt) -> Result<Option<Zeitpunkt>, StoreError>;

    /// A person has something tried again; closes its Klärungsfälle.
    ///
    /// # Errors
    /// [`StoreError::NotPossible`] when it is delivered, under way, or (submission) not in Klärung.
    async fn retry(
        &self,
        tenant: &TenantId,
        target: RetryTarget,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// A person lays values over those of a submission's document, which stays byte for byte. In one step: one row
    /// per value, numbered on from the last, and one line of the timeline with the paths and no value. Retention
    /// removes the rows together with the document.
    ///
    /// # Errors
    /// [`StoreError::NotPossible`], and nothing changed: the submission is `eingegangen`, so that it may be under
    /// processing (whoever processes reads the corrections of a submission that was processed before, and of no
    /// other); or others were made since [`NewCorrections::seen`] (the text is `korrigiert`).
    async fn correct(
        &self,
        tenant: &TenantId,
        corrections: NewCorrections,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// A person has another message made instead of one. In one step: the new message is stored with `ersetzt` and
    /// its delivery waits, in the earlier one's turn; the earlier message and its delivery become `ersetzt` and hold up
    /// nothing (one that is `zugestellt` stays so, since the receiver has it), its Klärungsfälle are closed, and it is
    /// never sent again.
    ///
    /// # Errors
    /// [`StoreError::NotPossible`], and nothing changed: the earlier one is leased, `laufend` or `nachverfolgt`, or
    /// was replaced already; or it is `zugestellt` or one of its attempts ended `unklar`, unless
    /// [`Replacement::despite`]. The text is the state, or `unklar`.
    async fn replace(
        &self,
        tenant: &TenantId,
        replacement: Replacement,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// A person closes a Klärungsfall. Where it was about a refused or unclear delivery, those behind it go on.
    async fn close_work_item(
        &self,
        tenant: &TenantId,
        work_item: WorkItemId,
        who: &str,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// Adds a line to a submission's timeline.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn annotate(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
        line: NewEvent,
        now: Zeitpunkt,
    ) -> Result<(), StoreError>;

    /// Notes that a person saw personal data.
    async fn log_access(&self, entry: AccessEntry, now: Zeitpunkt) -> Result<(), StoreError>;

    /// Submissions, newest first.
    async fn submissions(&self, filter: SubmissionFilter) -> Result<SubmissionPage, StoreError>;

    /// Everything about one submission.
    async fn submission(
        &self,
        tenant: &TenantId,
        submission: SubmissionId,
    ) -> Result<SubmissionDetail, StoreError>;

    /// Open Klärungsfälle by cause, the most frequent first, each with its origins.
    async fn work_item_groups(
        &self,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<WorkItemGroup>, StoreError>;

    /// Open Klärungsfälle, oldest first; all causes or one.
    async fn open_work_items(
        &self,
        tenant: Option<&TenantId>,
        fingerprint: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WorkItemRecord>, StoreError>;

    /// What a Vorgangsnummer, an id or the beginning of an id (4 characters at least) stands for: none, one,
    /// or several (at most 20) when it is ambiguous.
    async fn resolve(&self, tenant: Option<&TenantId>, text: &str) -> Result<Vec<Found>, StoreError>;

    /// Of these blobs, the ones that no row of the tenant names: neither a submission's payload nor a message. Sees
    /// every row that was committed before the call. For [`crate::Collector`], which explains why that is enough.
    async fn unnamed_blobs(
        &self,
        tenant: &TenantId,
        candidates: BTreeSet<ContentHash>,
    ) -> Result<Vec<ContentHash>, StoreError>;

    /// Submissions that are old enough for a phase of deletion, oldest first, with what decides about it.
    async fn retention_candidates(
        &self,
        query: RetentionQuery,
    ) -> Result<Vec<RetentionCandidate>, StoreError>;

    /// Deletes contents or metadata of one submission in one step, with a line in the log of deletions (and, for
    /// contents, in the timeline). Looks at [`crate::blockers`] again within the step. Returns the blobs that the
    /// submission named until now; others may name them still.
    ///
    /// After [`crate::Phase::Inhalte`] the document is empty, payload and parts are empty lists, the main document has
    /// no name and no bytes, corrections, tickets, attempts' problems and Klärungsfälle's diagnostics are gone, and
    /// [`Store::retry`], [`Store::correct`] and [`Store::replace`] are refused; ids, hashes, states, receipts and timeline stay, so a repeat still gets the first
    /// answer. After [`crate::Phase::Metadaten`] only the log of deletions knows the submission; the numbers given out
    /// are never given again.
    ///
    /// # Errors
    /// [`StoreError::NotPossible`]: something blocks it, or contents are gone already (or, for metadata, still
    /// there); nothing was deleted. [`StoreError::NotFound`].
    async fn delete(&self, deletion: Deletion, now: Zeitpunkt) -> Result<Orphans, StoreError>;

    /// The log of deletions, newest first.
    async fn deletions(&self, tenant: &TenantId, limit: u32) -> Result<Vec<DeletionRecord>, StoreError>;

    /// Gives up to `bytes` of what deleted rows took back to the system, and makes sure that deleted rows are not
    /// left readable in the store's files. Returns the bytes; 0 when there is nothing more. A store whose server does
    /// that by itself returns 0.
    async fn release_space(&self, bytes: u64) -> Result<u64, StoreError>;

    /// Replaces document, payload, named messages' parts and numbered corrections, and nothing else, in one step; for
    /// [`crate::SealedStore::reseal`]. Messages that came meanwhile are not touched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::NotPossible`] when the contents were deleted.
    async fn rewrite(&self, tenant: &TenantId, rewritten: Rewritten) -> Result<(), StoreError>;

    /// What is under way and what waits for a person, for metrics and alarms. Its cost grows with what is open,
    /// not with what is stored.
    async fn gauges(&self) -> Result<Gauges, StoreError>;

    /// How many submissions and deliveries are not done yet, counted up to `at_most`.
    async fn backlog(&self, at_most: u64) -> Result<u64, StoreError>;

    /// Writes something and takes it back or leaves it as it was: whether a step could be stored now.
    async fn writable(&self) -> Result<(), StoreError>;

    /// Numbers for metrics and overview.
    async fn counts(&self, tenant: Option<&TenantId>) -> Result<Counts, StoreError>;
}
