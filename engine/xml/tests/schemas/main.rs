// SPDX-License-Identifier: EUPL-1.2
//! Tests of the XML room through its public face, linked once.

mod codes;
mod common;
mod equal;
mod forms;
mod hostile;
mod official;
mod own;
mod roundtrip;
mod stream;
