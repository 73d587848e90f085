// SPDX-License-Identifier: EUPL-1.2
//! What the TOML reader and serde say, in German and without repeating values: a value may be a secret.

use kop_connector_api::serde_in_german;

/// The first line of a message, without the value that it may repeat.
pub(crate) fn english(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match (line.split_once(':'), line.rsplit_once(", expected ")) {
        (Some((kind, _)), Some((_, expected))) if kind.starts_with("invalid ") => {
            format!("{kind}, expected {expected}")
        }
        _ => line.to_owned(),
    }
}

/// One sentence without its full stop.
pub(crate) fn german(english: &str) -> String {
    let english = english.lines().next().unwrap_or_default();
    if let Some(german) = serde_in_german(english) {
        german
    } else if english.starts_with("duplicate key") || english.starts_with("duplicate field") {
        "Die Einstellung steht zweimal da".to_owned()
    } else if english.starts_with("expected <standard>") {
        "Das Ziel ist nicht lesbar; erwartet wird <standard>/<version>/<wurzelelement>, csv, json oder ablage"
            .to_owned()
    } else if english.contains("socket address") {
        "Die Adresse ist nicht lesbar; erwartet wird zum Beispiel 127.0.0.1:8080".to_owned()
    } else {
        format!("Die Datei ist an dieser Stelle kein gültiges TOML ({english})")
    }
}

#[cfg(test)]
mod tests {
    use super::german;

    #[test]
    fn mistakes_are_told_in_german() {
        for (english, expected) in [
            (
                "unknown field `stuf`, expected one of `name`, `stufe`",
                "Die Einstellung „stuf“ gibt es nicht; möglich sind: name, stufe",
            ),
            ("missing field `name`", "Die Einstellung „name“ fehlt"),
            (
                "invalid type: integer `3`, expected a string",
                "Der Wert hat die falsche Form; erwartet wird ein Text in Anführungszeichen",
            ),
        ] {
            assert_eq!(german(english), expected);
        }
    }
}
