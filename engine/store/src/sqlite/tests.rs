// SPDX-License-Identifier: EUPL-1.2
//! What is particular to the SQLite store: commits, restarts, the lock, the schema's version.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;

use super::{DATABASE_FILE, SqliteStore, query, schema, turn};
use crate::{
    DataFolder, Store, StoreError, SubmissionFilter, SubmissionState,
    conformance::Fixture,
    model,
    retention::{Deletion, Phase},
    steps::{AttemptEnd, SubmissionClaim},
};

fn serve(folder: &Path) -> SqliteStore {
    SqliteStore::serve(folder).unwrap()
}

#[tokio::test]
async fn does_what_every_store_must() {
    let mut folders: Vec<TempDir> = Vec::new();
    crate::conformance::run(async || {
        folders.push(tempfile::tempdir().unwrap());
        serve(folders.last().unwrap().path())
    })
    .await;
}

/// The writing thread is held up while steps pile up; then they run as one group.
async fn hold(store: &Arc<SqliteStore>) -> std::sync::mpsc::Sender<()> {
    let (go, wait) = std::sync::mpsc::channel();
    let (running, is_running) = tokio::sync::oneshot::channel();
    let held = store.clone();
    tokio::spawn(async move {
        held.writer
            .run(move |_| {
                let _ = running.send(());
                let _ = wait.recv();
                Ok(())
            })
            .await
    });
    is_running.await.unwrap();
    go
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_steps_are_committed_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(serve(folder.path()));
    let fixture = Fixture::default();
    let go = hold(&store).await;
    let waiting: Vec<_> = (0..50)
        .map(|number| {
            let new = fixture.submission("nord", &number.to_string(), "x");
            let store = store.clone();
            tokio::spawn(async move { store.accept(new, Fixture::at(0)).await })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(waiting.iter().all(|step| !step.is_finished()), "nobody is answered before the commit");
    go.send(()).unwrap();
    for step in waiting {
        step.await.unwrap().unwrap();
    }
    assert_eq!(store.commits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_fails_every_step_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(serve(folder.path()));
    store
        .writer
        .run(|conn| {
            conn.execute_batch(
                "CREATE TABLE parent (id INTEGER PRIMARY KEY);
                 CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    let fixture = Fixture::default();
    let go = hold(&store).await;
    let accept = |key: &str| {
        let (store, new) = (store.clone(), fixture.submission("nord", key, "x"));
        tokio::spawn(async move { store.accept(new, Fixture::at(0)).await })
    };
    let before = accept("A");
    // Violated only when the transaction ends: the COMMIT itself is refused.
    let poison = {
        let store = store.clone();
        tokio::spawn(async move {
            store.writer.run(|conn| Ok(conn.execute("INSERT INTO child VALUES (1)", [])?)).await
        })
    };
    let after = accept("B");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    go.send(()).unwrap();
    assert!(matches!(before.await.unwrap(), Err(StoreError::Database(_))));
    assert!(matches!(poison.await.unwrap(), Err(StoreError::Database(_))));
    assert!(matches!(after.await.unwrap(), Err(StoreError::Database(_))));
    assert!(store.submissions(SubmissionFilter::default()).await.unwrap().items.is_empty());
    assert_eq!(accept("A").await.unwrap().unwrap().vorgangsnummer, "MUS-2026-000001");
}

#[tokio::test]
async fn a_failing_step_does_not_touch_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(folder.path());
    let fixture = Fixture::default();
    let mut broken = fixture.submission("nord", "A", "x");
    broken.document = Box::new(|_| Err("cannot be rendered".to_owned()));
    let mut hostile = fixture.submission("nord", "B", "x");
    hostile.document = Box::new(|_| panic!("a mistake of the caller"));
    let good = fixture.submission("nord", "C", "x");
    let now = Fixture::at(0);
    let (broken, hostile, good) =
        tokio::join!(store.accept(broken, now), store.accept(hostile, now), store.accept(good, now));
    assert!(matches!(broken, Err(StoreError::Document(_))));
    assert!(matches!(hostile, Err(StoreError::Database(_))));
    assert_eq!(good.unwrap().vorgangsnummer, "MUS-2026-000001", "a failed step uses up no number");
}

#[tokio::test]
async fn a_restart_keeps_what_was_and_ends_old_leases() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::default();
    let store = serve(folder.path());
    fixture.delivered_to(&store, "nord", "wartet", &["eins"], Fixture::at(0)).await;
    let (_, started) = fixture.start_one(&store, Fixture::at(1)).await;
    let retry = AttemptEnd::Retry { at: Fixture::at(3600), problem: Fixture::problem("KOP-TEST") };
    store
        .finish_attempt(started.lease, retry, kop_core::LaneHealth::Unknown, Vec::new(), Fixture::at(2))
        .await
        .unwrap();
    fixture.delivered_to(&store, "nord", "läuft", &["zwei"], Fixture::at(3)).await;
    let (_, running) = fixture.start_one(&store, Fixture::at(4)).await;
    let open = store.accept(fixture.submission("nord", "offen", "x"), Fixture::at(5)).await.unwrap();
    let stale = store.claim_submissions(Fixture::claim(1), Fixture::at(5)).await.unwrap().remove(0);
    drop(store);

    let store = serve(folder.path());
    let late = store.record_processed(stale.lease, Fixture::processed(vec![]), Fixture::at(6)).await;
    assert_eq!(late.unwrap_err(), StoreError::StaleLease);
    let again = store.claim_submissions(Fixture::claim(5), Fixture::at(6)).await.unwrap();
    assert_eq!(again[0].submission.summary.submission_id, open.submission_id);
    let interrupted = store.recover(crate::conformance::LEASE, 10, Fixture::at(6)).await.unwrap();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(interrupted[0].attempt.attempt_id, running.attempt_id);
    let late = store.finish_attempt(
        running.lease,
        AttemptEnd::Retry { at: Fixture::at(7), problem: Fixture::problem("KOP-TEST") },
        kop_core::LaneHealth::Unknown,
        Vec::new(),
        Fixture::at(7),
    );
    assert_eq!(late.await.unwrap_err(), StoreError::StaleLease);
    let early = store.claim_deliveries(Fixture::claim_deliveries(5, 5), Fixture::at(3599)).await.unwrap();
    assert!(early.is_empty(), "the backoff goes on where it was");
    let (_, second) = fixture.start_one(&store, Fixture::at(3600)).await;
    assert_eq!(second.number, 2);
}

#[tokio::test]
async fn only_one_process_serves_others_may_look_and_act() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(SqliteStore::attach(folder.path()).err(), Some(StoreError::NotFound));
    let serving = DataFolder::serve_plain(folder.path()).unwrap();
    let second = DataFolder::serve_plain(folder.path()).err().unwrap();
    assert!(matches!(second, StoreError::InUse(_)));
    assert_eq!(second.diagnostic().code, "KOP-S002");

    let fixture = Fixture::default();
    let accepted = serving.store.accept(fixture.submission("nord", "A", "x"), Fixture::at(0)).await.unwrap();
    let beside = DataFolder::attach(folder.path(), Arc::new(crate::NoKeys)).unwrap();
    let tenant = Fixture::tenant("nord");
    assert!(beside.store.submission(&tenant, accepted.submission_id).await.is_ok());
    beside.store.accept(fixture.submission("nord", "B", "x"), Fixture::at(0)).await.unwrap();
    let claim = SubmissionClaim { only: None, ..Fixture::claim(1) };
    let refused = beside.store.claim_submissions(claim.clone(), Fixture::at(1)).await;
    assert!(matches!(refused, Err(StoreError::NotPossible(_))));
    assert_eq!(serving.store.claim_submissions(claim, Fixture::at(1)).await.unwrap().len(), 1);
    drop((beside, serving));
    assert!(DataFolder::serve_plain(folder.path()).is_ok());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(serve(folder.path()));
    let path = folder.path().join(DATABASE_FILE);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    drop(conn);
    let bytes = std::fs::read(&path).unwrap();
    let newer = StoreError::NewerSchema { found: schema::VERSION + 1, known: schema::VERSION };
    assert_eq!(SqliteStore::serve(folder.path()).err(), Some(newer.clone()));
    assert_eq!(SqliteStore::attach(folder.path()).err(), Some(newer));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// A table scan would show only once there are many rows.
#[tokio::test]
async fn questions_use_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(folder.path());
    let mut questions = vec![
        ("delivery_wake", "SELECT min(due_at) FROM delivery WHERE due_at > 5".to_owned(), vec![]),
        (
            "submission_wake",
            "SELECT EXISTS (SELECT 1 FROM submission WHERE state = 'eingegangen' AND due_at <= 5)".to_owned(),
            vec![],
        ),
        (
            "delivery_due",
            "SELECT tenant, lane FROM delivery WHERE due_at IS NOT NULL AND (tenant, lane) > ('a', 'b')
             ORDER BY tenant, lane LIMIT 1"
                .to_owned(),
            vec![],
        ),
    ];
    let of_tenant = SubmissionFilter {
        tenant: Some(Fixture::tenant("nord")),
        since: Some(Fixture::at(0)),
        after: Some("1790000000000000.00000000-0000-8000-8000-000000000001".parse().unwrap()),
        ..SubmissionFilter::default()
    };
    for (index, filter) in [
        ("submission_received", of_tenant.clone()),
        ("submission_all", SubmissionFilter { tenant: None, ..of_tenant.clone() }),
        ("submission_form", SubmissionFilter { form_id: Some("f".into()), ..of_tenant.clone() }),
        (
            "submission_state",
            SubmissionFilter { state: Some(SubmissionState::Klaerung), ..of_tenant.clone() },
        ),
        ("message_receiver", SubmissionFilter { receiver: Some("dms".into()), ..of_tenant }),
    ] {
        let (sql, values) = query::list_sql(&filter, 51);
        questions.push((index, sql, values));
    }
    for (index, sql, values) in questions {
        let plan = store
            .readers
            .run(move |conn| {
                let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let lines = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3))?;
                Ok(lines.collect::<Result<Vec<String>, _>>()?.join("; "))
            })
            .await
            .unwrap();
        assert!(plan.contains(index) && !plan.contains("FOR ORDER BY"), "{index}: {plan}");
    }
}

#[tokio::test]
async fn numbers_come_from_what_is_open_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(folder.path());
    for (sql, indexes) in [
        (super::gauges::SUBMISSIONS, &["submission_due"][..]),
        (super::gauges::DELIVERIES, &["delivery_due", "delivery_leased", "sqlite_autoindex_message_1"]),
        (super::gauges::CAUSES, &["work_item_open"]),
    ] {
        let plan = store
            .readers
            .run(move |conn| {
                let mut statement =
                    conn.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.replace("?1", "5")))?;
                let lines = statement.query_map([], |row| row.get(3))?;
                Ok(lines.collect::<Result<Vec<String>, _>>()?)
            })
            .await
            .unwrap();
        let on_tables = plan.iter().filter(|line| line.starts_with("SCAN") && !line.ends_with(" d"));
        for line in on_tables.clone() {
            assert!(line.contains(" USING "), "{line}");
        }
        for index in indexes {
            assert!(plan.iter().any(|line| line.contains(index)), "{index}: {plan:?}");
        }
    }
}

