// SPDX-License-Identifier: EUPL-1.2
//! The shape of a mapping's `mapping.toml`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::Deserialize;

/// Beschreibung einer Zuordnung (`mapping.toml`).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Überschrift für Listen und Anzeigen.
    pub titel: String,
    /// Was die Zuordnung tut.
    #[serde(default)]
    pub beschreibung: String,
    /// Version der Zuordnung, wie ihre Bearbeiter sie zählen; sie steht bei Klärungsfällen.
    #[serde(default)]
    pub version: Option<String>,
    /// Ziel: `<standard>/<version>/<wurzelelement>` für XÖV, sonst `csv`, `json` oder `ablage`.
    pub ziel: Target,
    /// Vorgaben für den Nachrichtenkopf.
    #[serde(default)]
    pub kopf: Kopf,
    /// Name des Hauptdokuments; Platzhalter: {vorgangsnummer} {nachrichten_uuid} {prozess_id}
    /// {nachrichtentyp} {datum}.
    #[serde(default)]
    pub dateiname: Option<String>,
    /// Ob `xsi:schemaLocation` geschrieben wird (xdomea verlangt es).
    #[serde(default)]
    pub schemaort: bool,
    /// Versionen der Codelisten: kurzer Name (letzter Teil der URN) → Version.
    #[serde(default)]
    pub codelisten: BTreeMap<String, String>,
    /// Einstellungen für das Ziel `csv`.
    #[serde(default)]
    pub csv: Csv,
}

/// Vorgaben für den Nachrichtenkopf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kopf {
    /// Absender nach seinem Namen in `[absender.*]`, wenn der Weg keinen nennt.
    pub autor: Option<String>,
}

/// Einstellungen für das Ziel `csv`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Csv {
    /// Spalten in ihrer Reihenfolge.
    pub spalten: Vec<String>,
    /// Trennzeichen, ein Zeichen.
    pub trennzeichen: char,
    /// Zeichensatz der Datei.
    pub zeichensatz: Zeichensatz,
}

impl Default for Csv {
    fn default() -> Self {
        Self { spalten: Vec::new(), trennzeichen: ';', zeichensatz: Zeichensatz::default() }
    }
}

/// Zeichensatz einer CSV-Datei.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(missing_docs)] // named by the encoding
pub enum Zeichensatz {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Zeichensatz {
    /// The label of the encoding, as in the WHATWG Encoding Standard.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// What a mapping makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An XÖV message.
    Xoev {
        /// Standard, e.g. `xbau-hochbau`.
        standard: String,
        /// Version, e.g. `2.6`.
        version: String,
        /// Root element, e.g. `baugenehmigung.antrag.0200`.
        root: String,
    },
    /// A CSV file.
    Csv,
    /// A JSON file.
    Json,
    /// PDF, data and attachments for people, without a message.
    Ablage,
}

/// The text names no target.
#[derive(Debug, thiserror::Error)]
#[error("expected <standard>/<version>/<root>, csv, json or ablage")]
pub struct NotATarget;

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        match text {
            "csv" => return Ok(Self::Csv),
            "json" => return Ok(Self::Json),
            "ablage" => return Ok(Self::Ablage),
            _ => {}
        }
        let parts: Vec<&str> = text.split('/').collect();
        let sound = |part: &&str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c))
        };
        match parts.as_slice() {
            [standard, version, root] if parts.iter().all(sound) => Ok(Self::Xoev {
                standard: (*standard).to_owned(),
                version: (*version).to_owned(),
                root: (*root).to_owned(),
            }),
            _ => Err(NotATarget),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xoev { standard, version, root } => write!(f, "{standard}/{version}/{root}"),
            Self::Csv => f.write_str("csv"),
            Self::Json => f.write_str("json"),
            Self::Ablage => f.write_str("ablage"),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ziel".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "enum": ["csv", "json", "ablage"] },
                { "type": "string", "pattern": "^[^/]+/[^/]+/[^/]+$" }
            ]
        })
    }
}
