// SPDX-License-Identifier: EUPL-1.2
//! A few connections that only read, each used by one thread at a time.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::StoreError;

/// Queries at the same time.
const READERS: usize = 4;

/// The reading connections, opened when first needed.
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), permits: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs a query off the async threads, in one read transaction: it sees one state of the data.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let conn = match kept {
                Some(conn) => conn,
                None => open(&path)?,
            };
            let tx = conn.unchecked_transaction()?;
            let result = query(&tx)?;
            tx.commit()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            Ok(result)
        });
        done.await.unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let conn = super::connect(path)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}
