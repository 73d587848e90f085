// SPDX-License-Identifier: EUPL-1.2
//! Every message of every official set at hand: instances made from the schema alone are written, read back, and
//! accepted by libxml2, xmllint and Xerces-C.

use std::{env, path::PathBuf};

use kop_tests::{Error, Instance, shared};

/// Package and number of its messages.
const PACKAGES: [(&str, usize); 6] = [
    ("xbau-kernmodul/1.3.0", 18),
    ("xbau-hochbau/2.6", 121),
    ("xbau-hochbau/2.5", 109),
    ("xdomea/2.4.0", 47),
    ("xdomea/3.0.0", 64),
    ("xdomea/3.1.0", 64),
];

/// Why a place may stay open: what stands there must be declared, and the schema does not say by whom.
const UNMADE: &str = "xs:any strict";

#[test]
fn every_message_of_every_set_is_valid_for_three_validators() -> Result<(), Error> {
    let Some(shared) = shared() else { return Ok(()) };
    let mut instance = Instance::of_example("musterstadt")?;
    // The optimised build has time for all; without it the foreign validators see two instances of each message.
    let all = env::var_os("KOP_BIN_RELEASE");
    let foreign = if all.is_some() { u64::MAX } else { 2 };
    match all {
        Some(binary) => instance = instance.with_binary(PathBuf::from(binary)),
        None => eprintln!(
            "KOP_BIN_RELEASE fehlt: xmllint und Xerces sehen nur die ersten zwei Instanzen je Nachricht"
        ),
    }
    let folders = [
        "xrepository-zips/xbau_2.6_xsd_xsd_dev.zip",
        "xrepository-zips/xbau_2.5_xsd_xsd_dev.zip",
        "xrepository-zips/xbau-kernmodul_1.3.0_xsd.zip",
        "xoev/xdomea-2.4.0",
        "xoev/xdomea-3.0.0",
        "xoev/xdomea-3.1.0",
        "xoev/xplanung-5.4-gmlprofile",
        "xoev/xoev-lib",
    ];
    let folders = folders.map(|folder| shared.join(folder).display().to_string());
    let mut import = vec!["schema", "import"];
    import.extend(folders.iter().map(String::as_str));
    let imported = instance.kop(&import)?;
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stdout));

    for (package, messages) in PACKAGES {
        let mut args = vec!["schema", "selftest", package, "--json"];
        if foreign != u64::MAX {
            args.extend(["--stichprobe", "1"]);
        }
        let output = instance.kop(&args)?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{package}: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let found = report["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(found.len(), messages, "{package}");
        assert!(report["xmllint"] == true && report["xerces"] == true, "{package}: ein Prüfer fehlt");
        let (mut instances, mut points, mut covered) = (0, 0, 0);
        for message in found {
            let made = message["instances"].as_u64().unwrap_or_default();
            assert!(message["minimal"] == true && made >= 2, "{package}: {message:#}");
            for judge in ["writer", "libxml2", "xmllint", "xerces"] {
                let verdict = &message[judge];
                let shown = if ["xmllint", "xerces"].contains(&judge) { made.min(foreign) } else { made };
                assert!(verdict["judged"] == shown && verdict["refused"] == 0, "{package}: {message:#}");
            }
            let cut = message["cut"].as_array().map(Vec::as_slice).unwrap_or_default();
            let excused = cut.iter().all(|one| one.as_str().is_some_and(|text| text.contains(UNMADE)));
            assert!(excused, "{package}: {message:#}");
            assert!(message["covered"] == message["points"] || !cut.is_empty(), "{package}: {message:#}");
            instances += made;
            points += message["points"].as_u64().unwrap_or_default();
            covered += message["covered"].as_u64().unwrap_or_default();
        }
        eprintln!("{package}: {messages} Nachrichten, {instances} Instanzen, {covered}/{points} Stellen");
        assert!(output.status.success(), "{package}");
    }
    Ok(())
}

#[test]
fn a_message_that_is_not_there_is_named() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let output = instance.kop(&["schema", "selftest", "gibtesnicht/1.0"])?;
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("KOP-F005"));
    Ok(())
}
