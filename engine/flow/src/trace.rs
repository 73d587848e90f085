// SPDX-License-Identifier: EUPL-1.2
//! What the steps tell the trace of their submission. A span is told once its step is over and durable, so that a trace
//! never claims more than the store. Where traces are off nothing here allocates or asks the clock.
//!
//! ```text
//! annahme                    the submission, stored; the first span
//! ├─ annahme                 the same submission again, answered with the first answer
//! ├─ verarbeitung            one run of processing
//! │  ├─ virenpruefung
//! │  └─ sendung              a message, or one that could not be made
//! │     ├─ zuordnung         the script
//! │     ├─ pruefung          writing and judging
//! │     └─ senden, nachfragen   an attempt, maybe days later and elsewhere
//! │        └─ quittung       the receipt, stored
//! └─ sendung                 a message that a person had made instead of another one
//! ```

use std::time::Duration;

use kop_connector_api::Traces;
use kop_core::{
    AttemptId, DeliveryId, Diagnostic, MessageId, Span, SubmissionId, TenantId, Zeitpunkt,
    trace::{Code, Fact, SpanId, SpanKind, TraceId},
};
use kop_store::{
    Accepted, AttemptEnd, AttemptKind, AttemptOutcome, ClaimedDelivery, ClaimedSubmission, Interrupted,
    MessageRecord, NewMessage, StartedAttempt, SubmissionLease,
};
use kop_tenant::{Generation, RouteTarget};

use crate::{
    compose::Took,
    deliver::{Ended, Start},
    engine::Engine,
    scan::Looked,
};

/// Codes that one span names at most.
const MOST_CODES: usize = 16;

/// The present moment, where somebody wants to know.
pub(crate) fn begin(engine: &Engine) -> Option<Zeitpunkt> {
    engine.parts.traces.as_ref().map(|_| engine.now())
}

fn accepted_id(submission: SubmissionId) -> SpanId {
    SpanId::of("annahme", &[submission.0.as_bytes()])
}

fn run_id(what: &str, lease: &SubmissionLease) -> SpanId {
    // The number of the lease and not that of the run: a person sets the latter back.
    SpanId::of(what, &[lease.submission_id.0.as_bytes(), &lease.token.to_be_bytes()])
}

fn message_id(what: &str, message: MessageId) -> SpanId {
    SpanId::of(what, &[message.0.as_bytes()])
}

fn attempt_id(attempt: AttemptId) -> SpanId {
    SpanId::of("versuch", &[attempt.0.as_bytes()])
}

/// A span of our own work without failure, to be changed where it is something else.
fn span(
    submission: SubmissionId,
    (id, parent): (SpanId, SpanId),
    name: &'static str,
    start: Zeitpunkt,
    end: Zeitpunkt,
    facts: Vec<Fact>,
) -> Span {
    Span {
        trace: TraceId::of(submission),
        id,
        parent: Some(parent),
        name,
        kind: SpanKind::Internal,
        start,
        end: end.max(start),
        facts,
        error: None,
    }
}

fn after(moment: Zeitpunkt, took: Duration) -> Zeitpunkt {
    moment.checked_add(took).unwrap_or(moment)
}

/// Tells of a stored submission; `made` is the id that was made for this payload, whatever the store had before.
pub(crate) fn accepted(
    engine: &Engine,
    since: Option<Zeitpunkt>,
    (tenant, source, made): (&TenantId, &'static str, SubmissionId),
    stored: &Accepted,
) {
    let (Some(traces), Some(since)) = (&engine.parts.traces, since) else { return };
    let submission = stored.submission_id;
    let root = accepted_id(submission);
    let mut facts = vec![Fact::Tenant(tenant.clone()), Fact::Submission(submission), Fact::Source(source)];
    let mut told = span(submission, (root, root), "annahme", since, engine.now(), Vec::new());
    told.kind = SpanKind::Server;
    if stored.repeated {
        told.id = SpanId::of("wiederholung", &[made.0.as_bytes()]);
        facts.push(Fact::Repeated);
    } else {
        told.parent = None;
    }
    told.facts = facts;
    traces.record(told);
}

/// A run of processing that is under way.
pub(crate) struct Run<'a> {
    traces: &'a dyn Traces,
    tenant: TenantId,
    lease: SubmissionLease,
    number: u32,
    since: Zeitpunkt,
}

impl<'a> Run<'a> {
    pub(crate) fn begin(engine: &'a Engine, claimed: &ClaimedSubmission) -> Option<Self> {
        let traces = engine.parts.traces.as_deref()?;
        Some(Self {
            traces,
            tenant: claimed.lease.tenant.clone(),
            lease: claimed.lease.clone(),
            number: claimed.submission.summary.runs,
            since: engine.now(),
        })
    }

