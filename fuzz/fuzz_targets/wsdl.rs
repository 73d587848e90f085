// SPDX-License-Identifier: EUPL-1.2
//! A service description from anywhere, alone in its package: taking it in ends with a service or with a reason.
#![no_main]

use kop_xml::SchemaStore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("paket");
    std::fs::create_dir(&package).expect("made");
    std::fs::write(package.join("dienst.wsdl"), bytes).expect("written");
    let store = SchemaStore::open(&folder.path().join("pakete"), None).expect("an empty store");
    if let Ok(report) = store.import(&package) {
        assert_eq!(report.package.services.len(), 1);
    }
});
