// SPDX-License-Identifier: EUPL-1.2
//! What `kop.toml` says about operation: backpressure, log, alarms.

use kop_connector_api::Secret;
use kop_core::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::source::SourceFile;

/// Rückstau: ab wann Eingänge mit der Bitte abgewiesen werden, später wiederzukommen (HTTP 503 mit `Retry-After`,
/// bei intelliForm als Fehlerantwort). Von selbst wieder offen, sobald deutlich Luft ist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RueckstauDatei {
    /// Höchstens so viele Eingänge und Zustellungen, die noch nicht erledigt sind. Wieder offen unter vier Fünfteln.
    pub hoechstens: u64,
    /// So viel Platz muss auf dem Datenträger des Datenordners frei sein, in Megabyte; ohne Angabe 500, auf kleinen
    /// Datenträgern ein Zehntel. Wieder offen bei einem Zehntel mehr.
    pub frei_mb: Option<u64>,
    /// So viel Prozent des Datenträgers müssen frei sein. Wieder offen bei einem Zehntel mehr.
    #[schemars(range(max = 90))]
    pub frei_prozent: u8,
}

impl Default for RueckstauDatei {
    fn default() -> Self {
        Self { hoechstens: 100_000, frei_mb: None, frei_prozent: 0 }
    }
}

/// Protokoll des Dienstes auf der Standardfehlerausgabe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProtokollDatei {
    /// `text` für Menschen, `json` für Programme; `kop serve --log` geht vor.
    pub format: LogFormat,
}

/// Form des Protokolls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Zeilen für Menschen.
    #[default]
    Text,
    /// Je Zeile ein JSON-Objekt.
    Json,
}

/// Meldungen an ein Funktionspostfach: je Ursache eine, täglich erinnert, ohne personenbezogene Daten.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlarmDatei {
    /// Mailserver mit Port, zum Beispiel `mail.musterstadt.example:587`.
    pub server: String,
    /// Wie die Verbindung geschützt ist.
    #[serde(default)]
    pub tls: MailTls,
    /// Benutzer am Mailserver; ohne ihn wird ohne Anmeldung gesendet.
    #[serde(default)]
    pub benutzer: Option<String>,
    /// Passwort dazu.
    #[serde(default)]
    pub passwort: Option<Secret>,
    /// Absenderadresse.
    pub von: String,
    /// Empfänger, zum Beispiel ein Funktionspostfach.
    pub an: Vec<String>,
    /// Melden, wenn etwas so viele Minuten nicht zugestellt oder nicht verarbeitet ist.
    #[serde(default = "hour")]
    pub aelter_als_minuten: u64,
    /// Melden, wenn ein Zertifikat in so vielen Tagen abläuft.
    #[serde(default = "month")]
    pub zertifikat_tage: u32,
    /// So oft wird nach Neuem gesehen, in Sekunden; was dabei zusammenkommt, steht in einer Mail.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 3600))]
    pub alle_sekunden: u64,
    /// Nach so vielen Stunden wird an Offenes erinnert.
    #[serde(default = "day")]
    #[schemars(range(min = 1))]
    pub erinnern_stunden: u64,
}

/// Wie die Verbindung zum Mailserver geschützt ist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Beginnt unverschlüsselt und wechselt (STARTTLS, RFC 3207); ohne Wechsel wird nicht gesendet.
    #[default]
    Starttls,
    /// Von Anfang an verschlüsselt (RFC 8314).
    Tls,
    /// Unverschlüsselt; nur zum eigenen Rechner.
    Keine,
}

fn hour() -> u64 {
    60
}

fn month() -> u32 {
    30
}

fn minute() -> u64 {
    60
}

fn day() -> u64 {
    24
}

/// What types cannot say about the settings for operation.
pub(crate) fn problems(
    source: &SourceFile,
    pressure: RueckstauDatei,
    alarm: Option<&AlarmDatei>,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut wrong = |keys: &[&str], de: &str, en: &str| {
        problems.push(Diagnostic::new("KOP-K006", de, en).with_place(source.place(keys)));
    };
    if pressure.hoechstens == 0 || pressure.frei_prozent > 90 {
        wrong(
            &["rueckstau"],
            "Mit hoechstens = 0 oder frei_prozent über 90 würde nie ein Antrag angenommen.",
            "With hoechstens = 0 or frei_prozent above 90 no application would ever be accepted.",
        );
    }
    if let Some(alarm) = alarm {
        let address = |text: &str| {
            text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        };
        if !address(&alarm.von) || alarm.an.is_empty() || !alarm.an.iter().all(|to| address(to)) {
            wrong(
                &["alarm"],
                "Für Meldungen braucht es einen Absender (von) und mindestens einen Empfänger (an), je als Mailadresse.",
                "Alarms need a sender (von) and at least one recipient (an), each a mail address.",
            );
        }
        if alarm
            .server
            .rsplit_once(':')
            .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            wrong(
                &["alarm", "server"],
                "Der Mailserver braucht Rechner und Port, zum Beispiel mail.musterstadt.example:587.",
                "The mail server needs host and port, e.g. mail.musterstadt.example:587.",
            );
        }
        if alarm.benutzer.is_some() != alarm.passwort.is_some() {
            wrong(
                &["alarm"],
                "Benutzer und Passwort am Mailserver gehören zusammen.",
                "User and password at the mail server belong together.",
            );
        }
        if alarm.tls == MailTls::Keine && alarm.benutzer.is_some() {
            wrong(
                &["alarm", "tls"],
                "Ohne Verschlüsselung wird kein Passwort gesendet: tls = \"starttls\" oder \"tls\" nehmen.",
                "No password is sent without encryption: take tls = \"starttls\" or \"tls\".",
            );
        }
        if !(1..=3600).contains(&alarm.alle_sekunden) || alarm.erinnern_stunden == 0 {
            wrong(
                &["alarm"],
                "alle_sekunden muss zwischen 1 und 3600 liegen, erinnern_stunden ab 1.",
                "alle_sekunden must be 1 to 3600, erinnern_stunden 1 or more.",
            );
        }
    }
    problems
}
