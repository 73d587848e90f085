// SPDX-License-Identifier: EUPL-1.2
//! Removes blobs that no row names. Why nothing is lost:
//!
//! - A row can only name a blob that was published before. Publishing makes the file young (new or not), behind
//!   the gate; removing looks at the age again, alone behind the gate. So a blob that someone publishes is either
//!   removed before, and then the publisher finds it gone and puts its own copy there, or it is young and stays.
//! - What is young stays for the grace period. That is how long the way from publishing to the COMMIT of the row
//!   may take; it is a matter of seconds, the shortest grace period is [`SHORTEST_GRACE`].
//! - The rows are asked after the candidates were listed. A row that was committed before is seen; one that is
//!   committed later has published its blob later than the grace period ago, so the blob is young.
//! - A message names blobs of its own submission. Its rows keep them until all of it is deleted, and what is not
//!   processed to the end is not deleted.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use kop_core::{ContentHash, TenantId, clock::Zeitpunkt};

use super::{BlobStore, Shared, blocking};
use crate::{api::Store, error::StoreError};

/// Shorter grace periods are taken for this one.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(3600);

/// Folders of a tenant: the first two hexadecimal digits.
const SHARDS: u16 = 256;

/// Files that are removed while publishers wait.
const AT_ONCE: usize = 64;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Walks through all tenants' folders, a bounded piece at a time, and begins again at the end.
#[derive(Debug)]
pub struct Collector {
    grace: Duration,
    next: Option<(TenantId, u16)>,
}

impl Collector {
    /// A collector that leaves alone what was published within the grace period.
    pub fn new(grace: Duration) -> Self {
        Self { grace: grace.max(SHORTEST_GRACE), next: None }
    }

    /// Looks at folders until `files` old files or more were seen, or all of it. `true`: that was the end.
    ///
    /// # Errors
    /// The disk's or the store's own; nothing that a row names is removed.
    pub async fn step(
        &mut self,
        store: &dyn Store,
        blobs: &BlobStore,
        files: usize,
        now: Zeitpunkt,
    ) -> Result<(Removed, bool), StoreError> {
        let before = before(now, self.grace);
        let (mut removed, mut seen) = (Removed::default(), 0);
        let (start, from) = self.next.take().map_or((None, 0), |(tenant, shard)| (Some(tenant), shard));
        for tenant in blobs.tenants().await? {
            let first = match &start {
                Some(start) if tenant < *start => continue,
                Some(start) if tenant == *start => from,
                _ => 0,
            };
            let mut old = BTreeSet::new();
            for shard in first..SHARDS {
                if seen >= files {
                    removed += remove_unnamed(store, blobs, &tenant, old, before).await?;
                    self.next = Some((tenant, shard));
                    return Ok((removed, false));
                }
                let here = blobs.old(&tenant, shard, before).await?;
                seen += here.len();
                old.extend(here);
            }
            removed += remove_unnamed(store, blobs, &tenant, old, before).await?;
        }
        Ok((removed, true))
    }

    /// Removes those of `candidates` that are old and that no row names any more: after a deletion.
    ///
    /// # Errors
    /// As [`Collector::step`].
    pub async fn remove(
        &self,
        store: &dyn Store,
        blobs: &BlobStore,
        tenant: &TenantId,
        candidates: BTreeSet<ContentHash>,
        now: Zeitpunkt,
    ) -> Result<Removed, StoreError> {
        remove_unnamed(store, blobs, tenant, candidates, before(now, self.grace)).await
    }
}

fn before(now: Zeitpunkt, grace: Duration) -> SystemTime {
    SystemTime::from(now).checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH)
}

async fn remove_unnamed(
    store: &dyn Store,
    blobs: &BlobStore,
    tenant: &TenantId,
    candidates: BTreeSet<ContentHash>,
    before: SystemTime,
) -> Result<Removed, StoreError> {
    if candidates.is_empty() {
        return Ok(Removed::default());
    }
    let unnamed = store.unnamed_blobs(tenant, candidates).await?;
    blobs.remove_old(tenant, unnamed, before).await
}

impl BlobStore {
    /// Every tenant that has a folder, in order.
    pub async fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let store = self.0.clone();
        blocking(move || {
            let mut tenants: Vec<TenantId> =
                names(&store.root)?.iter().flat_map(|name| name.parse()).collect();
            tenants.sort();
            Ok(tenants)
        })
        .await
    }

    /// Blobs of one folder that were last published before a moment.
    async fn old(
        &self,
        tenant: &TenantId,
        shard: u16,
        before: SystemTime,
    ) -> Result<Vec<ContentHash>, StoreError> {
        let store = self.0.clone();
        let folder = store.root.join(tenant.as_str()).join(format!("{shard:02x}"));
        blocking(move || {
            let mut old = Vec::new();
            for name in names(&folder)? {
                if let Ok(hash) = name.strip_suffix(super::SEALED).unwrap_or(&name).parse::<ContentHash>()
                    && is_old(&folder.join(&name), before)
                {
                    old.push(hash);
                }
            }
            Ok(old)
        })
        .await
    }

    /// Removes those that are still old.
    async fn remove_old(
        &self,
        tenant: &TenantId,
        hashes: Vec<ContentHash>,
        before: SystemTime,
    ) -> Result<Removed, StoreError> {
        let (store, tenant) = (self.0.clone(), tenant.clone());
        blocking(move || {
            let mut removed = Removed::default();
            for some in hashes.chunks(AT_ONCE) {
                let Some(_alone) = store.gate.alone()? else { break };
                for hash in some {
                    removed += remove_one(&store, &tenant, hash, before)?;
                }
            }
            Ok(removed)
        })
        .await
    }
}

fn remove_one(
    store: &Shared,
    tenant: &TenantId,
    hash: &ContentHash,
    before: SystemTime,
) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    for path in [store.path(tenant, hash), store.sealed_path(tenant, hash)] {
        // Looked at again: since the folder was read someone may have published it anew.
        if is_old(&path, before) {
            let bytes = fs::metadata(&path)?.len();
            fs::remove_file(&path)?;
            removed += Removed { files: 1, bytes };
        }
    }
    Ok(removed)
}

fn is_old(path: &Path, before: SystemTime) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|changed| changed < before)
}

/// Gives a file the age of one that was just written, so that nobody has to ask for the time.
pub(super) fn touch(path: &Path, just_written: &File) -> io::Result<()> {
    File::open(path)?.set_modified(just_written.metadata()?.modified()?)
}

/// Names in a folder; none when it is not there.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
