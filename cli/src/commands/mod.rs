// SPDX-License-Identifier: EUPL-1.2
//! One file per command.

pub(crate) mod doors;
pub(crate) mod explain;
pub(crate) mod schema;
