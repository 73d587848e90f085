// SPDX-License-Identifier: EUPL-1.2
//! A Sendung as the body of one request: a stream of small chunks whose exact length is known before. The
//! bytes are the same at every attempt.
//!
//! Every file is checked while it passes. Its last chunk is held back until length and hash are right, so that
//! a damaged file never becomes a complete request.

use std::{
    collections::VecDeque,
    fmt::Write,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream::try_unfold};
use kop_connector_api::{BlobRead, Blobs};
use kop_core::{BlobRef, Diagnostic, Part, Sendung, TenantId};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::problem;

/// No more of a file is in memory at once.
pub(crate) const CHUNK: usize = 64 * 1024;

const ANY_BYTES: &str = "application/octet-stream";

/// What became of a body so far; read when the exchange has ended.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether the HTTP stack asked for the body: from then on bytes may have left.
    started: AtomicBool,
    /// Bytes handed to the HTTP stack.
    handed: AtomicU64,
    /// Why the body ended early, on our side.
    failure: OnceLock<Diagnostic>,
    stop: AtomicBool,
}

impl Progress {
    /// For a body of no bytes, which the HTTP stack never asks for.
    pub(crate) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    pub(crate) fn handed(&self) -> u64 {
        self.handed.load(Ordering::Acquire)
    }

    pub(crate) fn failure(&self) -> Option<&Diagnostic> {
        self.failure.get()
    }

    /// Notes why the body ends here. The HTTP stack gets an error without words and breaks the request off.
    fn fail(&self, detail: impl Into<String>) -> io::Error {
        let _ = self.failure.set(problem::unreadable_blob(detail));
        io::ErrorKind::InvalidData.into()
    }
}

/// Ends the body when nobody waits for the answer any more.
pub(crate) struct StopWhenDropped(pub(crate) Arc<Progress>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

enum Segment {
    Text(Bytes),
    File(BlobRef),
}

/// A body before it is sent.
pub(crate) struct Payload {
    pub(crate) content_type: String,
    pub(crate) length: u64,
    segments: VecDeque<Segment>,
}

impl Payload {
    /// The main document alone.
    pub(crate) fn single(sendung: &Sendung) -> Result<Self, Diagnostic> {
        if !sendung.parts.is_empty() {
            return Err(problem::parts_do_not_fit());
        }
        let main = &sendung.main;
        let mut payload = Self::empty(media_type(main).to_owned());
        payload.file(main.blob);
        Ok(payload)
    }

    /// All files as `multipart/form-data` (RFC 7578).
    pub(crate) fn multipart(sendung: &Sendung) -> Self {
        // The delivery's id is made after all contents, so nothing in them can be made to look like it.
        let boundary = format!("kop-{}", sendung.delivery_id);
        let mut payload = Self::empty(format!("multipart/form-data; boundary={boundary}"));
        let names = std::iter::once("nachricht").chain(std::iter::repeat("anlage"));
        for (name, part) in names.zip(sendung.all_parts()) {
            payload.text(format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\n\
                 Content-Type: {}\r\n\r\n",
                quoted(&part.name),
                media_type(part),
            ));
            payload.file(part.blob);
            payload.text("\r\n".to_owned());
        }
        payload.text(format!("--{boundary}--\r\n"));
        payload
    }

    fn empty(content_type: String) -> Self {
        Self { content_type, length: 0, segments: VecDeque::new() }
    }

    fn text(&mut self, text: String) {
        self.length = self.length.saturating_add(text.len() as u64);
        self.segments.push_back(Segment::Text(text.into()));
    }

    fn file(&mut self, blob: BlobRef) {
        self.length = self.length.saturating_add(blob.size);
        self.segments.push_back(Segment::File(blob));
    }

    /// The bytes, as far as the files are what they were stored as.
    pub(crate) fn stream(
        self,
        tenant: TenantId,
        blobs: Arc<dyn Blobs>,
        progress: Arc<Progress>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let sender = Sender { tenant, blobs, progress, segments: self.segments, open: None };
        try_unfold(sender, |mut sender| async move {
            sender.progress.start();
            let chunk = sender.next().await?;
            Ok(chunk.map(|chunk| {
                sender.progress.handed.fetch_add(chunk.len() as u64, Ordering::AcqRel);
                (chunk, sender)
            }))
        })
    }
}

