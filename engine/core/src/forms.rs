// SPDX-License-Identifier: EUPL-1.2
//! Which fields a form has: what a mapping was tested with, and how a submission differs from it (form drift). Knows
//! names and labels only; whether a field is filled is no difference.

use std::collections::{BTreeMap, HashMap};

use crate::{Feld, FeldPfad, Inhalt, path::Step};

/// Most fields of one form that are looked at.
const MAX_FIELDS: usize = 5_000;
/// Deepest nesting that is looked at.
const MAX_DEPTH: usize = 64;

/// One field as a form has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// What the citizen saw.
    pub label: Option<&'a str>,
    /// Whether any repeat of it is filled.
    pub filled: bool,
}

/// A form's fields that hold values, by their path without numbers of repeats.
pub fn leaves(form: &[Feld]) -> BTreeMap<String, Seen<'_>> {
    let mut found: BTreeMap<String, Seen<'_>> = BTreeMap::new();
    let mut stack: Vec<(String, usize, &[Feld])> = vec![(String::new(), 0, form)];
    while let Some((above, depth, fields)) = stack.pop() {
        for field in fields {
            if found.len() >= MAX_FIELDS || depth >= MAX_DEPTH {
                return found;
            }
            let path = below(&above, &field.name);
            match &field.inhalt {
                Inhalt::Wert(value) => {
                    let label = field.label.as_deref();
                    let filled = !value.text.trim().is_empty() || value.anlage.is_some();
                    found.entry(path).or_insert(Seen { label, filled: false }).filled |= filled;
                }
                Inhalt::Felder(inner) => stack.push((path, depth + 1, inner)),
                Inhalt::Wiederholungen(repeats) => {
                    stack.extend(repeats.iter().map(|inner| (path.clone(), depth + 1, inner.as_slice())));
                }
            }
        }
    }
    found
}

fn below(above: &str, name: &str) -> String {
    let plain = !name.is_empty() && !name.contains(['/', '[', ']', '"']);
    let quoted;
    let name = if plain {
        name
    } else {
        quoted = FeldPfad::from_steps(vec![Step { name: name.to_owned(), index: None }]).to_string();
        &quoted
    };
    if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
}

/// The group that a field stands in; `None` for a field of the form itself.
fn holder(path: &str) -> Option<String> {
    if !path.contains('"') {
        return path.rsplit_once('/').map(|(above, _)| above.to_owned());
    }
    let steps = path.parse::<FeldPfad>().ok()?.steps().to_vec();
    let (_, above) = steps.split_last()?;
    (!above.is_empty()).then(|| FeldPfad::from_steps(above.to_vec()).to_string())
}

/// The forms that a mapping's test cases hold, by the vendor's form id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownForms(HashMap<String, KnownForm>);

/// One form: its fields with the number of whole test payloads that have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KnownForm {
    payloads: usize,
    fields: HashMap<String, Known>,
    /// By the form's version: whole payloads, and how many of them have which field.
    versions: BTreeMap<String, (usize, HashMap<String, usize>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    label: Option<String>,
    payloads: usize,
}

/// A field by its path without numbers, and its label.
pub type Named = (String, Option<String>);

/// Most versions of one form that are kept apart.
const MAX_VERSIONS: usize = 200;

/// How a submission's form differs from the one that was tested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Fields that no test payload of this form has.
    pub unknown: Vec<Named>,
    /// Fields that every whole test payload of this form has and the submission lacks, although what they stand in is
    /// there. Where the submission's version of the form was tested, only payloads of that version are asked.
    pub gone: Vec<Named>,
    /// The form's versions that were tested, sorted as text; empty where no test payload names one.
    pub tested: Vec<String>,
}

impl KnownForms {
    /// Takes in a test payload, with the form's version where it names one. One that is not `whole` (made to fail) adds fields, but may lack others.
    pub fn add(&mut self, form_id: &str, version: Option<&str>, form: &[Feld], whole: bool) {
        let known = self.0.entry(form_id.to_owned()).or_default();
        known.payloads += usize::from(whole);
        let room = known.versions.len() < MAX_VERSIONS;
        let mut own = version
            .filter(|version| room || known.versions.contains_key(*version))
            .map(|version| known.versions.entry(version.to_owned()).or_default());
        if let Some((payloads, _)) = &mut own {
            *payloads += usize::from(whole);
        }
        for (path, seen) in leaves(form) {
            if let Some((_, fields)) = &mut own {
                *fields.entry(path.clone()).or_default() += usize::from(whole);
            }
            let field = known.fields.entry(path).or_default();
            field.payloads += usize::from(whole);
            field.label = field.label.take().or_else(|| seen.label.map(str::to_owned));
        }
    }

