// SPDX-License-Identifier: EUPL-1.2
//! Keeps submissions and deliveries moving: wakes up when something was stored or has become due, and looks
//! again at short intervals, so that a lost wake-up costs time and nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{deliver, engine::Engine, process};

/// What a dead process left and what takes too long is looked for this often: nobody waits for it by the second.
const LOOK_FOR_LATE: Duration = Duration::from_millis(500);

/// How much at once.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// Submissions processed at once.
    pub processing: usize,
    /// Deliveries under way at once.
    pub deliveries: usize,
    /// Longest pause between two looks.
    pub look_every: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self { processing: 8, deliveries: 256, look_every: Duration::from_secs(2) }
    }
}

/// The worker of one process.
pub struct Worker {
    engine: Arc<Engine>,
    options: WorkerOptions,
}

impl Worker {
    /// A worker for an engine.
    pub fn new(engine: Arc<Engine>, options: WorkerOptions) -> Self {
        Self { engine, options }
    }

    /// Works until stopped; then takes nothing new and waits for what is under way.
    pub async fn run(self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let processing = Arc::new(Semaphore::new(self.options.processing));
        let deliveries = Arc::new(Semaphore::new(self.options.deliveries));
        let mut looked = None::<Instant>;
        while !stop.is_cancelled() {
            // Together, so that the store commits them together.
            let (processed, delivered) = tokio::join!(
                self.start_processing(&tracker, &processing),
                self.start_deliveries(&tracker, &deliveries)
            );
            let mut busy = processed || delivered;
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_FOR_LATE) {
                looked = Some(Instant::now());
                busy |= self.recover(&tracker, deliveries.available_permits()).await;
                deliver::tell_overdue(&self.engine).await;
            }
            if busy {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.engine.wake.rung() => {}
                () = tokio::time::sleep(self.pause().await) => {}
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    async fn start_processing(&self, tracker: &TaskTracker, slots: &Arc<Semaphore>) -> bool {
        let free = slots.available_permits();
        if free == 0 {
            return false;
        }
        let claimed = match process::claim(&self.engine, free as u32, None).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(%error, "Submissions cannot be claimed.");
                return false;
            }
        };
        let some = !claimed.is_empty();
        for submission in claimed {
            let Ok(slot) = slots.clone().try_acquire_owned() else { break };
            let engine = self.engine.clone();
            let others = tracker.clone();
            tracker.spawn(async move {
                let started = process::process(&engine, submission).await;
                drop(slot);
                engine.wake.ring();
                // Each on its own: a receiver that hangs must not hold up its neighbours.
                for start in started {
                    let engine = engine.clone();
                    others.spawn(async move {
                        deliver::send(&engine, start).await;
                        engine.wake.ring();
                    });
                }
            });
        }
        some
    }

    async fn start_deliveries(&self, tracker: &TaskTracker, slots: &Arc<Semaphore>) -> bool {
        let free = slots.available_permits();
        if free == 0 {
            return false;
        }
        let mut some = false;
        for claimed in deliver::claim(&self.engine, free as u32, None).await {
            let Ok(slot) = slots.clone().try_acquire_owned() else { break };
            let engine = self.engine.clone();
            tracker.spawn(async move {
                deliver::attempt(&engine, claimed).await;
                drop(slot);
                engine.wake.ring();
            });
            some = true;
        }
        some
    }

    /// Ends attempts that a process which is gone had started.
    async fn recover(&self, tracker: &TaskTracker, free: usize) -> bool {
        let mut some = false;
        for interrupted in deliver::recover(&self.engine, free as u32).await {
            let engine = self.engine.clone();
            tracker.spawn(async move {
                deliver::after_interruption(&engine, interrupted).await;
                engine.wake.ring();
            });
            some = true;
        }
        some
    }

    /// Until the next thing is due, at most the option's interval.
    async fn pause(&self) -> Duration {
        let now = self.engine.now();
        match self.engine.parts.store.next_due(now).await {
            Ok(Some(at)) => {
                let wait = at.duration_since(now).unsigned_abs();
                wait.clamp(Duration::from_millis(5), self.options.look_every)
            }
            _ => self.options.look_every,
        }
    }
}
