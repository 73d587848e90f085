// SPDX-License-Identifier: EUPL-1.2
//! One schema package: what it is, where its files lie, and what was compiled from them. Files are read when
//! they are needed and compared with the hashes taken at import; compiled schemas are kept in a cache that all
//! packages share.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use kop_core::similar;
use kop_core::{ContentHash, Diagnostic};
use serde::{Deserialize, Serialize};

use crate::{
    archive,
    cache::Cache,
    checks::Checks,
    codelist::{ListInfo, Lists},
    files::{self, Files, Held},
    libxml2::{self, Catalogue, CompileError, Schema},
    licence::LicenceInfo,
    message::MessageSchema,
    model::Model,
    plan,
    service::ServiceInfo,
};

/// One message that a package can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageInfo {
    /// Local name of the root element, e.g. `baugenehmigung.antrag.0200`.
    pub root: String,
    /// Its name space; empty when it has none.
    pub namespace: String,
    /// Message number at the end of the root's name, e.g. `0200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Schema document to compile for it, as a path in the package.
    pub entry: String,
}

/// What a package is, without opening its schemas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageInfo {
    /// Identity: over all files, borrowed libraries included.
    pub hash: ContentHash,
    /// Lower-case name of the standard, e.g. `xbau-hochbau`; of a library set its folder's name.
    pub standard: String,
    /// Version of the standard, e.g. `2.6`; empty for library sets.
    pub version: String,
    /// Whether it is a profile shipped with the engine rather than the official package.
    pub profile: bool,
    /// Whether it only holds libraries that other packages import.
    pub library: bool,
    /// Number of schema documents.
    pub files: usize,
    /// Schema documents without a statement of their own.
    #[serde(default)]
    pub unlicensed: usize,
    /// Target name spaces of its documents.
    pub namespaces: Vec<String>,
    /// Messages, sorted by root.
    #[serde(default)]
    pub messages: Vec<MessageInfo>,
    /// Code lists that came with it, sorted by URN and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListInfo>,
    /// Schematron files that came with it; kept, but not run at run time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleFile>,
    /// DVDV services that came with it as WSDL, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceInfo>,
    /// Licence texts and statements that came with it; none says that the package states none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licences: Vec<LicenceInfo>,
}

/// A Schematron file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Path in the package.
    pub path: String,
    /// Query language its tests are written in, e.g. `xslt2`; `xslt` when it names none (ISO/IEC 19757-3, 6.4).
    pub binding: String,
    /// Hash of the file.
    pub hash: ContentHash,
}

/// `package.toml` of an imported package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Counts imports; of two packages of one version the later one is used.
    pub(crate) sequence: u32,
    pub(crate) package: PackageInfo,
    /// Path → SHA-256.
    pub(crate) files: BTreeMap<String, ContentHash>,
    /// Address as written in a schema → path that answers it.
    pub(crate) references: BTreeMap<String, String>,
}

/// Where a package's documents are.
pub(crate) enum Source {
    /// An imported package; read on demand.
    Disk { folder: PathBuf, manifest: Box<Manifest>, loaded: Mutex<Weak<Files>> },
    /// A small shipped profile.
    Memory(Arc<Files>),
}

impl Source {
    pub(crate) fn files(&self) -> Result<Arc<Files>, Diagnostic> {
        let (folder, manifest, loaded) = match self {
            Self::Memory(files) => return Ok(files.clone()),
            Self::Disk { folder, manifest, loaded } => (folder, manifest, loaded),
        };
        let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = loaded.upgrade() {
            return Ok(files);
        }
        let mut contents = BTreeMap::new();
        for (path, hash) in &manifest.files {
            let bytes = if archive::safe(path) {
                archive::file(&folder.join("files").join(path))?
            } else {
                Vec::new()
            };
            if ContentHash::of(&bytes) != *hash {
                return Err(Diagnostic::new(
                    "KOP-X045",
                    "Eine Datei des Schemapakets fehlt oder wurde verändert.",
                    "A file of the schema package is missing or was changed.",
                )
                .with_detail(format!("{} {}: {path}", manifest.package.standard, manifest.package.version)));
            }
            contents.insert(path.clone(), bytes.into());
        }
        let mut files = Files::new(contents);
        for (address, path) in &manifest.references {
            files.bind(address.clone(), path.clone());
        }
        let files = Arc::new(files);
        *loaded = Arc::downgrade(&files);
        Ok(files)
    }
}

impl Catalogue for Files {
    fn answer(&self, address: &str) -> Option<(CString, Arc<[u8]>)> {
        let (path, bytes) = self.behind(address)?;
        Some((CString::new(files::address(path)).ok()?, bytes.clone()))
    }
}

/// Compiles a package's entry documents on demand.
pub(crate) struct Compiled {
    pub(crate) hash: ContentHash,
    pub(crate) source: Arc<Source>,
    pub(crate) cache: Arc<Cache>,
    /// One compilation at a time, so that waiting threads find the result.
    pub(crate) compiling: Mutex<()>,
}

