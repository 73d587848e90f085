// SPDX-License-Identifier: EUPL-1.2
//! What `[virenpruefung]` in `kop.toml` may say about a scanner, and the checked form of it.

use std::{path::PathBuf, time::Duration};

use kop_connector_api::{SettingProblem, parse_settings};
use serde::Deserialize;

use crate::transport::{Bounds, Target};

/// Longer than the lease of a submission would need a person anyway.
const LONGEST_SCAN_S: u64 = 600;
const LARGEST_FILE_MB: u64 = 4000;

/// Prüfung durch clamd (ClamAV) über dessen Socket. Damit clamd verschlüsselte und zu große Dateien meldet statt
/// sie durchzuwinken, braucht dessen `clamd.conf` die Zeilen `AlertEncrypted yes` und `AlertExceedsMax yes`.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClamdSettings {
    /// Unix-Socket, zum Beispiel `/run/clamav/clamd.ctl`; relativ zu `kop.toml`. Entweder dies oder `adresse`.
    #[serde(default)]
    pub socket: Option<PathBuf>,

    /// Rechner und Port, zum Beispiel `127.0.0.1:3310`. Die Dateien gehen unverschlüsselt dorthin: nur im eigenen
    /// Rechner oder in einem geschützten Netz.
    #[serde(default)]
    pub adresse: Option<String>,

    /// So lange darf die Prüfung einer Datei dauern, in Sekunden (1 bis 600).
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = LONGEST_SCAN_S))]
    pub zeitlimit_sekunden: u64,

    /// Größte Datei, die geprüft wird, in Megabyte (1 bis 4000). Größere gelten als nicht prüfbar und werden ein
    /// Klärungsfall. Nicht größer als `StreamMaxLength` und `MaxFileSize` von clamd (je 25 bei Debian).
    #[serde(default = "default_size")]
    #[schemars(range(min = 1, max = LARGEST_FILE_MB))]
    pub groesste_datei_mb: u64,
}

/// Prüfung durch einen Dienst, der ICAP spricht (RFC 3507), mit der Methode RESPMOD.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IcapSettings {
    /// Adresse des Dienstes, zum Beispiel `icap://127.0.0.1:1344/virus_scan`. Die Dateien gehen unverschlüsselt
    /// dorthin: nur im eigenen Rechner oder in einem geschützten Netz.
    pub url: String,

    /// So lange darf die Prüfung einer Datei dauern, in Sekunden (1 bis 600).
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = LONGEST_SCAN_S))]
    pub zeitlimit_sekunden: u64,

    /// Größte Datei, die geprüft wird, in Megabyte (1 bis 4000). Größere gelten als nicht prüfbar und werden ein
    /// Klärungsfall. Nicht größer, als der Dienst selbst prüft: manche lassen Größeres ungeprüft durch.
    #[serde(default = "default_size")]
    #[schemars(range(min = 1, max = LARGEST_FILE_MB))]
    pub groesste_datei_mb: u64,
}

fn default_limit() -> u64 {
    120
}

fn default_size() -> u64 {
    25
}

pub(crate) struct ClamdPlan {
    pub(crate) target: Target,
    pub(crate) bounds: Bounds,
}

pub(crate) struct IcapPlan {
    /// Host and port, as connected to.
    pub(crate) address: String,
    /// The service's address, as requested.
    pub(crate) url: String,
    /// Value of the header Host.
    pub(crate) host: String,
    pub(crate) bounds: Bounds,
}

pub(crate) fn clamd(settings: &serde_json::Value) -> Result<ClamdPlan, Vec<SettingProblem>> {
    let settings: ClamdSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
    let bounds = bounds(settings.zeitlimit_sekunden, settings.groesste_datei_mb)?;
    match (settings.socket, settings.adresse) {
        (Some(path), None) if !path.as_os_str().is_empty() => {
            Ok(ClamdPlan { target: Target::Unix(path), bounds })
        }
        (None, Some(address)) if is_address(&address) => {
            Ok(ClamdPlan { target: Target::Tcp(address), bounds })
        }
        (None, Some(_)) => Err(vec![problem(
            "adresse",
            "Die Adresse braucht Rechner und Port, zum Beispiel 127.0.0.1:3310",
            "the address needs host and port, e.g. 127.0.0.1:3310",
        )]),
        _ => Err(vec![problem(
            "socket",
            "Für clamd muss genau eines stehen: socket oder adresse",
            "clamd needs exactly one of socket and adresse",
        )]),
    }
}

pub(crate) fn icap(settings: &serde_json::Value) -> Result<IcapPlan, Vec<SettingProblem>> {
    let settings: IcapSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
    let bounds = bounds(settings.zeitlimit_sekunden, settings.groesste_datei_mb)?;
    let wrong = || {
        vec![problem(
            "url",
            "Die Adresse muss die Form icap://rechner:port/dienst haben",
            "the address must have the form icap://host:port/service",
        )]
    };
    let url = settings.url;
    if !url.bytes().all(|b| b.is_ascii_graphic()) || url.contains(['@', '#']) {
        return Err(wrong());
    }
    let (host, service) =
        url.strip_prefix("icap://").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    // 1344 is the protocol's own port (RFC 3507 section 4.2).
    let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if named { host.to_owned() } else { format!("{host}:1344") };
    if service.is_empty() || !is_address(&address) {
        return Err(wrong());
    }
    Ok(IcapPlan { address, host: host.to_owned(), url: url.clone(), bounds })
}

fn bounds(seconds: u64, megabytes: u64) -> Result<Bounds, Vec<SettingProblem>> {
    if !(1..=LONGEST_SCAN_S).contains(&seconds) {
        return Err(vec![problem(
            "zeitlimit_sekunden",
            "Das Zeitlimit muss zwischen 1 und 600 Sekunden liegen",
            "the time limit must be 1 to 600 seconds",
        )]);
    }
    if !(1..=LARGEST_FILE_MB).contains(&megabytes) {
        return Err(vec![problem(
            "groesste_datei_mb",
            "Die größte Datei muss zwischen 1 und 4000 Megabyte liegen",
            "the largest file must be 1 to 4000 megabytes",
        )]);
    }
    Ok(Bounds { time: Duration::from_secs(seconds), largest: megabytes * 1_000_000 })
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && port.parse::<u16>().is_ok_and(|port| port > 0)
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    })
}

fn problem(path: &str, de: &str, en: &str) -> SettingProblem {
    SettingProblem { path: path.to_owned(), de: de.to_owned(), en: en.to_owned() }
}
