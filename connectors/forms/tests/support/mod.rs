// SPDX-License-Identifier: EUPL-1.2
//! What the tests of this room share: an inbox in memory, requests, and builders for both vendors' formats.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part of it
#![allow(clippy::print_stdout)] // a skipped test says so

use std::{
    collections::HashMap,
    fmt::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kop_connector_api::{
    Accepted, Adapter, BlobSink, HttpIntake, Inbox, Intake, IntakeRequest, IntakeResponse, Normalised,
    Refusal, RefusalKind, intake::BodyStream,
};
use kop_core::{
    BlobRef, ContentHash, Feld, FeldPfad, SubmissionId, TenantId, VorgangId,
    feld::{Fund, finde},
    ids::stable_uuid,
};

pub const NOW: &str = "2026-11-24T10:00:00Z";

pub fn tenant() -> TenantId {
    "musterstadt".parse().unwrap()
}

/// Keeps blobs and submissions in memory, and counts the bytes that pass.
pub struct FakeInbox {
    adapter: Box<dyn Adapter>,
    pub blobs: Arc<Mutex<HashMap<ContentHash, Bytes>>>,
    pub accepted: Mutex<Vec<(Intake, Normalised)>>,
    pub written: Arc<AtomicU64>,
    /// Whether contents are kept and hashed; large streams are only counted.
    keep: bool,
}

impl FakeInbox {
    pub fn new(adapter: impl Adapter + 'static) -> Arc<Self> {
        Self::with(adapter, true)
    }

    pub fn counting(adapter: impl Adapter + 'static) -> Arc<Self> {
        Self::with(adapter, false)
    }

    fn with(adapter: impl Adapter + 'static, keep: bool) -> Arc<Self> {
        Arc::new(Self {
            adapter: Box::new(adapter),
            blobs: Arc::default(),
            accepted: Mutex::default(),
            written: Arc::default(),
            keep,
        })
    }

    pub fn last(&self) -> (Intake, Normalised) {
        self.accepted.lock().unwrap().last().cloned().expect("a submission was accepted")
    }

    pub fn count(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    pub fn bytes(&self, blob: &BlobRef) -> Bytes {
        self.blobs.lock().unwrap()[&blob.sha256].clone()
    }
}

struct FakeSink {
    content: Vec<u8>,
    size: u64,
    keep: bool,
    blobs: Arc<Mutex<HashMap<ContentHash, Bytes>>>,
    written: Arc<AtomicU64>,
}

#[async_trait]
impl BlobSink for FakeSink {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        self.size += chunk.len() as u64;
        self.written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        if self.keep {
            self.content.extend_from_slice(&chunk);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<BlobRef, Refusal> {
        let sha256 = ContentHash::of(&self.content);
        self.blobs.lock().unwrap().insert(sha256, self.content.into());
        Ok(BlobRef { sha256, size: self.size })
    }
}

#[async_trait]
impl Inbox for FakeInbox {
    async fn blob(&self, _: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        Ok(Box::new(FakeSink {
            content: Vec::new(),
            size: 0,
            keep: self.keep,
            blobs: Arc::clone(&self.blobs),
            written: Arc::clone(&self.written),
        }))
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        let normalised = self
            .adapter
            .normalise(&intake)
            .map_err(|problems| Refusal { kind: RefusalKind::BadPayload, problems })?;
        let vendor_id = normalised.vendor_id.clone();
        let key = vendor_id.clone().unwrap_or_default();
        let mut accepted = self.accepted.lock().unwrap();
        let repeated = accepted.iter().any(|(_, known)| known.vendor_id == vendor_id);
        accepted.push((intake, normalised));
        Ok(Accepted {
            submission_id: SubmissionId(stable_uuid(&["eingang", &key])),
            vorgang_id: VorgangId(stable_uuid(&["vorgang", &key])),
            vorgangsnummer: "KOP-2026-000001".to_owned(),
            vendor_id,
            received_at: NOW.parse().unwrap(),
            repeated,
        })
    }
}

/// A body in pieces of one size.
pub fn body(bytes: impl Into<Bytes>, piece: usize) -> BodyStream {
    let bytes: Bytes = bytes.into();
    let pieces: Vec<_> = (0..bytes.len())
        .step_by(piece.max(1))
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at.saturating_add(piece)))))
        .collect();
    Box::pin(stream::iter(pieces))
}

