// SPDX-License-Identifier: EUPL-1.2
//! How a Sendung leaves: a [`ConnectorKind`] checks and builds, the [`Connector`] it built delivers.

use std::{path::PathBuf, pin::Pin, sync::Arc};

use async_trait::async_trait;
use kop_core::{BlobRef, Clock, Diagnostic, Outcome, Repeatability, Sendung, TenantId, Ticket, Zeitpunkt};
use tokio::io::AsyncRead;

use crate::settings::SettingProblem;

/// A blob being read.
pub type BlobRead = Pin<Box<dyn AsyncRead + Send>>;

/// Reads blobs of one tenant.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Opens a blob from its start.
    async fn open(&self, tenant: &TenantId, blob: &BlobRef) -> std::io::Result<BlobRead>;
}

/// What a connector may use of the world beside its own settings.
#[derive(Clone)]
pub struct World {
    /// Relative paths in settings start here (the instance's folder).
    pub base_dir: PathBuf,
    /// Reads the files of a Sendung.
    pub blobs: Arc<dyn Blobs>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A kind of receiver: `ordner`, `http`, …; registered by the binary.
pub trait ConnectorKind: Send + Sync {
    /// Short name, as in `art = "ordner"`.
    fn name(&self) -> &'static str;

    /// JSON Schema of the settings (without `art`).
    fn schema(&self) -> schemars::Schema;

    /// Checks settings without touching the world; refuses unknown fields and literal secrets.
    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem>;

    /// Builds a connector from settings that passed [`ConnectorKind::check`]. May resolve secrets; opens no
    /// connection.
    ///
    /// # Errors
    /// A secret cannot be resolved, a certificate cannot be read.
    fn build(&self, settings: &serde_json::Value, world: &World) -> Result<Arc<dyn Connector>, Diagnostic>;
}

/// Something that runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What it is, as the setting names it: `ca_datei`.
    pub what: String,
    /// When.
    pub at: Zeitpunkt,
}

/// Speaks one receiver's protocol. Retry, backoff and records are the engine's: a connector tries once and
/// tells truly what came of it.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What may be done when it is not known whether an attempt arrived.
    fn repeatability(&self) -> Repeatability;

    /// Looks whether the receiver could be reached, without delivering anything.
    ///
    /// # Errors
    /// What stands in the way.
    async fn probe(&self) -> Result<(), Diagnostic>;

    /// Certificates and keys that run out one day; told to operators in time.
    fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }

    /// Delivers once. The attempt has been recorded as started before this is called.
    async fn deliver(&self, sendung: &Sendung) -> Outcome;

    /// Asks what became of a delivery that was [`Outcome::Pending`].
    async fn follow_up(&self, ticket: &Ticket) -> Outcome;
}
