// SPDX-License-Identifier: EUPL-1.2
//! Backup and restore of a data folder. A backup is a folder of the same shape (`kop.db`, `blobs/`, other folders) with a
//! list of all files and their hashes; what is sealed stays sealed, and keys are not part of it. The file that says
//! that a backup is complete is written last.

mod files;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead, Write},
    path::Path,
};

use kop_core::{ContentHash, clock::Zeitpunkt};
use serde::{Deserialize, Serialize};

use self::files::{copy_hashed, every_file, hash_of, safe, sync};
use crate::{
    blob::{BlobStore, sync_dir},
    error::StoreError,
    folder::BLOBS,
    seal::NoKeys,
    sqlite::{self, DATABASE_FILE},
};

/// Says that the backup is complete.
const SUMMARY_FILE: &str = "sicherung.json";

/// One line of JSON per file.
const LIST_FILE: &str = "dateien.jsonl";

/// The form of backups that this engine writes and reads.
const FORM: u32 = 1;

/// Longest line of the list.
const LONGEST_LINE: usize = 4096;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Form of the backup.
    pub form: u32,
    /// When the database was copied.
    pub erstellt: Zeitpunkt,
    /// Files, the database included.
    pub dateien: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were copied this time; the others were there from an earlier backup.
    pub neu: u64,
    /// Hash of the list of files.
    pub liste: ContentHash,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Path below the folder, with `/`.
    pfad: String,
    bytes: u64,
    /// Hash of the bytes as they are stored.
    sha256: ContentHash,
}

/// Backs a data folder up, also while it is in use. The target is new or empty, or an earlier backup, whose unchanged
/// files are kept.
///
/// # Errors
/// [`StoreError::NotFound`] when nothing was ever stored; [`StoreError::NotPossible`] when the target holds something
/// else; [`StoreError::Damaged`] when a stored file is not what it should be: then there is no complete backup.
pub fn backup(data: &Path, target: &Path, now: Zeitpunkt) -> Result<BackupSummary, StoreError> {
    let earlier = earlier(target)?;
    // From here on it is incomplete until the end.
    remove(&target.join(SUMMARY_FILE))?;
    let blobs = BlobStore::new(&data.join(BLOBS), std::sync::Arc::new(NoKeys))?;
    // Nothing is collected or rewritten meanwhile: what the copied rows name stays as it is.
    let _together = blobs.together()?;
    let fresh = target.join("kop.db.neu");
    remove(&fresh)?;
    sqlite::backup::copy(data, &fresh)?;
    sync(&fresh)?;
    fs::rename(&fresh, target.join(DATABASE_FILE))?;

    let mut list = Vec::new();
    let database = target.join(DATABASE_FILE);
    let (sha256, bytes) = hash_of(&database)?;
    list.push(Entry { pfad: DATABASE_FILE.to_owned(), bytes, sha256 });
    let mut copied = 1;
    let mut take = |from: &Path, path: String, must_be: Option<&ContentHash>| -> Result<(), StoreError> {
        let (entry, new) = files::take(from, target, &path, earlier.get(&path))?;
        if must_be.is_some_and(|hash| *hash != entry.sha256) {
            return Err(StoreError::Damaged(format!("blob {}", entry.sha256)));
        }
        copied += u64::from(new);
        list.push(entry);
        Ok(())
    };
    sqlite::backup::named(&database, |tenant, hash| {
        let (from, sealed) = blobs.stored(tenant, hash)?;
        let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = format!("{BLOBS}/{tenant}/{}/{name}", &name[..2]);
        // A plain file is named by its content; a sealed one can be looked into with its key only.
        take(&from, path, (!sealed).then_some(hash))
    })?;
    // What others keep in folders of their own beside: imported schemas, states of mappings.
    for folder in folders(data)? {
        for path in every_file(&data.join(&folder))? {
            take(&data.join(&folder).join(&path), format!("{folder}/{path}"), None)?;
        }
    }
    let keep: BTreeSet<&str> = list.iter().map(|entry| entry.pfad.as_str()).collect();
    for path in earlier.keys().filter(|path| !keep.contains(path.as_str())) {
        remove(&target.join(path))?;
    }
    finish(target, &list, copied, now)
}

/// Folders of a data folder that are neither blobs nor hidden.
fn folders(data: &Path) -> io::Result<BTreeSet<String>> {
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name != BLOBS && !name.starts_with('.') {
            folders.insert(name);
        }
    }
    Ok(folders)
}

