// SPDX-License-Identifier: EUPL-1.2
//! Other valid values of the same shape: what a form field could have held instead. Knows fields and tables, not
//! what becomes of them.

use kop_core::{
    Feld, FeldPfad, Inhalt, Wert,
    path::{PathError, Step},
};
use kop_mapping::Tables;

/// Values that a field could have held instead of `text`, the likeliest to pass the script first.
pub(crate) fn others(text: &str, tables: &Tables) -> Vec<String> {
    let mut found = Vec::new();
    for name in tables.names() {
        found.extend(tables.get(name).and_then(|table| table.other_key(text)).map(str::to_owned));
    }
    found.extend(truth(text).or_else(|| date(text)));
    found.push(shifted(text));
    found.dedup();
    found.truncate(3);
    found
}

/// Values for a field that was left empty.
pub(crate) const SAMPLES: [&str; 3] = ["Muster", "2001-01-01", "1"];

fn truth(text: &str) -> Option<String> {
    let other = match text {
        "true" => "false",
        "false" => "true",
        "ja" => "nein",
        "nein" => "ja",
        "Ja" => "Nein",
        "Nein" => "Ja",
        _ => return None,
    };
    Some(other.to_owned())
}

/// Another day of the same month, in the same notation.
fn date(text: &str) -> Option<String> {
    kop_mapping::iso_date(text)?;
    let other_day = |day: &str| if day == "11" { "12" } else { "11" };
    if text.get(4..5) == Some("-") && text.get(7..8) == Some("-") {
        return Some(format!("{}{}{}", &text[..8], other_day(&text[8..10]), &text[10..]));
    }
    let (day, rest) = text.split_once('.')?;
    Some(format!("{}.{rest}", other_day(day)))
}

/// Every letter and digit moved on by one; digits never to 0, which may not begin a number.
fn shifted(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '9' => '8',
            'z' => 'y',
            'Z' => 'Y',
            '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from(c as u8 + 1),
            'ä' => 'ö',
            'ö' => 'ü',
            'ü' => 'ä',
            c => c,
        })
        .collect()
}

/// Sets the text of the field at a path, making what is missing on the way. `false` when the path leads through a
/// value, or to a repeat that is not there.
pub(crate) fn set(fields: &mut Vec<Feld>, path: &str, text: &str) -> Result<bool, PathError> {
    let path: FeldPfad = path.parse()?;
    Ok(put(fields, path.steps(), text))
}

fn put(fields: &mut Vec<Feld>, steps: &[Step], text: &str) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    let at = fields.iter().position(|field| field.name == step.name).unwrap_or_else(|| {
        let inhalt = if rest.is_empty() { Inhalt::Wert(Wert::default()) } else { Inhalt::Felder(Vec::new()) };
        fields.push(Feld { name: step.name.clone(), label: None, inhalt });
        fields.len() - 1
    });
    match (&mut fields[at].inhalt, rest.is_empty()) {
        (Inhalt::Wert(value), true) => {
            // A display text would hide the change where the script reads it.
            value.anzeige = value.anzeige.as_ref().map(|_| text.to_owned());
            text.clone_into(&mut value.text);
            true
        }
        (Inhalt::Felder(below), false) => put(below, rest, text),
        (Inhalt::Wiederholungen(repeats), false) => {
            repeats.get_mut(step.index.unwrap_or(1) - 1).is_some_and(|below| put(below, rest, text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_keep_the_shape() {
        let mut tables = Tables::new();
        tables.parse_csv("anrede", "anrede.csv", "schluessel;wert\nFrau;2\nHerr;1\n").unwrap();
        assert_eq!(others("Frau", &tables)[0], "Herr");
        let plain = Tables::new();
        assert_eq!(others("2026-11-24", &plain)[0], "2026-11-11");
        assert_eq!(others("24.11.2026", &plain)[0], "11.11.2026");
        assert_eq!(others("true", &plain)[0], "false");
        assert_eq!(others("25998", &plain)[0], "36889");
        assert_eq!(others("Thomsen", &plain)[0], "Uipntfo");
    }

    #[test]
    fn a_missing_field_is_made_where_it_belongs() {
        let mut fields = Vec::new();
        assert!(set(&mut fields, "bauherr/pers_nachname", "Muster").unwrap());
        assert!(set(&mut fields, "bauherr/pers_nachname", "Anders").unwrap());
        let text = serde_json::to_string(&fields).unwrap();
        assert!(text.contains("Anders") && !text.contains("Muster"), "{text}");
        assert!(!set(&mut fields, "bauherr/pers_nachname/x", "y").unwrap());
    }
}
