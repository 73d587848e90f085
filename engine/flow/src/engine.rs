// SPDX-License-Identifier: EUPL-1.2
//! Everything that the steps share. Built once by the binary, handed around as one `Arc`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use kop_connector_api::{
    Adapter, Connector, ConnectorKind, Expiry, Scanner, SourceKind, SpanNumbers, Traces, World,
};
use kop_core::{Clock, ContentHash, Diagnostic, IdSource, TenantId};
use kop_mapping::MappingHost;
use kop_store::{BlobStore, Store};
use kop_tenant::{Generation, Receiver, SOURCE_KIND, Tenants};
use kop_xml::SchemaStore;

use crate::{
    archive::MappingArchive, blobs::StoredBlobs, drift::TestedForms, metrics::Metrics, scan::Scanning,
    wake::Bell,
};

/// What the binary puts together.
pub struct EngineParts {
    /// Instance folder: relative paths of connectors start here.
    pub base_dir: PathBuf,
    /// Tenants' configurations.
    pub tenants: Arc<Tenants>,
    /// Keeps everything.
    pub store: Arc<dyn Store>,
    /// Keeps files.
    pub blobs: Arc<BlobStore>,
    /// Keeps the states of mappings that made messages.
    pub archive: MappingArchive,
    /// Runs scripts.
    pub host: Arc<MappingHost>,
    /// Schema packages.
    pub schemas: Arc<SchemaStore>,
    /// Vendors' adapters.
    pub adapters: Vec<Arc<dyn Adapter>>,
    /// Kinds of receivers.
    pub kinds: Vec<Arc<dyn ConnectorKind>>,
    /// Kinds of sources that are asked for their payloads.
    pub sources: Vec<Arc<dyn SourceKind>>,
    /// Looks at files before anything leaves; without one nothing is looked at.
    pub scanner: Option<Arc<dyn Scanner>>,
    /// Takes the spans of traces; without it there are none.
    pub traces: Option<Arc<dyn Traces>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
}

/// A receiver of a tenant.
type ReceiverKey = (TenantId, String);

/// A connector with the hash of the generation that it was built from.
type Built = (ContentHash, Arc<dyn Connector>);

/// The engine.
pub struct Engine {
    pub(crate) parts: EngineParts,
    pub(crate) wake: Arc<Bell>,
    /// Knows the forms that mappings were tested with.
    pub(crate) tested: Option<Arc<dyn TestedForms>>,
    pub(crate) scanning: Option<Scanning>,
    pub(crate) metrics: Metrics,
    connectors: Mutex<BTreeMap<ReceiverKey, Built>>,
}

impl Engine {
    /// An engine that does nothing until its doors and workers are used.
    pub fn new(parts: EngineParts) -> Arc<Self> {
        Arc::new(Self::with(parts, None))
    }

    /// The same, remarking on forms that differ from those that their mapping was tested with.
    pub fn watching(parts: EngineParts, tested: Arc<dyn TestedForms>) -> Arc<Self> {
        Arc::new(Self::with(parts, Some(tested)))
    }

    fn with(parts: EngineParts, tested: Option<Arc<dyn TestedForms>>) -> Self {
        let scanning = parts.scanner.clone().map(Scanning::new);
        let (wake, metrics, connectors) = (Arc::default(), Metrics::default(), Mutex::default());
        Self { parts, wake, tested, scanning, metrics, connectors }
    }

    /// What was counted since the start.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What became of the spans of traces; `None` where there are none.
    pub fn span_numbers(&self) -> Option<SpanNumbers> {
        self.parts.traces.as_ref().map(|traces| traces.numbers())
    }

    /// Wakes the worker.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.wake
    }

    /// Where everything is kept.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// Where files are kept.
    pub fn blobs(&self) -> &Arc<BlobStore> {
        &self.parts.blobs
    }

    /// The tenants.
    pub fn tenants(&self) -> &Arc<Tenants> {
        &self.parts.tenants
    }

    /// The schema packages.
    pub fn schemas(&self) -> &Arc<SchemaStore> {
        &self.parts.schemas
    }

    /// The script host.
    pub fn host(&self) -> &Arc<MappingHost> {
        &self.parts.host
    }

    /// The adapter of a source.
    pub fn adapter(&self, source: &str) -> Option<&Arc<dyn Adapter>> {
        self.parts.adapters.iter().find(|adapter| adapter.source() == source)
    }

    /// The present moment.
    pub fn now(&self) -> kop_core::Zeitpunkt {
        self.parts.clock.now()
    }

    /// What runs out at the receivers of all tenants: certificates and keys. A receiver that cannot be built is left
    /// out; its first delivery says why.
    pub fn expiries(&self) -> Vec<(TenantId, String, Expiry)> {
        let mut found = Vec::new();
        for generation in self.parts.tenants.all() {
            for receiver in generation.receivers.values() {
                let Ok(connector) = self.connector(&generation, receiver) else { continue };
                let of = |expiry| (generation.tenant.clone(), receiver.key.clone(), expiry);
                found.extend(connector.expiries().into_iter().map(of));
            }
        }
        found
    }

    /// The connector of a receiver, built once per generation.
    ///
    /// # Errors
    /// The kind is unknown, or a secret cannot be read.
    pub fn connector(
        &self,
        generation: &Generation,
        receiver: &Receiver,
    ) -> Result<Arc<dyn Connector>, Diagnostic> {
        let key = (generation.tenant.clone(), receiver.key.clone());
        let mut built = self.connectors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((of, connector)) = built.get(&key)
            && *of == generation.hash
        {
            return Ok(connector.clone());
        }
        let unknown = || {
            Diagnostic::new(
                "KOP-F003",
                format!("Die Zustellart „{}“ gibt es nicht.", receiver.kind),
                format!("There is no kind of delivery \"{}\".", receiver.kind),
            )
        };
        let connector = if let Some(name) = receiver.kind.strip_prefix(SOURCE_KIND) {
            let kind = self.parts.sources.iter().find(|kind| kind.name() == name).ok_or_else(unknown)?;
            kind.settler(&receiver.settings, &self.world())?
        } else {
            let kind =
                self.parts.kinds.iter().find(|kind| kind.name() == receiver.kind).ok_or_else(unknown)?;
            kind.build(&receiver.settings, &self.world())?
        };
        built.insert(key, (generation.hash, connector.clone()));
        Ok(connector)
    }

    /// What connectors and sources may use.
    pub(crate) fn world(&self) -> World {
        World {
            base_dir: self.parts.base_dir.clone(),
            blobs: Arc::new(StoredBlobs(self.parts.blobs.clone())),
            clock: self.parts.clock.clone(),
        }
    }
}
