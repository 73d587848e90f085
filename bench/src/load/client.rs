// SPDX-License-Identifier: EUPL-1.2
//! As little of an HTTP/1.1 client as load needs: kept connections, one request each at a time.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Error;

/// Connections to one server.
pub struct Pool {
    address: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
}

impl Pool {
    /// None yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default() }
    }

    /// Sends a body; the answer's status and body.
    ///
    /// # Errors
    /// When the connection fails or the answer is not plain HTTP/1.1 with a length.
    pub async fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, Vec<u8>), Error> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = if let Some(connection) = kept {
            connection
        } else {
            let connection = TcpStream::connect(self.address).await?;
            connection.set_nodelay(true)?;
            connection
        };
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        connection.write_all(&request).await?;
        let answer = read_answer(&mut connection).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }
}

async fn read_answer(connection: &mut TcpStream) -> Result<(u16, Vec<u8>), Error> {
    let mut read = Vec::with_capacity(1024);
    let head = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(&mut read).await? == 0 {
            return Err("die Verbindung endete vor der Antwort".into());
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let status = text.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or("kein Status")?;
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
    let mut body = read.split_off(head + 4);
    while body.len() < length {
        if connection.read_buf(&mut body).await? == 0 {
            return Err("die Antwort brach ab".into());
        }
    }
    Ok((status, body))
}
