// SPDX-License-Identifier: EUPL-1.2
//! The way of a submission through the engine: accept → normalise → route → map → write → validate → deliver.
//!
//! So far the formats that are no XÖV. The steps themselves are written in the files beside that no `mod` line
//! names yet: they wait for the tenants' generations; see CONTRIBUTING.md.
//! This room names no vendor and no connector; the binary hands both in as registry slices.

pub mod target;
