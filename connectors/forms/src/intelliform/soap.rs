// SPDX-License-Identifier: EUPL-1.2
//! The answers in SOAP 1.1: an empty `depositResponse`, or a Fault whose detail is intelliForm's
//! `ApplicationFault`. Texts are German and hold no internals.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use kop_connector_api::{IntakeResponse, Refusal, RefusalKind};
use kop_core::{ContentHash, Zeitpunkt};

use super::{NS_BACKEND, SOURCE};
use crate::xml::escape;

const NS_ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// Numbers the faults of this process.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// The submission is stored.
pub(super) fn deposited() -> IntakeResponse {
    envelope(StatusCode::OK, &format!("<b:depositResponse xmlns:b=\"{NS_BACKEND}\"/>"))
}

/// Nothing was stored. `challenge` asks for HTTP Basic, where no credentials came at all.
pub(super) fn refused(refusal: &Refusal, now: Zeitpunkt, challenge: bool) -> IntakeResponse {
    let code = refusal.problems.first().map_or("KOP", |problem| problem.code.as_str());
    let number = FAULTS.fetch_add(1, Ordering::Relaxed);
    let short = &ContentHash::of(format!("{now}/{number}").as_bytes()).short()[..8];
    let fault_id = format!("{code}-{short}");
    if let Some(problem) = refusal.problems.first() {
        tracing::info!(source = SOURCE, fault_id, %problem, "submission refused");
    }
    let (extra_ns, fault_code) = match refusal.kind {
        _ if code == "KOP-E026" && refusal.message().contains("SOAP 1.1") => ("", "S:VersionMismatch"),
        _ if code == "KOP-E026" => ("", "S:MustUnderstand"),
        RefusalKind::Unauthorised => (
            " xmlns:w=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd\"",
            "w:FailedAuthentication",
        ),
        RefusalKind::Busy | RefusalKind::Technical => ("", "S:Server"),
        RefusalKind::BadPayload | RefusalKind::NotFound | RefusalKind::TooLarge => ("", "S:Client"),
    };
    let mut message = String::new();
    escape(&refusal.message(), &mut message);
    let citizen = citizens_words(refusal.kind);
    let mut response = envelope(
        // SOAP 1.1 section 6.2 wants 500 for every fault; 401 is HTTP's own word for the login.
        if challenge { StatusCode::UNAUTHORIZED } else { StatusCode::INTERNAL_SERVER_ERROR },
        &format!(
            "<S:Fault{extra_ns}><faultcode>{fault_code}</faultcode><faultstring>{message}</faultstring>\
             <detail><b:ApplicationFault xmlns:b=\"{NS_BACKEND}\"><faultId>{fault_id}</faultId>\
             <message>{message}</message><userMessage>{citizen} Kennung: {fault_id}</userMessage>\
             </b:ApplicationFault></detail></S:Fault>"
        ),
    );
    if challenge {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"KOP\""));
    }
    if refusal.kind == RefusalKind::Busy {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    }
    response
}

/// What the citizen is told on the form's last page.
fn citizens_words(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::TooLarge => {
            "Ihr Antrag konnte nicht entgegengenommen werden, weil er zu groß ist. Bitte verkleinern Sie die \
             Anlagen und senden Sie den Antrag erneut."
        }
        RefusalKind::Busy => {
            "Ihr Antrag konnte gerade nicht entgegengenommen werden. Bitte senden Sie ihn in einigen Minuten \
             erneut."
        }
        RefusalKind::BadPayload
        | RefusalKind::Unauthorised
        | RefusalKind::NotFound
        | RefusalKind::Technical => {
            "Ihr Antrag konnte wegen eines technischen Fehlers nicht entgegengenommen werden. Bitte versuchen \
             Sie es später erneut oder wenden Sie sich an die Behörde."
        }
    }
}

/// An address that is asked in a way it does not serve.
pub(super) fn plain(status: StatusCode, text: &'static str) -> IntakeResponse {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

/// An XML document.
pub(super) fn xml(status: StatusCode, document: String) -> IntakeResponse {
    let mut response = Response::new(Bytes::from(document));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    response
}

fn envelope(status: StatusCode, body: &str) -> IntakeResponse {
    xml(
        status,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<S:Envelope xmlns:S=\"{NS_ENVELOPE}\"><S:Body>{body}\
             </S:Body></S:Envelope>"
        ),
    )
}
