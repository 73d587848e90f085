// SPDX-License-Identifier: EUPL-1.2
//! A connection to a scanner, and the bounds of a scan.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Bytes of a file that are sent in one go.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Connecting takes no longer; a scanner is near.
const CONNECT: Duration = Duration::from_secs(5);

/// Bounds of one scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From connecting to the verdict.
    pub(crate) time: Duration,
    /// Largest file in bytes that is sent at all.
    pub(crate) largest: u64,
}

/// Where a scanner listens.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    Tcp(String),
}

/// Either kind of connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// The same, with a relative path below a folder.
    pub(crate) fn below(self, base_dir: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(base_dir.join(path)),
            tcp @ Self::Tcp(_) => tcp,
        }
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connecting = async {
            Ok::<Box<dyn Stream>, io::Error>(match self {
                Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Self::Tcp(address) => Box::new(TcpStream::connect(address.as_str()).await?),
            })
        };
        tokio::time::timeout(CONNECT, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

/// Reads to the end, at most `most` bytes: an answer is short, whoever gives it.
pub(crate) async fn read_at_most(from: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
