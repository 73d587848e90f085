// SPDX-License-Identifier: EUPL-1.2
//! XML for XÖV messages: reads schema packages, writes a mapped tree in the order and name spaces that the
//! schema demands, and lets libxml2 judge the bytes.
//!
//! The room knows neither mappings nor tenants nor receivers; what it takes is a [`kop_core::Tree`] and what
//! it gives is bytes and [`kop_core::Diagnostic`]s that name elements of the message.

mod advice;
mod any;
mod archive;
mod arrange;
mod attributes;
mod cache;
mod checks;
mod codelist;
mod coding;
mod content;
mod files;
mod genericode;
mod import;
mod inventory;
mod judge;
mod known;
mod libxml2;
mod licence;
mod message;
mod model;
mod outline;
mod package;
mod parse;
mod paths;
mod plan;
mod read;
mod service;
pub mod shape;
mod simple;
mod store;
mod text;
mod value;
mod write;
mod xsd;

pub use cache::{DEFAULT_SCHEMA_MEMORY, SchemaMemory};
pub use codelist::ListInfo;
pub use files::Held;
pub use import::ImportReport;
pub use inventory::{AttributeFacts, ChildFacts, Inventory, ListFacts, TextFacts, TypeFacts};
pub use licence::LicenceInfo;
pub use message::{MessageSchema, WriteOptions, Written};
pub use package::{MessageInfo, Package, PackageInfo, RuleFile};
pub use paths::Paths;
pub use service::{OperationInfo, PartyInfo, ServiceInfo};
pub use simple::{Bounds, SimpleKind, SimpleShape};
pub use store::SchemaStore;