/// Writes the list and, last, what makes the backup complete.
fn finish(target: &Path, list: &[Entry], copied: u64, now: Zeitpunkt) -> Result<BackupSummary, StoreError> {
    let mut text = Vec::new();
    for entry in list {
        text.extend(json(entry)?);
        text.push(b'\n');
    }
    let summary = BackupSummary {
        form: FORM,
        erstellt: now,
        dateien: list.len() as u64,
        bytes: list.iter().map(|entry| entry.bytes).sum(),
        neu: copied,
        liste: ContentHash::of(&text),
    };
    write_synced(&target.join(LIST_FILE), &text)?;
    write_synced(&target.join(SUMMARY_FILE), &json(&summary)?)?;
    sync_dir(target)?;
    Ok(summary)
}

/// Brings a backup back as a new data folder. Everything is checked before the folder gets its name.
///
/// # Errors
/// [`StoreError::NotPossible`] when the data folder holds something; [`StoreError::NotFound`] when the source is no
/// complete backup; [`StoreError::Damaged`] when it is not what it was; [`StoreError::NewerSchema`].
pub fn restore(source: &Path, data: &Path) -> Result<BackupSummary, StoreError> {
    if data.exists() && fs::read_dir(data)?.next().is_some() {
        return Err(StoreError::NotPossible("the data folder is not empty".to_owned()));
    }
    let summary = read_summary(source)?.ok_or(StoreError::NotFound)?;
    let list = read_list(source, &summary)?;
    let parent = match data.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = data.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let half = parent.join(format!(".{name}.unvollstaendig"));
    if half.exists() {
        fs::remove_dir_all(&half)?;
    }
    crate::blob::create_dirs(&half)?;
    for entry in list.values() {
        let to = half.join(&entry.pfad);
        if let Some(folder) = to.parent() {
            crate::blob::create_dirs(folder)?;
        }
        let (sha256, bytes) = copy_hashed(&source.join(&entry.pfad), &to)?;
        if (sha256, bytes) != (entry.sha256, entry.bytes) {
            return Err(StoreError::Damaged(entry.pfad.clone()));
        }
    }
    let database = half.join(DATABASE_FILE);
    sqlite::backup::make_ready(&database)?;
    sqlite::backup::named(&database, |tenant, hash| {
        let shard = &hash.to_string()[..2];
        let plain = format!("{BLOBS}/{tenant}/{shard}/{hash}");
        let there = list.contains_key(&plain) || list.contains_key(&format!("{plain}.v"));
        if there { Ok(()) } else { Err(StoreError::Damaged(format!("blob {hash}"))) }
    })?;
    if data.exists() {
        fs::remove_dir(data)?;
    }
    fs::rename(&half, data)?;
    sync_dir(parent)?;
    Ok(summary)
}

/// The files of an earlier backup in the target, or nothing for a new one.
fn earlier(target: &Path) -> Result<BTreeMap<String, Entry>, StoreError> {
    crate::blob::create_dirs(target)?;
    match read_summary(target)? {
        Some(summary) => read_list(target, &summary),
        None if fs::read_dir(target)?.next().is_none() => Ok(BTreeMap::new()),
        // A backup that was interrupted: only what can be there is there, and all of it is copied anew.
        None if target.join(DATABASE_FILE).is_file() || target.join("kop.db.neu").is_file() => {
            if target.join("kop.lock").exists() {
                return Err(StoreError::NotPossible("the target is a data folder".to_owned()));
            }
            Ok(BTreeMap::new())
        }
        None => Err(StoreError::NotPossible("the target is not empty and no backup".to_owned())),
    }
}

fn read_summary(folder: &Path) -> Result<Option<BackupSummary>, StoreError> {
    let text = match fs::read(folder.join(SUMMARY_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let summary: BackupSummary =
        serde_json::from_slice(&text).map_err(|_| StoreError::Damaged(SUMMARY_FILE.to_owned()))?;
    if summary.form > FORM {
        return Err(StoreError::NewerSchema { found: summary.form, known: FORM });
    }
    Ok(Some(summary))
}

fn read_list(folder: &Path, summary: &BackupSummary) -> Result<BTreeMap<String, Entry>, StoreError> {
    let damaged = || StoreError::Damaged(LIST_FILE.to_owned());
    let path = folder.join(LIST_FILE);
    if hash_of(&path)?.0 != summary.liste {
        return Err(damaged());
    }
    let mut list = BTreeMap::new();
    for line in io::BufReader::new(File::open(&path)?).lines() {
        let line = line.map_err(|_| damaged())?;
        let entry: Entry = serde_json::from_str(&line).map_err(|_| damaged())?;
        if line.len() > LONGEST_LINE || !safe(&entry.pfad) {
            return Err(damaged());
        }
        list.insert(entry.pfad.clone(), entry);
    }
    if list.contains_key(DATABASE_FILE) { Ok(list) } else { Err(damaged()) }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Document(error.to_string()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
