// SPDX-License-Identifier: EUPL-1.2
//! Holds what ARCHITECTURE.md promises: the arrows between rooms, short files, licence headers, no foreign
//! copies, `unsafe` in one place. Each rule is a function that names what breaks it; each is shown to bite.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use kop_tests::{shared, workspace};
use sha2::{Digest, Sha256};

/// A file of more lines is refused: it has more than one job.
const LONGEST_FILE: usize = 600;
/// Smaller files are alike by chance (empty documents, one-line tables).
const SMALLEST_COPY: usize = 64;
const HEADER: &str = "SPDX-License-Identifier: EUPL-1.2";

/// Who may depend on whom. `kop-tests` and `kop-bench` look at everything from outside.
const ARROWS: &[(&str, &[&str])] = &[
    ("kop-core", &[]),
    ("kop-xml", &["kop-core"]),
    ("kop-mapping", &["kop-core"]),
    ("kop-store", &["kop-core"]),
    ("kop-connector-api", &["kop-core"]),
    ("kop-forms", &["kop-core", "kop-connector-api"]),
    ("kop-files", &["kop-core", "kop-connector-api"]),
    ("kop-mail", &["kop-core", "kop-connector-api"]),
    ("kop-scan", &["kop-core", "kop-connector-api"]),
    ("kop-web", &["kop-core", "kop-connector-api"]),
    ("kop-tenant", &["kop-core", "kop-mapping", "kop-xml", "kop-connector-api"]),
    ("kop-wake", &["kop-flow", "kop-store"]),
    ("kop-flow", &["kop-core", "kop-mapping", "kop-xml", "kop-store", "kop-tenant", "kop-connector-api"]),
    (
        "kop-workshop",
        &["kop-core", "kop-mapping", "kop-xml", "kop-store", "kop-tenant", "kop-connector-api", "kop-flow"],
    ),
    (
        "kop-server",
        &[
            "kop-core",
            "kop-mapping",
            "kop-xml",
            "kop-store",
            "kop-tenant",
            "kop-connector-api",
            "kop-flow",
            "kop-workshop",
        ],
    ),
    (
        "kop-cli",
        &[
            "kop-core",
            "kop-mapping",
            "kop-xml",
            "kop-store",
            "kop-tenant",
            "kop-connector-api",
            "kop-flow",
            "kop-workshop",
            "kop-server",
            "kop-forms",
            "kop-files",
            "kop-mail",
            "kop-scan",
            "kop-wake",
            "kop-web",
        ],
    ),
];
const OUTSIDE: &[&str] = &["kop-tests", "kop-bench"];

// The rules, as functions over plain values.

/// `crates`: name → our crates it depends on (test dependencies left out).
fn broken_arrows(crates: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, needs) in crates.iter().filter(|(name, _)| !OUTSIDE.contains(&name.as_str())) {
        match ARROWS.iter().find(|(room, _)| room == name) {
            None => broken.push(format!("{name} steht nicht in der Tabelle der Pfeile")),
            Some((_, allowed)) => broken.extend(
                needs
                    .iter()
                    .filter(|need| !allowed.contains(&need.as_str()))
                    .map(|need| format!("{name} → {need}")),
            ),
        }
    }
    broken
}

/// Words that mean input and output or the real clock, outside comments.
fn worldly_words(source: &str) -> Vec<&'static str> {
    const WORDS: &[&str] = &[
        "std::fs",
        "std::env",
        "std::net",
        "SystemTime",
        "std::process",
        "tokio::",
        "Timestamp::now",
        "Zoned::now",
    ];
    let code = without_comments(source);
    // `use std::{fs, …}` says the same in another way.
    let grouped = code.split("std::{").skip(1).filter_map(|rest| rest.split_once("};")).any(|(group, _)| {
        group
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|w| ["fs", "env", "net", "process"].contains(&w))
    });
    let mut found: Vec<_> = WORDS.iter().copied().filter(|word| code.contains(word)).collect();
    if grouped {
        found.push("std::{fs|env|net|process}");
    }
    found
}

