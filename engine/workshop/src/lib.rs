// SPDX-License-Identifier: EUPL-1.2
//! What authors of mappings use: a payload read without storing anything, a mapping run on it, and the tests
//! beside a mapping. Everything runs through the flow's own executor, so a test cannot behave unlike
//! production.

pub mod case;
pub mod compare;
pub mod coverage;
pub mod difference;
pub mod payload;
pub mod preview;
pub mod schema_diff;
pub mod selftest;

pub use case::{Case, CaseForms, CaseReport, Verdict, cases, run_case};
pub use payload::{Doors, read_payload};
pub use preview::Preview;
