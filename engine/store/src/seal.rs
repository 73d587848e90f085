// SPDX-License-Identifier: EUPL-1.2
//! Encryption at rest. Every sealed value or file has a data key of its own, which is wrapped with a key of its
//! tenant; a new tenant key only wraps the data keys anew, and without any tenant key nothing can be read any more.
//!
//! This module knows bytes and keys. What is sealed is decided in [`store`] (rows) and `crate::blob` (files); the
//! stores below know nothing of it.

mod keys;
pub mod store;
mod stream;
mod value;

pub use keys::{Keyring, Keys, NoKeys, TenantKey};
pub use store::SealedStore;
pub(crate) use stream::{HEADER, Opener, Sealer, rewrap_header, sealed_len};
