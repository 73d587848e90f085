// SPDX-License-Identifier: EUPL-1.2
//! What a sender still has to send when its answer is already known.
//!
//! A connection that is closed over unread bytes is reset, and a reset takes the answer with it: the sender would see
//! a broken line where a refusal with its reason was said, or break off on its next request. So the rest is read and
//! thrown away first, within bounds (RFC 9112 section 9.6); past them the answer says that the connection ends.

use std::{
    io::{Error, ErrorKind},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use kop_connector_api::BodyStream;
use tokio::{sync::oneshot, time::timeout};

/// Longest silence of a sender.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes that are read for nothing.
const MOST: usize = 64 << 20;
/// Longest time that is spent on it.
const LONGEST: Duration = Duration::from_secs(20);

/// Gets the body back when its reader is done with it.
pub(crate) struct Leftover(oneshot::Receiver<Lent>);

/// A body, and whether anything of it was asked for.
struct Lent {
    body: BodyDataStream,
    asked: bool,
}

/// Hands the body back when dropped.
struct Lease {
    lent: Option<Lent>,
    back: Option<oneshot::Sender<Lent>>,
}

impl Lease {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        let lent = self.lent.as_mut()?;
        lent.asked = true;
        match timeout(SILENCE, lent.body.next()).await {
            Ok(piece) => Some(piece?.map_err(Error::other)),
            Err(_) => Some(Err(ErrorKind::TimedOut.into())),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (Some(lent), Some(back)) = (self.lent.take(), self.back.take()) {
            let _ = back.send(lent);
        }
    }
}

/// The body as a stream that breaks off after a long silence, and what will be left of it.
pub(crate) fn lend(body: Body) -> (BodyStream, Leftover) {
    let (back, left) = oneshot::channel();
    let lent = Lent { body: body.into_data_stream(), asked: false };
    let lease = Lease { lent: Some(lent), back: Some(back) };
    let stream = futures_util::stream::unfold(lease, |mut lease| async move {
        let piece = lease.next().await?;
        Some((piece, lease))
    });
    (Box::pin(stream), Leftover(left))
}

impl Leftover {
    /// Reads what is left. `waits`: the sender sends nothing until it is asked for the body.
    ///
    /// False where the connection cannot be used again: too much was left, it took too long, or it broke.
    pub(crate) async fn discard(mut self, waits: bool) -> bool {
        match self.0.try_recv() {
            Ok(lent) if waits && !lent.asked => false,
            Ok(lent) => read_out(lent.body).await,
            // Whoever answered still holds the body.
            Err(_) => false,
        }
    }
}

/// The same for a body that was never lent.
pub(crate) async fn discard(body: Body, waits: bool) -> bool {
    !waits && read_out(body.into_data_stream()).await
}

async fn read_out(mut body: BodyDataStream) -> bool {
    let mut left = MOST;
    let whole = async {
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) if piece.len() <= left => left -= piece.len(),
                _ => return false,
            }
        }
        true
    };
    timeout(LONGEST, whole).await.unwrap_or(false)
}
