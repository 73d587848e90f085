// SPDX-License-Identifier: EUPL-1.2
//! Test, Abnahme, Produktion: what a tenant's messages may reach.

use serde::{Deserialize, Serialize};

/// The stage of a tenant or of a receiver.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[schemars(description = "Stufe eines Mandanten oder Empfängers.")]
pub enum Stage {
    /// Invented data only.
    #[schemars(description = "Nur erfundene Daten.")]
    #[default]
    Test,
    /// Acceptance by the authority before going live.
    #[schemars(description = "Abnahme durch die Behörde vor dem Echtbetrieb.")]
    Abnahme,
    /// Legal acts.
    #[schemars(description = "Rechtswirksame Vorgänge.")]
    Produktion,
}

impl Stage {
    /// Whether a tenant of this stage may send to a receiver of stage `receiver`. Only production reaches
    /// production, and production reaches nothing else: test data must not become a legal act, and a legal
    /// act must not end in a test system.
    pub fn may_reach(self, receiver: Self) -> bool {
        (self == Self::Produktion) == (receiver == Self::Produktion)
    }
}

#[cfg(test)]
mod tests {
    use super::Stage::{Abnahme, Produktion, Test};

    #[test]
    fn nothing_but_production_reaches_production() {
        assert!(Produktion.may_reach(Produktion));
        assert!(Test.may_reach(Abnahme) && Abnahme.may_reach(Test));
        for stage in [Test, Abnahme] {
            assert!(!stage.may_reach(Produktion) && !Produktion.may_reach(stage));
        }
    }
}
