// SPDX-License-Identifier: EUPL-1.2
//! Virus scanners: clamd over its socket, and whatever speaks ICAP. Each looks at one file, streamed, within
//! bounds of size and time, and tells truly whether it could. Knows nothing of submissions.

mod clamd;
mod icap;
mod problem;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::{path::Path, sync::Arc};

use kop_connector_api::{Scanner, ScannerKind, SettingProblem};
use kop_core::Diagnostic;

pub use settings::{ClamdSettings, IcapSettings};

/// The kind `clamd`: ClamAV's service.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClamdKind;

impl ScannerKind for ClamdKind {
    fn name(&self) -> &'static str {
        "clamd"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(ClamdSettings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        settings::clamd(settings).err().unwrap_or_default()
    }

    fn build(&self, settings: &serde_json::Value, base_dir: &Path) -> Result<Arc<dyn Scanner>, Diagnostic> {
        let plan = settings::clamd(settings).map_err(SettingProblem::refusal)?;
        Ok(Arc::new(clamd::Clamd { target: plan.target.below(base_dir), bounds: plan.bounds }))
    }
}

/// The kind `icap`: any scanner behind the Internet Content Adaptation Protocol (RFC 3507).
#[derive(Clone, Copy, Debug, Default)]
pub struct IcapKind;

impl ScannerKind for IcapKind {
    fn name(&self) -> &'static str {
        "icap"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(IcapSettings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        settings::icap(settings).err().unwrap_or_default()
    }

    fn build(&self, settings: &serde_json::Value, _: &Path) -> Result<Arc<dyn Scanner>, Diagnostic> {
        let plan = settings::icap(settings).map_err(SettingProblem::refusal)?;
        Ok(Arc::new(icap::Icap {
            address: plan.address,
            url: plan.url,
            host: plan.host,
            bounds: plan.bounds,
        }))
    }
}
