// SPDX-License-Identifier: EUPL-1.2
//! A backup comes back as it was; one that was changed, cut or not finished does not.

use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{DataFolder, Store, SubmissionFilter, conformance::Fixture, records::PayloadPart};

struct Rehearsal {
    root: TempDir,
    data: DataFolder,
    fixture: Fixture,
}

impl Rehearsal {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = DataFolder::serve_plain(&root.path().join("daten")).unwrap();
        fs::create_dir_all(root.path().join("daten/schemata/xbau")).unwrap();
        fs::write(root.path().join("daten/schemata/xbau/paket.xsd"), "<xs:schema/>").unwrap();
        Self { root, data, fixture: Fixture::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn submit(&self, key: &str) {
        let tenant = Fixture::tenant("nord");
        let blob = self.data.blobs.put(&tenant, Bytes::from(format!("Anlage {key}"))).await.unwrap();
        let mut new = self.fixture.submission("nord", key, key);
        new.payload = vec![PayloadPart { key: "a".into(), file_name: None, content_type: None, blob }];
        self.data.store.accept(new, Fixture::at(0)).await.unwrap();
    }

    fn backup(&self) -> Result<BackupSummary, StoreError> {
        backup(&self.path("daten"), &self.path("sicherung"), Fixture::at(9))
    }

    fn restore(&self) -> Result<BackupSummary, StoreError> {
        restore(&self.path("sicherung"), &self.path("neu"))
    }
}

#[tokio::test]
async fn a_backup_of_a_running_instance_comes_back() {
    let here = Rehearsal::new();
    here.submit("A").await;
    here.data.blobs.put(&Fixture::tenant("nord"), Bytes::from_static(b"niemand nennt mich")).await.unwrap();
    let first = here.backup().unwrap();
    assert_eq!((first.dateien, first.neu), (3, 3), "database, one blob, one schema");
    here.submit("B").await;
    let second = here.backup().unwrap();
    assert_eq!((second.dateien, second.neu), (4, 2), "only what is new was copied");
    here.submit("C").await;

    assert_eq!(here.restore().unwrap(), second);
    assert!(matches!(here.restore(), Err(StoreError::NotPossible(_))), "never over something");
    let back = DataFolder::serve_plain(&here.path("neu")).unwrap();
    let page = back.store.submissions(SubmissionFilter::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let tenant = Fixture::tenant("nord");
    for summary in page.items {
        let detail = back.store.submission(&tenant, summary.submission_id).await.unwrap();
        back.blobs.read(&tenant, &detail.submission.payload[0].blob, 100).await.unwrap();
    }
    assert!(here.path("neu/schemata/xbau/paket.xsd").is_file());
    let next = back.store.accept(here.fixture.submission("nord", "D", "D"), Fixture::at(10)).await.unwrap();
    assert_eq!(next.vorgangsnummer, "MUS-2026-001003", "C had 3 already, and it was told to its sender");
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let here = Rehearsal::new();
    here.submit("A").await;
    here.backup().unwrap();
    let target = here.path("sicherung");
    let list = fs::read_to_string(target.join(LIST_FILE)).unwrap();
    let blob = list.lines().find(|line| line.contains("blobs/")).unwrap();
    let blob: Entry = serde_json::from_str(blob).unwrap();
    let file = target.join(&blob.pfad);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, b"Anlage B").unwrap();
    assert_eq!(here.restore().unwrap_err(), StoreError::Damaged(blob.pfad.clone()));
    fs::remove_file(&file).unwrap();
    assert!(matches!(here.restore(), Err(StoreError::Damaged(_))));
    fs::write(&file, &whole).unwrap();
    let hostile = list.replace("kop.db", "../kop.db");
    fs::write(target.join(LIST_FILE), hostile).unwrap();
    assert!(matches!(here.restore(), Err(StoreError::Damaged(_))));
    fs::write(target.join(LIST_FILE), list).unwrap();
    fs::remove_file(target.join(SUMMARY_FILE)).unwrap();
    assert_eq!(here.restore().unwrap_err(), StoreError::NotFound, "not finished");
    assert!(!here.path("neu").exists(), "nothing half restored is left under the name");
    here.backup().unwrap();
    here.restore().unwrap();

    // A stored file that is not what it was is found out before a backup says that it is one.
    let stored = here.path("daten").join(&blob.pfad);
    fs::write(stored, b"Anlage X").unwrap();
    assert!(matches!(here.backup(), Err(StoreError::Damaged(_))));
    assert!(!target.join(SUMMARY_FILE).exists());
    fs::create_dir(here.path("voll")).unwrap();
    fs::write(here.path("voll/brief.txt"), "").unwrap();
    let elsewhere = backup(&here.path("daten"), &here.path("voll"), Fixture::at(9));
    assert!(matches!(elsewhere, Err(StoreError::NotPossible(_))));
}
