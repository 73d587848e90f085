// SPDX-License-Identifier: EUPL-1.2
//! From a stored submission to stored messages: route, compose, and record everything in one step, first
//! attempts included. What fails becomes a Klärungsfall; what worked goes out all the same.

use std::{sync::Arc, time::Duration};

use kop_core::{
    AttemptId, DeliveryId, Diagnostic, Eingang, MessageId, Part, Sendung, Span, SubmissionId, TenantId,
    WorkItemId,
};
use kop_store::{
    ClaimedSubmission, FirstAttempt, NewDelivery, NewEvent, NewMessage, NewWorkItem, Origin, Processed,
    StoreError, SubmissionClaim, SubmissionState, steps::event,
};
use kop_tenant::{Generation, Receiver, RouteTarget};

use tracing::Instrument;

use crate::{
    ENGINE_VERSION,
    compose::{ComposeInput, Composed, PartContent, Took, compose},
    correction,
    deliver::{self, Start, not_loaded},
    drift,
    engine::Engine,
    insist::insist,
    remap::Pins,
    scan::{self, Looked},
    trace,
};

/// Processing takes milliseconds; a lease this long only ends when its process died.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// How long a result waits for a store that cannot take it, well within the lease.
const INSIST: Duration = Duration::from_secs(40);

/// A submission whose message could not be stored waits so long.
const PUT_OFF: Duration = Duration::from_secs(5);

/// A submission that took the process down this often is not tried again by itself.
const MAX_RUNS: u32 = 5;

/// What the store says when a step may work a little later.
const PASSES: [&str; 2] = ["KOP-S005", "KOP-S012"];

/// Remarks on one message that are recorded.
const MAX_REMARKS: usize = 20;

/// Leases submissions that wait.
///
/// # Errors
/// The store's.
pub async fn claim(
    engine: &Engine,
    limit: u32,
    only: Option<(TenantId, SubmissionId)>,
) -> Result<Vec<ClaimedSubmission>, StoreError> {
    engine
        .parts
        .store
        .claim_submissions(SubmissionClaim { lease_for: LEASE, limit, only }, engine.now())
        .await
}

/// Processes one submission and returns the deliveries whose first attempt is recorded as started.
pub async fn process(engine: &Engine, claimed: ClaimedSubmission) -> Vec<Start> {
    let lease = &claimed.lease;
    let span = tracing::info_span!("process", tenant = %lease.tenant, submission = %lease.submission_id);
    work_through(engine, claimed).instrument(span).await
}

async fn work_through(engine: &Engine, mut claimed: ClaimedSubmission) -> Vec<Start> {
    let summary = claimed.submission.summary.clone();
    let id = summary.submission_id;
    let run = trace::Run::begin(engine, &claimed);
    let made = if summary.runs > MAX_RUNS {
        Made { problems: vec![(run_too_often(), None)], ..Made::default() }
    } else {
        let looked = scan::look(engine, &mut claimed).await;
        if let Some(run) = &run {
            run.scanned(engine, &looked);
        }
        match looked {
            Looked::Pass(events) => {
                let mut made = make(engine, &claimed).await;
                made.events.extend(events);
                made
            }
            Looked::Stop(problems, events) => {
                let problems = problems.into_iter().map(|problem| (problem, None)).collect();
                Made { events, problems, ..Made::default() }
            }
            Looked::Later(at, events) => {
                tracing::warn!(submission = %id, until = %at, "Put off until its files can be scanned.");
                let deferred = engine.parts.store.defer(claimed.lease, at, events, engine.now()).await;
                if let Err(error) = deferred {
                    // The lease runs out and the submission is looked at again.
                    tracing::error!(submission = %id, %error, "The submission could not be put off.");
                }
                tell_put_off(engine, run);
                return Vec::new();
            }
        }
    };
    if made.no_room {
        // Nobody could mend that in the submission: it is no Klärungsfall.
        let put_off = insist(INSIST, || {
            let now = engine.now();
            let at = now.checked_add(PUT_OFF).unwrap_or(now);
            engine.parts.store.defer(claimed.lease.clone(), at, Vec::new(), now)
        });
        if let Err(error) = put_off.await {
            tracing::warn!(submission = %id, %error, "Not put off; it is processed again when its lease ends.");
        }
        tell_put_off(engine, run);
        return Vec::new();
    }
    let codes = match &run {
        Some(_) => trace::codes(made.problems.iter().map(|(problem, _)| problem)),
        None => Vec::new(),
    };
    let work_items: Vec<_> = made
        .problems
        .into_iter()
        .map(|(problem, origin)| NewWorkItem {
            origin,
            ..NewWorkItem::new(WorkItemId(engine.parts.ids.next()), vec![problem])
        })
        .collect();
    let state = if work_items.is_empty() { SubmissionState::Verarbeitet } else { SubmissionState::Klaerung };
    let processed = Processed { state, messages: made.messages, work_items, events: made.events };
    let recorded = insist(INSIST, || {
        engine.parts.store.record_processed(claimed.lease.clone(), processed.clone(), engine.now())
    });
    match recorded.await {
        Ok(started) => {
            tracing::info!(submission = %id, state = %state, started = started.len(), "Submission processed.");
            if let Some(run) = run {
                run.end(engine, state.as_str(), &codes, made.spans);
            }
            started
                .into_iter()
                .filter_map(|started| {
                    let at = made.starts.iter().position(|s| s.delivery_id == started.lease.delivery_id)?;
                    let (sendung, receiver, generation) = made.starts[at].clone().into_parts();
                    Some(Start { submission: id, started, sendung, receiver, generation })
                })
                .collect()
        }
        Err(error) => {
            // Nothing was recorded; the lease runs out and the submission is processed again.
            tracing::error!(submission = %id, %error, "The result of processing could not be stored.");
            Vec::new()
        }
    }
}

