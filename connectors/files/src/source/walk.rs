// SPDX-License-Identifier: EUPL-1.2
//! The folder and its entries by handle: nothing is reached through a path that somebody could bend, no link is
//! followed, nothing blocks.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    sync::Arc,
};

use kop_core::ContentHash;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat},
    io::Errno,
};

use crate::disk;

use super::Root;

/// Entries of the folder that are looked at in one go; those beyond have their turn when these are gone.
const MOST_ENTRIES: usize = 10_000;
/// Files of one application.
const MOST_FILES: usize = 1_000;
/// The folders within an application that hold its files.
const UPLOADS: &str = "anlagen";
const RENDERINGS: &str = "representation";

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What stands in the way of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A link, a pipe or something else that is neither file nor directory.
    NoFile,
    /// A folder that has no meaning here.
    Folder,
    /// More files than anyone sends.
    TooMany,
}

/// Why an entry could not be looked at.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is not there any more.
    Gone,
    /// It is nothing that could be an application.
    Fault(Fault),
    /// The system said no; perhaps later.
    System(io::Error),
}

impl From<Errno> for Trouble {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Gone,
            // What was a file or directory a moment ago is a link now.
            Errno::LOOP | Errno::NOTDIR => Self::Fault(Fault::NoFile),
            error => Self::System(error.into()),
        }
    }
}

/// An error within an entry: a file that is gone means that somebody is at work there, not that the entry is gone.
fn within(error: Errno) -> Trouble {
    if error == Errno::NOENT { Trouble::System(io::ErrorKind::ResourceBusy.into()) } else { error.into() }
}

/// Where a file lies within an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// At its top, or it is the application itself.
    Top,
    /// In `representation/`.
    Rendering,
    /// In `anlagen/`.
    Upload,
}

/// A file of an application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) name: OsString,
    pub(crate) size: u64,
    modified: (i64, u64),
}

/// The folder's handle.
pub(crate) fn open_root(root: &Root) -> io::Result<OwnedFd> {
    let path = disk::make_root(&root.base_dir, &root.below)?;
    Ok(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder of ours within it; made when it is not there.
pub(crate) fn open_own(root: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => rustix::fs::fsync(root).or_else(unsupported)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(rustix::fs::openat(root, name, FOLDER, Mode::empty())?)
}

fn unsupported(error: Errno) -> Result<(), Errno> {
    // Some network drives cannot; their server decides when names are durable.
    if matches!(error, Errno::INVAL | Errno::NOTSUP) { Ok(()) } else { Err(error) }
}

/// The names in a folder, sorted; at most `limit` and one more.
fn names(folder: impl AsFd, limit: usize) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
        if names.len() > limit {
            break;
        }
    }
    names.sort();
    Ok(names)
}

/// When an entry of the folder itself changed last: moving it away and back changes that.
pub(crate) type Touched = (i64, u64);

fn touched(stat: &Stat) -> Touched {
    (stat.st_ctime, stat.st_ctime_nsec)
}

/// Entries that may be applications: none that is hidden, and none of ours.
pub(crate) fn candidates(root: &OwnedFd) -> Result<Vec<(OsString, Touched)>, Errno> {
    let mut names = names(root, MOST_ENTRIES)?;
    names.retain(|name| !name.as_bytes().starts_with(b".") && name != super::DONE && name != super::FAULTY);
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        match rustix::fs::statat(root, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => found.push((name, touched(&stat))),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One entry of the folder, held open.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The entry itself where it is a directory, else the folder it is in.
    handle: Arc<OwnedFd>,
    /// It is a file.
    pub(crate) single: bool,
    pub(crate) files: Vec<Found>,
    /// Whether a file of the marker's name is there.
    pub(crate) marked: bool,
    pub(crate) touched: Touched,
}

/// Looks at an entry.
pub(crate) fn entry(root: &OwnedFd, name: &OsStr, marker: Option<&str>) -> Result<Entry, Trouble> {
    let stat = rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let touched = touched(&stat);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let handle = rustix::fs::openat(root, name, FOLDER, Mode::empty())?;
            let mut entry =
                Entry { handle: Arc::new(handle), single: false, files: Vec::new(), marked: false, touched };
            entry.list(marker)?;
            Ok(entry)
        }
        FileType::RegularFile => Ok(Entry {
            handle: Arc::new(root.try_clone().map_err(Trouble::System)?),
            single: true,
            files: vec![Found::of(Place::Top, name.to_owned(), &stat)],
            marked: false,
            touched,
        }),
        _ => Err(Trouble::Fault(Fault::NoFile)),
    }
}

impl Found {
    fn of(place: Place, name: OsString, stat: &Stat) -> Self {
        #[allow(clippy::cast_sign_loss)] // no file has a negative size
        let size = stat.st_size as u64;
        Self { place, name, size, modified: (stat.st_mtime, stat.st_mtime_nsec) }
    }
}

