// SPDX-License-Identifier: EUPL-1.2
//! Typed settings of intakes and connectors, read from the tenant's configuration.

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

/// Reads settings into their type; unknown fields are the type's to deny.
///
/// # Errors
/// One problem in words of the configuration's author.
pub fn parse_settings<T: DeserializeOwned>(settings: &serde_json::Value) -> Result<T, SettingProblem> {
    T::deserialize(settings).map_err(|error| SettingProblem {
        path: String::new(),
        de: german(&error.to_string()),
        en: error.to_string(),
    })
}

/// serde's own sentences in German; values are not repeated.
fn german(english: &str) -> String {
    let quoted = || english.split('`').nth(1).unwrap_or_default();
    let expected =
        || english.split_once("expected").map_or("", |(_, rest)| rest).trim().replace("one of ", "");
    if english.starts_with("unknown field") {
        format!("Die Einstellung „{}“ gibt es nicht; möglich sind {}", quoted(), expected())
    } else if english.starts_with("missing field") {
        format!("Die Einstellung „{}“ fehlt", quoted())
    } else if english.starts_with("unknown variant") {
        format!("„{}“ ist hier nicht möglich, sondern {}", quoted(), expected())
    } else if english.starts_with("a literal secret") {
        "Ein Geheimnis steht im Klartext; erlaubt ist nur ein Verweis: env:NAME oder file:PFAD".to_owned()
    } else {
        format!("Die Einstellung hat die falsche Form; erwartet wird {}", expected())
    }
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
            "Die Einstellung „pfda“ gibt es nicht; möglich sind `pfad`"
        );
        assert_eq!(problem(serde_json::json!({})), "Die Einstellung „pfad“ fehlt");
        assert_eq!(
            problem(serde_json::json!({"pfad": 3})),
            "Die Einstellung hat die falsche Form; erwartet wird a string"
        );
    }
}
