// SPDX-License-Identifier: EUPL-1.2
//! The task that empties the queue: gathers spans for a moment, sends them, tries again where the protocol says so,
//! and gives up after a while.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kop_core::{Clock, Diagnostic, Span};
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{Counts, Resource, TracePlan, encode};
use crate::{
    answer::{LARGEST_ANSWER, retry_after},
    client, problem,
};

/// Spans of one request: a few hundred kilobytes, far below the 20 MiB that collectors take.
const MOST_SPANS: usize = 512;

/// Longest time to establish a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that was idle for so long is not used again.
const IDLE: Duration = Duration::from_secs(30);

/// How patient a process is with its collector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Spans are gathered for so long.
    pub(super) gather: Duration,
    /// The pause after the first failure; doubled with each further one.
    pub(super) first_pause: Duration,
    /// No pause is longer, whatever the collector wishes.
    pub(super) longest_pause: Duration,
    /// Spans that could not be sent for so long are dropped.
    pub(super) keep: Duration,
    /// What waits when the process ends is sent within this time or never.
    pub(super) flush: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            gather: Duration::from_secs(1),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            keep: Duration::from_secs(60),
            flush: Duration::from_secs(3),
        }
    }
}

/// The collector's end of the queue.
pub struct Exporter {
    plan: TracePlan,
    client: Client,
    resource: Resource,
    clock: Arc<dyn Clock>,
    queue: mpsc::Receiver<Span>,
    counts: Arc<Counts>,
    pub(super) patience: Patience,
    /// Pause after the next failure.
    pause: Duration,
    /// No request before.
    not_before: Option<Instant>,
    failing: bool,
    told_partial: bool,
}

/// An exporter at work.
pub struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    counts: Arc<Counts>,
    flush: Duration,
}

/// What one request came to.
enum Sent {
    Taken(Option<encode::Partial>),
    Refused(String),
    Later { after: Option<Duration>, why: String },
}

impl Exporter {
    pub(super) fn new(
        plan: TracePlan,
        base_dir: &Path,
        resource: Resource,
        clock: Arc<dyn Clock>,
        queue: mpsc::Receiver<Span>,
        counts: Arc<Counts>,
    ) -> Result<Self, Diagnostic> {
        let certificates = plan.certificates.as_deref().map(|path| base_dir.join(path));
        let builder = client::builder(&plan.url, CONNECT, certificates.as_deref()).map_err(not_set_up)?;
        let builder = builder.timeout(plan.limit).pool_max_idle_per_host(1).pool_idle_timeout(IDLE);
        let client = client::build(builder).map_err(not_set_up)?;
        // A missing secret shows now rather than never.
        let _ = client::sign(client.post(plan.url.clone()), &plan.headers, plan.login.as_ref())
            .map_err(not_set_up)?;
        let patience = Patience::default();
        Ok(Self {
            plan,
            client,
            resource,
            clock,
            queue,
            counts,
            patience,
            pause: patience.first_pause,
            not_before: None,
            failing: false,
            told_partial: false,
        })
    }

    /// Begins to work on the present runtime.
    pub fn start(self) -> Exporting {
        let (stop, stopped) = watch::channel(false);
        let (counts, flush) = (self.counts.clone(), self.patience.flush);
        Exporting { stop, task: tokio::spawn(self.run(stopped)), counts, flush }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.pause = self.patience.first_pause;
        let mut spans = Vec::with_capacity(MOST_SPANS);
        while self.gather(&mut spans, &mut stop).await {
            self.send(&spans, &mut stop).await;
            spans.clear();
        }
    }

    /// Fills a request: as many spans as it holds, or those of a moment, or, at the end, those that wait.
    /// `false` when there are none and none will come.
    async fn gather(&mut self, spans: &mut Vec<Span>, stop: &mut watch::Receiver<bool>) -> bool {
        let mut until = None;
        while spans.len() < MOST_SPANS {
            if stopping(stop) {
                while spans.len() < MOST_SPANS
                    && let Ok(span) = self.queue.try_recv()
                {
                    spans.push(span);
                }
                break;
            }
            let room = MOST_SPANS - spans.len();
            tokio::select! {
                _ = stop.changed() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
                count = self.queue.recv_many(spans, room) => {
                    if count == 0 {
                        break;
                    }
                    until = until.or_else(|| Some(Instant::now() + self.patience.gather));
                }
            }
        }
        !spans.is_empty()
    }

