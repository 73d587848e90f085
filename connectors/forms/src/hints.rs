// SPDX-License-Identifier: EUPL-1.2
//! What German municipal forms say by the names of their fields, whatever vendor built them: the applicant
//! by the AFM names (`pers_nachname` …), consents, Organisationseinheit.

use kop_core::{
    Feld, FeldTyp, Inhalt,
    eingang::{Einwilligung, Person, ZustaendigeStelle},
};

/// Deepest nesting of fields that is looked at; readers accept no deeper one.
const MAX_DEPTH: usize = 64;

/// A leaf's text by its raw name in any case of letters; `None` when it is absent or empty.
fn leaf<'a>(fields: &'a [Feld], name: &str) -> Option<&'a str> {
    fields.iter().find_map(|field| match &field.inhalt {
        Inhalt::Wert(wert) if field.name.to_lowercase() == name => {
            Some(wert.text.trim()).filter(|text| !text.is_empty())
        }
        _ => None,
    })
}

/// The applicant from the group that describes it: the AFM group `antragsteller`, any group that uses its
/// names, or a group whose name begins with "Antragstell" and that uses plain names.
pub(crate) fn applicant(fields: &[Feld]) -> Option<Person> {
    let groups = || {
        fields.iter().filter_map(|field| match &field.inhalt {
            Inhalt::Felder(inner) => Some((field.name.to_lowercase(), inner.as_slice())),
            _ => None,
        })
    };
    let group = groups()
        .find(|(name, _)| name == "antragsteller")
        .or_else(|| groups().find(|(_, inner)| leaf(inner, "pers_nachname").is_some()))
        .or_else(|| groups().find(|(name, _)| name.starts_with("antragstell")))?
        .1;
    // An address often is a group of its own inside.
    let mut levels = vec![group];
    levels.extend(group.iter().filter_map(|field| match &field.inhalt {
        Inhalt::Felder(inner) => Some(inner.as_slice()),
        _ => None,
    }));
    let find = |names: &[&str]| {
        names.iter().find_map(|name| levels.iter().find_map(|level| leaf(level, name))).map(str::to_owned)
    };
    let person = Person {
        anrede: find(&["pers_anrede", "anrede"]),
        titel: find(&["pers_titel", "titel"]),
        vorname: find(&["pers_vorname", "vorname"]),
        nachname: find(&["pers_nachname", "nachname", "familienname"]),
        geburtsname: find(&["pers_geburtsname", "geburtsname"]),
        geburtsdatum: find(&["pers_geburtsdatum", "geburtsdatum"]),
        geburtsort: find(&["pers_geburtsort", "geburtsort"]),
        firma: find(&["firma", "firmenname", "firma_name"]),
        strasse: find(&["sh_strasse", "strasse", "straße"]),
        hausnummer: find(&["sh_hausnummer", "hausnummer"]),
        plz: find(&["sh_plz", "plz"]),
        ort: find(&["ort"]),
        land: find(&["land"]),
        email: find(&["kont_email", "email", "e-mail"]),
        telefon: find(&["kont_telefonnummer", "kont_mobilnummer", "telefon", "telefonnummer"]),
    };
    (person != Person::default()).then_some(person)
}

/// Fills what the envelope leaves open from fields at the top of the form.
pub(crate) fn authority(fields: &[Feld], authority: &mut ZustaendigeStelle) {
    let digits = |name: &str, length: usize| {
        leaf(fields, name)
            .filter(|text| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
            .map(str::to_owned)
    };
    if authority.organisationseinheit.is_none() {
        authority.organisationseinheit = leaf(fields, "organisationseinheitenid").map(str::to_owned);
    }
    if authority.ags.is_none() {
        authority.ags = digits("ags", 8);
    }
    if authority.ars.is_none() {
        authority.ars = digits("ars", 12);
    }
}

/// Truth values whose names speak of data protection or consent.
pub(crate) fn consents(fields: &[Feld]) -> Vec<Einwilligung> {
    let mut found = Vec::new();
    collect_consents(fields, 0, &mut found);
    found
}

fn collect_consents(fields: &[Feld], depth: usize, found: &mut Vec<Einwilligung>) {
    if depth > MAX_DEPTH {
        return;
    }
    for field in fields {
        match &field.inhalt {
            Inhalt::Wert(wert) if wert.typ == FeldTyp::Wahrheit => {
                let name = field.name.to_lowercase();
                if ["datenschutz", "einwilligung", "zustimmung"].iter().any(|word| name.contains(word)) {
                    found.push(Einwilligung {
                        name: field.name.clone(),
                        text: field.label.clone(),
                        erteilt: wert.text == "true",
                    });
                }
            }
            Inhalt::Wert(_) => {}
            Inhalt::Felder(inner) => collect_consents(inner, depth + 1, found),
            Inhalt::Wiederholungen(entries) => {
                for entry in entries {
                    collect_consents(entry, depth + 1, found);
                }
            }
        }
    }
}

/// Turns groups of the same name beside each other into repeats of one group, at the place of the first.
pub(crate) fn gather_repeats(fields: Vec<Feld>) -> Vec<Feld> {
    let mut counts = std::collections::HashMap::new();
    for field in fields.iter().filter(|field| matches!(field.inhalt, Inhalt::Felder(_))) {
        *counts.entry(field.name.clone()).or_insert(0_usize) += 1;
    }
    let mut places = std::collections::HashMap::new();
    let mut gathered: Vec<Feld> = Vec::with_capacity(fields.len());
    for field in fields {
        match field.inhalt {
            Inhalt::Felder(inner) if counts.get(&field.name).is_some_and(|count| *count > 1) => {
                let place = *places.entry(field.name.clone()).or_insert(gathered.len());
                match gathered.get_mut(place).map(|first| &mut first.inhalt) {
                    Some(Inhalt::Wiederholungen(entries)) => entries.push(inner),
                    _ => gathered.push(Feld {
                        name: field.name,
                        label: field.label,
                        inhalt: Inhalt::Wiederholungen(vec![inner]),
                    }),
                }
            }
            inhalt => gathered.push(Feld { inhalt, ..field }),
        }
    }
    gathered
}
