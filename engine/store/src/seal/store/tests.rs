// SPDX-License-Identifier: EUPL-1.2
//! Sealed is sealed on disk and open for whoever has the key; without the key nothing is.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::*;
use crate::{DataFolder, Resealed, SqliteStore, conformance::Fixture, seal::TenantKey};

/// Keys that a test can change: tenant, then names of keys, the first one seals.
#[derive(Default)]
struct TestKeys(Mutex<BTreeMap<String, Vec<&'static str>>>);

impl TestKeys {
    fn of(tenant: &str, ids: &[&'static str]) -> Arc<Self> {
        let keys = Arc::new(Self::default());
        keys.set(tenant, ids);
        keys
    }

    fn set(&self, tenant: &str, ids: &[&'static str]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned(), ids.to_vec());
    }
}

impl Keys for TestKeys {
    fn ring(&self, tenant: &TenantId) -> Result<Option<Arc<Keyring>>, StoreError> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = all.get(tenant.as_str()).cloned().unwrap_or_default();
        let keys = ids.iter().map(|id| TenantKey::derive(tenant, id, &id.repeat(32)));
        Ok(Keyring::new(tenant.clone(), keys.collect::<Result<_, _>>()?).map(Arc::new))
    }
}

#[tokio::test]
async fn a_sealed_store_does_what_every_store_must() {
    let keys = TestKeys::of("nord", &["k"]);
    let mut folders = Vec::new();
    crate::conformance::run(async || {
        folders.push(tempfile::tempdir().unwrap());
        let inner = SqliteStore::serve(folders.last().unwrap().path()).unwrap();
        SealedStore::new(Arc::new(inner), keys.clone())
    })
    .await;
}

/// Whether any file below the folder holds the text.
fn found(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return found(&path, text);
        }
        std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    })
}

const NAME: &str = "Mustermann";

/// A submission whose document, file name and file hold a name, with a message that does.
async fn submit(data: &DataFolder, fixture: &Fixture, tenant: &str, key: &str) -> SubmissionId {
    let id = Fixture::tenant(tenant);
    let text = format!("{NAME} {key} ").repeat(20_000);
    let blob = data.blobs.put(&id, Bytes::from(text)).await.unwrap();
    let mut new = fixture.submission(tenant, key, key);
    let file_name = Some(format!("Lageplan {NAME}.pdf"));
    new.payload = vec![PayloadPart { key: "anlage".into(), file_name, content_type: None, blob }];
    new.document = Box::new(|_| Ok(format!("{{\"name\":\"{NAME}\"}}").into_bytes()));
    let accepted = data.store.accept(new, Fixture::at(0)).await.unwrap();
    let only = Some((id, accepted.submission_id));
    let claim = SubmissionClaim { only, ..Fixture::claim(1) };
    let claimed = data.store.claim_submissions(claim, Fixture::at(0)).await.unwrap().remove(0);
    let mut message = fixture.message("amt", None);
    message.main = Part { name: format!("{NAME}.xml"), content_type: "application/xml".into(), blob };
    data.store
        .record_processed(claimed.lease, Fixture::processed(vec![message]), Fixture::at(0))
        .await
        .unwrap();
    accepted.submission_id
}

/// Whether everything of a submission can be read, or the error that says why not.
async fn read(data: &DataFolder, tenant: &str, id: SubmissionId) -> Result<(), StoreError> {
    let tenant = Fixture::tenant(tenant);
    let detail = data.store.submission(&tenant, id).await?;
    assert_eq!(detail.submission.document, format!("{{\"name\":\"{NAME}\"}}").into_bytes());
    let part = &detail.submission.payload[0];
    assert_eq!((part.key.as_str(), part.file_name.as_deref()), ("anlage", Some("Lageplan Mustermann.pdf")));
    assert_eq!(detail.messages[0].main.name, "Mustermann.xml");
    assert_eq!(detail.messages[0].main.content_type, "application/xml");
    assert_eq!(detail.messages[0].parts[0].name, "lageplan.pdf");
    let bytes = data.blobs.read(&tenant, &part.blob, u64::MAX).await?;
    assert!(bytes.starts_with(NAME.as_bytes()));
    let mut streamed = Vec::new();
    let mut reader = data.blobs.open(&tenant, &part.blob).await?;
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut streamed).await?;
    assert_eq!(streamed, bytes);
    Ok(())
}

