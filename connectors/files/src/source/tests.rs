// SPDX-License-Identifier: EUPL-1.2
//! What somebody does to the folder while it is looked at, read and settled.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use kop_connector_api::{
    Accepted, BlobRead, BlobSink, Blobs, BodyStream, Connector, FileStream, Format, HttpIntake, Inbox,
    Intake, IntakeRequest, IntakeResponse, PayloadFile, Refusal, RefusalKind, Seen, SettingProblem,
    SourceKind, SourcePlace, World,
};
use kop_core::{
    BlobRef, ContentHash, DeliveryId, Diagnostic, FixedClock, MessageId, Outcome, Part, Sendung, Stage,
    SubmissionId, TenantId, VorgangId, Zeitpunkt, ids::stable_uuid,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::FolderSourceKind;

/// A format whose request is the payload and its files one after the other. While it reads, `meanwhile` happens.
struct Plain {
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    limit: usize,
}

#[async_trait]
impl HttpIntake for Plain {
    fn source(&self) -> &'static str {
        "plain"
    }

    fn address(&self) -> &'static str {
        "plain"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::json_schema!(true)
    }

    fn check(&self, _: &serde_json::Value) -> Vec<SettingProblem> {
        Vec::new()
    }

    fn payload_extension(&self) -> &'static str {
        "json"
    }

    fn pack(&self, payload: Bytes, _: &[PayloadFile]) -> (String, Bytes) {
        ("text/plain".to_owned(), payload)
    }

    fn takes_files(&self) -> bool {
        true
    }

    fn pack_stream(&self, payload: BodyStream, files: Vec<FileStream>) -> (String, BodyStream) {
        let all = std::iter::once(payload).chain(files.into_iter().map(|file| file.content));
        let all: Vec<_> = all.collect();
        ("text/plain".to_owned(), Box::pin(futures_util::stream::iter(all).flatten()))
    }

    async fn take(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> Result<Accepted, Refusal> {
        let mut body = request.body;
        let mut envelope = Vec::new();
        while let Some(piece) = body.next().await {
            let Ok(piece) = piece else { return Err(refusal(RefusalKind::BadPayload)) };
            envelope.extend_from_slice(&piece);
            if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
                meanwhile();
            }
            if envelope.len() > self.limit {
                return Err(refusal(RefusalKind::TooLarge));
            }
        }
        let intake = Intake {
            tenant: request.tenant,
            source: "plain",
            envelope: envelope.into(),
            parts: Vec::new(),
            transport: BTreeMap::new(),
            settlement: None,
        };
        inbox.accept(intake).await
    }

    async fn handle(&self, _: IntakeRequest, _: Arc<dyn Inbox>) -> IntakeResponse {
        http::Response::new(Bytes::new())
    }

    fn refuse(&self, _: &Refusal) -> IntakeResponse {
        http::Response::new(Bytes::new())
    }
}

fn refusal(kind: RefusalKind) -> Refusal {
    Refusal::new(kind, Diagnostic::new("KOP-E001", "Zu groß oder kaputt.", "Too large or broken."))
}

/// Remembers what was accepted; answers with a refusal as long as there are some.
#[derive(Default)]
struct Desk {
    accepted: Mutex<Vec<Intake>>,
    refusals: Mutex<Vec<RefusalKind>>,
}

#[async_trait]
impl Inbox for Desk {
    async fn blob(&self, _: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        Err(refusal(RefusalKind::Technical))
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        if let Some(kind) = self.refusals.lock().unwrap().pop() {
            return Err(refusal(kind));
        }
        self.accepted.lock().unwrap().push(intake);
        Ok(Accepted {
            submission_id: SubmissionId(stable_uuid(&["a"])),
            vorgang_id: VorgangId(stable_uuid(&["a"])),
            vorgangsnummer: "NORD-2026-000001".to_owned(),
            vendor_id: None,
            received_at: Zeitpunkt::UNIX_EPOCH,
            repeated: false,
        })
    }
}

