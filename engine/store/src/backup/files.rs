// SPDX-License-Identifier: EUPL-1.2
//! Copies files with their hashes, and walks through folders. Knows nothing of what the files are.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path},
};

use kop_core::ContentHash;
use sha2::{Digest, Sha256};

use super::Entry;
use crate::error::StoreError;

const CHUNK: usize = 256 * 1024;

/// Copies a file into a backup, unless the same one is there from before: same length and same age.
pub(super) fn take(
    from: &Path,
    target: &Path,
    path: &str,
    earlier: Option<&Entry>,
) -> Result<(Entry, bool), StoreError> {
    let to = target.join(path);
    let source = fs::metadata(from)?;
    if let (Some(entry), Ok(there)) = (earlier, fs::metadata(&to))
        && there.len() == source.len()
        && entry.bytes == source.len()
        && there.modified()? == source.modified()?
    {
        return Ok((entry.clone(), false));
    }
    if let Some(folder) = to.parent() {
        crate::blob::create_dirs(folder)?;
    }
    let (sha256, bytes) = copy_hashed(from, &to)?;
    File::options().write(true).open(&to)?.set_modified(source.modified()?)?;
    Ok((Entry { pfad: path.to_owned(), bytes, sha256 }, true))
}

/// Copies a file, durably; hash and length of what was copied.
pub(super) fn copy_hashed(from: &Path, to: &Path) -> Result<(ContentHash, u64), StoreError> {
    let mut file = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Damaged(format!("{} is missing", from.display())));
        }
        Err(error) => return Err(error.into()),
    };
    // Not onto a file that someone else may have linked.
    super::remove(to)?;
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut copy = options.open(to)?;
    let hashed = through(&mut file, |bytes| copy.write_all(bytes))?;
    copy.sync_all()?;
    Ok(hashed)
}

/// Hash and length of a file.
pub(super) fn hash_of(path: &Path) -> Result<(ContentHash, u64), StoreError> {
    through(&mut File::open(path)?, |_| Ok(()))
}

fn through(
    file: &mut File,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(ContentHash, u64), StoreError> {
    let (mut hasher, mut length, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            return Ok((ContentHash::from_bytes(hasher.finalize().into()), length));
        }
        hasher.update(&chunk[..n]);
        each(&chunk[..n])?;
        length += n as u64;
    }
}

/// Every file below a folder by its path with `/`, in order; none when the folder is not there. Links are not followed.
pub(super) fn every_file(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((path, below)) = folders.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else if kind.is_file() {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a path of a list stays below its folder.
pub(super) fn safe(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\\')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Makes a file durable that someone else wrote.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.sync_all()
}
