// SPDX-License-Identifier: EUPL-1.2
//! Periods of a real configuration on a real store: what goes, what stays and why, and that files go along.

use std::{fs, path::Path};

use bytes::Bytes;
use kop_core::{LaneHealth, Receipt, sendung::Level};
use kop_store::{AttemptEnd, PayloadPart, RetentionQuery, conformance::Fixture};

use super::*;

const MANDANT: &str = r#"
name = "Stadt Nord"
[aufbewahrung]
inhalte_tage = 30
metadaten_tage = 60
[empfaenger.dms]
name = "Aktenablage"
zustellung = { art = "ordner", pfad = "ausgang" }
[[route]]
name = "Bauantrag"
aufbewahrung = { metadaten_tage = 90, loeschen_erst = [{ empfaenger = "dms", stufe = "empfangen" }] }
ziel = [{ zuordnung = "fehlt", empfaenger = ["dms"] }]
"#;

fn instance(folder: &Path) -> Instance {
    fs::create_dir_all(folder.join("mandanten/nord")).unwrap();
    fs::write(folder.join("kop.toml"), "").unwrap();
    fs::write(folder.join("mandanten/nord/mandant.toml"), MANDANT).unwrap();
    let instance = Instance::load(folder).unwrap();
    assert_eq!(instance.tenants.all().len(), 1, "{:?}", instance.broken);
    instance
}

fn day(days: i64) -> Zeitpunkt {
    Fixture::at(days * 24 * 3600)
}

#[tokio::test]
async fn contents_go_once_the_receipt_is_there_and_the_rest_later() {
    let folder = tempfile::tempdir().unwrap();
    let instance = instance(folder.path());
    let data = kop_store::DataFolder::serve_plain(&instance.config.data_dir).unwrap();
    let data = Data::of_folder(data);
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let blob = data.blobs.put(&tenant, Bytes::from_static(b"Lageplan Mustermann")).await.unwrap();
    let mut new = fixture.submission("nord", "A", "x");
    new.payload = vec![PayloadPart { key: "envelope".into(), file_name: None, content_type: None, blob }];
    let accepted = data.store.accept(new, day(0)).await.unwrap();
    let claimed = data.store.claim_submissions(Fixture::claim(1), day(0)).await.unwrap().remove(0);
    let message = fixture.message("dms", fixture.first_attempt());
    let processed = Fixture::processed(vec![message]);
    let started = data.store.record_processed(claimed.lease, processed, day(0)).await.unwrap().remove(0);
    // Files are as old as the machine's clock says, so the deletions happen later than that.
    let much_later = 365 * 30;

    let run = async |dry, at| delete(&instance, &data, dry, None, day(at)).await.unwrap();
    let told = |report: &Deleted| -> Vec<(Phase, u32, usize)> {
        report.due.iter().map(|due| (due.phase, due.days, due.blocked.len())).collect()
    };
    assert_eq!(told(&run(false, 30).await), [], "the period is not over");
    assert_eq!(told(&run(false, 31).await), [(Phase::Inhalte, 30, 2)], "delivery under way, no receipt");
    assert!(data.blobs.read(&tenant, &blob, 100).await.is_ok());

    let receipt = Receipt { level: Level::Empfangen, reference: None };
    data.store
        .finish_attempt(started.lease, AttemptEnd::Delivered(receipt), LaneHealth::Unknown, vec![], day(32))
        .await
        .unwrap();
    assert_eq!(told(&run(true, much_later).await), [(Phase::Inhalte, 30, 0)]);
    let detail = data.store.submission(&tenant, accepted.submission_id).await.unwrap();
    assert!(detail.submission.summary.content_deleted_at.is_none(), "a dry run touches nothing");
    let report = run(false, much_later).await;
    assert_eq!(told(&report), [(Phase::Inhalte, 30, 0), (Phase::Metadaten, 90, 0)], "the route's own period");
    assert_eq!(report.removed, Removed { files: 1, bytes: 19 });
    assert!(data.blobs.read(&tenant, &blob, 100).await.is_err(), "the file is gone");
    let gone = data.store.submission(&tenant, accepted.submission_id).await;
    assert_eq!(gone.unwrap_err(), StoreError::NotFound);
    assert_eq!(data.store.deletions(&tenant, 10).await.unwrap().len(), 2);
    let query = RetentionQuery {
        tenant,
        phase: Phase::Inhalte,
        received_before: Zeitpunkt::MAX,
        after: None,
        limit: 10,
    };
    assert_eq!(data.store.retention_candidates(query).await.unwrap(), []);
}
