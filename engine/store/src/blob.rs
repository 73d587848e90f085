// SPDX-License-Identifier: EUPL-1.2
//! Files by content: `<root>/<tenant>/<2 hex>/<sha-256>`. A file is complete and synced before its name
//! exists, or complete and kept in the journal (`blob/journal.rs`) before anybody is told of it, so a row that
//! names it can trust it; what is read is checked against its name. This module must not know what the bytes mean.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kop_core::{BlobRef, ContentHash, TenantId};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use self::read::Reading;
use crate::{
    error::StoreError,
    seal::{Keyring, Keys, Sealer},
};

mod collect;
mod gate;
mod journal;
mod read;
mod reseal;
mod small;

pub use collect::{Collector, Removed, SHORTEST_GRACE};
use gate::Gate;
use journal::Journal;
pub use read::BlobReader;
pub use reseal::Resealed;

/// Bytes that are hashed and written, or read and hashed, in one go off the async threads.
const CHUNK: usize = 256 * 1024;

/// Folder below the root for files that have no name yet; no tenant id begins with a dot.
const UNFINISHED: &str = ".unfertig";

/// End of a sealed file's name.
const SEALED: &str = ".v";

/// The content-addressed files of all tenants.
#[derive(Clone)]
pub struct BlobStore(Arc<Shared>);

struct Shared {
    root: PathBuf,
    next: AtomicU64,
    gate: Gate,
    keys: Arc<dyn Keys>,
    journal: OnceLock<Journal>,
}

impl BlobStore {
    /// The store below `root`, which is created.
    pub(crate) fn new(root: &Path, keys: Arc<dyn Keys>) -> Result<Self, StoreError> {
        create_dirs(&root.join(UNFINISHED))?;
        let gate = Gate::new(root)?;
        let (next, journal) = (AtomicU64::new(0), OnceLock::new());
        Ok(Self(Arc::new(Shared { root: root.to_owned(), next, gate, keys, journal })))
    }

    /// Removes what an earlier process left unfinished. Only for the one process that serves.
    pub(crate) fn remove_unfinished(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.0.root.join(UNFINISHED))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Puts back what an earlier process kept in its journal, and keeps small files in one from now on. Only for the one
    /// process that serves.
    pub(crate) fn keep_journal(&self) -> Result<(), StoreError> {
        self.journal_of_pieces(journal::OLDEST)
    }

    fn journal_of_pieces(&self, oldest: Duration) -> Result<(), StoreError> {
        journal::recover(&self.0)?;
        if let Some(journal) = Journal::start(&self.0.root, oldest)? {
            self.0.journal.get_or_init(|| journal);
        }
        Ok(())
    }

    /// Whether a file can be made now: makes one and removes it.
    pub async fn writable(&self) -> Result<(), StoreError> {
        let store = self.0.clone();
        blocking(move || Unfinished::create(&store, None).map(drop)).await
    }

    /// A new blob. Nothing is kept unless [`BlobWriter::finish`] returns.
    pub fn writer(&self, tenant: &TenantId) -> BlobWriter {
        BlobWriter {
            store: self.0.clone(),
            tenant: tenant.clone(),
            waiting: Vec::new(),
            waiting_len: 0,
            file: Progress::Idle(None),
        }
    }

    /// Keeps everything as it is for as long as the result lives: nothing is collected or rewritten; what is new may come.
    pub(crate) fn together(&self) -> Result<gate::Held, StoreError> {
        Ok(self.0.gate.pass()?)
    }

    /// The file of a blob, and whether it is sealed.
    pub(crate) fn stored(
        &self,
        tenant: &TenantId,
        hash: &ContentHash,
    ) -> Result<(PathBuf, bool), StoreError> {
        let (sealed, plain) = (self.0.sealed_path(tenant, hash), self.0.path(tenant, hash));
        if sealed.is_file() {
            Ok((sealed, true))
        } else if plain.is_file() {
            Ok((plain, false))
        } else {
            Err(StoreError::Damaged(format!("blob {hash}")))
        }
    }

