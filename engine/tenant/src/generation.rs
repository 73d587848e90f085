// SPDX-License-Identifier: EUPL-1.2
//! One immutable, checked state of a tenant's configuration. A message names the one that it ran under.
//!
//! Nothing in here changes after loading; a changed folder becomes another generation.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use kop_core::{
    ContentHash, Diagnostic, Eingang, LanePolicy, RetrySchedule, SettleAt, Stage, TenantId, WhenParked,
    forms::KnownForms, settle::source_of_lane,
};
use kop_mapping::{Script, Tables};
use serde::{Deserialize, Serialize};

use crate::{
    condition::RouteCondition, config::CodeMitVersion, manifest::Manifest, pull::PullSource,
    retention::Retention,
};

/// One checked state of a tenant's configuration.
#[derive(Debug)]
pub struct Generation {
    /// Hash over all files that it was made from, library files included.
    pub hash: ContentHash,
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
    /// Sources that are asked for their payloads, by name.
    pub sources: BTreeMap<String, PullSource>,
    /// Parameters of the tenant, without those of mappings and routes.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// Identities that messages are sent under, by their key in `[absender.*]`.
    pub senders: BTreeMap<String, Identity>,
    /// Receivers by their key in `[empfaenger.*]`.
    pub receivers: BTreeMap<String, Arc<Receiver>>,
    /// Routes in the order of the file.
    pub routes: Vec<Route>,
    /// How long what is kept.
    pub retention: Retention,
    /// Every mapping that a route uses, and every own one of the tenant, by name.
    pub mappings: BTreeMap<String, Arc<LoadedMapping>>,
    /// Mappings that could not be loaded, with their problems. A generation that has some is only taken at a start:
    /// applications are accepted all the same, and what these mappings would have made waits as a Klärungsfall.
    pub faulty: BTreeMap<String, Vec<Diagnostic>>,
    /// What a person should look at although the configuration works.
    pub warnings: Vec<Diagnostic>,
}

/// Who is named in a message's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the authority.
    pub name: String,
    /// Verzeichnisdienst that knows the Kennung.
    pub verzeichnisdienst: Option<CodeMitVersion>,
    /// Kennung in the Verzeichnisdienst, e.g. `bab:01056039`.
    pub kennung: Option<String>,
}

/// Who gets messages, and how.
#[derive(Debug)]
pub struct Receiver {
    /// Key in `[empfaenger.*]`.
    pub key: String,
    /// Who it is.
    pub identity: Identity,
    /// Its service in the DVDV, e.g. `XBau26-BH2BAB`.
    pub service: Option<String>,
    /// The receiver's stage.
    pub stage: Stage,
    /// Name of the connector kind.
    pub kind: String,
    /// Settings of the connector, without `art`; checked by its kind.
    pub settings: Arc<serde_json::Value>,
    /// When to try again.
    pub retry: RetrySchedule,
    /// How much, how fast, in which order.
    pub lane: LanePolicy,
}

/// Which submissions go where.
#[derive(Debug)]
pub struct Route {
    /// Name, unique within the tenant.
    pub name: String,
    /// Only when no other route takes the submission.
    pub otherwise: bool,
    /// When the source of a submission that it takes is told.
    pub settle: SettleAt,
    /// When it takes a submission.
    pub condition: RouteCondition,
    /// Where the submission goes; each target makes one message per receiver.
    pub targets: Vec<RouteTarget>,
}

/// One target of a route. Its names were checked: the generation has what they stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTarget {
    /// The mapping, by name.
    pub mapping: String,
    /// Receivers by their keys; one message each.
    pub receivers: Vec<String>,
    /// Sender by its key; else the mapping's default.
    pub sender: Option<String>,
    /// Parameters over those of tenant and mapping.
    pub parameters: BTreeMap<String, String>,
    /// What a parked delivery means for those behind it; `None`: what the receiver's lane says.
    pub when_parked: Option<WhenParked>,
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
    /// Tables, the tenant's rows over the library's.
    pub tables: Arc<Tables>,
    /// Default parameters.
    pub parameters: BTreeMap<String, String>,
    /// What the tenant laid over them for this mapping alone.
    pub overlay_parameters: BTreeMap<String, String>,
    /// Hash over everything that decides what it makes: manifest, script, modules, tables, parameters.
    pub hash: ContentHash,
    /// The files that the hash is over, by the names that it is over, until they are kept for later runs.
    pub sources: Mutex<Option<BTreeMap<String, Arc<str>>>>,
    /// The forms of its test payloads, once somebody has read them.
    pub tested_forms: OnceLock<Arc<KnownForms>>,
}

impl Route {
    /// Whether the route takes a submission; `document` is the same submission as JSON.
    ///
    /// # Errors
    /// The condition could not be evaluated.
    pub fn takes(
        &self,
        eingang: &Arc<Eingang>,
        document: &serde_json::Value,
    ) -> Result<bool, Vec<Diagnostic>> {
        self.condition.holds(eingang, document)
    }
}

impl Generation {
    /// All routes that take a submission, in the order of the file. Routes with `sonst` take it only when no
    /// other one does.
    ///
    /// # Errors
    /// Conditions that could not be evaluated: then it is not known where the submission belongs, and a
    /// person decides.
    pub fn routes_for(
        &self,
        eingang: &Arc<Eingang>,
        document: &serde_json::Value,
    ) -> Result<Vec<&Route>, Vec<Diagnostic>> {
        let taking = |otherwise: bool| {
            let mut hits = Vec::new();
            let mut problems = Vec::new();
            for route in self.routes.iter().filter(|route| route.otherwise == otherwise) {
                match route.takes(eingang, document) {
                    Ok(true) => hits.push(route),
                    Ok(false) => {}
                    Err(found) => problems.extend(found),
                }
            }
            if problems.is_empty() { Ok(hits) } else { Err(problems) }
        };
        let hits = taking(false)?;
        if hits.is_empty() { taking(true) } else { Ok(hits) }
    }

    /// A mapping by name.
    pub fn mapping(&self, name: &str) -> Option<&Arc<LoadedMapping>> {
        self.mappings.get(name)
    }

    /// A receiver by key; a source, by its lane, is one too.
    pub fn receiver(&self, key: &str) -> Option<&Arc<Receiver>> {
        match source_of_lane(key) {
            Some(source) => self.sources.get(source).map(|source| &source.receiver),
            None => self.receivers.get(key),
        }
    }

    /// Who sends a message: the target's sender, else the mapping's default, else the tenant by its name.
    pub fn author(&self, target: &RouteTarget, mapping: &LoadedMapping) -> Identity {
        let key = target.sender.as_ref().or(mapping.manifest.kopf.autor.as_ref());
        key.and_then(|key| self.senders.get(key)).cloned().unwrap_or_else(|| Identity {
            name: self.name.clone(),
            verzeichnisdienst: None,
            kennung: None,
        })
    }

    /// What `parameter()` says in a script, the more particular over the more general: the mapping's defaults,
    /// the tenant's `[parameter]`, the tenant's overlay of this mapping, the target's.
    pub fn parameters(&self, mapping: &LoadedMapping, target: &RouteTarget) -> Arc<BTreeMap<String, String>> {
        let mut all = mapping.parameters.clone();
        for layer in [&*self.parameters, &mapping.overlay_parameters, &target.parameters] {
            all.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Arc::new(all)
    }
}
