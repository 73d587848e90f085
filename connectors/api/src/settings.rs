// SPDX-License-Identifier: EUPL-1.2
//! Typed settings of intakes and connectors, read from the tenant's configuration.

use kop_core::Diagnostic;
use serde::de::DeserializeOwned;

/// A mistake in settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// Path within the settings, e.g. `anmeldung.passwort`; empty for the whole.
    pub path: String,
    /// What is wrong, in German.
    pub de: String,
    /// The same in English.
    pub en: String,
}

impl SettingProblem {
    /// Why a connector cannot be built: the first of its problems, as a sentence.
    pub fn refusal(problems: Vec<Self>) -> Diagnostic {
        let (de, en) =
            problems.into_iter().next().map_or_else(Default::default, |first| (first.de, first.en));
        Diagnostic::new("KOP-K006", format!("{de}."), format!("{en}."))
    }
}

/// Reads settings into their type; unknown fields are the type's to deny.
///
/// # Errors
/// One problem in words of the configuration's author.
pub fn parse_settings<T: DeserializeOwned>(settings: &serde_json::Value) -> Result<T, SettingProblem> {
    T::deserialize(settings).map_err(|error| SettingProblem {
        path: String::new(),
        de: serde_in_german(&error.to_string())
            .unwrap_or_else(|| "Die Einstellung ist nicht lesbar".to_owned()),
        en: error.to_string(),
    })
}

/// serde's own sentences in German, without their full stop; values are not repeated. `None` for any other sentence.
pub fn serde_in_german(english: &str) -> Option<String> {
    let quoted = english.split('`').nth(1).unwrap_or_default();
    let expected = english.split_once("expected ").map_or("", |(_, rest)| rest);
    let expected = expected.trim().replace("one of ", "").replace('`', "");
    let german = if english.starts_with("unknown field") {
        if expected.is_empty() || expected == "there are no fields" {
            return Some(format!("Die Einstellung „{quoted}“ gibt es nicht"));
        }
        format!("Die Einstellung „{quoted}“ gibt es nicht; möglich sind: {expected}")
    } else if english.starts_with("missing field") {
        format!("Die Einstellung „{quoted}“ fehlt")
    } else if english.starts_with("unknown variant") {
        format!("„{quoted}“ ist hier nicht möglich, sondern: {expected}")
    } else if english.contains("literal secret") {
        "Ein Geheimnis steht als Text in der Konfiguration; erwartet wird ein Verweis env:NAME oder file:PFAD"
            .to_owned()
    } else if english.starts_with("invalid type") || english.starts_with("invalid value") {
        let what = match expected.as_str() {
            "a string" => "ein Text in Anführungszeichen",
            "a boolean" => "true oder false",
            "a sequence" => "eine Liste in eckigen Klammern",
            "a map" => "eine Tabelle",
            other if other.starts_with("struct ") => "eine Tabelle",
            "u64" | "u32" | "u16" | "usize" => "eine ganze Zahl ab 0",
            other => other,
        };
        format!("Der Wert hat die falsche Form; erwartet wird {what}")
    } else {
        return None;
    };
    Some(german)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        pfad: String,
    }

    #[test]
    fn mistakes_are_told_in_german() {
        let problem = |json| parse_settings::<Sample>(&json).unwrap_err().de;
        assert_eq!(
            problem(serde_json::json!({"pfda": "x"})),
            "Die Einstellung „pfda“ gibt es nicht; möglich sind: pfad"
        );
        assert_eq!(problem(serde_json::json!({})), "Die Einstellung „pfad“ fehlt");
        assert_eq!(
            problem(serde_json::json!({"pfad": 3})),
            "Der Wert hat die falsche Form; erwartet wird ein Text in Anführungszeichen"
        );
    }
}
