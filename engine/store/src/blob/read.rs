// SPDX-License-Identifier: EUPL-1.2
//! Reads a blob, sealed or not, and checks it on the way. The last bytes are handed out only when the whole is what was
//! stored.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use kop_core::{BlobRef, TenantId};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::{JoinHandle, spawn_blocking},
};

use super::{CHUNK, Shared, damaged};
use crate::{
    error::StoreError,
    seal::{HEADER, Keyring, Opener, sealed_len},
};

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

impl BlobReader {
    pub(super) fn new(reading: Reading) -> Self {
        Self { step: Step::Ready(Box::new(reading)), chunk: Vec::new(), at: 0 }
    }
}

/// A blob under way.
#[derive(Debug)]
pub(super) struct Reading {
    file: File,
    opener: Option<Opener>,
    sealed: Vec<u8>,
    blob: BlobRef,
    hasher: Sha256,
    pub(super) left: u64,
}

impl Reading {
    /// Opens a blob's file: the sealed one where there is one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there is none or it has another length; a missing or wrong key.
    pub(super) fn open(store: &Shared, tenant: &TenantId, blob: &BlobRef) -> Result<Self, StoreError> {
        let sealed = store.sealed_path(tenant, &blob.sha256);
        // Once more, when a plain file has become a sealed one in between.
        for path in [&sealed, &store.path(tenant, &blob.sha256), &sealed] {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let is_sealed = *path == sealed;
            let length = if is_sealed { sealed_len(blob.size) } else { blob.size };
            if file.metadata()?.len() != length {
                return Err(damaged(blob));
            }
            let opener = if is_sealed {
                let ring = store.keys.ring(tenant)?;
                Some(Opener::new(tenant, ring.as_deref(), &read_header(&mut file)?)?)
            } else {
                None
            };
            let hasher = Sha256::new();
            return Ok(Self { file, opener, sealed: Vec::new(), blob: *blob, hasher, left: blob.size });
        }
        Err(damaged(blob))
    }

    /// Appends the next bytes; the last ones only when the whole is what it should be.
    pub(super) fn next(&mut self, chunk: &mut Vec<u8>) -> Result<(), StoreError> {
        let before = chunk.len();
        let wanted = self.left.min(CHUNK as u64);
        match &mut self.opener {
            None => {
                (&mut self.file).take(wanted).read_to_end(chunk)?;
            }
            Some(opener) => {
                let mut left = self.left;
                while ((chunk.len() - before) as u64) < wanted {
                    let (length, last) = Opener::next(left);
                    self.sealed.resize(length, 0);
                    self.file.read_exact(&mut self.sealed).map_err(|_| damaged(&self.blob))?;
                    let plain = opener.piece(&mut self.sealed, last).map_err(|_| damaged(&self.blob))?;
                    left -= plain.len() as u64;
                    chunk.extend_from_slice(plain);
                }
            }
        }
        let fresh = &chunk[before..];
        self.hasher.update(fresh);
        let short = (fresh.len() as u64) < wanted;
        self.left -= fresh.len() as u64;
        if short
            || (self.left == 0 && self.hasher.clone().finalize().as_slice() != self.blob.sha256.as_bytes())
        {
            return Err(damaged(&self.blob));
        }
        Ok(())
    }
}

/// Whether a content can be read and is what it should be.
pub(super) fn whole(store: &Shared, tenant: &TenantId, blob: &BlobRef) -> bool {
    let read = || -> Result<(), StoreError> {
        let mut reading = Reading::open(store, tenant, blob)?;
        let mut chunk = Vec::new();
        loop {
            chunk.clear();
            reading.next(&mut chunk)?;
            if reading.left == 0 {
                return Ok(());
            }
        }
    };
    read().is_ok()
}

/// The header of a sealed file.
pub(super) fn read_header(file: &mut File) -> Result<[u8; HEADER], StoreError> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header)?;
    Ok(header)
}

/// Whether a sealed file of that content is there and opens with a key that is there.
pub(super) fn opens(tenant: &TenantId, ring: &Keyring, path: &Path, size: u64) -> bool {
    let header = || -> Result<_, StoreError> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() == sealed_len(size) {
            read_header(&mut file)
        } else {
            Err(StoreError::NotFound)
        }
    };
    header().is_ok_and(|header| Opener::new(tenant, Some(ring), &header).is_ok())
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
                Step::Ready(mut reading) => {
                    let mut chunk = std::mem::take(&mut self.chunk);
                    chunk.clear();
                    self.at = 0;
                    self.step = Step::Busy(spawn_blocking(move || match reading.next(&mut chunk) {
                        Ok(()) => Ok((reading, chunk)),
                        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                    }));
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
