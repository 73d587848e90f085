// SPDX-License-Identifier: EUPL-1.2
//! One immutable, checked state of a tenant's configuration. A message names the one that it ran under.
//!
//! Nothing in here changes after loading; a changed folder becomes another generation.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use kop_core::{ContentHash, Diagnostic, RetrySchedule, Stage, TenantId};
use kop_mapping::{ModuleSource, Script, Tables};

use crate::{condition::RouteCondition, manifest::Manifest};

/// One checked state of a tenant's configuration.
#[derive(Debug)]
pub struct Generation {
    /// Hash over all files that it was made from, library files included.
    pub id: ContentHash,
    /// The tenant.
    pub tenant: TenantId,
    /// Name for people.
    pub name: String,
    /// The tenant's stage.
    pub stage: Stage,
    /// Amtliche Gemeindeschlüssel, 8 digits each.
    pub ags: Vec<String>,
    /// Amtliche Regionalschlüssel, 12 digits each.
    pub ars: Vec<String>,
    /// Organisationseinheiten: id → name.
    pub units: BTreeMap<String, String>,
    /// Settings of the open intakes by source.
    pub intakes: BTreeMap<String, Arc<serde_json::Value>>,
    /// Parameters of the tenant, without those of mappings and routes.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// Identities that messages are sent under, by their key in `[absender.*]`.
    pub senders: BTreeMap<String, Arc<Identity>>,
    /// Receivers by their key in `[empfaenger.*]`.
    pub receivers: BTreeMap<String, Arc<Receiver>>,
    /// Routes in the order of the file.
    pub routes: Vec<Route>,
    /// Every mapping that a route uses, and every own one of the tenant, by name.
    pub mappings: BTreeMap<String, Arc<LoadedMapping>>,
    /// What a person should look at although the configuration works.
    pub warnings: Vec<Diagnostic>,
}

/// Who is named in a message's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Key in the configuration.
    pub key: String,
    /// Name of the authority.
    pub name: String,
    /// Code of the Verzeichnisdienst and the version of its code list.
    pub directory: Option<(String, String)>,
    /// Kennung in the Verzeichnisdienst, e.g. `bab:01056039`.
    pub id: Option<String>,
}

/// Who gets messages, and how.
#[derive(Debug)]
pub struct Receiver {
    /// Who it is.
    pub identity: Identity,
    /// The receiver's stage.
    pub stage: Stage,
    /// Name of the connector kind.
    pub kind: String,
    /// Settings of the connector, without `art`; checked by its kind.
    pub settings: Arc<serde_json::Value>,
    /// When to try again.
    pub retry: RetrySchedule,
}

/// Which submissions go where.
#[derive(Debug)]
pub struct Route {
    /// Name, unique within the tenant.
    pub name: String,
    /// Only when no other route takes the submission.
    pub otherwise: bool,
    /// When it takes a submission.
    pub condition: RouteCondition,
    /// Where the submission goes; each target makes one message per receiver.
    pub targets: Vec<Target>,
}

/// One target of a route.
#[derive(Debug)]
pub struct Target {
    /// The mapping.
    pub mapping: Arc<LoadedMapping>,
    /// Sender identity of the message head: the target's, else the mapping's default.
    pub sender: Option<Arc<Identity>>,
    /// The receivers; one message each.
    pub receivers: Vec<Arc<Receiver>>,
    /// Parameters as the script sees them: the mapping's, under the tenant's, under the target's.
    pub parameters: Arc<BTreeMap<String, String>>,
}

/// Where a mapping's files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The shared library as it is.
    Library,
    /// The shared library, with tables or parameters of the tenant laid over it.
    Overlaid,
    /// The tenant's own folder.
    Tenant,
}

/// A mapping, ready to run.
#[derive(Debug)]
pub struct LoadedMapping {
    /// Name: that of its folder.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its folder: the library's for [`Origin::Overlaid`].
    pub dir: PathBuf,
    /// Its description.
    pub manifest: Manifest,
    /// The compiled script.
    pub script: Arc<Script>,
    /// The script's text, for snippets.
    pub script_text: Arc<str>,
    /// Modules that the script may import.
    pub modules: Arc<Vec<ModuleSource>>,
    /// Tables, the tenant's rows over the library's.
    pub tables: Arc<Tables>,
    /// Default parameters, the tenant's overlay over the library's.
    pub parameters: BTreeMap<String, String>,
    /// Hash over everything that decides what it makes: manifest, script, modules, tables, parameters.
    pub hash: ContentHash,
}

impl LoadedMapping {
    /// The mapping's parameters under further layers; the last one wins.
    pub fn layered(&self, layers: &[&BTreeMap<String, String>]) -> Arc<BTreeMap<String, String>> {
        let mut all = self.parameters.clone();
        for layer in layers {
            all.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Arc::new(all)
    }
}
