// SPDX-License-Identifier: EUPL-1.2
//! What can go wrong on the way to an HTTP receiver, in words of whoever looks after it. No credential, no
//! path of an address and no word of the receiver enters a text unmasked: all may hold what nobody else should
//! read.

use std::{error::Error, io, time::Duration};

use kop_core::{Diagnostic, Outcome};

/// Wrong credentials are not sent again faster than this, so that the receiver does not lock the account.
const PAUSE_AFTER_REFUSED_LOGIN: Duration = Duration::from_secs(300);

/// Longest text of a library that is shown.
const LONGEST_DETAIL: usize = 200;

pub(crate) fn retry(problem: Diagnostic) -> Outcome {
    Outcome::Retry { after: None, problem }
}

/// The receiver could not be connected to; nothing was sent.
pub(crate) fn unreachable(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new("KOP-Z010", "Der Empfänger ist nicht erreichbar.", "The receiver cannot be reached.")
        .with_detail(detail)
}

/// Encryption could not be agreed on, or the certificate is not trusted; nothing was sent.
fn not_trusted(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z011",
        "Die verschlüsselte Verbindung zum Empfänger kommt nicht zustande.",
        "The encrypted connection to the receiver cannot be established.",
    )
    .with_detail(detail)
}

/// Why no connection came about.
pub(crate) fn no_connection(error: &reqwest::Error) -> Diagnostic {
    let detail = root_cause(error);
    // The TLS library reports what it dislikes as invalid data; the network never does.
    let tls = causes(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
    });
    if tls { not_trusted(detail) } else { unreachable(detail) }
}

type Cause<'a> = &'a (dyn Error + 'static);

fn causes(error: Cause<'_>) -> impl Iterator<Item = Cause<'_>> {
    // Bounded, because a chain of causes is a library's own making.
    std::iter::successors(Some(error), next_cause).take(16)
}

fn next_cause<'a>(error: &Cause<'a>) -> Option<Cause<'a>> {
    let error = *error;
    // `source` of an I/O error leaves out the very error that it wraps.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The innermost error's words: those further out name the address.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let words = causes(error).skip(1).last().map_or_else(|| "no cause given".to_owned(), ToString::to_string);
    words.chars().filter(|c| !c.is_control()).take(LONGEST_DETAIL).collect()
}

/// 401, 403, 407. Not a rejection: the message is in order, and once the access is mended it goes out by
/// itself.
pub(crate) fn access_refused(status: reqwest::StatusCode) -> Diagnostic {
    Diagnostic::new("KOP-Z012", "Der Empfänger verweigert den Zugang.", "The receiver refuses access.")
        .with_detail(words(status))
}

pub(crate) fn access_refused_outcome(status: reqwest::StatusCode, after: Option<Duration>) -> Outcome {
    let after = Some(after.unwrap_or_default().max(PAUSE_AFTER_REFUSED_LOGIN));
    Outcome::Retry { after, problem: access_refused(status) }
}

/// 408, 425, 429, 5xx.
pub(crate) fn busy(status: reqwest::StatusCode) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z013",
        "Der Empfänger kann die Sendung zurzeit nicht annehmen.",
        "The receiver cannot take the message at present.",
    )
    .with_detail(words(status))
}

/// 4xx.
pub(crate) fn rejected(status: reqwest::StatusCode) -> Diagnostic {
    Diagnostic::new("KOP-Z014", "Der Empfänger weist die Sendung ab.", "The receiver rejects the message.")
        .with_detail(words(status))
}

/// 3xx, and those of 4xx that say that nobody takes messages at this address.
pub(crate) fn wrong_address(status: reqwest::StatusCode) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z015",
        "Unter der eingestellten Adresse nimmt niemand Sendungen an.",
        "Nobody takes messages at the address that is set.",
    )
    .with_detail(words(status))
}

/// The request had begun and no answer came.
pub(crate) fn no_answer(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z016",
        "Die Sendung wurde gesendet, aber der Empfänger hat nicht geantwortet.",
        "The message was sent, but the receiver did not answer.",
    )
    .with_detail(detail)
}

/// The answer does not say whether the receiver has the message.
pub(crate) fn unclear_answer(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z017",
        "Die Antwort sagt nicht, ob der Empfänger die Sendung hat.",
        "The answer does not say whether the receiver has the message.",
    )
    .with_detail(detail)
}

/// `form = "einzeln"` and a Sendung of more than its main document.
pub(crate) fn parts_do_not_fit() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z018",
        "Die Sendung hat Anlagen, aber an diesen Empfänger wird nur das Hauptdokument gesendet.",
        "The message has further files, but only the main document is sent to this receiver.",
    )
    .with_hint("In der Zustellung form = \"multipart\" setzen oder in der Zuordnung keine Dateien beifügen.")
}

/// A secret, a certificate or the HTTP stack itself is not ready.
pub(crate) fn not_set_up(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z019",
        "Zugangsdaten oder Zertifikate für den Empfänger können nicht gelesen werden.",
        "Credentials or certificates for the receiver cannot be read.",
    )
    .with_detail(detail)
}

pub(crate) fn unreadable_blob(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z005",
        "Eine gespeicherte Datei der Sendung kann nicht gelesen werden.",
        "A stored file of the message cannot be read.",
    )
    .with_detail(detail)
}

pub(crate) fn cannot_be_asked() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z008",
        "Dieser Empfänger kann nicht gefragt werden, was aus einer Sendung wurde.",
        "This receiver cannot be asked what became of a message.",
    )
}

/// The status with the standard's words, not with the receiver's.
pub(crate) fn words(status: reqwest::StatusCode) -> String {
    format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
        .trim_end()
        .to_owned()
}
