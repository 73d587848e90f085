// SPDX-License-Identifier: EUPL-1.2
//! Whether what compiled schemas are reckoned to take is what they take: all of XBau 2.6, in a process of its own.

use std::{env, fs, path::Path, process::Command};

use kop_xml::SchemaStore;

const FOLDER: &str = "KOP_MEMORY_TEST";

/// Resident memory in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or_default() << 10
}

#[test]
fn the_estimate_is_near_what_is_measured() {
    if let Ok(folder) = env::var(FOLDER) {
        return child(Path::new(&folder));
    }
    let shared =
        env::var("KOP_SHARED").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into());
    let package = Path::new(&shared).join("xoev/xbau-2.6");
    if !package.exists() || !Path::new("/proc/self/status").exists() {
        assert!(env::var("KOP_REQUIRE_SHARED").as_deref() != Ok("1"), "../shared fehlt");
        eprintln!("ÜBERSPRUNGEN: ../shared fehlt");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    SchemaStore::open(folder.path(), None).unwrap().import(&package).unwrap();
    // what the import freed must not serve again, so another process measures
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_estimate_is_near_what_is_measured", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

fn child(folder: &Path) {
    let store = SchemaStore::open(folder, None).unwrap();
    store.bound_memory(usize::MAX);
    let package = store.find("xbau-hochbau", "2.6").unwrap();
    let _held = package.hold().unwrap();
    let mut entries: Vec<&str> =
        package.info().messages.iter().map(|message| message.entry.as_str()).collect();
    entries.sort_unstable();
    entries.dedup();
    let mut start = 0;
    for (number, entry) in entries.iter().enumerate() {
        let message = package.info().messages.iter().find(|message| message.entry == *entry).unwrap();
        let message = package.message(&message.root).unwrap();
        drop(message.validate(b"<a/>", None));
        // documents, plans and the parser's own come with the first
        if number == 0 {
            start = resident() - store.memory().bytes;
        }
    }
    let (measured, memory) = (resident() - start, store.memory());
    eprintln!(
        "{} schemas: {} MB measured, {} MB reckoned",
        memory.schemas,
        measured >> 20,
        memory.bytes >> 20
    );
    assert_eq!(memory.schemas, entries.len());
    assert!(memory.bytes > measured / 3 * 2 && memory.bytes < measured / 2 * 3);
    store.bound_memory(memory.bytes / 4);
    assert!(store.memory().bytes <= memory.bytes / 4, "{:?}", store.memory());
}
