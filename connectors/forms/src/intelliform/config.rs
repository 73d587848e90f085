// SPDX-License-Identifier: EUPL-1.2
//! The tenant's settings of this intake: `[eingang.intelliform]`.

use kop_connector_api::{Secret, SettingProblem, parse_settings};

use crate::credentials;

/// Eingang für intelliForm (AFM): SOAP `deposit` unter `/<mandant>/deposit`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Größter Antrag mit allen Anlagen, in MB, so wie er übertragen wird (Base64 ist um ein Drittel größer).
    #[schemars(range(min = 1, max = 10000))]
    pub max_groesse_mb: u32,
    /// Benutzer, wenn der Absender sich anmelden soll (WS-Security UsernameToken oder HTTP Basic).
    pub benutzer: Option<String>,
    /// Passwort dazu, als Verweis.
    pub passwort: Option<Secret>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_groesse_mb: 500, benutzer: None, passwort: None }
    }
}

/// Checks settings without touching the world.
pub(super) fn check(settings: &serde_json::Value) -> Vec<SettingProblem> {
    let settings: Settings = match parse_settings(settings) {
        Ok(settings) => settings,
        Err(problem) => return vec![problem],
    };
    let size = (!(1..=10_000).contains(&settings.max_groesse_mb)).then(|| SettingProblem {
        path: "max_groesse_mb".to_owned(),
        de: "„max_groesse_mb“ muss zwischen 1 und 10000 liegen".to_owned(),
        en: "`max_groesse_mb` must lie between 1 and 10000".to_owned(),
    });
    let login = credentials::check(settings.benutzer.as_deref(), settings.passwort.as_ref());
    size.into_iter().chain(login).collect()
}