/// The ticket of whatever is settled.
struct OneBlob(Bytes);

#[async_trait]
impl Blobs for OneBlob {
    async fn open(&self, _: &TenantId, _: &BlobRef) -> std::io::Result<BlobRead> {
        Ok(Box::pin(std::io::Cursor::new(self.0.clone())))
    }
}

/// A source over a folder of its own.
struct Bench {
    base: TempDir,
    intake: Arc<Plain>,
    desk: Arc<Desk>,
    seen: Arc<Mutex<Vec<Seen>>>,
    settings: serde_json::Value,
}

impl Bench {
    fn new(settings: &serde_json::Value) -> Self {
        let mut all = json!({ "pfad": "abholung", "format": "plain", "takt_s": 1 });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let base = TempDir::new().unwrap();
        fs::create_dir(base.path().join("abholung")).unwrap();
        let intake = Arc::new(Plain { meanwhile: Mutex::default(), limit: 1 << 20 });
        Self { base, intake, desk: Arc::default(), seen: Arc::default(), settings: all }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.base.path().join("abholung").join(below)
    }

    fn put(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(dir.join("anlagen")).unwrap();
        fs::write(dir.join("antrag.json"), "antrag,").unwrap();
        fs::write(dir.join("anlagen/plan.pdf"), "plan").unwrap();
        fs::write(dir.join("fertig"), "").unwrap();
        dir
    }

    fn world(&self, ticket: Bytes) -> World {
        World {
            base_dir: self.base.path().to_owned(),
            blobs: Arc::new(OneBlob(ticket)),
            clock: Arc::new(FixedClock::at(Zeitpunkt::UNIX_EPOCH)),
        }
    }

