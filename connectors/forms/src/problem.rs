// SPDX-License-Identifier: EUPL-1.2
//! What can be wrong with a payload of any vendor: one function per diagnostic code, so that the wording of
//! a code stands in one place. Texts hold no values.

use kop_connector_api::{Refusal, RefusalKind};
use kop_core::Diagnostic;

fn bad(code: &str, de: &str, en: &str) -> Refusal {
    Refusal::new(RefusalKind::BadPayload, Diagnostic::new(code, de, en))
}

/// KOP-E001: more bytes than the tenant allows.
pub(crate) fn too_large(limit: u64) -> Refusal {
    let mb = limit / 1_000_000;
    Refusal::new(
        RefusalKind::TooLarge,
        Diagnostic::new(
            "KOP-E001",
            format!("Der Antrag mit seinen Anlagen ist größer als die erlaubten {mb} MB."),
            format!("The application with its attachments is larger than the {mb} MB allowed."),
        ),
    )
}

/// KOP-E002: the sender broke off.
pub(crate) fn broken_off() -> Refusal {
    bad("KOP-E002", "Die Übertragung ist vor dem Ende abgebrochen.", "The transfer broke off before its end.")
}

/// KOP-E003: not the media type that the format demands, or no boundary.
pub(crate) fn wrong_media_type(expected: &str) -> Refusal {
    Refusal::new(
        RefusalKind::BadPayload,
        Diagnostic::new(
            "KOP-E003",
            format!("Der Inhaltstyp der Anfrage passt nicht; erwartet wird {expected}."),
            format!("The content type of the request does not fit; expected is {expected}."),
        ),
    )
}

/// KOP-E004: the parts cannot be told apart.
pub(crate) fn malformed_multipart() -> Refusal {
    bad(
        "KOP-E004",
        "Die Teile der mehrteiligen Nachricht sind beschädigt oder unvollständig.",
        "The parts of the multipart message are damaged or incomplete.",
    )
}

/// KOP-E005: more files than anyone sends.
pub(crate) fn too_many_parts(limit: usize) -> Refusal {
    Refusal::new(
        RefusalKind::TooLarge,
        Diagnostic::new(
            "KOP-E005",
            format!("Der Antrag hat mehr als {limit} Dateien."),
            format!("The application has more than {limit} files."),
        ),
    )
}

/// KOP-E006: only POST (and for a WSDL GET) is answered.
pub(crate) fn wrong_method() -> Refusal {
    bad("KOP-E006", "Diese Adresse nimmt nur Anträge per POST an.", "This address takes POST requests only.")
}

/// KOP-E007: credentials are demanded and none came.
pub(crate) fn credentials_missing() -> Refusal {
    Refusal::new(
        RefusalKind::Unauthorised,
        Diagnostic::new(
            "KOP-E007",
            "Die Anfrage enthält keine Anmeldung; für diesen Eingang ist eine nötig.",
            "The request carries no credentials, but this intake demands them.",
        ),
    )
}

/// KOP-E008: credentials came and are wrong. Which part is wrong is not told.
pub(crate) fn credentials_wrong() -> Refusal {
    Refusal::new(
        RefusalKind::Unauthorised,
        Diagnostic::new("KOP-E008", "Die Anmeldung stimmt nicht.", "The credentials are not right."),
    )
}

/// KOP-E009: settings or secret cannot be read.
pub(crate) fn not_set_up(reason: String) -> Refusal {
    Refusal::new(
        RefusalKind::Technical,
        Diagnostic::new(
            "KOP-E009",
            "Dieser Eingang ist beim Empfänger nicht richtig eingerichtet.",
            "This intake is not set up properly at the receiver.",
        )
        .with_detail(reason),
    )
}

/// KOP-E010: the JSON part with the form's data is missing.
pub(crate) fn form_data_missing() -> Refusal {
    bad(
        "KOP-E010",
        "Der Teil „formData“ mit den Angaben des Formulars fehlt.",
        "The part `formData` with the form's data is missing.",
    )
}

/// KOP-E011: two parts claim to be the form's data.
pub(crate) fn form_data_twice() -> Refusal {
    bad("KOP-E011", "Der Teil „formData“ kommt mehrfach vor.", "The part `formData` occurs more than once.")
}

/// KOP-E012: the form's data is no JSON, or JSON of another shape.
pub(crate) fn form_data_unreadable(detail: String) -> Diagnostic {
    Diagnostic::new(
        "KOP-E012",
        "Die Angaben des Formulars (formData) sind nicht lesbar.",
        "The form's data (formData) cannot be read.",
    )
    .with_detail(detail)
}

/// KOP-E013: larger, deeper or with more members than any form.
pub(crate) fn data_beyond_limits() -> Diagnostic {
    Diagnostic::new(
        "KOP-E013",
        "Die Angaben des Formulars sind zu umfangreich oder zu tief geschachtelt.",
        "The form's data is too large or too deeply nested.",
    )
}

/// KOP-E014: the envelope of the JSON is missing; the application is kept all the same.
pub(crate) fn control_missing() -> Diagnostic {
    Diagnostic::new(
        "KOP-E014",
        "Der Kopf „control“ des Antrags fehlt; Formular und zuständige Stelle sind unbekannt.",
        "The head `control` is missing; form and responsible authority are unknown.",
    )
}

