// SPDX-License-Identifier: EUPL-1.2
//! Reads schema files, code lists, Schematron rules, service descriptions and licence texts out of a ZIP archive or a folder. Both are hostile: paths,
//! links, sizes, counts and ratios are bounded, and the reason for a refusal is said. Nothing is written here.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use kop_core::Diagnostic;

use crate::{genericode, licence, xsd::MAX_FILE};

const MAX_ARCHIVE: u64 = 128 << 20;
const MAX_ENTRIES: usize = 5_000;
const MAX_TOTAL: usize = 256 << 20;
const MAX_RATIO: u64 = 200;
const MAX_DEPTH: usize = 8;
const MAX_NAME: usize = 200;

/// What a package holds, by path.
#[derive(Default)]
pub(crate) struct Found {
    /// Schema documents.
    pub(crate) files: BTreeMap<String, Arc<[u8]>>,
    /// Genericode lists.
    pub(crate) lists: BTreeMap<String, Arc<[u8]>>,
    /// Schematron rules.
    pub(crate) rules: BTreeMap<String, Arc<[u8]>>,
    /// Service descriptions (WSDL).
    pub(crate) services: BTreeMap<String, Arc<[u8]>>,
    /// Licence texts.
    pub(crate) licences: BTreeMap<String, Arc<[u8]>>,
    total: usize,
}

/// What a file is taken for by its name; of `Xml` its beginning decides.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Schema,
    Rules,
    Service,
    Licence,
    Xml,
    Other,
}

fn sort(path: &str) -> Sort {
    if licence::is_file(path) {
        return Sort::Licence;
    }
    let extension = Path::new(path).extension().unwrap_or_default().to_ascii_lowercase();
    match extension.to_str() {
        Some("xsd") => Sort::Schema,
        Some("sch") => Sort::Rules,
        Some("wsdl") => Sort::Service,
        Some("xml" | "gc") => Sort::Xml,
        _ => Sort::Other,
    }
}

impl Found {
    /// Takes a file in; false when its path is there already.
    fn take(&mut self, path: String, sort: Sort, bytes: Vec<u8>) -> Result<bool, Diagnostic> {
        self.total += bytes.len();
        if self.total > MAX_TOTAL {
            return Err(too_much());
        }
        let place = match sort {
            Sort::Schema => &mut self.files,
            Sort::Rules => &mut self.rules,
            Sort::Service => &mut self.services,
            Sort::Licence => &mut self.licences,
            Sort::Xml | Sort::Other => &mut self.lists,
        };
        Ok(place.insert(path, bytes.into()).is_none())
    }
}

pub(crate) fn read(path: &Path) -> Result<Found, Diagnostic> {
    let meta = fs::symlink_metadata(path).map_err(|error| io("Paket", &error))?;
    let found = if meta.is_dir() {
        folder(path)?
    } else if let Some(bytes) = single(path)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Found { lists: BTreeMap::from([(name, bytes.into())]), ..Found::default() }
    } else {
        zip(path, meta.len())?
    };
    if found.files.is_empty() && found.lists.is_empty() && found.services.is_empty() {
        return Err(Diagnostic::new(
            "KOP-X044",
            "Im Paket liegen weder Schemadateien (.xsd) noch Codelisten (Genericode) noch Dienstbeschreibungen (.wsdl).",
            "The package holds neither schema files (.xsd) nor code lists (genericode) nor service descriptions (.wsdl).",
        ));
    }
    Ok(found)
}

/// A code list that comes as a file of its own.
fn single(path: &Path) -> Result<Option<Vec<u8>>, Diagnostic> {
    if sort(&path.to_string_lossy()) != Sort::Xml {
        return Ok(None);
    }
    list(path)
}

/// A file on disk if it begins like a code list.
fn list(path: &Path) -> Result<Option<Vec<u8>>, Diagnostic> {
    let fail = |error: std::io::Error| io("Codeliste", &error);
    let mut file = fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.by_ref().take(genericode::SNIFF as u64).read_to_end(&mut bytes).map_err(fail)?;
    if !genericode::is_list(&bytes) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0)).map_err(fail)?;
    bounded(file).map(Some)
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
    let mut found = Found::default();
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
        let kind = sort(&name);
        if kind == Sort::Other {
            continue;
        }
        let mut entry = archive.by_index(number).map_err(broken)?;
        let mut bytes = Vec::new();
        let damaged = |_| refused("Das Archiv ist beschädigt.", "The archive is damaged.");
        // what the header says is a claim; count what really comes
        let limit = (size + 1).min(MAX_FILE as u64 + 1);
        if kind == Sort::Xml {
            let first = limit.min(genericode::SNIFF as u64);
            entry.by_ref().take(first).read_to_end(&mut bytes).map_err(damaged)?;
            if !genericode::is_list(&bytes) {
                continue;
            }
        }
        let rest = limit - bytes.len() as u64;
        entry.take(rest).read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 > size {
            return Err(refused("Das Archiv nennt falsche Größen.", "The archive states wrong sizes."));
        }
        if !found.take(name, kind, bytes)? {
            return Err(refused(
                "Das Archiv enthält einen Pfad zweimal.",
                "The archive holds the same path twice.",
            ));
        }
    }
    Ok(found)
}

fn folder(root: &Path) -> Result<Found, Diagnostic> {
    let mut found = Found::default();
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
            let bytes = match sort(&path) {
                Sort::Other => continue,
                Sort::Xml => match list(&entry.path())? {
                    Some(bytes) => bytes,
                    None => continue,
                },
                Sort::Schema | Sort::Rules | Sort::Service | Sort::Licence => file(&entry.path())?,
            };
            if !safe(&path) {
                return Err(refused(
                    "Der Ordner enthält einen Dateinamen, der nicht zulässig ist.",
                    "The folder holds a file name that is not allowed.",
                ));
            }
            let kind = sort(&path);
            found.take(path, kind, bytes)?;
        }
    }
    Ok(found)
}

/// A file of bounded size.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    bounded(fs::File::open(path).map_err(|error| io("Schemadatei", &error))?)
}

fn bounded(file: fs::File) -> Result<Vec<u8>, Diagnostic> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| io("Schemadatei", &error))?;
    if bytes.len() > MAX_FILE {
        return Err(too_much());
    }
    Ok(bytes)
}