    /// Looks until something was seen `count` times, then stops.
    async fn run(&self, count: usize) -> Vec<Seen> {
        let seen = self.seen.clone();
        let place = SourcePlace {
            tenant: "nord".parse().unwrap(),
            name: "formulare".to_owned(),
            world: self.world(Bytes::new()),
            formats: vec![Format { intake: self.intake.clone(), settings: Arc::new(json!({})) }],
            tell: Arc::new(move |what| seen.lock().unwrap().push(what)),
        };
        let source = FolderSourceKind.build(&self.settings, place).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(source.run(self.desk.clone(), stop.clone()));
        for _ in 0..500 {
            if self.seen.lock().unwrap().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn accepted(&self) -> Vec<Intake> {
        std::mem::take(&mut *self.desk.accepted.lock().unwrap())
    }

    fn settler(&self, ticket: &Bytes) -> Arc<dyn Connector> {
        FolderSourceKind.settler(&self.settings, &self.world(ticket.clone())).unwrap()
    }
}

fn sendung() -> Sendung {
    let blob = BlobRef { sha256: ContentHash::of(b""), size: 0 };
    Sendung {
        tenant: "nord".parse().unwrap(),
        message_id: MessageId(stable_uuid(&["1"])),
        delivery_id: DeliveryId(stable_uuid(&["2"])),
        stage: Stage::Test,
        vorgangsnummer: "NORD-2026-000001".to_owned(),
        mapping: String::new(),
        received_at: Zeitpunkt::UNIX_EPOCH,
        created_at: Zeitpunkt::UNIX_EPOCH,
        main: Part { name: "quittung".to_owned(), content_type: String::new(), blob },
        parts: Vec::new(),
    }
}

fn reference(outcome: Outcome) -> String {
    match outcome {
        Outcome::Receipt(receipt) => receipt.reference.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_finished_is_read_once_and_settled_once() {
    let bench = Bench::new(&json!({ "frist_s": 60 }));
    bench.put("a");
    fs::remove_file(bench.put("unfertig").join("fertig")).unwrap();
    assert_eq!(bench.run(1).await, [Seen::Taken]);
    let accepted = bench.accepted();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].envelope, "antrag,plan");
    let order = accepted[0].settlement.clone().unwrap();
    assert_eq!((order.source.as_str(), order.deadline), ("formulare", Zeitpunkt::from_second(60).ok()));
    // Another process, or this one after a restart, brings the same.
    assert_eq!(bench.run(1).await, [Seen::Taken]);
    assert_eq!(bench.accepted()[0].settlement.as_ref().unwrap().ticket, order.ticket);

    let settler = bench.settler(&order.ticket);
    assert_eq!(reference(settler.deliver(&sendung()).await), "erledigt");
    assert!(bench.path("erledigt/a/anlagen/plan.pdf").is_file() && !bench.path("a").exists());
    assert_eq!(reference(settler.deliver(&sendung()).await), "nicht mehr da");
    assert!(bench.path("unfertig").is_dir());
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_not_taken() {
    let changes: [fn(&Path); 4] = [
        |dir| fs::write(dir.join("anlagen/plan.pdf"), "anders").unwrap(),
        |dir| fs::write(dir.join("anlagen/zweite.pdf"), "x").unwrap(),
        |dir| fs::remove_file(dir.join("anlagen/plan.pdf")).unwrap(),
        |dir| {
            fs::remove_file(dir.join("anlagen/plan.pdf")).unwrap();
            symlink("/etc/hostname", dir.join("anlagen/plan.pdf")).unwrap();
        },
    ];
    for change in changes {
        let bench = Bench::new(&json!({}));
        let dir = bench.put("a");
        let there = dir.clone();
        *bench.intake.meanwhile.lock().unwrap() = Some(Box::new(move || change(&there)));
        assert_eq!(bench.run(1).await, [Seen::Failed]);
        assert!(bench.accepted().is_empty() && dir.is_dir(), "left where it is, to be read again");
    }
    // The folder itself swapped for a link, after it was listed: what was opened is read, nothing else.
    let bench = Bench::new(&json!({}));
    let dir = bench.put("a");
    let aside = bench.base.path().join("woanders");
    let there = dir.clone();
    *bench.intake.meanwhile.lock().unwrap() = Some(Box::new(move || {
        fs::rename(&there, &aside).unwrap();
        symlink("/etc", &there).unwrap();
    }));
    assert_eq!(bench.run(2).await, [Seen::Taken, Seen::Refused], "the link is put aside at the next look");
    assert_eq!(bench.accepted()[0].envelope, "antrag,plan");
    assert!(fs::symlink_metadata(bench.path("fehler/a")).unwrap().is_symlink());
}

#[tokio::test]
async fn a_link_is_never_read() {
    let bench = Bench::new(&json!({}));
    let secret = bench.base.path().join("geheim");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("plan.pdf"), "geheim").unwrap();
    symlink(secret.join("plan.pdf"), bench.put("datei").join("anlagen/zweiter.pdf")).unwrap();
    fs::remove_dir_all(bench.put("ordner").join("anlagen")).unwrap();
    symlink(&secret, bench.path("ordner/anlagen")).unwrap();
    symlink(&secret, bench.path("ganz")).unwrap();
    assert_eq!(bench.run(3).await, [Seen::Refused; 3]);
    assert!(bench.accepted().is_empty() && secret.join("plan.pdf").is_file());
}

#[tokio::test]
async fn whoever_cannot_store_is_asked_again_and_whoever_says_no_is_believed() {
    let bench = Bench::new(&json!({}));
    bench.put("a");
    *bench.desk.refusals.lock().unwrap() = vec![RefusalKind::Busy];
    assert_eq!(bench.run(1).await, [Seen::Taken], "a closed door is nobody's failure");
    *bench.desk.refusals.lock().unwrap() = vec![RefusalKind::Technical];
    assert_eq!(bench.run(1).await, [Seen::Failed]);
    assert!(bench.path("a").is_dir());
    *bench.desk.refusals.lock().unwrap() = vec![RefusalKind::BadPayload];
    assert_eq!(bench.run(1).await, [Seen::Refused]);
    let note = fs::read_to_string(bench.path("fehler/a.FEHLER.txt")).unwrap();
    assert!(note.contains("Zu groß oder kaputt. (KOP-E001)"), "{note}");

    // Where nothing can be put aside it is told, and not tried all the time.
    let bench = Bench::new(&json!({}));
    bench.put("a");
    fs::write(bench.path("fehler"), "").unwrap();
    *bench.desk.refusals.lock().unwrap() = vec![RefusalKind::BadPayload; 9];
    assert_eq!(bench.run(2).await, [Seen::Refused, Seen::Failed]);
    assert!(bench.path("a").is_dir(), "never lost");
}

#[tokio::test]
async fn only_what_was_read_is_moved_or_deleted() {
    for (after, gone) in [("verschieben", "erledigt"), ("loeschen", "gelöscht")] {
        let bench = Bench::new(&json!({ "danach": after }));
        let dir = bench.put("a");
        assert_eq!(bench.run(1).await, [Seen::Taken]);
        let order = bench.accepted()[0].settlement.clone().unwrap();
        let settler = bench.settler(&order.ticket);
        // Another application came under its name, or a link.
        let aside = bench.base.path().join("woanders");
        fs::rename(&dir, &aside).unwrap();
        let other = bench.put("a");
        fs::write(other.join("antrag.json"), "ein anderer").unwrap();
        assert_eq!(reference(settler.deliver(&sendung()).await), "inzwischen etwas anderes");
        assert!(other.join("antrag.json").is_file());
        fs::remove_dir_all(&other).unwrap();
        symlink(&aside, &other).unwrap();
        assert_eq!(reference(settler.deliver(&sendung()).await), "inzwischen etwas anderes");
        fs::remove_file(&other).unwrap();
        fs::rename(&aside, &dir).unwrap();
        // A crash after the first half of a deletion is finished by the next attempt.
        let leftover = bench.path(&format!(".kop-weg-{}", sendung().delivery_id));
        fs::create_dir_all(leftover.join("anlagen")).unwrap();
        assert_eq!(reference(settler.deliver(&sendung()).await), gone);
        assert!(!dir.exists() && leftover.exists() == (after == "verschieben"));
        // A link in place of the folder for what is done leads nobody astray.
        let dir = bench.put("b");
        assert_eq!(bench.run(1).await, [Seen::Taken]);
        let order = bench.accepted()[0].settlement.clone().unwrap();
        if after == "verschieben" {
            fs::remove_dir_all(bench.path("erledigt")).unwrap();
            symlink(bench.base.path(), bench.path("erledigt")).unwrap();
            let outcome = bench.settler(&order.ticket).deliver(&sendung()).await;
            assert!(
                matches!(&outcome, Outcome::Retry { problem, .. } if problem.code == "KOP-Z023"),
                "{outcome:?}"
            );
            assert!(dir.is_dir());
        }
    }
    // A ticket that is none of ours leads nowhere.
    let bench = Bench::new(&json!({}));
    for name in ["", "2e2e", "612f62", "2e61", "6", "zz"] {
        let ticket = json!({ "name": name, "stand": ContentHash::of(b"") }).to_string();
        let outcome = bench.settler(&ticket.into()).deliver(&sendung()).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{name}: {outcome:?}");
    }
}

#[test]
fn settings_stay_within_bounds() {
    let problems = |settings: serde_json::Value| -> Vec<String> {
        let found = FolderSourceKind.check(&settings, &["plain"]);
        found.into_iter().map(|problem| problem.path).collect()
    };
    assert!(problems(json!({ "pfad": "a/b", "format": "plain" })).is_empty());
    assert_eq!(problems(json!({ "pfad": "../b", "format": "anders" })), ["pfad", "format"]);
    let bad =
        json!({ "pfad": "a", "format": "plain", "takt_s": 0, "ruhe_s": 0, "frist_s": 0, "marke": "a/b" });
    assert_eq!(problems(bad), ["marke", "ruhe_s", "takt_s", "frist_s"]);
    assert_eq!(problems(json!({ "pfad": "a", "format": "plain", "x": 1 })).len(), 1);
}
