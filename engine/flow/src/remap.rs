// SPDX-License-Identifier: EUPL-1.2
//! A new mapping run for a message that exists: an act of a person, never of the engine. What is made is shown beside
//! what is stored; only when the person says so does it become a message of its own that names the one it replaces.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use kop_core::{
    ContentHash, DeliveryId, Diagnostic, Eingang, MessageId, Stage, TenantId, Zeitpunkt,
    settle::source_of_lane,
};
use kop_store::{MessageRecord, NewMessage, Replacement, StoreError, SubmissionDetail};
use kop_tenant::{
    CandidateFolders, Generation, Identity, LoadContext, LoadedMapping, Registry, RouteTarget, load_archived,
    load_candidate,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ENGINE_VERSION,
    compose::{ComposeInput, Composed, compose},
    correction,
    deliver::not_loaded,
    engine::Engine,
    process::{new_delivery, pack, read_document},
    trace,
};

/// What a message was made with beside submission, mapping and schema: kept with it, so that it can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pins {
    /// What `parameter()` said.
    pub parameters: BTreeMap<String, String>,
    /// Who sent it.
    pub author: Identity,
    /// Who received it.
    pub reader: Identity,
    /// The tenant's stage.
    pub stage: Stage,
    /// The moment that its head and `jetzt()` name.
    pub made_at: Zeitpunkt,
}

impl Pins {
    /// As the store keeps them.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Which mapping to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that made the message, with the parameters, identities and schema package of then.
    Same,
    /// The one that the tenant's configuration has now, with all that goes with it.
    Current,
    /// A folder that is not in use yet, under the tenant's present configuration.
    Candidate {
        /// The folder of the mapping.
        folder: PathBuf,
        /// The tenant's folder, whose tables and parameters are laid over it.
        tenant_dir: PathBuf,
        /// The shared library, for modules that do not lie beside the candidate.
        library: Option<PathBuf>,
    },
}

impl Version {
    /// The word for it, as people type it and the timeline keeps it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Same => "dieselbe",
            Self::Current => "aktuelle",
            Self::Candidate { .. } => "entwurf",
        }
    }
}

/// A message made again. It has the id and the moment of the stored one, so that only what matters can differ.
#[derive(Debug)]
pub struct Remade {
    /// The message's document and parts.
    pub composed: Composed,
    version: Version,
    with: With,
}

impl Remade {
    /// The mapping that made it.
    pub fn mapping(&self) -> &LoadedMapping {
        &self.with.mapping
    }
}

/// Everything that a run needs.
#[derive(Debug)]
struct With {
    mapping: Arc<LoadedMapping>,
    eingang: Arc<Eingang>,
    pins: Pins,
    package: Option<ContentHash>,
    generation: ContentHash,
}

/// Who has it sent, and why.
#[derive(Clone, Debug)]
pub struct Act {
    /// The person.
    pub who: String,
    /// The person's reason.
    pub reason: String,
    /// Also when the earlier message has, or may have, arrived.
    pub despite: bool,
}

/// Makes a message again, storing nothing.
///
/// # Errors
/// The mapping's own problems; KOP-F030 to KOP-F032 when what it was made with is not there any more, KOP-F034 for what
/// settles a source.
pub async fn remake(
    engine: &Engine,
    detail: &SubmissionDetail,
    message: &MessageRecord,
    version: Version,
) -> Result<Remade, Vec<Diagnostic>> {
    let tenant = &message.tenant;
    if source_of_lane(&message.receiver).is_some() {
        return Err(vec![no_message()]);
    }
    let (_, mut eingang) = read_document(&detail.submission.document).map_err(|problem| vec![problem])?;
    correction::apply(&mut eingang, &detail.corrections);
    let then: Option<Pins> =
        message.pinned.as_ref().and_then(|pinned| serde_json::from_value(pinned.clone()).ok());
    let made_at = then.as_ref().map_or(message.created_at, |pins| pins.made_at);
    let (mapping, pins, package, generation) = if version == Version::Same {
        let mapping = archived(engine, tenant, message)?;
        let pins = then.ok_or_else(|| vec![not_kept()])?;
        if let Some(hash) = &message.schema_package
            && engine.parts.schemas.by_hash(hash).is_none()
        {
            return Err(vec![package_gone()]);
        }
        (mapping, pins, message.schema_package, message.generation)
    } else {
        let generation = engine.parts.tenants.get(tenant).ok_or_else(|| vec![not_loaded()])?;
        let target = target(&generation, message)?;
        let receiver = generation.receiver(&message.receiver).ok_or_else(|| vec![way_gone()])?;
        let mapping = match &version {
            Version::Candidate { folder, tenant_dir, library } => {
                let folders = CandidateFolders { folder, tenant_dir, library: library.as_deref() };
                let load = |context: &LoadContext<'_>| load_candidate(&message.mapping, folders, context);
                Arc::new(with_context(engine, load)?)
            }
            _ => generation.mapping(&message.mapping).cloned().ok_or_else(|| {
                generation.faulty.get(&message.mapping).cloned().unwrap_or_else(|| vec![way_gone()])
            })?,
        };
        let pins = Pins {
            parameters: (*generation.parameters(&mapping, target)).clone(),
            author: generation.author(target, &mapping),
            reader: receiver.identity.clone(),
            stage: generation.stage,
            made_at,
        };
        (mapping, pins, None, generation.hash)
    };
    let with = With { mapping, eingang: Arc::new(eingang), pins, package, generation };
    let composed = run(engine, &with, message.nachrichten_uuid).await.map_err(|mut problems| {
        correction::tell(&mut problems, &detail.corrections);
        problems
    })?;
    Ok(Remade { composed, version, with })
}

