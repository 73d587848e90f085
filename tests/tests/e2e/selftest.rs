// SPDX-License-Identifier: EUPL-1.2
//! Every message of every official set at hand: instances made from the schema alone are written, read back, and
//! accepted by libxml2, xmllint and Xerces-C. The sets with Schematron go through it too, on a foreign engine.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use kop_tests::{Error, Instance, schematron, shared};

/// Package and number of its messages.
const PACKAGES: [(&str, usize); 6] = [
    ("xbau-kernmodul/1.3.0", 18),
    ("xbau-hochbau/2.6", 121),
    ("xbau-hochbau/2.5", 109),
    ("xdomea/2.4.0", 47),
    ("xdomea/3.0.0", 64),
    ("xdomea/3.1.0", 64),
];

/// Packages that bring Schematron, with its files.
const RULES: [(&str, &[&str]); 2] =
    [("xbau-kernmodul/1.3.0", &schematron::KERNMODUL), ("xbau-hochbau/2.6", &schematron::XBAU)];

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
        let kept = tempfile::tempdir()?;
        let folder = kept.path().display().to_string();
        let mut args = vec!["schema", "selftest", package, "--json", "--ausgabe", &folder];
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
        if let Some((_, rules)) = RULES.iter().find(|(name, _)| *name == package) {
            let roots: Vec<&str> = found.iter().filter_map(|message| message["root"].as_str()).collect();
            let rules: Vec<PathBuf> = rules.iter().map(|rule| shared.join(rule)).collect();
            by_schematron(package, &roots, &rules, kept.path())?;
        }
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

/// Puts the smallest and the first covering instance of every message before the package's Schematron, all in one start
/// of the Java machine, and prints roots × verdicts and how often which rule was broken. A broken rule is no failure: the
/// rules are about content that the schema does not know of, such as an element that must not be empty although all that
/// stands in it may be left out.
fn by_schematron(package: &str, roots: &[&str], rules: &[PathBuf], folder: &Path) -> Result<(), Error> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number =
                name.strip_prefix("instanz-").and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
            match number {
                _ if path.is_dir() => waiting.push(path),
                Some(number) if name.ends_with("-000.xml") || name.ends_with("-001.xml") => {
                    files.insert(name, (number, path));
                }
                _ => {}
            }
        }
    }
    let paths: Vec<PathBuf> = files.values().map(|(_, path)| path.clone()).collect();
    assert_eq!(paths.len(), roots.len() * 2, "{package}");
    let mut by_root: BTreeMap<usize, BTreeMap<String, usize>> = BTreeMap::new();
    let mut by_rule: BTreeMap<String, usize> = BTreeMap::new();
    for line in kop_tests::schematron(rules, &paths)? {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, _, _, text, id] = columns[..] else { return Err(format!("{package}: {line}").into()) };
        let name = file.rsplit('/').next().unwrap_or_default();
        let (number, _) = files.get(name).ok_or_else(|| format!("{package}: {line}"))?;
        // a rule file without a rule for a message says so instead of an id
        let id = if id.is_empty() { text } else { id };
        *by_root.entry(*number).or_default().entry(id.to_owned()).or_default() += 1;
        *by_rule.entry(id.to_owned()).or_default() += 1;
    }
    for (number, root) in roots.iter().enumerate() {
        let broken = by_root.get(&number).map(|rules| format!("{rules:?}"));
        eprintln!("  {root:<60} {}", broken.as_deref().unwrap_or("hält alle Regeln ein"));
    }
    let (held, judged) = (roots.len() - by_root.len(), paths.len());
    assert!(held > 0, "{package}: {by_rule:?}");
    eprintln!(
        "{package}: Schematron, {judged} Instanzen, {held}/{} Nachrichten ohne Beanstandung",
        roots.len()
    );
    eprintln!("{package}: verletzte Inhaltsregeln × Anzahl: {by_rule:?}");
    Ok(())
}
