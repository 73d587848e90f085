// SPDX-License-Identifier: EUPL-1.2
//! Time as a dependency: rooms ask a [`Clock`], never the machine.

use std::sync::Mutex;

/// A moment on the time line; serialises as RFC 3339 in UTC.
pub type Zeitpunkt = jiff::Timestamp;

/// Tells the time. The binary injects the machine's clock, tests a [`FixedClock`].
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Zeitpunkt;
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct FixedClock(Mutex<Zeitpunkt>);

impl FixedClock {
    /// A clock that shows `at`.
    pub fn at(at: Zeitpunkt) -> Self {
        Self(Mutex::new(at))
    }

    /// Moves the clock forward.
    ///
    /// # Panics
    /// When the moment leaves the range that [`Zeitpunkt`] can hold.
    pub fn advance(&self, by: std::time::Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.checked_add(by).expect("a test clock stays within range");
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Zeitpunkt {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
