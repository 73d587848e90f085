// SPDX-License-Identifier: EUPL-1.2
//! The form vendors: for each a folder with its HTTP intake (takes a request apart while it arrives) and its
//! adapter (turns the parts into the internal document).
//!
//! This room knows `connectors/api` and nothing of stores, routes or mappings. What vendors have in common
//! (metered bodies, files on their way into the blob store, careful XML reading) lies beside the folders.

mod credentials;
mod hints;
pub mod intelliform;
mod media_type;
pub mod ozg_cloud;
mod problem;
mod upload;
mod xml;
