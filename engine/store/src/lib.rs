// SPDX-License-Identifier: EUPL-1.2
//! What must survive a power cut: submissions, messages, deliveries, attempts, Klärungsfälle, the timeline,
//! and the files they name.
//!
//! [`Store`] is the contract; [`SqliteStore`] is the default behind it; [`BlobStore`] keeps the files. This
//! room knows rows and bytes. It must not know forms, mappings, XML, receivers or HTTP, and it never asks for
//! the time: every call brings it along.

pub mod api;
pub mod backup;
pub mod blob;
#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
mod effect;
pub mod error;
pub mod folder;
#[cfg(test)]
mod model;
#[cfg(feature = "mutants")]
mod mutant;
mod pace;
pub mod postgres;
pub mod records;
pub mod retention;
pub mod seal;
pub mod settlement;
pub mod sqlite;
pub mod steps;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod turns;
mod values;

pub use api::Store;
pub use backup::{BackupSummary, backup, restore};
pub use blob::{BlobReader, BlobStore, BlobWriter, Collector, Removed, Resealed, SHORTEST_GRACE};
pub use error::StoreError;
pub use folder::DataFolder;
pub use postgres::{Notifications, PostgresStore, ProcessRole};
pub use records::{
    AttemptKind, AttemptOutcome, AttemptRecord, CorrectionRecord, Counts, Cursor, DeliveryRecord,
    DeliveryState, EventRecord, Found, FoundId, Gauges, LaneRecord, MessageRecord, MessageState, OpenCause,
    OpenDeliveries, OpenSubmissions, Origin, OriginCount, PayloadPart, SubmissionDetail, SubmissionFilter,
    SubmissionPage, SubmissionRecord, SubmissionState, SubmissionSummary, WorkItemGroup, WorkItemRecord,
};
pub use retention::{
    Blocker, CandidateDelivery, Deletion, DeletionRecord, Demand, Orphans, Phase, RetentionCandidate,
    RetentionQuery, blockers,
};
pub use seal::{Keyring, Keys, NoKeys, SealedStore, TenantKey};
pub use settlement::{NewSettlement, Settlement};
pub use sqlite::SqliteStore;
pub use steps::{
    Accepted, AccessEntry, Assigned, AttemptEnd, ClaimedDelivery, ClaimedSubmission, DeliveryClaim,
    DeliveryLease, FirstAttempt, Interrupted, Lanes, NewCorrection, NewCorrections, NewDelivery, NewEvent,
    NewMessage, NewSubmission, NewWorkItem, Overdue, Processed, Replacement, RetryTarget, Rewritten,
    RewrittenCorrection, StartedAttempt, SubmissionClaim, SubmissionLease,
};
