// SPDX-License-Identifier: EUPL-1.2
//! Reads the schema files out of a ZIP archive or a folder. Both are hostile: paths, links, sizes, counts and
//! ratios are bounded, and the reason for a refusal is said. Nothing is written here.

use std::{collections::BTreeMap, fs, io::Read, path::Path, sync::Arc};

use kop_core::Diagnostic;

use crate::xsd::MAX_FILE;

const MAX_ARCHIVE: u64 = 128 << 20;
const MAX_ENTRIES: usize = 5_000;
const MAX_TOTAL: usize = 256 << 20;
const MAX_RATIO: u64 = 200;
const MAX_DEPTH: usize = 8;
const MAX_NAME: usize = 200;

/// Schema files by path, and how many other files were passed over.
pub(crate) struct Found {
    pub(crate) files: BTreeMap<String, Arc<[u8]>>,
    pub(crate) others: usize,
}

pub(crate) fn read(path: &Path) -> Result<Found, Diagnostic> {
    let meta = fs::symlink_metadata(path).map_err(|error| io("Paket", &error))?;
    let found = if meta.is_dir() { folder(path)? } else { zip(path, meta.len())? };
    if found.files.is_empty() {
        return Err(Diagnostic::new(
            "KOP-X044",
            "Im Paket liegen keine Schemadateien (.xsd).",
            "The package holds no schema files (.xsd).",
        ));
    }
    Ok(found)
}

pub(crate) fn io(what: &str, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(
        "KOP-X048",
        format!("{what}: Zugriff nicht möglich."),
        format!("{what}: cannot be accessed."),
    )
    .with_detail(error.kind().to_string())
}

fn refused(de: impl Into<String>, en: impl Into<String>) -> Diagnostic {
    Diagnostic::new("KOP-X040", de, en)
}

fn too_much() -> Diagnostic {
    refused(
        "Das Paket ist zu groß oder hat zu viele Dateien.",
        "The package is too large or has too many files.",
    )
}

/// Whether a path in a package is harmless: relative, plain parts, bounded.
pub(crate) fn safe(path: &str) -> bool {
    path.len() <= MAX_NAME
        && !path.is_empty()
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && path.chars().all(|c| {
            !c.is_control() && !matches!(c, '\\' | ':' | '%' | '?' | '#' | '*' | '"' | '<' | '>' | '|')
        })
}

fn is_schema(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xsd"))
}

fn zip(path: &Path, length: u64) -> Result<Found, Diagnostic> {
    if length > MAX_ARCHIVE {
        return Err(too_much());
    }
    let file = fs::File::open(path).map_err(|error| io("Paket", &error))?;
    let broken = |_| refused("Das Archiv ist kein lesbares ZIP.", "The archive is not a readable ZIP file.");
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(broken)?;
    if archive.len() > MAX_ENTRIES {
        return Err(too_much());
    }
    let mut found = Found { files: BTreeMap::new(), others: 0 };
    let mut total = 0;
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let name = name.trim_end_matches('/').to_owned();
        if !safe(&name) || entry.enclosed_name().is_none() {
            return Err(refused(
                "Das Archiv enthält einen Pfad, der nach außen führt oder nicht zulässig ist.",
                "The archive holds a path that leads outside or is not allowed.",
            ));
        }
        if entry.is_symlink() {
            return Err(refused("Das Archiv enthält eine Verknüpfung.", "The archive holds a link."));
        }
        if entry.encrypted() {
            return Err(refused("Das Archiv ist verschlüsselt.", "The archive is encrypted."));
        }
        let (size, packed) = (entry.size(), entry.compressed_size());
        if size > MAX_FILE as u64 || (size > 1 << 20 && size / packed.max(1) > MAX_RATIO) {
            return Err(refused(
                "Eine Datei des Archivs ist entpackt unverhältnismäßig groß.",
                "A file of the archive is excessively large when unpacked.",
            ));
        }
        if entry.is_dir() {
            continue;
        }
        drop(entry);
        if !is_schema(&name) {
            found.others += 1;
            continue;
        }
        let entry = archive.by_index(number).map_err(broken)?;
        let mut bytes = Vec::new();
        // what the header says is a claim; count what really comes
        let limit = (size + 1).min(MAX_FILE as u64 + 1);
        let read = entry.take(limit).read_to_end(&mut bytes);
        read.map_err(|_| refused("Das Archiv ist beschädigt.", "The archive is damaged."))?;
        if bytes.len() as u64 > size {
            return Err(refused("Das Archiv nennt falsche Größen.", "The archive states wrong sizes."));
        }
        total += bytes.len();
        if total > MAX_TOTAL {
            return Err(too_much());
        }
        if found.files.insert(name, bytes.into()).is_some() {
            return Err(refused(
                "Das Archiv enthält einen Pfad zweimal.",
                "The archive holds the same path twice.",
            ));
        }
    }
    Ok(found)
}

fn folder(root: &Path) -> Result<Found, Diagnostic> {
    let mut found = Found { files: BTreeMap::new(), others: 0 };
    let mut total = 0;
    let mut entries = 0;
    let mut queue = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = queue.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| io("Ordner des Pakets", &error))? {
            let entry = entry.map_err(|error| io("Ordner des Pakets", &error))?;
            entries += 1;
            if entries > MAX_ENTRIES || depth > MAX_DEPTH {
                return Err(too_much());
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(|error| io("Ordner des Pakets", &error))?;
            if kind.is_symlink() {
                return Err(refused("Der Ordner enthält eine Verknüpfung.", "The folder holds a link."));
            }
            if kind.is_dir() {
                queue.push((entry.path(), path, depth + 1));
                continue;
            }
            if !is_schema(&path) {
                found.others += 1;
                continue;
            }
            if !safe(&path) {
                return Err(refused(
                    "Der Ordner enthält einen Dateinamen, der nicht zulässig ist.",
                    "The folder holds a file name that is not allowed.",
                ));
            }
            let bytes = file(&entry.path())?;
            total += bytes.len();
            if total > MAX_TOTAL {
                return Err(too_much());
            }
            found.files.insert(path, bytes.into());
        }
    }
    Ok(found)
}

/// A file of bounded size.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let file = fs::File::open(path).map_err(|error| io("Schemadatei", &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| io("Schemadatei", &error))?;
    if bytes.len() > MAX_FILE {
        return Err(too_much());
    }
    Ok(bytes)
}
