// SPDX-License-Identifier: EUPL-1.2
//! What is particular to the PostgreSQL store: several processes at once, processes that go away, the schema's
//! version, a server that cannot be relied upon. Each test has a server of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kop_core::{LaneHealth, Receipt, SettleAt, sendung::Level};

use super::{PostgresStore, ProcessRole, schema};
use crate::{
    NewSubmission, Store, StoreError, SubmissionFilter,
    conformance::{Fixture, LEASE},
    postgres::pool::Connector,
    steps::AttemptEnd,
    testkit::TestPostgres,
};

async fn serve(url: &str) -> PostgresStore {
    PostgresStore::serve(url, ProcessRole::All).await.unwrap()
}

/// Runs statements beside the store.
async fn by_hand(url: &str, sql: &str) {
    Connector::new(url).unwrap().connect().await.unwrap().batch(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn does_what_every_store_must() {
    let Some(server) = TestPostgres::start() else { return };
    let mut number = 0;
    let suite = crate::conformance::run(async || {
        number += 1;
        serve(&server.database(&format!("fall{number}"))).await
    });
    Box::pin(suite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_the_work_and_do_nothing_twice() {
    const ROUNDS: usize = 60;
    let Some(server) = TestPostgres::start() else { return };
    let url = server.database("kop");
    let fixture = Arc::new(Fixture::default());
    let stores: Vec<_> = [serve(&url).await, serve(&url).await, serve(&url).await].map(Arc::new).into();
    let accepting: Vec<_> = (0..ROUNDS * 3)
        .map(|place| {
            // Everything is handed in at three doors at once.
            let (store, fixture) = (stores[place % 3].clone(), fixture.clone());
            tokio::spawn(async move {
                let new = fixture.submission("nord", &(place / 3).to_string(), "x");
                store.accept(new, Fixture::at(0)).await.unwrap()
            })
        })
        .collect();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for accepted in accepting {
        *numbers.entry(accepted.await.unwrap().vorgangsnummer).or_default() += 1;
    }
    let expected: Vec<_> = (1..=ROUNDS).map(|number| (format!("MUS-2026-{number:06}"), 3)).collect();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), expected, "each once, no number left out");

    let mut claimed = Vec::new();
    while claimed.len() < ROUNDS {
        let claim = |store: &Arc<PostgresStore>| {
            let store = store.clone();
            tokio::spawn(
                async move { store.claim_submissions(Fixture::claim(7), Fixture::at(1)).await.unwrap() },
            )
        };
        for one in stores.iter().map(claim).collect::<Vec<_>>() {
            claimed.extend(one.await.unwrap());
        }
    }
    let ids: BTreeSet<_> = claimed.iter().map(|one| one.lease.submission_id.to_string()).collect();
    assert_eq!((ids.len(), claimed.len()), (ROUNDS, ROUNDS), "nobody gets what another has");

    // All of them want a place of the same lane, in the same moment.
    let started: Vec<_> = claimed
        .into_iter()
        .enumerate()
        .map(|(place, one)| {
            let (store, fixture) = (stores[place % 3].clone(), fixture.clone());
            tokio::spawn(async move {
                let mut first = fixture.first_attempt().unwrap();
                first.limits.places = 5;
                let message = fixture.message("bauaufsicht", Some(first));
                store
                    .record_processed(one.lease, Fixture::processed(vec![message]), Fixture::at(2))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut under_way = Vec::new();
    for one in started {
        under_way.extend(one.await.unwrap());
    }
    assert_eq!(under_way.len(), 5, "machines together stay within the lane's places");
    let full = stores[0].claim_deliveries(Fixture::claim_deliveries(50, 5), Fixture::at(3)).await.unwrap();
    assert!(full.is_empty());
    for one in under_way {
        let retry = AttemptEnd::Retry { at: Fixture::at(900), problem: Fixture::problem("KOP-TEST") };
        stores[1]
            .finish_attempt(one.lease, retry, kop_core::LaneHealth::Unknown, Vec::new(), Fixture::at(4))
            .await
            .unwrap();
    }
    let claim = |store: &Arc<PostgresStore>| {
        let store = store.clone();
        tokio::spawn(async move {
            store.claim_deliveries(Fixture::claim_deliveries(50, 5), Fixture::at(5)).await.unwrap().len()
        })
    };
    let mut taken = 0;
    for one in stores.iter().map(claim).collect::<Vec<_>>() {
        taken += one.await.unwrap();
    }
    assert_eq!(taken, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_had_leased_is_freed_and_a_living_ones_is_not() {
    let Some(server) = TestPostgres::start() else { return };
    let url = server.database("kop");
    let fixture = Fixture::default();
    let (dead, living) = (serve(&url).await, serve(&url).await);
    fixture.delivered_to(&dead, "nord", "läuft", &["eins"], Fixture::at(0)).await;
    let (_, running) = fixture.start_one(&dead, Fixture::at(1)).await;
    fixture.delivered_to(&dead, "nord", "lebt", &["zwei"], Fixture::at(2)).await;
    let (_, alive) = fixture.start_one(&living, Fixture::at(3)).await;
    let open = dead.accept(fixture.submission("nord", "offen", "x"), Fixture::at(3)).await.unwrap();
    let stale = dead.claim_submissions(Fixture::claim(1), Fixture::at(4)).await.unwrap().remove(0);

    // The database goes away for a moment: nobody is dead because of that.
    server.down("immediate").unwrap();
    server.up().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while dead.counts(None).await.is_err() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(living.recover(LEASE, 10, Fixture::at(5)).await.unwrap().is_empty());

    drop(dead);
    let mut recovered = Vec::new();
    let until = Instant::now() + Duration::from_secs(30);
    while recovered.is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
        recovered = living.recover(LEASE, 10, Fixture::at(5)).await.unwrap();
    }
    assert_eq!(recovered.len(), 1, "the living one's attempt is its own");
    assert_eq!(recovered[0].attempt.attempt_id, running.attempt_id);
    let again = living.claim_submissions(Fixture::claim(5), Fixture::at(6)).await.unwrap();
    assert_eq!(again[0].submission.summary.submission_id, open.submission_id);
    let late = living.record_processed(stale.lease, Fixture::processed(vec![]), Fixture::at(6)).await;
    assert_eq!(late.unwrap_err(), StoreError::StaleLease);
    let retry = AttemptEnd::Retry { at: Fixture::at(9), problem: Fixture::problem("KOP-TEST") };
    let late = living
        .finish_attempt(
            running.lease,
            retry.clone(),
            kop_core::LaneHealth::Unknown,
            Vec::new(),
            Fixture::at(7),
        )
        .await;
    assert_eq!(late.unwrap_err(), StoreError::StaleLease);
    living
        .finish_attempt(alive.lease, retry, kop_core::LaneHealth::Unknown, Vec::new(), Fixture::at(7))
        .await
        .unwrap();
    assert!(living.somebody_works().await.unwrap());
    living.leave().await;
    assert!(!living.somebody_works().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_and_an_unsafe_server_are_refused() {
    let Some(server) = TestPostgres::start() else { return };
    let url = server.database("kop");
    drop(serve(&url).await);
    by_hand(&url, "UPDATE kop_schema SET version = version + 1").await;
    let newer = StoreError::NewerSchema { found: schema::VERSION + 1, known: schema::VERSION };
    assert_eq!(PostgresStore::serve(&url, ProcessRole::All).await.err(), Some(newer.clone()));
    assert_eq!(PostgresStore::attach(&url).await.err(), Some(newer));

    by_hand(&url, "UPDATE kop_schema SET version = version - 1").await;
    by_hand(&url, "ALTER SYSTEM SET fsync = off").await;
    by_hand(&url, "SELECT pg_reload_conf()").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = PostgresStore::serve(&url, ProcessRole::All).await.err();
    assert!(matches!(refused, Some(StoreError::Database(text)) if text.contains("fsync")));
    let encrypted = PostgresStore::attach(&format!("{url}?sslmode=require")).await.err().unwrap();
    assert!(matches!(encrypted, StoreError::Database(_)), "never silently in plain: {encrypted}");
    let secret = PostgresStore::attach("postgresql://kop:geheim@127.0.0.1:1/kop").await.err().unwrap();
    assert!(!secret.to_string().contains("geheim"), "{secret}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_claims_nothing_and_texts_of_any_kind_are_kept() {
    let Some(server) = TestPostgres::start() else { return };
    let url = server.database("kop");
    let store = PostgresStore::attach(&url).await.unwrap();
    let fixture = Fixture::default();
    let mut hostile = fixture.submission("nord", "a\0b", "x");
    hostile.form_name = Some("nul\0".to_owned());
    store.accept(hostile, Fixture::at(0)).await.unwrap();
    assert!(store.accept(fixture.submission("nord", "a\0b", "x"), Fixture::at(0)).await.unwrap().repeated);
    let mut broken = fixture.submission("nord", "kaputt", "x");
    broken.document = Box::new(|_| panic!("a mistake of the caller"));
    assert!(matches!(store.accept(broken, Fixture::at(0)).await, Err(StoreError::Document(_))));
    let next = store.accept(fixture.submission("nord", "gut", "x"), Fixture::at(0)).await.unwrap();
    assert_eq!(next.vorgangsnummer, "MUS-2026-000002", "a failed step uses up no number");
    assert_eq!(store.submissions(SubmissionFilter::default()).await.unwrap().items.len(), 2);
    let refused = store.claim_submissions(Fixture::claim(1), Fixture::at(1)).await;
    assert!(matches!(refused, Err(StoreError::NotPossible(_))));
}

/// Measured in release builds only; here it proves that many at once are all stored, once.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_all_stored() {
    let Some(server) = TestPostgres::start() else { return };
    let store = Arc::new(serve(&server.database("kop")).await);
    let fixture = Arc::new(Fixture::default());
    let rounds: u32 = if cfg!(debug_assertions) { 3 } else { 100 };
    for tenants in [1, 50] {
        let clock = Instant::now();
        let tasks: Vec<_> = (0..50)
            .map(|task| {
                let (store, fixture) = (store.clone(), fixture.clone());
                let tenant = format!("mandant{tenants}-{}", task % tenants);
                tokio::spawn(async move {
                    for number in 0..rounds {
                        let new = fixture.submission(&tenant, &format!("{task}-{number}"), "x");
                        store.accept(new, Fixture::at(0)).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = 50.0 * f64::from(rounds) / clock.elapsed().as_secs_f64();
        eprintln!("accepts/s with 50 at once of {tenants} tenants: {rate:.0}");
    }
    let counts = store.counts(None).await.unwrap();
    assert_eq!(counts.submissions["eingegangen"], 100 * u64::from(rounds));
}

/// Two attempts of one submission that end at the same moment, and its source bringing it once more: whichever comes
/// last, what waited for both is due.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_last_has_the_source_told() {
    const ROUNDS: usize = 40;
    let Some(server) = TestPostgres::start() else { return };
    let url = server.database("kop");
    let stores = [serve(&url).await, serve(&url).await, serve(&url).await];
    let (fixture, tenant) = (Fixture::default(), Fixture::tenant("nord"));
    let new = |key: &str, ticket: &str| NewSubmission {
        settlement: Some(fixture.settlement(ticket, SettleAt::Zugestellt, None)),
        ..fixture.submission("nord", key, key)
    };
    for round in 0..ROUNDS {
        let key = round.to_string();
        let at = Fixture::at(i64::try_from(round).unwrap() * 10);
        let id = stores[0].accept(new(&key, "a"), at).await.unwrap().submission_id;
        let claimed = stores[0].claim_submissions(Fixture::claim(1), at).await.unwrap().remove(0);
        let messages = vec![fixture.message("amt", None), fixture.message("dms", None)];
        stores[0].record_processed(claimed.lease, Fixture::processed(messages), at).await.unwrap();
        let claimed = stores[0].claim_deliveries(Fixture::claim_deliveries(9, 9), at).await.unwrap();
        let mut leases = Vec::new();
        for one in claimed.iter().filter(|one| one.delivery.settles.is_none()) {
            leases.push(stores[0].start_attempt(&one.lease, fixture.attempt(), at).await.unwrap().lease);
        }
        let receipt = || AttemptEnd::Delivered(Receipt { level: Level::Uebergeben, reference: None });
        let end = |store: usize, lease| {
            stores[store].finish_attempt(lease, receipt(), LaneHealth::Well, Vec::new(), at)
        };
        let (second, first) = (leases.remove(1), leases.remove(0));
        let (one, two, again) =
            tokio::join!(end(0, first), end(1, second), stores[2].accept(new(&key, "b"), at));
        one.and(two).unwrap();
        assert!(again.unwrap().repeated);
        let detail = stores[0].submission(&tenant, id).await.unwrap();
        let waits: Vec<_> =
            detail.deliveries.iter().filter_map(|one| one.settles).map(|one| one.waits).collect();
        assert_eq!(waits, [false, false], "round {round}");
    }
}

/// A store whose process can die. What it had leased is freed at once, as others do it after some seconds.
struct Dying<'a> {
    runtime: &'a tokio::runtime::Runtime,
    url: String,
    store: Option<PostgresStore>,
}

impl Dying<'_> {
    /// The model runs within a runtime of its own, which must not wait for another one.
    fn beside<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        std::thread::scope(|scope| scope.spawn(|| self.runtime.block_on(work)).join().unwrap())
    }

    fn begin(mut self) -> Self {
        self.store = Some(self.beside(serve(&self.url)));
        self
    }
}

impl crate::model::Subject for Dying<'_> {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    fn crash(&mut self) {
        let store = self.store.take().unwrap();
        self.beside(async move { store.leave().await });
        self.store = Some(self.beside(serve(&self.url)));
    }
}

#[test]
fn random_steps_keep_to_the_state_machine() {
    let Some(server) = TestPostgres::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let number = std::cell::Cell::new(0);
    let fresh = || {
        number.set(number.get() + 1);
        let url = server.database(&format!("lauf{}", number.get()));
        Dying { runtime: &runtime, url, store: None }.begin()
    };
    // A run takes ten times as long as on SQLite.
    if let Err(found) = crate::model::check(crate::model::cases() / 2, None, fresh) {
        panic!("{found}");
    }
}
