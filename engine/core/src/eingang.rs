// SPDX-License-Identifier: EUPL-1.2
//! The Ablageformat: one JSON document per submission, whatever vendor it came from.
//!
//! Its JSON Schema is generated from these types (`docs/ablageformat.schema.json`); a test holds the two
//! together. Members that are not known are left out.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::Zeitpunkt,
    feld::Feld,
    ids::{SubmissionId, TenantId, VorgangId, stable_uuid},
    sendung::BlobRef,
};

/// Version of the Ablageformat written by this engine; readers refuse a greater one.
pub const ABLAGEFORMAT_VERSION: u32 = 1;

/// JSON Schema of [`Eingang`].
pub fn ablageformat_schema() -> serde_json::Value {
    schemars::schema_for!(Eingang).to_value()
}

/// One submission as the engine keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eingang {
    /// Version of this document's shape.
    pub version: u32,
    /// Who sent what, and when it was received.
    pub kopf: Kopf,
    /// The applicant, as far as the vendor says so outside the form fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub antragsteller: Option<Person>,
    /// The person represented by the applicant (Vollmacht).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertretene_person: Option<Person>,
    /// Who is responsible.
    #[serde(default)]
    pub zustaendige_stelle: ZustaendigeStelle,
    /// Account with which the applicant was logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_konto: Option<ServiceKonto>,
    /// Payment made with the form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zahlung: Option<Zahlung>,
    /// Consents given with the form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub einwilligungen: Vec<Einwilligung>,
    /// The fields of the form, in its order.
    pub form_data: Vec<Feld>,
    /// Files that the applicant uploaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anlagen: Vec<Anlage>,
    /// Renderings of the form (PDF) and the vendor's own data files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repraesentationen: Vec<Anlage>,
}

/// Who sent what, and when it was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kopf {
    /// The Mandant that received it.
    pub mandant: TenantId,
    /// This submission.
    pub eingang_id: SubmissionId,
    /// The Vorgang that it opened.
    pub vorgang_id: VorgangId,
    /// What sender and clerk quote.
    pub vorgangsnummer: String,
    /// First durable receipt; never changed afterwards.
    pub eingangszeitpunkt: Zeitpunkt,
    /// Source by its short name: `ozg-cloud`, `intelliform`.
    pub quelle: String,
    /// The vendor's own id of the submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hersteller_id: Option<String>,
    /// The form's id at the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formular_id: Option<String>,
    /// The form's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formular_name: Option<String>,
    /// The form's version, where the vendor sends one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formular_version: Option<String>,
    /// When the vendor says it was sent, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gesendet: Option<String>,
    /// Leistungsschlüssel (LeiKa), 14 digits each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leistungsschluessel: Vec<String>,
    /// Further facts that the vendor sends with the form, by their own names.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub zusatz: std::collections::BTreeMap<String, String>,
}

/// A person or organisation as the vendor's envelope or login describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // each member is named by the term of the field
pub struct Person {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anrede: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub titel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vorname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nachname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geburtsname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geburtsdatum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geburtsort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firma: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strasse: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hausnummer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plz: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub land: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telefon: Option<String>,
}

/// Who is responsible, as far as the form knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZustaendigeStelle {
    /// Id of the Organisationseinheit in the PVOG or Zuständigkeitsfinder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisationseinheit: Option<String>,
    /// Amtlicher Gemeindeschlüssel, 8 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ags: Option<String>,
    /// Amtlicher Regionalschlüssel, 12 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ars: Option<String>,
    /// Name, where sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The applicant's account and how far it is to be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceKonto {
    /// `OSI`, `BAYERN_ID`, `BUNDID`, `MUK` or what the vendor says.
    pub art: String,
    /// Normalised trust level.
    pub vertrauensniveau: Vertrauensniveau,
    /// Trust level as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertrauensniveau_roh: Option<String>,
    /// Mailbox id for replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postfach_id: Option<String>,
    /// Kind of mailbox as sent (`Citizen`, `unternehmen`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postfach_art: Option<String>,
}

/// Trust level after eIDAS; what is not known is never rounded up.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Vertrauensniveau {
    #[default]
    Unbekannt,
    Niedrig,
    Substanziell,
    Hoch,
}

impl Vertrauensniveau {
    /// Reads the three notations seen: `STORK-QAA-Level-n`, German words, English words.
    pub fn from_raw(raw: &str) -> Self {
        match raw.trim().to_lowercase().as_str() {
            // Level 2 has no counterpart in the field; it is not more than the lowest.
            "stork-qaa-level-1" | "stork-qaa-level-2" | "niedrig" | "normal" | "low"
            | "basisregistrierung" => Self::Niedrig,
            "stork-qaa-level-3" | "substanziell" | "substantiell" | "substantial" => Self::Substanziell,
            "stork-qaa-level-4" | "hoch" | "high" => Self::Hoch,
            _ => Self::Unbekannt,
        }
    }
}

/// Payment made with the form. The amount is text: money keeps its lexical form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct Zahlung {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betrag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waehrung: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kassenzeichen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaktion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// A consent given with the form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Einwilligung {
    /// Raw name of the form field.
    pub name: String,
    /// What the citizen agreed to, where sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Given or refused.
    pub erteilt: bool,
}

/// A file by reference. Vendors' ids are not unique and their file names not safe: the position in the list
/// is the key, and [`Anlage::sicherer_name`] is what may become a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Anlage {
    /// File name as sent.
    pub name: String,
    /// Media type as sent, else `application/octet-stream`.
    pub content_type: String,
    /// The vendor's id, not unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hersteller_id: Option<String>,
    /// Description as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beschreibung: Option<String>,
    /// The bytes, in the tenant's blob store.
    pub blob: BlobRef,
}

