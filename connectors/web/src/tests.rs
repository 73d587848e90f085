// SPDX-License-Identifier: EUPL-1.2
//! The promises of the connector `http`, tested against receivers of our own on this machine: the exact bytes,
//! one truth per exchange, and no secret anywhere but on the wire.

use std::{
    collections::HashMap,
    io::{self, Cursor},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kop_connector_api::{BlobRead, Blobs, Connector, ConnectorKind, World};
use kop_core::{
    BlobRef, ContentHash, FixedClock, Outcome, Part, Receipt, Repeatability, Sendung, Stage, TenantId,
    sendung::Level,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpListener,
};

use self::receiver::{Manner, Receiver, answer};
use crate::{HttpKind, body::CHUNK};

pub(crate) mod receiver;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(20);

const DELIVERY: &str = "01900000-0000-7000-8000-000000000002";

/// Blobs in memory, whatever their reference promises. Notes how much is asked for at once.
#[derive(Clone, Default)]
struct Memory {
    contents: HashMap<ContentHash, Vec<u8>>,
    largest: Arc<Mutex<usize>>,
    /// Gives half of each content; the rest would come from the writers kept here.
    stalled: Option<Arc<Mutex<Vec<DuplexStream>>>>,
}

impl Memory {
    fn part(&mut self, name: &str, content_type: &str, content: Vec<u8>) -> Part {
        let blob = BlobRef { sha256: ContentHash::of(&content), size: content.len() as u64 };
        self.contents.insert(blob.sha256, content);
        Part { name: name.to_owned(), content_type: content_type.to_owned(), blob }
    }
}

struct Watched(Cursor<Vec<u8>>, Arc<Mutex<usize>>);

impl tokio::io::AsyncRead for Watched {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let mut largest = self.1.lock().unwrap();
        *largest = (*largest).max(buf.remaining());
        drop(largest);
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn open(&self, _: &TenantId, blob: &BlobRef) -> io::Result<BlobRead> {
        let content = self.contents.get(&blob.sha256).ok_or(io::ErrorKind::NotFound)?.clone();
        if let Some(writers) = &self.stalled {
            let (mut writer, reader) = tokio::io::duplex(content.len());
            writer.write_all(&content[..content.len() / 2]).await?;
            writers.lock().unwrap().push(writer);
            return Ok(Box::pin(reader));
        }
        Ok(Box::pin(Watched(Cursor::new(content), self.largest.clone())))
    }
}

struct Setup {
    base: tempfile::TempDir,
    memory: Memory,
    sendung: Sendung,
}

/// Bytes that do not repeat within a chunk.
fn large() -> Vec<u8> {
    (0..1_310_720_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

impl Setup {
    /// A Sendung of its main document only.
    fn small() -> Self {
        let mut memory = Memory::default();
        let sendung = Sendung {
            tenant: "musterstadt".parse().unwrap(),
            message_id: "01900000-0000-7000-8000-000000000001".parse().unwrap(),
            delivery_id: DELIVERY.parse().unwrap(),
            stage: Stage::Test,
            vorgangsnummer: "MUS-2026-7".to_owned(),
            mapping: "bauantrag-xbau".to_owned(),
            received_at: "2026-03-01T09:00:00Z".parse().unwrap(),
            created_at: "2026-03-01T09:00:05Z".parse().unwrap(),
            main: memory.part("antrag_0200.xml", "application/xml", b"<antrag/>".to_vec()),
            parts: Vec::new(),
        };
        Self { base: tempfile::tempdir().unwrap(), memory, sendung }
    }

    /// A Sendung with a large and an empty file.
    fn new() -> Self {
        let mut setup = Self::small();
        setup.sendung.parts = vec![
            setup.memory.part("Lageplan Größe.pdf", "application/pdf", large()),
            setup.memory.part("leer.txt", "kein Typ", Vec::new()),
        ];
        setup
    }

    fn build(&self, settings: &Value) -> Result<Arc<dyn Connector>, kop_core::Diagnostic> {
        assert_eq!(HttpKind.check(settings), []);
        let world = World {
            base_dir: self.base.path().to_owned(),
            blobs: Arc::new(self.memory.clone()),
            clock: Arc::new(FixedClock::at("2026-03-01T10:00:00Z".parse().unwrap())),
        };
        HttpKind.build(settings, &world)
    }

    async fn deliver(&self, settings: Value) -> Outcome {
        let connector = self.build(&settings).unwrap();
        tokio::time::timeout(LIMIT, connector.deliver(&self.sendung)).await.unwrap()
    }

    /// A reference to a secret in a file.
    fn secret(&self, text: &str) -> String {
        let path = self.base.path().join("geheim");
        std::fs::write(&path, text).unwrap();
        format!("file:{}", path.display())
    }
}

fn code(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Receipt(_) => ("receipt", ""),
        Outcome::Retry { problem, .. } => ("retry", &problem.code),
        Outcome::Reject(problem) => ("reject", &problem.code),
        Outcome::Unknown(problem) => ("unknown", &problem.code),
        Outcome::Pending(ticket) => panic!("{ticket:?}"),
    }
}

#[tokio::test]
async fn a_sendung_arrives_byte_for_byte_as_form_data() {
    let setup = Setup::new();
    let receiver = Receiver::answering("201 Created", "Location: /vorgang/4711\r\n", "danke").await;
    let settings = json!({"url": receiver.url, "kopfzeilen": {"X-Amt": "Bauaufsicht"}});
    let outcome = setup.deliver(settings).await;
    let receipt = Receipt { level: Level::Empfangen, reference: Some("/vorgang/4711".to_owned()) };
    assert_eq!(outcome, Outcome::Receipt(receipt));

    let request = &receiver.requests()[0];
    let boundary = format!("kop-{DELIVERY}");
    let mut expected = Vec::new();
    for (name, file, kind, content) in [
        ("nachricht", "antrag_0200.xml", "application/xml", b"<antrag/>".to_vec()),
        ("anlage", "Lageplan Größe.pdf", "application/pdf", large()),
        ("anlage", "leer.txt", "application/octet-stream", Vec::new()),
    ] {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content);
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    assert!(request.body == expected, "{} instead of {} bytes", request.body.len(), expected.len());
    assert_eq!(request.line, "POST /eingang HTTP/1.1");
    assert_eq!(request.header("content-type"), Some(&*format!("multipart/form-data; boundary={boundary}")));
    assert_eq!(request.header("content-length"), Some(&*expected.len().to_string()));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("idempotency-key"), Some(DELIVERY));
    assert_eq!(request.header("x-amt"), Some("Bauaufsicht"));
    assert_eq!(request.header("authorization"), None);
    assert!(*setup.memory.largest.lock().unwrap() <= CHUNK);
}

#[tokio::test]
async fn the_main_document_alone_is_the_body() {
    let mut setup = Setup::small();
    let receiver = Receiver::answering("202 Accepted", "X-Aktenzeichen: AZ 7/26\r\n", "").await;
    let settings = json!({
        "url": receiver.url, "form": "einzeln", "referenz_kopf": "X-Aktenzeichen", "idempotenz_kopf": "X-Kennung"
    });
    let receipt = Receipt { level: Level::Empfangen, reference: Some("AZ 7/26".to_owned()) };
    assert_eq!(setup.deliver(settings.clone()).await, Outcome::Receipt(receipt));
    let request = &receiver.requests()[0];
    assert_eq!(request.body, b"<antrag/>");
    assert_eq!(request.header("content-type"), Some("application/xml"));
    assert_eq!(request.header("content-length"), Some("9"));
    assert_eq!(request.header("x-kennung"), Some(DELIVERY));

    // An empty document is a body too.
    setup.sendung.main.blob = BlobRef { sha256: ContentHash::of(b""), size: 0 };
    setup.memory.contents.insert(ContentHash::of(b""), Vec::new());
    assert_eq!(code(&setup.deliver(settings.clone()).await).0, "receipt");
    assert_eq!(receiver.requests()[1].header("content-length"), Some("0"));

    setup.sendung.parts = Setup::new().sendung.parts;
    assert_eq!(code(&setup.deliver(settings).await), ("reject", "KOP-Z018"));
    assert_eq!(receiver.requests().len(), 2, "nothing is sent of what does not fit");
}

#[tokio::test]
async fn a_repeated_attempt_is_the_same_request() {
    let setup = Setup::small();
    let receiver = Receiver::start(&[
        Manner::Answers(answer("503 Service Unavailable", "Retry-After: 120\r\n", "")),
        Manner::Answers(answer("200 OK", "", "")),
    ])
    .await;
    let connector = setup.build(&json!({"url": receiver.url, "wiederholbar": true})).unwrap();
    assert_eq!(connector.repeatability(), Repeatability::Idempotent);
    match connector.deliver(&setup.sendung).await {
        Outcome::Retry { after, problem } => {
            assert_eq!((after, &*problem.code), (Some(Duration::from_secs(120)), "KOP-Z013"));
        }
        other => panic!("{other:?}"),
    }
    let receipt = Receipt { level: Level::Empfangen, reference: None };
    assert_eq!(connector.deliver(&setup.sendung).await, Outcome::Receipt(receipt));
    let requests = receiver.requests();
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].headers, requests[1].headers);
    assert_eq!(setup.build(&json!({"url": receiver.url})).unwrap().repeatability(), Repeatability::Unsafe);
}