impl Compiled {
    pub(crate) fn schema(&self, entry: &str) -> Result<Arc<Schema>, Diagnostic> {
        let key = (self.hash, entry.to_owned());
        if let Some(schema) = self.cache.get(&key) {
            return Ok(schema);
        }
        let _turn = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = self.cache.get(&key) {
            return Ok(schema);
        }
        let schema = Arc::new(compile(&self.source.files()?, entry)?);
        self.cache.put(key, schema.clone());
        Ok(schema)
    }
}

/// Compiles one entry document.
pub(crate) fn compile(documents: &Arc<Files>, entry: &str) -> Result<Schema, Diagnostic> {
    libxml2::compile(&files::address(entry), documents.clone())
        .map_err(|error| does_not_compile(entry, &error))
}

fn does_not_compile(entry: &str, error: &CompileError) -> Diagnostic {
    let refused = error.refused.iter().map(|address| format!("nicht im Paket: {address}"));
    let words: Vec<String> = error.messages.iter().cloned().chain(refused).take(4).collect();
    Diagnostic::new("KOP-X043", "Das Schema lässt sich nicht übersetzen.", "The schema does not compile.")
        .with_detail(format!("{entry}: {}", words.join("; ")))
}

/// A schema that lacks what one of its messages refers to.
pub(crate) fn not_whole(why: String) -> Diagnostic {
    let (de, en) =
        ("Das Schema dieser Nachricht ist unvollständig.", "The schema of this message is incomplete.");
    Diagnostic::new("KOP-X043", de, en).with_detail(why)
}

/// One schema package.
pub struct Package {
    pub(crate) info: PackageInfo,
    pub(crate) sequence: u32,
    compiled: Arc<Compiled>,
    lists: Arc<Lists>,
    messages: Mutex<HashMap<String, Arc<MessageSchema>>>,
}

impl Package {
    pub(crate) fn new(
        info: PackageInfo,
        sequence: u32,
        source: Source,
        cache: Arc<Cache>,
        lists: Arc<Lists>,
    ) -> Self {
        if let Source::Disk { folder, .. } = &source {
            let common = info.files == 0;
            lists.add(info.hash, common, sequence, folder, &info.lists);
        }
        let compiled =
            Compiled { hash: info.hash, source: Arc::new(source), cache, compiling: Mutex::new(()) };
        let messages = Mutex::new(HashMap::new());
        Self { info, sequence, compiled: Arc::new(compiled), lists, messages }
    }

    /// What it is.
    pub fn info(&self) -> &PackageInfo {
        &self.info
    }

    pub(crate) fn files(&self) -> Result<Arc<Files>, Diagnostic> {
        self.compiled.source.files()
    }

    /// The schema of one message, by the root's local name (or its number); made on first use and kept.
    pub fn message(&self, root: &str) -> Result<Arc<MessageSchema>, Diagnostic> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = messages.get(root) {
            return Ok(message.clone());
        }
        let by_number = || self.info.messages.iter().find(|message| message.number.as_deref() == Some(root));
        let info = self.info.messages.iter().find(|message| message.root == root).or_else(by_number);
        let Some(info) = info else { return Err(self.unknown(root)) };
        let files = self.files()?;
        let model = Model::build(&files, &info.entry).map_err(not_whole)?;
        let plan = plan::compile(&model, &info.namespace, &info.root).map_err(not_whole)?;
        files.forget();
        let message = Arc::new(MessageSchema {
            hash: self.info.hash,
            info: info.clone(),
            checks: Checks::new(&plan),
            lists: self.lists.clone(),
            plan: Arc::new(plan),
            compiled: self.compiled.clone(),
        });
        messages.insert(root.to_owned(), message.clone());
        Ok(message)
    }

    /// Keeps the schema documents in memory as long as the answer lives; otherwise each message reads them anew.
    ///
    /// # Errors
    /// KOP-X045 when the package was changed.
    pub fn hold(&self) -> Result<Held, Diagnostic> {
        self.files().map(Held::new)
    }

    /// Writes the schema documents below a folder, for validators that read files: references lead to one another
    /// instead of to the internet, and a DOCTYPE is left out. A copy for a moment; not to be passed on.
    ///
    /// # Errors
    /// KOP-X045 when the package was changed, KOP-X048 when the folder cannot be written.
    pub fn unfold(&self, folder: &Path) -> Result<(), Diagnostic> {
        let files = self.files()?;
        for (path, bytes) in files.local() {
            let place = folder.join(&path);
            let written = fs::create_dir_all(place.parent().unwrap_or(folder));
            written
                .and_then(|()| fs::write(&place, bytes))
                .map_err(|error| archive::io("Entwurf", &error))?;
        }
        Ok(())
    }

    fn unknown(&self, root: &str) -> Diagnostic {
        let near = similar::near(root, self.info.messages.iter().map(|message| message.root.as_str()));
        let problem = Diagnostic::new(
            "KOP-X046",
            format!("Diese Nachricht gibt es in {} {} nicht.", self.info.standard, self.info.version),
            format!("{} {} has no such message.", self.info.standard, self.info.version),
        );
        if near.is_empty() {
            let all: Vec<&str> =
                self.info.messages.iter().take(12).map(|message| message.root.as_str()).collect();
            return problem.with_hint(format!("Nachrichten: {}", all.join(", ")));
        }
        problem.with_hint(format!("Gemeint: {}?", near.join(" oder ")))
    }
}
