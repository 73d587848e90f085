// SPDX-License-Identifier: EUPL-1.2
//! The tenants' configuration: typed, documented, checked. So far the shape of a mapping's manifest; reading
//! and checking whole tenants is being built in the files beside that no `mod` line names yet; see
//! CONTRIBUTING.md.

pub mod manifest;
