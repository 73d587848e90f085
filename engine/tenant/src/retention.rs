// SPDX-License-Identifier: EUPL-1.2
//! How long a tenant keeps what: as written in `mandant.toml`, and as a question that can be answered. Knows no
//! store: what is there and what blocks a deletion is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use kop_core::sendung::Level;
use schemars::JsonSchema;
use serde::Deserialize;

/// Longest period, in days: a hundred years.
const MOST_DAYS: u32 = 36_525;

/// Aufbewahrung und Löschung. Ohne Frist wird nichts gelöscht.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AufbewahrungDatei {
    /// Tage nach dem Eingang, nach denen die Inhalte gelöscht werden: Dokument, Dateien, Sendungen.
    #[schemars(range(min = 1, max = 36525))]
    pub inhalte_tage: Option<u32>,
    /// Tage nach dem Eingang, nach denen auch der Rest gelöscht wird: Vorgang, Zustellungen, Verlauf. So lange wird ein
    /// Antrag wiedererkannt, der noch einmal kommt.
    #[schemars(range(min = 1, max = 36525))]
    pub metadaten_tage: Option<u32>,
    /// Andere Fristen danach, wie es ausging.
    pub zustand: BTreeMap<Ausgang, FristDatei>,
}

/// Aufbewahrung und Löschung für einen Weg; was hier fehlt, gilt wie beim Mandanten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WegAufbewahrungDatei {
    /// Tage nach dem Eingang, nach denen die Inhalte gelöscht werden: Dokument, Dateien, Sendungen.
    #[schemars(range(min = 1, max = 36525))]
    pub inhalte_tage: Option<u32>,
    /// Tage nach dem Eingang, nach denen auch der Rest gelöscht wird.
    #[schemars(range(min = 1, max = 36525))]
    pub metadaten_tage: Option<u32>,
    /// Andere Fristen danach, wie es ausging.
    pub zustand: BTreeMap<Ausgang, FristDatei>,
    /// Empfänger, deren Quittung da sein muss, bevor etwas gelöscht wird.
    pub loeschen_erst: Vec<QuittungDatei>,
}

/// Fristen für einen Ausgang.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FristDatei {
    /// Tage nach dem Eingang, nach denen die Inhalte gelöscht werden.
    #[schemars(range(min = 1, max = 36525))]
    pub inhalte_tage: Option<u32>,
    /// Tage nach dem Eingang, nach denen auch der Rest gelöscht wird.
    #[schemars(range(min = 1, max = 36525))]
    pub metadaten_tage: Option<u32>,
}

/// Wie es mit einem Eingang ausging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ausgang {
    /// Alle Empfänger haben ihre Sendung.
    Zugestellt,
    /// Wenigstens ein Empfänger hat abgelehnt.
    Abgewiesen,
    /// Jemand hat entschieden, dass nichts (mehr) zugestellt wird.
    Geklaert,
}

/// Eine Quittung, die da sein muss.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum QuittungDatei {
    /// Empfänger; übergeben genügt.
    Empfaenger(String),
    /// Empfänger und wie weit die Quittung reichen muss.
    Stufe(QuittungStufeDatei),
}

/// Empfänger und wie weit die Quittung reichen muss.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuittungStufeDatei {
    /// Empfänger nach seinem Namen in `[empfaenger.*]`.
    pub empfaenger: String,
    /// `uebergeben`, `transportiert`, `empfangen` oder `angenommen`.
    #[schemars(with = "StufeSchema")]
    pub stufe: Level,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[allow(dead_code)] // only its schema is used: core's type has none
enum StufeSchema {
    Uebergeben,
    Transportiert,
    Empfangen,
    Angenommen,
}

impl QuittungDatei {
    /// Receiver and level.
    pub fn parts(&self) -> (&str, Level) {
        match self {
            Self::Empfaenger(receiver) => (receiver, Level::Uebergeben),
            Self::Stufe(both) => (&both.empfaenger, both.stufe),
        }
    }
}

/// A tenant's periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    tenant: AufbewahrungDatei,
    routes: BTreeMap<String, WegAufbewahrungDatei>,
}

/// What holds for one submission. `None`: it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Periods {
    /// Days after receipt until its contents go.
    pub contents: Option<u32>,
    /// Days after receipt until the rest goes.
    pub metadata: Option<u32>,
    /// Receivers whose receipt must be there, and how far it must go.
    pub demands: BTreeSet<(String, Level)>,
}

impl Retention {
    /// The periods of a tenant and its routes.
    pub fn new(tenant: AufbewahrungDatei, routes: BTreeMap<String, WegAufbewahrungDatei>) -> Self {
        Self { tenant, routes }
    }

    /// What holds for a submission that took these routes: of several the longest period, and all demands.
    pub fn periods(&self, routes: &[String], outcome: Ausgang) -> Periods {
        let none = WegAufbewahrungDatei::default();
        let of: Vec<_> = routes.iter().map(|name| self.routes.get(name).unwrap_or(&none)).collect();
        let of = if of.is_empty() { vec![&none] } else { of };
        let all = |pick: fn(FristDatei) -> Option<u32>| {
            // `None` is the longest of all: kept.
            let days: Option<Vec<u32>> = of.iter().map(|route| self.days(route, outcome, pick)).collect();
            days.and_then(|days| days.into_iter().max())
        };
        let contents = all(|period| period.inhalte_tage);
        Periods {
            contents,
            // Never before the contents.
            metadata: all(|period| period.metadaten_tage)
                .and_then(|days| contents.map(|other| days.max(other))),
            demands: of
                .iter()
                .flat_map(|route| &route.loeschen_erst)
                .map(QuittungDatei::parts)
                .map(|(receiver, level)| (receiver.to_owned(), level))
                .collect(),
        }
    }

