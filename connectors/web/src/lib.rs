// SPDX-License-Identifier: EUPL-1.2
//! Receivers that are reached over HTTP.
//!
//! This room knows the connectors' contract and the one HTTP stack. It must not know mappings, the store, or
//! how often the engine tries.

mod answer;
mod body;
mod connector;
mod expiry;
mod problem;
mod settings;
#[cfg(test)]
mod tests;

pub use connector::HttpKind;
pub use settings::{Anmeldung, Form, HttpSettings};
