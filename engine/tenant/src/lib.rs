// SPDX-License-Identifier: EUPL-1.2
//! The tenants' configuration: typed, documented, checked. So far the shape of a mapping's manifest; reading
//! and checking whole tenants is written in the files beside that no `mod` line names yet: they are
//! joined next; see CONTRIBUTING.md.

pub mod manifest;
