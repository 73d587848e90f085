// SPDX-License-Identifier: EUPL-1.2
//! What the author of a tenant's configuration may say about a folder to be asked, and the checked form of it.

use std::{path::PathBuf, time::Duration};

use kop_connector_api::{SettingProblem, parse_settings};
use serde::Deserialize;

use crate::settings::{is_marker_name, problem, stays_below};

/// Abholung aus einem Ordner, in den ein Formular- oder SFTP-Server Anträge legt. Was gespeichert ist, kommt nach
/// `erledigt/`, was nicht lesbar ist, nach `fehler/` mit einer Textdatei, die sagt, warum.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderSourceSettings {
    /// Ordner, in den die Anträge gelegt werden, bezogen auf den Ordner der Instanz, zum Beispiel `abholung/afm`. Er
    /// wird angelegt, wenn er fehlt. Liegt er woanders, dort einbinden (Mount) oder einen Verweis anlegen.
    pub pfad: String,

    /// Format der Anträge, benannt wie der Eingang, der es auch über HTTP annimmt: `ozg-cloud`, `intelliform`. Steht
    /// dieser Eingang in der Konfiguration, gelten seine Grenzen für die Größe, sonst die üblichen.
    pub format: String,

    /// Woran zu erkennen ist, dass ein Antrag vollständig ist. marke: im Verzeichnis liegt die Markierungsdatei, zuletzt
    /// geschrieben; umbenannt: er entsteht unter einem Namen, der mit einem Punkt beginnt oder auf `.tmp` oder `.part`
    /// endet, und wird dann umbenannt; ruhe: an ihm hat sich `ruhe_s` Sekunden lang nichts geändert.
    #[serde(default)]
    pub fertig: Finished,

    /// Name der Markierungsdatei.
    #[serde(default = "default_marker")]
    pub marke: String,

    /// Mit `fertig = "ruhe"`: so viele Sekunden lang darf sich nichts geändert haben.
    #[serde(default = "default_rest")]
    #[schemars(range(min = 1, max = 86400))]
    pub ruhe_s: u64,

    /// Pause zwischen zwei Blicken in den Ordner, in Sekunden.
    #[serde(default = "default_pause")]
    #[schemars(range(min = 1, max = 3600))]
    pub takt_s: u64,

    /// Spätestens so viele Sekunden, nachdem ein Antrag gespeichert ist, wird er hier erledigt, auch wenn sein Weg auf
    /// mehr wartet (`quittieren`). Ohne Angabe gibt es keine Frist.
    #[serde(default)]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub frist_s: Option<u64>,

    /// Was mit einem erledigten Antrag geschieht. verschieben: nach `erledigt/`; loeschen: er wird gelöscht.
    #[serde(default)]
    pub danach: After,
}

/// Woran zu erkennen ist, dass ein Antrag vollständig ist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Finished {
    /// Die Markierungsdatei liegt im Verzeichnis.
    #[default]
    Marke,
    /// Er hat seinen endgültigen Namen.
    Umbenannt,
    /// Es hat sich eine Weile nichts geändert.
    Ruhe,
}

/// Was mit einem erledigten Antrag geschieht.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// Er kommt nach `erledigt/`.
    #[default]
    Verschieben,
    /// Er wird gelöscht.
    Loeschen,
}

fn default_marker() -> String {
    "fertig".to_owned()
}

fn default_rest() -> u64 {
    60
}

fn default_pause() -> u64 {
    10
}

/// Settings that passed every check.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Relative, only plain components.
    pub(crate) folder: PathBuf,
    pub(crate) format: String,
    pub(crate) finished: Finished,
    pub(crate) marker: String,
    pub(crate) rest: Duration,
    pub(crate) pause: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) after: After,
}

impl Plan {
    /// `formats`: the names of those that can be read, where they are known.
    pub(crate) fn read(
        settings: &serde_json::Value,
        formats: Option<&[&str]>,
    ) -> Result<Self, Vec<SettingProblem>> {
        let settings: FolderSourceSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let folder = PathBuf::from(&settings.pfad);
        if !stays_below(&folder) {
            problems.push(problem(
                "pfad",
                "Der Pfad muss unterhalb des Ordners der Instanz liegen: kein „/“ am Anfang, kein „..“",
                "the path must stay below the instance's folder: no leading \"/\", no \"..\"",
            ));
        }
        if let Some(formats) = formats
            && !formats.contains(&settings.format.as_str())
        {
            problems.push(problem(
                "format",
                &format!("Dieses Format gibt es nicht; möglich sind: {}", formats.join(", ")),
                &format!("there is no such format; possible are: {}", formats.join(", ")),
            ));
        }
        if !is_marker_name(&settings.marke) {
            problems.push(problem(
                "marke",
                "Die Markierungsdatei braucht einen einfachen Dateinamen ohne Ordner und Sonderzeichen",
                "the marker file needs a plain file name without folders and special characters",
            ));
        }
        let ranges = [
            ("ruhe_s", settings.ruhe_s, 86_400),
            ("takt_s", settings.takt_s, 3_600),
            ("frist_s", settings.frist_s.unwrap_or(1), 31_536_000),
        ];
        for (name, value, most) in ranges {
            if !(1..=most).contains(&value) {
                problems.push(problem(
                    name,
                    &format!("„{name}“ muss zwischen 1 und {most} liegen"),
                    &format!("`{name}` must lie between 1 and {most}"),
                ));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            folder,
            format: settings.format,
            finished: settings.fertig,
            marker: settings.marke,
            rest: Duration::from_secs(settings.ruhe_s),
            pause: Duration::from_secs(settings.takt_s),
            deadline: settings.frist_s.map(Duration::from_secs),
            after: settings.danach,
        })
    }
}
