// SPDX-License-Identifier: EUPL-1.2
//! Folders that survive a power cut and links that are not followed. Knows nothing of Sendungen.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::problem::{Failure, not_a_folder};

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network drives cannot; their server decides when names are durable.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

/// The receiver's folder. Missing ones are made; links on the way are the operator's own and followed.
pub(crate) fn make_root(base: &Path, below: &Path) -> io::Result<PathBuf> {
    let mut folder = base.to_owned();
    for component in below.components() {
        let parent = folder.clone();
        folder.push(component);
        match fs::metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => make_folder(&parent, &folder)?,
            Err(error) => return Err(error),
        }
    }
    Ok(folder)
}

/// Folders within the receiver's folder. Missing ones are made; a link among them would lead a Sendung
/// elsewhere and is refused.
pub(crate) fn make_below(root: &Path, names: &[String]) -> Result<PathBuf, Failure> {
    let mut folder = root.to_owned();
    for name in names {
        let parent = folder.clone();
        folder.push(name);
        if entry(&folder)?.is_none() {
            make_folder(&parent, &folder)?;
        }
        // Looked at once more, because somebody else may have been faster.
        if !entry(&folder)?.is_some_and(|found| found.is_dir()) {
            return Err(not_a_folder());
        }
    }
    Ok(folder)
}

fn make_folder(parent: &Path, folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

/// What lies at a path, a link being a link.
pub(crate) fn entry(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what begins with `prefix`: the leftovers of an attempt that a crash ended.
pub(crate) fn sweep(folder: &Path, prefix: &str) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let found = found?;
        if !found.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // A link is removed, never what it leads to.
        let removed = if found.file_type()?.is_dir() {
            fs::remove_dir_all(found.path())
        } else {
            fs::remove_file(found.path())
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A temporary name with the rights that a finished one has (less the process' umask); removed when dropped.
pub(crate) fn temporary(prefix: &str, rights: u32) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(rights));
    #[cfg(not(unix))]
    let _ = rights;
    builder
}
