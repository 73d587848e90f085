// SPDX-License-Identifier: EUPL-1.2
//! An archive from anywhere: paths, sizes, what is in it: taking it in ends with a package or with reasons.
#![no_main]

use kop_xml::SchemaStore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("paket.zip");
    std::fs::write(&file, bytes).expect("written");
    let store = SchemaStore::open(&folder.path().join("pakete"), None).expect("an empty store");
    let _ = store.import(&file);
});