/// Every processed submission and every end in an ordered lane asks these.
#[test]
fn a_turn_costs_the_same_however_much_waits() {
    let mut conn = rusqlite::Connection::open_in_memory().unwrap();
    schema::migrate(&mut conn).unwrap();
    let mut steps = Vec::new();
    for waiting in [10, 10_000] {
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT OR IGNORE INTO delivery (tenant, delivery_id, message_id, submission_id, lane, state, order_key,
                position, queued, holds)
            SELECT 'nord', i, 'M', 'S', 'amt' || (i % 2), 'wartend', '', i, 1, 1 FROM n";
        conn.execute(fill, [waiting]).unwrap();
        let mut cost = |sql: &str, values: &[&str]| {
            let mut statement = conn.prepare(sql).unwrap();
            let found: Vec<rusqlite::types::Value> = statement
                .query_map(rusqlite::params_from_iter(values), |row| row.get(0))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            steps.push((found, statement.get_status(rusqlite::StatementStatus::VmStep)));
        };
        cost(turn::WAITING, &["nord", ""]);
        cost(turn::UNDER_WAY, &["nord", "amt1", ""]);
    }
    let (many, few) = (steps.split_off(2), steps);
    assert_eq!(many, few);
    assert_eq!(few[0].0, ["amt0".to_owned().into(), "amt1".to_owned().into()]);
}

