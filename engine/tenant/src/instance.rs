// SPDX-License-Identifier: EUPL-1.2
//! `kop.toml`: where the engine listens and where it finds its folders. Knows nothing of tenants' contents.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use kop_connector_api::{ScannerKind, Secret, SettingProblem};
use kop_core::{Diagnostic, diagnostic::Place};
use kop_xml::DEFAULT_SCHEMA_MEMORY;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    operation::{self, AlarmDatei, LogFormat, ProtokollDatei, RueckstauDatei},
    source::{SourceFile, read_bounded},
};

/// Largest `kop.toml` in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Konfiguration einer Instanz (`kop.toml`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InstanzDatei {
    /// HTTP-Server.
    pub server: ServerDatei,
    /// Daten der Instanz.
    pub daten: DatenDatei,
    /// Bibliotheken, die alle Mandanten nutzen.
    pub bibliothek: BibliothekDatei,
    /// Schemata im Arbeitsspeicher.
    pub schemata: SchemataDatei,
    /// Virenprüfung aller Dateien, bevor etwas das Haus verlässt: `art` und die Einstellungen dieser Art. Ohne diesen
    /// Abschnitt wird nichts geprüft.
    pub virenpruefung: Option<Map<String, Value>>,
    /// Rückstau: ab wann Eingänge mit der Bitte abgewiesen werden, später wiederzukommen.
    pub rueckstau: RueckstauDatei,
    /// Protokoll des Dienstes.
    pub protokoll: ProtokollDatei,
    /// Meldungen an ein Funktionspostfach. Ohne diesen Abschnitt wird nichts gemeldet.
    pub alarm: Option<AlarmDatei>,
    /// Spuren (Traces) an einen Sammler. Ohne diesen Abschnitt gibt es keine.
    pub spuren: Option<Map<String, Value>>,
    /// Weckrufe zwischen mehreren Prozessen; nur mit PostgreSQL.
    pub wecker: WeckerDatei,
}

/// Schemata im Arbeitsspeicher.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SchemataDatei {
    /// So viel Arbeitsspeicher dürfen übersetzte Schemata belegen, in MB; was am längsten nicht gebraucht wurde, geht
    /// zuerst und wird bei Bedarf neu übersetzt.
    #[schemars(range(min = 1, max = 65_536))]
    pub speicher_mb: usize,
}

impl Default for SchemataDatei {
    fn default() -> Self {
        Self { speicher_mb: DEFAULT_SCHEMA_MEMORY >> 20 }
    }
}

/// HTTP-Server.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerDatei {
    /// Adresse und Port, z. B. `127.0.0.1:8080`; Port 0 wählt einen freien.
    #[schemars(with = "String")]
    pub adresse: SocketAddr,
    /// Adresse und Port für den Betrieb: `/healthz`, `/readyz` und `/metrics`. Ohne Angabe `127.0.0.1:8081`. Gehört
    /// in kein öffentliches Netz: wer sie erreicht, sieht Zahlen über alle Mandanten.
    #[schemars(with = "Option<String>")]
    pub verwaltung: Option<SocketAddr>,
}

impl Default for ServerDatei {
    fn default() -> Self {
        Self { adresse: SocketAddr::from(([127, 0, 0, 1], 8080)), verwaltung: None }
    }
}

/// Daten der Instanz.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatenDatei {
    /// Ordner für Datenbank, Dateien und importierte Schemata; relativ zu `kop.toml`.
    pub ordner: PathBuf,
    /// Verweis auf die Adresse einer PostgreSQL-Datenbank (`postgresql://…`), z. B. `env:KOP_DATENBANK`. Ohne Angabe
    /// liegt alles in einer SQLite-Datei im Ordner. Mit Angabe können mehrere Prozesse und Rechner zusammenarbeiten;
    /// den Ordner teilen sie sich.
    pub datenbank: Option<Secret>,
}

impl Default for DatenDatei {
    fn default() -> Self {
        Self { ordner: "daten".into(), datenbank: None }
    }
}

/// Weckrufe zwischen mehreren Prozessen.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WeckerDatei {
    /// Verweis auf die Adresse eines RabbitMQ-Servers (`amqp://…`), z. B. `env:KOP_RABBITMQ`. Ohne Angabe weckt
    /// PostgreSQL selbst.
    pub rabbitmq: Option<Secret>,
}

/// Bibliotheken, die alle Mandanten nutzen.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BibliothekDatei {
    /// Ordner der mitgelieferten Zuordnungen; relativ zu `kop.toml`.
    pub zuordnungen: Option<PathBuf>,
    /// Ordner der mitgelieferten Schemaprofile; relativ zu `kop.toml`.
    pub schemata: Option<PathBuf>,
}

