// SPDX-License-Identifier: EUPL-1.2
//! The machine's clock and source of ids: the one place where either is asked; everything else is handed them.

use kop_core::{Clock, IdSource, Zeitpunkt};

/// The machine's clock.
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    #[allow(clippy::disallowed_methods)] // this is the place that the ban points to
    fn now(&self) -> Zeitpunkt {
        Zeitpunkt::now()
    }
}

/// Random ids that sort by their time (UUIDv7, RFC 9562 section 5.7), so that indexes grow at their end.
pub(crate) struct TimeOrderedIds;

impl IdSource for TimeOrderedIds {
    #[allow(clippy::disallowed_methods)] // this is the place that the ban points to
    fn next(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }
}