/// Makes the message once more, now under an id of its own, and stores it in place of the earlier one, to be sent.
///
/// # Errors
/// The earlier one is under way, was replaced already, or has arrived and [`Act::despite`] is not set (KOP-S007); the
/// mapping's and the store's own.
pub async fn send_instead(
    engine: &Engine,
    message: &MessageRecord,
    remade: Remade,
    act: Act,
) -> Result<MessageId, Vec<Diagnostic>> {
    let failed = |error: StoreError| vec![error.diagnostic()];
    let tenant = &message.tenant;
    // Whatever made it: it leaves the way that the tenant has now.
    let generation = engine.parts.tenants.get(tenant).ok_or_else(|| vec![not_loaded()])?;
    let way = target(&generation, message)?;
    let receiver = generation.receiver(&message.receiver).ok_or_else(|| vec![way_gone()])?;
    let ids = &engine.parts.ids;
    let uuid = ids.next();
    let Remade { version, mut with, .. } = remade;
    with.pins.made_at = engine.now();
    let since = trace::begin(engine);
    let composed = run(engine, &with, uuid).await?;
    let (schema_package, took) = (composed.schema_package, composed.took);
    let (main, parts) = pack(engine, tenant, composed).await?;
    engine.parts.archive.keep(tenant, &with.mapping).await.map_err(failed)?;
    let message_id = MessageId(ids.next());
    let new = NewMessage {
        message_id,
        route: message.route.clone(),
        receiver: message.receiver.clone(),
        nachrichten_uuid: uuid,
        engine_version: ENGINE_VERSION.to_owned(),
        generation: with.generation,
        mapping: with.mapping.name.clone(),
        mapping_hash: with.mapping.hash,
        schema_package,
        content_hash: kop_core::Sendung::content_hash(&main, &parts),
        main,
        parts,
        pinned: with.pins.to_json(),
        delivery: new_delivery(receiver, way, DeliveryId(ids.next()), None),
    };
    let traced = since.map(|_| new.clone());
    let replacement = Replacement {
        earlier: message.message_id,
        message: new,
        version: version.word().to_owned(),
        who: act.who,
        reason: act.reason,
        despite: act.despite,
    };
    engine.parts.store.replace(tenant, replacement, engine.now()).await.map_err(failed)?;
    if let Some(new) = &traced {
        trace::replaced(engine, since, message, new, took);
    }
    engine.wake.ring_everywhere();
    Ok(message_id)
}

async fn run(engine: &Engine, with: &With, uuid: Uuid) -> Result<Composed, Vec<Diagnostic>> {
    let input = ComposeInput {
        eingang: with.eingang.clone(),
        mapping: &with.mapping,
        parameters: Arc::new(with.pins.parameters.clone()),
        reader: &with.pins.reader,
        author: &with.pins.author,
        stage: with.pins.stage,
        uuid,
        now: with.pins.made_at,
        package: with.package,
    };
    compose(&engine.parts.host, &engine.parts.schemas, input).await
}

/// The mapping as it was when it made the message; its files must still give the hash that the message names.
fn archived(
    engine: &Engine,
    tenant: &TenantId,
    message: &MessageRecord,
) -> Result<Arc<LoadedMapping>, Vec<Diagnostic>> {
    let kept = engine.parts.archive.folder(tenant, &message.mapping_hash).ok_or_else(|| vec![not_kept()])?;
    let load = |context: &LoadContext<'_>| load_archived(&message.mapping, &kept, context);
    let mapping = with_context(engine, load)?;
    if mapping.hash == message.mapping_hash { Ok(Arc::new(mapping)) } else { Err(vec![not_kept()]) }
}

fn with_context<T>(engine: &Engine, load: impl FnOnce(&LoadContext<'_>) -> T) -> T {
    load(&LoadContext {
        registry: Registry { intakes: &[], kinds: &engine.parts.kinds, sources: &engine.parts.sources },
        host: &engine.parts.host,
        // The run itself says when a schema is not there.
        message_namespace: &|_, _, _| Some(String::new()),
        services: &[],
    })
}

/// The target of the message's own route that made it.
fn target<'a>(
    generation: &'a Generation,
    message: &MessageRecord,
) -> Result<&'a RouteTarget, Vec<Diagnostic>> {
    let route = generation.routes.iter().find(|route| route.name == message.route);
    route
        .into_iter()
        .flat_map(|route| &route.targets)
        .find(|target| target.mapping == message.mapping && target.receivers.contains(&message.receiver))
        .ok_or_else(|| vec![way_gone()])
}

fn no_message() -> Diagnostic {
    Diagnostic::new(
        "KOP-F034",
        "Das ist eine Quittung an eine Quelle; sie wird nicht abgebildet.",
        "This tells a source that it may let go; nothing is mapped for it.",
    )
}

fn not_kept() -> Diagnostic {
    Diagnostic::new(
        "KOP-F030",
        "Der Stand der Zuordnung, mit dem diese Sendung entstand, ist nicht (unversehrt) aufbewahrt.",
        "The state of the mapping that made this message was not kept, or was changed since.",
    )
}

fn way_gone() -> Diagnostic {
    Diagnostic::new(
        "KOP-F031",
        "Route, Zuordnung oder Empfänger dieser Sendung gibt es in der Konfiguration nicht mehr.",
        "The route, mapping or receiver of this message is no longer in the configuration.",
    )
}

fn package_gone() -> Diagnostic {
    Diagnostic::new(
        "KOP-F032",
        "Das Schema-Paket, gegen das diese Sendung geprüft wurde, ist nicht mehr vorhanden.",
        "The schema package that this message was validated against is not there any more.",
    )
}
