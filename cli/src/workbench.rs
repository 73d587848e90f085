// SPDX-License-Identifier: EUPL-1.2
//! What the commands for authors of mappings work with. An instance is not needed: a mapping's own folder says where
//! the library is.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kop_core::{Diagnostic, Eingang, TenantId};
use kop_flow::accept::preview;
use kop_mapping::{HostOptions, MappingHost};
use kop_tenant::{InstanceConfig, LoadedMapping, load_mapping};
use kop_workshop::{case, read_payload};
use kop_xml::SchemaStore;

use crate::{
    instance::{open_schemas, with_context},
    registry,
};

/// Script host, schemas, vendors and the library.
pub(crate) struct Workbench {
    pub(crate) host: Arc<MappingHost>,
    pub(crate) schemas: SchemaStore,
    pub(crate) doors: kop_workshop::Doors,
    pub(crate) library: Option<PathBuf>,
}

impl Workbench {
    /// The workbench for a mapping's folder, in an instance or beside none.
    pub(crate) fn open(folder: &Path, mapping: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        let beside = mapping
            .and_then(|path| path.canonicalize().ok())
            .and_then(|path| path.parent().map(Path::to_owned));
        let (library, schemas) = if folder.join("kop.toml").is_file() {
            let config = InstanceConfig::load(folder)?;
            let schemas = open_schemas(&config.data_dir, config.schemas_dir.as_deref())?;
            (beside.or(config.library_dir), schemas)
        } else {
            let library = beside.unwrap_or_else(|| folder.join("mappings"));
            let profiles =
                library.parent().map(|root| root.join("xoev-schemas")).filter(|path| path.is_dir());
            (Some(library), open_schemas(&folder.join("daten"), profiles.as_deref())?)
        };
        let host = Arc::new(MappingHost::new(HostOptions::default()));
        Ok(Self { host, schemas, doors: registry::doors(), library })
    }

    /// Loads a mapping of the library.
    pub(crate) fn load(&self, name: &str) -> Result<LoadedMapping, Vec<Diagnostic>> {
        with_context(&self.host, &self.schemas, &self.doors, |context| {
            load_mapping(name, None, self.library.as_deref(), context, &mut Vec::new())
        })
    }

    /// Reads a payload file: as a vendor sends it, or a document in the Ablageformat.
    pub(crate) async fn read(
        &self,
        payload: &Path,
        source: Option<&str>,
    ) -> Result<Eingang, Vec<Diagnostic>> {
        if source.is_none()
            && let Ok(bytes) = std::fs::read(payload)
            && let Ok(eingang) = serde_json::from_slice::<Eingang>(&bytes)
        {
            return Ok(eingang);
        }
        let tenant: TenantId = "vorschau".parse().unwrap_or_else(|_| unreachable!("a valid tenant id"));
        let (source, normalised) = read_payload(&self.doors, &tenant, payload, source).await?;
        Ok(preview(&tenant, source, normalised, case::NUMBER, case::moment()))
    }
}

/// The name of a mapping: its folder's.
pub(crate) fn name_of(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
