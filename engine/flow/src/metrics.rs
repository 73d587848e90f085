// SPDX-License-Identifier: EUPL-1.2
//! How long the steps take and how they end, counted since the start. Plain atomics: to observe costs nothing
//! that a message would notice. Who shows them, and how, is the server's business.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kop_connector_api::Seen;
use kop_core::TenantId;

/// Upper bounds of the buckets, in seconds.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts up to each of [`BUCKETS`] (cumulative), the count of all, and their sum in seconds.
    pub fn read(&self) -> ([u64; BUCKETS.len()], u64, f64) {
        let mut sum = 0;
        let cumulative = std::array::from_fn(|at| {
            sum += self.buckets[at].load(Ordering::Relaxed);
            sum
        });
        let micros = self.micros.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss)] // a sum of microseconds is exact up to 285 years
        (cumulative, self.count.load(Ordering::Relaxed).max(sum), micros as f64 / 1e6)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// From the payload in memory to the durable answer.
    pub accept: Histogram,
    /// One look at one file by the virus scanner.
    pub scan: Histogram,
    /// The mapping's script.
    pub map: Histogram,
    /// Writing the message and judging it by its schema.
    pub validate: Histogram,
    /// One attempt to deliver, or one question about it.
    pub deliver: Histogram,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    sources: Mutex<BTreeMap<(TenantId, String, Seen), u64>>,
}

impl Metrics {
    /// Counts how an attempt ended.
    pub fn ended(&self, outcome: &'static str) {
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).entry(outcome).or_default() += 1;
    }

    /// Counts what a pull source saw.
    pub(crate) fn source(&self, tenant: &TenantId, source: &str, seen: Seen) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        *sources.entry((tenant.clone(), source.to_owned(), seen)).or_default() += 1;
    }

    /// What pull sources saw: tenant, source, what, how often.
    pub fn sources(&self) -> BTreeMap<(TenantId, String, Seen), u64> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Attempts by how they ended.
    pub fn outcomes(&self) -> BTreeMap<&'static str, u64> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let histogram = Histogram::default();
        for millis in [1, 3, 3, 400_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let (buckets, count, sum) = histogram.read();
        assert_eq!((buckets[0], buckets[1], buckets[2], buckets[11], count), (1, 1, 3, 3, 4));
        assert!((sum - 400.007).abs() < 1e-6);
    }
}