#[tokio::test]
async fn each_answer_has_its_consequence() {
    let setup = Setup::small();
    for (status, headers, expected) in [
        ("422 Unprocessable Content", "", ("reject", "KOP-Z014")),
        ("404 Not Found", "", ("reject", "KOP-Z015")),
        ("429 Too Many Requests", "", ("retry", "KOP-Z013")),
        ("401 Unauthorized", "", ("retry", "KOP-Z012")),
        ("504 Gateway Timeout", "", ("unknown", "KOP-Z017")),
        ("204 No Content", "Location: \u{1}\r\n", ("unknown", "KOP-Z016")),
    ] {
        let receiver = Receiver::answering(status, headers, "").await;
        assert_eq!(code(&setup.deliver(json!({"url": receiver.url})).await), expected, "{status}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_sent_rarely() {
    let setup = Setup::small();
    let receiver = Receiver::answering("403 Forbidden", "Retry-After: 1\r\n", "").await;
    let Outcome::Retry { after, .. } = setup.deliver(json!({"url": receiver.url})).await else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(300)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let setup = Setup::small();
    let elsewhere = Receiver::answering("200 OK", "", "").await;
    for status in ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect"] {
        let location = format!("Location: {}\r\n", elsewhere.url);
        let receiver = Receiver::answering(status, &location, "").await;
        assert_eq!(code(&setup.deliver(json!({"url": receiver.url})).await), ("reject", "KOP-Z015"));
        let connector = setup.build(&json!({"url": receiver.url})).unwrap();
        connector.probe().await.unwrap();
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn words_of_the_receiver_are_kept_masked_and_short() {
    let setup = Setup::small();
    let text = format!("{{\"detail\":\"Erika Mustermann\u{1b} fehlt\"}}{}", "x".repeat(200_000));
    let receiver =
        Receiver::answering("400 Bad Request", "Content-Type: application/problem+json\r\n", &text).await;
    let Outcome::Reject(problem) = setup.deliver(json!({"url": receiver.url})).await else { panic!() };
    let stored = serde_json::to_string(&problem).unwrap();
    assert!(!stored.contains("Erika") && !problem.to_string().contains("Erika"), "{stored}");
    assert!(problem.value.unwrap().contains("Xxxxx Xxxxxxxxxx"));
    assert_eq!(problem.detail.as_deref(), Some("HTTP 400 Bad Request"));
    let revealed = problem.revealed.unwrap();
    assert!(revealed.chars().count() <= 200 && !revealed.contains(char::is_control), "{revealed}");
}

#[tokio::test]
async fn silence_and_a_broken_connection_leave_it_open() {
    let setup = Setup::small();
    for manner in [Manner::KeepsSilent, Manner::HangsUp, Manner::Answers("Hallo?\r\n\r\n".to_owned())] {
        let receiver = Receiver::start(&[manner]).await;
        let settings = json!({"url": receiver.url, "zeitlimit_sekunden": 1, "verbindung_sekunden": 1});
        assert_eq!(code(&setup.deliver(settings).await), ("unknown", "KOP-Z016"));
        assert!(receiver.requests()[0].whole);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_still_counts() {
    let setup = Setup::small();
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalb".to_owned();
    let receiver = Receiver::start(&[Manner::Answers(endless)]).await;
    assert_eq!(code(&setup.deliver(json!({"url": receiver.url})).await).0, "receipt");
}

#[tokio::test]
async fn no_connection_means_that_nothing_was_sent() {
    let setup = Setup::small();
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let outcome = setup.deliver(json!({"url": url})).await;
    assert_eq!(code(&outcome), ("retry", "KOP-Z010"));
    assert!(!format!("{outcome:?}").contains("127.0.0.1"));
    assert_eq!(setup.build(&json!({"url": url})).unwrap().probe().await.unwrap_err().code, "KOP-Z010");
}

#[tokio::test]
async fn without_encryption_nothing_is_sent_to_an_encrypted_address() {
    let setup = Setup::small();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    let speaks_plainly = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        read
    });
    assert_eq!(code(&setup.deliver(json!({"url": url})).await), ("retry", "KOP-Z011"));
    let read = tokio::time::timeout(LIMIT, speaks_plainly).await.unwrap().unwrap();
    assert!(!read.windows(6).any(|six| six == b"antrag" || six == b"POST /"));

    let sleeper = Receiver::start(&[Manner::Sleeps]).await;
    let url = sleeper.url.replace("http:", "https:");
    let settings = json!({"url": url, "verbindung_sekunden": 1, "zeitlimit_sekunden": 10});
    assert_eq!(code(&setup.deliver(settings).await), ("retry", "KOP-Z010"));
}

#[tokio::test]
async fn a_damaged_file_never_becomes_a_whole_request() {
    for (form, size) in [("multipart", 3 * CHUNK), ("einzeln", 3 * CHUNK + 1)] {
        let good = large()[..size].to_vec();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [&good[..], b"x"].concat();
        for stored in
            [Some(good[..good.len() - 1].to_vec()), Some(longer), Some(flipped), Some(Vec::new()), None]
        {
            let mut setup = Setup::small();
            let hash = ContentHash::of(&good);
            setup.sendung.main.blob = BlobRef { sha256: hash, size: good.len() as u64 };
            match stored {
                Some(stored) => setup.memory.contents.insert(hash, stored),
                None => setup.memory.contents.remove(&hash),
            };
            let receiver = Receiver::answering("200 OK", "", "").await;
            let settings = json!({"url": receiver.url, "form": form});
            assert_eq!(code(&setup.deliver(settings).await), ("retry", "KOP-Z005"));
            assert!(receiver.requests().iter().all(|request| !request.whole));
        }
    }
}

#[tokio::test]
async fn praise_before_the_end_is_no_receipt() {
    let mut setup = Setup::new();
    // More than any socket buffers, so that the answer is there first.
    let content = vec![7; 16 * 1024 * 1024];
    let blob = BlobRef { sha256: ContentHash::of(&content), size: content.len() as u64 };
    setup.memory.contents.insert(blob.sha256, content);
    setup.sendung.parts[0].blob = blob;
    let receiver =
        Receiver::start(&[Manner::AnswersEarly(answer("200 OK", "Connection: close\r\n", ""))]).await;
    assert_eq!(code(&setup.deliver(json!({"url": receiver.url})).await).0, "unknown");
}

#[tokio::test]
async fn an_attempt_that_nobody_waits_for_never_becomes_a_whole_request() {
    let mut setup = Setup::small();
    setup.memory.stalled = Some(Arc::default());
    let receiver = Receiver::answering("200 OK", "", "").await;
    let settings = json!({"url": receiver.url, "zeitlimit_sekunden": 1, "verbindung_sekunden": 1});
    assert_eq!(code(&setup.deliver(settings).await), ("unknown", "KOP-Z016"));

    let connector = setup.build(&json!({"url": receiver.url})).unwrap();
    let waiting = connector.deliver(&setup.sendung);
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    // The rest of the file comes too late.
    setup.memory.stalled.take().unwrap().lock().unwrap().clear();
    for _ in 0..200 {
        if let [first, second] = &receiver.requests()[..] {
            assert!(!first.whole && !second.whole);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", receiver.requests());
}

#[tokio::test]
async fn secrets_are_on_the_wire_and_nowhere_else() {
    let setup = Setup::small();
    let secret = setup.secret("hunter2\n");
    let logins = [
        (
            json!({"art": "basic", "benutzer": "kop", "passwort": secret}),
            "authorization",
            "Basic a29wOmh1bnRlcjI=",
        ),
        (json!({"art": "bearer", "token": secret}), "authorization", "Bearer hunter2"),
        (json!({"art": "kopfzeile", "name": "X-API-Key", "wert": secret}), "x-api-key", "hunter2"),
    ];
    for (login, header, expected) in logins {
        let receiver =
            Receiver::start(&[Manner::Answers(answer("401 Unauthorized", "", "")), Manner::HangsUp]).await;
        let settings = json!({"url": receiver.url, "anmeldung": login});
        let plan = crate::settings::Plan::read(&settings).unwrap();
        let connector = setup.build(&settings).unwrap();
        let refused = connector.deliver(&setup.sendung).await;
        let broken = connector.deliver(&setup.sendung).await;
        let told = format!("{plan:?} {refused:?} {broken:?} {:?}", connector.probe().await);
        assert_eq!(code(&refused), ("retry", "KOP-Z012"));
        assert!(!told.contains("hunter2") && !told.contains("a29wOmh1bnRlcjI"), "{told}");
        assert_eq!(receiver.requests()[0].header(header), Some(expected));
    }
}

#[tokio::test]
async fn a_secret_is_read_anew_at_each_attempt() {
    let setup = Setup::small();
    let settings =
        |url: &str| json!({"url": url, "anmeldung": {"art": "bearer", "token": setup.secret("alt")}});
    let receiver = Receiver::answering("200 OK", "", "").await;
    let connector = setup.build(&settings(&receiver.url)).unwrap();
    setup.secret("neu");
    connector.deliver(&setup.sendung).await;
    assert_eq!(receiver.requests()[0].header("authorization"), Some("Bearer neu"));

    for bad in ["", "zwei\nZeilen"] {
        setup.secret(bad);
        let outcome = connector.deliver(&setup.sendung).await;
        assert_eq!(code(&outcome), ("retry", "KOP-Z019"));
        assert!(!format!("{outcome:?}").contains("Zeilen"));
    }
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_probe_asks_and_changes_nothing() {
    let setup = Setup::small();
    for (status, expected) in
        [("200 OK", None), ("405 Method Not Allowed", None), ("403 Forbidden", Some("KOP-Z012"))]
    {
        let receiver = Receiver::start(&[Manner::Answers(format!("HTTP/1.1 {status}\r\n\r\n"))]).await;
        let connector = setup.build(&json!({"url": receiver.url})).unwrap();
        let probed = tokio::time::timeout(LIMIT, connector.probe()).await.unwrap();
        assert_eq!(probed.err().map(|problem| problem.code).as_deref(), expected, "{status}");
        assert_eq!(receiver.requests()[0].line, "HEAD /eingang HTTP/1.1");
    }
}

#[test]
fn certificates_are_read_when_the_connector_is_built() {
    let setup = Setup::small();
    let settings = json!({"url": "https://amt.example/", "ca_datei": "ca.pem"});
    assert_eq!(setup.build(&settings).err().unwrap().code, "KOP-Z019");
    std::fs::write(setup.base.path().join("ca.pem"), "kein Zertifikat").unwrap();
    assert_eq!(setup.build(&settings).err().unwrap().code, "KOP-Z019");
}

#[test]
fn the_settings_are_described_in_german() {
    let schema = serde_json::to_value(HttpKind.schema()).unwrap();
    assert_eq!(HttpKind.name(), "http");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["required"], json!(["url"]));
    assert_eq!(schema["properties"]["idempotenz_kopf"]["default"], json!("Idempotency-Key"));
    let risk = schema["properties"]["unverschluesselt"]["description"].as_str().unwrap();
    assert!(risk.contains("mitlesen"));
}
