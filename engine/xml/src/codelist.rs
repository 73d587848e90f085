// SPDX-License-Identifier: EUPL-1.2
//! Code lists by URN and version: what one holds in memory, how it lies on disk, and which of the lists known to
//! the instance answers for a package. Knows nothing of genericode or of messages.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use kop_core::similar;
use kop_core::{ContentHash, Diagnostic};
use serde::{Deserialize, Serialize};

use crate::archive;

/// Lists kept in memory, in bytes.
const MAX_LOADED: usize = 64 << 20;
/// Proposals for a wrong code.
const MAX_NEAR: usize = 3;

/// What a code list is, without its codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListInfo {
    /// Identity over content and description.
    pub hash: ContentHash,
    /// Canonical URI, e.g. `urn:xoev-de:xbau:codeliste:anlagen`.
    pub urn: String,
    /// Version, e.g. `3.0` or `2026-04-30`.
    pub version: String,
    /// Name for people.
    pub name: String,
    /// Id of the column that messages carry.
    pub key_column: String,
    /// Id of the column that people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_column: Option<String>,
    /// First day of validity, ISO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Last day of validity, ISO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    /// What the list itself says of its licence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Number of codes.
    pub codes: usize,
    /// Hash over the codes and their validity, without their names: to a check, lists that agree in it are the same.
    pub values: ContentHash,
}

/// One row of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) code: String,
    pub(crate) name: String,
    /// Days of validity, and the codes to use afterwards.
    pub(crate) validity: Validity<String>,
}

/// From when and until when a code may be used, ISO days, where the list says so; and what comes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validity<T> {
    pub(crate) from: Option<T>,
    pub(crate) to: Option<T>,
    pub(crate) next: Option<T>,
}

impl Validity<String> {
    fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Validity of a code that comes twice: as long as one of the rows is valid.
    fn widen(&mut self, other: &Self) {
        self.from = self.from.take().zip(other.from.clone()).map(|(a, b)| a.min(b));
        let last = self.to.take().zip(other.to.clone());
        self.to = last.map(|(a, b)| a.max(b));
    }

    /// As it is stored behind a name; nothing for a code that always counts.
    fn columns(&self) -> String {
        if self.is_open() {
            return String::new();
        }
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        ["\t", &text(&self.from), "\t", &text(&self.to), "\t", &text(&self.next)].concat()
    }
}

/// A code list in memory: one text, `code TAB name` a line, sorted by code; behind it `TAB from TAB to TAB next` where
/// the code does not always count.
#[derive(Debug)]
pub(crate) struct CodeList {
    pub(crate) info: ListInfo,
    text: Box<str>,
    /// Begin of each line and length of its code.
    lines: Vec<(u32, u16)>,
}

impl CodeList {
    /// Sorts and counts the rows and gives the list its identity. Of a code that comes twice the first counts.
    pub(crate) fn new(mut info: ListInfo, mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| a.code.cmp(&b.code));
        rows.dedup_by(|later, first| {
            let same = later.code == first.code;
            if same {
                first.validity.widen(&later.validity);
            }
            same
        });
        let line = |row: &Row| [&row.code, "\t", &row.name, &row.validity.columns(), "\n"].concat();
        let text: String = rows.iter().map(line).collect();
        info.hash = identity(&info, &text);
        info.codes = rows.len();
        let values: Vec<(String, &str)> =
            rows.iter().map(|row| (row.validity.columns(), row.code.as_str())).collect();
        info.values =
            ContentHash::of_parts(values.iter().map(|(until, code)| (until.as_str(), code.as_bytes())));
        Self { lines: lines(&text), info, text: text.into() }
    }

    /// The list as it was stored; nothing when it was changed since.
    fn stored(info: &ListInfo, bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        (identity(info, &text) == info.hash).then(|| Self {
            lines: lines(&text),
            info: info.clone(),
            text: text.into(),
        })
    }

    /// As it is stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn code(&self, (begin, length): (u32, u16)) -> &str {
        &self.text[begin as usize..][..usize::from(length)]
    }

    fn row(&self, line: (u32, u16)) -> (&str, &str) {
        let code = self.code(line);
        let rest = &self.text[line.0 as usize + code.len() + 1..];
        (code, rest.split(['\t', '\n']).next().unwrap_or_default())
    }

    /// Whether the list has a code.
    #[cfg(test)]
    pub(crate) fn has(&self, code: &str) -> bool {
        self.find(code).is_some()
    }

    /// The validity of a code, if the list has it.
    pub(crate) fn find(&self, code: &str) -> Option<Validity<&str>> {
        let at = self.lines.binary_search_by(|line| self.code(*line).cmp(code)).ok()?;
        let line = self.text[self.lines[at].0 as usize..].split('\n').next().unwrap_or_default();
        let mut columns = line.split('\t').skip(2).map(|column| Some(column).filter(|day| !day.is_empty()));
        let mut column = || columns.next().flatten();
        Some(Validity { from: column(), to: column(), next: column() })
    }

    /// Codes that may be meant, with their names, best first: same name, same but for case and leading zeros,
    /// then few letters apart.
    pub(crate) fn near(&self, wrong: &str) -> Vec<(&str, &str)> {
        let rows = || self.lines.iter().map(|line| self.row(*line));
        let bare = |text: &str| text.trim_start_matches('0').to_lowercase();
        let lower = wrong.to_lowercase();
        let same = |(code, name): &(&str, &str)| name.to_lowercase() == lower || bare(code) == bare(wrong);
        let mut found: Vec<(&str, &str)> = rows().filter(same).take(MAX_NEAR).collect();
        let names = rows().filter(|(_, name)| !name.is_empty()).map(|(_, name)| name);
        for name in similar::near(wrong, names) {
            found.extend(rows().find(|row| row.1 == name));
        }
        for code in similar::near(wrong, rows().map(|(code, _)| code)) {
            found.extend(rows().find(|row| row.0 == code));
        }
        let mut seen: Vec<&str> = Vec::new();
        found.retain(|(code, _)| {
            !seen.contains(code) && {
                seen.push(code);
                true
            }
        });
        found.truncate(MAX_NEAR);
        found
    }

    fn weight(&self) -> usize {
        self.text.len() + self.lines.len() * 8
    }
}

