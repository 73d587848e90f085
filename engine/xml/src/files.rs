// SPDX-License-Identifier: EUPL-1.2
//! The schema documents of one package in memory, and how their references to each other resolve. Addresses are
//! made up: nothing is ever fetched, and paths of the machine do not occur.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use kop_core::ContentHash;

use crate::xsd::{self, Document};

/// Where the package's documents pretend to lie; deep enough for `../../` to stay inside.
const BASE: &str = "kop://paket/a/b/c/d/";

/// Documents of a package by path, with resolved references.
#[derive(Default)]
pub(crate) struct Files {
    contents: BTreeMap<String, Arc<[u8]>>,
    /// Address as asked for → path.
    addresses: HashMap<String, String>,
    parsed: Mutex<HashMap<String, Arc<Document>>>,
    /// Those who want read documents kept.
    holders: AtomicUsize,
}

/// Keeps read documents in memory, for one who makes many messages of a package, until it is dropped.
pub struct Held(Arc<Files>);

impl Held {
    pub(crate) fn new(files: Arc<Files>) -> Self {
        files.holders.fetch_add(1, Ordering::AcqRel);
        Self(files)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holders.fetch_sub(1, Ordering::AcqRel);
        self.0.forget();
    }
}

/// A reference that nothing in the package answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missing {
    pub(crate) from: String,
    pub(crate) namespace: String,
    pub(crate) location: String,
    pub(crate) address: String,
}

impl Missing {
    /// Last part of the location.
    pub(crate) fn file_name(&self) -> &str {
        file_name(&self.location)
    }
}

/// Last part of a path or address.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Files {
    pub(crate) fn new(contents: BTreeMap<String, Arc<[u8]>>) -> Self {
        let addresses = contents.keys().map(|path| (address(path), path.clone())).collect();
        Self { contents, addresses, ..Self::default() }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.contents.keys().map(String::as_str)
    }

    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(crate) fn bytes(&self, path: &str) -> Option<&Arc<[u8]>> {
        self.contents.get(path)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.contents.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// Adds a document from elsewhere.
    pub(crate) fn add(&mut self, path: String, bytes: Arc<[u8]>) {
        self.addresses.insert(address(&path), path.clone());
        self.contents.insert(path, bytes);
    }

    /// Answers an address with a document of the package.
    pub(crate) fn bind(&mut self, address: String, path: String) {
        self.addresses.insert(address, path);
    }

    /// References whose address is not that of the file itself.
    pub(crate) fn references(&self) -> BTreeMap<String, String> {
        let own = |(asked, path): &(&String, &String)| **asked != address(path);
        self.addresses.iter().filter(own).map(|(asked, path)| (asked.clone(), path.clone())).collect()
    }

    /// The package's identity.
    pub(crate) fn hash(&self) -> ContentHash {
        ContentHash::of_parts(self.iter().map(|(path, bytes)| (path, &**bytes)))
    }

    /// A document, read once.
    pub(crate) fn document(&self, path: &str) -> Result<Arc<Document>, String> {
        let mut parsed = self.parsed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(document) = parsed.get(path) {
            return Ok(document.clone());
        }
        let bytes = self.contents.get(path).ok_or_else(|| format!("{path}: missing"))?;
        let document = Arc::new(xsd::read(bytes).map_err(|reason| format!("{path}: {reason}"))?);
        parsed.insert(path.to_owned(), document.clone());
        Ok(document)
    }

    /// Forgets read documents; they are large and only needed while a model is built.
    pub(crate) fn forget(&self) {
        if self.holders.load(Ordering::Acquire) > 0 {
            return;
        }
        self.parsed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// The path that a reference from one document leads to.
    pub(crate) fn resolve(&self, from: &str, location: &str) -> Option<&str> {
        self.addresses.get(&absolute(from, location)).map(String::as_str)
    }

    /// The document that libxml2 asks for.
    pub(crate) fn behind(&self, address: &str) -> Option<(&str, &Arc<[u8]>)> {
        let path = self.addresses.get(address)?;
        Some((path, self.contents.get(path)?))
    }

    /// The documents with references that lead from one path to another, and without DOCTYPE.
    pub(crate) fn local(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for (path, bytes) in self.iter() {
            let mut text = String::from_utf8_lossy(bytes).into_owned();
            if let (Some(begin), Some(root)) = (text.find("<!DOCTYPE"), text.find("targetNamespace")) {
                let end =
                    if begin < root { text[begin..].find("]>").map(|end| begin + end + 2) } else { None };
                if let Some(end) = end {
                    text.replace_range(begin..end, "");
                }
            }
            let up = "../".repeat(path.matches('/').count());
            let document = self.document(path);
            let references = document.iter().flat_map(|document| document.references());
            let mut locations: Vec<&str> = references.filter_map(|(_, _, location)| location).collect();
            locations.sort_unstable();
            locations.dedup();
            for location in locations {
                let Some(target) = self.resolve(path, location) else { continue };
                let raw = location.replace('&', "&amp;");
                for quote in ['"', '\''] {
                    let old = format!("schemaLocation={quote}{raw}{quote}");
                    text = text.replace(&old, &format!("schemaLocation={quote}{up}{target}{quote}"));
                }
            }
            all.push((path.to_owned(), text.into_bytes()));
        }
        all
    }

    /// Binds references that lead nowhere to documents of the package with the same name space and file name
    /// and returns what is still missing. The error is a document that cannot be read.
    pub(crate) fn settle(&mut self) -> Result<Vec<Missing>, String> {
        let mut targets = Vec::new();
        for path in self.contents.keys() {
            targets.push((path.clone(), self.document(path)?.target().to_owned()));
        }
        let mut missing = Vec::new();
        for (from, own) in &targets {
            let document = self.document(from)?;
            for (kind, namespace, location) in document.references() {
                let Some(location) = location else { continue };
                let address = absolute(from, location);
                if self.addresses.contains_key(&address) {
                    continue;
                }
                let namespace = if kind == "import" { namespace.unwrap_or_default() } else { own };
                let name = file_name(location);
                let fits =
                    targets.iter().find(|(path, target)| file_name(path) == name && target == namespace);
                match fits {
                    Some((path, _)) => {
                        self.addresses.insert(address, path.clone());
                    }
                    None => missing.push(Missing {
                        from: from.clone(),
                        namespace: namespace.to_owned(),
                        location: location.to_owned(),
                        address,
                    }),
                }
            }
        }
        missing.sort_by(|a, b| a.address.cmp(&b.address));
        missing.dedup_by(|a, b| a.address == b.address);
        Ok(missing)
    }
}

/// The address of a path.
pub(crate) fn address(path: &str) -> String {
    format!("{BASE}{path}")
}

/// A location as libxml2 will ask for it.
fn absolute(from: &str, location: &str) -> String {
    if location.contains("://") || location.starts_with("urn:") || location.starts_with("file:") {
        return location.to_owned();
    }
    let base = address(from);
    let (scheme, path) = base.split_at("kop://paket/".len());
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in location.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{scheme}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn relative_locations_stay_inside() {
        assert_eq!(absolute("xsd/a.xsd", "../xoev/b.xsd"), "kop://paket/a/b/c/d/xoev/b.xsd");
        assert_eq!(absolute("a.xsd", "../xoev/b.xsd"), "kop://paket/a/b/c/xoev/b.xsd");
        assert_eq!(absolute("a.xsd", "https://xoev.de/b.xsd"), "https://xoev.de/b.xsd");
        assert_eq!(absolute("a.xsd", "../../../../../../etc/passwd"), "kop://paket/etc/passwd");
    }
}
