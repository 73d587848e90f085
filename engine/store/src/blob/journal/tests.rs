// SPDX-License-Identifier: EUPL-1.2
//! What was kept is there after a power cut, whatever the disk made of the files; a piece leaves once all of it is in
//! its files.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    blob::BlobStore,
    seal::{Keyring, Keys, NoKeys, TenantKey},
};

/// Longer than any test.
const FOR_GOOD: Duration = Duration::from_secs(3600);

/// Every tenant has one key.
struct OneKey;

impl Keys for OneKey {
    fn ring(&self, tenant: &TenantId) -> Result<Option<Arc<Keyring>>, StoreError> {
        let key = TenantKey::derive(tenant, "k", &"k".repeat(32))?;
        Ok(Keyring::new(tenant.clone(), vec![key]).map(Arc::new))
    }
}

fn tenant() -> TenantId {
    "nord".parse().unwrap()
}

fn store(root: &Path, keys: Arc<dyn Keys>, oldest: Duration) -> BlobStore {
    let store = BlobStore::new(root, keys).unwrap();
    store.remove_unfinished().unwrap();
    store.journal_of_pieces(oldest).unwrap();
    store
}

async fn put(store: &BlobStore, content: &str) -> BlobRef {
    store.put(&tenant(), Bytes::from(content.to_owned())).await.unwrap()
}

/// A copy of everything while the journal is there.
fn cut_off(root: &Path) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                fs::create_dir_all(&to).unwrap();
                copy(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy(root, to.path());
    to
}

#[tokio::test]
async fn what_the_disk_lost_is_put_back() {
    for keys in [Arc::new(NoKeys) as Arc<dyn Keys>, Arc::new(OneKey)] {
        let root = tempfile::tempdir().unwrap();
        let here = store(root.path(), keys.clone(), FOR_GOOD);
        let mut blobs = Vec::new();
        for content in ["verloren", "leer", "vertauscht", "da"] {
            blobs.push(put(&here, content).await);
        }
        let cut = cut_off(root.path());
        let file = |n: usize| {
            let stored = here.stored(&tenant(), &blobs[n].sha256).unwrap().0;
            cut.path().join(stored.strip_prefix(root.path()).unwrap())
        };
        fs::remove_file(file(0)).unwrap();
        fs::write(file(1), "").unwrap();
        let length = fs::read(file(2)).unwrap().len();
        fs::write(file(2), vec![0; length]).unwrap();
        // A record that was under way when the power went.
        let piece = cut.path().join(FOLDER).join(format!("{:012}", 1));
        let mut bytes = fs::read(&piece).unwrap();
        bytes.extend([9; 50]);
        fs::write(&piece, bytes).unwrap();

        let back = store(cut.path(), keys.clone(), FOR_GOOD);
        for (blob, content) in blobs.iter().zip(["verloren", "leer", "vertauscht", "da"]) {
            assert_eq!(back.read(&tenant(), blob, 100).await.unwrap(), content.as_bytes());
        }
        assert_eq!(collect::names(&cut.path().join(FOLDER)).unwrap(), [""; 0]);
        assert_eq!(collect::names(&cut.path().join(UNFINISHED)).unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn a_piece_leaves_when_its_files_are_durable() {
    let root = tempfile::tempdir().unwrap();
    let here = store(root.path(), Arc::new(NoKeys), FOR_GOOD);
    let blob = put(&here, "bleibt").await;
    assert_eq!(collect::names(&root.path().join(FOLDER)).unwrap().len(), 1);
    drop(here);
    assert_eq!(collect::names(&root.path().join(FOLDER)).unwrap(), [""; 0]);
    let back = store(root.path(), Arc::new(NoKeys), Duration::ZERO);
    assert_eq!(back.read(&tenant(), &blob, 100).await.unwrap(), b"bleibt");
    put(&back, "jede für sich").await;
    put(&back, "ein Stück").await;
    drop(back);
    assert_eq!(collect::names(&root.path().join(FOLDER)).unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_acknowledged_and_others_are() {
    let root = tempfile::tempdir().unwrap();
    let here = store(root.path(), Arc::new(NoKeys), Duration::ZERO);
    let (folder, aside) = (root.path().join(FOLDER), root.path().join(".weg"));
    fs::rename(&folder, &aside).unwrap();
    here.put(&tenant(), Bytes::from_static(b"geht nicht")).await.unwrap_err();
    fs::rename(&aside, &folder).unwrap();
    put(&here, "geht wieder").await;
}

#[tokio::test]
async fn a_file_of_the_right_length_is_not_trusted() {
    let root = tempfile::tempdir().unwrap();
    let here = store(root.path(), Arc::new(NoKeys), FOR_GOOD);
    let blob = put(&here, "Antrag").await;
    // As a file system may leave a file that nobody waited for.
    fs::write(here.stored(&tenant(), &blob.sha256).unwrap().0, [0; 6]).unwrap();
    assert_eq!(put(&here, "Antrag").await, blob);
    assert_eq!(here.read(&tenant(), &blob, 100).await.unwrap(), b"Antrag");
}

#[tokio::test]
async fn large_files_go_by_themselves() {
    let root = tempfile::tempdir().unwrap();
    let here = store(root.path(), Arc::new(NoKeys), FOR_GOOD);
    put(&here, &"x".repeat(crate::blob::small::LARGEST + 1)).await;
    assert_eq!(collect::names(&root.path().join(FOLDER)).unwrap(), [""; 0]);
}

#[test]
fn records_come_back_until_the_first_that_is_not_whole() {
    let record = |bytes| Record {
        tenant: tenant(),
        blob: BlobRef { sha256: ContentHash::of(b"x"), size: 1 },
        sealed: true,
        bytes,
    };
    let (one, two) = (record(b"eins"), record(b""));
    let both = [one.encode().unwrap(), two.encode().unwrap()].concat();
    let (first, rest) = Record::decode(&both).unwrap();
    assert_eq!(first, one);
    assert_eq!(Record::decode(rest).unwrap(), (two, &b""[..]));
    for cut in 0..rest.len() {
        assert_eq!(Record::decode(&rest[..cut]), None);
    }
    let mut changed = both.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(Record::decode(&changed).is_some());
    assert_eq!(Record::decode(&changed[both.len() - rest.len()..]), None);
}
