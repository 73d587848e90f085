// SPDX-License-Identifier: EUPL-1.2
//! The tenant's settings of this intake: `[eingang.ozg-cloud]`.

use kop_connector_api::{Secret, SettingProblem, parse_settings};

use crate::credentials;

/// Eingang für OZG-Cloud form-data: `POST /<mandant>/antrag`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Größter Antrag mit allen Anlagen, in MB.
    #[schemars(range(min = 1, max = 10000))]
    pub max_groesse_mb: u32,
    /// Größter Teil `formData`, in MB.
    #[schemars(range(min = 1, max = 64))]
    pub max_formulardaten_mb: u32,
    /// Benutzer für HTTP Basic, wenn der Absender sich anmelden soll.
    pub benutzer: Option<String>,
    /// Passwort dazu, als Verweis.
    pub passwort: Option<Secret>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_groesse_mb: 500, max_formulardaten_mb: 16, benutzer: None, passwort: None }
    }
}

/// Checks settings without touching the world.
pub(super) fn check(settings: &serde_json::Value) -> Vec<SettingProblem> {
    let settings: Settings = match parse_settings(settings) {
        Ok(settings) => settings,
        Err(problem) => return vec![problem],
    };
    let range = |path: &str, value: u32, max: u32| {
        (!(1..=max).contains(&value)).then(|| SettingProblem {
            path: path.to_owned(),
            de: format!("„{path}“ muss zwischen 1 und {max} liegen"),
            en: format!("`{path}` must lie between 1 and {max}"),
        })
    };
    [
        range("max_groesse_mb", settings.max_groesse_mb, 10_000),
        range("max_formulardaten_mb", settings.max_formulardaten_mb, 64),
        credentials::check(settings.benutzer.as_deref(), settings.passwort.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
