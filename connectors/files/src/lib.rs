// SPDX-License-Identifier: EUPL-1.2
//! Receivers that take files: a folder on a disk or a network drive, plain or packed into a container.
//!
//! This room knows the connectors' contract and the file system. It must not know networks, mappings, or how
//! often the engine tries.

mod connector;
mod container;
mod disk;
mod handover;
mod problem;
mod settings;
mod template;
#[cfg(test)]
mod tests;

pub use connector::FolderKind;
pub use settings::{Container, FolderSettings};
