// SPDX-License-Identifier: EUPL-1.2
//! A mistake on purpose, only with the feature `mutants`: the crash test has to find it. `KOP_MUTANT=remap-on-retry`
//! makes a message anew where the stored bytes should be sent again.

use std::sync::Arc;

use kop_core::Sendung;
use kop_store::ClaimedDelivery;
use kop_tenant::Generation;

use crate::{
    compose::{ComposeInput, compose},
    engine::Engine,
    process::read_document,
};

/// The Sendung with a main document that was just made, when it is tried again and its mapping works.
pub(crate) async fn remap_on_retry(
    engine: &Engine,
    claimed: &ClaimedDelivery,
    generation: &Generation,
    sendung: Sendung,
) -> Sendung {
    if std::env::var_os("KOP_MUTANT").is_none_or(|name| name != "remap-on-retry")
        || claimed.delivery.attempts == 0
    {
        return sendung;
    }
    again(engine, claimed, generation, &sendung).await.unwrap_or(sendung)
}

async fn again(
    engine: &Engine,
    claimed: &ClaimedDelivery,
    generation: &Generation,
    sendung: &Sendung,
) -> Option<Sendung> {
    let (tenant, message) = (&claimed.delivery.tenant, &claimed.message);
    let detail = engine.parts.store.submission(tenant, claimed.delivery.submission_id).await.ok()?;
    let (json, eingang) = read_document(&detail.submission.document).ok()?;
    let eingang = Arc::new(eingang);
    let hits = generation.routes_for(&eingang, &json).ok()?;
    let hit = hits.iter().find(|hit| hit.name == message.route)?;
    let target = hit.targets.iter().find(|target| target.mapping == message.mapping)?;
    let mapping = generation.mapping(&target.mapping)?;
    let author = generation.author(target, mapping);
    let input = ComposeInput {
        eingang,
        mapping,
        parameters: generation.parameters(mapping, target),
        reader: &generation.receiver(&message.receiver)?.identity,
        author: &author,
        stage: generation.stage,
        uuid: engine.parts.ids.next(),
        now: engine.now(),
        package: None,
    };
    let composed = compose(&engine.parts.host, &engine.parts.schemas, input).await.ok()?;
    let mut anew = sendung.clone();
    anew.main.blob = engine.parts.blobs.put(tenant, composed.bytes.into()).await.ok()?;
    Some(anew)
}
