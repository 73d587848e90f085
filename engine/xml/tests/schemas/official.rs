// SPDX-License-Identifier: EUPL-1.2
//! Against the official XÖV schemas: what is written is valid, and what is not valid is explained.

use crate::common::{
    KERNMODUL, XBAU, bauantrag, official, options, shared, sondernutzung, tree, xbau_options,
};
use serde_json::json;

#[test]
fn first() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let started = std::time::Instant::now();
    let store = official(&shared, folder.path(), &["xoev/xoev-lib", XBAU]);
    eprintln!("import {:?}", started.elapsed());
    for info in store.list() {
        eprintln!("{} {} {} {}", info.standard, info.version, info.messages.len(), info.files);
    }
    let package = store.find("xbau-hochbau", "2.6").unwrap();
    let started = std::time::Instant::now();
    let message = package.message("baugenehmigung.antrag.0200").unwrap();
    eprintln!("plan {:?}", started.elapsed());
    let written = message
        .write(&tree(&bauantrag()), &xbau_options())
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
    println!("{}", String::from_utf8_lossy(&written.bytes));
    message.validate(&written.bytes, Some(&written.paths)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let _ = (KERNMODUL, options(&[]), sondernutzung(), json!(1));
}
