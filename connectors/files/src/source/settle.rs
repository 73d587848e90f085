// SPDX-License-Identifier: EUPL-1.2
//! Settles an entry of the folder: moves it out of the way, or deletes it. The same attempt twice does the same as
//! once: what is not there any more is settled.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    sync::Arc,
};

use async_trait::async_trait;
use kop_connector_api::{Blobs, Connector};
use kop_core::{Diagnostic, Outcome, Receipt, Repeatability, Sendung, Ticket as Question, sendung::Level};
use rustix::fs::{AtFlags, FileType};
use tokio::{io::AsyncReadExt, task::spawn_blocking};

use super::{
    DONE, Root, Ticket,
    settings::After,
    walk::{self, Trouble},
};
use crate::{
    disk,
    problem::{self, Failure},
    settings::HIDDEN,
};

/// Longest ticket that is ours.
const LONGEST_TICKET: u64 = 4096;

/// Tells the folder that an application may go.
pub(crate) struct Settler {
    pub(crate) root: Root,
    pub(crate) after: After,
    pub(crate) blobs: Arc<dyn Blobs>,
}

#[async_trait]
impl Connector for Settler {
    fn repeatability(&self) -> Repeatability {
        Repeatability::Idempotent
    }

    async fn probe(&self) -> Result<(), Diagnostic> {
        let root = self.root.clone();
        match spawn_blocking(move || walk::open_root(&root)).await {
            Ok(done) => done.map(drop).map_err(|error| problem::source_folder(&error)),
            Err(error) => Err(problem::source_folder(&error.into())),
        }
    }

    async fn deliver(&self, sendung: &Sendung) -> Outcome {
        let (name, ticket) = match self.ticket(sendung).await {
            Ok(read) => read,
            Err(failure) => return failure.into(),
        };
        let (root, after, id) = (self.root.clone(), self.after, sendung.delivery_id.to_string());
        match spawn_blocking(move || settle(&root, after, &name, &ticket, &id)).await {
            Ok(Ok(what)) => {
                Outcome::Receipt(Receipt { level: Level::Uebergeben, reference: Some(what.to_owned()) })
            }
            Ok(Err(problem)) => Outcome::Retry { after: None, problem },
            // The runtime is shutting down; the next attempt finds what this one left.
            Err(error) => Outcome::Unknown(problem::source_folder(&error.into())),
        }
    }

    async fn follow_up(&self, _: &Question) -> Outcome {
        Outcome::Unknown(problem::cannot_be_asked())
    }
}

impl Settler {
    async fn ticket(&self, sendung: &Sendung) -> Result<(OsString, Ticket), Failure> {
        let broken = |_| problem::unreadable_blob("no ticket of a folder");
        let blob = self.blobs.open(&sendung.tenant, &sendung.main.blob).await;
        let mut bytes = Vec::new();
        let mut blob = blob.map_err(|error| problem::blob_error(&error))?.take(LONGEST_TICKET);
        blob.read_to_end(&mut bytes).await.map_err(|error| problem::blob_error(&error))?;
        let ticket: Ticket = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let name = unhex(&ticket.name).filter(|name| is_plain(name));
        Ok((name.ok_or_else(|| broken(String::new()))?, ticket))
    }
}

/// One name, no way.
fn is_plain(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !bytes.is_empty() && !bytes.starts_with(b".") && !bytes.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// A name in hexadecimal.
pub(super) fn hex(name: &OsStr) -> String {
    name.as_encoded_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<OsString> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes =
        digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>());
    Some(OsString::from_vec(bytes??))
}

fn settle(
    root: &Root,
    after: After,
    name: &OsStr,
    ticket: &Ticket,
    id: &str,
) -> Result<&'static str, Diagnostic> {
    let handle = walk::open_root(root).map_err(|error| problem::source_folder(&error))?;
    match step(root, &handle, after, name, ticket, id) {
        Ok(what) => Ok(what),
        Err(Trouble::Gone) => Ok("nicht mehr da"),
        // Something else lies under its name, which the source has not taken and will look at.
        Err(Trouble::Fault(_)) => Ok("inzwischen etwas anderes"),
        Err(Trouble::System(error)) => Err(problem::source_folder(&error)),
    }
}

fn step(
    root: &Root,
    handle: &OwnedFd,
    after: After,
    name: &OsStr,
    ticket: &Ticket,
    id: &str,
) -> Result<&'static str, Trouble> {
    let hidden = format!("{HIDDEN}weg-{id}");
    if after == After::Loeschen {
        remove(root, handle, &hidden)?;
    }
    if walk::entry(handle, name, ticket.marke.as_deref())?.state() != ticket.stand {
        return Ok("inzwischen etwas anderes");
    }
    let (to, moved) = match after {
        After::Verschieben => {
            let done = walk::open_own(handle, DONE).map_err(Trouble::System)?;
            let moved = walk::rename(handle, name, &done, id)?;
            (done, moved)
        }
        After::Loeschen => {
            walk::rename_to(handle, name, handle, hidden.as_ref())?;
            (handle.try_clone().map_err(Trouble::System)?, OsString::from(&hidden))
        }
    };
    // Written to between the look and the move: back, so that it is read before it goes.
    let now = walk::entry(&to, &moved, ticket.marke.as_deref());
    if !now.is_ok_and(|now| now.state() == ticket.stand) {
        walk::rename_to(&to, &moved, handle, name)?;
        return Err(Trouble::System(io::ErrorKind::ResourceBusy.into()));
    }
    if after == After::Loeschen {
        remove(root, handle, &hidden)?;
        return Ok("gelöscht");
    }
    Ok(DONE)
}

/// Removes what an attempt has taken out of the way.
fn remove(root: &Root, handle: &OwnedFd, hidden: &str) -> Result<(), Trouble> {
    let stat = match rustix::fs::statat(handle, hidden, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let path = disk::make_root(&root.base_dir, &root.below).map_err(Trouble::System)?.join(hidden);
    // A link is removed, never what it leads to.
    let removed = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Trouble::System(error)),
        _ => Ok(()),
    }
}
