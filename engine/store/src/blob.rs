// SPDX-License-Identifier: EUPL-1.2
//! Files by content: `<root>/<tenant>/<2 hex>/<sha-256>`. A file is complete and synced before its name
//! exists, so a row that names it can trust it; what is read is checked against its name. This module must
//! not know what the bytes mean.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use kop_core::{BlobRef, ContentHash, TenantId};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::{JoinHandle, spawn_blocking},
};

use crate::error::StoreError;

/// Bytes that are hashed and written, or read and hashed, in one go off the async threads.
const CHUNK: usize = 256 * 1024;

/// Folder below the root for files that have no name yet; no tenant id begins with a dot.
const UNFINISHED: &str = ".unfertig";

/// The content-addressed files of all tenants.
#[derive(Clone, Debug)]
pub struct BlobStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    next: AtomicU64,
}

impl BlobStore {
    /// The store below `root`, which is created.
    pub(crate) fn new(root: &Path) -> Result<Self, StoreError> {
        create_dirs(&root.join(UNFINISHED))?;
        Ok(Self(Arc::new(Shared { root: root.to_owned(), next: AtomicU64::new(0) })))
    }

    /// Removes what an earlier process left unfinished. Only for the one process that serves.
    pub(crate) fn remove_unfinished(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.0.root.join(UNFINISHED))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Whether a file can be made now: makes one and removes it.
    pub async fn writable(&self) -> Result<(), StoreError> {
        let store = self.0.clone();
        blocking(move || Unfinished::create(&store).map(drop)).await
    }

    /// A new blob. Nothing is kept unless [`BlobWriter::finish`] returns.
    pub async fn writer(&self, tenant: &TenantId) -> Result<BlobWriter, StoreError> {
        // The file is created up front, so that a full or read-only disk shows before anything was received.
        let store = self.0.clone();
        let file = blocking(move || Unfinished::create(&store)).await?;
        Ok(self.writer_into(tenant, Some(file)))
    }

    fn writer_into(&self, tenant: &TenantId, file: Option<Unfinished>) -> BlobWriter {
        BlobWriter {
            store: self.0.clone(),
            tenant: tenant.clone(),
            waiting: Vec::new(),
            waiting_len: 0,
            file: Progress::Idle(file),
        }
    }

    /// Stores bytes that are in memory already.
    pub async fn put(&self, tenant: &TenantId, bytes: Bytes) -> Result<BlobRef, StoreError> {
        let mut writer = self.writer_into(tenant, None);
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// Opens a blob from its start. The reader fails instead of handing out the last bytes when the content
    /// is not what was stored.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the file is missing or has another length.
    pub async fn open(&self, tenant: &TenantId, blob: &BlobRef) -> Result<BlobReader, StoreError> {
        let path = self.0.path(tenant, &blob.sha256);
        let blob = *blob;
        let file = blocking(move || open_checked(&path, &blob)).await?;
        Ok(BlobReader { step: Step::Ready(Box::new(Reading::new(file, blob))), chunk: Vec::new(), at: 0 })
    }

    /// Reads a whole blob of at most `max` bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; [`StoreError::Damaged`] when the content is not what was stored.
    pub async fn read(&self, tenant: &TenantId, blob: &BlobRef, max: u64) -> Result<Vec<u8>, StoreError> {
        if blob.size > max {
            return Err(StoreError::TooLarge(max));
        }
        let path = self.0.path(tenant, &blob.sha256);
        let blob = *blob;
        blocking(move || {
            // Opened first: room is made only for a size that the file really has.
            let file = open_checked(&path, &blob)?;
            let mut bytes = Vec::with_capacity(blob.size as usize);
            file.take(blob.size).read_to_end(&mut bytes)?;
            if ContentHash::of(&bytes) == blob.sha256 { Ok(bytes) } else { Err(damaged(&blob)) }
        })
        .await
    }
}

impl Shared {
    fn path(&self, tenant: &TenantId, hash: &ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.root.join(tenant.as_str()).join(&name[..2]).join(name)
    }
}

/// A blob on its way in. Dropping it leaves nothing behind.
#[derive(Debug)]
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
            self.waiting_len = 0;
            self.file = Progress::Busy(spawn_blocking(move || append(&store, file, &chunks)));
        }
        Ok(())
    }

    /// Makes the file durable under its hash.
    pub async fn finish(mut self) -> Result<BlobRef, StoreError> {
        let file = self.idle().await?;
        let (store, tenant, chunks) = (self.store, self.tenant, self.waiting);
        blocking(move || append(&store, file, &chunks)?.publish(&store, &tenant)).await
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
    published: bool,
}

