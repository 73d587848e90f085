// SPDX-License-Identifier: EUPL-1.2
//! `kop.toml`: where the engine listens and where it finds its folders. Knows nothing of tenants' contents.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use kop_core::Diagnostic;
use kop_xml::DEFAULT_SCHEMA_MEMORY;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::source::{SourceFile, read_bounded};

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
}

impl Default for ServerDatei {
    fn default() -> Self {
        Self { adresse: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

/// Daten der Instanz.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatenDatei {
    /// Ordner für Datenbank, Dateien und importierte Schemata; relativ zu `kop.toml`.
    pub ordner: PathBuf,
}

impl Default for DatenDatei {
    fn default() -> Self {
        Self { ordner: "daten".into() }
    }
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
    /// The shared mapping library.
    pub library_dir: Option<PathBuf>,
    /// The shipped profile schemas.
    pub schemas_dir: Option<PathBuf>,
    /// What compiled schemas may take in memory, in bytes.
    pub schema_memory: usize,
    /// Folder that holds one folder per tenant.
    pub tenants_dir: PathBuf,
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
        Ok(Self {
            address: read.server.adresse,
            data_dir: base_dir.join(read.daten.ordner),
            library_dir: read.bibliothek.zuordnungen.map(|dir| base_dir.join(dir)),
            schemas_dir: read.bibliothek.schemata.map(|dir| base_dir.join(dir)),
            schema_memory: read.schemata.speicher_mb.clamp(1, 65_536) << 20,
            tenants_dir: base_dir.join("mandanten"),
            base_dir,
        })
    }
}
