// SPDX-License-Identifier: EUPL-1.2
//! Sources that are asked for their payloads (`[quelle.NAME]`): what the file says, its check, and the checked form.
//! Telling such a source that it may let go is a delivery, so it is a receiver too.

use std::sync::Arc;

use kop_core::{LanePolicy, RetrySchedule, Stage, settle::lane_of_source};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    check::Check,
    generation::{Identity, Receiver},
};

/// Settings that every kind has, beside its own.
const COMMON: [&str; 2] = ["art", "wiederholung"];

/// Most sources of one tenant; each is asked all the time.
const MAX_SOURCES: usize = 100;

/// A source to be asked.
#[derive(Debug)]
pub struct PullSource {
    /// Its name, as in `[quelle.NAME]`.
    pub name: String,
    /// Name of the kind.
    pub kind: String,
    /// Settings of the kind, without `art` and `wiederholung`; checked by it.
    pub settings: Arc<Value>,
    /// Itself as whoever is told that a payload may go.
    pub receiver: Arc<Receiver>,
}

/// The prefix of the kinds of receivers that sources are.
pub const SOURCE_KIND: &str = "quelle:";

impl PullSource {
    /// A source whose settings passed the check.
    pub(crate) fn new(name: &str, written: &Map<String, Value>, stage: Stage) -> Self {
        let kind = art(written).unwrap_or_default().to_owned();
        let settings = Arc::new(settings(written));
        let receiver = Receiver {
            key: lane_of_source(name),
            identity: Identity {
                name: format!("Quelle „{name}“"), verzeichnisdienst: None, kennung: None
            },
            service: None,
            stage,
            kind: format!("{SOURCE_KIND}{kind}"),
            settings: settings.clone(),
            retry: schedule(written).unwrap_or_default(),
            lane: LanePolicy::default(),
        };
        Self { name: name.to_owned(), kind, settings, receiver: Arc::new(receiver) }
    }
}

fn art(written: &Map<String, Value>) -> Option<&str> {
    written.get("art").and_then(Value::as_str)
}

fn settings(written: &Map<String, Value>) -> Value {
    let own = written.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn schedule(written: &Map<String, Value>) -> Result<RetrySchedule, serde_json::Error> {
    written.get("wiederholung").map_or_else(|| Ok(RetrySchedule::default()), RetrySchedule::deserialize)
}

impl Check<'_> {
    /// The sources to be asked.
    pub(crate) fn pulls(&mut self) {
        if self.read.quelle.len() > MAX_SOURCES {
            self.fail(
                "KOP-K013",
                &["quelle"],
                format!("Mehr als {MAX_SOURCES} Quellen."),
                format!("More than {MAX_SOURCES} sources."),
            );
        }
        let formats: Vec<&str> = self.ctx.registry.intakes.iter().map(|intake| intake.source()).collect();
        for (name, written) in &self.read.quelle {
            let keys = ["quelle", name.as_str()];
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
                self.fail(
                    "KOP-K008",
                    &keys,
                    "Der Name einer Quelle besteht aus Kleinbuchstaben, Ziffern und Bindestrichen (höchstens 63)."
                        .into(),
                    "A source's name consists of lower-case letters, digits and hyphens (at most 63).".into(),
                );
            }
            let kinds = self.ctx.registry.sources;
            let known = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            if let Some(kind) = kinds.iter().find(|kind| Some(kind.name()) == art(written)) {
                let found = kind.check(&settings(written), &formats);
                self.setting_problems(&keys, found);
            } else {
                let named = art(written).is_some();
                let place: &[&str] = if named { &["quelle", name, "art"] } else { &keys };
                let art = art(written).unwrap_or_default();
                let (de, en) = if named {
                    (
                        format!("Die Art „{art}“ einer Quelle gibt es nicht."),
                        format!("There is no kind of source \"{art}\"."),
                    )
                } else {
                    (
                        format!("Für die Quelle „{name}“ fehlt die Art."),
                        format!("The source \"{name}\" lacks its kind."),
                    )
                };
                let problem = self.at("KOP-K005", place, de, en);
                self.problems.push(problem.with_hint(format!("Möglich sind: {known}")));
            }
            match schedule(written) {
                Ok(schedule) => {
                    for (setting, de, en) in clocks(&schedule) {
                        self.fail("KOP-K008", &["quelle", name, "wiederholung", setting], de, en);
                    }
                }
                Err(error) => {
                    let problem = kop_connector_api::SettingProblem {
                        path: "wiederholung".to_owned(),
                        de: kop_connector_api::serde_in_german(&error.to_string())
                            .unwrap_or_else(|| "Die Einstellung ist nicht lesbar".to_owned()),
                        en: error.to_string(),
                    };
                    self.setting_problems(&keys, vec![problem]);
                }
            }
        }
    }

    /// Whether payloads of a format can come in, pushed or asked for.
    pub(crate) fn comes_in(&self, format: &str) -> bool {
        let brings = |written: &Map<String, Value>| {
            let kind = self.ctx.registry.sources.iter().find(|kind| Some(kind.name()) == art(written));
            kind.is_some_and(|kind| kind.brings(&settings(written)).iter().any(|one| one == format))
        };
        self.read.eingang.contains_key(format) || self.read.quelle.values().any(brings)
    }
}

/// Contradictions of a schedule, with the setting each is in.
pub(crate) fn clocks(schedule: &RetrySchedule) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    if schedule.versuche == 0 {
        let (de, en) = ("Mindestens ein Versuch ist nötig.", "At least one attempt is needed.");
        found.push(("versuche", de.to_owned(), en.to_owned()));
    }
    if schedule.aufgeben_nach_s <= schedule.melden_nach_s {
        let de = "Aufgegeben wird erst, nachdem jemand davon erfahren hat: aufgeben_nach_s muss größer sein als \
                  melden_nach_s.";
        let en = "aufgeben_nach_s must be greater than melden_nach_s.";
        found.push(("aufgeben_nach_s", de.to_owned(), en.to_owned()));
    }
    found
}
