// SPDX-License-Identifier: EUPL-1.2
//! How a payload comes in: an [`HttpIntake`] takes a request apart, an [`Adapter`] turns the parts into the
//! internal document.

use std::{collections::BTreeMap, path::Path, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use kop_core::{
    BlobRef, Diagnostic, Feld, TenantId,
    eingang::{Anlage, Einwilligung, Person, ServiceKonto, Zahlung, ZustaendigeStelle},
};

use crate::{
    inbox::{Accepted, Inbox, Refusal},
    settings::SettingProblem,
    source::SettlementOrder,
};

/// A request body as it arrives. An error means that the sender broke off or that a limit of the server hit.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>> + Send>>;

/// A request to an intake. The tenant has been found and may use this intake; credentials are the intake's
/// own business, because each vendor's format has its own way to send them and to answer a wrong one.
pub struct IntakeRequest {
    /// The Mandant named in the address.
    pub tenant: TenantId,
    /// Method, address and headers.
    pub head: http::request::Parts,
    /// The body, not yet read.
    pub body: BodyStream,
    /// The tenant's settings for this intake (`[eingang.<source>]`), as checked by [`HttpIntake::check`].
    pub settings: Arc<serde_json::Value>,
    /// Scheme, host and port under which the sender reached the engine, for a WSDL's address.
    pub base_url: String,
}

/// The whole answer.
pub type IntakeResponse = http::Response<Bytes>;

/// A vendor's way to push submissions over HTTP.
#[async_trait]
pub trait HttpIntake: Send + Sync {
    /// Short name, as in `[eingang.<source>]` and in the Ablageformat's `quelle`.
    fn source(&self) -> &'static str;

    /// Address below the tenant, e.g. `antrag` for `POST /{tenant}/antrag`. `GET` and `POST` are both handed over.
    fn address(&self) -> &'static str;

    /// JSON Schema of the settings.
    fn schema(&self) -> schemars::Schema;

    /// Checks settings without touching the world.
    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem>;

    /// File extension of a stored payload of this format (`json`, `xml`), for `kop submit` and mapping tests.
    fn payload_extension(&self) -> &'static str;

    /// Content type and body of the request with which the vendor would send a stored payload and the files
    /// beside it. A format that carries its files itself leaves `files` aside.
    fn pack(&self, payload: Bytes, files: &[PayloadFile]) -> (String, Bytes);

    /// Whether files can be sent beside the payload; a format that carries its files itself takes none.
    fn takes_files(&self) -> bool;

    /// The same for a payload and files that are read while they are sent.
    fn pack_stream(&self, payload: BodyStream, files: Vec<FileStream>) -> (String, BodyStream);

    /// The tenant's settings without what a sender has to know: for payloads that come from a place that the tenant
    /// itself named. Limits stay.
    fn without_login(&self, settings: &serde_json::Value) -> serde_json::Value {
        let mut settings = settings.clone();
        if let Some(settings) = settings.as_object_mut() {
            settings.retain(|name, _| !matches!(name.as_str(), "benutzer" | "passwort"));
        }
        settings
    }

    /// Takes the request apart, stores its files and hands it to the inbox: what [`HttpIntake::handle`] does before
    /// it answers.
    ///
    /// # Errors
    /// Why nothing was stored.
    async fn take(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> Result<Accepted, Refusal>;

    /// Takes the request apart, stores its files, hands it to the inbox and answers in the vendor's format:
    /// also for a refusal, in German, without internals.
    async fn handle(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> IntakeResponse;

    /// The vendor's error answer for a problem that was found before [`HttpIntake::handle`] could run
    /// (unknown tenant, intake not open, busy).
    fn refuse(&self, refusal: &Refusal) -> IntakeResponse;
}

/// A file beside a stored payload.
#[derive(Clone, Debug)]
pub struct PayloadFile {
    /// A rendering of the form rather than an upload.
    pub representation: bool,
    /// File name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
}

/// The media type of a file beside a payload, which has nothing but its name to tell it.
pub fn media_type_of(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "pdf" => "application/pdf",
        "xml" => "application/xml",
        "json" => "application/json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

/// A file that is read while it is sent.
pub struct FileStream {
    /// A rendering of the form rather than an upload.
    pub representation: bool,
    /// File name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub content: BodyStream,
}

/// A payload taken apart: envelope and data parts in memory (bounded), files by reference.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The Mandant.
    pub tenant: TenantId,
    /// The source's short name; the adapter of the same name reads it.
    pub source: &'static str,
    /// The vendor's envelope without its files: JSON, or XML whose file contents were replaced by
    /// `xop:Include` references. At most a few megabytes.
    pub envelope: Bytes,
    /// Everything else, in the order of arrival.
    pub parts: Vec<IntakePart>,
    /// Facts of the transport that the adapter may need, by name.
    pub transport: BTreeMap<String, String>,
    /// How its source is told that it may let go; `None` where the sender is answered instead.
    pub settlement: Option<SettlementOrder>,
}

/// One file of a payload.
#[derive(Clone, Debug)]
pub struct IntakePart {
    /// Role or id within the envelope: the multipart field name, or the Content-ID.
    pub key: String,
    /// File name as sent.
    pub file_name: Option<String>,
    /// Media type as sent.
    pub content_type: Option<String>,
    /// The bytes in the blob store.
    pub blob: BlobRef,
    /// The bytes themselves, for parts that the adapter reads (small XML or JSON files).
    pub inline: Option<Bytes>,
}

/// What an adapter makes of a payload: the internal document without the facts that only the engine knows
/// (ids, Eingangszeitpunkt, Vorgangsnummer).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normalised {
    /// The vendor's id of the submission.
    pub vendor_id: Option<String>,
    /// Form id.
    pub form_id: Option<String>,
    /// Form title.
    pub form_name: Option<String>,
    /// Form version.
    pub form_version: Option<String>,
    /// When the vendor says it was sent.
    pub sent: Option<String>,
    /// Leistungsschlüssel.
    pub services: Vec<String>,
    /// Further facts by the vendor's names.
    pub extra: BTreeMap<String, String>,
    /// The applicant.
    pub applicant: Option<Person>,
    /// The represented person.
    pub represented: Option<Person>,
    /// Who is responsible.
    pub authority: ZustaendigeStelle,
    /// The applicant's account.
    pub account: Option<ServiceKonto>,
    /// Payment.
    pub payment: Option<Zahlung>,
    /// Consents.
    pub consents: Vec<Einwilligung>,
    /// Fields of the form.
    pub fields: Vec<Feld>,
    /// Uploads.
    pub attachments: Vec<Anlage>,
    /// Renderings and data files.
    pub representations: Vec<Anlage>,
    /// What a person should know although the payload could be read.
    pub remarks: Vec<Diagnostic>,
}

/// A pure function from a vendor's payload to the internal document.
pub trait Adapter: Send + Sync {
    /// The source's short name.
    fn source(&self) -> &'static str;

    /// Reads the payload.
    ///
    /// # Errors
    /// The payload is not what the vendor's format allows; nothing of it can be kept as an application.
    fn normalise(&self, intake: &Intake) -> Result<Normalised, Vec<Diagnostic>>;
}