/// Measured in release builds only; here it proves that many at once are all stored, once.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_all_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(serve(folder.path()));
    let fixture = Arc::new(Fixture::default());
    let rounds: u32 = if cfg!(debug_assertions) { 10 } else { 400 };
    let clock = std::time::Instant::now();
    for number in 0..rounds {
        store.accept(fixture.submission("einzeln", &number.to_string(), "x"), Fixture::at(0)).await.unwrap();
    }
    let single = f64::from(rounds) / clock.elapsed().as_secs_f64();
    let clock = std::time::Instant::now();
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let (store, fixture) = (store.clone(), fixture.clone());
            tokio::spawn(async move {
                for number in 0..rounds {
                    let new = fixture.submission("viele", &format!("{task}-{number}"), "x");
                    store.accept(new, Fixture::at(0)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let together = 50.0 * f64::from(rounds) / clock.elapsed().as_secs_f64();
    let counts = store.counts(Some(&Fixture::tenant("viele"))).await.unwrap();
    assert_eq!(counts.submissions["eingegangen"], 50 * u64::from(rounds));
    eprintln!(
        "accepts/s: {single:.0} one at a time, {together:.0} with 50 at once, {} commits",
        store.commits()
    );
}

/// A store whose process can die: closed without a word, then served again.
struct Dying {
    store: Option<SqliteStore>,
    folder: TempDir,
}

impl Dying {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Some(serve(folder.path())), folder }
    }
}

impl model::Subject for Dying {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    fn crash(&mut self) {
        self.store = None;
        self.store = Some(serve(self.folder.path()));
    }
}

#[test]
fn random_steps_keep_to_the_state_machine() {
    if let Err(found) = model::check(model::cases(), None, Dying::new) {
        panic!("{found}");
    }
}

#[test]
fn the_model_finds_mistakes() {
    for mistake in model::Mistake::ALL {
        assert!(model::check(256, Some(mistake), Dying::new).is_err(), "{mistake:?} goes unnoticed");
    }
}

/// What is deleted leaves the file: it is shorter, and nothing of it can be found in file or log.
#[tokio::test]
async fn deleted_contents_leave_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(folder.path());
    let fixture = Fixture::default();
    let secret = "Mustermann-Geheim";
    let mut ids = Vec::new();
    for number in 0..40 {
        let mut new = fixture.submission("nord", &number.to_string(), "x");
        new.document = Box::new(move |_| Ok(secret.repeat(2000).into_bytes()));
        ids.push(store.accept(new, Fixture::at(0)).await.unwrap().submission_id);
    }
    for claimed in store.claim_submissions(Fixture::claim(100), Fixture::at(1)).await.unwrap() {
        store.record_processed(claimed.lease, Fixture::processed(vec![]), Fixture::at(1)).await.unwrap();
    }
    store.release_space(u64::MAX).await.unwrap();
    let size = || std::fs::metadata(folder.path().join(DATABASE_FILE)).unwrap().len();
    let holds = || {
        std::fs::read_dir(folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
        })
    };
    let before = size();
    assert!(holds() && before > 40 * 30_000, "{before}");
    for submission_id in ids {
        let deletion = Deletion {
            tenant: Fixture::tenant("nord"),
            submission_id,
            phase: Phase::Inhalte,
            demands: Vec::new(),
            days: 1,
        };
        store.delete(deletion, Fixture::at(2)).await.unwrap();
    }
    let first = store.release_space(100_000).await.unwrap();
    assert!(first > 0 && first <= 100_000, "{first}");
    while store.release_space(400_000).await.unwrap() > 0 {}
    assert!(size() < before / 4, "{before} → {}", size());
    assert!(!holds(), "deleted contents can still be read in the files");
}

/// A file from before deletion existed is written anew once and then gives space back like a new one.
#[test]
fn an_older_file_learns_to_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let conn = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    conn.execute_batch(include_str!("0001.sql")).unwrap();
    conn.execute_batch(
        "INSERT INTO submission VALUES ('nord', 'S', 'V', 'N', 'q', 'k', 'h', NULL, NULL, NULL, 0, 'verarbeitet', 0,
             0, 0, 0, '[{\"key\":\"a\",\"blob\":{\"sha256\":\"aa\",\"size\":1}}]', x'7b7d');
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(conn);
    drop(serve(folder.path()));
    let conn = rusqlite::Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("PRAGMA auto_vacuum"), 2);
    assert_eq!(number("SELECT count(*) FROM blob_ref WHERE sha256 = 'aa'"), 1, "what it names is known");
}
