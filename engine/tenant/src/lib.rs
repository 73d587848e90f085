// SPDX-License-Identifier: EUPL-1.2
//! The configuration room: reads instance, tenants and mappings from their folders, checks them, and holds
//! each tenant's current [`Generation`].
//!
//! It opens no connection, reads no secret and runs no mapping. It names no connector: kinds and intakes
//! come in a [`Registry`].

mod check;
mod condition;
mod config;
mod encryption;
mod folder;
mod generation;
mod german;
mod instance;
mod keeping;
mod load;
mod manifest;
mod mapping;
mod operation;
mod pull;
mod retention;
mod schema;
mod service;
mod source;
mod tenants;

use std::sync::Arc;

use kop_connector_api::{ConnectorKind, HttpIntake, SourceKind};
use kop_mapping::MappingHost;
use kop_xml::ServiceInfo;

pub use condition::RouteCondition;
pub use config::{
    CodeMitVersion, EmpfaengerDatei, IdentitaetDatei, MandantDatei, Organisationseinheit, RouteDatei,
    WennDatei, ZielDatei,
};
pub use encryption::{SchluesselDatei, VerschluesselungDatei, tenant_keys};
pub use generation::{Generation, Identity, LoadedMapping, Origin, Receiver, Route, RouteTarget};
pub use instance::{InstanceConfig, ScannerConfig, TraceConfig};
pub use load::{load_tenant, tenant_folders};
pub use manifest::{Csv, Kopf, Manifest, Target, Zeichensatz};
pub use mapping::{CandidateFolders, load_archived, load_candidate, load_mapping, mapping_names};
pub use operation::{AlarmDatei, LogFormat, MailTls, RueckstauDatei};
pub use pull::{PullSource, SOURCE_KIND};
pub use retention::{
    AufbewahrungDatei, Ausgang, FristDatei, Periods, QuittungDatei, QuittungStufeDatei, Retention,
    WegAufbewahrungDatei,
};
pub use schema::{instance_schema, mandant_schema, mapping_schema};
pub use tenants::Tenants;

/// The kinds of doors that the binary has.
#[derive(Clone, Copy)]
pub struct Registry<'a> {
    /// Intakes by HTTP.
    pub intakes: &'a [Arc<dyn HttpIntake>],
    /// Kinds of receivers.
    pub kinds: &'a [Arc<dyn ConnectorKind>],
    /// Kinds of sources that are asked for their payloads.
    pub sources: &'a [Arc<dyn SourceKind>],
}

/// The name space of a message: standard, version, root element; nothing when no schema package has it.
pub type MessageNamespace<'a> = &'a (dyn Fn(&str, &str, &str) -> Option<String> + Sync);

/// What loading needs beside the folder itself.
#[derive(Clone, Copy)]
pub struct LoadContext<'a> {
    /// The kinds of doors.
    pub registry: Registry<'a>,
    /// Compiles scripts and conditions.
    pub host: &'a Arc<MappingHost>,
    /// Whether a message's schema is there, and in which name space.
    pub message_namespace: MessageNamespace<'a>,
    /// DVDV services that the schema packages describe.
    pub services: &'a [ServiceInfo],
}
