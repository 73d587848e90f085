// SPDX-License-Identifier: EUPL-1.2
//! Formats that are no XÖV: a Fachverfahren's CSV or JSON, and the index of a plain folder.

pub mod ablage;
pub mod csv;
pub mod json;
