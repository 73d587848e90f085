// SPDX-License-Identifier: EUPL-1.2
//! One Sendung into one directory, so that the receiver never sees half of it and a repeated attempt never
//! makes a second one.
//!
//! The steps: files into a hidden directory beside the final one, each forced to the disk; rename; the
//! marker last. Whatever a crash leaves is told apart at the next attempt: hidden leftovers are removed, a
//! complete directory without a marker gets it, one with a marker is done.
//!
//! This runs on a thread for blocking work: compressing and forcing to the disk would hold up everyone else.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kop_connector_api::Blobs;
use kop_core::{ContentHash, MessageId, Part, Receipt, Sendung, sendung::Level};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, runtime::Handle};

use crate::{
    container, disk,
    problem::{self, Failure},
    settings::{Container, HIDDEN, Plan},
};

/// Bytes in memory per file.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Longest marker that could be ours.
const LONGEST_MARKER: u64 = 4096;
/// Longest file name that file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// What the marker says: which Sendung lies here.
#[derive(Serialize, Deserialize)]
struct Marker {
    message_id: MessageId,
    sha256: ContentHash,
}

/// What lies where the Sendung should go.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// All files, but no marker.
    Unmarked,
    /// Handed over before.
    Done,
    /// Something else.
    Other,
}

