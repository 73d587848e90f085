// SPDX-License-Identifier: EUPL-1.2
//! How a file is looked at before it may leave: a [`ScannerKind`] checks and builds, the [`Scanner`] it built
//! looks at one file at a time. What a verdict leads to is the engine's business.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use kop_core::Diagnostic;

use crate::{connector::BlobRead, settings::SettingProblem};

/// What a scanner says of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Looked at as a whole, nothing found.
    Clean,
    /// Malware; the text is the scanner's own name for it.
    Found(String),
    /// Could not be looked at: encrypted, too large, packed too deep. The text is the scanner's reason.
    Unscannable(String),
}

/// Looks at files.
#[async_trait]
pub trait Scanner: Send + Sync {
    /// What the verdicts rest on: program and signatures. Another text means that earlier verdicts are old.
    ///
    /// # Errors
    /// The scanner does not answer.
    async fn version(&self) -> Result<String, Diagnostic>;

    /// Looks at one file of `size` bytes, which is streamed.
    ///
    /// # Errors
    /// No verdict: the scanner is away, too slow or broken, or the file could not be read. To be tried again.
    async fn scan(&self, content: BlobRead, size: u64) -> Result<Verdict, Diagnostic>;
}

/// A kind of scanner: `clamd`, `icap`; registered by the binary.
pub trait ScannerKind: Send + Sync {
    /// Short name, as in `art = "clamd"`.
    fn name(&self) -> &'static str;

    /// JSON Schema of the settings (without `art`).
    fn schema(&self) -> schemars::Schema;

    /// Checks settings without touching the world; refuses unknown fields.
    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem>;

    /// Builds a scanner from settings that passed [`ScannerKind::check`]; opens no connection. Relative paths
    /// start at `base_dir`.
    ///
    /// # Errors
    /// The settings are wrong after all.
    fn build(&self, settings: &serde_json::Value, base_dir: &Path) -> Result<Arc<dyn Scanner>, Diagnostic>;
}
