// SPDX-License-Identifier: EUPL-1.2
//! Reads files of one folder without ever leaving it, and keeps a record of what was read: the record's hash
//! is what tells one generation from another.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kop_core::{ContentHash, Diagnostic};

use crate::source::{SourceFile, read_bounded};

/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of one file.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Longest name of a mapping, table or module.
const MAX_NAME: usize = 80;

/// What was read so far, by the name that diagnostics say.
#[derive(Debug, Default)]
pub(crate) struct Record(BTreeMap<String, (ContentHash, Arc<str>)>);

impl Record {
    /// One hash over names and contents.
    pub(crate) fn hash(&self) -> ContentHash {
        ContentHash::of_parts(self.0.iter().map(|(name, (hash, _))| (name.as_str(), &hash.as_bytes()[..])))
    }

    /// The texts themselves.
    pub(crate) fn texts(&self) -> BTreeMap<String, Arc<str>> {
        self.0.iter().map(|(name, (_, text))| (name.clone(), text.clone())).collect()
    }

    /// The same record with its names below another folder: an overlay has files of the same names.
    pub(crate) fn under(self, prefix: &str) -> Self {
        Self(self.0.into_iter().map(|(name, read)| (format!("{prefix}{name}"), read)).collect())
    }

    /// Takes over what another record has read.
    pub(crate) fn extend(&mut self, other: &Record) {
        self.0.extend(other.0.iter().map(|(name, read)| (name.clone(), read.clone())));
    }
}

/// A folder that is read from.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it is called in diagnostics; empty for the tenant's folder itself.
    label: String,
    /// The same without symbolic links; nothing outside of it is read.
    root: PathBuf,
}

impl Folder {
    /// Opens a folder; `None` when it is not there. `within` is the folder that it must lie in.
    ///
    /// # Errors
    /// KOP-K013: it leads out of `within`.
    pub(crate) fn open(path: &Path, label: &str, within: &Path) -> Result<Option<Self>, Diagnostic> {
        if !path.is_dir() {
            return Ok(None);
        }
        let (Ok(root), Ok(within)) = (path.canonicalize(), within.canonicalize()) else {
            return Ok(None);
        };
        if !root.starts_with(&within) {
            return Err(leads_out(label));
        }
        Ok(Some(Self { path: path.to_owned(), label: label.to_owned(), root }))
    }

    /// How a file of the folder is called in diagnostics.
    pub(crate) fn name_of(&self, file: &str) -> String {
        if self.label.is_empty() { file.to_owned() } else { format!("{}/{file}", self.label) }
    }

    /// Whether the folder has the file.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.path.join(file).is_file()
    }

    /// Reads a text file and records it.
    ///
    /// # Errors
    /// KOP-K001: not readable, too large, no UTF-8. KOP-K013: it leads out of the folder.
    pub(crate) fn read(&self, file: &str, record: &mut Record) -> Result<SourceFile, Diagnostic> {
        let name = self.name_of(file);
        let path = self.path.join(file);
        if let Ok(real) = path.canonicalize()
            && !real.starts_with(&self.root)
        {
            return Err(leads_out(&name));
        }
        let text = read_bounded(&path, &name, MAX_FILE_BYTES)?;
        record.0.insert(name.clone(), (ContentHash::of(text.as_bytes()), text.as_str().into()));
        Ok(SourceFile::new(name, text))
    }

    /// Names (without `.ext`) of the files in a sub-folder, sorted; empty when it is not there.
    ///
    /// # Errors
    /// KOP-K013: too many entries, or a name that is not allowed.
    pub(crate) fn stems(&self, sub: &str, ext: &str) -> Result<Vec<String>, Diagnostic> {
        let mut stems = Vec::new();
        for name in entries(&self.path.join(sub), &self.name_of(sub))? {
            if let Some(stem) = name.strip_suffix(&format!(".{ext}")) {
                if !is_plain_name(stem) {
                    return Err(bad_name(&self.name_of(sub)).with_detail(name.clone()));
                }
                stems.push(stem.to_owned());
            }
        }
        Ok(stems)
    }
}

/// Names of a folder's entries, sorted; empty when it is not there.
pub(crate) fn entries(path: &Path, label: &str) -> Result<Vec<String>, Diagnostic> {
    let Ok(list) = fs::read_dir(path) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in list.flatten() {
        if names.len() >= MAX_ENTRIES {
            return Err(Diagnostic::new(
                "KOP-K013",
                format!("Der Ordner {label} hat mehr als {MAX_ENTRIES} Einträge."),
                format!("The folder {label} has more than {MAX_ENTRIES} entries."),
            ));
        }
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a name can be that of a mapping, table or module: letters, digits, `-` and `_`, so that it can
/// never lead out of its folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
        && !name.starts_with('-')
}

/// KOP-K003 for a name that is not allowed.
pub(crate) fn bad_name(what: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-K003",
        format!(
            "Der Name ({what}) ist nicht erlaubt: nur Buchstaben, Ziffern, „-“ und „_“, höchstens 80 Zeichen."
        ),
        format!(
            "The name ({what}) is not allowed: only letters, digits, \"-\" and \"_\", at most 80 characters."
        ),
    )
}

fn leads_out(name: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-K013",
        format!("{name} führt aus dem Ordner hinaus (symbolischer Verweis)."),
        format!("{name} leads out of the folder (symbolic link)."),
    )
}
