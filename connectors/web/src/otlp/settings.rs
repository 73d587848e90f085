// SPDX-License-Identifier: EUPL-1.2
//! What `kop.toml` may say about traces, and the checked form of it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kop_connector_api::{SettingProblem, parse_settings};
use reqwest::{Url, header::HeaderMap};
use serde::Deserialize;

use crate::settings::{Anmeldung, Login, Problems};

const LONGEST_REQUEST_S: u64 = 60;
const LARGEST_QUEUE: usize = 65_536;

/// Spuren (Traces) an einen Sammler, der OTLP über HTTP mit JSON versteht: je Eingang eine Spur von der Annahme bis zur
/// Quittung, mit Nummern, Namen aus der Konfiguration und Codes, nie mit Angaben aus Anträgen. Ist der Sammler langsam
/// oder nicht da, fallen Spuren weg; an den Anträgen ändert das nichts.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// Vollständige Adresse, zum Beispiel `http://127.0.0.1:4318/v1/traces`. Zugangsdaten gehören nicht hinein, sondern
    /// unter `anmeldung`.
    pub url: String,

    /// Womit sich KOP engine beim Sammler anmeldet.
    #[serde(default)]
    pub anmeldung: Option<Anmeldung>,

    /// Weitere Kopfzeilen der Anfrage mit festem Wert. Geheimnisse gehören nicht hierher: dafür gibt es `anmeldung` mit
    /// `art = "kopfzeile"`.
    #[serde(default)]
    pub kopfzeilen: BTreeMap<String, String>,

    /// So lange darf der Sammler für eine Antwort brauchen, in Sekunden (1 bis 60).
    #[serde(default = "default_request")]
    #[schemars(range(min = 1, max = LONGEST_REQUEST_S))]
    pub zeitlimit_sekunden: u64,

    /// So viele Abschnitte von Spuren warten höchstens auf den Sammler (1 bis 65536; im Speicher etwa 1 kB je
    /// Abschnitt); was nicht hineinpasst, fällt weg.
    #[serde(default = "default_queue")]
    #[schemars(range(min = 1, max = LARGEST_QUEUE))]
    pub warteschlange: usize,

    /// Weitere Zertifikate (PEM), denen beim Sammler vertraut wird, zusätzlich zu denen des Betriebssystems. Bezogen
    /// auf den Ordner der Instanz.
    #[serde(default)]
    pub ca_datei: Option<String>,

    /// Erlaubt `http://` auch zu einem anderen Rechner. Dann kann jeder auf dem Weg die Spuren und Zugangsdaten
    /// mitlesen. Nur in einem Netz einsetzen, das anders geschützt ist.
    #[serde(default)]
    pub unverschluesselt: bool,
}

fn default_request() -> u64 {
    10
}

fn default_queue() -> usize {
    4096
}

/// Settings that passed every check.
#[derive(Clone, Debug)]
pub struct TracePlan {
    pub(super) url: Url,
    pub(super) login: Option<Login>,
    pub(super) headers: HeaderMap,
    pub(super) limit: Duration,
    pub(super) queue: usize,
    /// Relative, only plain components.
    pub(super) certificates: Option<PathBuf>,
}

impl TracePlan {
    /// Reads and checks settings; touches nothing.
    ///
    /// # Errors
    /// All their mistakes.
    pub fn read(settings: &serde_json::Value) -> Result<Self, Vec<SettingProblem>> {
        let settings: TraceSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let url = problems.url(&settings.url, settings.unverschluesselt);
        if url.as_ref().is_some_and(|url| url.path() == "/") {
            problems.add(
                "url",
                "In der Adresse fehlt der Pfad; üblich ist „/v1/traces“",
                "the address lacks its path; the usual one is \"/v1/traces\"",
            );
        }
        let login = problems.login(settings.anmeldung);
        let headers = problems.headers(&settings.kopfzeilen);
        if let Some(Login::Header { name, .. }) = &login
            && headers.contains_key(name)
        {
            problems.add(
                "kopfzeilen",
                "Eine Kopfzeile ist zweimal vergeben: unter „kopfzeilen“ und „anmeldung“",
                "a header is given twice: in \"kopfzeilen\" and \"anmeldung\"",
            );
        }
        let certificates = problems.certificates(settings.ca_datei);
        if !(1..=LONGEST_REQUEST_S).contains(&settings.zeitlimit_sekunden) {
            problems.add(
                "zeitlimit_sekunden",
                "Möglich sind 1 bis 60 Sekunden",
                "1 to 60 seconds are possible",
            );
        }
        if !(1..=LARGEST_QUEUE).contains(&settings.warteschlange) {
            problems.add("warteschlange", "Möglich sind 1 bis 65536", "1 to 65536 are possible");
        }
        match url {
            Some(url) if problems.0.is_empty() => Ok(Self {
                url,
                login,
                headers,
                limit: Duration::from_secs(settings.zeitlimit_sekunden),
                queue: settings.warteschlange,
                certificates,
            }),
            _ => Err(problems.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_checked_and_secrets_are_references() {
        let paths = |settings: serde_json::Value| -> Vec<String> {
            TracePlan::read(&settings).err().unwrap_or_default().into_iter().map(|one| one.path).collect()
        };
        let url = "http://127.0.0.1:4318/v1/traces";
        assert_eq!(paths(json!({"url": url})), Vec::<String>::new());
        assert_eq!(paths(json!({"url": "http://127.0.0.1:4318"})), ["url"]);
        assert_eq!(paths(json!({"url": "http://sammler.example/v1/traces"})), ["url"]);
        assert!(
            paths(json!({"url": "http://sammler.example/v1/traces", "unverschluesselt": true})).is_empty()
        );
        assert_eq!(
            paths(json!({
                "url": url, "zeitlimit_sekunden": 61, "warteschlange": 0, "ca_datei": "/etc/x",
                "kopfzeilen": {"X-Key": "a"},
                "anmeldung": {"art": "kopfzeile", "name": "x-key", "wert": "env:X"}
            })),
            ["kopfzeilen", "ca_datei", "zeitlimit_sekunden", "warteschlange"]
        );
        let said = |settings| TracePlan::read(&settings).unwrap_err()[0].de.clone();
        assert!(
            said(json!({"url": url, "adresse": "x"})).starts_with("Die Einstellung „adresse“ gibt es nicht")
        );
        let literal = said(json!({"url": url, "anmeldung": {"art": "bearer", "token": "geheim"}}));
        assert!(literal.contains("env:NAME") && !literal.contains("geheim"), "{literal}");
    }
}
