// SPDX-License-Identifier: EUPL-1.2
//! When a source that was asked for its payloads is told that it may let go of one, and under which name it is told:
//! settling is a delivery like any other, with the source as its receiver.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What must have happened to a submission before its source is told; later ones include the earlier ones.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(
    description = "gespeichert: der Antrag ist gespeichert; geprueft: alle Sendungen sind erzeugt und gültig; zugestellt: alle sind wenigstens übergeben; quittiert: alle Empfänger haben den Empfang bestätigt."
)]
pub enum SettleAt {
    /// The submission is stored.
    #[default]
    Gespeichert,
    /// Every message that its routes asked for exists and is valid.
    Geprueft,
    /// Every message was handed over at least ([`crate::sendung::Level::Uebergeben`]).
    Zugestellt,
    /// Every receiver says at least that it has its message ([`crate::sendung::Level::Empfangen`]).
    Quittiert,
}

impl SettleAt {
    /// Every value, the earliest first.
    pub const ALL: [Self; 4] = [Self::Gespeichert, Self::Geprueft, Self::Zugestellt, Self::Quittiert];

    /// The word, as stored, configured and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gespeichert => "gespeichert",
            Self::Geprueft => "geprueft",
            Self::Zugestellt => "zugestellt",
            Self::Quittiert => "quittiert",
        }
    }
}

impl fmt::Display for SettleAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The word names no moment of settling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {0:?}")]
pub struct NotAMoment(String);

impl FromStr for SettleAt {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| NotAMoment(text.chars().take(40).collect()))
    }
}

/// Lanes of sources begin with this; no receiver's name does.
pub const SOURCE_LANE: &str = "quelle:";

/// The lane, and the receiver's name, under which a source is told.
pub fn lane_of_source(source: &str) -> String {
    format!("{SOURCE_LANE}{source}")
}

/// The source that a lane belongs to; `None` for a receiver's lane.
pub fn source_of_lane(lane: &str) -> Option<&str> {
    lane.strip_prefix(SOURCE_LANE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_configuration_and_come_in_order() {
        for one in SettleAt::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        assert!(SettleAt::ALL.is_sorted());
        assert_eq!(source_of_lane(&lane_of_source("formulare")), Some("formulare"));
        assert_eq!(source_of_lane("bauaufsicht"), None);
    }
}