    /// The more particular first: the route's own by outcome, the route's, the tenant's by outcome, the tenant's.
    fn days(
        &self,
        route: &WegAufbewahrungDatei,
        outcome: Ausgang,
        pick: fn(FristDatei) -> Option<u32>,
    ) -> Option<u32> {
        let of = |inhalte_tage, metadaten_tage| FristDatei { inhalte_tage, metadaten_tage };
        let layers = [
            route.zustand.get(&outcome).copied().unwrap_or_default(),
            of(route.inhalte_tage, route.metadaten_tage),
            self.tenant.zustand.get(&outcome).copied().unwrap_or_default(),
            of(self.tenant.inhalte_tage, self.tenant.metadaten_tage),
        ];
        layers.into_iter().find_map(pick)
    }

    /// The shortest period of contents and of the rest that can hold for anything: nothing younger has to be looked at.
    pub fn shortest(&self) -> (Option<u32>, Option<u32>) {
        let mut all = vec![FristDatei {
            inhalte_tage: self.tenant.inhalte_tage,
            metadaten_tage: self.tenant.metadaten_tage,
        }];
        all.extend(self.tenant.zustand.values());
        for route in self.routes.values() {
            let (inhalte_tage, metadaten_tage) = (route.inhalte_tage, route.metadaten_tage);
            all.push(FristDatei { inhalte_tage, metadaten_tage });
            all.extend(route.zustand.values());
        }
        let least = |pick: fn(&FristDatei) -> Option<u32>| all.iter().filter_map(pick).min();
        (least(|period| period.inhalte_tage), least(|period| period.metadaten_tage))
    }
}

/// Whether days are within bounds and contents go no later than the rest.
pub(crate) fn sensible(inhalte_tage: Option<u32>, metadaten_tage: Option<u32>) -> bool {
    let bounds = |days: u32| (1..=MOST_DAYS).contains(&days);
    inhalte_tage.is_none_or(bounds)
        && metadaten_tage.is_none_or(bounds)
        && metadaten_tage.is_none_or(|rest| inhalte_tage.is_none_or(|contents| contents <= rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention(tenant: &str, routes: &[(&str, &str)]) -> Retention {
        Retention::new(
            toml::from_str(tenant).unwrap(),
            routes.iter().map(|(name, text)| ((*name).to_owned(), toml::from_str(text).unwrap())).collect(),
        )
    }

    #[test]
    fn the_more_particular_period_holds_and_of_several_routes_the_longest() {
        let kept = retention(
            "inhalte_tage = 90\nmetadaten_tage = 700\nzustand.abgewiesen = { inhalte_tage = 30 }",
            &[
                (
                    "Bau",
                    "inhalte_tage = 400\nloeschen_erst = [\"dms\", { empfaenger = \"amt\", stufe = \"empfangen\" }]",
                ),
                ("Hund", "zustand.abgewiesen = { inhalte_tage = 10 }"),
            ],
        );
        let days = |routes: &[&str], outcome| {
            let names: Vec<String> = routes.iter().map(|&name| name.to_owned()).collect();
            let periods = kept.periods(&names, outcome);
            (periods.contents, periods.metadata)
        };
        assert_eq!(days(&[], Ausgang::Geklaert), (Some(90), Some(700)));
        assert_eq!(days(&["Unbekannt"], Ausgang::Abgewiesen), (Some(30), Some(700)));
        assert_eq!(days(&["Hund"], Ausgang::Abgewiesen), (Some(10), Some(700)));
        assert_eq!(
            days(&["Bau"], Ausgang::Abgewiesen),
            (Some(400), Some(700)),
            "the route is closer than the outcome"
        );
        assert_eq!(days(&["Hund", "Bau"], Ausgang::Zugestellt), (Some(400), Some(700)));
        assert_eq!(kept.shortest(), (Some(10), Some(700)));
        let demands = kept.periods(&["Bau".into()], Ausgang::Zugestellt).demands;
        let expected = [("amt".to_owned(), Level::Empfangen), ("dms".to_owned(), Level::Uebergeben)];
        assert_eq!(demands, expected.into());
    }

    #[test]
    fn without_a_period_everything_is_kept() {
        let names = ["Bau".to_owned(), "Hund".to_owned()];
        assert_eq!(Retention::default().periods(&names, Ausgang::Zugestellt), Periods::default());
        let one = retention("", &[("Bau", "inhalte_tage = 5\nmetadaten_tage = 9")]);
        assert_eq!(one.periods(&names, Ausgang::Zugestellt), Periods::default(), "the other route keeps it");
        let rest_only = retention("metadaten_tage = 5", &[]);
        assert_eq!(
            rest_only.periods(&[], Ausgang::Zugestellt).metadata,
            None,
            "contents never outlive the rest"
        );
    }
}