/// One attempt.
pub(crate) struct Handover {
    pub(crate) base_dir: PathBuf,
    pub(crate) plan: Arc<Plan>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) sendung: Sendung,
    pub(crate) runtime: Handle,
    /// Set when nobody waits for the result any more.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Handover {
    pub(crate) fn run(&self) -> Result<Receipt, Failure> {
        self.check_names()?;
        let root = disk::make_root(&self.base_dir, &self.plan.folder)?;
        let names = self.plan.directory.render(&self.sendung);
        let (last, above) = names.split_last().ok_or_else(problem::not_a_folder)?;
        let parent = disk::make_below(&root, above)?;
        disk::sweep(&parent, &self.prefix())?;

        let directory = parent.join(last);
        match self.look(&directory)? {
            Found::Nothing => {
                self.place(&parent, &directory)?;
                self.mark(&parent, &directory)?;
            }
            Found::Unmarked => self.mark(&parent, &directory)?,
            // The attempt that wrote the marker may have ended before it was durable.
            Found::Done => disk::sync_folder(&directory)?,
            Found::Other => return Err(problem::other_content()),
        }
        Ok(Receipt { level: Level::Uebergeben, reference: Some(names.join("/")) })
    }

    /// Names come from a mapping and, in part, from a citizen; the engine made them safe and this does not
    /// rely on it.
    fn check_names(&self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        for part in self.sendung.all_parts() {
            let name = part.name.as_str();
            let plain = !name.is_empty()
                && name.len() <= LONGEST_NAME
                && !name.starts_with('.')
                && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\'));
            let free =
                self.plan.container != Container::Keiner || !name.eq_ignore_ascii_case(&self.plan.marker);
            // Windows and network drives do not tell cases apart.
            if !plain || !free || !seen.insert(name.to_lowercase()) {
                return Err(problem::bad_name(name));
            }
        }
        if self.plan.container == Container::Zip {
            let name = container::file_name(&self.sendung.main);
            if name.len() > LONGEST_NAME || name.eq_ignore_ascii_case(&self.plan.marker) {
                return Err(problem::bad_name(&name));
            }
        }
        Ok(())
    }

    /// Temporary names of this Sendung begin with this; a random end keeps two attempts apart.
    fn prefix(&self) -> String {
        format!("{HIDDEN}{}-", self.sendung.message_id)
    }

    fn hash(&self) -> ContentHash {
        Sendung::content_hash(&self.sendung.main, &self.sendung.parts)
    }

    fn look(&self, directory: &Path) -> io::Result<Found> {
        match disk::entry(directory)? {
            None => return Ok(Found::Nothing),
            Some(found) if found.is_dir() => {}
            Some(_) => return Ok(Found::Other),
        }
        let marker = directory.join(&self.plan.marker);
        if let Some(found) = disk::entry(&marker)? {
            let ours = found.is_file()
                && found.len() <= LONGEST_MARKER
                && serde_json::from_slice::<Marker>(&fs::read(&marker)?)
                    .is_ok_and(|marker| marker.sha256 == self.hash());
            return Ok(if ours { Found::Done } else { Found::Other });
        }
        if fs::read_dir(directory)?.next().is_none() {
            // An empty directory stands in nobody's way; the rename replaces it.
            return Ok(Found::Nothing);
        }
        Ok(if self.complete(directory)? { Found::Unmarked } else { Found::Other })
    }

    /// Whether every file is there as it should be. A marker-less directory is rare, so all is read.
    fn complete(&self, directory: &Path) -> io::Result<bool> {
        let is_file = |path: &Path| Ok::<_, io::Error>(disk::entry(path)?.is_some_and(|e| e.is_file()));
        if self.plan.container == Container::Zip {
            let path = directory.join(container::file_name(&self.sendung.main));
            return Ok(is_file(&path)? && container::holds(&path, &self.sendung)?);
        }
        for part in self.sendung.all_parts() {
            let path = directory.join(&part.name);
            if !is_file(&path)? || !container::same_content(File::open(&path)?, part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Everything but the marker.
    pub(crate) fn place(&self, parent: &Path, directory: &Path) -> Result<(), Failure> {
        let hidden = disk::temporary(&self.prefix(), 0o777).tempdir_in(parent)?;
        match self.plan.container {
            Container::Keiner => {
                for part in self.sendung.all_parts() {
                    let mut file = create(hidden.path(), &part.name)?;
                    self.copy(part, &mut file)?;
                    file.sync_all()?;
                }
            }
            Container::Zip => {
                let file = create(hidden.path(), &container::file_name(&self.sendung.main))?;
                let copy = |part: &Part, out: &mut dyn Write| self.copy(part, out);
                container::write(file, &self.sendung, copy)?.sync_all()?;
            }
        }
        disk::sync_folder(hidden.path())?;
        self.still_wanted()?;
        // On failure the hidden directory is removed when it goes out of scope.
        fs::rename(hidden.path(), directory)?;
        let _ = hidden.keep();
        disk::sync_folder(parent)?;
        Ok(())
    }

    /// Says that the directory is complete.
    fn mark(&self, parent: &Path, directory: &Path) -> Result<(), Failure> {
        let marker = Marker { message_id: self.sendung.message_id, sha256: self.hash() };
        let mut file = disk::temporary(&self.prefix(), 0o666).tempfile_in(parent)?;
        serde_json::to_writer(&mut file, &marker).map_err(io::Error::from)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(directory.join(&self.plan.marker)).map_err(|error| error.error)?;
        disk::sync_folder(directory)?;
        Ok(())
    }

    /// Copies a part and makes sure that it is the part: what the marker says must be true.
    fn copy(&self, part: &Part, out: &mut dyn Write) -> Result<(), Failure> {
        let mut content = self
            .runtime
            .block_on(self.blobs.open(&self.sendung.tenant, &part.blob))
            .map_err(|error| problem::blob_error(&error))?;
        let mut hasher = Sha256::new();
        let mut size = 0_u64;
        let mut buffer = vec![0; CHUNK];
        loop {
            self.still_wanted()?;
            let count = self
                .runtime
                .block_on(content.read(&mut buffer))
                .map_err(|error| problem::blob_error(&error))?;
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > part.blob.size {
                return Err(problem::unreadable_blob("longer than it was stored"));
            }
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count])?;
        }
        if size != part.blob.size || hasher.finalize().as_slice() != part.blob.sha256.as_bytes() {
            return Err(problem::unreadable_blob("not what was stored"));
        }
        Ok(())
    }

    fn still_wanted(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) { Err(problem::interrupted()) } else { Ok(()) }
    }
}

/// A new file; nothing is overwritten, also where the file system takes two names for one.
fn create(folder: &Path, name: &str) -> Result<File, Failure> {
    OpenOptions::new().write(true).create_new(true).open(folder.join(name)).map_err(|error| {
        match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::InvalidFilename => problem::bad_name(name),
            _ => error.into(),
        }
    })
}

/// Whether the receiver's folder, or the nearest one above it that exists, takes a file. Leaves nothing
/// behind.
pub(crate) fn probe(base_dir: &Path, plan: &Plan) -> io::Result<()> {
    let mut folder = base_dir.to_owned();
    for component in plan.folder.components() {
        let next = folder.join(component);
        if !next.try_exists()? {
            break;
        }
        folder = next;
    }
    let mut file = disk::temporary(&format!("{HIDDEN}probe-"), 0o600).tempfile_in(&folder)?;
    file.write_all(b"KOP engine")?;
    file.as_file().sync_all()?;
    file.close()
}
