// SPDX-License-Identifier: EUPL-1.2
//! Wake-ups: something was stored, look now. The store alone says what is to be done; a wake-up only saves the wait
//! until the next look, so it may be lost, doubled or late, and carries nothing but itself.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// Carries wake-ups to other processes.
pub trait Wakes: Send + Sync {
    /// Tells the others that something was stored. Returns at once; when it cannot be carried it is dropped.
    fn tell(&self);
}

/// Wakes the worker of this process and, once connected, those of others.
#[derive(Default)]
pub struct Bell {
    local: Notify,
    others: OnceLock<Arc<dyn Wakes>>,
}

impl Bell {
    /// Wakes this process.
    pub fn ring(&self) {
        self.local.notify_one();
    }

    /// Wakes this process and others: whoever is free takes what was stored.
    pub fn ring_everywhere(&self) {
        self.ring();
        if let Some(others) = self.others.get() {
            others.tell();
        }
    }

    /// From now on others are told too; the first connection stays.
    pub fn connect(&self, others: Arc<dyn Wakes>) {
        let _ = self.others.set(others);
    }

    /// Waits for a wake-up; one that came before counts.
    pub(crate) async fn rung(&self) {
        self.local.notified().await;
    }
}
