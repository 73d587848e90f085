// SPDX-License-Identifier: EUPL-1.2
//! Makes many small files durable at once. Alone, a new file costs the disk two syncs, its own and its folder's. Here
//! its bytes are appended to a journal too, which is synced once for all who wait; the file itself has to be on the disk
//! only before its piece of the journal is removed, a second later and with one sync of the whole file system, which
//! nobody waits for. A start puts back what is in the journal and not in its file. Only for the one process that
//! serves. This module must not know what the bytes mean.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kop_core::{BlobRef, ContentHash, TenantId};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{Shared, UNFINISHED, collect, create_dirs, read, sync, sync_data, sync_dir};
use crate::error::StoreError;

/// Folder below the root; no tenant id begins with a dot.
const FOLDER: &str = ".journal";

/// Files that may wait; more are told [`StoreError::Busy`] rather than pile up.
const QUEUE: usize = 4096;

/// Files in one sync: bounds how long the first of them waits for the last.
const GROUP: usize = 256;

/// A piece of the journal ends when it is this long or this old. Short ones keep each sync of the file system short.
const LONGEST: u64 = 16 * 1024 * 1024;
pub(super) const OLDEST: Duration = Duration::from_secs(1);

/// Pieces that may wait for the file system to be synced.
const PIECES: usize = 64;

/// Bytes before each record: its length and the beginning of its hash.
const LENGTH: usize = 4;
const CHECK: usize = 16;

/// What is to be kept: a file as it stands in its folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub tenant: TenantId,
    pub blob: BlobRef,
    /// Whether the bytes are sealed.
    pub sealed: bool,
    pub bytes: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let tenant = self.tenant.as_str();
        let name = u8::try_from(tenant.len()).map_err(|error| StoreError::File(error.to_string()))?;
        let mut body = Vec::with_capacity(self.bytes.len() + tenant.len() + 64);
        body.extend([u8::from(self.sealed), name]);
        body.extend(tenant.as_bytes());
        body.extend(self.blob.size.to_le_bytes());
        body.extend(self.blob.sha256.as_bytes());
        body.extend(self.bytes);
        let length = u32::try_from(body.len()).map_err(|error| StoreError::File(error.to_string()))?;
        let mut record = Vec::with_capacity(LENGTH + CHECK + body.len());
        record.extend(length.to_le_bytes());
        record.extend(&Sha256::digest(&body)[..CHECK]);
        record.extend(body);
        Ok(record)
    }

    /// The first record and what follows it. `None` at the end, and where a crash cut one: nobody was told that it is kept.
    fn decode(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
        let (check, rest) = rest.split_first_chunk::<CHECK>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        if Sha256::digest(body)[..CHECK] != *check {
            return None;
        }
        let ([sealed, name], body) = body.split_first_chunk::<2>()?;
        let (tenant, body) = body.split_at_checked(usize::from(*name))?;
        let (size, body) = body.split_first_chunk::<8>()?;
        let (hash, bytes) = body.split_first_chunk::<32>()?;
        let tenant = std::str::from_utf8(tenant).ok()?.parse().ok()?;
        let blob = BlobRef { sha256: ContentHash::from_bytes(*hash), size: u64::from_le_bytes(*size) };
        Some((Self { tenant, blob, sealed: *sealed != 0, bytes }, rest))
    }
}

/// Puts back what an earlier process kept and the disk lost.
///
/// # Errors
/// The disk's own; the journal stays, for the next start.
pub(super) fn recover(store: &Shared) -> Result<(), StoreError> {
    let folder = store.root.join(FOLDER);
    let mut names = collect::names(&folder)?;
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    #[cfg(feature = "mutants")]
    if crate::mutant::forgets_the_journal() {
        names.iter().try_for_each(|name| fs::remove_file(folder.join(name)))?;
        return Ok(());
    }
    let mut lost = 0_u64;
    for name in &names {
        let journal = fs::read(folder.join(name))?;
        let mut rest = &journal[..];
        while let Some((record, next)) = Record::decode(rest) {
            rest = next;
            if !there(store, &record) {
                put_back(store, &record)?;
                lost += 1;
            }
        }
    }
    sync_file_system(&File::open(&store.root)?)?;
    names.iter().try_for_each(|name| fs::remove_file(folder.join(name)))?;
    tracing::info!(lost, "files were put back from their journal");
    Ok(())
}

/// Whether the content is there, be it sealed otherwise by now.
fn there(store: &Shared, record: &Record<'_>) -> bool {
    fs::read(path(store, record)).is_ok_and(|bytes| bytes == record.bytes)
        || read::whole(store, &record.tenant, &record.blob)
}

fn path(store: &Shared, record: &Record<'_>) -> PathBuf {
    if record.sealed {
        store.sealed_path(&record.tenant, &record.blob.sha256)
    } else {
        store.path(&record.tenant, &record.blob.sha256)
    }
}

