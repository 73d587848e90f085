// SPDX-License-Identifier: EUPL-1.2
//! The protocol of clamd: commands `zVERSION` and `zINSTREAM`, answers that end with a zero byte (clamd(8)).
//! One connection per command, so that an answer can belong to nothing else.

use std::io;

use async_trait::async_trait;
use kop_connector_api::{BlobRead, Scanner, Verdict};
use kop_core::Diagnostic;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    problem,
    transport::{Bounds, CHUNK, Stream, Target},
};

/// Longest answer that is read.
const LONGEST_ANSWER: usize = 4096;

pub(crate) struct Clamd {
    pub(crate) target: Target,
    pub(crate) bounds: Bounds,
}

#[async_trait]
impl Scanner for Clamd {
    async fn version(&self) -> Result<String, Diagnostic> {
        let asking = async {
            let mut stream = self.target.connect().await?;
            stream.write_all(b"zVERSION\0").await?;
            answer(&mut stream).await
        };
        let said = self.bounded(asking).await?;
        if said.starts_with("ClamAV") { Ok(problem::short(&said)) } else { Err(problem::no_verdict(&said)) }
    }

    async fn scan(&self, content: BlobRead, size: u64) -> Result<Verdict, Diagnostic> {
        if size > self.bounds.largest {
            return Ok(Verdict::Unscannable("groesste_datei_mb".to_owned()));
        }
        let said = self.bounded(self.stream(content)).await?;
        verdict(&said)
    }
}

impl Clamd {
    async fn bounded(&self, asking: impl Future<Output = io::Result<String>>) -> Result<String, Diagnostic> {
        match timeout(self.bounds.time, asking).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(problem::unreachable(&error)),
            Err(_) => Err(problem::too_slow()),
        }
    }

    /// Sends the file in pieces with their lengths, a piece of length zero at the end.
    async fn stream(&self, mut content: BlobRead) -> io::Result<String> {
        let mut stream = self.target.connect().await?;
        stream.write_all(b"zINSTREAM\0").await?;
        let mut piece = vec![0; CHUNK];
        loop {
            let read = content.read(&mut piece).await?;
            let length = u32::try_from(read).map_err(io::Error::other)?.to_be_bytes();
            let sent = async {
                stream.write_all(&length).await?;
                stream.write_all(&piece[..read]).await
            };
            // Past its limit clamd answers and closes without reading on: the answer says more than the error.
            if let Err(error) = sent.await {
                return answer(&mut stream).await.map_err(|_| error);
            }
            if read == 0 {
                stream.flush().await?;
                return answer(&mut stream).await;
            }
        }
    }
}

async fn answer(stream: &mut Box<dyn Stream>) -> io::Result<String> {
    let mut text = Vec::new();
    let mut piece = [0; 512];
    // Only to the zero byte: what follows may be the error of a connection that clamd closed without reading on.
    while text.len() < LONGEST_ANSWER {
        let read = stream.read(&mut piece).await?;
        let end = piece[..read].iter().position(|&byte| byte == 0);
        text.extend_from_slice(&piece[..end.unwrap_or(read)]);
        if end.is_some() || read == 0 {
            break;
        }
    }
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn verdict(said: &str) -> Result<Verdict, Diagnostic> {
    let words = said.strip_prefix("stream: ").unwrap_or(said).trim();
    if words == "OK" {
        Ok(Verdict::Clean)
    } else if let Some(name) = words.strip_suffix(" FOUND") {
        Ok(problem::finding(name))
    } else if words.contains("size limit exceeded") {
        Ok(Verdict::Unscannable("StreamMaxLength".to_owned()))
    } else {
        Err(problem::no_verdict(words))
    }
}