    /// Tells of the look at the files, with which a run begins.
    pub(crate) fn scanned(&self, engine: &Engine, looked: &Looked) {
        if engine.scanning.is_none() {
            return;
        }
        let ids = (run_id("virenpruefung", &self.lease), run_id("verarbeitung", &self.lease));
        let facts = vec![Fact::Tenant(self.tenant.clone())];
        let mut told = span(self.lease.submission_id, ids, "virenpruefung", self.since, engine.now(), facts);
        if let Looked::Stop(problems, _) = looked {
            fail(&mut told, problems.iter());
        }
        self.traces.record(told);
    }

    /// Tells of the run and of all that it made.
    pub(crate) fn end(self, engine: &Engine, outcome: &'static str, codes: &[Code], made: Vec<Span>) {
        let submission = self.lease.submission_id;
        let ids = (run_id("verarbeitung", &self.lease), accepted_id(submission));
        let facts = vec![
            Fact::Tenant(self.tenant),
            Fact::Submission(submission),
            Fact::Run(self.number),
            Fact::Outcome(outcome),
        ];
        let mut told = span(submission, ids, "verarbeitung", self.since, engine.now(), facts);
        fail_with(&mut told, codes);
        if told.error.is_some() {
            told.facts.push(Fact::WorkItem);
        }
        self.traces.record(told);
        for span in made {
            self.traces.record(span);
        }
    }
}

/// The codes of some problems, each once, in their order.
pub(crate) fn codes<'a>(problems: impl Iterator<Item = &'a Diagnostic>) -> Vec<Code> {
    let mut codes = Vec::new();
    for code in problems.map(Code::of) {
        if codes.len() < MOST_CODES && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

fn fail<'a>(span: &mut Span, problems: impl Iterator<Item = &'a Diagnostic>) {
    fail_with(span, &codes(problems));
}

fn fail_with(span: &mut Span, codes: &[Code]) {
    span.error = codes.first().copied();
    if codes.len() > 1 {
        span.facts.push(Fact::Codes(codes.to_vec()));
    }
}

/// A message made in a run: itself, its script, and the writing. None where traces are off.
pub(crate) fn made(
    engine: &Engine,
    since: Option<Zeitpunkt>,
    lease: &SubmissionLease,
    message: &NewMessage,
    took: Took,
) -> Vec<Span> {
    let Some(since) = since else { return Vec::new() };
    let parent = run_id("verarbeitung", lease);
    of_message(engine, since, (lease.submission_id, parent), &lease.tenant, message, took)
}

fn of_message(
    engine: &Engine,
    since: Zeitpunkt,
    (submission, parent): (SubmissionId, SpanId),
    tenant: &TenantId,
    message: &NewMessage,
    took: Took,
) -> Vec<Span> {
    let id = message.message_id;
    let own = message_id("sendung", id);
    let facts = vec![
        Fact::Tenant(tenant.clone()),
        Fact::Message(id),
        Fact::Delivery(message.delivery.delivery_id),
        Fact::Route(message.route.clone()),
        Fact::Mapping(message.mapping.clone()),
        Fact::Receiver(message.receiver.clone()),
    ];
    let mapped = after(since, took.map);
    let step = |what: &'static str, start, end| {
        span(submission, (message_id(what, id), own), what, start, end, vec![Fact::Tenant(tenant.clone())])
    };
    vec![
        span(submission, (own, parent), "sendung", since, engine.now(), facts),
        step("zuordnung", since, mapped),
        step("pruefung", mapped, after(mapped, took.render)),
    ]
}

/// A message that could not be made.
pub(crate) fn not_made(
    engine: &Engine,
    since: Option<Zeitpunkt>,
    lease: &SubmissionLease,
    (route, target, receiver): (&str, &RouteTarget, &str),
    problems: &[Diagnostic],
) -> Option<Span> {
    let since = since?;
    let parent = run_id("verarbeitung", lease);
    let way = [route, &target.mapping, receiver].map(str::as_bytes);
    let token = lease.token.to_be_bytes();
    let id = SpanId::of("keine-sendung", &[lease.submission_id.0.as_bytes(), &token, way[0], way[1], way[2]]);
    let facts = vec![
        Fact::Tenant(lease.tenant.clone()),
        Fact::Route(route.to_owned()),
        Fact::Mapping(target.mapping.clone()),
        Fact::Receiver(receiver.to_owned()),
    ];
    let mut told = span(lease.submission_id, (id, parent), "sendung", since, engine.now(), facts);
    fail(&mut told, problems.iter());
    Some(told)
}

/// Tells of a message that a person had made instead of an earlier one.
pub(crate) fn replaced(
    engine: &Engine,
    since: Option<Zeitpunkt>,
    earlier: &MessageRecord,
    message: &NewMessage,
    took: Took,
) {
    let (Some(traces), Some(since)) = (&engine.parts.traces, since) else { return };
    let submission = earlier.submission_id;
    let place = (submission, accepted_id(submission));
    let mut spans = of_message(engine, since, place, &earlier.tenant, message, took);
    spans[0].facts.push(Fact::Replaces(earlier.message_id));
    for span in spans {
        traces.record(span);
    }
}

