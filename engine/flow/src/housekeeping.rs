// SPDX-License-Identifier: EUPL-1.2
//! What a running engine tidies up by itself, a bounded piece at a time: what is due for deletion, files that no row
//! names, the space that both leave.

use std::{sync::Arc, time::Duration};

use kop_store::{Collector, Removed, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    retention::{Pass, delete_due},
};

/// How often and how much at once.
#[derive(Clone, Copy, Debug)]
pub struct HousekeepingOptions {
    /// Pause between two runs.
    pub every: Duration,
    /// Files younger than this are left alone.
    pub grace: Duration,
    /// Old files looked at in one run.
    pub files: usize,
    /// Deletions per tenant and phase in one run.
    pub deletions: usize,
    /// Space given back in one run, in bytes.
    pub space: u64,
}

impl Default for HousekeepingOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(600),
            grace: Duration::from_secs(24 * 3600),
            files: 4096,
            deletions: 500,
            space: 64 << 20,
        }
    }
}

/// Tidies up until stopped.
pub async fn keep_house(engine: Arc<Engine>, options: HousekeepingOptions, stop: CancellationToken) {
    let mut collector = Collector::new(options.grace);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(options.every) => {}
        }
        if let Err(error) = run(&engine, &options, &mut collector).await {
            tracing::error!(%error, "Housekeeping failed; the next run goes on.");
        }
    }
}

/// One run.
async fn run(
    engine: &Engine,
    options: &HousekeepingOptions,
    collector: &mut Collector,
) -> Result<(), StoreError> {
    let (store, blobs) = (&*engine.parts.store, &*engine.parts.blobs);
    let mut removed = Removed::default();
    let mut deleted = 0;
    for generation in engine.parts.tenants.all() {
        let pass = Pass { dry: false, limit: options.deletions };
        let report = delete_due(store, blobs, &generation, pass, collector, engine.now()).await?;
        deleted += report.due.iter().filter(|due| due.blocked.is_empty()).count();
        removed += report.removed;
    }
    removed += collector.step(store, blobs, options.files, engine.now()).await?.0;
    let space = if deleted > 0 || removed.files > 0 { store.release_space(options.space).await? } else { 0 };
    if deleted > 0 || removed.files > 0 {
        tracing::info!(deleted, files = removed.files, bytes = removed.bytes, space, "Tidied up.");
    }
    Ok(())
}
