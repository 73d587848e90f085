// SPDX-License-Identifier: EUPL-1.2
//! Receivers that are reached over HTTP, and the collector that traces go to.
//!
//! This room knows the connectors' contract and the one HTTP stack. It must not know mappings, the store, or
//! how often the engine tries.

mod answer;
mod body;
mod client;
mod connector;
mod expiry;
pub mod otlp;
mod problem;
mod settings;
#[cfg(test)]
mod tests;

pub use connector::HttpKind;
pub use settings::{Anmeldung, Form, HttpSettings};
