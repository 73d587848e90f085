// SPDX-License-Identifier: EUPL-1.2
//! The fields of a form as a tree that keeps what the vendor sent: raw names, labels, codes, types, repeats.

use serde::{Deserialize, Serialize};

use crate::path::FeldPfad;

/// One field, group or repeat of the form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Feld {
    /// Raw name, with blanks, umlauts, dots and typing errors as sent.
    pub name: String,
    /// What the citizen saw beside the field, where the vendor sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the field holds.
    #[serde(flatten)]
    pub inhalt: Inhalt,
}

/// What a field holds. A group that can repeat is always a list of repeats, also when there is just one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Inhalt {
    /// A single value.
    Wert(Wert),
    /// Fields below this one, in the order of the form.
    Felder(Vec<Feld>),
    /// Repeats of a group: a list of lists of fields.
    Wiederholungen(Vec<Vec<Feld>>),
}

/// A value with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Wert {
    /// Lexical form as sent: `1.10` stays `1.10`. Empty when the citizen left the field empty. For a choice
    /// that came as a code this is the code.
    pub text: String,
    /// Display text of a choice, where the vendor sends it beside the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anzeige: Option<String>,
    /// Type as the vendor says; a hint only, since "Keine Angabe" stands in date fields too.
    #[serde(default, skip_serializing_if = "FeldTyp::is_text")]
    pub typ: FeldTyp,
    /// Currency or unit, where the vendor sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub einheit: Option<String>,
    /// For an upload: number of the attachment (from 0) in the document's `anlagen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anlage: Option<usize>,
}

/// What the vendor says a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeldTyp {
    /// Text, or unknown.
    #[default]
    Text,
    /// A number in its lexical form.
    Zahl,
    /// A date or time in the vendor's form.
    Datum,
    /// `true` or `false`.
    Wahrheit,
    /// An upload.
    Datei,
}

impl FeldTyp {
    /// Whether this is the default that JSON leaves out.
    #[allow(clippy::trivially_copy_pass_by_ref)] // the shape serde's attribute demands
    pub fn is_text(&self) -> bool {
        *self == Self::Text
    }
}

impl Feld {
    /// A field with a value.
    pub fn wert(name: impl Into<String>, label: Option<String>, wert: Wert) -> Self {
        Self { name: name.into(), label, inhalt: Inhalt::Wert(wert) }
    }

    /// A group.
    pub fn gruppe(name: impl Into<String>, label: Option<String>, felder: Vec<Self>) -> Self {
        Self { name: name.into(), label, inhalt: Inhalt::Felder(felder) }
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Fund<'a> {
    /// A whole field, group or repeated group.
    Feld(&'a Feld),
    /// One repeat out of a repeated group.
    Eintrag(&'a Feld, &'a [Feld]),
}

/// Follows a path from a list of fields. A step into a repeated group without a number takes its first
/// repeat. `None` when the form sent no such field.
pub fn finde<'a>(felder: &'a [Feld], pfad: &FeldPfad) -> Option<Fund<'a>> {
    let mut ebene = felder;
    let mut fund = None;
    for (n, step) in pfad.steps().iter().enumerate() {
        let feld = ebene.iter().find(|feld| feld.name == step.name)?;
        let last = n + 1 == pfad.steps().len();
        let (next, found) = match (&feld.inhalt, step.index) {
            (Inhalt::Wiederholungen(eintraege), None) if last => {
                (eintraege.first().map_or(&[][..], Vec::as_slice), Fund::Feld(feld))
            }
            (Inhalt::Wiederholungen(eintraege), index) => {
                let eintrag = eintraege.get(index.unwrap_or(1) - 1)?;
                (eintrag.as_slice(), Fund::Eintrag(feld, eintrag))
            }
            (_, Some(index)) if index > 1 => return None,
            (Inhalt::Felder(unter), _) => (unter.as_slice(), Fund::Feld(feld)),
            (Inhalt::Wert(_), _) => (&[][..], Fund::Feld(feld)),
        };
        ebene = next;
        fund = Some(found);
    }
    fund
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, text: &str) -> Feld {
        Feld::wert(name, None, Wert { text: text.into(), ..Wert::default() })
    }

    fn text_at(felder: &[Feld], pfad: &str) -> Option<String> {
        match finde(felder, &pfad.parse().unwrap())? {
            Fund::Feld(Feld { inhalt: Inhalt::Wert(wert), .. }) => Some(wert.text.clone()),
            _ => None,
        }
    }

    #[test]
    fn one_repeat_and_many_are_reached_alike() {
        let flurstueck = |n: &str| vec![leaf("zaehler", n)];
        let form = vec![Feld::gruppe(
            "grundstueck",
            None,
            vec![Feld {
                name: "flurstueck".into(),
                label: None,
                inhalt: Inhalt::Wiederholungen(vec![flurstueck("12"), flurstueck("13")]),
            }],
        )];
        assert_eq!(text_at(&form, "grundstueck/flurstueck/zaehler").as_deref(), Some("12"));
        assert_eq!(text_at(&form, "grundstueck[1]/flurstueck[2]/zaehler").as_deref(), Some("13"));
        assert_eq!(text_at(&form, "grundstueck/flurstueck[3]/zaehler"), None);
        assert_eq!(text_at(&form, "grundstueck[2]/flurstueck"), None);
    }

    #[test]
    fn json_keeps_raw_names_and_lexical_numbers() {
        let feld = Feld::wert(
            "Betrag in €.1",
            Some("Betrag".into()),
            Wert { text: "1.10".into(), typ: FeldTyp::Zahl, einheit: Some("EUR".into()), ..Wert::default() },
        );
        let json = serde_json::to_value(&feld).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"name": "Betrag in €.1", "label": "Betrag",
                "wert": {"text": "1.10", "typ": "zahl", "einheit": "EUR"}})
        );
        assert_eq!(serde_json::from_value::<Feld>(json).unwrap(), feld);
    }
}