impl Unfinished {
    fn create(store: &Shared) -> Result<Self, StoreError> {
        let number = store.next.fetch_add(1, Ordering::Relaxed);
        // The process id keeps a command line beside the serving process apart from it.
        let path = store.root.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { file, path, hasher: Sha256::new(), size: 0, published: false })
    }

    fn publish(mut self, store: &Shared, tenant: &TenantId) -> Result<BlobRef, StoreError> {
        let sha256 = ContentHash::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        let blob = BlobRef { sha256, size: self.size };
        let target = store.path(tenant, &sha256);
        let folder = target.parent().unwrap_or(&store.root).to_owned();
        let there = fs::metadata(&target).is_ok_and(|meta| meta.is_file() && meta.len() == self.size);
        if !there {
            self.file.sync_all()?;
            create_dirs(&folder)?;
            fs::rename(&self.path, &target)?;
            self.published = true;
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

fn append(store: &Shared, file: Option<Unfinished>, chunks: &[Bytes]) -> Result<Unfinished, StoreError> {
    let mut unfinished = match file {
        Some(file) => file,
        None => Unfinished::create(store)?,
    };
    for chunk in chunks {
        unfinished.hasher.update(chunk);
        unfinished.size += chunk.len() as u64;
    }
    write_all(&mut unfinished.file, chunks)?;
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

/// Reads a blob and checks it on the way.
#[derive(Debug)]
pub struct BlobReader {
    step: Step,
    chunk: Vec<u8>,
    at: usize,
}

#[derive(Debug)]
enum Step {
    Ready(Box<Reading>),
    Busy(JoinHandle<io::Result<(Box<Reading>, Vec<u8>)>>),
    Done,
}

#[derive(Debug)]
struct Reading {
    file: File,
    blob: BlobRef,
    hasher: Sha256,
    left: u64,
}

impl Reading {
    fn new(file: File, blob: BlobRef) -> Self {
        Self { file, blob, hasher: Sha256::new(), left: blob.size }
    }

    /// The next bytes; the last ones only when the whole is what it should be.
    fn next(mut self: Box<Self>, mut chunk: Vec<u8>) -> io::Result<(Box<Self>, Vec<u8>)> {
        chunk.clear();
        let wanted = self.left.min(CHUNK as u64);
        (&mut self.file).take(wanted).read_to_end(&mut chunk)?;
        self.hasher.update(&chunk);
        self.left -= chunk.len() as u64;
        let short = (chunk.len() as u64) < wanted;
        if short
            || (self.left == 0 && self.hasher.clone().finalize().as_slice() != self.blob.sha256.as_bytes())
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged(&self.blob)));
        }
        Ok((self, chunk))
    }
}

impl AsyncRead for BlobReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.at < self.chunk.len() {
                let n = out.remaining().min(self.chunk.len() - self.at);
                out.put_slice(&self.chunk[self.at..self.at + n]);
                self.at += n;
                return Poll::Ready(Ok(()));
            }
            match std::mem::replace(&mut self.step, Step::Done) {
                Step::Done => return Poll::Ready(Ok(())),
                Step::Ready(reading) => {
                    let chunk = std::mem::take(&mut self.chunk);
                    self.at = 0;
                    self.step = Step::Busy(spawn_blocking(move || reading.next(chunk)));
                }
                Step::Busy(mut handle) => {
                    let Poll::Ready(result) = Pin::new(&mut handle).poll(cx) else {
                        self.step = Step::Busy(handle);
                        return Poll::Pending;
                    };
                    let (reading, chunk) = result.map_err(io::Error::other)??;
                    self.chunk = chunk;
                    self.at = 0;
                    if reading.left > 0 {
                        self.step = Step::Ready(reading);
                    }
                }
            }
        }
    }
}

fn open_checked(path: &Path, blob: &BlobRef) -> Result<File, StoreError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(blob),
        _ => error.into(),
    })?;
    if file.metadata()?.len() == blob.size { Ok(file) } else { Err(damaged(blob)) }
}

fn damaged(blob: &BlobRef) -> StoreError {
    StoreError::Damaged(format!("blob {}", blob.sha256))
}

/// Creates missing folders, each synced into its parent, readable by the owner only.
fn create_dirs(path: &Path) -> io::Result<()> {
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
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
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
        let store = BlobStore::new(&folder.path().join("blobs")).unwrap();
        (folder, store, "nord".parse().unwrap())
    }

    /// Every file below a folder.
    fn files(path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[tokio::test]
    async fn what_was_written_in_pieces_is_read_back_whole_and_kept_once() {
        let (folder, store, tenant) = store();
        let content: Vec<u8> = (0..3 * CHUNK + 17).map(|n| (n % 251) as u8).collect();
        let mut writer = store.writer(&tenant).await.unwrap();
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
            let mut writer = store.writer(&tenant).await.unwrap();
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