    /// Stores bytes that are in memory already.
    pub async fn put(&self, tenant: &TenantId, bytes: Bytes) -> Result<BlobRef, StoreError> {
        let mut writer = self.writer(tenant);
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Opens a blob from its start. The reader fails instead of handing out the last bytes when the content
    /// is not what was stored.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the file is missing or has another length.
    pub async fn open(&self, tenant: &TenantId, blob: &BlobRef) -> Result<BlobReader, StoreError> {
        let (store, tenant, blob) = (self.0.clone(), tenant.clone(), *blob);
        Ok(BlobReader::new(blocking(move || Reading::open(&store, &tenant, &blob)).await?))
    }

    /// Reads a whole blob of at most `max` bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; [`StoreError::Damaged`] when the content is not what was stored.
    pub async fn read(&self, tenant: &TenantId, blob: &BlobRef, max: u64) -> Result<Vec<u8>, StoreError> {
        if blob.size > max {
            return Err(StoreError::TooLarge(max));
        }
        let (store, tenant, blob) = (self.0.clone(), tenant.clone(), *blob);
        blocking(move || {
            // Opened first: room is made only for a size that the file really has.
            let mut reading = Reading::open(&store, &tenant, &blob)?;
            let mut bytes = Vec::with_capacity(blob.size as usize);
            loop {
                reading.next(&mut bytes)?;
                if reading.left == 0 {
                    return Ok(bytes);
                }
            }
        })
        .await
    }
}

impl Shared {
    fn path(&self, tenant: &TenantId, hash: &ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(tenant.as_str()).join(&name[..2]).join(name)
    }

    /// Where the same content is when it is sealed: the name tells, not the bytes, which anyone may send.
    fn sealed_path(&self, tenant: &TenantId, hash: &ContentHash) -> PathBuf {
        let mut path = self.path(tenant, hash).into_os_string();
        path.push(SEALED);
        path.into()
    }
}

/// A blob on its way in. Dropping it leaves nothing behind.
pub struct BlobWriter {
    store: Arc<Shared>,
    tenant: TenantId,
    waiting: Vec<Bytes>,
    waiting_len: usize,
    file: Progress,
}

/// The file is either here or with the thread that writes to it.
#[derive(Debug)]
enum Progress {
    Idle(Option<Unfinished>),
    Busy(JoinHandle<Result<Unfinished, StoreError>>),
    Failed(StoreError),
}

impl BlobWriter {
    /// Appends bytes; returns when there is room for more, not when they are on disk.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.waiting_len += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_len >= CHUNK || self.waiting.len() >= 4096 {
            let file = self.idle().await?;
            let (store, chunks) = (self.store.clone(), std::mem::take(&mut self.waiting));
            let tenant = self.tenant.clone();
            self.waiting_len = 0;
            self.file = Progress::Busy(spawn_blocking(move || append(&store, &tenant, file, &chunks)));
        }
        Ok(())
    }

    /// Makes the file durable under its hash.
    pub async fn finish(mut self) -> Result<BlobRef, StoreError> {
        let file = self.idle().await?;
        let (tenant, mut chunks) = (self.tenant, self.waiting);
        if let (Some(journal), None, 0..=small::LARGEST) = (self.store.journal.get(), &file, self.waiting_len)
        {
            let whole = if let [one] = &chunks[..] { one.clone() } else { chunks.concat().into() };
            let (store, of, bytes) = (self.store.clone(), tenant.clone(), whole.clone());
            if let Some((blob, record)) = blocking(move || small::publish(&store, &of, &bytes)).await? {
                journal.keep(record).await?;
                return Ok(blob);
            }
            chunks = vec![whole];
        }
        let store = self.store;
        blocking(move || append(&store, &tenant, file, &chunks)?.publish(&store, &tenant)).await
    }

    async fn idle(&mut self) -> Result<Option<Unfinished>, StoreError> {
        if let Progress::Busy(handle) = &mut self.file {
            // The handle stays in place while it is awaited: a caller that gives up waiting loses nothing.
            self.file = match joined(handle.await) {
                Ok(file) => Progress::Idle(Some(file)),
                Err(error) => Progress::Failed(error),
            };
        }
        match &mut self.file {
            Progress::Idle(file) => Ok(file.take()),
            Progress::Failed(error) => Err(error.clone()),
            Progress::Busy(_) => Err(StoreError::Closed),
        }
    }
}

/// A file without a name of its own; removed when dropped.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
    seal: Option<Seal>,
    published: bool,
}