    /// How a submission's form differs; nothing when no test payload has this form.
    pub fn drift(&self, form_id: &str, version: Option<&str>, form: &[Feld]) -> Drift {
        let Some(known) = self.0.get(form_id) else { return Drift::default() };
        let now = leaves(form);
        let mut drift = Drift {
            unknown: now
                .iter()
                .filter(|(path, _)| !known.fields.contains_key(*path))
                .map(|(path, seen)| (path.clone(), seen.label.map(str::to_owned)))
                .collect(),
            gone: Vec::new(),
            tested: known.versions.keys().cloned().collect(),
        };
        let own = version.and_then(|version| known.versions.get(version)).filter(|own| own.0 > 0);
        let holder_is_there = |path: &str| match holder(path) {
            None => true,
            Some(above) => {
                let above = format!("{above}/");
                now.range(above.clone()..).next().is_some_and(|(next, _)| next.starts_with(&above))
            }
        };
        for (path, field) in &known.fields {
            let always = match own {
                Some((payloads, fields)) => fields.get(path) == Some(payloads),
                None => known.payloads > 0 && field.payloads == known.payloads,
            };
            if always && !now.contains_key(path) && holder_is_there(path) {
                drift.gone.push((path.clone(), field.label.clone()));
            }
        }
        drift.gone.sort_unstable();
        drift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wert;

    fn leaf(name: &str, text: &str) -> Feld {
        Feld::wert(name, Some(name.to_uppercase()), Wert { text: text.into(), ..Wert::default() })
    }

    fn repeated(name: &str, repeats: Vec<Vec<Feld>>) -> Feld {
        Feld { name: name.into(), label: None, inhalt: Inhalt::Wiederholungen(repeats) }
    }

    fn named(found: &[Named]) -> Vec<&str> {
        found.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn each_version_of_a_form_has_its_own_fields() {
        let mut known = KnownForms::default();
        known.add("hund", Some("1"), &[leaf("ort", ""), leaf("fax", "")], true);
        known.add("hund", Some("2"), &[leaf("ort", ""), leaf("chip", "")], true);
        let gone = |version: Option<&str>, form: &[Feld]| {
            let drift = known.drift("hund", version, form);
            assert_eq!(drift.tested, ["1", "2"]);
            named(&drift.gone).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let form = [leaf("ort", ""), leaf("chip", "")];
        assert!(gone(Some("2"), &form).is_empty());
        assert_eq!(gone(Some("1"), &form), ["fax"]);
        assert!(gone(Some("3"), &form).is_empty() && gone(None, &form).is_empty());
        assert_eq!(gone(Some("3"), &[leaf("chip", "")]), ["ort"]);
    }

    #[test]
    fn new_fields_and_missing_ones_are_told_apart_from_empty_groups() {
        let mut known = KnownForms::default();
        let hund = |name: &str| vec![leaf("rufname", name), leaf("rasse", "")];
        known.add(
            "hund",
            None,
            &[leaf("ort", "A"), leaf("a/b", ""), repeated("hund", vec![hund("Rex"), hund("")])],
            true,
        );
        known.add(
            "hund",
            None,
            &[leaf("ort", ""), leaf("a/b", ""), leaf("telefon", "1"), repeated("hund", vec![hund("x")])],
            true,
        );

        known.add("hund", None, &[leaf("fax", "")], false);

        let same = [leaf("ort", ""), leaf("a/b", "x"), repeated("hund", vec![])];
        assert_eq!(known.drift("hund", None, &same), Drift::default());
        assert_eq!(known.drift("katze", None, &[leaf("neu", "")]), Drift::default());

        let changed = [leaf("ort", ""), repeated("hund", vec![vec![leaf("rufname", ""), leaf("chip", "1")]])];
        let drift = known.drift("hund", None, &changed);
        assert_eq!(named(&drift.unknown), ["hund/chip"]);
        assert_eq!(named(&drift.gone), ["\"a/b\"", "hund/rasse"]);
        assert_eq!(drift.unknown[0].1.as_deref(), Some("CHIP"));
    }
}
