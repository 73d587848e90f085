// SPDX-License-Identifier: EUPL-1.2
//! What operators ask on an address of its own: whether the service lives, whether it is ready, and its numbers.
//! Nothing here tells anything of an application but numbers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get};
use kop_flow::{Engine, ScannerState};
use kop_store::{Gauges, StoreError};
use kop_tenant::Target;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{numbers, pressure::Gate};

/// Answers are good for this long; whoever asks more often costs nothing.
const FRESH: Duration = Duration::from_secs(2);

/// What is asked about.
pub struct Operation {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The door.
    pub gate: Arc<Gate>,
    gauges: Mutex<Option<(Instant, Arc<Gauges>)>>,
    ready: Mutex<Option<(Instant, (bool, String))>>,
}

impl Operation {
    /// Nothing is asked yet.
    pub fn new(engine: Arc<Engine>, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { engine, gate, gauges: Mutex::default(), ready: Mutex::default() })
    }

    /// The store's numbers, a moment old at most.
    ///
    /// # Errors
    /// The store's.
    pub async fn gauges(&self) -> Result<Arc<Gauges>, StoreError> {
        if let Some(kept) = fresh(&self.gauges) {
            return Ok(kept);
        }
        let gauges = Arc::new(self.engine.store().gauges().await?);
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), gauges.clone()));
        Ok(gauges)
    }

    /// Whether applications can be taken in, with a line per check. A scanner that is away or a schema that is
    /// missing delays what is behind the door and is told, but does not close it.
    async fn readiness(&self) -> (bool, String) {
        if let Some(kept) = fresh(&self.ready) {
            return kept;
        }
        let mut ready = true;
        let mut text = String::new();
        let mut line = |name: &str, needed: bool, problem: Option<String>| {
            ready &= problem.is_none() || !needed;
            let said = problem.map_or_else(|| "ok".to_owned(), |problem| format!("gestört: {problem}"));
            text.extend([name, ": ", &said, "\n"]);
        };
        let told = |done: Result<(), StoreError>| done.err().map(|error| error.diagnostic().de);
        line("datenbank", true, told(self.engine.store().writable().await));
        line("dateien", true, told(self.engine.blobs().writable().await));
        let closed = self.gate.state().1;
        line("platte", true, closed.disk.then(|| "zu wenig Platz".to_owned()));
        line("rueckstau", true, closed.backlog.then(|| "zu viel ist unerledigt".to_owned()));
        line("schemata", false, self.missing_schemas());
        let scanner = match self.engine.ask_scanner().await {
            ScannerState::Up => None,
            ScannerState::NotSetUp => Some("nicht eingerichtet".to_owned()),
            ScannerState::Down { problem, .. } => Some(problem.de),
        };
        line("virenpruefung", false, scanner);
        let said = (ready, text);
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), said.clone()));
        said
    }

    fn missing_schemas(&self) -> Option<String> {
        let schemas = self.engine.schemas();
        let mut missing: Vec<String> = Vec::new();
        for generation in self.engine.tenants().all() {
            for mapping in generation.mappings.values() {
                if let Target::Xoev { standard, version, .. } = &mapping.manifest.ziel
                    && schemas.find(standard, version).is_none()
                {
                    missing.push(format!("{standard} {version}"));
                }
            }
        }
        missing.sort();
        missing.dedup();
        (!missing.is_empty()).then(|| missing.join(", "))
    }
}

fn fresh<T: Clone>(kept: &Mutex<Option<(Instant, T)>>) -> Option<T> {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, value)| value.clone())
}

/// Serves operators until stopped.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    operation: Arc<Operation>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operation);
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

async fn ready(State(operation): State<Arc<Operation>>) -> (StatusCode, String) {
    let (ready, text) = operation.readiness().await;
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn metrics(State(operation): State<Arc<Operation>>) -> impl IntoResponse {
    match operation.gauges().await {
        Ok(gauges) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (StatusCode::OK, kind, numbers::page(&operation, &gauges)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "The store's numbers cannot be had.");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
