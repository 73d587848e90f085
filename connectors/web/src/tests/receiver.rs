// SPDX-License-Identifier: EUPL-1.2
//! HTTP receivers for tests: they speak just enough HTTP/1.1 to be polite or rude on purpose.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::LIMIT;

/// What a receiver of a test does with a connection.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Reads the whole request, then sends this.
    Answers(String),
    /// Sends this before it has read more than the head.
    AnswersEarly(String),
    /// Reads the whole request and says nothing.
    KeepsSilent,
    /// Reads the whole request and closes.
    HangsUp,
    /// Reads nothing, so that not even encryption is agreed on.
    Sleeps,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Lower-case name and value.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body was as long as announced.
    pub(crate) whole: bool,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} only once");
        value
    }
}

/// A receiver that treats its connections one after the other, each in its manner; the last manner stays.
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/eingang", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (manners, requests) = (manners.to_vec(), seen.clone());
        let task = tokio::spawn(async move {
            for count in 0..100 {
                let (stream, _) = listener.accept().await.unwrap();
                let manner = manners.get(count).or(manners.last()).unwrap().clone();
                // A connection that breaks is what some tests want.
                let _ = serve(stream, manner, &requests).await;
            }
        });
        Self { url, seen, task }
    }

    pub(crate) async fn answering(status: &str, headers: &str, body: &str) -> Self {
        Self::start(&[Manner::Answers(answer(status, headers, body))]).await
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn serve(mut stream: TcpStream, manner: Manner, seen: &Mutex<Vec<Request>>) -> io::Result<()> {
    if let Manner::Sleeps = manner {
        tokio::time::sleep(LIMIT).await;
        return Ok(());
    }
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n").map(str::to_owned);
    let mut request = Request { line: lines.next().unwrap(), ..Request::default() };
    request.headers = lines
        .map(|line| line.split_once(": ").map(|(n, v)| (n.to_lowercase(), v.to_owned())).unwrap())
        .collect();
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    if let Manner::AnswersEarly(answer) = &manner {
        stream.write_all(answer.as_bytes()).await?;
    }
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        match stream.read_buf(&mut body).await {
            Ok(count) if count > 0 => {}
            _ => break,
        }
    }
    request.whole = body.len() == length;
    let whole = request.whole;
    request.body = body;
    seen.lock().unwrap().push(request);
    match manner {
        Manner::Answers(answer) if whole => stream.write_all(answer.as_bytes()).await?,
        Manner::KeepsSilent => tokio::time::sleep(LIMIT).await,
        _ => {}
    }
    Ok(())
}
