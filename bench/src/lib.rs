// SPDX-License-Identifier: EUPL-1.2
//! What the benchmarks share: one example instance in memory, a fair clock, and a loop on bare libxml2 to stand
//! beside.

pub mod instance;
pub mod libxml2;
pub mod load;
pub mod measure;
pub mod prepared;
pub mod program;
pub mod rhai;

/// Whatever goes wrong in a benchmark, said as text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
