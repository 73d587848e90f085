// SPDX-License-Identifier: EUPL-1.2
//! Senders that never give up: several at a time, each with another application, sent again until it is answered,
//! and now and then once more after that.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kop_tests::{Error, inputs};
use reqwest::{Client, StatusCode, multipart};
use serde_json::Value;
use tokio::{sync::Notify, task::JoinSet};

use super::Chance;
use crate::TENANT;

/// At the same time.
const SENDERS: u64 = 6;
/// Nobody waits longer for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long without an answer a sender gives up, and the test fails.
const LONGEST: Duration = Duration::from_secs(60);

/// The application's id in the example.
const ID: &str = "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521";

/// Every Vorgangsnummer that was answered, in the order of the answers, by the application's id.
pub(crate) type Answers = BTreeMap<String, Vec<String>>;

struct Shared {
    base: Mutex<String>,
    next: AtomicUsize,
    end: AtomicUsize,
    answers: Mutex<Answers>,
    answered: Notify,
    application: inputs::FormData,
    /// Longest pause after an answer, in milliseconds.
    pause: u64,
    client: Client,
    may_refuse: Option<Refusal>,
    refused: AtomicUsize,
}

/// What a server may say instead of an answer, which asks for another try.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// That it cannot store at present (503), and nothing else.
    Unavailable,
    /// Any error of its own (5xx).
    Any,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    senders: JoinSet<Result<(), String>>,
}

impl Driver {
    /// Starts to send up to `count` applications.
    pub(crate) fn start(
        base: &str,
        count: usize,
        pause: u64,
        seed: u64,
        may_refuse: Option<Refusal>,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            base: Mutex::new(base.to_owned()),
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(count),
            answers: Mutex::default(),
            answered: Notify::new(),
            application: inputs::bauantrag()?,
            pause,
            client: Client::builder().no_proxy().timeout(PATIENCE).build()?,
            may_refuse,
            refused: AtomicUsize::new(0),
        });
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send_all(shared.clone(), Chance(seed ^ sender)));
        }
        Ok(Self { shared, senders })
    }

    /// The server came back under another address.
    pub(crate) fn now_at(&self, base: &str) {
        base.clone_into(&mut self.shared.base.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until somebody is answered, or the time is over.
    pub(crate) async fn next_answer(&self, limit: Duration) {
        let _over = tokio::time::timeout(limit, self.shared.answered.notified()).await;
    }

    /// How many have been answered so far, and how often the server said that it cannot store.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        (answers.values().map(Vec::len).sum(), self.shared.refused.load(Ordering::Relaxed))
    }

    /// How many were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until every application was sent and answered.
    pub(crate) async fn all(mut self) -> Result<Answers, Error> {
        while let Some(ended) = self.senders.join_next().await {
            ended??;
        }
        Ok(self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Begins nothing new, waits until everything is answered.
    pub(crate) async fn end(self) -> Result<Answers, Error> {
        self.shared.end.store(0, Ordering::Relaxed);
        self.all().await
    }
}

async fn send_all(shared: Arc<Shared>, mut chance: Chance) -> Result<(), String> {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.end.load(Ordering::Relaxed) {
            return Ok(());
        }
        let id = format!("c1f0b7d4-0000-0000-0000-{number:012}");
        let times = if chance.below(5) == 0 { 2 } else { 1 };
        for _ in 0..times {
            let until = Instant::now() + LONGEST;
            loop {
                if let Some(answered) = send(&shared, &id).await? {
                    let mut answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.entry(id.clone()).or_default().push(answered);
                    shared.answered.notify_waiters();
                    break;
                }
                if Instant::now() > until {
                    return Err(format!("{id} blieb {LONGEST:?} ohne Antwort"));
                }
                tokio::time::sleep(Duration::from_millis(20 + chance.below(80))).await;
            }
            tokio::time::sleep(Duration::from_millis(chance.below(shared.pause))).await;
        }
    }
}

/// One try; `None` when no answer came. An answer other than success is a mistake at any time, but for one that asks
/// for another try where that may be.
async fn send(shared: &Shared, id: &str) -> Result<Option<String>, String> {
    let wrong = |error: reqwest::Error| error.to_string();
    let application = shared.application.clone();
    let mut form = multipart::Form::new().text("formData", application.form_data.replace(ID, id));
    let representation = application.representation.into_iter().map(|file| ("representation", file));
    let attachments = application.attachments.into_iter().map(|file| ("attachment", file));
    for (part, file) in representation.chain(attachments) {
        // Files of its own for every application: one that is there already need not be written.
        let content = [&file.content, id.as_bytes()].concat();
        let content = multipart::Part::bytes(content).file_name(file.name);
        form = form.part(part, content.mime_str(&file.content_type).map_err(wrong)?);
    }
    let url = format!("{}/{TENANT}/antrag", shared.base.lock().unwrap_or_else(PoisonError::into_inner));
    let Ok(answer) = shared.client.post(url).multipart(form).send().await else { return Ok(None) };
    let status = answer.status();
    let Ok(body) = answer.text().await else { return Ok(None) };
    let may = match shared.may_refuse {
        None => false,
        Some(Refusal::Unavailable) => status == StatusCode::SERVICE_UNAVAILABLE,
        Some(Refusal::Any) => status.is_server_error(),
    };
    if may {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return Ok(None);
    }
    if !status.is_success() {
        return Err(format!("{id}: {status} {body}"));
    }
    let body: Value = serde_json::from_str(&body).map_err(|error| format!("{id}: {error}: {body}"))?;
    let number = body["vorgang"]["vorgangNummer"].as_str().ok_or("keine Vorgangsnummer")?;
    Ok(Some(number.to_owned()))
}
