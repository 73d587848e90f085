// SPDX-License-Identifier: EUPL-1.2
//! The engine's side of an intake: files go to the blob store while they arrive, then the whole submission is
//! accepted in one durable step.

use async_trait::async_trait;
use bytes::Bytes;
use kop_core::{BlobRef, Diagnostic, SubmissionId, TenantId, VorgangId, clock::Zeitpunkt};

use crate::intake::Intake;

/// Takes submissions in.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Opens a new blob of the tenant; nothing is kept unless it is finished.
    async fn blob(&self, tenant: &TenantId) -> Result<Box<dyn BlobSink>, Refusal>;

    /// Normalises and stores a submission. When this returns, a power cut loses nothing of it.
    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal>;
}

/// A file on its way into the blob store.
#[async_trait]
pub trait BlobSink: Send {
    /// Appends bytes.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal>;

    /// Makes the file durable and tells its reference.
    async fn finish(self: Box<Self>) -> Result<BlobRef, Refusal>;
}

/// A stored submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The submission.
    pub submission_id: SubmissionId,
    /// The Vorgang it opened.
    pub vorgang_id: VorgangId,
    /// What sender and clerk quote.
    pub vorgangsnummer: String,
    /// The vendor's id, where it sent one.
    pub vendor_id: Option<String>,
    /// Eingangszeitpunkt.
    pub received_at: Zeitpunkt,
    /// Whether the same submission was stored before; the answer is the first one's.
    pub repeated: bool,
}

/// Why nothing was stored.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Whose turn it is.
    pub kind: RefusalKind,
    /// What is wrong; the first one is what the sender is told.
    pub problems: Vec<Diagnostic>,
}

/// Whose turn it is after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The payload is not what the format allows (400).
    BadPayload,
    /// Credentials are missing or wrong (401).
    Unauthorised,
    /// No such tenant, or the tenant has not opened this intake (404).
    NotFound,
    /// Larger than the tenant allows (413).
    TooLarge,
    /// Try again later: 503, and in every format `Retry-After` (RFC 9110 section 10.2.3).
    Busy,
    /// The engine cannot store at present (500).
    Technical,
}

impl RefusalKind {
    /// The HTTP status that fits.
    pub fn status(self) -> http::StatusCode {
        match self {
            Self::BadPayload => http::StatusCode::BAD_REQUEST,
            Self::Unauthorised => http::StatusCode::UNAUTHORIZED,
            Self::NotFound => http::StatusCode::NOT_FOUND,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::Technical => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    /// A refusal with one problem.
    pub fn new(kind: RefusalKind, problem: Diagnostic) -> Self {
        Self { kind, problems: vec![problem] }
    }

    /// The German sentence for the sender, with the code to quote.
    pub fn message(&self) -> String {
        self.problems.first().map_or_else(String::new, |problem| format!("{} ({})", problem.de, problem.code))
    }
}
