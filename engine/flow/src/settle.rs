// SPDX-License-Identifier: EUPL-1.2
//! When a pull source is told, and with what: decided when the application is accepted, so that it is stored with it.
//! Whatever happens to the application later can only bring that moment forward, never put it off.

use std::{sync::Arc, time::Duration};

use kop_connector_api::{Refusal, SettlementOrder};
use kop_core::{DeliveryId, Eingang, MessageId, Part, RetrySchedule, Sendung, SettleAt, TenantId, Zeitpunkt};
use kop_store::NewSettlement;
use kop_tenant::Generation;

use crate::{ENGINE_VERSION, blobs::refusal, engine::Engine};

/// How long before its deadline a source is told at the latest, unless a tenth of the time is less.
const MARGIN: Duration = Duration::from_secs(60);

/// What is stored about the settling of a submission that came from a pull source.
pub(crate) async fn settlement(
    engine: &Engine,
    tenant: &TenantId,
    order: SettlementOrder,
    eingang: Eingang,
) -> Result<NewSettlement, Refusal> {
    let generation = engine.parts.tenants.get(tenant);
    let source = generation.as_ref().and_then(|generation| generation.sources.get(&order.source));
    let schedule = source.map_or_else(RetrySchedule::default, |source| source.receiver.retry);
    let when = generation.as_ref().map_or(SettleAt::default(), |generation| moment(generation, eingang));
    let blob = engine.parts.blobs.put(tenant, order.ticket).await.map_err(|error| refusal(&error))?;
    let ticket =
        Part { name: "quittung".to_owned(), content_type: "application/octet-stream".to_owned(), blob };
    let ids = &engine.parts.ids;
    Ok(NewSettlement {
        message_id: MessageId(ids.next()),
        delivery_id: DeliveryId(ids.next()),
        nachrichten_uuid: ids.next(),
        source: order.source,
        engine_version: ENGINE_VERSION.to_owned(),
        generation: generation.map_or_else(|| kop_core::ContentHash::of(b""), |generation| generation.hash),
        content_hash: Sendung::content_hash(&ticket, &[]),
        ticket,
        when,
        latest: order.deadline.map(|deadline| latest(deadline, engine.now())),
        tell_after: Duration::from_secs(schedule.melden_nach_s),
        give_up_after: Duration::from_secs(schedule.aufgeben_nach_s),
    })
}

/// The latest that one of the routes asks for. No route, or one that cannot tell: as soon as it is stored, since the
/// sender must not wait for what only we can mend.
fn moment(generation: &Generation, eingang: Eingang) -> SettleAt {
    if generation.routes.iter().all(|route| route.settle == SettleAt::default()) {
        return SettleAt::default();
    }
    let Ok(document) = serde_json::to_value(&eingang) else { return SettleAt::default() };
    let hits = generation.routes_for(&Arc::new(eingang), &document).unwrap_or_default();
    hits.iter().map(|route| route.settle).max().unwrap_or_default()
}

/// Early enough before a deadline for an attempt and one more.
fn latest(deadline: Zeitpunkt, now: Zeitpunkt) -> Zeitpunkt {
    let left = deadline.duration_since(now);
    let margin = MARGIN.min(left.unsigned_abs() / 10);
    if left.is_positive() { deadline.checked_sub(margin).unwrap_or(now) } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_before_its_deadline() {
        let at = |seconds| Zeitpunkt::from_second(seconds).unwrap();
        assert_eq!(latest(at(1_000_000), at(0)), at(999_940));
        assert_eq!(latest(at(100), at(0)), at(90));
        assert_eq!(latest(at(50), at(70)), at(70), "over already: at once");
    }
}
