// SPDX-License-Identifier: EUPL-1.2
//! What is named or young stays, what is neither goes.

use bytes::Bytes;

use super::*;
use crate::{DataFolder, conformance::Fixture, records::PayloadPart};

const GRACE: Duration = Duration::from_secs(24 * 3600);

/// Makes a blob look as if it had been published two days before the suite's beginning.
fn age(data: &DataFolder, tenant: &TenantId, hash: &ContentHash) {
    let long_ago = SystemTime::from(Fixture::at(-2 * 24 * 3600));
    File::open(data.blobs.0.path(tenant, hash)).unwrap().set_modified(long_ago).unwrap();
}

async fn sweep(data: &DataFolder) -> Removed {
    let mut collector = Collector::new(GRACE);
    let mut all = Removed::default();
    loop {
        let (removed, end) = collector.step(&data.store, &data.blobs, 1, Fixture::at(0)).await.unwrap();
        all += removed;
        if end {
            return all;
        }
    }
}

#[tokio::test]
async fn only_what_is_old_and_unnamed_goes() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataFolder::serve_plain(folder.path()).unwrap();
    let (nord, sued) = (Fixture::tenant("nord"), Fixture::tenant("sued"));
    let fixture = Fixture::default();
    let put = async |tenant: &TenantId, text: &'static str| {
        let blob = data.blobs.put(tenant, Bytes::from_static(text.as_bytes())).await.unwrap();
        age(&data, tenant, &blob.sha256);
        blob
    };
    let named = put(&nord, "benannt").await;
    let refused = put(&nord, "verworfen").await;
    // The same content at another tenant, where no row names it.
    let elsewhere = put(&sued, "benannt").await;
    let mut new = fixture.submission("nord", "A", "benannt");
    new.payload =
        vec![PayloadPart { key: "envelope".into(), file_name: None, content_type: None, blob: named }];
    data.store.accept(new, Fixture::at(0)).await.unwrap();
    let young = data.blobs.put(&nord, Bytes::from_static(b"gerade angekommen")).await.unwrap();

    assert_eq!(sweep(&data).await, Removed { files: 2, bytes: 16 });
    assert!(data.blobs.read(&nord, &named, 100).await.is_ok());
    assert!(data.blobs.read(&nord, &young, 100).await.is_ok(), "its row may be on the way");
    assert!(data.blobs.read(&nord, &refused, 100).await.is_err());
    assert!(data.blobs.read(&sued, &elsewhere, 100).await.is_err());
    assert_eq!(sweep(&data).await, Removed::default());
}

#[tokio::test]
async fn a_blob_that_comes_again_is_young_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataFolder::serve_plain(folder.path()).unwrap();
    let tenant = Fixture::tenant("nord");
    let blob = data.blobs.put(&tenant, Bytes::from_static(b"Lageplan")).await.unwrap();
    age(&data, &tenant, &blob.sha256);
    // A sender tries again: nothing is written, the old file is taken. Its row is not there yet.
    data.blobs.put(&tenant, Bytes::from_static(b"Lageplan")).await.unwrap();
    assert_eq!(sweep(&data).await, Removed::default());
    assert!(data.blobs.read(&tenant, &blob, 100).await.is_ok());

    // A collector that does not ask for the age is found out by this very case.
    let ageless = SystemTime::from(Fixture::at(0)) + Duration::from_secs(1 << 33);
    assert_eq!(data.blobs.remove_old(&tenant, vec![blob.sha256], ageless).await.unwrap().files, 1);
    assert!(data.blobs.read(&tenant, &blob, 100).await.is_err());
}

/// Publishing and removing the same file at the same moment, many times: whoever comes second sees the first.
#[tokio::test(flavor = "multi_thread")]
async fn publishing_wins_over_collecting() {
    let folder = tempfile::tempdir().unwrap();
    let data = std::sync::Arc::new(DataFolder::serve_plain(folder.path()).unwrap());
    let tenant = Fixture::tenant("nord");
    let content = Bytes::from_static(b"Lageplan");
    let blob = data.blobs.put(&tenant, content.clone()).await.unwrap();
    let old = before(Fixture::at(0), GRACE);
    for round in 0..200 {
        age(&data, &tenant, &blob.sha256);
        let (publishing, collecting) = (data.clone(), data.clone());
        let (for_publisher, for_collector) = (tenant.clone(), tenant.clone());
        let again = content.clone();
        let published = tokio::spawn(async move { publishing.blobs.put(&for_publisher, again).await });
        let removed =
            tokio::spawn(
                async move { collecting.blobs.remove_old(&for_collector, vec![blob.sha256], old).await },
            );
        published.await.unwrap().unwrap();
        removed.await.unwrap().unwrap();
        assert!(data.blobs.read(&tenant, &blob, 100).await.is_ok(), "round {round}");
    }
}
