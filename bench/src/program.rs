// SPDX-License-Identifier: EUPL-1.2
//! The real program: how long it takes to answer, and what it holds when nothing happens.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Error;

/// `target/release/kop` beside `target/release/deps/<this benchmark>`, if it is built (`make bench` builds it first).
pub fn built() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let kop = own.parent()?.parent()?.join("kop");
    kop.is_file().then_some(kop)
}

/// What one start showed.
pub struct Start {
    /// From starting the process to its first answer, in milliseconds.
    pub milliseconds: f64,
    /// Resident memory in KiB, two seconds later.
    pub idle_kib: u64,
}

/// Starts `kop serve` on the instance and ends it again.
///
/// # Errors
/// When it does not answer within ten seconds.
pub fn start(kop: &Path, instance: &Path) -> Result<Start, Error> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let begin = Instant::now();
    let child = Command::new(kop)
        .arg("--instanz")
        .arg(instance)
        .args(["serve", "--adresse", &address.to_string()])
        .env("KOP_AFM_PASSWORT", "nur-zum-testen")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let child = Ended(child);
    while !healthy(&address.to_string()) {
        if begin.elapsed() > Duration::from_secs(10) {
            return Err("kop serve antwortet nicht".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(Duration::from_secs(2));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("VmRSS")?;
    let idle_kib = line.split_whitespace().nth(1).ok_or("VmRSS")?.parse()?;
    Ok(Start { milliseconds, idle_kib })
}

fn healthy(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