fn has_unsafe(source: &str) -> bool {
    let code = without_comments(source);
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

fn too_long(source: &str) -> bool {
    source.lines().count() > LONGEST_FILE
}

/// The header stands in the first lines (after `#!` or an XML declaration).
fn has_header(source: &str) -> bool {
    source.lines().take(3).any(|line| line.contains(HEADER))
}

fn needs_header(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["Makefile", "Cargo.toml"].contains(&name)
        || path == ".ci/run"
        || [".rs", ".rhai", ".sh", ".xsl", ".xsd"].into_iter().any(|ending| name.ends_with(ending))
}

/// Machine paths that tell where something was written rather than how it works.
fn machine_paths(source: &str) -> bool {
    // Put together here, so that this file does not contain what it looks for.
    [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()]
        .iter()
        .any(|p| source.contains(p))
}

fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Files of ours (path, hash) that are byte for byte among the foreign hashes.
fn copies<'a>(ours: &'a [(String, [u8; 32])], foreign: &BTreeSet<[u8; 32]>) -> Vec<&'a str> {
    ours.iter().filter(|(_, hash)| foreign.contains(hash)).map(|(path, _)| path.as_str()).collect()
}

// The rules on this repository.

#[test]
fn arrows_between_rooms_hold() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(vec!["--locked".into(), "--offline".into()])
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let crates: BTreeMap<String, BTreeSet<String>> = metadata
        .packages
        .iter()
        .map(|package| {
            let needs = package
                .dependencies
                .iter()
                .filter(|d| d.kind != cargo_metadata::DependencyKind::Development && ours.contains(&d.name))
                .map(|d| d.name.clone())
                .collect();
            (package.name.to_string(), needs)
        })
        .collect();
    assert!(crates.len() >= ARROWS.len(), "cargo metadata nennt nur {} Räume", crates.len());
    assert_eq!(broken_arrows(&crates), Vec::<String>::new(), "Pfeile, die es nicht geben darf");
}