struct Sender {
    tenant: TenantId,
    blobs: Arc<dyn Blobs>,
    progress: Arc<Progress>,
    segments: VecDeque<Segment>,
    open: Option<OpenFile>,
}

impl Sender {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.progress.stop.load(Ordering::Acquire) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if let Some(file) = &mut self.open {
                match file.next(&self.progress).await? {
                    Some(chunk) => return Ok(Some(chunk)),
                    None => self.open = None,
                }
            }
            match self.segments.pop_front() {
                None => return Ok(None),
                Some(Segment::Text(text)) => return Ok(Some(text)),
                Some(Segment::File(blob)) => {
                    let content = self.blobs.open(&self.tenant, &blob).await;
                    let content = content.map_err(|error| self.progress.fail(words(&error)))?;
                    self.open = Some(OpenFile { blob, content, read: 0, hasher: Sha256::new(), done: false });
                }
            }
        }
    }
}

struct OpenFile {
    blob: BlobRef,
    content: BlobRead,
    read: u64,
    hasher: Sha256,
    done: bool,
}

impl OpenFile {
    async fn next(&mut self, progress: &Progress) -> io::Result<Option<Bytes>> {
        if self.done {
            return Ok(None);
        }
        let mut chunk = BytesMut::new();
        if self.read < self.blob.size {
            chunk.reserve(CHUNK);
            let mut room = (&mut self.content).take(CHUNK as u64);
            let count = room.read_buf(&mut chunk).await.map_err(|error| progress.fail(words(&error)))?;
            if count == 0 {
                return Err(progress.fail("shorter than it was stored"));
            }
            self.read += count as u64;
            self.hasher.update(&chunk);
        }
        if self.read > self.blob.size {
            return Err(progress.fail("longer than it was stored"));
        }
        if self.read == self.blob.size {
            let more = self.content.read(&mut [0]).await.map_err(|error| progress.fail(words(&error)))?;
            if more > 0 {
                return Err(progress.fail("longer than it was stored"));
            }
            if self.hasher.finalize_reset().as_slice() != self.blob.sha256.as_bytes() {
                return Err(progress.fail("not what was stored"));
            }
            self.done = true;
        }
        Ok(if chunk.is_empty() { None } else { Some(chunk.freeze()) })
    }
}

/// The operating system's sentence; other errors may name paths, of those only the kind is kept.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

/// A file name within quotes, as browsers write it: UTF-8, with `"` and control characters percent-encoded
/// (WHATWG HTML, multipart/form-data encoding algorithm; RFC 7578 section 4.2).
fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '"' || c.is_ascii_control() {
            let _ = write!(out, "%{:02X}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// The part's media type, where it can stand in a header; it came with an upload.
fn media_type(part: &Part) -> &str {
    let text = part.content_type.as_str();
    let plain = text.len() <= 200 && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let typed = text.split_once('/').is_some_and(|(kind, rest)| {
        !kind.is_empty() && !rest.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if plain && typed { text } else { ANY_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_cannot_add_headers() {
        assert_eq!(quoted("Lageplan \"Größe\"\r\nX: y.pdf"), "Lageplan %22Größe%22%0D%0AX: y.pdf");
        let part = |content_type: &str| Part {
            name: String::new(),
            content_type: content_type.to_owned(),
            blob: BlobRef { sha256: kop_core::ContentHash::of(b""), size: 0 },
        };
        for good in ["application/xml", "text/plain; charset=utf-8"] {
            assert_eq!(media_type(&part(good)), good);
        }
        for bad in ["", "pdf", "/", "a/", "a/b\r\nX: y", "a/ä", "a b/c", &"a/".repeat(200)] {
            assert_eq!(media_type(&part(bad)), ANY_BYTES, "{bad:?}");
        }
    }
}
