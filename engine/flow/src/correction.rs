// SPDX-License-Identifier: EUPL-1.2
//! Corrections of applicants' data: a person lays another value over one of the document, with a reason. The document
//! stays byte for byte as it came; processing and a new mapping run read it through its corrections.

use kop_core::{
    Diagnostic, Eingang, Feld, FeldPfad, Inhalt,
    eingang::Person,
    feld::{FeldTyp, Fund, finde},
};
use kop_store::CorrectionRecord;

use crate::variation;

/// Sections outside the form's fields whose values can be corrected, as reads name them.
const PERSONS: [&str; 2] = ["@antragsteller/", "@vertretene_person/"];

/// Longest value.
const MAX_VALUE: usize = 10_000;

/// Lays corrections over a document, in their order: of two for one field the later one counts.
pub fn apply(eingang: &mut Eingang, corrections: &[CorrectionRecord]) {
    for one in corrections {
        set(eingang, &one.path, &one.after);
    }
}

/// Whether a value may be laid over a document (with its earlier corrections applied); gives what it holds now.
/// `new`: the field need not be there.
///
/// # Errors
/// KOP-F033: there is no such field, the path does not lead to a value, or the value is not of the field's type.
pub fn check(eingang: &Eingang, path: &str, value: &str, new: bool) -> Result<Option<String>, Diagnostic> {
    let refuse =
        |de: String, en: String| Diagnostic::new("KOP-F033", de, en).with_field(path, None).with_value(value);
    if value.chars().count() > MAX_VALUE || value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(refuse(
            "Der neue Wert ist zu lang oder enthält Steuerzeichen.".into(),
            "The new value is too long or has control characters.".into(),
        ));
    }
    let before = match person_entry(path) {
        Some((section, name)) => {
            let person =
                if section == PERSONS[0] { &eingang.antragsteller } else { &eingang.vertretene_person };
            let entries = serde_json::to_value(person).unwrap_or_default();
            let mut probe = entries.clone();
            if !probe.is_object() {
                probe = serde_json::json!({});
            }
            probe[name] = value.into();
            // A member that the person does not have would be lost on the way back.
            let kept = serde_json::from_value::<Person>(probe)
                .is_ok_and(|person| serde_json::to_value(person).is_ok_and(|back| back[name] == value));
            if !kept {
                return Err(no_field(&refuse));
            }
            entries[name].as_str().map(str::to_owned)
        }
        None => field(eingang, path, value, &refuse)?,
    };
    if before.is_none() && !new {
        return Err(no_field(&refuse).with_hint(
            "Den Pfad zeigt „kop messages show“. Ein Feld, das der Antrag nicht hat, ergänzt --neu.",
        ));
    }
    // Adding is tried, so that a path through a value is refused now and not when it is processed.
    let mut probe = eingang.clone();
    if set(&mut probe, path, value) { Ok(before) } else { Err(no_field(&refuse)) }
}

fn no_field(refuse: &dyn Fn(String, String) -> Diagnostic) -> Diagnostic {
    refuse("Diesen Wert hat der Antrag nicht.".into(), "The submission has no such value.".into())
}

/// What a form field holds now, when the new value fits its type.
fn field(
    eingang: &Eingang,
    path: &str,
    value: &str,
    refuse: &dyn Fn(String, String) -> Diagnostic,
) -> Result<Option<String>, Diagnostic> {
    let parsed: FeldPfad = path.parse().map_err(|_| {
        refuse("Das ist kein Pfad eines Feldes.".into(), "This is no path of a field.".into())
    })?;
    let held = match finde(&eingang.form_data, &parsed) {
        None => return Ok(None),
        Some(Fund::Feld(Feld { inhalt: Inhalt::Wert(held), .. })) => held,
        Some(_) => {
            return Err(refuse(
                "Das ist eine Gruppe; korrigiert wird ein einzelner Wert.".into(),
                "This is a group; a single value is corrected.".into(),
            ));
        }
    };
    let (fits, wanted) = match held.typ {
        FeldTyp::Text => (true, ""),
        FeldTyp::Zahl => (kop_mapping::decimal_text(value).is_some(), "eine Zahl"),
        FeldTyp::Datum => (kop_mapping::iso_date(value).is_some(), "ein Datum"),
        FeldTyp::Wahrheit => (matches!(value, "true" | "false"), "true oder false"),
        FeldTyp::Datei => (false, "eine Datei, die hier nicht getauscht werden kann"),
    };
    if fits || value.is_empty() && held.typ != FeldTyp::Datei {
        Ok(Some(held.text.clone()))
    } else {
        Err(refuse(
            format!("Der Typ des Feldes bleibt: Es ist {wanted}."),
            "The field keeps its type, which the value does not have.".into(),
        ))
    }
}

