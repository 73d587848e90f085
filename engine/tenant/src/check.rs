// SPDX-License-Identifier: EUPL-1.2
//! Checks what a tenant's settings say: forms of keys, doors that exist, receivers that may be reached,
//! routes that can be taken. Touches nothing but memory.

use std::collections::BTreeMap;

use std::collections::BTreeSet;

use kop_connector_api::SettingProblem;
use kop_core::{
    Diagnostic,
    diagnostic::Severity,
    lane::LONGEST_ATTEMPT,
    settle::{SOURCE_LANE, source_of_lane},
};
use serde_json::Value;

use crate::{
    LoadContext,
    config::{EmpfaengerDatei, MandantDatei},
    pull::clocks,
    source::SourceFile,
};

/// Names of settings that hold secrets in every connector that we know of.
const SECRET_NAMES: [&str; 6] = ["passwort", "password", "token", "geheimnis", "secret", "api_key"];
/// Routes, receivers, senders or targets of one tenant.
const MAX_ITEMS: usize = 1_000;

/// A tenant's settings under check.
pub(crate) struct Check<'a> {
    pub(crate) read: &'a MandantDatei,
    pub(crate) file: &'a SourceFile,
    pub(crate) ctx: &'a LoadContext<'a>,
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Problems of mappings, by the mapping's name.
    pub(crate) faulty: BTreeMap<String, Vec<Diagnostic>>,
}