fn lines(text: &str) -> Vec<(u32, u16)> {
    let mut begin = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let code = line.split('\t').next().unwrap_or_default();
        lines.push((begin, code.len() as u16));
        begin += line.len() as u32;
    }
    lines
}

fn identity(info: &ListInfo, text: &str) -> ContentHash {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_default();
    let (display, from, to) =
        (or_none(&info.display_column), or_none(&info.valid_from), or_none(&info.valid_to));
    ContentHash::of_parts(
        [
            ("urn", info.urn.as_str()),
            ("version", &info.version),
            ("name", &info.name),
            ("key", &info.key_column),
            ("display", &display),
            ("from", &from),
            ("to", &to),
            ("rows", text),
        ]
        .map(|(name, part)| (name, part.as_bytes())),
    )
}

/// Where a list's rows lie in its package's folder.
pub(crate) fn place(folder: &Path, hash: &ContentHash) -> PathBuf {
    folder.join("codelisten").join(hash.to_string())
}

/// A list and the package that brought it.
struct Held {
    info: ListInfo,
    package: ContentHash,
    /// The package consists of lists only: it was imported for all.
    common: bool,
    sequence: u32,
    folder: PathBuf,
}

/// All lists that the packages of an instance brought. Rows are read on first use and shared.
#[derive(Default)]
pub(crate) struct Lists {
    held: RwLock<HashMap<String, Vec<Held>>>,
    loaded: Mutex<HashMap<ContentHash, Arc<CodeList>>>,
    generation: AtomicU64,
}

/// What answers for a URN and version.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The list.
    List(Arc<CodeList>),
    /// None; versions that are there.
    Missing(Vec<String>),
    /// Its file is gone or was changed.
    Damaged,
}

impl Lists {
    /// Takes in the lists of a package whose folder is given.
    pub(crate) fn add(
        &self,
        package: ContentHash,
        common: bool,
        sequence: u32,
        folder: &Path,
        lists: &[ListInfo],
    ) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for info in lists {
            held.entry(info.urn.clone()).or_default().push(Held {
                info: info.clone(),
                package,
                common,
                sequence,
                folder: folder.to_owned(),
            });
        }
        drop(held);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever a list comes in.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The list that a package's messages are checked against: its own; else the one that was imported by itself
    /// last; else that of other packages if they all hold the same. So no package can put its list in the place of
    /// another's.
    pub(crate) fn find(&self, package: &ContentHash, urn: &str, version: &str) -> Answer {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let all = held.get(urn).map(Vec::as_slice).unwrap_or_default();
        let fitting: Vec<&Held> = all.iter().filter(|held| held.info.version == version).collect();
        let own = || fitting.iter().find(|held| held.package == *package);
        let common = || fitting.iter().filter(|held| held.common).max_by_key(|held| held.sequence);
        let agreed = || {
            let first = fitting.first()?;
            fitting.iter().all(|held| held.info.values == first.info.values).then_some(first)
        };
        let Some(found) = own().or_else(common).or_else(agreed) else {
            let mut versions: Vec<String> = all.iter().map(|held| held.info.version.clone()).collect();
            versions.sort();
            versions.dedup();
            return Answer::Missing(versions);
        };
        match self.load(found) {
            Some(list) => Answer::List(list),
            None => Answer::Damaged,
        }
    }