/// How a file is sealed while it is written.
#[derive(Debug)]
struct Seal {
    sealer: Sealer,
    ring: Arc<Keyring>,
}

impl Unfinished {
    fn create(store: &Shared, ring: Option<Arc<Keyring>>) -> Result<Self, StoreError> {
        let number = store.next.fetch_add(1, Ordering::Relaxed);
        // The process id keeps a command line beside the serving process apart from it.
        let path = store.root.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        let mut new = Self { file, path, hasher: Sha256::new(), size: 0, seal: None, published: false };
        if let Some(ring) = ring {
            let (sealer, header) = Sealer::new(&ring)?;
            new.file.write_all(&header)?;
            new.seal = Some(Seal { sealer, ring });
        }
        Ok(new)
    }

    fn publish(mut self, store: &Shared, tenant: &TenantId) -> Result<BlobRef, StoreError> {
        let sha256 = ContentHash::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        let blob = BlobRef { sha256, size: self.size };
        let plain = store.path(tenant, &sha256);
        let ring = match self.seal.take() {
            Some(Seal { sealer, ring }) => {
                let mut end = Vec::new();
                sealer.finish(&mut end)?;
                self.file.write_all(&end)?;
                Some(ring)
            }
            None => None,
        };
        let target = if ring.is_some() { store.sealed_path(tenant, &sha256) } else { plain.clone() };
        let folder = target.parent().unwrap_or(&store.root).to_owned();
        let size = self.size;
        let there = || match &ring {
            // One that no key opens any more is replaced.
            Some(ring) => read::opens(tenant, ring, &target, size),
            None => fs::metadata(&target).is_ok_and(|meta| meta.is_file() && meta.len() == size),
        };
        let mut durable = false;
        loop {
            if !durable && !there() {
                // Outside the gate: it takes milliseconds, and the collector may wait.
                sync(&self.file)?;
                create_dirs(&folder)?;
                durable = true;
            }
            let _open = store.gate.pass()?;
            if there() {
                // Young again: whoever collects leaves it alone until the row that names it is there.
                collect::touch(&target, &self.file)?;
                break;
            }
            if durable {
                collect::touch(&self.path, &self.file)?;
                fs::rename(&self.path, &target)?;
                self.published = true;
                break;
            }
            // It was there a moment ago and has been collected: our own copy takes its place.
        }
        // The same content from before there was a key.
        if ring.is_some() && fs::remove_file(&plain).is_ok() {
            tracing::debug!("a plain file was replaced by a sealed one");
        }
        // Also when another writer was quicker: its own sync of the folder may still be under way.
        sync_dir(&folder)?;
        Ok(blob)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // When this fails the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn append(
    store: &Shared,
    tenant: &TenantId,
    file: Option<Unfinished>,
    chunks: &[Bytes],
) -> Result<Unfinished, StoreError> {
    let mut unfinished = match file {
        Some(file) => file,
        None => Unfinished::create(store, store.keys.ring(tenant)?)?,
    };
    for chunk in chunks {
        unfinished.hasher.update(chunk);
        unfinished.size += chunk.len() as u64;
    }
    match &mut unfinished.seal {
        None => write_all(&mut unfinished.file, chunks)?,
        Some(seal) => {
            let mut sealed = Vec::with_capacity(CHUNK);
            chunks.iter().try_for_each(|chunk| seal.sealer.update(chunk, &mut sealed))?;
            unfinished.file.write_all(&sealed)?;
        }
    }
    Ok(unfinished)
}

/// Many small chunks become few writes.
fn write_all(file: &mut File, chunks: &[Bytes]) -> io::Result<()> {
    match chunks {
        [one] => file.write_all(one),
        many => {
            let mut out = io::BufWriter::with_capacity(CHUNK, file);
            many.iter().try_for_each(|chunk| out.write_all(chunk))?;
            out.flush()
        }
    }
}

fn damaged(blob: &BlobRef) -> StoreError {
    StoreError::Damaged(format!("blob {}", blob.sha256))
}

/// Creates missing folders, each synced into its parent, readable by the owner only.
pub(crate) fn create_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dirs(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable. Windows cannot open folders; its file systems journal names.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { sync(&File::open(path)?) } else { Ok(()) }
}

fn sync(file: &File) -> io::Result<()> {
    #[cfg(feature = "mutants")]
    if crate::mutant::files_unsynced() {
        return Ok(());
    }
    file.sync_all()
}

/// Makes a file's bytes durable, and of what is known about it only what reading them needs.
fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(feature = "mutants")]
    if crate::mutant::files_unsynced() {
        return Ok(());
    }
    file.sync_data()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    joined(spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    result.unwrap_or_else(|error| Err(StoreError::File(error.to_string())))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore, TenantId) {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::new(&folder.path().join("blobs"), Arc::new(crate::seal::NoKeys)).unwrap();
        (folder, store, "nord".parse().unwrap())
    }

    /// Every file below a folder, but for the gate.
    fn files(path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let entries = entries.filter(|path| !path.ends_with(".sperre"));
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[tokio::test]
    async fn what_was_written_in_pieces_is_read_back_whole_and_kept_once() {
        let (folder, store, tenant) = store();
        let content: Vec<u8> = (0..3 * CHUNK + 17).map(|n| (n % 251) as u8).collect();
        let mut writer = store.writer(&tenant);
        for piece in content.chunks(10_007) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let blob = writer.finish().await.unwrap();
        assert_eq!((blob.sha256, blob.size), (ContentHash::of(&content), content.len() as u64));
        assert_eq!(store.put(&tenant, content.clone().into()).await.unwrap(), blob);
        assert_eq!(files(folder.path()), [store.0.path(&tenant, &blob.sha256)]);

        let mut streamed = Vec::new();
        store.open(&tenant, &blob).await.unwrap().read_to_end(&mut streamed).await.unwrap();
        assert_eq!(streamed, content);
        assert_eq!(store.read(&tenant, &blob, u64::MAX).await.unwrap(), content);
        assert_eq!(store.read(&tenant, &blob, 10).await.unwrap_err(), StoreError::TooLarge(10));
        let other: TenantId = "sued".parse().unwrap();
        assert!(matches!(store.read(&other, &blob, u64::MAX).await, Err(StoreError::Damaged(_))));

        let empty = store.put(&tenant, Bytes::new()).await.unwrap();
        assert_eq!(store.open(&tenant, &empty).await.unwrap().read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_dropped_writer_leaves_nothing() {
        let (folder, store, tenant) = store();
        for pieces in [0, 1, 5] {
            let mut writer = store.writer(&tenant);
            for _ in 0..pieces {
                writer.write(Bytes::from(vec![7; CHUNK])).await.unwrap();
            }
            drop(writer);
        }
        // A piece may still be with its thread, which removes the file when it is done.
        for _ in 0..100 {
            if files(folder.path()).is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(files(folder.path()).is_empty());
    }

    #[tokio::test]
    async fn a_start_removes_what_a_crash_left() {
        let (folder, store, tenant) = store();
        let kept = store.put(&tenant, Bytes::from_static(b"Lageplan")).await.unwrap();
        fs::write(folder.path().join("blobs").join(UNFINISHED).join("1-1"), b"half").unwrap();
        store.remove_unfinished().unwrap();
        assert_eq!(files(folder.path()), [store.0.path(&tenant, &kept.sha256)]);
    }

    #[tokio::test]
    async fn changed_content_is_never_handed_out_as_whole() {
        let (_folder, store, tenant) = store();
        let content = vec![1; 2 * CHUNK];
        let blob = store.put(&tenant, content.clone().into()).await.unwrap();
        let path = store.0.path(&tenant, &blob.sha256);
        let mut changed = content.clone();
        changed[5] = 2;
        fs::write(&path, &changed).unwrap();
        assert!(matches!(store.read(&tenant, &blob, u64::MAX).await, Err(StoreError::Damaged(_))));
        let mut streamed = Vec::new();
        let error = store.open(&tenant, &blob).await.unwrap().read_to_end(&mut streamed).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(streamed.len() < content.len(), "the last bytes are held back until the whole is checked");

        fs::write(&path, &content[1..]).unwrap();
        assert!(matches!(store.open(&tenant, &blob).await, Err(StoreError::Damaged(_))));
        assert_eq!(store.put(&tenant, content.clone().into()).await.unwrap(), blob);
        assert_eq!(store.read(&tenant, &blob, u64::MAX).await.unwrap(), content, "a cut file is mended");
    }
}