fn put_back(store: &Shared, record: &Record<'_>) -> Result<(), StoreError> {
    let target = path(store, record);
    create_dirs(target.parent().unwrap_or(&store.root))?;
    let unfinished = store.root.join(UNFINISHED).join("journal");
    let mut file = private(OpenOptions::new().write(true).create(true).truncate(true), &unfinished)?;
    file.write_all(record.bytes)?;
    sync(&file)?;
    Ok(fs::rename(unfinished, target)?)
}

fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

/// Makes everything durable that was written to a file system before.
#[cfg(target_os = "linux")]
fn sync_file_system(root: &File) -> io::Result<()> {
    #[cfg(feature = "mutants")]
    if crate::mutant::files_unsynced() {
        return Ok(());
    }
    Ok(rustix::fs::syncfs(root)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_root: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes that wait to be kept.
struct Entry {
    record: Vec<u8>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the thread that keeps.
pub(super) struct Journal {
    entries: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// A new journal of pieces that end at that age; an earlier one was recovered. `None` where the system cannot sync a
    /// file system.
    pub(super) fn start(root: &Path, oldest: Duration) -> Result<Option<Self>, StoreError> {
        if cfg!(not(target_os = "linux")) {
            return Ok(None);
        }
        let folder = root.join(FOLDER);
        create_dirs(&folder)?;
        let root = File::open(root)?;
        let (entries, waiting) = sync_channel(QUEUE);
        let (ended, to_sync) = sync_channel(PIECES);
        let syncing = std::thread::Builder::new()
            .name("kop-files-sync".into())
            .spawn(move || remove_synced(&root, &to_sync))?;
        let thread = std::thread::Builder::new().name("kop-files".into()).spawn(move || {
            keep_all(&folder, oldest, &waiting, &ended);
            drop(ended);
            let _ = syncing.join();
        })?;
        Ok(Some(Self { entries: Some(entries), thread: Some(thread) }))
    }

    /// Keeps a record of a file that stands under its name already; durable when this returns.
    pub(super) async fn keep(&self, record: Vec<u8>) -> Result<(), StoreError> {
        let (done, told) = oneshot::channel();
        let entries = self.entries.as_ref().ok_or(StoreError::Closed)?;
        entries.try_send(Entry { record, done }).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        told.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Journal {
    /// Waits until everything is in its files.
    fn drop(&mut self) {
        self.entries = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file of the journal.
struct Piece {
    file: File,
    path: PathBuf,
    length: u64,
    ends: Instant,
}

impl Piece {
    fn new(folder: &Path, number: u64, oldest: Duration) -> Result<Self, StoreError> {
        let path = folder.join(format!("{number:012}"));
        let file = private(OpenOptions::new().write(true).create_new(true), &path)?;
        sync_dir(folder)?;
        Ok(Self { file, path, length: 0, ends: Instant::now() + oldest })
    }

    fn append(&mut self, group: &[Entry]) -> Result<(), StoreError> {
        let bytes = group.iter().map(|entry| &entry.record[..]).collect::<Vec<_>>().concat();
        self.file.write_all(&bytes)?;
        sync_data(&self.file)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn keep_all(folder: &Path, oldest: Duration, waiting: &Receiver<Entry>, ended: &SyncSender<PathBuf>) {
    let (mut piece, mut number) = (None::<Piece>, 0);
    loop {
        let first = match &piece {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(open) => waiting.recv_timeout(open.ends.saturating_duration_since(Instant::now())),
        };
        let over = matches!(first, Err(RecvTimeoutError::Disconnected));
        let group: Vec<Entry> = first.into_iter().chain(waiting.try_iter().take(GROUP - 1)).collect();
        let kept = if group.is_empty() {
            Ok(())
        } else {
            let open = piece.take().map_or_else(
                || {
                    number += 1;
                    Piece::new(folder, number, oldest)
                },
                Ok,
            );
            open.and_then(|open| piece.insert(open).append(&group))
        };
        if let Err(error) = &kept {
            tracing::error!(files = group.len(), %error, "a group of files could not be kept");
        }
        for entry in group {
            // A caller that went away gets no answer.
            let _ = entry.done.send(kept.clone());
        }
        // What comes after a failed write goes into a new piece: in this one nobody would read beyond the gap.
        let now = Instant::now();
        let full = |open: &mut Piece| over || kept.is_err() || open.length >= LONGEST || open.ends <= now;
        if let Some(full) = piece.take_if(full) {
            let _ = ended.send(full.path);
        }
        if over {
            return;
        }
    }
}

/// Removes pieces once everything is on the disk that was written before they ended.
fn remove_synced(root: &File, ended: &Receiver<PathBuf>) {
    while let Ok(first) = ended.recv() {
        let pieces: Vec<PathBuf> = std::iter::once(first).chain(ended.try_iter()).collect();
        if let Err(error) = sync_file_system(root) {
            // The system may have dropped what it could not write, and will not say so twice: the next start puts it back.
            tracing::error!(%error, "files could not be synced; their journal stays until the next start");
            while ended.recv().is_ok() {}
            return;
        }
        for piece in pieces {
            if let Err(error) = fs::remove_file(&piece) {
                tracing::warn!(%error, "a piece of the files' journal could not be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