/// Tells the trace of a run that came to nothing for now.
fn tell_put_off(engine: &Engine, run: Option<trace::Run<'_>>) {
    if let Some(run) = run {
        run.end(engine, event::ZURUECKGESTELLT, &[], Vec::new());
    }
}

#[derive(Default)]
struct Made {
    messages: Vec<NewMessage>,
    events: Vec<NewEvent>,
    problems: Vec<(Diagnostic, Option<Origin>)>,
    starts: Vec<Prepared>,
    spans: Vec<Span>,
    /// The store could not be asked or could not take a message, which passes.
    no_room: bool,
}

#[derive(Clone)]
struct Prepared {
    delivery_id: DeliveryId,
    sendung: Sendung,
    receiver: String,
    generation: Arc<Generation>,
}

impl Prepared {
    fn into_parts(self) -> (Sendung, String, Arc<Generation>) {
        (self.sendung, self.receiver, self.generation)
    }
}

async fn make(engine: &Engine, claimed: &ClaimedSubmission) -> Made {
    let mut made = Made::default();
    let tenant = &claimed.submission.summary.tenant;
    let Some(generation) = engine.parts.tenants.get(tenant) else {
        made.problems.push((not_loaded(), None));
        return made;
    };
    let (mut json, mut eingang) = match read_document(&claimed.submission.document) {
        Ok(document) => document,
        Err(problem) => {
            made.problems.push((problem, None));
            return made;
        }
    };
    // Processed again after a Klärungsfall: what has its message already is not made a second time, and what a person
    // corrected meanwhile counts. There are no corrections before the first run.
    let (made_before, corrections) = if claimed.submission.summary.runs > 1 {
        match engine.parts.store.submission(tenant, claimed.submission.summary.submission_id).await {
            Ok(detail) => (detail.messages, detail.corrections),
            Err(error) if error.passes() => {
                made.no_room = true;
                return made;
            }
            Err(error) => {
                made.problems.push((error.diagnostic(), None));
                return made;
            }
        }
    } else {
        (Vec::new(), Vec::new())
    };
    if !corrections.is_empty() {
        correction::apply(&mut eingang, &corrections);
        json = serde_json::to_value(&eingang).unwrap_or(json);
    }
    let eingang = Arc::new(eingang);
    let hits = match generation.routes_for(&eingang, &json) {
        Ok(hits) => hits,
        Err(problems) => {
            made.problems.extend(problems.into_iter().map(|problem| (problem, None)));
            return made;
        }
    };
    if hits.is_empty() {
        made.problems.push((no_route(&eingang), None));
    }
    for hit in hits {
        for target in &hit.targets {
            for receiver in &target.receivers {
                if made_before.iter().any(|message| {
                    message.route == hit.name
                        && message.mapping == target.mapping
                        && message.receiver == *receiver
                }) {
                    continue;
                }
                let since = trace::begin(engine);
                match message(engine, &generation, &eingang, &hit.name, target, receiver, claimed).await {
                    Ok((message, prepared, remarks, took)) => {
                        made.spans.extend(trace::made(engine, since, &claimed.lease, &message, took));
                        made.events.extend(remark_event(message.message_id, &remarks));
                        made.messages.push(message);
                        made.starts.push(prepared);
                    }
                    Err(mut problems) => {
                        let way = (hit.name.as_str(), target, receiver.as_str());
                        made.spans.extend(trace::not_made(engine, since, &claimed.lease, way, &problems));
                        made.no_room |=
                            problems.iter().any(|problem| PASSES.contains(&problem.code.as_str()));
                        correction::tell(&mut problems, &corrections);
                        let origin = origin(&generation, &hit.name, target, receiver);
                        made.problems.extend(problems.into_iter().map(|problem| (problem, origin.clone())));
                    }
                }
            }
        }
    }
    made
}

