// SPDX-License-Identifier: EUPL-1.2
//! An instance as the commands need it: configuration, script host, schemas, tenants.

use std::{path::Path, sync::Arc};

use kop_connector_api::{Scanner, Traces};
use kop_core::{Diagnostic, Stage};
use kop_flow::{Engine, EngineParts};
use kop_mapping::{HostOptions, MappingHost};
use kop_store::Store;
use kop_tenant::{InstanceConfig, LoadContext, Registry, Tenants};
use kop_web::otlp::TracePlan;
use kop_workshop::{CaseForms, Doors};
use kop_xml::SchemaStore;

use crate::{data::Data, keys::InstanceKeys, machine, registry};

/// Everything that is loaded from an instance's folder.
pub(crate) struct Instance {
    pub(crate) config: InstanceConfig,
    pub(crate) host: Arc<MappingHost>,
    pub(crate) schemas: Arc<SchemaStore>,
    pub(crate) tenants: Arc<Tenants>,
    /// Tenants that could not be loaded, by their folders' names.
    pub(crate) broken: Vec<(String, Vec<Diagnostic>)>,
    pub(crate) doors: Doors,
    /// Keys of the tenants' stored data.
    pub(crate) keys: Arc<InstanceKeys>,
    /// Looks at files before anything leaves.
    pub(crate) scanner: Option<Arc<dyn Scanner>>,
    /// Where traces go.
    pub(crate) traces: Option<TracePlan>,
}

impl Instance {
    /// Loads `kop.toml` and every tenant. A broken tenant is kept apart, a broken `kop.toml` is the end.
    pub(crate) fn load(folder: &Path) -> Result<Self, Vec<Diagnostic>> {
        let config = InstanceConfig::load(folder)?;
        let scanner = match &config.scanner {
            Some(found) => {
                let kinds = registry::scanners();
                let kind = found.check(&kinds)?;
                Some(kind.build(&found.settings, &config.base_dir).map_err(|problem| vec![problem])?)
            }
            None => None,
        };
        let traces = match &config.traces {
            Some(found) => Some(TracePlan::read(&found.settings).map_err(|problems| found.told(problems))?),
            None => None,
        };
        let schemas = Arc::new(open_schemas(&config.data_dir, config.schemas_dir.as_deref())?);
        schemas.bound_memory(config.schema_memory);
        let host = Arc::new(MappingHost::new(HostOptions::default()));
        let doors = registry::doors();
        let tenants = Arc::new(Tenants::of([]));
        let keys = InstanceKeys::new(&config.tenants_dir);
        let mut instance =
            Self { config, host, schemas, tenants, broken: Vec::new(), doors, keys, scanner, traces };
        instance.broken = instance.reload();
        Ok(instance)
    }

    /// Loads the tenants anew and swaps them in; one that is broken now keeps what it had. Gives the broken ones.
    pub(crate) fn reload(&self) -> Vec<(String, Vec<Diagnostic>)> {
        self.keys.forget();
        with_context(&self.host, &self.schemas, &self.doors, |context| {
            self.tenants.reload_all(&self.config, context)
        })
    }

    /// What is to be said when productive tenants have no virus scanner.
    pub(crate) fn unscanned(&self) -> Option<Diagnostic> {
        let productive = self.tenants.all().iter().any(|one| one.stage == Stage::Produktion);
        (self.scanner.is_none() && productive).then(|| {
            Diagnostic::new(
                "KOP-F042",
                "Es ist keine Virenprüfung eingerichtet; Dateien gehen ungeprüft an produktive Empfänger.",
                "No virus scanner is set up; files go to productive receivers unscanned.",
            )
            .with_hint("In kop.toml den Abschnitt [virenpruefung] anlegen; siehe docs/betrieb.md.")
        })
    }

    /// The engine over opened data, with a place for the spans of traces where there are any.
    pub(crate) fn engine(&self, data: &Data, traces: Option<Arc<dyn Traces>>) -> Arc<Engine> {
        let parts = EngineParts {
            base_dir: self.config.base_dir.clone(),
            tenants: self.tenants.clone(),
            store: data.store.clone() as Arc<dyn Store>,
            blobs: data.blobs.clone(),
            archive: kop_flow::MappingArchive::new(self.config.data_dir.join("zuordnungen")),
            host: self.host.clone(),
            schemas: self.schemas.clone(),
            adapters: self.doors.adapters.clone(),
            kinds: registry::kinds(),
            sources: registry::sources(),
            scanner: self.scanner.clone(),
            traces,
            clock: Arc::new(machine::MachineClock),
            ids: Arc::new(machine::TimeOrderedIds),
        };
        Engine::watching(parts, Arc::new(CaseForms(self.doors.clone())))
    }
}

/// Does something with all that loading tenants and mappings needs.
pub(crate) fn with_context<T>(
    host: &Arc<MappingHost>,
    schemas: &SchemaStore,
    doors: &Doors,
    work: impl FnOnce(&LoadContext<'_>) -> T,
) -> T {
    let (kinds, sources) = (registry::kinds(), registry::sources());
    // Whether a message's schema is there, without compiling it.
    let namespace = |standard: &str, version: &str, root: &str| {
        let package = schemas.find(standard, version)?;
        let message = package.info().messages.iter().find(|message| message.root == root)?;
        Some(message.namespace.clone())
    };
    work(&LoadContext {
        registry: Registry { intakes: &doors.intakes, kinds: &kinds, sources: &sources },
        host,
        message_namespace: &namespace,
        services: &schemas.services(),
    })
}

/// Imported packages below the data folder, and the shipped profiles.
pub(crate) fn open_schemas(data_dir: &Path, profiles: Option<&Path>) -> Result<SchemaStore, Vec<Diagnostic>> {
    SchemaStore::open(&data_dir.join("schemata"), profiles)
}
