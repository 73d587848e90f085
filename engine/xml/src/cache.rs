// SPDX-License-Identifier: EUPL-1.2
//! Compiled schemas of all packages, bounded by what they take in memory: the least recently used leave. One that is
//! in use lives on until its last user lets go. Knows nothing of what a schema is for.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use kop_core::ContentHash;

use crate::libxml2::Schema;

/// Bound unless another is set.
pub const DEFAULT_SCHEMA_MEMORY: usize = 256 << 20;

/// What compiled schemas take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaMemory {
    /// Schemas kept.
    pub schemas: usize,
    /// What they take, in bytes, by estimate.
    pub bytes: usize,
    /// What they may take; the schema used last is kept even when it alone takes more.
    pub limit: usize,
}

/// Compiled schemas, the most recently used first.
pub(crate) struct Cache {
    entries: Mutex<Vec<(Key, Arc<Schema>)>>,
    limit: AtomicUsize,
}

/// Package and entry document.
pub(crate) type Key = (ContentHash, String);

impl Default for Cache {
    fn default() -> Self {
        Self { entries: Mutex::default(), limit: AtomicUsize::new(DEFAULT_SCHEMA_MEMORY) }
    }
}

impl Cache {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Schema>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries.iter().position(|(known, _)| known == key)?;
        entries[..=at].rotate_right(1);
        Some(entries[0].1.clone())
    }

    pub(crate) fn put(&self, key: Key, schema: Arc<Schema>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(known, _)| *known != key);
        entries.insert(0, (key, schema));
        let gone = self.cut(&mut entries);
        drop(entries);
        // freeing takes time and needs no lock
        drop(gone);
    }

    pub(crate) fn bound(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Release);
        let gone = self.cut(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        drop(gone);
    }

    pub(crate) fn memory(&self) -> SchemaMemory {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        SchemaMemory {
            schemas: entries.len(),
            bytes: entries.iter().map(|(_, schema)| schema.cost()).sum(),
            limit: self.limit.load(Ordering::Acquire),
        }
    }

    /// Takes out what is too much; the first stays in any case.
    fn cut(&self, entries: &mut Vec<(Key, Arc<Schema>)>) -> Vec<(Key, Arc<Schema>)> {
        let limit = self.limit.load(Ordering::Acquire);
        let mut total = 0;
        let fits = |(_, schema): &(Key, Arc<Schema>)| {
            total += schema.cost();
            total <= limit
        };
        let kept = entries
            .iter()
            .take_while({
                let mut fits = fits;
                move |entry| fits(entry)
            })
            .count();
        entries.split_off(kept.max(1).min(entries.len()))
    }
}
