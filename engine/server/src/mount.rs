// SPDX-License-Identifier: EUPL-1.2
//! One request to an intake: finds tenant and intake, hands over the body as a stream, lets the intake answer, and
//! sees to it that the sender can read the answer.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use kop_connector_api::{HttpIntake, IntakeRequest, IntakeResponse, Refusal, RefusalKind};
use kop_core::{Diagnostic, TenantId};
use tokio::sync::SemaphorePermit;

use crate::{Doors, leftover};

/// Handles `/{tenant}/{address}`.
pub(crate) async fn take_in(
    State(doors): State<Arc<Doors>>,
    Path((tenant, address)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    // A sender that asks first (RFC 9110 section 10.1.1) has sent nothing that an early refusal would leave unread.
    let asks = head.headers.contains_key(http::header::EXPECT);
    let entry = match doors.intakes.iter().find(|intake| intake.address() == address) {
        Some(intake) => open(&doors, intake, &tenant, &head).map(|entry| (intake, entry)),
        None => Err(http::Response::builder().status(404).body("not found\n".into()).unwrap_or_default()),
    };
    let (response, reusable) = match entry {
        Ok((intake, entry)) => {
            let (body, left) = leftover::lend(body);
            let base_url = base_url(&head, &doors);
            let request =
                IntakeRequest { tenant: entry.tenant, head, body, settings: entry.settings, base_url };
            let response = intake.handle(request, doors.inbox.clone()).await;
            drop(entry.slot);
            (response, left.discard(asks).await)
        }
        Err(response) => (response, leftover::discard(body, asks).await),
    };
    let mut response = answer(response);
    if !reusable {
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
    }
    response
}

/// What a request that may come in is given.
struct Entry<'a> {
    tenant: TenantId,
    settings: Arc<serde_json::Value>,
    slot: SemaphorePermit<'a>,
}

/// Whether the request may come in; decided before a byte of its body is read.
fn open<'a>(
    doors: &'a Doors,
    intake: &Arc<dyn HttpIntake>,
    tenant: &str,
    head: &http::request::Parts,
) -> Result<Entry<'a>, IntakeResponse> {
    let generation = tenant.parse::<TenantId>().ok().and_then(|tenant| doors.engine.tenants().get(&tenant));
    let found = generation.and_then(|generation| {
        Some((generation.tenant.clone(), generation.intakes.get(intake.source())?.clone()))
    });
    let Some((tenant, settings)) = found else {
        return Err(intake.refuse(&Refusal::new(RefusalKind::NotFound, not_open())));
    };
    // Questions, such as for a WSDL, cost nothing and are answered.
    if head.method == http::Method::POST
        && let Some(problem) = doors.gate.refusal()
    {
        return Err(intake.refuse(&Refusal::new(RefusalKind::Busy, problem)));
    }
    let slot =
        doors.slots.try_acquire().map_err(|_| intake.refuse(&Refusal::new(RefusalKind::Busy, busy())))?;
    Ok(Entry { tenant, settings, slot })
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
