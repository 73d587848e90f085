// SPDX-License-Identifier: EUPL-1.2
//! The promises of the connector `ordner`, tested on a real file system: all or nothing, once, in its place.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Cursor, Read},
    path::Path,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
};

use async_trait::async_trait;
use kop_connector_api::{BlobRead, Blobs, Connector, ConnectorKind, World};
use kop_core::{
    BlobRef, ContentHash, FixedClock, Outcome, Part, Receipt, Sendung, Stage, TenantId, sendung::Level,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, ReadBuf},
    runtime::Handle,
    task::spawn_blocking,
};

use crate::{FolderKind, handover::Handover, settings::Plan};

/// Blobs in memory. `broken` ends in an error half-way; `watched` must show nothing but hidden names while
/// anything is read.
#[derive(Default)]
struct Memory {
    contents: HashMap<ContentHash, Vec<u8>>,
    broken: Option<ContentHash>,
    watched: Option<std::path::PathBuf>,
}

struct HalfThenError(Cursor<Vec<u8>>);

impl AsyncRead for HalfThenError {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.position() == self.0.get_ref().len() as u64 {
            return Poll::Ready(Err(io::Error::other("/blobs/geheim")));
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn open(&self, _: &TenantId, blob: &BlobRef) -> io::Result<BlobRead> {
        if let Some(watched) = &self.watched {
            let seen: Vec<String> = names(watched);
            assert!(seen.iter().all(|name| name.starts_with(".kop-")), "{seen:?}");
        }
        let content = self.contents.get(&blob.sha256).ok_or(io::ErrorKind::NotFound)?.clone();
        if self.broken == Some(blob.sha256) {
            let half = content[..content.len() / 2].to_vec();
            return Ok(Box::pin(HalfThenError(Cursor::new(half))));
        }
        Ok(Box::pin(Cursor::new(content)))
    }
}

struct Setup {
    base: tempfile::TempDir,
    memory: Memory,
    sendung: Sendung,
}

impl Setup {
    fn new() -> Self {
        let mut memory = Memory::default();
        let mut part = |name: &str, content: Vec<u8>| {
            let blob = BlobRef { sha256: ContentHash::of(&content), size: content.len() as u64 };
            memory.contents.insert(blob.sha256, content);
            Part { name: name.to_owned(), content_type: "application/octet-stream".to_owned(), blob }
        };
        let sendung = Sendung {
            tenant: "musterstadt".parse().unwrap(),
            message_id: "01900000-0000-7000-8000-000000000001".parse().unwrap(),
            delivery_id: "01900000-0000-7000-8000-000000000002".parse().unwrap(),
            stage: Stage::Test,
            vorgangsnummer: "MUS-2026-7".to_owned(),
            mapping: "bauantrag-xbau".to_owned(),
            received_at: "2026-03-01T09:00:00Z".parse().unwrap(),
            created_at: "2026-03-01T09:00:05Z".parse().unwrap(),
            main: part("antrag_0200.xml", b"<antrag/>".to_vec()),
            parts: vec![
                // Longer than one chunk, and not compressible to nothing.
                part("Lageplan Größe.pdf", (0..300_000_u32).flat_map(u32::to_le_bytes).collect()),
                part("leer.txt", Vec::new()),
            ],
        };
        Self { base: tempfile::tempdir().unwrap(), memory, sendung }
    }

    fn connector(&self, settings: &Value) -> Arc<dyn Connector> {
        assert_eq!(FolderKind.check(settings), []);
        FolderKind.build(settings, &self.world()).unwrap()
    }

    fn world(&self) -> World {
        World {
            base_dir: self.base.path().to_owned(),
            blobs: self.blobs(),
            clock: Arc::new(FixedClock::at("2026-03-01T10:00:00Z".parse().unwrap())),
        }
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        let Memory { contents, broken, watched } = &self.memory;
        Arc::new(Memory { contents: contents.clone(), broken: *broken, watched: watched.clone() })
    }

    async fn deliver(&self, settings: Value) -> Outcome {
        self.connector(&settings).deliver(&self.sendung).await
    }

    /// The Sendung with another main document, as another run of the mapping would make it.
    fn with_main(&mut self, content: &[u8]) {
        let blob = BlobRef { sha256: ContentHash::of(content), size: content.len() as u64 };
        self.memory.contents.insert(blob.sha256, content.to_vec());
        self.sendung.main.blob = blob;
    }