/// KOP-E020: no XML, broken XML, or not the envelope expected.
pub(crate) fn envelope_unreadable(detail: &str) -> Refusal {
    Refusal::new(
        RefusalKind::BadPayload,
        Diagnostic::new(
            "KOP-E020",
            "Der SOAP-Umschlag ist nicht lesbar.",
            "The SOAP envelope cannot be read.",
        )
        .with_detail(detail),
    )
}

/// KOP-E021: DOCTYPE or entities, the way to XXE and entity bombs.
pub(crate) fn doctype_refused() -> Refusal {
    bad(
        "KOP-E021",
        "Die Nachricht enthält eine DOCTYPE-Angabe oder eigene Entitäten; das ist nicht erlaubt.",
        "The message contains a DOCTYPE or entities of its own, which is not allowed.",
    )
}

/// KOP-E022: another encoding than UTF-8.
pub(crate) fn wrong_encoding() -> Refusal {
    bad("KOP-E022", "Die Nachricht ist nicht in UTF-8 kodiert.", "The message is not encoded in UTF-8.")
}

/// KOP-E023: a file's base64 is damaged or cut off.
pub(crate) fn base64_broken() -> Refusal {
    bad(
        "KOP-E023",
        "Der Inhalt einer Anlage ist kein vollständiges Base64.",
        "The content of an attachment is not complete base64.",
    )
}

/// KOP-E024: an attachment points to a part that is missing, or that is there twice.
pub(crate) fn reference_broken() -> Refusal {
    bad(
        "KOP-E024",
        "Eine Anlage verweist auf einen Teil der Nachricht, der fehlt oder nicht eindeutig ist.",
        "An attachment points to a part of the message that is missing or not unique.",
    )
}

/// KOP-E025: prefill, or an operation nobody knows.
pub(crate) fn operation_unknown(prefill: bool) -> Refusal {
    if prefill {
        bad(
            "KOP-E025",
            "Die Operation „prefill“ (Vorbelegung) wird hier nicht angeboten, nur „deposit“.",
            "The operation `prefill` is not offered here, only `deposit`.",
        )
    } else {
        bad(
            "KOP-E025",
            "Die aufgerufene Operation gibt es hier nicht, nur „deposit“.",
            "The operation called does not exist here, only `deposit`.",
        )
    }
}

/// KOP-E026: SOAP 1.2, or a header that must be understood and is not.
pub(crate) fn soap_not_understood(version: bool) -> Refusal {
    if version {
        bad("KOP-E026", "Erwartet wird SOAP 1.1.", "SOAP 1.1 is expected.")
    } else {
        bad(
            "KOP-E026",
            "Die Nachricht verlangt einen SOAP-Kopf, den dieser Eingang nicht kennt.",
            "The message demands a SOAP header that this intake does not know.",
        )
    }
}

/// KOP-E027: a digest without nonce or time, too old, or seen before.
pub(crate) fn token_stale() -> Refusal {
    Refusal::new(
        RefusalKind::Unauthorised,
        Diagnostic::new(
            "KOP-E027",
            "Die Anmeldung ist abgelaufen oder wurde schon einmal benutzt.",
            "The credentials have expired or were used before.",
        ),
    )
}

/// KOP-E028: the memory of used nonces is full.
pub(crate) fn nonces_full() -> Refusal {
    Refusal::new(
        RefusalKind::Busy,
        Diagnostic::new(
            "KOP-E028",
            "Zurzeit gehen zu viele Anmeldungen ein; bitte später erneut senden.",
            "Too many logins arrive at present; please send again later.",
        ),
    )
}

/// KOP-E030: neither XML-Daten nor Rohform came with the application.
pub(crate) fn data_part_missing() -> Diagnostic {
    Diagnostic::new(
        "KOP-E030",
        "Der Datenteil des Antrags (XML-Daten) fehlt.",
        "The data part of the application (XML-Daten) is missing.",
    )
}

/// KOP-E031: the data part cannot be read.
pub(crate) fn data_part_unreadable(detail: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-E031",
        "Der Datenteil des Antrags (XML-Daten) ist nicht lesbar.",
        "The data part of the application (XML-Daten) cannot be read.",
    )
    .with_detail(detail)
}

/// KOP-E032: one of the two data documents cannot be used; the other one is.
pub(crate) fn one_data_part_unreadable(detail: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-E032",
        "Eines der beiden Datendokumente ist nicht lesbar; verwendet wird nur das andere.",
        "One of the two data documents cannot be read; only the other one is used.",
    )
    .with_detail(detail)
}

/// KOP-E033: the form names an upload whose file did not come.
pub(crate) fn upload_without_file() -> Diagnostic {
    Diagnostic::new(
        "KOP-E033",
        "Das Formular nennt eine hochgeladene Datei, die nicht mitgeschickt wurde.",
        "The form names an uploaded file that did not come with it.",
    )
}

/// KOP-E034: an attachment's entry has no content, or a file has no entry.
pub(crate) fn file_without_partner() -> Diagnostic {
    Diagnostic::new(
        "KOP-E034",
        "Eine Anlage kam ohne Inhalt oder eine Datei ohne Beschreibung.",
        "An attachment came without content or a file without description.",
    )
}
