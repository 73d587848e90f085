// SPDX-License-Identifier: EUPL-1.2
//! The mapping room: what scripts of a mapping (Zuordnung) look things up in. So far tables with a tenant's
//! overlay, and JSONPath conditions. The script host is being built in the files beside that no `mod` line
//! names yet (`handle`, `run`, `result`, `errors`, `messages`, `convert`, `input`); see CONTRIBUTING.md.
//!
//! The room reads no files, knows no clock and no schema.

#[allow(dead_code)] // most of the limits are the script host's
mod bounds;
mod jsonpath;
#[allow(dead_code)] // look-ups are the script host's
mod tables;

pub use jsonpath::JsonPath;
pub use tables::{Table, Tables};