    fn expected(&self) -> BTreeMap<String, Vec<u8>> {
        let content = |part: &Part| self.memory.contents[&part.blob.sha256].clone();
        self.sendung.all_parts().map(|part| (part.name.clone(), content(part))).collect()
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.base.path().join(below)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn receipt(reference: &str) -> Outcome {
    Outcome::Receipt(Receipt { level: Level::Uebergeben, reference: Some(reference.to_owned()) })
}

fn code(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Retry { problem, .. } => ("retry", &problem.code),
        Outcome::Reject(problem) => ("reject", &problem.code),
        Outcome::Unknown(problem) => ("unknown", &problem.code),
        other => panic!("{other:?}"),
    }
}

const DIRECTORY: &str = "2026-03-01_MUS-2026-7_00000001";

#[tokio::test]
async fn a_sendung_becomes_one_directory_with_a_marker() {
    let mut setup = Setup::new();
    setup.memory.watched = Some(setup.path("ausgang/amt"));
    assert_eq!(setup.deliver(json!({"pfad": "ausgang/amt"})).await, receipt(DIRECTORY));

    assert_eq!(names(&setup.path("ausgang/amt")), [DIRECTORY]);
    let mut found = files(&setup.path("ausgang/amt").join(DIRECTORY));
    let marker: Value = serde_json::from_slice(&found.remove(".fertig").unwrap()).unwrap();
    let hash = Sendung::content_hash(&setup.sendung.main, &setup.sendung.parts);
    assert_eq!(marker, json!({"message_id": setup.sendung.message_id, "sha256": hash}));
    assert_eq!(found, setup.expected());
}

#[tokio::test]
async fn dated_folders_and_an_own_marker() {
    let setup = Setup::new();
    let settings = json!({"pfad": "a", "name": "{jahr}/{monat}/{vorgangsnummer}", "marke": "fertig.json"});
    assert_eq!(setup.deliver(settings).await, receipt("2026/03/MUS-2026-7"));
    assert!(setup.path("a/2026/03/MUS-2026-7/fertig.json").is_file());
    assert_eq!(names(&setup.path("a/2026/03")), ["MUS-2026-7"]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_receiver_may_read_what_the_process_umask_allows() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    setup.deliver(json!({"pfad": "a"})).await;
    let rights = |path: &str| fs::metadata(setup.path(path)).unwrap().permissions().mode();
    fs::create_dir(setup.path("vergleich")).unwrap();
    fs::write(setup.path("vergleich.txt"), "").unwrap();
    assert_eq!(rights(&format!("a/{DIRECTORY}")), rights("vergleich"));
    assert_eq!(rights(&format!("a/{DIRECTORY}/.fertig")), rights("vergleich.txt"));
}

#[tokio::test]
async fn nothing_is_left_when_a_file_breaks_half_way() {
    for container in ["keiner", "zip"] {
        let mut setup = Setup::new();
        let settings = json!({"pfad": "a", "container": container});
        setup.memory.broken = Some(setup.sendung.parts[0].blob.sha256);
        let outcome = setup.deliver(settings.clone()).await;
        assert_eq!(code(&outcome), ("retry", "KOP-Z005"));
        assert!(!format!("{outcome:?}").contains("geheim"));
        assert_eq!(names(&setup.path("a")), Vec::<String>::new());

        setup.memory.broken = None;
        assert_eq!(setup.deliver(settings).await, receipt(DIRECTORY));
    }
}

#[tokio::test]
async fn other_bytes_than_promised_are_not_handed_over() {
    let mut setup = Setup::new();
    for wrong in [b"<antrag?>".to_vec(), b"<antrag".to_vec(), b"<antrag/>\n".to_vec()] {
        setup.memory.contents.insert(setup.sendung.main.blob.sha256, wrong);
        assert_eq!(code(&setup.deliver(json!({"pfad": "a"})).await), ("retry", "KOP-Z005"));
        assert_eq!(names(&setup.path("a")), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_repeated_delivery_changes_nothing() {
    for container in ["keiner", "zip"] {
        let mut setup = Setup::new();
        let settings = json!({"pfad": "a", "container": container});
        assert_eq!(setup.deliver(settings.clone()).await, receipt(DIRECTORY));
        let before = files(&setup.path("a").join(DIRECTORY));
        // The receiver may have taken a file away: what was handed over is not handed over again.
        let taken = before.keys().find(|name| *name != ".fertig").unwrap();
        fs::remove_file(setup.path("a").join(DIRECTORY).join(taken)).unwrap();
        assert_eq!(setup.deliver(settings.clone()).await, receipt(DIRECTORY));
        assert_eq!(files(&setup.path("a").join(DIRECTORY)).len(), before.len() - 1);

        setup.with_main(b"<anderer/>");
        assert_eq!(code(&setup.deliver(settings).await), ("reject", "KOP-Z004"));
        assert_eq!(files(&setup.path("a").join(DIRECTORY)).len(), before.len() - 1);
    }
}

#[tokio::test]
async fn the_marker_comes_last_and_is_made_up_for() {
    for container in ["keiner", "zip"] {
        let setup = Setup::new();
        let settings = json!({"pfad": "a", "container": container});
        fs::create_dir(setup.path("a")).unwrap();
        let handover = Handover {
            base_dir: setup.base.path().to_owned(),
            plan: Arc::new(Plan::read(&settings).unwrap()),
            blobs: setup.blobs(),
            sendung: setup.sendung.clone(),
            runtime: Handle::current(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        // As if the power went after the rename.
        let (parent, directory) = (setup.path("a"), setup.path("a").join(DIRECTORY));
        let place = {
            let (parent, directory) = (parent.clone(), directory.clone());
            move || handover.place(&parent, &directory)
        };
        spawn_blocking(place).await.unwrap().unwrap();
        let placed = files(&directory);
        assert!(!placed.is_empty() && !placed.contains_key(".fertig"));

        assert_eq!(setup.deliver(settings).await, receipt(DIRECTORY));
        let mut completed = files(&directory);
        assert!(completed.remove(".fertig").is_some());
        assert_eq!(completed, placed);
        assert_eq!(names(&parent), [DIRECTORY]);
    }
}

#[tokio::test]
async fn a_foreign_directory_without_a_marker_is_left_alone() {
    for container in ["keiner", "zip"] {
        let setup = Setup::new();
        let settings = json!({"pfad": "a", "container": container});
        let directory = setup.path("a").join(DIRECTORY);
        fs::create_dir_all(&directory).unwrap();
        // Empty: nobody's.
        assert_eq!(setup.deliver(settings.clone()).await, receipt(DIRECTORY));
        let first = names(&directory).into_iter().find(|name| name != ".fertig").unwrap();
        fs::remove_file(directory.join(".fertig")).unwrap();
        let mut changed = fs::read(directory.join(&first)).unwrap();
        let end = changed.len() - 1;
        changed[end] ^= 1;
        fs::write(directory.join(&first), &changed).unwrap();
        assert_eq!(code(&setup.deliver(settings).await), ("reject", "KOP-Z004"));
        assert_eq!(fs::read(directory.join(&first)).unwrap(), changed);
        assert!(!directory.join(".fertig").exists());
    }
}

#[tokio::test]
async fn leftovers_of_this_sendung_are_removed_and_no_others() {
    let setup = Setup::new();
    let ours = setup.path("a").join(format!(".kop-{}-abc123", setup.sendung.message_id));
    let others = setup.path("a/.kop-01900000-0000-7000-8000-00000000ffff-abc123");
    for leftover in [&ours, &others] {
        fs::create_dir_all(leftover).unwrap();
        fs::write(leftover.join("halb.xml"), "<hal").unwrap();
    }
    assert_eq!(setup.deliver(json!({"pfad": "a"})).await, receipt(DIRECTORY));
    assert!(!ours.exists() && others.join("halb.xml").exists());
}

#[tokio::test]
async fn the_container_holds_every_part_and_is_always_the_same() {
    let setup = Setup::new();
    for pfad in ["a", "b"] {
        let outcome = setup.deliver(json!({"pfad": pfad, "container": "zip"})).await;
        assert_eq!(outcome, receipt(DIRECTORY));
        assert_eq!(names(&setup.path(pfad).join(DIRECTORY)), [".fertig", "antrag_0200.zip"]);
    }
    let read = |pfad: &str| fs::read(setup.path(pfad).join(DIRECTORY).join("antrag_0200.zip")).unwrap();
    assert_eq!(read("a"), read("b"));

    let mut archive = zip::ZipArchive::new(Cursor::new(read("a"))).unwrap();
    assert_eq!(archive.by_index(0).unwrap().name().unwrap(), "antrag_0200.xml");
    let mut found = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        assert_eq!(entry.last_modified().unwrap().to_string(), "2026-03-01 10:00:04");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(entry.name().unwrap().into_owned(), content);
    }
    assert_eq!(found, setup.expected());
}

#[tokio::test]
async fn names_that_lead_elsewhere_or_hide_others_are_refused() {
    for bad in ["../x.xml", "a/b.xml", "a\\b.xml", "", ".", ".fertig", "..", "x\u{0}.xml", "ANTRAG.fertig"] {
        let mut setup = Setup::new();
        setup.sendung.parts[0].name = bad.to_owned();
        let outcome = setup.deliver(json!({"pfad": "a", "marke": "antrag.fertig"})).await;
        assert_eq!(code(&outcome), ("reject", "KOP-Z006"), "{bad:?}");
        assert_eq!(names(setup.base.path()), Vec::<String>::new(), "{bad:?}");
    }
    for container in ["keiner", "zip"] {
        let mut setup = Setup::new();
        setup.sendung.parts[1].name = setup.sendung.main.name.clone();
        let outcome = setup.deliver(json!({"pfad": "a", "container": container})).await;
        assert_eq!(code(&outcome), ("reject", "KOP-Z006"));
        assert_eq!(names(&setup.path("a")), Vec::<String>::new());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_in_the_receivers_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let setup = Setup::new();
    let settings = json!({"pfad": "a", "name": "{jahr}/{kurz_id}"});
    fs::create_dir(setup.path("a")).unwrap();
    fs::create_dir(setup.path("woanders")).unwrap();
    symlink(setup.path("woanders"), setup.path("a/2026")).unwrap();
    assert_eq!(code(&setup.deliver(settings.clone()).await), ("retry", "KOP-Z007"));

    fs::remove_file(setup.path("a/2026")).unwrap();
    fs::create_dir(setup.path("a/2026")).unwrap();
    symlink(setup.path("woanders"), setup.path("a/2026/00000001")).unwrap();
    assert_eq!(code(&setup.deliver(settings.clone()).await), ("reject", "KOP-Z004"));
    let leftover = format!("a/2026/.kop-{}-x", setup.sendung.message_id);
    symlink(setup.path("woanders"), setup.path(&leftover)).unwrap();
    fs::remove_file(setup.path("a/2026/00000001")).unwrap();
    fs::write(setup.path("woanders/fremd.txt"), "bleibt").unwrap();
    assert_eq!(setup.deliver(settings).await, receipt("2026/00000001"));
    assert_eq!(names(&setup.path("woanders")), ["fremd.txt"]);
}

#[tokio::test]
async fn a_folder_that_is_none_is_tried_again() {
    let setup = Setup::new();
    fs::write(setup.path("a"), "").unwrap();
    let connector = setup.connector(&json!({"pfad": "a/b"}));
    assert_eq!(code(&connector.deliver(&setup.sendung).await), ("retry", "KOP-Z003"));
    assert_eq!(connector.probe().await.unwrap_err().code, "KOP-Z003");

    let connector = setup.connector(&json!({"pfad": "neu/amt"}));
    connector.probe().await.unwrap();
    assert_eq!(names(setup.base.path()), ["a"], "eine Probe hinterlässt nichts");
}

#[tokio::test]
async fn an_attempt_nobody_waits_for_ends_without_a_directory() {
    struct Never;
    impl AsyncRead for Never {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            // Endless content, a byte at a time and giving way, so that the attempt is under way for long.
            std::thread::sleep(std::time::Duration::from_millis(1));
            buf.put_slice(b"x");
            let _ = cx;
            Poll::Ready(Ok(()))
        }
    }
    struct Endless;
    #[async_trait]
    impl Blobs for Endless {
        async fn open(&self, _: &TenantId, _: &BlobRef) -> io::Result<BlobRead> {
            Ok(Box::pin(Never))
        }
    }
    let mut setup = Setup::new();
    setup.sendung.main.blob.size = u64::MAX;
    let world = World { blobs: Arc::new(Endless), ..setup.world() };
    let connector = FolderKind.build(&json!({"pfad": "a"}), &world).unwrap();
    let waiting = connector.deliver(&setup.sendung);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await.is_err());
    for _ in 0..200 {
        if names(&setup.path("a")).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{:?}", names(&setup.path("a")));
}

#[test]
fn the_settings_are_described_in_german() {
    let schema = serde_json::to_value(FolderKind.schema()).unwrap();
    assert_eq!(FolderKind.name(), "ordner");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["required"], json!(["pfad"]));
    assert_eq!(schema["properties"]["marke"]["default"], json!(".fertig"));
    assert!(schema["properties"]["name"]["description"].as_str().unwrap().contains("{kurz_id}"));
}