    /// The list of the latest version, by any means of comparing versions; for lists that messages do not name.
    pub(crate) fn latest(&self, package: &ContentHash, urn: &str) -> Option<Arc<CodeList>> {
        let Answer::Missing(versions) = self.find(package, urn, "") else { return None };
        let number =
            |version: &String| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
        let version = versions.iter().max_by_key(|version| number(version))?;
        match self.find(package, urn, version) {
            Answer::List(list) => Some(list),
            _ => None,
        }
    }

    /// Version of the latest list of a URN and its first codes.
    pub(crate) fn samples(
        &self,
        package: &ContentHash,
        urn: &str,
        most: usize,
    ) -> Option<(String, Vec<String>)> {
        let list = self.latest(package, urn)?;
        let codes = list.lines.iter().take(most).map(|line| list.code(*line).to_owned());
        Some((list.info.version.clone(), codes.collect()))
    }

    fn load(&self, held: &Held) -> Option<Arc<CodeList>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = loaded.get(&held.info.hash) {
            return Some(list.clone());
        }
        let bytes = archive::file(&place(&held.folder, &held.info.hash)).ok()?;
        let list = Arc::new(CodeList::stored(&held.info, bytes)?);
        if loaded.values().map(|list| list.weight()).sum::<usize>() + list.weight() > MAX_LOADED {
            loaded.clear();
        }
        loaded.insert(held.info.hash, list.clone());
        Some(list)
    }

    /// Lists that are there in another content under the same URN and version, brought by other packages.
    pub(crate) fn contradicted(&self, lists: &[ListInfo]) -> Vec<Diagnostic> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let differs = |info: &&ListInfo| {
            let known = held.get(&info.urn).map(Vec::as_slice).unwrap_or_default();
            known.iter().any(|known| known.info.version == info.version && known.info.values != info.values)
        };
        let differing = lists.iter().filter(differs).take(20);
        differing
            .map(|info| {
                Diagnostic::new(
                    "KOP-X059",
                    format!(
                        "Die Codeliste {} {} ist mit anderem Inhalt schon vorhanden.",
                        info.urn, info.version
                    ),
                    format!(
                        "The code list {} {} is there already with another content.",
                        info.urn, info.version
                    ),
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(code: &str, name: &str, from: Option<&str>, to: Option<&str>) -> Row {
        let own = |day: Option<&str>| day.map(str::to_owned);
        let validity = Validity { from: own(from), to: own(to), next: None };
        Row { code: code.into(), name: name.into(), validity }
    }

    fn list(rows: &[(&str, &str)]) -> CodeList {
        let info = ListInfo {
            hash: ContentHash::of(b""),
            urn: "urn:x:farben".into(),
            version: "1.0".into(),
            name: "Farben".into(),
            key_column: "code".into(),
            display_column: None,
            valid_from: None,
            valid_to: None,
            licence: None,
            codes: 0,
            values: ContentHash::of(b""),
        };
        CodeList::new(info, rows.iter().map(|(code, name)| row(code, name, None, None)).collect())
    }

    #[test]
    fn codes_are_found_and_near_ones_proposed() {
        let list = list(&[("02", "blau"), ("01", "rot"), ("0100", "hellgrün"), ("01", "doppelt"), ("x", "")]);
        assert_eq!(list.info.codes, 4);
        assert!(list.has("01") && list.has("0100") && list.has("x"));
        assert!(!list.has("1") && !list.has("0") && !list.has("") && !list.has("03"));
        assert_eq!(list.near("1")[0], ("01", "rot"));
        assert_eq!(list.near("Rot"), [("01", "rot")]);
        assert_eq!(list.near("hellgruen"), [("0100", "hellgrün")]);
        assert!(list.near("Erika Mustermann").is_empty());
    }

    #[test]
    fn a_code_that_comes_twice_counts_as_long_as_one_of_its_rows() {
        let rows = vec![
            row("01", "alt", None, Some("2020-12-31")),
            row("01", "neu", Some("2021-01-01"), None),
            row("02", "kurz", Some("2020-01-01"), Some("2020-06-30")),
            row("02", "länger", Some("2020-03-01"), Some("2020-09-30")),
        ];
        let list = CodeList::new(list(&[]).info, rows);
        let stored = CodeList::stored(&list.info, list.bytes().to_vec()).unwrap();
        assert_eq!(stored.find("01"), Some(Validity::default()));
        let both = Validity { from: Some("2020-01-01"), to: Some("2020-09-30"), next: None };
        assert_eq!(stored.find("02"), Some(both));
        assert_eq!(stored.near("kurz"), [("02", "kurz")]);
    }

    #[test]
    fn a_changed_file_is_no_list() {
        let list = list(&[("01", "rot")]);
        assert!(CodeList::stored(&list.info, list.bytes().to_vec()).is_some());
        assert!(CodeList::stored(&list.info, b"01\tblau\n".to_vec()).is_none());
    }
}