impl Entry {
    fn list(&mut self, marker: Option<&str>) -> Result<(), Trouble> {
        for name in names(&*self.handle, MOST_FILES).map_err(within)? {
            if name.as_bytes().starts_with(b".") && marker.is_none_or(|marker| name != marker) {
                continue;
            }
            let stat = rustix::fs::statat(&*self.handle, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(within)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if marker.is_some_and(|marker| name == marker) => self.marked = true,
                FileType::RegularFile => self.files.push(Found::of(Place::Top, name, &stat)),
                FileType::Directory if name == UPLOADS => self.below(&name, Place::Upload)?,
                FileType::Directory if name == RENDERINGS => self.below(&name, Place::Rendering)?,
                FileType::Directory => return Err(Trouble::Fault(Fault::Folder)),
                _ => return Err(Trouble::Fault(Fault::NoFile)),
            }
        }
        if self.files.len() > MOST_FILES {
            return Err(Trouble::Fault(Fault::TooMany));
        }
        self.files.sort();
        Ok(())
    }

    fn below(&mut self, folder: &OsStr, place: Place) -> Result<(), Trouble> {
        let handle = rustix::fs::openat(&*self.handle, folder, FOLDER, Mode::empty()).map_err(within)?;
        for name in names(&handle, MOST_FILES).map_err(within)? {
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let stat = rustix::fs::statat(&handle, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(within)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => self.files.push(Found::of(place, name, &stat)),
                FileType::Directory => return Err(Trouble::Fault(Fault::Folder)),
                _ => return Err(Trouble::Fault(Fault::NoFile)),
            }
        }
        Ok(())
    }

    /// The same entry, looked at once more through the same handle: what was moved meanwhile is still this one.
    pub(crate) fn again(&self, marker: Option<&str>) -> Result<Self, Trouble> {
        if self.single {
            let name = self.files.first().map(|file| file.name.clone()).unwrap_or_default();
            return entry(&self.handle, &name, marker);
        }
        let (handle, touched) = (self.handle.clone(), self.touched);
        let mut entry = Self { handle, single: false, files: Vec::new(), marked: false, touched };
        entry.list(marker)?;
        Ok(entry)
    }

    /// What it looks like: names, sizes and moments of its files. A single file's name is the entry's.
    pub(crate) fn state(&self) -> ContentHash {
        let mut parts = Vec::new();
        for file in &self.files {
            let place = [file.place as u8];
            let times = [file.modified.0.to_be_bytes(), file.modified.1.to_be_bytes()].concat();
            let name = if self.single { &[] } else { file.name.as_bytes() };
            parts.push([&place[..], &file.size.to_be_bytes(), &times, name].concat());
        }
        ContentHash::of_parts(parts.iter().map(|part| ("", &part[..])))
    }

    /// Opens a file of it, if it still is the one that was seen.
    pub(crate) fn open(&self, file: &Found) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match file.place {
            Place::Top => rustix::fs::openat(&*self.handle, &file.name, flags, Mode::empty())?,
            Place::Upload | Place::Rendering => {
                let name = if file.place == Place::Upload { UPLOADS } else { RENDERINGS };
                let folder = rustix::fs::openat(&*self.handle, name, FOLDER, Mode::empty())?;
                rustix::fs::openat(&folder, &file.name, flags, Mode::empty())?
            }
        };
        let stat = rustix::fs::fstat(&opened)?;
        let same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && Found::of(file.place, file.name.clone(), &stat) == *file;
        if same { Ok(opened.into()) } else { Err(io::ErrorKind::ResourceBusy.into()) }
    }
}

/// Moves an entry as [`rename_to`] does: under its own name, else with `otherwise` behind it. Gives the name that it has
/// now.
pub(crate) fn rename(
    from: &OwnedFd,
    name: &OsStr,
    to: &OwnedFd,
    otherwise: &str,
) -> Result<OsString, Trouble> {
    let mut target = name.to_owned();
    match rename_to(from, name, to, &target) {
        Err(Trouble::System(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Longest name that file systems take, less what is put behind it.
            let bytes = name.as_bytes();
            let short = &bytes[..bytes.len().min(254 - otherwise.len())];
            target = OsString::from_vec([short, b".", otherwise.as_bytes()].concat());
            rename_to(from, name, to, &target)?;
        }
        done => done?,
    }
    Ok(target)
}

/// Moves an entry, never over another one. Durable when it returns.
pub(crate) fn rename_to(from: &OwnedFd, name: &OsStr, to: &OwnedFd, target: &OsStr) -> Result<(), Trouble> {
    without_replacing(from, name, to, target)?;
    for folder in [to, from] {
        rustix::fs::fsync(folder).or_else(unsupported)?;
    }
    Ok(())
}

fn without_replacing(from: &OwnedFd, name: &OsStr, to: &OwnedFd, target: &OsStr) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, name, to, target, RenameFlags::NOREPLACE) {
        // A file system that cannot: looked at before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match rustix::fs::statat(to, target, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, target),
                Ok(_) => Err(Errno::EXIST),
                Err(error) => Err(error),
            }
        }
        done => done,
    }
}

/// Writes a new file; nothing is overwritten, whatever it is.
pub(crate) fn write(folder: &OwnedFd, name: &OsStr, content: &[u8]) -> Result<(), Trouble> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o666))?.into();
    file.write_all(content).and_then(|()| file.sync_all()).map_err(Trouble::System)
}
