// SPDX-License-Identifier: EUPL-1.2
//! A foreign XÖV document: reading never panics; what was read can be written, or says why not.
#![no_main]

use std::{path::Path, sync::LazyLock};

use kop_xml::{MessageSchema, SchemaStore, WriteOptions};
use libfuzzer_sys::fuzz_target;

static SCHEMA: LazyLock<std::sync::Arc<MessageSchema>> = LazyLock::new(|| {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xoev-schemas");
    let empty = tempfile::tempdir().expect("a folder");
    let store = SchemaStore::open(empty.path(), Some(&profiles)).expect("the profiles");
    let package = store.find("xdomea", "3.1.0").expect("xdomea");
    package.message("FVDaten.SGOAblegen.0605").expect("the message")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tree) = SCHEMA.read(bytes) {
        let _ = SCHEMA.write(&tree, &WriteOptions::default());
    }
    let _ = SCHEMA.validate(bytes, None);
});