/// Where a message that could not be made would have come from; a mapping that is not loaded has no state to name.
fn origin(generation: &Generation, route: &str, target: &RouteTarget, receiver: &str) -> Option<Origin> {
    let mapping = generation.mapping(&target.mapping)?;
    Some(Origin {
        route: route.to_owned(),
        receiver: receiver.to_owned(),
        mapping: mapping.name.clone(),
        mapping_hash: mapping.hash,
        mapping_version: mapping.manifest.version.clone(),
    })
}

/// Reads the stored document twice over the same bytes: as JSON for conditions, as types for everything else.
pub(crate) fn read_document(bytes: &[u8]) -> Result<(serde_json::Value, Eingang), Diagnostic> {
    let damaged = |error: serde_json::Error| {
        Diagnostic::new(
            "KOP-F008",
            "Das gespeicherte Dokument des Eingangs kann nicht gelesen werden.",
            "The stored document of the submission cannot be read.",
        )
        .with_detail(format!("line {}, column {}", error.line(), error.column()))
    };
    Ok((serde_json::from_slice(bytes).map_err(damaged)?, serde_json::from_slice(bytes).map_err(damaged)?))
}

async fn message(
    engine: &Engine,
    generation: &Arc<Generation>,
    eingang: &Arc<Eingang>,
    route: &str,
    target: &RouteTarget,
    receiver_key: &str,
    claimed: &ClaimedSubmission,
) -> Result<(NewMessage, Prepared, Vec<Diagnostic>, Took), Vec<Diagnostic>> {
    let summary = &claimed.submission.summary;
    let unknown = |what: &str| {
        vec![Diagnostic::new(
            "KOP-F009",
            format!("Die Route „{route}“ nennt {what}, den es in der Konfiguration nicht gibt."),
            format!("The route \"{route}\" names something that the configuration does not have ({what})."),
        )]
    };
    let mapping = generation.mapping(&target.mapping).ok_or_else(|| {
        generation.faulty.get(&target.mapping).cloned().unwrap_or_else(|| unknown("eine Zuordnung"))
    })?;
    let receiver = generation.receiver(receiver_key).ok_or_else(|| unknown("einen Empfänger"))?;
    let author = generation.author(target, mapping);
    let now = engine.now();
    let ids = &engine.parts.ids;
    let uuid = ids.next();
    let parameters = generation.parameters(mapping, target);
    let composed = compose(
        &engine.parts.host,
        &engine.parts.schemas,
        ComposeInput {
            eingang: eingang.clone(),
            mapping,
            parameters: parameters.clone(),
            reader: &receiver.identity,
            author: &author,
            stage: generation.stage,
            uuid,
            now,
            package: None,
        },
    )
    .await
    .map_err(|problems| {
        problems.into_iter().map(|problem| named(problem, route, mapping)).collect::<Vec<_>>()
    })?;

    let mut remarks = composed.remarks.clone();
    let took = composed.took;
    engine.metrics.map.observe(took.map);
    engine.metrics.validate.observe(took.render);
    if let Some(known) = drift::known(engine, mapping).await {
        remarks.extend(drift::remarks(&known, eingang, &composed.run.reads));
    }
    let tenant = &summary.tenant;
    let schema_package = composed.schema_package;
    let (main, parts) = pack(engine, tenant, composed).await?;
    engine.parts.archive.keep(tenant, mapping).await.map_err(|error| vec![error.diagnostic()])?;
    let pins = Pins {
        parameters: (*parameters).clone(),
        author,
        reader: receiver.identity.clone(),
        stage: generation.stage,
        made_at: now,
    };
    let message_id = MessageId(ids.next());
    let delivery_id = DeliveryId(ids.next());
    let message = NewMessage {
        message_id,
        route: route.to_owned(),
        receiver: receiver_key.to_owned(),
        nachrichten_uuid: uuid,
        engine_version: ENGINE_VERSION.to_owned(),
        generation: generation.hash,
        mapping: mapping.name.clone(),
        mapping_hash: mapping.hash,
        schema_package,
        content_hash: Sendung::content_hash(&main, &parts),
        main: main.clone(),
        parts: parts.clone(),
        pinned: pins.to_json(),
        delivery: new_delivery(
            receiver,
            target,
            delivery_id,
            Some(FirstAttempt {
                attempt_id: AttemptId(ids.next()),
                lease_for: deliver::LEASE,
                limits: receiver.lane.limits(),
            }),
        ),
    };
    let sendung = Sendung {
        tenant: tenant.clone(),
        message_id,
        delivery_id,
        stage: generation.stage,
        vorgangsnummer: summary.vorgangsnummer.clone(),
        mapping: mapping.name.clone(),
        received_at: summary.received_at,
        created_at: now,
        main,
        parts,
    };
    let prepared =
        Prepared { delivery_id, sendung, receiver: receiver_key.to_owned(), generation: generation.clone() };
    Ok((message, prepared, remarks, took))
}

