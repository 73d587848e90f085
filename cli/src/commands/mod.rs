// SPDX-License-Identifier: EUPL-1.2
//! One file per command.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod data;
pub(crate) mod doors;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod map;
pub(crate) mod messages;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod submit;
