// SPDX-License-Identifier: EUPL-1.2
//! Bodies and files while they arrive: a metered body, and files on their way into the blob store. Knows no
//! vendor's format.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use kop_connector_api::{BlobSink, Inbox, Refusal, intake::BodyStream};
use kop_core::{BlobRef, TenantId};

use crate::problem;

/// Largest piece of a body that is worked on at once.
const PIECE: usize = 64 * 1024;
/// Bytes that may arrive without a file or chunk of one coming out: boundaries and part headers.
const STALL: u64 = 512 * 1024;
/// Largest data document that is kept in memory for the adapter.
pub(crate) const MAX_INLINE: usize = 16 * 1024 * 1024;

const FINE: u8 = 0;
const TOO_LARGE: u8 = 1;
const BROKEN_OFF: u8 = 2;
const STALLED: u8 = 3;

/// What is known of a body while a parser is reading it.
#[derive(Debug)]
pub(crate) struct Meter {
    end: AtomicU8,
    unprogressed: AtomicU64,
    limit: u64,
}

impl Meter {
    /// The parser gave something out, so it is not piling up what it reads.
    pub(crate) fn progressed(&self) {
        self.unprogressed.store(0, Ordering::Relaxed);
    }

    /// Why the body ended before its end, or `otherwise` when it did not.
    pub(crate) fn refusal(&self, otherwise: impl FnOnce() -> Refusal) -> Refusal {
        match self.end.load(Ordering::Relaxed) {
            TOO_LARGE => problem::too_large(self.limit),
            BROKEN_OFF => problem::broken_off(),
            STALLED => problem::malformed_multipart(),
            _ => otherwise(),
        }
    }
}

/// A body that is bounded and comes in small pieces, one for each time it is asked.
///
/// `multer` reads until its stream says "not yet"; a fast sender would make it pile up the whole body. So
/// this stream says "not yet" after each piece.
pub(crate) struct Metered {
    inner: BodyStream,
    rest: Bytes,
    pause: bool,
    left: u64,
    meter: Arc<Meter>,
}

impl Metered {
    /// Bounds a body to `limit` bytes.
    pub(crate) fn new(inner: BodyStream, limit: u64) -> (Self, Arc<Meter>) {
        let meter = Arc::new(Meter { end: AtomicU8::new(FINE), unprogressed: AtomicU64::new(0), limit });
        (Self { inner, rest: Bytes::new(), pause: false, left: limit, meter: Arc::clone(&meter) }, meter)
    }

    fn stop(&self, why: u8) -> Poll<Option<Result<Bytes, io::Error>>> {
        self.meter.end.store(why, Ordering::Relaxed);
        Poll::Ready(Some(Err(io::Error::other("the body was refused"))))
    }
}

impl Stream for Metered {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            match self.inner.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => self.rest = bytes,
                Poll::Ready(Some(Err(_))) => return self.stop(BROKEN_OFF),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let size = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(size);
        let Some(left) = self.left.checked_sub(piece.len() as u64) else { return self.stop(TOO_LARGE) };
        self.left = left;
        if self.meter.unprogressed.fetch_add(piece.len() as u64, Ordering::Relaxed) > STALL {
            return self.stop(STALLED);
        }
        self.pause = true;
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Memory that the data documents of one payload may take together.
#[derive(Debug)]
pub(crate) struct InlineBudget(usize);

impl InlineBudget {
    /// Room for data documents; applicants may have uploaded XML of their own beside them.
    pub(crate) fn new() -> Self {
        Self(2 * MAX_INLINE)
    }
}

/// A file on its way into the blob store. Unless it is finished, nothing of it is kept.
pub(crate) struct FileWriter {
    sink: Box<dyn BlobSink>,
    copy: Copy,
}

/// The copy in memory that the adapter may want to read.
enum Copy {
    /// Nobody will read it.
    No,
    /// Not enough seen yet to tell whether it is XML.
    Undecided(Vec<u8>),
    /// Looks like XML.
    Yes(Vec<u8>),
}

impl FileWriter {
    /// Opens a file; `watch_for_xml` keeps a copy of what looks like an XML document.
    pub(crate) async fn open(
        inbox: &dyn Inbox,
        tenant: &TenantId,
        watch_for_xml: bool,
    ) -> Result<Self, Refusal> {
        let copy = if watch_for_xml { Copy::Undecided(Vec::new()) } else { Copy::No };
        Ok(Self { sink: inbox.blob(tenant).await?, copy })
    }

    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes, budget: &mut InlineBudget) -> Result<(), Refusal> {
        self.copy = match std::mem::replace(&mut self.copy, Copy::No) {
            Copy::No => Copy::No,
            Copy::Undecided(mut head) => {
                head.extend_from_slice(&bytes);
                match looks_like_xml(&head) {
                    Some(true) => keep(head, 0, budget),
                    Some(false) => Copy::No,
                    None if head.len() > 1024 => Copy::No,
                    None => Copy::Undecided(head),
                }
            }
            Copy::Yes(mut copy) => {
                let before = copy.len();
                copy.extend_from_slice(&bytes);
                keep(copy, before, budget)
            }
        };
        self.sink.write(bytes).await
    }

    /// Makes the file durable; the copy is there when it looked like XML and was not too large.
    pub(crate) async fn finish(self) -> Result<(BlobRef, Option<Bytes>), Refusal> {
        let blob = self.sink.finish().await?;
        let copy = match self.copy {
            Copy::Yes(copy) => Some(copy.into()),
            _ => None,
        };
        Ok((blob, copy))
    }
}

fn keep(copy: Vec<u8>, counted: usize, budget: &mut InlineBudget) -> Copy {
    match budget.0.checked_sub(copy.len() - counted) {
        Some(left) if copy.len() <= MAX_INLINE => {
            budget.0 = left;
            Copy::Yes(copy)
        }
        _ => {
            budget.0 += counted;
            Copy::No
        }
    }
}

/// Whether a file begins like an XML document in any of the usual encodings; `None` when it is too early.
fn looks_like_xml(head: &[u8]) -> Option<bool> {
    if head.len() < 2 {
        return None;
    }
    if head.starts_with(&[0xFE, 0xFF]) || head.starts_with(&[0xFF, 0xFE]) {
        return Some(true);
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first == 0xEF && text.len() < 3 {
        return None;
    }
    Some(*first == b'<')
}
