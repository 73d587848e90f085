// SPDX-License-Identifier: EUPL-1.2
//! The mapping room: compiles and runs the Rhai scripts of a mapping (Zuordnung) and turns their value into
//! a plain tree.
//!
//! Scripts are hostile until proved otherwise: every run has limits of time, steps, depth and size, and runs
//! on a thread with a large stack of its own. The room reads no files, knows no clock and no schema; all that
//! a script may see comes in [`RunInput`].

mod bounds;
mod compiled;
mod convert;
mod engine;
mod errors;
mod functions;
mod handle;
mod host;
mod input;
mod jsonpath;
mod keys;
mod messages;
mod pool;
mod result;
mod run;
mod script;
mod tables;

pub use convert::{decimal_text, iso_date};
pub use functions::{FunctionDoc, functions, registered_names};
pub use host::{HostOptions, MappingHost};
pub use input::{FileList, FileUse, Read, RunInput, RunOutput};
pub use jsonpath::JsonPath;
pub use keys::{KeyPosition, KeyPositions};
pub use run::Reads;
pub use script::{Condition, ModuleSource, Script, ScriptSource};
pub use tables::{Table, Tables};
