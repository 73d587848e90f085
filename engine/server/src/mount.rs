// SPDX-License-Identifier: EUPL-1.2
//! One request to an intake: finds tenant and intake, opens the body as a stream with a time limit between two
//! pieces, and lets the intake answer.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use futures_util::StreamExt;
use kop_connector_api::{HttpIntake, IntakeRequest, IntakeResponse, Refusal, RefusalKind};
use kop_core::{Diagnostic, TenantId};

use crate::Doors;

/// Longest silence of a sender.
const SILENCE: Duration = Duration::from_secs(60);

/// Handles `/{tenant}/{address}`.
pub(crate) async fn take_in(
    State(doors): State<Arc<Doors>>,
    Path((tenant, address)): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some(intake) = doors.intakes.iter().find(|intake| intake.address() == address) else {
        return answer(http::Response::builder().status(404).body("not found\n".into()).unwrap_or_default());
    };
    answer(hand_over(&doors, intake, &tenant, request).await)
}

async fn hand_over(
    doors: &Doors,
    intake: &Arc<dyn HttpIntake>,
    tenant: &str,
    request: Request,
) -> IntakeResponse {
    let generation = tenant.parse::<TenantId>().ok().and_then(|tenant| doors.engine.tenants().get(&tenant));
    let open = generation.and_then(|generation| {
        Some((generation.tenant.clone(), generation.intakes.get(intake.source())?.clone()))
    });
    let Some((tenant, settings)) = open else {
        return intake.refuse(&Refusal::new(RefusalKind::NotFound, not_open()));
    };
    // Before a byte of the body is read. Questions, such as for a WSDL, cost nothing and are answered.
    if request.method() == http::Method::POST
        && let Some(problem) = doors.gate.refusal()
    {
        return later(intake.refuse(&Refusal::new(RefusalKind::Busy, problem)));
    }
    let Ok(_slot) = doors.slots.try_acquire() else {
        return later(intake.refuse(&Refusal::new(RefusalKind::Busy, busy())));
    };
    let (head, body) = request.into_parts();
    let base_url = base_url(&head, doors);
    let body = body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other));
    let body = futures_util::stream::unfold(Box::pin(body), |mut body| async move {
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(piece)) => Some((piece, body)),
            Ok(None) => None,
            Err(_) => Some((Err(std::io::Error::from(std::io::ErrorKind::TimedOut)), body)),
        }
    });
    let request = IntakeRequest { tenant, head, body: Box::pin(body), settings, base_url };
    intake.handle(request, doors.inbox.clone()).await
}

/// Says when to come again, in every vendor's format (RFC 9110 section 10.2.3).
fn later(mut response: IntakeResponse) -> IntakeResponse {
    let after = http::HeaderValue::from_static("60");
    response.headers_mut().entry(http::header::RETRY_AFTER).or_insert(after);
    response
}

/// The address as the sender sees it; a reverse proxy says it in `X-Forwarded-Proto` and `Host`.
fn base_url(head: &http::request::Parts, doors: &Doors) -> String {
    let header = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let scheme = match header("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let host = header("host").map_or_else(|| doors.address.to_string(), str::to_owned);
    format!("{scheme}://{host}")
}

fn answer(response: IntakeResponse) -> Response {
    response.map(Body::from)
}

fn not_open() -> Diagnostic {
    Diagnostic::new(
        "KOP-F004",
        "Unter dieser Adresse werden keine Anträge angenommen.",
        "No applications are taken in at this address.",
    )
}

fn busy() -> Diagnostic {
    Diagnostic::new(
        "KOP-S005",
        "Der Dienst ist gerade ausgelastet. Bitte später noch einmal senden.",
        "The service is busy at present. Please send again later.",
    )
}
