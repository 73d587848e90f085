// SPDX-License-Identifier: EUPL-1.2
//! An ICAP client (RFC 3507): OPTIONS (section 4.10) tells the ISTag (4.7), RESPMOD (4.9) hands a file over as
//! the body of an HTTP response. 204 means "nothing to change"; a changed response means a finding. One
//! connection per request.

use std::io;

use async_trait::async_trait;
use kop_connector_api::{BlobRead, Scanner, Verdict};
use kop_core::Diagnostic;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{
    problem,
    transport::{Bounds, CHUNK, Target, read_at_most},
};

/// Longest head of an answer.
const LONGEST_HEAD: usize = 64 * 1024;

/// What a server may put around a file that it sends back.
const AROUND_BODY: u64 = 1024 * 1024;

pub(crate) struct Icap {
    pub(crate) address: String,
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) bounds: Bounds,
}

#[async_trait]
impl Scanner for Icap {
    async fn version(&self) -> Result<String, Diagnostic> {
        let asking = async {
            let mut stream = Target::Tcp(self.address.clone()).connect().await?;
            let request = format!(
                "OPTIONS {} ICAP/1.0\r\nHost: {}\r\nConnection: close\r\nEncapsulated: null-body=0\r\n\r\n",
                self.url, self.host
            );
            stream.write_all(request.as_bytes()).await?;
            Answer::read(&mut stream, 0).await
        };
        let answer = self.bounded(asking).await?;
        match (answer.status, answer.header("istag")) {
            (200, Some(tag)) => {
                let service = answer.header("service").unwrap_or("ICAP");
                Ok(problem::short(&format!("{service} {}", tag.trim_matches('"'))))
            }
            (status, _) => Err(problem::no_verdict(&format!("OPTIONS: {status}"))),
        }
    }

    async fn scan(&self, content: BlobRead, size: u64) -> Result<Verdict, Diagnostic> {
        if size > self.bounds.largest {
            return Ok(Verdict::Unscannable("groesste_datei_mb".to_owned()));
        }
        let (sent, answer) = self.bounded(self.exchange(content, size)).await?;
        verdict(&answer, sent)
    }
}

impl Icap {
    async fn bounded<T>(&self, asking: impl Future<Output = io::Result<T>>) -> Result<T, Diagnostic> {
        match timeout(self.bounds.time, asking).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(problem::unreachable(&error)),
            Err(_) => Err(problem::too_slow()),
        }
    }

    /// Sends the file and reads the answer at the same time: a server may answer before it has read everything.
    /// Gives the hash of what was sent, when all of it was.
    async fn exchange(&self, content: BlobRead, size: u64) -> io::Result<(Option<[u8; 32]>, Answer)> {
        let stream = Target::Tcp(self.address.clone()).connect().await?;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let sending = self.send(content, size, &mut writing);
        let receiving = Answer::read(&mut reading, size);
        tokio::pin!(sending, receiving);
        tokio::select! {
            answer = &mut receiving => Ok((None, answer?)),
            sent = &mut sending => match sent {
                Ok(hash) => Ok((Some(hash), receiving.await?)),
                // The answer of a server that closed its ear says more than the error.
                Err(error) => Ok((None, receiving.await.map_err(|_| error)?)),
            },
        }
    }

    async fn send(
        &self,
        mut content: BlobRead,
        size: u64,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<[u8; 32]> {
        let request = "GET http://kop.invalid/datei HTTP/1.1\r\nHost: kop.invalid\r\n\r\n";
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        );
        let head = format!(
            "RESPMOD {} ICAP/1.0\r\nHost: {}\r\nUser-Agent: KOP-engine/{}\r\nAllow: 204\r\nConnection: close\r\n\
             Encapsulated: req-hdr=0, res-hdr={}, res-body={}\r\n\r\n{request}{response}",
            self.url,
            self.host,
            env!("CARGO_PKG_VERSION"),
            request.len(),
            request.len() + response.len(),
        );
        to.write_all(head.as_bytes()).await?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; CHUNK];
        loop {
            let read = content.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            to.write_all(format!("{read:x}\r\n").as_bytes()).await?;
            to.write_all(&piece[..read]).await?;
            to.write_all(b"\r\n").await?;
        }
        to.write_all(b"0\r\n\r\n").await?;
        to.flush().await?;
        Ok(hash.finalize().into())
    }
}

/// A server's answer: status, headers, and what it encapsulates.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// Hash of the encapsulated body, where one is there and complete.
    body: Option<[u8; 32]>,
}

impl Answer {
    /// Reads to the end of the connection; an encapsulated body may be as large as the file that was sent.
    async fn read(from: &mut (impl AsyncRead + Unpin), size: u64) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = end_of_head(&bytes) {
                break end;
            }
            if bytes.len() > LONGEST_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut piece = [0; 4096];
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&piece[..read]);
        };
        let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("ICAP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: None };
        if answer.status == 200 && answer.needs_body() {
            let mut rest = bytes.split_off(head_end);
            // A server that keeps the connection open in spite of "close" ends its body with an empty chunk;
            // what the bound cuts off is not complete and therefore not the same.
            let most =
                usize::try_from(size.saturating_mul(2).saturating_add(AROUND_BODY)).unwrap_or(usize::MAX);
            if !rest.ends_with(b"0\r\n\r\n") {
                rest.extend(read_at_most(from, most).await?);
            }
            answer.body = answer.offset("res-body").and_then(|at| body_hash(rest.get(at..)?));
        }
        Ok(answer)
    }

    /// Without a header that names a finding, only the returned body tells whether something was changed.
    fn needs_body(&self) -> bool {
        self.finding().is_none() && self.offset("res-body").is_some()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where an encapsulated part begins (RFC 3507 section 4.4.1).
    fn offset(&self, part: &str) -> Option<usize> {
        let list = self.header("encapsulated")?.split(',').filter_map(|one| one.trim().split_once('='));
        list.into_iter().find(|(name, _)| *name == part).and_then(|(_, at)| at.parse().ok())
    }

    /// What was found: the headers that scanners have in common.
    fn finding(&self) -> Option<String> {
        if let Some(said) = self.header("x-infection-found") {
            let threat = said.split(';').find_map(|one| one.trim().strip_prefix("Threat="));
            return Some(threat.unwrap_or(said).to_owned());
        }
        let named = self.header("x-virus-id").or_else(|| self.header("x-virus-name"))?;
        Some(named.to_owned()).filter(|name| !["", "no threats"].contains(&name.to_lowercase().trim()))
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The hash of a chunked body (RFC 9112 section 7.1), when it is complete.
fn body_hash(mut rest: &[u8]) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(hash.finalize().into());
        }
        hash.update(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

fn verdict(answer: &Answer, sent: Option<[u8; 32]>) -> Result<Verdict, Diagnostic> {
    match answer.status {
        // "No modifications needed" says something about the whole only when the whole was sent.
        204 if sent.is_some() => Ok(Verdict::Clean),
        200 => Ok(match answer.finding() {
            Some(name) => problem::finding(&name),
            // A server that cannot say 204 sends the file back as it was.
            None if sent.is_some() && answer.body == sent => Verdict::Clean,
            None => Verdict::Found("unbenannt".to_owned()),
        }),
        403 => Ok(answer
            .finding()
            .map_or(Verdict::Found("unbenannt".to_owned()), |name| problem::finding(&name))),
        status => Err(problem::no_verdict(&format!("RESPMOD: {status}"))),
    }
}
