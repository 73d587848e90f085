// SPDX-License-Identifier: EUPL-1.2
//! How a receiver's lane runs: how much at once, how fast, in which order, and when it pauses because the receiver
//! does not answer. What is configured here is kept by the store, so that a restart or a second machine changes nothing.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// Longest time an attempt may take. Shorter than any lease, so that it ends before someone else may take over.
pub const LONGEST_ATTEMPT: Duration = Duration::from_secs(840);

/// The rules of one receiver's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(description = "Bahn eines Empfängers: wie viel auf einmal, wie schnell, in welcher Reihenfolge.")]
pub struct LanePolicy {
    /// Attempts under way at once.
    #[schemars(description = "Zustellungen, die zugleich laufen dürfen.")]
    pub gleichzeitig: NonZeroU32,
    /// Attempts begun per minute; `None` does not limit.
    #[schemars(
        description = "Zustellungen, die in einer Minute beginnen dürfen; ohne Angabe beliebig viele."
    )]
    pub je_minute: Option<NonZeroU32>,
    /// Longest duration of an attempt, in seconds, at most [`LONGEST_ATTEMPT`].
    #[schemars(
        description = "Längste Dauer eines Versuchs, in Sekunden (höchstens 840).",
        range(min = 1, max = 840)
    )]
    pub frist_s: u64,
    /// What must not overtake what.
    #[schemars(description = "Was einander nicht überholen darf.")]
    pub reihenfolge: Order,
    /// What a delivery that a person must look at means for those behind it.
    #[schemars(
        description = "Was mit den folgenden geschieht, wenn eine geordnete Zustellung ein Klärungsfall wird."
    )]
    pub bei_stau: WhenParked,
    /// When the lane pauses.
    #[schemars(description = "Wann die Bahn pausiert, weil der Empfänger nicht antwortet.")]
    pub unterbrechung: Breaker,
}

impl Default for LanePolicy {
    fn default() -> Self {
        Self {
            gleichzeitig: const { NonZeroU32::new(8).unwrap() },
            je_minute: None,
            frist_s: LONGEST_ATTEMPT.as_secs(),
            reihenfolge: Order::default(),
            bei_stau: WhenParked::default(),
            unterbrechung: Breaker::default(),
        }
    }
}

impl LanePolicy {
    /// Longest duration of an attempt.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.frist_s).clamp(Duration::from_secs(1), LONGEST_ATTEMPT)
    }

    /// What a claim must know.
    pub fn limits(&self) -> LaneLimits {
        LaneLimits { places: self.gleichzeitig.get(), per_minute: self.je_minute }
    }
}

/// How much of a lane may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// At most so many at a time.
    pub places: u32,
    /// At most so many begun per minute.
    pub per_minute: Option<NonZeroU32>,
}

/// What must not overtake what on the way to one receiver. Order is that of the Eingangszeitpunkt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(
    description = "keine: jede Zustellung für sich; vorgang: je Vorgang der Reihe nach; empfaenger: alle der Reihe nach."
)]
pub enum Order {
    /// Every delivery on its own.
    #[default]
    Keine,
    /// Those of one Vorgang one after another.
    Vorgang,
    /// All to the receiver one after another.
    Empfaenger,
}

/// What a delivery that ended as a Klärungsfall means for those behind it in an ordered lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(
    description = "warten: die folgenden warten, bis jemand entschieden hat; weiter: sie gehen hinaus."
)]
pub enum WhenParked {
    /// They wait until a person decided.
    #[default]
    Warten,
    /// They go on.
    Weiter,
}

/// Pauses a lane after failures in a row, then lets one attempt find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(description = "Pause nach Fehlversuchen in Folge; danach probiert es eine einzelne Zustellung.")]
pub struct Breaker {
    /// Failures in a row.
    #[schemars(description = "Fehlversuche in Folge, gleich welcher Zustellungen.")]
    pub nach_fehlern: NonZeroU32,
    /// The first pause, in seconds; each further one is twice as long.
    #[schemars(description = "Erste Pause, in Sekunden; danach jeweils doppelt so lang.")]
    pub erste_pause_s: u64,
    /// The longest pause, in seconds.
    #[schemars(description = "Längste Pause, in Sekunden.")]
    pub laengste_pause_s: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { nach_fehlern: const { NonZeroU32::new(5).unwrap() }, erste_pause_s: 30, laengste_pause_s: 600 }
    }
}

impl Breaker {
    /// The pause after the lane tripped for the `trip`-th time in a row, from 1.
    pub fn pause(&self, trip: u32) -> Duration {
        let doubled = self.erste_pause_s.saturating_mul(1_u64 << trip.saturating_sub(1).min(32));
        Duration::from_secs(doubled.min(self.laengste_pause_s).min(365 * 24 * 3600))
    }
}

/// What an attempt told about its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneHealth {
    /// Nothing: it ended for a reason of our own.
    Unknown,
    /// The receiver answers, be it with a refusal.
    Well,
    /// It does not answer as it should.
    Failing(Breaker),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let breaker = Breaker { erste_pause_s: 30, laengste_pause_s: 100, ..Breaker::default() };
        assert_eq!([1, 2, 3, 400].map(|trip| breaker.pause(trip).as_secs()), [30, 60, 100, 100]);
    }
}