/// How a message for a receiver leaves.
pub(crate) fn new_delivery(
    receiver: &Receiver,
    target: &RouteTarget,
    delivery_id: DeliveryId,
    first_attempt: Option<FirstAttempt>,
) -> NewDelivery {
    NewDelivery {
        delivery_id,
        order: receiver.lane.reihenfolge,
        when_parked: target.when_parked.unwrap_or(receiver.lane.bei_stau),
        tell_after: Duration::from_secs(receiver.retry.melden_nach_s),
        give_up_after: Duration::from_secs(receiver.retry.aufgeben_nach_s),
        first_attempt,
    }
}

/// Stores what a message is made of: its main document and the parts beside it.
pub(crate) async fn pack(
    engine: &Engine,
    tenant: &TenantId,
    composed: Composed,
) -> Result<(Part, Vec<Part>), Vec<Diagnostic>> {
    let failed = |error: StoreError| vec![error.diagnostic()];
    let blob = engine.parts.blobs.put(tenant, composed.bytes.into()).await.map_err(failed)?;
    let main = Part { name: composed.name, content_type: composed.content_type.into(), blob };
    let mut parts = Vec::with_capacity(composed.parts.len());
    for part in composed.parts {
        let blob = match part.content {
            PartContent::Blob(blob) => blob,
            PartContent::Bytes(bytes) => {
                engine.parts.blobs.put(tenant, bytes.into()).await.map_err(failed)?
            }
        };
        parts.push(Part { name: part.name, content_type: part.content_type, blob });
    }
    Ok((main, parts))
}

/// One line of the timeline for all that should be looked at although the message goes out.
fn remark_event(message: MessageId, remarks: &[Diagnostic]) -> Option<NewEvent> {
    let said: Vec<_> = remarks
        .iter()
        .take(MAX_REMARKS)
        .map(|one| serde_json::json!({ "code": one.code, "ziel": one.target, "de": one.de, "en": one.en }))
        .collect();
    (!said.is_empty()).then(|| NewEvent {
        kind: event::HINWEIS.to_owned(),
        message_id: Some(message),
        delivery_id: None,
        params: serde_json::json!({ "hinweise": said }),
    })
}

/// Says in the detail which route and mapping a problem belongs to, without touching the problem's own words.
fn named(problem: Diagnostic, route: &str, mapping: &kop_tenant::LoadedMapping) -> Diagnostic {
    let origin = format!("Route „{route}“, Zuordnung „{}“", mapping.name);
    let detail = match &problem.detail {
        Some(detail) => format!("{origin}: {detail}"),
        None => origin,
    };
    problem.with_detail(detail)
}

fn no_route(eingang: &Eingang) -> Diagnostic {
    let form = eingang.kopf.formular_id.clone().unwrap_or_default();
    Diagnostic::new(
        "KOP-F002",
        format!("Für das Formular „{form}“ ist keine Route eingerichtet."),
        format!("No route takes the form \"{form}\"."),
    )
    .with_hint("In mandant.toml eine [[route]] für das Formular anlegen, dann „kop messages retry“ aufrufen.")
}

fn run_too_often() -> Diagnostic {
    Diagnostic::new(
        "KOP-F014",
        "Die Verarbeitung wurde mehrmals begonnen und nie beendet; sie wird nicht von selbst wiederholt.",
        "Processing was started several times and never ended; it is not repeated by itself.",
    )
}
