// SPDX-License-Identifier: EUPL-1.2
//! HTTP: mounts the intakes that it is handed below the tenants' addresses, closes the door while too much is open,
//! and tells operators, on an address of their own and by mail, how the engine does.
//!
//! It speaks plain HTTP; TLS is the reverse proxy's. It knows no vendor: what a refused sender reads comes from
//! the intake itself.

pub mod alarm;
mod leftover;
mod mount;
mod numbers;
pub mod operation;
pub mod pressure;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, routing::get};
use kop_connector_api::{HttpIntake, Inbox};
use kop_flow::{Engine, Reception};
pub use operation::Operation;
pub use pressure::Gate;
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
    pub(crate) gate: Arc<Gate>,
    pub(crate) address: SocketAddr,
}

/// Serves until stopped, then finishes what is under way.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    engine: Arc<Engine>,
    intakes: Vec<Arc<dyn HttpIntake>>,
    gate: Arc<Gate>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let doors = Arc::new(Doors {
        inbox: Arc::new(Reception(engine.clone())),
        engine,
        intakes,
        slots: Semaphore::new(MAX_REQUESTS),
        gate,
        address: listener.local_addr()?,
    });
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/{tenant}/{*address}", get(mount::take_in).post(mount::take_in))
        .with_state(doors);
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}