/// An attempt that is under way.
pub(crate) struct Attempt<'a> {
    traces: &'a dyn Traces,
    tenant: TenantId,
    submission: SubmissionId,
    message: MessageId,
    delivery: DeliveryId,
    id: AttemptId,
    number: u32,
    kind: AttemptKind,
    mapping: String,
    receiver: String,
    connector: Option<String>,
    since: Zeitpunkt,
    interrupted: bool,
}

impl<'a> Attempt<'a> {
    /// Of a claimed delivery.
    pub(crate) fn of_claimed(
        engine: &'a Engine,
        claimed: &ClaimedDelivery,
        started: &StartedAttempt,
    ) -> Option<Self> {
        let traces = engine.parts.traces.as_deref()?;
        let generation = engine.parts.tenants.get(&claimed.delivery.tenant);
        let receiver = &claimed.message.receiver;
        Some(Self {
            traces,
            tenant: claimed.delivery.tenant.clone(),
            submission: claimed.delivery.submission_id,
            message: claimed.delivery.message_id,
            delivery: claimed.delivery.delivery_id,
            id: started.attempt_id,
            number: started.number,
            kind: if claimed.delivery.ticket.is_some() {
                AttemptKind::Nachfragen
            } else {
                AttemptKind::Senden
            },
            mapping: claimed.message.mapping.clone(),
            receiver: receiver.clone(),
            connector: generation.and_then(|generation| connector(&generation, receiver)),
            since: engine.now(),
            interrupted: false,
        })
    }

    /// The first one of a message, begun together with it.
    pub(crate) fn first(engine: &'a Engine, start: &Start) -> Option<Self> {
        let traces = engine.parts.traces.as_deref()?;
        Some(Self {
            traces,
            tenant: start.sendung.tenant.clone(),
            submission: start.submission,
            message: start.sendung.message_id,
            delivery: start.sendung.delivery_id,
            id: start.started.attempt_id,
            number: start.started.number,
            kind: AttemptKind::Senden,
            mapping: start.sendung.mapping.clone(),
            receiver: start.receiver.clone(),
            connector: connector(&start.generation, &start.receiver),
            since: engine.now(),
            interrupted: false,
        })
    }

    /// One that nobody ended; it is over when it is found.
    pub(crate) fn interrupted(
        engine: &'a Engine,
        interrupted: &Interrupted,
        started: &StartedAttempt,
    ) -> Option<Self> {
        let Interrupted { claimed, attempt } = interrupted;
        let found = Self::of_claimed(engine, claimed, started)?;
        Some(Self { kind: attempt.kind, since: attempt.started_at, interrupted: true, ..found })
    }

    /// Tells of the attempt, and of the receipt where it brought one.
    pub(crate) fn end(self, engine: &Engine, ended: &Ended) {
        let (outcome, problem, work_item) = match &ended.end {
            AttemptEnd::Delivered(_) => (AttemptOutcome::Zugestellt, None, false),
            AttemptEnd::Pending { .. } => (AttemptOutcome::Nachverfolgt, None, false),
            AttemptEnd::Retry { problem, .. } => (AttemptOutcome::Wiederholung, Some(problem), false),
            AttemptEnd::Unclear { problem, .. } => (AttemptOutcome::Unklar, Some(problem), false),
            AttemptEnd::GivenUp { problem, .. } => (AttemptOutcome::Aufgegeben, Some(problem), true),
            AttemptEnd::Rejected { problem, .. } => (AttemptOutcome::Abgewiesen, Some(problem), true),
            AttemptEnd::Unknown { problem, .. } => (AttemptOutcome::Unklar, Some(problem), true),
        };
        let mut facts = vec![
            Fact::Tenant(self.tenant.clone()),
            Fact::Message(self.message),
            Fact::Delivery(self.delivery),
            Fact::Attempt(self.id),
            Fact::Number(self.number),
            Fact::Mapping(self.mapping),
            Fact::Receiver(self.receiver),
            Fact::Outcome(outcome.as_str()),
        ];
        facts.extend(self.connector.map(Fact::Connector));
        facts.extend(work_item.then_some(Fact::WorkItem));
        facts.extend(self.interrupted.then_some(Fact::Interrupted));
        let own = attempt_id(self.id);
        let ids = (own, message_id("sendung", self.message));
        let mut told = span(self.submission, ids, self.kind.as_str(), self.since, ended.at, facts);
        told.kind = SpanKind::Client;
        told.error = problem.map(Code::of);
        self.traces.record(told);
        if let AttemptEnd::Delivered(receipt) = &ended.end {
            let ids = (SpanId::of("quittung", &[self.id.0.as_bytes()]), own);
            let facts =
                vec![Fact::Tenant(self.tenant), Fact::Delivery(self.delivery), Fact::Level(receipt.level)];
            self.traces.record(span(self.submission, ids, "quittung", ended.at, engine.now(), facts));
        }
    }
}

fn connector(generation: &Generation, receiver: &str) -> Option<String> {
    generation.receiver(receiver).map(|receiver| receiver.kind.clone())
}
