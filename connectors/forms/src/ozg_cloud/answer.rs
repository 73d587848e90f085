// SPDX-License-Identifier: EUPL-1.2
//! The answers that senders of form-data read: JSON with the Vorgang, or a German error body.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use kop_connector_api::{Accepted, IntakeResponse, Refusal, RefusalKind};

/// The Vorgang that the submission opened. A repeat gives the same answer, because nothing in it depends on
/// the present moment.
pub(super) fn accepted(accepted: &Accepted) -> IntakeResponse {
    let transaction = accepted.vendor_id.clone().unwrap_or_else(|| accepted.submission_id.to_string());
    json(
        StatusCode::OK,
        &serde_json::json!({
            "transactionId": transaction,
            "vorgang": {
                "vorgangId": accepted.vorgang_id.to_string(),
                "vorgangNummer": accepted.vorgangsnummer,
                "status": "NEU",
                "statusSince": accepted.received_at.to_string(),
            }
        }),
    )
}

/// Why nothing was stored, for the form vendor's log and screen.
pub(super) fn refused(refusal: &Refusal, status: StatusCode) -> IntakeResponse {
    let (code, message) =
        refusal.problems.first().map_or(("", ""), |problem| (problem.code.as_str(), problem.de.as_str()));
    let mut response = json(status, &serde_json::json!({ "fehler": { "code": code, "meldung": message } }));
    let headers = response.headers_mut();
    match refusal.kind {
        RefusalKind::Unauthorised => {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"KOP\""));
        }
        RefusalKind::Busy => {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
        }
        _ => {}
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    }
    response
}

fn json(status: StatusCode, body: &serde_json::Value) -> IntakeResponse {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
