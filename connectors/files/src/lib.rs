// SPDX-License-Identifier: EUPL-1.2
//! Receivers that take files: a folder on a disk or a network drive, plain or packed into a container; and a folder
//! that is asked for applications.
//!
//! This room knows the connectors' contract and the file system. It must not know networks, mappings, or how
//! often the engine tries.

mod connector;
mod container;
mod disk;
mod handover;
mod problem;
mod settings;
mod source;
mod template;
#[cfg(test)]
mod tests;

pub use connector::FolderKind;
pub use settings::{Container, FolderSettings};
pub use source::{After, Finished, FolderSourceKind, FolderSourceSettings};
