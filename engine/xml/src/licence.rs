// SPDX-License-Identifier: EUPL-1.2
//! Under what terms a package may be used, as far as it says so itself: licence files in the archive, and
//! statements in its schema documents and code lists. Records texts; judges none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kop_core::ContentHash;
use serde::{Deserialize, Serialize};

use crate::{codelist::CodeList, files::Files};

/// Most characters kept of one text; the whole of the EUPL fits.
const MAX_TEXT: usize = 20_000;
/// Most texts of one package, and most sources named of one.
const MAX_TEXTS: usize = 20;
/// Names of elements that hold a statement: XÖV's `lizenz`, and the usual words elsewhere.
const ELEMENTS: [&str; 6] = ["lizenz", "licence", "license", "nutzungsbedingungen", "rights", "copyright"];
/// How the names of licence files begin.
const FILES: [&str; 8] =
    ["licen", "lizenz", "copying", "copyright", "nutzungsbedingung", "notice", "cc-by", "eupl"];

/// One licence text or statement of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenceInfo {
    /// The words, at most 20 000 characters.
    pub text: String,
    /// Whether there was more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Where they stand: paths in the package, or URN and version of code lists; the first twenty.
    pub sources: Vec<String>,
    /// How many places there are in all.
    pub places: usize,
    /// A file of its own, which speaks for the whole package; else a statement about what it stands in.
    pub whole: bool,
}

/// Whether a path looks like that of a licence text.
pub(crate) fn is_file(path: &str) -> bool {
    let name = crate::files::file_name(path).to_lowercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    // the version of a licence looks like an extension: cc-by-4.0
    let text =
        ["", "txt", "md", "text"].contains(&extension) || extension.bytes().all(|b| b.is_ascii_digit());
    text && FILES.iter().any(|begin| stem.starts_with(begin))
}

/// Whether an element of that local name holds a statement.
pub(crate) fn is_element(name: &str) -> bool {
    ELEMENTS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// All texts of a package, and the number of schema documents that no statement stands in.
pub(crate) fn collect(
    files: &Files,
    texts: &BTreeMap<String, Arc<[u8]>>,
    lists: &[CodeList],
) -> (Vec<LicenceInfo>, usize) {
    let mut found: Vec<LicenceInfo> = Vec::new();
    for (path, bytes) in texts {
        add(&mut found, &String::from_utf8_lossy(bytes), path, true);
    }
    let mut silent = 0;
    for path in files.paths() {
        // whoever calls has read every document
        let Ok(document) = files.document(path) else { continue };
        let statements: BTreeSet<&str> = document.texts(is_element).collect();
        silent += usize::from(statements.is_empty());
        for statement in statements {
            add(&mut found, statement, path, false);
        }
    }
    for list in lists {
        if let Some(statement) = &list.info.licence {
            add(&mut found, statement, &format!("{} {}", list.info.urn, list.info.version), false);
        }
    }
    (found, silent)
}

/// What decides a package's identity: the files, which no other hash covers.
pub(crate) fn identity(licences: &[LicenceInfo]) -> impl Iterator<Item = (String, ContentHash)> {
    let whole = licences.iter().filter(|licence| licence.whole);
    whole.map(|licence| {
        (format!("lizenz {}", licence.sources.join(" ")), ContentHash::of(licence.text.as_bytes()))
    })
}

fn add(found: &mut Vec<LicenceInfo>, text: &str, source: &str, whole: bool) {
    let plain = |c: char| c == '\n' || !c.is_control();
    let clean: String = text.trim().chars().filter(|c| plain(*c)).take(MAX_TEXT + 1).collect();
    if clean.is_empty() {
        return;
    }
    let kept: String = clean.chars().take(MAX_TEXT).collect();
    if let Some(known) = found.iter_mut().find(|known| known.text == kept && known.whole == whole) {
        known.places += 1;
        if known.sources.len() < MAX_TEXTS {
            known.sources.push(source.to_owned());
        }
    } else if found.len() < MAX_TEXTS {
        let cut = kept.len() < clean.len();
        found.push(LicenceInfo { text: kept, cut, sources: vec![source.to_owned()], places: 1, whole });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_files_are_known_by_their_names() {
        for name in ["LICENSE", "a/Lizenz.txt", "Lizenzhinweise.md", "CC-BY-ND-4.0.txt", "eupl-1.2", "NOTICE"]
        {
            assert!(is_file(name), "{name}");
        }
        for name in ["lizenz.xsd", "codeliste-lizenz.xml", "LICENSE.exe", "README.md"] {
            assert!(!is_file(name), "{name}");
        }
    }

    #[test]
    fn texts_are_bounded_and_counted() {
        let mut found = Vec::new();
        for number in 0..50 {
            add(&mut found, "Namensnennung\u{0} 4.0\n", &format!("{number}.xsd"), false);
        }
        add(&mut found, &"x".repeat(MAX_TEXT * 2), "LICENSE", true);
        assert_eq!(
            (found[0].text.as_str(), found[0].places, found[0].sources.len()),
            ("Namensnennung 4.0", 50, 20)
        );
        assert!(found[1].cut && found[1].text.len() == MAX_TEXT);
        for number in 0..50 {
            add(&mut found, &number.to_string(), "a.xsd", false);
        }
        assert_eq!(found.len(), MAX_TEXTS);
    }
}