    /// Sends one request, again where that may help, until it is taken, refused or too old.
    async fn send(&mut self, spans: &[Span], stop: &mut watch::Receiver<bool>) {
        let body = Bytes::from(encode::request(&self.resource, spans));
        let count = spans.len() as u64;
        let begun = Instant::now();
        loop {
            while let Some(at) = self.not_before.filter(|at| *at > Instant::now() && !stopping(stop)) {
                tokio::select! {
                    _ = stop.changed() => {}
                    () = sleep_until(at) => {}
                }
            }
            match self.post(body.clone()).await {
                Sent::Taken(partial) => {
                    let rejected = partial.as_ref().map_or(0, |partial| partial.rejected.min(count));
                    add(&self.counts.exported, count - rejected);
                    add(&self.counts.refused, rejected);
                    self.tell_partial(partial);
                    return self.well();
                }
                Sent::Refused(why) => {
                    add(&self.counts.refused, count);
                    return self.ill(&why);
                }
                Sent::Later { after, why } => {
                    self.ill(&why);
                    let pause = after.unwrap_or_else(|| self.pause.mul_f64(spread(spans)));
                    let pause = pause.min(self.patience.longest_pause);
                    self.pause = (self.pause * 2).min(self.patience.longest_pause);
                    self.not_before = Some(Instant::now() + pause);
                    if stopping(stop) || begun.elapsed() + pause > self.patience.keep {
                        return add(&self.counts.not_reached, count);
                    }
                }
            }
        }
    }

    /// One request, bounded in time by the client.
    async fn post(&self, body: Bytes) -> Sent {
        let request =
            self.client.post(self.plan.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let request = match client::sign(request, &self.plan.headers, self.plan.login.as_ref()) {
            Ok(request) => request,
            Err(problem) => return Sent::Later { after: None, why: problem.detail.unwrap_or_default() },
        };
        let response = match request.send().await {
            Ok(response) => response,
            // Refused connections, silence, answers that break: all may pass.
            Err(error) => return Sent::Later { after: None, why: problem::root_cause(&error) },
        };
        let status = response.status();
        if status.is_success() {
            return Sent::Taken(encode::partial(&text(response).await));
        }
        let why = format!("HTTP {}", status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                Sent::Later { after: wish.and_then(|text| retry_after(text, self.clock.now())), why }
            }
            _ => Sent::Refused(why),
        }
    }

    /// A collector that takes spans again is told once, as is one that does not.
    fn well(&mut self) {
        self.pause = self.patience.first_pause;
        self.not_before = None;
        if std::mem::take(&mut self.failing) {
            tracing::info!("Traces reach their collector again.");
        }
    }

    fn ill(&mut self, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(why, "Traces do not reach their collector; nothing else waits for them.");
        }
    }

    fn tell_partial(&mut self, partial: Option<encode::Partial>) {
        if let Some(partial) = partial
            && !std::mem::replace(&mut self.told_partial, true)
        {
            let encode::Partial { rejected, message } = partial;
            tracing::warn!(rejected, message, "The collector took traces in part; told once.");
        }
    }
}

impl Exporting {
    /// Sends what waits, within a short time, and ends.
    pub async fn finish(mut self) {
        let before = self.counts.read();
        self.stop.send_replace(true);
        if timeout(self.flush, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let after = self.counts.read();
        let lost = after.not_reached + after.refused - before.not_reached - before.refused;
        if lost > 0 || !self.task.is_finished() {
            tracing::warn!(spans = lost, "Traces of the last moments did not reach their collector.");
        }
    }
}

/// Also when nobody can say any more that it should stop.
fn stopping(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// Between a half and one, by the spans' own ids: processes that failed together do not come back together.
fn spread(spans: &[Span]) -> f64 {
    let byte = spans.first().map_or(255, |span| span.id.as_bytes()[0]);
    0.5 + f64::from(byte) / 510.0
}

/// The answer's beginning; one that breaks off says nothing, and takes nothing back either.
async fn text(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < LARGEST_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        let room = LARGEST_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    body
}

fn not_set_up(problem: Diagnostic) -> Diagnostic {
    Diagnostic::new(
        "KOP-S030",
        "Zugangsdaten oder Zertifikate für die Spuren können nicht gelesen werden.",
        "Credentials or certificates for traces cannot be read.",
    )
    .with_detail(problem.detail.unwrap_or_default())
}
