// SPDX-License-Identifier: EUPL-1.2
//! A connection that breaks at the worst moment: the COMMIT came through, its answer does not. Whoever was told nothing
//! tells the step again, and nothing is lost, done twice, or left to nobody.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kop_core::{LaneHealth, Receipt, sendung::Level};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{PostgresStore, ProcessRole};
use crate::{
    Store, StoreError,
    conformance::{Fixture, LEASE},
    records::DeliveryState,
    steps::AttemptEnd,
    testkit::TestPostgres,
};

/// The word by which a step ends, as PostgreSQL's protocol ends a text.
const COMMIT: &[u8] = b"COMMIT\0";

/// Stands between store and server.
struct Between {
    url: String,
    /// Loses the answer to the next COMMIT, together with its connection.
    armed: Arc<AtomicBool>,
}

impl Between {
    async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let url = url.replace(&server, &listener.local_addr().unwrap().to_string());
        let armed = Arc::new(AtomicBool::new(false));
        let (armed_too, to) = (armed.clone(), server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(relay(client, server, armed_too.clone()));
            }
        });
        Self { url, armed }
    }

    fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, armed: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let asked = &asked[..read.unwrap()];
                server.write_all(asked).await.unwrap();
                if asked.ends_with(COMMIT) && armed.swap(false, Ordering::Relaxed) {
                    // It is committed once the server says so.
                    assert!(server.read(&mut answered).await.unwrap() > 0);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                if client.write_all(&answered[..read.unwrap()]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The answer was lost.
fn lost<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(matches!(answer, Err(error @ StoreError::Unreachable(_)) if error.passes()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice() {
    let Some(server) = TestPostgres::start() else { return };
    let between = Between::start(&server.database("kop")).await;
    let store = PostgresStore::serve(&between.url, ProcessRole::All).await.unwrap();
    let fixture = Fixture::default();
    let at = Fixture::at;

    between.arm();
    lost(&store.accept(fixture.submission("nord", "A", "A"), at(0)).await);
    let accepted = store.accept(fixture.submission("nord", "A", "A"), at(0)).await.unwrap();
    assert!(accepted.repeated, "it was stored");

    between.arm();
    lost(&store.claim_submissions(Fixture::claim(9), at(1)).await);
    let claimed = store.claim_submissions(Fixture::claim(9), at(1)).await.unwrap();
    assert_eq!(claimed.len(), 1, "what nobody works on is handed out at once");
    assert_eq!(claimed[0].submission.summary.runs, 1, "the run that never was does not count");

    let messages = vec![fixture.message("amt", fixture.first_attempt()), fixture.message("dms", None)];
    let processed = Fixture::processed(messages);
    between.arm();
    lost(&store.record_processed(claimed[0].lease.clone(), processed.clone(), at(2)).await);
    let started = store.record_processed(claimed[0].lease.clone(), processed, at(2)).await.unwrap();
    assert_eq!(started.len(), 1, "what was started is sent");

    let claim = || Fixture::claim_deliveries(9, 9);
    between.arm();
    lost(&store.claim_deliveries(claim(), at(3)).await);
    let dms = store.claim_deliveries(claim(), at(3)).await.unwrap();
    assert_eq!(dms.len(), 1, "what nobody works on is handed out at once");
    let attempt = fixture.attempt();
    between.arm();
    lost(&store.start_attempt(&dms[0].lease, attempt, at(4)).await);
    assert_eq!(store.start_attempt(&dms[0].lease, attempt, at(4)).await.unwrap().number, 1);

    let receipt = || AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: None });
    let finish =
        async || store.finish_attempt(dms[0].lease.clone(), receipt(), LaneHealth::Well, vec![], at(5)).await;
    between.arm();
    lost(&finish().await);
    assert_eq!(finish().await, Err(StoreError::StaleLease), "the first one counts");
    let detail = store.submission(&Fixture::tenant("nord"), accepted.submission_id).await.unwrap();
    let states: Vec<_> = detail.deliveries.iter().map(|one| (one.lane.as_str(), one.state)).collect();
    assert!(states.contains(&("dms", DeliveryState::Zugestellt)), "{states:?}");

    between.arm();
    lost(&store.recover(LEASE, 9, at(100)).await);
    let recovered = store.recover(LEASE, 9, at(100)).await.unwrap();
    assert_eq!(recovered.len(), 1, "what was started is looked after at once");
    assert_eq!(recovered[0].attempt.attempt_id, started[0].attempt_id);
}