impl Check<'_> {
    /// A problem at a setting.
    pub(crate) fn at(&self, code: &str, keys: &[&str], de: String, en: String) -> Diagnostic {
        Diagnostic::new(code, de, en).with_place(self.file.place(keys))
    }

    pub(crate) fn fail(&mut self, code: &str, keys: &[&str], de: String, en: String) {
        let problem = self.at(code, keys, de, en);
        self.problems.push(problem);
    }

    /// Everything that does not need the mappings.
    pub(crate) fn settings(&mut self) {
        self.keys_of_places();
        self.intakes();
        self.pulls();
        self.identities();
        self.receivers();
        self.routes();
        self.keeping();
        self.encryption();
        self.literal_secrets();
    }

    fn keys_of_places(&mut self) {
        for (list, values, digits) in [("ags", &self.read.ags, 8), ("ars", &self.read.ars, 12)] {
            for (n, value) in values.iter().enumerate() {
                if value.len() != digits || !value.bytes().all(|b| b.is_ascii_digit()) {
                    self.fail(
                        "KOP-K008",
                        &[list, &n.to_string()],
                        format!("{}: Ein Schlüssel hat {digits} Ziffern.", list.to_uppercase()),
                        format!("{}: A key has {digits} digits.", list.to_uppercase()),
                    );
                }
            }
        }
        if self.read.name.trim().is_empty() {
            self.fail("KOP-K008", &["name"], "Der Name ist leer.".into(), "The name is empty.".into());
        }
        let counts = [self.read.route.len(), self.read.empfaenger.len(), self.read.absender.len()];
        if counts.iter().any(|&count| count > MAX_ITEMS) {
            self.fail(
                "KOP-K013",
                &[],
                format!("Mehr als {MAX_ITEMS} Wege, Empfänger oder Absender."),
                format!("More than {MAX_ITEMS} routes, receivers or senders."),
            );
        }
    }

    fn intakes(&mut self) {
        for (source, settings) in &self.read.eingang {
            let intakes = self.ctx.registry.intakes;
            if let Some(intake) = intakes.iter().find(|intake| intake.source() == source) {
                let found = intake.check(settings);
                self.setting_problems(&["eingang", source], found);
            } else {
                let known: Vec<&str> = intakes.iter().map(|intake| intake.source()).collect();
                let problem = self
                    .at(
                        "KOP-K005",
                        &["eingang", source],
                        format!("Den Eingang „{source}“ gibt es nicht."),
                        format!("There is no intake \"{source}\"."),
                    )
                    .with_hint(format!("Möglich sind: {}", known.join(", ")));
                self.problems.push(problem);
            }
        }
    }

    fn identities(&mut self) {
        let all = self
            .read
            .absender
            .iter()
            .map(|(key, sender)| ("absender", key, &sender.kennung, &sender.name))
            .chain(self.read.empfaenger.iter().map(|(key, to)| ("empfaenger", key, &to.kennung, &to.name)));
        for (table, key, kennung, name) in all.collect::<Vec<_>>() {
            if let Some(kennung) = kennung
                && !is_kennung(kennung)
            {
                let problem = self
                    .at(
                        "KOP-K008",
                        &[table, key, "kennung"],
                        "Die Kennung hat nicht die Form: drei Kleinbuchstaben, Doppelpunkt, Nummer.".into(),
                        "The Kennung is not of the form: three lower-case letters, colon, number.".into(),
                    )
                    .with_hint(
                        "Zum Beispiel bab:01056039 (Bauaufsichtsbehörde) oder bap:000000000001 (Bauportal).",
                    );
                self.problems.push(problem);
            }
            if name.trim().is_empty() {
                self.fail(
                    "KOP-K008",
                    &[table, key, "name"],
                    "Der Name ist leer.".into(),
                    "The name is empty.".into(),
                );
            }
        }
    }

    fn receivers(&mut self) {
        for (key, receiver) in &self.read.empfaenger {
            if source_of_lane(key).is_some() {
                self.fail(
                    "KOP-K008",
                    &["empfaenger", key],
                    format!("Der Name eines Empfängers beginnt nicht mit „{SOURCE_LANE}“."),
                    format!("A receiver's name does not begin with \"{SOURCE_LANE}\"."),
                );
            }
            let keys = ["empfaenger", key.as_str(), "zustellung"];
            let kinds = self.ctx.registry.kinds;
            let known = || kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            let art = receiver.zustellung.get("art").and_then(Value::as_str);
            if let Some(kind) = kinds.iter().find(|kind| Some(kind.name()) == art) {
                let found = kind.check(&settings_of(&receiver.zustellung));
                self.setting_problems(&keys, found);
            } else if let Some(art) = art {
                let problem = self
                    .at(
                        "KOP-K005",
                        &[keys[0], keys[1], keys[2], "art"],
                        format!("Die Zustellart „{art}“ gibt es nicht."),
                        format!("There is no kind of delivery \"{art}\"."),
                    )
                    .with_hint(format!("Möglich sind: {}", known()));
                self.problems.push(problem);
            } else {
                let problem = self
                    .at(
                        "KOP-K005",
                        &keys,
                        format!("Für den Empfänger „{key}“ fehlt die Zustellart."),
                        format!("The receiver \"{key}\" lacks its kind of delivery."),
                    )
                    .with_hint(format!("art = \"…\" ergänzen; möglich sind: {}", known()));
                self.problems.push(problem);
            }
            self.clocks(key, receiver);
        }
    }

    /// Clocks that contradict each other would surprise whoever set them.
    fn clocks(&mut self, key: &str, receiver: &EmpfaengerDatei) {
        let EmpfaengerDatei { wiederholung, bahn, .. } = receiver;
        for (setting, de, en) in clocks(wiederholung) {
            self.fail("KOP-K008", &["empfaenger", key, "wiederholung", setting], de, en);
        }
        let longest = LONGEST_ATTEMPT.as_secs();
        if !(1..=longest).contains(&bahn.frist_s) {
            self.fail(
                "KOP-K008",
                &["empfaenger", key, "bahn", "frist_s"],
                format!("Ein Versuch dauert mindestens 1 und höchstens {longest} Sekunden."),
                format!("An attempt takes at least 1 and at most {longest} seconds."),
            );
        }
    }

    pub(crate) fn setting_problems(&mut self, keys: &[&str], found: Vec<SettingProblem>) {
        for problem in found {
            let mut path: Vec<&str> = keys.to_vec();
            path.extend(problem.path.split('.').filter(|step| !step.is_empty()));
            // serde names the setting only in its sentence; where that setting is written, point at it.
            if problem.path.is_empty()
                && let Some(name) = problem.en.split('`').nth(1)
            {
                path.push(name);
            }
            let mut place = self.file.place(&path);
            if problem.en.contains("secret") {
                place.snippet = None;
            }
            let sentence = |text: &str| format!("{}.", text.trim_end_matches('.'));
            self.problems.push(
                Diagnostic::new("KOP-K006", sentence(&problem.de), sentence(&problem.en)).with_place(place),
            );
        }
    }

    fn routes(&mut self) {
        let mut names = BTreeSet::new();
        for (n, route) in self.read.route.iter().enumerate() {
            let n = n.to_string();
            if route.name.trim().is_empty() || !names.insert(route.name.as_str()) {
                self.fail(
                    "KOP-K003",
                    &["route", &n, "name"],
                    format!("Den Weg „{}“ gibt es schon; jeder braucht einen eigenen Namen.", route.name),
                    format!("There is another route \"{}\"; each needs a name of its own.", route.name),
                );
            }
            if route.ziel.is_empty() {
                self.fail(
                    "KOP-K004",
                    &["route", &n, "ziel"],
                    format!("Der Weg „{}“ hat kein Ziel.", route.name),
                    format!("The route \"{}\" has no target.", route.name),
                );
            }
            for (m, target) in route.ziel.iter().enumerate() {
                let m = m.to_string();
                let keys = |last| ["route", n.as_str(), "ziel", m.as_str(), last];
                if target.empfaenger.is_empty() {
                    self.fail(
                        "KOP-K004",
                        &keys("empfaenger"),
                        format!("Ein Ziel des Wegs „{}“ nennt keinen Empfänger.", route.name),
                        format!("A target of the route \"{}\" names no receiver.", route.name),
                    );
                }
                let mut seen = BTreeSet::new();
                for key in &target.empfaenger {
                    if !seen.insert(key) {
                        self.fail(
                            "KOP-K003",
                            &keys("empfaenger"),
                            format!("Der Empfänger „{key}“ steht zweimal in einem Ziel."),
                            format!("The receiver \"{key}\" is in one target twice."),
                        );
                    }
                    self.may_be_reached(key, &keys("empfaenger"));
                }
                if let Some(sender) = &target.absender
                    && !self.read.absender.contains_key(sender)
                {
                    self.unknown("Absender", "sender", sender, &keys("absender"));
                }
            }
            self.reachable(&n, route);
        }
    }

    /// KOP-K004 with the names that exist.
    pub(crate) fn unknown(&mut self, de: &str, en: &str, name: &str, keys: &[&str]) {
        let known: Vec<&str> = match de {
            "Absender" => self.read.absender.keys().map(String::as_str).collect(),
            _ => self.read.empfaenger.keys().map(String::as_str).collect(),
        };
        let mut problem = self.at(
            "KOP-K004",
            keys,
            format!("Den {de} „{name}“ gibt es nicht."),
            format!("There is no {en} \"{name}\"."),
        );
        if !known.is_empty() {
            problem = problem.with_hint(format!("Vorhanden: {}", known.join(", ")));
        }
        self.problems.push(problem);
    }

    fn may_be_reached(&mut self, key: &str, keys: &[&str]) {
        let Some(receiver) = self.read.empfaenger.get(key) else {
            return self.unknown("Empfänger", "receiver", key, keys);
        };
        if !self.read.stufe.may_reach(receiver.stufe) {
            let stage = |stage| serde_json::to_value(stage).ok().and_then(|v| v.as_str().map(str::to_owned));
            let (own, other) =
                (stage(self.read.stufe).unwrap_or_default(), stage(receiver.stufe).unwrap_or_default());
            self.fail(
                "KOP-K007",
                keys,
                format!("Ein Mandant der Stufe {own} darf den Empfänger „{key}“ der Stufe {other} nicht erreichen."),
                format!("A tenant of stage {own} must not reach the receiver \"{key}\" of stage {other}."),
            );
        }
    }

    /// Warns of routes that no submission can take.
    fn reachable(&mut self, n: &str, route: &crate::config::RouteDatei) {
        let wenn = &route.wenn;
        let none_of = |wanted: &[String], known: &dyn Fn(&String) -> bool| {
            !wanted.is_empty() && !wanted.iter().any(known)
        };
        let always = |other: &crate::config::RouteDatei| {
            !other.sonst && other.wenn == crate::config::WennDatei::default()
        };
        let why = if route.sonst && self.read.route.iter().any(always) {
            Some((
                "sonst",
                "ein anderer Weg ohne Bedingung nimmt jeden Eingang",
                "another route takes everything",
            ))
        } else if none_of(&wenn.quelle, &|source| self.comes_in(source)) {
            Some(("wenn", "keine der Quellen ist als Eingang offen", "none of its sources is an open intake"))
        } else if !self.read.organisationseinheiten.is_empty()
            && none_of(&wenn.organisationseinheit, &|id| self.read.organisationseinheiten.contains_key(id))
        {
            Some((
                "wenn",
                "keine der Organisationseinheiten gehört zum Mandanten",
                "none of its Organisationseinheiten belongs to the tenant",
            ))
        } else if !self.read.ags.is_empty() && none_of(&wenn.ags, &|ags| self.read.ags.contains(ags)) {
            Some(("wenn", "keiner der AGS gehört zum Mandanten", "none of its AGS belongs to the tenant"))
        } else if !self.read.ars.is_empty() && none_of(&wenn.ars, &|ars| self.read.ars.contains(ars)) {
            Some(("wenn", "keiner der ARS gehört zum Mandanten", "none of its ARS belongs to the tenant"))
        } else {
            None
        };
        if let Some((key, de, en)) = why {
            let warning = self
                .at(
                    "KOP-K009",
                    &["route", n, key],
                    format!("Der Weg „{}“ wird nie genommen: {de}.", route.name),
                    format!("The route \"{}\" is never taken: {en}.", route.name),
                )
                .with_severity(Severity::Warnung);
            self.warnings.push(warning);
        }
    }

    fn literal_secrets(&mut self) {
        let mut found = Vec::new();
        for (source, settings) in &self.read.eingang {
            secrets(settings, &mut vec!["eingang".into(), source.clone()], &mut found);
        }
        for (name, settings) in &self.read.quelle {
            let settings = Value::Object(settings.clone());
            secrets(&settings, &mut vec!["quelle".into(), name.clone()], &mut found);
        }
        for (key, receiver) in &self.read.empfaenger {
            let settings = Value::Object(receiver.zustellung.clone());
            secrets(&settings, &mut vec!["empfaenger".into(), key.clone(), "zustellung".into()], &mut found);
        }
        let parameters = &self.read.parameter;
        found.extend(
            parameters
                .iter()
                .filter(|(key, value)| is_secret_name(key) && !is_reference(value))
                .map(|(key, _)| vec!["parameter".to_owned(), key.clone()]),
        );
        for path in found {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let mut place = self.file.place(&keys);
            place.snippet = None;
            // The kind's own check may have said it already, at the same line.
            if self.problems.iter().any(|p| {
                p.code == "KOP-K006"
                    && p.en.contains("secret")
                    && p.place.as_ref().is_some_and(|at| at.line == place.line)
            }) {
                continue;
            }
            self.problems.push(
                Diagnostic::new(
                    "KOP-K017",
                    "Ein Geheimnis steht als Text in der Konfiguration.",
                    "A secret is written into the configuration.",
                )
                .with_place(place)
                .with_hint("Das Geheimnis in eine Umgebungsvariable oder Datei legen und mit env:NAME oder file:PFAD nennen."),
            );
        }
    }
}

/// A connector's settings without `art`.
pub(crate) fn settings_of(zustellung: &serde_json::Map<String, Value>) -> Value {
    let mut settings = zustellung.clone();
    settings.remove("art");
    Value::Object(settings)
}

fn is_kennung(text: &str) -> bool {
    text.split_once(':').is_some_and(|(prefix, rest)| {
        prefix.len() == 3
            && prefix.bytes().all(|b| b.is_ascii_lowercase())
            && !rest.is_empty()
            && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAMES.contains(&name.to_lowercase().as_str())
}

fn is_reference(value: &str) -> bool {
    value.is_empty() || value.starts_with("env:") || value.starts_with("file:")
}

fn secrets(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                path.push(key.clone());
                if let Value::String(text) = value
                    && is_secret_name(key)
                    && !is_reference(text)
                {
                    found.push(path.clone());
                } else {
                    secrets(value, path, found);
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            for (n, value) in items.iter().enumerate() {
                path.push(n.to_string());
                secrets(value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
