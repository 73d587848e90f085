// SPDX-License-Identifier: EUPL-1.2
//! The types that other rooms use.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kop_core::{ContentHash, Diagnostic, Tree};
use serde::{Deserialize, Serialize};

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
    /// Identity: over all files, resolved libraries included.
    pub hash: ContentHash,
    /// Lower-case name of the standard, e.g. `xbau-hochbau`; of a library set its folder's name.
    pub standard: String,
    /// Version of the standard, e.g. `2.6`; empty for library sets.
    pub version: String,
    /// Whether it is a profile shipped with the engine rather than the official package.
    pub profile: bool,
    /// Whether it only holds libraries that other packages import.
    pub library: bool,
    /// Target name spaces of its documents.
    pub namespaces: Vec<String>,
    /// Messages.
    pub messages: Vec<MessageInfo>,
    /// Number of schema documents.
    pub files: usize,
}

/// What an import brought.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportReport {
    /// The package.
    pub package: PackageInfo,
    /// False when the very same package was there already.
    pub new: bool,
    /// Documents taken from libraries imported earlier: path here, standard it came from.
    pub borrowed: Vec<(String, String)>,
    /// Worth knowing: variants left aside, documents that are not schemas.
    pub hints: Vec<Diagnostic>,
}

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Code list versions: short name (last part of the list's URN) or whole URN → version.
    pub pins: BTreeMap<String, String>,
    /// Write `xsi:schemaLocation` on the root.
    pub schema_location: bool,
}

/// A written document.
#[derive(Clone, Debug)]
pub struct Written {
    /// UTF-8 XML with declaration.
    pub bytes: Vec<u8>,
    /// Which element came from where in the tree.
    pub paths: Paths,
}

/// Path table of a written document.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    rows: Vec<(String, String)>,
}

impl Paths {
    /// XPath of every element → its path in the tree (`antragsteller[2]/natuerlichePerson/name`).
    pub fn rows(&self) -> Vec<(String, String)> {
        self.rows.clone()
    }
}

/// All schema packages of an instance: imported ones and the shipped profiles.
pub struct SchemaStore {
    packages: Vec<Arc<Package>>,
}

impl SchemaStore {
    /// Opens the store; the folder need not exist yet.
    pub fn open(_packages: &Path, _profiles: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self { packages: Vec::new() })
    }

    /// Imports a ZIP archive or a folder.
    pub fn import(&self, _path: &Path) -> Result<ImportReport, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    /// All packages, sorted by standard and version.
    pub fn list(&self) -> Vec<PackageInfo> {
        self.packages.iter().map(|package| package.info.clone()).collect()
    }

    /// The package of a standard's version; an imported official one goes before a profile.
    pub fn find(&self, standard: &str, version: &str) -> Option<Arc<Package>> {
        self.packages.iter().find(|p| p.info.standard == standard && p.info.version == version).cloned()
    }

    /// The package that a stored message was pinned to.
    pub fn by_hash(&self, hash: &ContentHash) -> Option<Arc<Package>> {
        self.packages.iter().find(|p| p.info.hash == *hash).cloned()
    }
}

/// One schema package.
pub struct Package {
    info: PackageInfo,
}

impl Package {
    /// What it is.
    pub fn info(&self) -> &PackageInfo {
        &self.info
    }

    /// The schema of one message, by the root's local name; made on first use and kept.
    pub fn message(&self, _root: &str) -> Result<Arc<MessageSchema>, Diagnostic> {
        Ok(Arc::new(MessageSchema { hash: self.info.hash, message: self.info.messages[0].clone() }))
    }
}

/// Writer and validator of one message.
pub struct MessageSchema {
    hash: ContentHash,
    message: MessageInfo,
}

impl MessageSchema {
    /// Writes the tree of the root's children and attributes.
    pub fn write(&self, _tree: &Tree, _options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        Err(Vec::new())
    }

    /// Lets libxml2 judge the bytes; `paths` of the same write give exact target paths.
    pub fn validate(&self, _xml: &[u8], _paths: Option<&Paths>) -> Result<(), Vec<Diagnostic>> {
        Err(Vec::new())
    }

    /// The package's identity, to pin with the message.
    pub fn package_hash(&self) -> ContentHash {
        self.hash
    }

    /// The schema document it is compiled from.
    pub fn entry_document(&self) -> &str {
        &self.message.entry
    }

    /// Name space of the root.
    pub fn namespace(&self) -> &str {
        &self.message.namespace
    }

    /// Local name of the root.
    pub fn root(&self) -> &str {
        &self.message.root
    }

    /// Message number, e.g. `0200`.
    pub fn number(&self) -> Option<&str> {
        self.message.number.as_deref()
    }

    /// The message as an indented tree with cardinalities and types.
    pub fn outline(&self) -> String {
        String::new()
    }

    /// Whether the root has a child of that local name (e.g. `nachrichtenkopf.g2g`) or attribute (`@produkt`).
    pub fn has_child(&self, _name: &str) -> bool {
        false
    }
}
