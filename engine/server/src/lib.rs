// SPDX-License-Identifier: EUPL-1.2
//! HTTP: mounts the intakes that it is handed below the tenants' addresses, and tells whether the engine lives.
//!
//! It speaks plain HTTP; TLS is the reverse proxy's. It knows no vendor: what a refused sender reads comes from
//! the intake itself.

mod mount;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use kop_connector_api::{HttpIntake, Inbox};
use kop_flow::{Engine, Reception};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// Requests that are taken in at once; one more is told to come again.
const MAX_REQUESTS: usize = 256;

/// What the handlers share.
pub(crate) struct Doors {
    pub(crate) engine: Arc<Engine>,
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) intakes: Vec<Arc<dyn HttpIntake>>,
    pub(crate) slots: Semaphore,
    pub(crate) address: SocketAddr,
}

/// Serves until stopped, then finishes what is under way.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    engine: Arc<Engine>,
    intakes: Vec<Arc<dyn HttpIntake>>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let doors = Arc::new(Doors {
        inbox: Arc::new(Reception(engine.clone())),
        engine,
        intakes,
        slots: Semaphore::new(MAX_REQUESTS),
        address: listener.local_addr()?,
    });
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/{tenant}/{*address}", get(mount::take_in).post(mount::take_in))
        .with_state(doors);
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

/// Ready when the store answers.
async fn ready(State(doors): State<Arc<Doors>>) -> (StatusCode, &'static str) {
    match doors.engine.store().counts(None).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::error!(%error, "The store does not answer.");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}
