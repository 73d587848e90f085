// SPDX-License-Identifier: EUPL-1.2
//! The example Musterstadt, loaded as the program does it, with its Bauantrag ready to be handed in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use kop_connector_api::{Adapter, ConnectorKind, HttpIntake, IntakeRequest, PayloadFile};
use kop_core::{Clock, Eingang, IdSource, TenantId, Zeitpunkt};
use kop_flow::{Engine, EngineParts, accept::preview};
use kop_forms::ozg_cloud;
use kop_mapping::{HostOptions, MappingHost};
use kop_store::{DataFolder, Store};
use kop_tenant::{Generation, InstanceConfig, LoadContext, LoadedMapping, Registry, Tenants};
use kop_workshop::{Doors, case, read_payload};
use kop_xml::SchemaStore;

use crate::Error;

/// The example, in a folder of its own.
pub struct Instance {
    /// The folder; data and deliveries go there.
    pub folder: PathBuf,
    /// Script host.
    pub host: Arc<MappingHost>,
    /// Shipped profiles.
    pub schemas: Arc<SchemaStore>,
    /// The example's tenants.
    pub tenants: Arc<Tenants>,
    doors: Doors,
    kinds: Vec<Arc<dyn ConnectorKind>>,
    config: InstanceConfig,
}

impl Instance {
    /// Copies the example's configuration below `root` and loads it.
    ///
    /// # Errors
    /// When the example is missing or broken.
    pub fn load(root: &Path) -> Result<Self, Error> {
        let workspace = workspace();
        let folder = root.join("examples/musterstadt");
        std::fs::create_dir_all(folder.join("mandanten/musterstadt"))?;
        for file in ["kop.toml", "mandanten/musterstadt/mandant.toml"] {
            std::fs::copy(workspace.join("examples/musterstadt").join(file), folder.join(file))?;
        }
        for library in ["mappings", "xoev-schemas"] {
            std::os::unix::fs::symlink(workspace.join(library), root.join(library))?;
        }
        let said = |problems: Vec<kop_core::Diagnostic>| -> Error { format!("{problems:?}").into() };
        let config = InstanceConfig::load(&folder).map_err(said)?;
        let schemas = SchemaStore::open(&config.data_dir.join("schemata"), config.schemas_dir.as_deref());
        let schemas = Arc::new(schemas.map_err(said)?);
        let host = Arc::new(MappingHost::new(HostOptions::default()));
        let intakes: Vec<Arc<dyn HttpIntake>> = vec![
            Arc::new(ozg_cloud::OzgCloudIntake::new()),
            Arc::new(kop_forms::intelliform::IntelliformIntake::new(Arc::new(WallClock))),
        ];
        let adapters: Vec<Arc<dyn Adapter>> = vec![Arc::new(ozg_cloud::OzgCloudAdapter)];
        let doors = Doors { intakes, adapters };
        let kinds: Vec<Arc<dyn ConnectorKind>> = vec![Arc::new(kop_files::FolderKind)];
        let context = LoadContext {
            registry: Registry { intakes: &doors.intakes, kinds: &kinds, sources: &[] },
            host: &host,
            message_namespace: &|_, _, _| Some(String::new()),
            services: &[],
        };
        let (tenants, broken) = Tenants::load_all(&config, &context);
        if !broken.is_empty() {
            return Err(format!("{broken:?}").into());
        }
        Ok(Self { folder, host, schemas, tenants: Arc::new(tenants), doors, kinds, config })
    }

    /// The tenant's generation.
    ///
    /// # Errors
    /// Never, once loaded.
    pub fn generation(&self) -> Result<Arc<Generation>, Error> {
        self.tenants.all().into_iter().next().ok_or_else(|| "kein Mandant".into())
    }