#[tokio::test]
async fn the_folder_holds_no_plain_text_and_deleting_the_key_shreds() {
    let folder = tempfile::tempdir().unwrap();
    let keys = TestKeys::of("nord", &["k"]);
    let data = DataFolder::serve(folder.path(), keys.clone()).unwrap();
    let fixture = Fixture::default();
    let id = submit(&data, &fixture, "nord", "A").await;
    assert!(!found(folder.path(), NAME), "database, log or file holds the name");
    read(&data, "nord", id).await.unwrap();
    let again = submit(&data, &fixture, "nord", "B").await;
    assert!(!found(folder.path(), NAME));
    drop(data);
    assert!(!found(folder.path(), NAME), "nor does it after the log was folded in");

    let data = DataFolder::serve(folder.path(), keys.clone()).unwrap();
    read(&data, "nord", id).await.unwrap();
    keys.set("nord", &[]);
    let missing = StoreError::KeyMissing("nord/k".into());
    assert_eq!(read(&data, "nord", again).await.unwrap_err(), missing);
    let blob = kop_core::BlobRef { sha256: ContentHash::of(b""), size: 0 };
    assert!(data.blobs.open(&Fixture::tenant("nord"), &blob).await.is_err());
    keys.set("nord", &["anderer"]);
    assert_eq!(read(&data, "nord", id).await.unwrap_err(), missing);
    // What is needed to find a case stays: it says nothing about its content.
    let page = data.store.submissions(SubmissionFilter::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    // Another tenant, without keys, is served as ever; the one without its key holds nobody up.
    let plain = submit(&data, &fixture, "sued", "A").await;
    read(&data, "sued", plain).await.unwrap();
    let claimed =
        data.store.claim_deliveries(Fixture::claim_deliveries(10, 5), Fixture::at(1)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].message.tenant, Fixture::tenant("sued"));
}

async fn reseal(data: &DataFolder) -> (u64, Resealed) {
    let tenant = Fixture::tenant("nord");
    let (mut rows, mut files, mut after) = (0, Resealed::default(), None);
    loop {
        let (some, next) = data.store.reseal(&tenant, after, 1).await.unwrap();
        rows += some;
        after = next;
        if after.is_none() {
            break;
        }
    }
    for shard in 0..=255 {
        let some = data.blobs.reseal(&tenant, shard).await.unwrap();
        files.sealed += some.sealed;
        files.rewrapped += some.rewrapped;
    }
    (rows, files)
}

#[tokio::test]
async fn what_was_plain_is_sealed_and_a_new_key_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let keys = TestKeys::of("nord", &[]);
    let data = DataFolder::serve(folder.path(), keys.clone()).unwrap();
    let fixture = Fixture::default();
    let first = submit(&data, &fixture, "nord", "A").await;
    assert!(found(folder.path(), NAME));
    keys.set("nord", &["alt"]);
    read(&data, "nord", first).await.unwrap();
    let second = submit(&data, &fixture, "nord", "B").await;
    assert_eq!(reseal(&data).await, (1, Resealed { sealed: 1, rewrapped: 0 }));
    data.store.release_space(u64::MAX).await.unwrap();
    assert!(!found(folder.path(), NAME), "what was plain is nowhere any more");
    assert_eq!(reseal(&data).await, (0, Resealed::default()), "done is done");

    keys.set("nord", &["neu", "alt"]);
    assert_eq!(reseal(&data).await, (2, Resealed { sealed: 0, rewrapped: 2 }));
    keys.set("nord", &["neu"]);
    for id in [first, second] {
        read(&data, "nord", id).await.unwrap();
    }
    let again =
        data.blobs.put(&Fixture::tenant("nord"), Bytes::from(format!("{NAME} A ").repeat(20_000))).await;
    assert!(again.is_ok(), "the same file once more is the same file");
    assert_eq!(reseal(&data).await, (0, Resealed::default()));
}

#[tokio::test]
async fn a_sealed_file_that_was_changed_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let keys = TestKeys::of("nord", &["k"]);
    let data = DataFolder::serve(folder.path(), keys).unwrap();
    let tenant = Fixture::tenant("nord");
    for size in [0_usize, 1, 65_535, 65_536, 65_537, 600_000] {
        let content: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let blob = data.blobs.put(&tenant, content.clone().into()).await.unwrap();
        assert_eq!(data.blobs.read(&tenant, &blob, u64::MAX).await.unwrap(), content, "{size}");
        let name = blob.sha256.to_string();
        let path = folder.path().join("blobs/nord").join(&name[..2]).join(format!("{name}.v"));
        let stored = std::fs::read(&path).unwrap();
        if size > 1 {
            let mut changed = stored.clone();
            changed[300] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(data.blobs.read(&tenant, &blob, u64::MAX).await.is_err(), "{size}");
            std::fs::write(&path, &stored[..stored.len() - 1]).unwrap();
            assert!(data.blobs.open(&tenant, &blob).await.is_err(), "{size}");
        }
    }
}
