// SPDX-License-Identifier: EUPL-1.2
//! How values are written into columns, the same in every store.

use kop_core::clock::Zeitpunkt;
use serde::Serialize;

use crate::{error::StoreError, steps::NewSubmission};

/// Lines of one submission up to which repeats are noted; a sender that never stops must not fill the disk.
pub(crate) const NOTED_EVENTS: i64 = 1000;

/// The number that sender and clerk quote.
pub(crate) fn vorgangsnummer(new: &NewSubmission, number: u32) -> String {
    format!("{}-{:04}-{number:06}", new.number_prefix, new.number_year)
}

/// A moment as it is stored.
pub(crate) fn micros(at: Zeitpunkt) -> i64 {
    at.as_microsecond()
}

/// A moment to the exactness in which it is stored.
pub(crate) fn exact(at: Zeitpunkt) -> Zeitpunkt {
    Zeitpunkt::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// The end of a lease.
pub(crate) fn after(now: Zeitpunkt, time: std::time::Duration) -> Zeitpunkt {
    exact(now.checked_add(time).unwrap_or(Zeitpunkt::MAX))
}

/// A span of time as it is stored.
pub(crate) fn span(time: std::time::Duration) -> i64 {
    // A century, so that no sum with a moment leaves its range.
    const LONGEST: i64 = 100 * 365 * 24 * 3600 * 1_000_000;
    i64::try_from(time.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

/// JSON for a column.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Document(error.to_string()))
}

/// A one-word enum of core that serde names.
pub(crate) fn word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    Ok(json(value)?.trim_matches('"').to_owned())
}
