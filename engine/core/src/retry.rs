// SPDX-License-Identifier: EUPL-1.2
//! When to try again. The schedule is a pure function of the attempt number, so that the store can keep the
//! next moment and a restart changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exponential backoff with a bound on the pause and on the number of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(description = "Wiederholung mit wachsendem Abstand, bis zu einer Grenze.")]
pub struct RetrySchedule {
    /// Pause before the second attempt, in seconds.
    #[schemars(description = "Pause vor dem zweiten Versuch, in Sekunden; danach jeweils doppelt so lang.")]
    pub erste_pause_s: u64,
    /// Longest pause, in seconds.
    #[schemars(description = "Längste Pause, in Sekunden.")]
    pub laengste_pause_s: u64,
    /// Attempts in all; after the last one the delivery becomes a Klärungsfall.
    #[schemars(description = "Versuche insgesamt; nach dem letzten wird die Zustellung ein Klärungsfall.")]
    pub versuche: u32,
    /// After so long without delivery a Klärungsfall tells a person, while attempts go on; in seconds.
    #[schemars(
        description = "Nach so vielen Sekunden ohne Zustellung erfährt es jemand durch einen Klärungsfall; versucht wird weiter."
    )]
    pub melden_nach_s: u64,
    /// After so long no further attempt is made, and the delivery becomes a Klärungsfall; in seconds.
    #[schemars(
        description = "Nach so vielen Sekunden gibt es keinen weiteren Versuch; die Zustellung wird ein Klärungsfall."
    )]
    pub aufgeben_nach_s: u64,
}

impl Default for RetrySchedule {
    /// 10 s doubling up to 1 h for three days, so that a weekend of maintenance is bridged; a person knows after four
    /// hours.
    fn default() -> Self {
        Self {
            erste_pause_s: 10,
            laengste_pause_s: 3600,
            versuche: 100,
            melden_nach_s: 4 * 3600,
            aufgeben_nach_s: 72 * 3600,
        }
    }
}

impl RetrySchedule {
    /// The pause after attempt number `attempt` (from 1), or `None` when no attempt is left. `spread` in
    /// 0.0..1.0 shifts the pause between 75 % and 100 %, so that many deliveries do not return at once.
    pub fn pause_after(&self, attempt: u32, spread: f64) -> Option<Duration> {
        if attempt >= self.versuche {
            return None;
        }
        let doubled = self.erste_pause_s.saturating_mul(1_u64 << attempt.saturating_sub(1).min(32));
        // A pause beyond a year would be a mistake of the configuration, and keeps the sum within range.
        let pause = Duration::from_secs(doubled.min(self.laengste_pause_s).min(365 * 24 * 3600));
        Some(pause.mul_f64(0.75 + 0.25 * spread.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_ends() {
        let schedule = RetrySchedule {
            erste_pause_s: 10,
            laengste_pause_s: 60,
            versuche: 5,
            ..RetrySchedule::default()
        };
        let pauses: Vec<_> = (1..6).map(|n| schedule.pause_after(n, 1.0).map(|p| p.as_secs())).collect();
        assert_eq!(pauses, [Some(10), Some(20), Some(40), Some(60), None]);
        assert_eq!(schedule.pause_after(1, 0.0), Some(Duration::from_millis(7500)));
        assert!(RetrySchedule { versuche: u32::MAX, ..schedule }.pause_after(4_000_000, 1.0).is_some());
    }
}
