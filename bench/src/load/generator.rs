// SPDX-License-Identifier: EUPL-1.2
//! Applications on their way to the door, each another one. At a fixed rate the time of an answer counts from the
//! moment at which the application was due, so that a server that falls behind cannot hide it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::client::Pool;
use crate::{Error, instance::bauantrag};

/// The application's id in the example.
const ID: &str = "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521";
const PATH: &str = "/musterstadt/antrag";
const CONTENT_TYPE: &str = "multipart/form-data; boundary=kop-antrag";

/// One application.
pub struct Sent {
    /// When it was due.
    pub due: Instant,
    /// How long after that it was answered.
    pub answered: Duration,
    /// Its Vorgangsnummer; `None` when it was refused or the connection failed.
    pub number: Option<String>,
}

/// Sends applications to one server.
pub struct Generator {
    pool: Pool,
    text: String,
    next: AtomicUsize,
}

impl Generator {
    /// For the server at an address. `first`: the number of the first application; no two runs on the same data may
    /// share one.
    ///
    /// # Errors
    /// When the example lacks its application.
    pub fn new(address: SocketAddr, first: usize) -> Result<Arc<Self>, Error> {
        let form = std::fs::read_to_string(bauantrag())?;
        let text = format!(
            "--kop-antrag\r\nContent-Disposition: form-data; name=\"formData\"\r\n\
             Content-Type: application/json\r\n\r\n{form}\r\n--kop-antrag--\r\n"
        );
        Ok(Arc::new(Self { pool: Pool::new(address), text, next: AtomicUsize::new(first) }))
    }

    /// `rate` applications a second for as long as `length`, come what may.
    pub async fn at_rate(self: &Arc<Self>, rate: u32, length: Duration) -> Vec<Sent> {
        let begin = Instant::now() + Duration::from_millis(20);
        let count = (length.as_secs_f64() * f64::from(rate)).round();
        let mut under_way = JoinSet::new();
        let mut number = 0.0;
        while number < count {
            let due = begin + Duration::from_secs_f64(number / f64::from(rate));
            tokio::time::sleep_until(due.into()).await;
            let own = self.clone();
            under_way.spawn(async move { own.send(due).await });
            number += 1.0;
        }
        under_way.join_all().await
    }

    /// `count` applications as fast as `senders` get them answered.
    pub async fn flood(self: &Arc<Self>, count: usize, senders: usize) -> Vec<Sent> {
        let left = Arc::new(AtomicUsize::new(count));
        let mut under_way = JoinSet::new();
        for _ in 0..senders {
            let (own, left) = (self.clone(), left.clone());
            under_way.spawn(async move {
                let mut sent = Vec::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    sent.push(own.send(Instant::now()).await);
                }
                sent
            });
        }
        under_way.join_all().await.into_iter().flatten().collect()
    }

    async fn send(&self, due: Instant) -> Sent {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let body = self.text.replace(ID, &format!("c1f0b7d4-52c8-4c36-8a14-{n:012}"));
        let answer = self.pool.post(PATH, CONTENT_TYPE, body.as_bytes()).await;
        let answered = due.elapsed();
        let number = match answer {
            Ok((200, body)) => super::receiver::number(&body),
            _ => None,
        };
        Sent { due, answered, number }
    }
}