/// A request to an intake.
pub struct Call {
    pub method: &'static str,
    pub query: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub settings: serde_json::Value,
    pub body: BodyStream,
}

impl Call {
    pub fn post(content_type: &str, bytes: impl Into<Bytes>) -> Self {
        Self {
            method: "POST",
            query: "",
            headers: vec![("content-type", content_type.to_owned())],
            settings: serde_json::json!({}),
            body: body(bytes, 4096),
        }
    }

    pub fn pieces(mut self, bytes: impl Into<Bytes>, piece: usize) -> Self {
        self.body = body(bytes, piece);
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn settings(mut self, settings: serde_json::Value) -> Self {
        self.settings = settings;
        self
    }

    pub async fn send(self, intake: &dyn HttpIntake, inbox: &Arc<FakeInbox>) -> IntakeResponse {
        let mut builder = http::Request::builder().method(self.method).uri(format!(
            "/musterstadt/{}{}",
            intake.address(),
            self.query
        ));
        for (name, value) in &self.headers {
            builder = builder.header(*name, value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        let request = IntakeRequest {
            tenant: tenant(),
            head,
            body: self.body,
            settings: Arc::new(self.settings),
            base_url: "https://kop.example".to_owned(),
        };
        let inbox: Arc<dyn Inbox> = inbox.clone();
        tokio::time::timeout(std::time::Duration::from_secs(120), intake.handle(request, inbox))
            .await
            .expect("an answer in time")
    }
}

pub fn text(response: &IntakeResponse) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

/// A fixture of this room.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A vendor's sample from outside the repository; `None` when it may be missing and is.
pub fn sample(path: &str) -> Option<Vec<u8>> {
    let shared = std::env::var("KOP_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").to_owned());
    let file = PathBuf::from(shared).join("payloads").join(path);
    match std::fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var("KOP_REQUIRE_SHARED").as_deref() == Ok("1") => {
            panic!("{}: {error}", file.display())
        }
        Err(_) => {
            println!("ÜBERSPRUNGEN: ../shared fehlt");
            None
        }
    }
}

/// The value at a path of the form, with its code, display text and so on.
pub fn wert(fields: &[Feld], path: &str) -> kop_core::Wert {
    let path: FeldPfad = path.parse().unwrap();
    match finde(fields, &path) {
        Some(Fund::Feld(Feld { inhalt: kop_core::Inhalt::Wert(wert), .. })) => wert.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

/// One attachment of a deposit.
#[derive(Clone)]
pub struct Attached {
    pub id: String,
    pub name: String,
    pub content_type: String,
    pub content: Vec<u8>,
}

pub fn attached(id: &str, name: &str, content_type: &str, content: impl Into<Vec<u8>>) -> Attached {
    Attached { id: id.into(), name: name.into(), content_type: content_type.into(), content: content.into() }
}

/// The attachments that intelliForm sends for a fixture: both data documents (with the same id, as in real
/// life), the form's PDF, and uploads.
pub fn attachments_of(form: &str) -> Vec<Attached> {
    let mut all = vec![
        attached(
            "myForm-xml",
            "XML-Daten.xml",
            "text/xml",
            fixture(&format!("{form}/intelliform/xml-daten.xml")),
        ),
        attached(
            "myForm-xml",
            "XML-Datensatz (Rohform).xml",
            "text/xml",
            fixture(&format!("{form}/intelliform/rohform.xml")),
        ),
        attached("myForm-pdf", "Antrag.pdf", "application/pdf", *b"%PDF-1.7 Antrag"),
    ];
    if form == "bauantrag" {
        all.push(attached(
            "assistants.00AA11",
            "Lageplan Blatt 1.pdf",
            "application/pdf",
            *b"%PDF-1.7 Lageplan Blatt 1.",
        ));
        all.push(attached(
            "assistants.00AA12",
            "Grundriss EG.pdf",
            "application/pdf",
            *b"%PDF-1.7 Grundriss ........",
        ));
    }
    all
}

/// A `deposit` envelope; `content` gives the inside of each attachment's `content` element.
pub fn envelope(
    id: &str,
    header: &str,
    attachments: &[Attached],
    content: impl Fn(usize, &Attached) -> String,
) -> String {
    let mut inner = String::new();
    for (n, attachment) in attachments.iter().enumerate() {
        let _ = writeln!(
            inner,
            "<attachments><attributes><key>X-IntelliForm-Original-Name</key><value>{}</value></attributes>\
             <content>{}</content><contentType>{}</contentType><id>{}</id><name>{}</name></attachments>",
            // The real sender names both data documents alike here.
            if attachment.id == "myForm-xml" { "XML-Daten.xml" } else { &attachment.name },
            content(n, attachment),
            attachment.content_type,
            attachment.id,
            attachment.name
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\">\
         {header}<soap:Body><ns2:deposit xmlns:ns2=\"http://xmlns.cit.de/intelliform/2009/webservices/backend\"><data>\n\
         {inner}<caller/><client>test</client><clientId>test</clientId>\
         <customParameters><key>for-routing-target</key><value>kop</value></customParameters>\
         <customParameters><key>X-intelliForm-effective-login-level</key><value>LOW</value></customParameters>\
         <customer>Musterstadt</customer><customerId>01</customerId><form>Formular</form><formId>test/formular</formId>\
         <id>{id}</id><primaryDataAttachmentId>myForm-xml</primaryDataAttachmentId>\
         <sender>formulare.musterland.example</sender><timestamp>2026-11-20T09:15:28.000+01:00</timestamp>\
         <username>3s-test</username></data></ns2:deposit></soap:Body></soap:Envelope>"
    )
}

/// A deposit with every file as base64.
pub fn plain_deposit(id: &str, header: &str, attachments: &[Attached]) -> String {
    envelope(id, header, attachments, |_, attachment| {
        // Broken into lines, as most encoders do.
        let text = STANDARD.encode(&attachment.content);
        text.as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect::<Vec<_>>()
            .join("\r\n")
    })
}

/// The same deposit as MTOM: content type and body.
pub fn mtom_deposit(id: &str, header: &str, attachments: &[Attached], cid: &str) -> (String, Vec<u8>) {
    let envelope = envelope(id, header, attachments, |n, _| {
        format!(
            "<xop:Include xmlns:xop=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:{cid}{n}%40kop.example\"/>"
        )
    });
    let mut body = format!(
        "--uuid:grenze\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\n\
         Content-Transfer-Encoding: binary\r\nContent-ID: <root@kop.example>\r\n\r\n{envelope}"
    )
    .into_bytes();
    for (n, attachment) in attachments.iter().enumerate() {
        body.extend_from_slice(
            format!(
                "\r\n--uuid:grenze\r\nContent-Type: {}\r\nContent-Transfer-Encoding: binary\r\n\
                 Content-ID: <{cid}{n}@kop.example>\r\n\r\n",
                attachment.content_type
            )
            .as_bytes(),
        );
        body.extend_from_slice(&attachment.content);
    }
    body.extend_from_slice(b"\r\n--uuid:grenze--\r\n");
    (MTOM.to_owned(), body)
}

pub const MTOM: &str = "multipart/related; type=\"application/xop+xml\"; boundary=\"uuid:grenze\"; \
                        start=\"<root@kop.example>\"; start-info=\"text/xml\"";

/// A stream of a beginning, a piece repeated until `total` bytes, and an end, which remembers how far ahead
/// of the inbox it was at most: what was given out and is not yet written must be in someone's memory.
/// `ratio` is how many bytes become one (4/3 for base64).
pub fn long_body(
    inbox: &FakeInbox,
    begin: Vec<u8>,
    piece: Bytes,
    total: u64,
    end: Vec<u8>,
    ratio: (u64, u64),
) -> (BodyStream, Arc<AtomicU64>) {
    let peak = Arc::new(AtomicU64::new(0));
    let (watched, written, given) =
        (Arc::clone(&peak), Arc::clone(&inbox.written), Arc::new(AtomicU64::new(0)));
    let times = total / piece.len() as u64;
    let pieces = stream::iter(std::iter::once(Bytes::from(begin)))
        .chain(stream::iter(std::iter::repeat_n(piece, times as usize)))
        .chain(stream::iter(std::iter::once(Bytes::from(end))))
        .map(move |bytes| {
            let before = given.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let ahead = (before * ratio.0 / ratio.1).saturating_sub(written.load(Ordering::Relaxed));
            watched.fetch_max(ahead, Ordering::Relaxed);
            Ok(bytes)
        });
    (Box::pin(pieces), peak)
}
