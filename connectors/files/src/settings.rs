// SPDX-License-Identifier: EUPL-1.2
//! What the author of a tenant's configuration may say about a folder, and the checked form of it.

use std::path::{Component, Path, PathBuf};

use kop_connector_api::{SettingProblem, parse_settings};
use kop_core::eingang::sicherer_dateiname;
use serde::Deserialize;

use crate::template::Template;

/// Temporary files and folders begin with this; nothing else of ours does.
pub(crate) const HIDDEN: &str = ".kop-";

/// Zustellung in einen Ordner: jede Sendung bekommt ein eigenes Verzeichnis, das erst erscheint, wenn es
/// vollständig ist.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderSettings {
    /// Ordner des Empfängers, bezogen auf den Ordner der Instanz, zum Beispiel `ausgang/bauaufsicht`. Er wird
    /// angelegt, wenn er fehlt. Liegt er woanders, dort einbinden (Mount) oder einen Verweis anlegen.
    pub pfad: String,

    /// Name des Verzeichnisses je Sendung. Platzhalter: {datum} {jahr} {monat} {tag} (Tag des Eingangs)
    /// {vorgangsnummer} {message_id} {kurz_id} {mandant} {zuordnung}. Ein `/` teilt in Unterordner, zum
    /// Beispiel `{jahr}/{monat}/{vorgangsnummer}_{kurz_id}`.
    #[serde(default = "default_name")]
    pub name: String,

    /// Ob die Dateien einzeln im Verzeichnis liegen oder in einer ZIP-Datei.
    #[serde(default)]
    pub container: Container,

    /// Name der Markierungsdatei. Sie wird zuletzt geschrieben: Liegt sie im Verzeichnis, ist es vollständig.
    #[serde(default = "default_marker")]
    pub marke: String,
}

/// Wie die Dateien einer Sendung verpackt werden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// Alle Dateien liegen einzeln im Verzeichnis.
    #[default]
    Keiner,
    /// Eine ZIP-Datei, benannt wie das Hauptdokument.
    Zip,
}

fn default_name() -> String {
    "{datum}_{vorgangsnummer}_{kurz_id}".to_owned()
}

fn default_marker() -> String {
    ".fertig".to_owned()
}

/// Settings that passed every check.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Relative, only plain components.
    pub(crate) folder: PathBuf,
    pub(crate) directory: Template,
    pub(crate) container: Container,
    pub(crate) marker: String,
}

impl Plan {
    pub(crate) fn read(settings: &serde_json::Value) -> Result<Self, Vec<SettingProblem>> {
        let settings: FolderSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let folder = PathBuf::from(&settings.pfad);
        if !stays_below(&folder) {
            problems.push(problem(
                "pfad",
                "Der Pfad muss unterhalb des Ordners der Instanz liegen: kein „/“ am Anfang, kein „..“",
                "the path must stay below the instance's folder: no leading \"/\", no \"..\"",
            ));
        }
        let directory = Template::parse(&settings.name);
        if let Err(mistake) = &directory {
            problems.push(problem("name", &mistake.de, &mistake.en));
        }
        if !is_marker_name(&settings.marke) {
            problems.push(problem(
                "marke",
                "Die Markierungsdatei braucht einen einfachen Dateinamen ohne Ordner und Sonderzeichen",
                "the marker file needs a plain file name without folders and special characters",
            ));
        }
        match directory {
            Ok(directory) if problems.is_empty() => {
                Ok(Self { folder, directory, container: settings.container, marker: settings.marke })
            }
            _ => Err(problems),
        }
    }
}

pub(crate) fn stays_below(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some()
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !path.as_os_str().to_string_lossy().chars().any(|c| c.is_control() || c == '\\')
}

pub(crate) fn is_marker_name(name: &str) -> bool {
    let visible = name.strip_prefix('.').unwrap_or(name);
    sicherer_dateiname(visible) == visible && !name.starts_with(HIDDEN)
}

pub(crate) fn problem(path: &str, de: &str, en: &str) -> SettingProblem {
    SettingProblem { path: path.to_owned(), de: de.to_owned(), en: en.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_instance() {
        let paths = |settings| -> Vec<String> {
            Plan::read(&settings).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
        };
        assert_eq!(paths(json!({"pfad": "ausgang/amt"})), Vec::<String>::new());
        for bad in ["", "/tmp", "../aus", "aus/../../x", ".", "a\\..\\b", "a\u{0}b"] {
            assert_eq!(paths(json!({"pfad": bad})), ["pfad"], "{bad:?}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", ".kop-x", "..fertig", "x?"] {
            assert_eq!(paths(json!({"pfad": "a", "marke": bad})), ["marke"], "{bad:?}");
        }
        assert_eq!(paths(json!({"pfad": "/", "name": "{nix}", "marke": ""})), ["pfad", "name", "marke"]);
        assert_eq!(paths(json!({"pfad": "a", "container": "tar"})), [""]);
        assert_eq!(paths(json!({"pfad": "a", "unbekannt": 1})), [""]);
    }
}
