// SPDX-License-Identifier: EUPL-1.2
//! A mail server that takes everything (RFC 5321) and keeps it for the test to read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::Error;

/// The mails so far, as they came.
#[derive(Clone, Default)]
pub struct Mails(Arc<Mutex<Vec<String>>>);

impl Mails {
    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts one; its port and what it gets.
///
/// # Errors
/// When no port is free.
pub async fn sink() -> Result<(u16, Mails), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mails = Mails::default();
    let kept = mails.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, kept.clone()));
        }
    });
    Ok((port, mails))
}

async fn take(stream: TcpStream, mails: Mails) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    writing.write_all(b"220 test\r\n").await?;
    let mut mail: Option<String> = None;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match &mut mail {
            Some(text) if line == "." => {
                mails.0.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(text));
                mail = None;
                b"250 kept\r\n"
            }
            Some(text) => {
                text.push_str(&line);
                text.push('\n');
                continue;
            }
            None if line == "DATA" => {
                mail = Some(String::new());
                b"354 go on\r\n"
            }
            None if line == "QUIT" => b"221 bye\r\n",
            None => b"250 ok\r\n",
        };
        writing.write_all(answer).await?;
    }
    Ok(())
}