fn person_entry(path: &str) -> Option<(&'static str, &str)> {
    PERSONS.iter().find_map(|section| path.strip_prefix(section).map(|name| (*section, name)))
}

/// Sets one value; `false` when the path does not lead to one.
fn set(eingang: &mut Eingang, path: &str, value: &str) -> bool {
    let Some((section, name)) = person_entry(path) else {
        return variation::set(&mut eingang.form_data, path, value).unwrap_or_default();
    };
    let person =
        if section == PERSONS[0] { &mut eingang.antragsteller } else { &mut eingang.vertretene_person };
    let mut entries = serde_json::to_value(person.clone().unwrap_or_default()).unwrap_or_default();
    entries[name] = value.into();
    match serde_json::from_value(entries) {
        Ok(changed) => {
            *person = Some(changed);
            true
        }
        Err(_) => false,
    }
}

/// Says of problems with a corrected field that the value is not the applicant's, and whose it is.
pub fn tell<'a>(problems: impl IntoIterator<Item = &'a mut Diagnostic>, corrections: &[CorrectionRecord]) {
    for problem in problems {
        let Some(field) = &problem.field else { continue };
        let Some(one) = corrections.iter().rev().find(|one| one.path == field.path) else { continue };
        let day = &crate::head::timestamp(one.at)[..10];
        let said = format!("Der Wert ist eine Korrektur von {} vom {day} ({}).", one.who, one.reason);
        problem.detail = Some(match problem.detail.take() {
            Some(detail) => format!("{detail} {said}"),
            None => said,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eingang() -> Eingang {
        let id = "00000000-0000-4000-8000-000000000001";
        serde_json::from_value(serde_json::json!({
            "version": 1,
            "kopf": { "mandant": "musterstadt", "eingangId": id, "vorgangId": id, "vorgangsnummer": "M-1",
                "eingangszeitpunkt": "2026-01-01T10:00:00Z", "quelle": "ozg-cloud" },
            "antragsteller": { "nachname": "Beispielsen" },
            "formData": [{ "name": "hund", "wiederholungen": [[
                { "name": "rufname", "wert": { "text": "Waldi" } },
                { "name": "wurfdatum", "wert": { "text": "2024-02-30", "typ": "datum" } },
            ]] }],
        }))
        .unwrap()
    }

    fn correction(path: &str, after: &str) -> CorrectionRecord {
        CorrectionRecord {
            seq: 1,
            at: "2026-01-02T10:00:00Z".parse().unwrap(),
            path: path.to_owned(),
            before: None,
            after: after.to_owned(),
            reason: "Anruf".to_owned(),
            who: "m.muster".to_owned(),
        }
    }

    #[test]
    fn a_correction_needs_a_value_that_is_there_and_keeps_its_type() {
        let eingang = eingang();
        let code = |path: &str, value: &str, new: bool| check(&eingang, path, value, new).map_err(|p| p.code);
        assert_eq!(code("hund[1]/rufname", "Bello", false), Ok(Some("Waldi".to_owned())));
        assert_eq!(code("hund/wurfdatum", "2024-02-29", false), Ok(Some("2024-02-30".to_owned())));
        assert_eq!(code("@antragsteller/nachname", "Muster", false), Ok(Some("Beispielsen".to_owned())));
        assert_eq!(code("hund/chip", "1", true), Ok(None));
        for (path, value, new) in [
            ("hund/wurfdatum", "gestern", false),
            ("hund/chip", "1", false),
            ("hund", "x", true),
            ("hund[2]/rufname", "x", true),
            ("hund/rufname/x", "y", true),
            ("@antragsteller/unsinn", "x", true),
            ("hund/rufname", "a\u{7}", false),
        ] {
            assert_eq!(code(path, value, new), Err("KOP-F033".to_owned()), "{path}");
        }
    }

    #[test]
    fn the_later_correction_counts_and_problems_say_whose_it_is() {
        let mut eingang = eingang();
        let all = [correction("hund/rufname", "Bello"), correction("hund/rufname", "Rex")];
        apply(&mut eingang, &all);
        assert!(serde_json::to_string(&eingang).unwrap().contains("Rex"));
        let mut problem = Diagnostic::new("KOP-M002", "", "").with_field("hund/rufname", None);
        tell([&mut problem], &all);
        assert_eq!(
            problem.detail.unwrap(),
            "Der Wert ist eine Korrektur von m.muster vom 2026-01-02 (Anruf)."
        );
    }
}
