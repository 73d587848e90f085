// SPDX-License-Identifier: EUPL-1.2
//! XML for XÖV messages: reads schema packages, writes a mapped tree in the order and name spaces that the
//! schema demands, and lets libxml2 judge the bytes.
//!
//! The room knows neither mappings nor tenants nor receivers; what it takes is a [`kop_core::Tree`] and what
//! it gives is bytes and [`kop_core::Diagnostic`]s that name elements of the message.

pub mod api;

pub use api::*;