#[test]
fn core_and_mapping_touch_no_world() {
    let found: Vec<String> = tracked(&["engine/core/src", "engine/mapping/src"])
        .into_iter()
        .filter(|path| has_extension(path, "rs"))
        .flat_map(|path| {
            let words = worldly_words(&read(&path));
            words.into_iter().map(move |word| format!("{path}: {word}"))
        })
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn source_files_are_short() {
    let found: Vec<String> = tracked(&["."])
        .into_iter()
        .filter(|path| has_extension(path, "rs") || has_extension(path, "rhai") || has_extension(path, "sh"))
        .filter(|path| too_long(&read(path)))
        .collect();
    assert_eq!(found, Vec::<String>::new(), "Dateien mit mehr als {LONGEST_FILE} Zeilen");
}

#[test]
fn every_source_file_names_its_licence() {
    let found: Vec<String> =
        tracked(&["."]).into_iter().filter(|path| needs_header(path) && !has_header(&read(path))).collect();
    assert_eq!(found, Vec::<String>::new(), "Dateien ohne '{HEADER}'");
}

#[test]
fn unsafe_lives_in_one_module() {
    let found: Vec<String> = tracked(&["."])
        .into_iter()
        .filter(|path| has_extension(path, "rs") && path != "tests/tests/architecture.rs")
        .filter(|path| has_unsafe(&read(path)))
        .collect();
    let allowed =
        |path: &String| path == "engine/xml/src/libxml2.rs" || path == "engine/xml/src/libxml2/stream.rs";
    assert!(found.iter().all(allowed), "unsafe ist nur in engine/xml/src/libxml2 erlaubt: {found:?}");
}

#[test]
fn no_file_names_a_machine() {
    let found: Vec<String> = tracked(&["."]).into_iter().filter(|path| machine_paths(&read(path))).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn nothing_foreign_is_copied_in() {
    let Some(shared) = shared() else { return };
    let mut foreign = BTreeSet::new();
    hash_folder(&shared, &mut foreign);
    assert!(foreign.len() > 100, "../shared ist fast leer");
    let ours: Vec<_> = tracked(&["."])
        .into_iter()
        .filter_map(|path| {
            let content = fs::read(workspace().join(&path)).ok()?;
            (content.len() >= SMALLEST_COPY).then(|| (path, Sha256::digest(&content).into()))
        })
        .collect();
    assert_eq!(copies(&ours, &foreign), Vec::<&str>::new());
}

// The rules bite.

#[test]
fn rules_refuse_bad_samples() {
    let crates =
        |name: &str, need: &str| BTreeMap::from([(name.to_owned(), BTreeSet::from([need.to_owned()]))]);
    assert_eq!(broken_arrows(&crates("kop-flow", "kop-forms")), ["kop-flow → kop-forms"]);
    assert_eq!(broken_arrows(&crates("kop-core", "kop-xml")), ["kop-core → kop-xml"]);
    assert_eq!(broken_arrows(&crates("kop-web", "kop-files")), ["kop-web → kop-files"]);
    assert_eq!(broken_arrows(&crates("kop-neu", "kop-core")).len(), 1);
    assert!(broken_arrows(&crates("kop-flow", "kop-store")).is_empty());

    assert_eq!(worldly_words("let x = std::fs::read(p);"), ["std::fs"]);
    assert_eq!(
        worldly_words("use std::{\n    collections::BTreeMap,\n    env,\n};"),
        ["std::{fs|env|net|process}"]
    );
    assert!(worldly_words("// no std::fs here\nuse std::{fmt, sync::Arc};").is_empty());

    assert!(has_unsafe("fn f() { unsafe { g() } }"));
    assert!(!has_unsafe("#![deny(unsafe_code)] // unsafe"));

    assert!(too_long(&"x\n".repeat(LONGEST_FILE + 1)));
    assert!(!too_long(&"x\n".repeat(LONGEST_FILE)));

    assert!(has_header(&format!("#!/bin/sh\n# {HEADER}\n")));
    assert!(!has_header("fn main() {}\n"));
    assert!(
        needs_header("mappings/x/mapping.rhai") && needs_header("Makefile") && !needs_header("README.md")
    );

    assert!(machine_paths(&["see /wo", "rk/main/x"].concat()));
    assert!(!machine_paths("die Arbeit/work flow"));

    let hash: [u8; 32] = Sha256::digest(b"fremd").into();
    assert_eq!(copies(&[("a".into(), hash), ("b".into(), [0; 32])], &BTreeSet::from([hash])), ["a"]);
}

// What the rules look at.

/// The tracked and the new, not ignored files below `folders`, as paths from the root.
fn tracked(folders: &[&str]) -> Vec<String> {
    let output = Command::new("git")
        .current_dir(workspace())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"])
        .args(folders)
        .output()
        .expect("git ls-files");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let files: Vec<String> = String::from_utf8(output.stdout)
        .expect("paths are UTF-8")
        .split('\0')
        .filter(|path| !path.is_empty() && workspace().join(path).is_file())
        .map(str::to_owned)
        .collect();
    assert!(!files.is_empty(), "keine Dateien unter {folders:?}");
    files
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|e| e == extension)
}

/// The text of a file; bytes that are no text do not matter to the rules.
fn read(path: &str) -> String {
    let content = fs::read(workspace().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    String::from_utf8_lossy(&content).into_owned()
}

fn hash_folder(folder: &Path, into: &mut BTreeSet<[u8; 32]>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable entry").path()) {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            hash_folder(&path, into);
        } else if let Ok(content) = fs::read(&path)
            && content.len() >= SMALLEST_COPY
        {
            into.insert(Sha256::digest(&content).into());
        }
    }
}
