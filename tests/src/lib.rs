// SPDX-License-Identifier: EUPL-1.2
//! What the end-to-end tests share: the real binary on a copied example, real-format payloads, and judges
//! that are not ours.
//!
//! Knows the program only from outside: its command line, its HTTP doors, the files it writes.

pub mod clamd;
pub mod disk;
pub mod forms;
pub mod inputs;
pub mod instance;
pub mod otlp;
pub mod rabbitmq;
pub mod schematron;
pub mod shared;
pub mod smtp;

pub use disk::Disk;
pub use instance::{Instance, Server, wait_until};
pub use otlp::otlp;
pub use rabbitmq::Rabbitmq;
pub use schematron::schematron;
pub use shared::{shared, workspace};

/// Whatever goes wrong in a test, said as text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
