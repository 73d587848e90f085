// SPDX-License-Identifier: EUPL-1.2
//! The advisory locks, in one place so that no two mean different things. They belong to the database, so two
//! instances need two databases.

/// Held while the schema is migrated.
pub(super) const MIGRATION: i64 = 0x4b4f_5000_0000_0001;

/// First half of the two-part lock that a serving process holds for its number as long as it lives.
pub(super) const PROCESS: i32 = 0x4b4f_5002;

/// Seeds of the locks that are named by a text: one submission's key, one lane, the order of one tenant.
pub(super) const IDEMPOTENCY: i64 = 0x4b4f_5003;
pub(super) const LANE: i64 = 0x4b4f_5004;
pub(super) const ORDER: i64 = 0x4b4f_5005;