impl Anlage {
    /// A file name that is safe on every system: see [`sicherer_dateiname`].
    pub fn sicherer_name(&self) -> String {
        sicherer_dateiname(&self.name)
    }

    /// The file's extension in lower case, without the dot; empty without one.
    pub fn endung(&self) -> String {
        let name = self.sicherer_name();
        name.rsplit_once('.').map(|(_, ext)| ext.to_lowercase()).unwrap_or_default()
    }
}

/// Makes a file name safe: no folders, no control or reserved characters, no leading dots, no device names of
/// Windows, at most 120 bytes with the extension kept. Never empty.
pub fn sicherer_dateiname(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = base
        .chars()
        .map(|c| if c.is_control() || "<>:\"|?*".contains(c) { '_' } else { c })
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'))
        .collect();
    let clean = clean.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let (stem, ext) = match clean.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() && (1..=10).contains(&ext.len()) => (stem, Some(ext)),
        _ => (clean, None),
    };
    let room = 120 - ext.map_or(0, |ext| ext.len() + 1);
    let mut cut = stem.len().min(room);
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut stem = stem[..cut].to_owned();
    let device = stem.to_ascii_uppercase();
    let reserved = matches!(device.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (device.len() == 4
            && (device.starts_with("COM") || device.starts_with("LPT"))
            && device.as_bytes()[3].is_ascii_digit());
    if stem.is_empty() || reserved {
        stem.insert_str(0, "datei");
    }
    match ext {
        Some(ext) => format!("{stem}.{ext}"),
        None => stem,
    }
}

/// A safe file name in the characters that XBau 2.6 and XBau-Kernmodul 1.3.0 allow in `dateiname`
/// (`[-a-zA-Z0-9ÄÖÜäöüß _!=+~,;.#°§$%()\[\]]+\.[a-zA-Z0-9]+`): other letters lose their accents, everything else
/// becomes `_`, and a name without an extension gets `.bin`. xdomea allows all of it too.
pub fn xoev_dateiname(name: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-ÄÖÜäöüß _!=+~,;.#°§$%()[]".contains(c);
    let mut out = String::new();
    for c in sicherer_dateiname(name).nfc() {
        if allowed(c) {
            out.push(c);
            continue;
        }
        let base: String = std::iter::once(c).nfd().filter(char::is_ascii_alphanumeric).collect();
        out.push_str(if base.is_empty() { "_" } else { &base });
    }
    let (stem, ext) = match out.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() => (stem, ext),
        _ => (out.as_str(), ""),
    };
    let ext: String = ext.chars().filter(char::is_ascii_alphanumeric).collect();
    if ext.is_empty() { format!("{out}.bin") } else { format!("{stem}.{ext}") }
}

impl Eingang {
    /// The Vorgang's UUID as text, for references in messages.
    pub fn vorgang_uuid(&self) -> String {
        self.kopf.vorgang_id.to_string()
    }

    /// A UUID that stays the same for the same thing in the same Vorgang, also in a later message.
    pub fn stable_uuid(&self, parts: &[&str]) -> Uuid {
        let vorgang = self.vorgang_uuid();
        let mut all = vec![self.kopf.mandant.as_str(), vorgang.as_str()];
        all.extend_from_slice(parts);
        stable_uuid(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoev_file_names_keep_to_the_standards_characters() {
        for (raw, name) in [
            ("Lageplan 1:500 (Süd).pdf", "Lageplan 1_500 (Süd).pdf"),
            ("Café & Küche.PDF", "Cafe _ Küche.PDF"),
            ("O'Brien Łódź.jpg", "O_Brien _odz.jpg"),
            ("Su\u{308}den.pdf", "Süden.pdf"),
            ("ohne Endung", "ohne Endung.bin"),
            ("komisch.p d f", "komisch.pdf"),
            ("punkt.§", "punkt.§.bin"),
            ("", "datei.bin"),
        ] {
            assert_eq!(xoev_dateiname(raw), name, "{raw}");
        }
    }

    #[test]
    fn file_names_cannot_leave_their_folder() {
        for (raw, safe) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\Temp\\Lageplan.pdf", "Lageplan.pdf"),
            ("..", "datei"),
            ("a:b*?.pdf", "a_b__.pdf"),
            ("nul", "dateinul"),
            ("COM1.txt", "dateiCOM1.txt"),
            ("Grundriß Größe.pdf", "Grundriß Größe.pdf"),
            ("rechnung\u{202e}fdp.exe", "rechnungfdp.exe"),
        ] {
            assert_eq!(sicherer_dateiname(raw), safe, "{raw:?}");
        }
        let long = sicherer_dateiname(&format!("{}.pdf", "ä".repeat(200)));
        assert!(long.len() <= 120 && long.rsplit_once('.').is_some_and(|(_, ext)| ext == "pdf"));
    }

    #[test]
    fn unknown_trust_is_never_rounded_up() {
        use Vertrauensniveau::{Hoch, Niedrig, Substanziell, Unbekannt};
        for (raw, level) in [
            ("STORK-QAA-Level-1", Niedrig),
            ("STORK-QAA-Level-3", Substanziell),
            ("STORK-QAA-Level-4", Hoch),
            ("substanziell", Substanziell),
            ("LOW", Niedrig),
            ("STORK-QAA-Level-5", Unbekannt),
            ("", Unbekannt),
        ] {
            assert_eq!(Vertrauensniveau::from_raw(raw), level, "{raw}");
        }
    }
}
