// SPDX-License-Identifier: EUPL-1.2
//! The way of a submission through the engine: accept → normalise → route → map → write → validate → deliver.
//!
//! [`Engine`] holds what every step needs; [`accept`] is the door for intakes, [`process`] makes messages of a
//! stored submission once [`scan`] has looked at its files, [`deliver`] brings them to their receivers, [`worker`] keeps both going. [`sources`]
//! runs what has to be asked for payloads. [`mod@compose`] is
//! the one executor of mappings: production, `kop map run` and `kop map test` all use it.
//!
//! This room names no vendor and no connector; the binary hands both in as registry slices.

pub mod accept;
pub mod archive;
pub mod blobs;
pub mod compose;
pub mod correction;
pub mod deliver;
pub mod drift;
pub mod engine;
pub mod head;
pub mod housekeeping;
mod insist;
pub mod lineage;
pub mod metrics;
#[cfg(feature = "mutants")]
mod mutant;
pub mod process;
pub mod remap;
pub mod retention;
pub mod scan;
mod settle;
pub mod sources;
pub mod target;
mod trace;
mod variation;
pub mod wake;
pub mod worker;

pub use accept::Reception;
pub use archive::MappingArchive;
pub use compose::{ComposeInput, Composed, ComposedPart, PartContent, compose};
pub use drift::TestedForms;
pub use engine::{Engine, EngineParts};
pub use housekeeping::{HousekeepingOptions, keep_house};
pub use metrics::Metrics;
pub use scan::ScannerState;
pub use sources::run_sources;
pub use wake::{Bell, Wakes};
pub use worker::{Worker, WorkerOptions};

/// Version of the engine, pinned by every message.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");