/// An instance's configuration with all paths resolved.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// Folder of `kop.toml`; relative paths in settings start here.
    pub base_dir: PathBuf,
    /// Where the server listens.
    pub address: SocketAddr,
    /// Folder of database, blobs and imported schemas.
    pub data_dir: PathBuf,
    /// The address of a PostgreSQL database; SQLite in the data folder without.
    pub database: Option<Secret>,
    /// The address of a RabbitMQ broker for wake-ups.
    pub broker: Option<Secret>,
    /// The shared mapping library.
    pub library_dir: Option<PathBuf>,
    /// The shipped profile schemas.
    pub schemas_dir: Option<PathBuf>,
    /// What compiled schemas may take in memory, in bytes.
    pub schema_memory: usize,
    /// Folder that holds one folder per tenant.
    pub tenants_dir: PathBuf,
    /// Where operators' addresses listen; `None` for the default.
    pub admin: Option<SocketAddr>,
    /// The virus scanner: its kind and settings, not yet checked by the kind.
    pub scanner: Option<ScannerConfig>,
    /// When intakes ask senders to come later.
    pub pressure: RueckstauDatei,
    /// How the service logs.
    pub log: LogFormat,
    /// Mails to operators.
    pub alarm: Option<AlarmDatei>,
    /// Traces: settings that are not yet checked by whoever sends them.
    pub traces: Option<TraceConfig>,
}

/// `[spuren]`.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The settings.
    pub settings: Value,
    /// Where it stands.
    place: Place,
}

impl TraceConfig {
    /// What is wrong with the settings, as the author of `kop.toml` reads it.
    pub fn told(&self, problems: Vec<SettingProblem>) -> Vec<Diagnostic> {
        told(&self.place, problems)
    }
}

fn told(place: &Place, problems: Vec<SettingProblem>) -> Vec<Diagnostic> {
    let at = |problem: SettingProblem| {
        Diagnostic::new("KOP-K006", format!("{}.", problem.de), format!("{}.", problem.en))
            .with_place(place.clone())
    };
    problems.into_iter().map(at).collect()
}

/// `[virenpruefung]`.
#[derive(Clone, Debug)]
pub struct ScannerConfig {
    /// The kind's name.
    pub kind: String,
    /// The kind's settings, without `art`.
    pub settings: Value,
    /// Where it stands.
    pub place: Place,
}

impl InstanceConfig {
    /// Reads `kop.toml`; `path` is the file or its folder.
    ///
    /// # Errors
    /// The file cannot be read or has mistakes; all of them, with their places.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let file = if path.is_dir() { path.join("kop.toml") } else { path.to_owned() };
        let text = read_bounded(&file, "kop.toml", MAX_BYTES).map_err(|problem| vec![problem])?;
        let source = SourceFile::new("kop.toml", text);
        let read: InstanzDatei = source.parse().map_err(|problem| vec![problem])?;
        let base_dir = match file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let scanner = read.virenpruefung.map(|settings| ScannerConfig {
            kind: settings.get("art").and_then(Value::as_str).unwrap_or_default().to_owned(),
            settings: crate::check::settings_of(&settings),
            place: source.place(&["virenpruefung"]),
        });
        let traces = read.spuren.map(|settings| TraceConfig {
            settings: Value::Object(settings),
            place: source.place(&["spuren"]),
        });
        let problems = operation::problems(&source, read.rueckstau, read.alarm.as_ref());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            admin: read.server.verwaltung,
            scanner,
            pressure: read.rueckstau,
            log: read.protokoll.format,
            alarm: read.alarm,
            traces,
            address: read.server.adresse,
            data_dir: base_dir.join(read.daten.ordner),
            database: read.daten.datenbank,
            broker: read.wecker.rabbitmq,
            library_dir: read.bibliothek.zuordnungen.map(|dir| base_dir.join(dir)),
            schemas_dir: read.bibliothek.schemata.map(|dir| base_dir.join(dir)),
            schema_memory: read.schemata.speicher_mb.clamp(1, 65_536) << 20,
            tenants_dir: base_dir.join("mandanten"),
            base_dir,
        })
    }
}

impl ScannerConfig {
    /// The kind that it names, once that has nothing against the settings.
    ///
    /// # Errors
    /// There is no such kind, or what it says about the settings.
    pub fn check<'a>(
        &self,
        kinds: &'a [std::sync::Arc<dyn ScannerKind>],
    ) -> Result<&'a std::sync::Arc<dyn ScannerKind>, Vec<Diagnostic>> {
        let at = |de: String, en: String| Diagnostic::new("KOP-K006", de, en).with_place(self.place.clone());
        let Some(kind) = kinds.iter().find(|kind| kind.name() == self.kind) else {
            let known: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            let known = known.join(", ");
            return Err(vec![at(
                format!("Die Virenprüfung „{}“ gibt es nicht; möglich sind: {known}.", self.kind),
                format!("There is no virus scanner \"{}\"; there are: {known}.", self.kind),
            )]);
        };
        let problems = told(&self.place, kind.check(&self.settings));
        if problems.is_empty() { Ok(kind) } else { Err(problems) }
    }
}
