// SPDX-License-Identifier: EUPL-1.2
//! An HTTP receiver that takes everything and notes when which Vorgangsnummer came.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};

use crate::Error;

/// How every Vorgangsnummer of the example begins.
const PREFIX: &[u8] = b"MUST-";

type Book = Arc<Mutex<HashMap<String, Instant>>>;

/// The receiver.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    book: Book,
}

impl Receiver {
    /// Listens from now on.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> Result<Self, Error> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let book = Book::default();
        let app = Router::new().route("/annahme", post(take_in)).with_state(book.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, book })
    }

    /// What came so far, by Vorgangsnummer.
    pub fn arrived(&self) -> HashMap<String, Instant> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much came so far.
    pub fn count(&self) -> usize {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn take_in(State(book): State<Book>, body: Bytes) -> StatusCode {
    if let Some(number) = number(&body) {
        book.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert_with(Instant::now);
    }
    StatusCode::CREATED
}

/// The first Vorgangsnummer in a text: prefix, year, and digits.
pub fn number(text: &[u8]) -> Option<String> {
    let at = text.windows(PREFIX.len()).position(|part| part == PREFIX)?;
    let rest = &text[at..];
    let end = rest[PREFIX.len()..].iter().position(|byte| !byte.is_ascii_digit() && *byte != b'-');
    let end = end.map_or(rest.len(), |end| end + PREFIX.len());
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
