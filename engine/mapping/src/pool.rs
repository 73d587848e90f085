// SPDX-License-Identifier: EUPL-1.2
//! Threads with large stacks on which scripts compile and run, and the answer that comes back from them.

use std::{
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread::JoinHandle,
};

use crate::bounds::STACK_BYTES;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when the pool is dropped, after the jobs that wait.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let threads = (0..threads.max(1))
            .map(|n| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new()
                    .name(format!("zuordnung-{n}"))
                    .stack_size(STACK_BYTES)
                    .spawn(move || queue.serve())
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue, threads })
    }

    /// Hands work to a thread. The answer is `None` when the work panicked.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let slot = Arc::new(Slot { state: Mutex::new(Answered::Waiting(None)), done: Condvar::new() });
        let answer = Answer(Arc::clone(&slot));
        let job = move || slot.fill(catch_unwind(AssertUnwindSafe(work)).ok());
        lock(&self.queue.state).jobs.push_back(Box::new(job));
        self.queue.work.notify_one();
        answer
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.work.notify_all();
        for thread in self.threads.drain(..) {
            // A pool dropped by one of its own jobs must not wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Queue {
    fn serve(&self) {
        loop {
            let mut state = lock(&self.state);
            let job = loop {
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                if state.closed {
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            job();
        }
    }
}

struct Slot<T> {
    state: Mutex<Answered<T>>,
    done: Condvar,
}

enum Answered<T> {
    Waiting(Option<Waker>),
    Done(Option<T>),
    Taken,
}

impl<T> Slot<T> {
    fn fill(&self, value: Option<T>) {
        let before = std::mem::replace(&mut *lock(&self.state), Answered::Done(value));
        self.done.notify_one();
        if let Answered::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// The answer of a job: a future, or waited for. `None` when the job panicked.
pub(crate) struct Answer<T>(Arc<Slot<T>>);

impl<T> Answer<T> {
    pub(crate) fn wait(self) -> Option<T> {
        let mut state = lock(&self.0.state);
        loop {
            match std::mem::replace(&mut *state, Answered::Taken) {
                Answered::Done(value) => return value,
                Answered::Taken => return None,
                waiting @ Answered::Waiting(_) => *state = waiting,
            }
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0.state);
        match std::mem::replace(&mut *state, Answered::Taken) {
            Answered::Done(value) => Poll::Ready(value),
            Answered::Taken => Poll::Ready(None),
            Answered::Waiting(_) => {
                *state = Answered::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}
