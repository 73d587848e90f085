// SPDX-License-Identifier: EUPL-1.2
//! An HTTP receiver that writes down every request, and answers as receivers do: mostly well, sometimes with an
//! error, too late, half, or not at all.

use std::{
    convert::Infallible,
    panic,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use kop_tests::Error;
use sha2::{Digest, Sha256};

use super::{Chance, ORDERED};

/// Longer than the engine waits (`zeitlimit_sekunden = 2`).
const TOO_LATE: Duration = Duration::from_millis(2600);

/// Of so many requests in an ordered lane one may fail.
const SPARED: u64 = 12;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Taken, and said so.
    Taken,
    /// Taken, and said so, but the answer broke off after its head.
    TakenHalf,
    /// Taken, and nothing said in time.
    TakenLate,
    /// Taken, and the connection closed without a word.
    TakenSilently,
    /// Refused with 500.
    Failed,
}

/// A request that came in whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) receiver: String,
    pub(crate) key: String,
    pub(crate) hash: String,
    pub(crate) verdict: Verdict,
    /// Microseconds since 1970.
    pub(crate) at: i128,
}

struct Book {
    requests: Vec<Request>,
    chance: Chance,
}

type Shared = Arc<Mutex<Book>>;

pub(crate) struct Recorder {
    pub(crate) base: String,
    book: Shared,
    server: tokio::task::JoinHandle<()>,
}

impl Recorder {
    pub(crate) async fn start(seed: u64) -> Result<Self, Error> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let book = Shared::new(Mutex::new(Book { requests: Vec::new(), chance: Chance(seed) }));
        let app = Router::new().route("/{receiver}", post(take_in)).with_state(book.clone());
        let server = tokio::spawn(async move {
            let _ended = axum::serve(listener, app).await;
        });
        Ok(Self { base, book, server })
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take_in(
    State(book): State<Shared>,
    Path(receiver): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = super::now();
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let verdict = {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind every failure of an ordered lane all others wait, so it gets few.
        let spared = receiver == ORDERED && book.chance.below(SPARED) > 0;
        let verdict = match book.chance.below(100) {
            _ if spared => Verdict::Taken,
            0..65 => Verdict::Taken,
            65..72 => Verdict::TakenHalf,
            72..80 => Verdict::TakenLate,
            80..88 => Verdict::TakenSilently,
            _ => Verdict::Failed,
        };
        let hash = Sha256::digest(&body).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        book.requests.push(Request { receiver, key: key.to_owned(), hash, verdict, at });
        verdict
    };
    match verdict {
        Verdict::Taken => StatusCode::CREATED.into_response(),
        Verdict::TakenHalf => {
            let parts = [Ok::<_, Infallible>(Bytes::from_static(b"{\"angenommen\":"))];
            // More is announced than comes: the connection is closed within the answer.
            (
                [("content-length", "4000"), ("content-type", "application/json")],
                Body::from_stream(stream::iter(parts)),
            )
                .into_response()
        }
        Verdict::TakenLate => {
            tokio::time::sleep(TOO_LATE).await;
            StatusCode::CREATED.into_response()
        }
        // Ends the connection's task without a message, and with it the connection.
        Verdict::TakenSilently => panic::resume_unwind(Box::new(())),
        Verdict::Failed => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