    /// One of the tenant's mappings.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn mapping(&self, name: &str) -> Result<Arc<LoadedMapping>, Error> {
        self.generation()?.mappings.get(name).cloned().ok_or_else(|| name.to_owned().into())
    }

    /// The intake and the adapter of the Bauantrag.
    pub fn ozg_cloud(&self) -> (&dyn HttpIntake, &dyn Adapter) {
        (&*self.doors.intakes[0], &*self.doors.adapters[0])
    }

    /// A Bauantrag, and the files beside it, as its sender would send them.
    ///
    /// # Errors
    /// When a file of the example is missing.
    pub fn pack(&self, file: &Path) -> Result<Packed, Error> {
        let beside = bauantrag();
        let mut files = Vec::new();
        for (folder, representation) in [("representation", true), ("anlagen", false)] {
            for entry in std::fs::read_dir(beside.with_file_name(folder))? {
                let entry = entry?;
                files.push(PayloadFile {
                    representation,
                    name: entry.file_name().to_string_lossy().into_owned(),
                    content_type: "application/pdf".to_owned(),
                    content: std::fs::read(entry.path())?.into(),
                });
            }
        }
        let (content_type, body) = self.ozg_cloud().0.pack(std::fs::read(file)?.into(), &files);
        Ok(Packed { tenant: tenant()?, content_type, body })
    }

    /// The Bauantrag in the internal format.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn eingang(&self) -> Result<Eingang, Error> {
        let (tenant, file) = (tenant()?, bauantrag());
        let (source, normalised) = read_payload(&self.doors, &tenant, &file, Some("ozg-cloud"))
            .await
            .map_err(|problems| format!("{problems:?}"))?;
        Ok(preview(&tenant, source, normalised, case::NUMBER, case::moment()))
    }

    /// An engine over a fresh data folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn engine(&self) -> Result<Arc<Engine>, Error> {
        let data = DataFolder::serve_plain(&self.config.data_dir).map_err(|error| format!("{error:?}"))?;
        Ok(Engine::new(EngineParts {
            base_dir: self.folder.clone(),
            tenants: self.tenants.clone(),
            store: Arc::new(data.store) as Arc<dyn Store>,
            blobs: Arc::new(data.blobs),
            archive: kop_flow::MappingArchive::new(self.config.data_dir.join("zuordnungen")),
            host: self.host.clone(),
            schemas: self.schemas.clone(),
            adapters: self.doors.adapters.clone(),
            scanner: None,
            traces: None,
            kinds: self.kinds.clone(),
            sources: Vec::new(),
            clock: Arc::new(WallClock),
            ids: Arc::new(Ids),
        }))
    }
}

/// A request's body, ready to be sent again and again.
pub struct Packed {
    tenant: TenantId,
    content_type: String,
    body: Bytes,
}

impl Packed {
    /// The request.
    ///
    /// # Errors
    /// When the content type is none.
    pub fn request(&self) -> Result<IntakeRequest, Error> {
        let head = http::Request::post("/").header(http::header::CONTENT_TYPE, &self.content_type).body(())?;
        let body = self.body.clone();
        Ok(IntakeRequest {
            tenant: self.tenant.clone(),
            head: head.into_parts().0,
            body: Box::pin(futures_util::stream::once(std::future::ready(Ok(body)))),
            settings: Arc::new(serde_json::json!({})),
            base_url: "http://localhost".to_owned(),
        })
    }
}

/// The workspace's root folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The example's Bauantrag.
pub fn bauantrag() -> PathBuf {
    workspace().join("examples/musterstadt/eingaenge/ozg-cloud/formData.json")
}

fn tenant() -> Result<TenantId, Error> {
    "musterstadt".parse().map_err(|_| "Mandant".into())
}

struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods)] // the place where a benchmark's engine meets the machine's clock
    fn now(&self) -> Zeitpunkt {
        Zeitpunkt::now()
    }
}

struct Ids;

impl IdSource for Ids {
    #[allow(clippy::disallowed_methods)] // as above, for ids
    fn next(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }
}

/// Copies a folder with all that is below it.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
