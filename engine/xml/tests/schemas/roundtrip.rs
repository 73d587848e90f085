// SPDX-License-Identifier: EUPL-1.2
//! Every real instance that comes with the official packages is read into the plain map and written back; both
//! documents must say the same.

use std::path::{Path, PathBuf};

use kop_core::Tree;
use kop_xml::{MessageSchema, WriteOptions};

use crate::{
    common::{KERNMODUL, XBAU, official, shared},
    equal::canonical,
};

/// Folders of instances by the package that they belong to.
const SETS: [(&str, &str, &[&str]); 5] = [
    ("xbau-hochbau", "2.6", &["xbau-2.6/generated-minimal"]),
    ("xbau-kernmodul", "1.3.0", &["xbau-kernmodul-1.3.0/generated-minimal"]),
    ("xdomea", "2.4.0", &["xdomea-2.4.0/examples", "xdomea-2.4.0/generated-minimal"]),
    ("xdomea", "3.0.0", &["xdomea-3.0.0/examples"]),
    ("xdomea", "3.1.0", &["xdomea-3.1.0/generated-minimal"]),
];

/// The first line in which two documents differ.
fn difference(read: &[u8], written: &[u8]) -> Option<String> {
    let (read, written) = (canonical(read), canonical(written));
    if read == written {
        return None;
    }
    let at = read.iter().zip(&written).position(|(a, b)| a != b).unwrap_or(read.len().min(written.len()));
    let context = |lines: &[String]| lines[at.saturating_sub(4)..lines.len().min(at + 3)].join(" | ");
    Some(format!("line {at}\n  read    {}\n  written {}", context(&read), context(&written)))
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "xml"))
        .collect();
    found.sort();
    found
}

/// Takes the last text out of a tree.
fn forget(tree: &mut Tree) -> bool {
    match tree {
        Tree::Text(_) => {
            *tree = Tree::Nothing;
            true
        }
        Tree::List(items) => items.iter_mut().rev().any(forget),
        Tree::Map(entries) => entries.iter_mut().rev().any(|(_, value)| forget(value)),
        _ => false,
    }
}

/// Reads and writes a document; the error says what went wrong.
fn round(message: &MessageSchema, xml: &[u8]) -> Result<(), String> {
    let tree = message.read(xml).map_err(|problems| format!("is not read: {problems:#?}"))?;
    let written = message.write(&tree, &WriteOptions::default());
    let written = written.map_err(|problems| format!("is not written: {problems:#?}"))?;
    if let Some(difference) = difference(xml, &written.bytes) {
        return Err(difference);
    }
    let mut poorer = tree.clone();
    assert!(forget(&mut poorer), "there is something to forget");
    if let Ok(poorer) = message.write(&poorer, &WriteOptions::default()) {
        assert!(difference(xml, &poorer.bytes).is_some(), "a lost value must show");
    }
    let again =
        message.read(&written.bytes).map_err(|problems| format!("is not read again: {problems:#?}"))?;
    if again != tree {
        return Err("is read differently after it was written".to_owned());
    }
    if message.validate(xml, None).is_ok() {
        let judged = message.validate(&written.bytes, Some(&written.paths));
        judged.map_err(|problems| format!("was valid and is no longer: {problems:#?}"))?;
    }
    Ok(())
}

#[test]
fn real_instances_survive_a_round_trip() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let order = [
        "xoev/xlink",
        "xoev/xoev-lib",
        "xoev/xplanung-5.4-gmlprofile",
        KERNMODUL,
        XBAU,
        "xoev/xdomea-2.4.0",
        "xoev/xdomea-3.0.0",
        "xoev/xdomea-3.1.0",
    ];
    let store = official(&shared, folder.path(), &order);
    let (mut good, mut bad) = (0, Vec::new());
    for (standard, version, folders) in SETS {
        let package = store.find(standard, version).unwrap_or_else(|| panic!("{standard} {version}"));
        for path in folders.iter().flat_map(|folder| documents(&shared.join("xoev").join(folder))) {
            let xml = std::fs::read(&path).unwrap();
            let root = canonical(&xml)[0].rsplit('}').next().unwrap_or_default().to_owned();
            let message = package.message(&root).unwrap_or_else(|problem| panic!("{root}: {problem:?}"));
            match round(&message, &xml) {
                Ok(()) => good += 1,
                Err(why) => bad.push(format!("{}: {why}", path.display())),
            }
        }
    }
    eprintln!("{good} Dokumente gelesen und gleich geschrieben");
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
    assert!(good >= 30, "only {good} documents were found");
}
