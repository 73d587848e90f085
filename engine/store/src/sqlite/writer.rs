// SPDX-License-Identifier: EUPL-1.2
//! The one thread that writes. Steps that wait are run one after another, each in a savepoint of its own, and
//! committed together; nobody is answered before the COMMIT returned. This module must not know what a step
//! does.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::error::StoreError;

/// Steps that may wait; more are told [`StoreError::Busy`] rather than pile up.
const QUEUE: usize = 4096;

/// Steps in one commit: bounds how long the first of them waits for the last.
const GROUP: usize = 256;

/// Answers a step once the fate of its commit is known.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A step: runs within the open savepoint and leaves its answer. `false`: it failed and is to be undone. Given
/// an error instead of a connection, it does not run and answers with that.
type Job = Box<dyn FnOnce(Result<&Connection, StoreError>) -> (bool, Answer) + Send>;

/// The way to the writing thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. `lock` is whatever must live as long as it.
    pub(super) fn start(conn: Connection, lock: Option<Connection>) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        let thread = std::thread::Builder::new().name("kop-store".into()).spawn(move || {
            write(&conn, waiting, &counter);
            drop(conn);
            drop(lock);
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), commits })
    }

    /// Commits that changed something, since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs a step; its result is there only after the COMMIT.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            // A caller's closure may run in here; its panic must not end the thread that everyone needs.
            let result = catch_unwind(AssertUnwindSafe(|| step(conn?)))
                .unwrap_or_else(|_| Err(StoreError::Database("the step panicked".to_owned())));
            (
                result.is_ok(),
                Box::new(move |commit| {
                    // A caller that went away gets no answer; the step counts all the same.
                    let _ = tell.send(result.and_then(|value| commit.map(|()| value)));
                }),
            )
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        told.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Writer {
    /// Waits until the steps under way are committed and the files are released.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(conn: &Connection, mut waiting: mpsc::Receiver<Job>, commits: &AtomicU64) {
    while let Some(first) = waiting.blocking_recv() {
        let before = conn.total_changes();
        if let Err(error) = run(conn, "BEGIN IMMEDIATE") {
            first(Err(error)).1(Ok(()));
            continue;
        }
        let (answers, lost) = run_group(conn, first, &mut waiting);
        #[cfg(feature = "mutants")]
        let answers = answer_early(answers);
        let outcome = match lost {
            None => run(conn, "COMMIT"),
            Some(error) => Err(error),
        };
        match &outcome {
            Ok(()) if conn.total_changes() != before => {
                commits.fetch_add(1, Ordering::Relaxed);
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(steps = answers.len(), %error, "a group of steps could not be committed");
                if !conn.is_autocommit() {
                    let _ = conn.execute_batch("ROLLBACK");
                }
            }
        }
        for answer in answers {
            answer(outcome.clone());
        }
    }
}

/// Runs a statement that is parsed once.
fn run(conn: &Connection, statement: &str) -> Result<(), StoreError> {
    conn.prepare_cached(statement)?.execute([])?;
    Ok(())
}

/// Runs the steps that wait. The error says that the transaction as a whole is lost.
fn run_group(
    conn: &Connection,
    first: Job,
    waiting: &mut mpsc::Receiver<Job>,
) -> (Vec<Answer>, Option<StoreError>) {
    let mut answers = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        if let Err(error) = run(conn, "SAVEPOINT step") {
            answers.push(job(Err(error.clone())).1);
            return (answers, Some(error));
        }
        let (keep, answer) = job(Ok(conn));
        answers.push(answer);
        // A full disk or a failed write makes SQLite undo everything that was waiting for this commit.
        if conn.is_autocommit() {
            // Most of them are innocent, and may come again.
            return (answers, Some(StoreError::Busy));
        }
        let undone = if keep { Ok(()) } else { run(conn, "ROLLBACK TO step") };
        if let Err(error) = undone.and_then(|()| run(conn, "RELEASE step")) {
            return (answers, Some(error));
        }
        next = if answers.len() < GROUP { waiting.try_recv().ok() } else { None };
    }
    (answers, None)
}

/// `KOP_MUTANT=ack-early`: answers before the COMMIT.
#[cfg(feature = "mutants")]
fn answer_early(answers: Vec<Answer>) -> Vec<Answer> {
    if !crate::mutant::answers_early() {
        return answers;
    }
    answers.into_iter().for_each(|answer| answer(Ok(())));
    crate::mutant::commit_slowly();
    Vec::new()
}
