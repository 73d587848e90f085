// SPDX-License-Identifier: EUPL-1.2
//! A folder that is asked for applications: a form server or an SFTP server puts them there, the engine takes those
//! that are finished and, when it is told so, moves them out of the way.
//!
//! Whoever writes into the folder is not trusted: nothing is opened through a link, everything is opened relative to
//! the folder's own handle, and what was read is compared with what was seen before and after.

mod look;
mod pull;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod walk;

use std::{path::PathBuf, sync::Arc};

use kop_connector_api::{Connector, SettingProblem, Source, SourceKind, SourcePlace, World};
use kop_core::{ContentHash, Diagnostic};
use serde::{Deserialize, Serialize};

pub use settings::{After, Finished, FolderSourceSettings};

use crate::{problem, source::settings::Plan};

/// Where what is settled goes.
pub(crate) const DONE: &str = "erledigt";
/// Where what cannot be read goes.
pub(crate) const FAULTY: &str = "fehler";

/// The kind `ordner` of sources: one directory, or one file, per application.
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderSourceKind;

impl SourceKind for FolderSourceKind {
    fn name(&self) -> &'static str {
        "ordner"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(FolderSourceSettings)
    }

    fn check(&self, settings: &serde_json::Value, formats: &[&str]) -> Vec<SettingProblem> {
        Plan::read(settings, Some(formats)).err().unwrap_or_default()
    }

    fn brings(&self, settings: &serde_json::Value) -> Vec<String> {
        Plan::read(settings, None).map(|plan| plan.format).into_iter().collect()
    }

    fn build(&self, settings: &serde_json::Value, place: SourcePlace) -> Result<Box<dyn Source>, Diagnostic> {
        let plan = Plan::read(settings, None).map_err(SettingProblem::refusal)?;
        let format = place.formats.iter().find(|format| format.intake.source() == plan.format);
        let format = format.cloned().ok_or_else(problem::no_such_format)?;
        Ok(Box::new(pull::FolderSource::new(plan, format, place)))
    }

    fn settler(&self, settings: &serde_json::Value, world: &World) -> Result<Arc<dyn Connector>, Diagnostic> {
        let plan = Plan::read(settings, None).map_err(SettingProblem::refusal)?;
        let root = Root { base_dir: world.base_dir.clone(), below: plan.folder };
        Ok(Arc::new(settle::Settler { root, after: plan.after, blobs: world.blobs.clone() }))
    }
}

/// Where the folder is.
#[derive(Clone)]
pub(crate) struct Root {
    base_dir: PathBuf,
    below: PathBuf,
}

/// What a settlement needs to know: which entry of the folder, and what it looked like when it was read, so that
/// nothing else is moved that came under its name meanwhile.
#[derive(Serialize, Deserialize)]
struct Ticket {
    /// The entry's name, byte by byte in hexadecimal: it need not be UTF-8.
    name: String,
    /// The marker's name, where there is one: it is no file of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marke: Option<String>,
    /// [`walk::Entry::state`].
    stand: ContentHash,
}
