// SPDX-License-Identifier: EUPL-1.2
//! Against the official XÖV schemas: what is written is valid, and what is not valid is explained.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use kop_core::{Diagnostic, Tree};
use kop_xml::{MessageSchema, SchemaStore, WriteOptions, Written};
use serde_json::json;

use crate::common::{
    KERNMODUL, XBAU, abgabe, ablage, bauantrag, official, options, shared, sondernutzung, tree, xbau_options,
};

/// All packages that these tests need, imported once: libraries, then XRepository archives, then folders.
fn store() -> Option<&'static SchemaStore> {
    static STORE: OnceLock<Option<(tempfile::TempDir, SchemaStore)>> = OnceLock::new();
    let made = STORE.get_or_init(|| {
        let shared = shared()?;
        let folder = tempfile::tempdir().unwrap();
        let order = [
            "xoev/xlink",
            "xoev/xoev-lib",
            "xoev/xplanung-5.4-gmlprofile",
            KERNMODUL,
            XBAU,
            "xoev/xdomea-3.1.0",
        ];
        let store = official(&shared, folder.path(), &order);
        Some((folder, store))
    });
    made.as_ref().map(|(_, store)| store)
}

fn message(standard: &str, version: &str, root: &str) -> Option<Arc<MessageSchema>> {
    let package =
        store()?.find(standard, version).unwrap_or_else(|| panic!("{standard} {version} was not imported"));
    Some(package.message(root).unwrap_or_else(|problem| panic!("{root}: {problem:?}")))
}

fn written(message: &MessageSchema, tree: &Tree, options: &WriteOptions) -> Written {
    message.write(tree, options).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn valid(message: &MessageSchema, tree: &Tree, options: &WriteOptions) -> String {
    let written = written(message, tree, options);
    message.validate(&written.bytes, Some(&written.paths)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    String::from_utf8(written.bytes).unwrap()
}

fn problems(message: &MessageSchema, tree: &Tree) -> Vec<Diagnostic> {
    let written = written(message, tree, &xbau_options());
    let mapped = message.validate(&written.bytes, Some(&written.paths)).unwrap_err();
    let unmapped = message.validate(&written.bytes, None).unwrap_err();
    // Only the path table knows the type, and with it the place of a rule.
    let placeless = |problems: &[Diagnostic]| -> Vec<Diagnostic> {
        let without = |one: &Diagnostic| Diagnostic { rule: None, ..one.clone() };
        problems.iter().map(without).collect()
    };
    assert_eq!(placeless(&mapped), placeless(&unmapped), "the path table and the elements' names must agree");
    assert!(
        mapped.iter().any(|one| one.rule.as_deref().is_some_and(|rule| rule.contains(".xsd:"))),
        "{mapped:#?}"
    );
    mapped
}

#[test]
fn a_bauantrag_is_valid_and_every_element_has_its_own_qualification() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let xml = valid(&message, &tree(&bauantrag()), &xbau_options());
    for part in [
        "<xbau:baugenehmigung.antrag.0200 xmlns:xbau=\"http://www.xleitstelle.de/xbau/2/6\" produkt=\"KOP\" ",
        " standard=\"XBau-Hochbau\" version=\"2.6\">\n  <nachrichtenkopf.g2g>",
        "  <xbau:antragsteller>\n    <natuerlichePerson>",
        "<xbau:flurstueck>\n            <bundesland listURI=",
        "bundesland\" listVersionID=\"2010-04-01\">",
        "<xbau:artDerMassnahme listURI=\"urn:xoev-de:xbau:codeliste:baumassnahmeart\" listVersionID=\"2.0\">\n        <code>10",
        "<strasse>Am M\u{fc}hlenbach</strasse>",
        "Carports &amp; Schuppens",
    ] {
        assert!(xml.contains(part), "{part} is missing in\n{xml}");
    }
    for absent in ["anrede", "nenner", "/>", "></"] {
        assert!(!xml.contains(absent), "{absent} must not be written");
    }
    // repeats keep the order of the list
    assert!(xml.find("Zoë").unwrap() < xml.find("Jörg").unwrap());
    assert_eq!(message.number(), Some("0200"));
    assert!(
        message.has_child("nachrichtenkopf.g2g") && message.has_child("@test") && !message.has_child("Kopf")
    );
    assert_eq!(message.fixed_attribute("version"), Some("2.6"));
    assert!(message.outline().contains("bundesland  1  Code.Bundesland  Codeliste bundesland"));
}

#[test]
fn a_sondernutzung_of_the_kernmodul_is_valid() {
    let Some(message) = message("xbau-kernmodul", "1.3.0", "universellerAntrag.antrag.1200") else { return };
    let xml = valid(&message, &tree(&sondernutzung()), &xbau_options());
    assert!(xml.contains("\n  <antragsteller>"), "children of the Kernmodul are unqualified:\n{xml}");
    assert!(xml.contains("listURI=\"urn:xoev-de:xbau:codeliste:artdesantrags\" listVersionID=\"1.0\""));
}

#[test]
fn xdomea_messages_are_valid_and_name_their_schema() {
    let Some(message) = message("xdomea", "3.1.0", "FVDaten.SGOAblegen.0605") else { return };
    let options = WriteOptions { schema_location: true, ..options(&[("dateiformat", "1.1")]) };
    let xml = valid(&message, &tree(&ablage()), &options);
    let location = "xsi:schemaLocation=\"urn:xoev-de:xdomea:schema:3.1.0 \
                    xdomea-Nachrichten-FachverfahrensdatenAustauschen.xsd\"";
    assert!(xml.contains(location), "{xml}");
    assert!(
        xml.contains("<xdomea:Nachrichtentyp listURI=") && xml.contains("\n      <code>0605</code>"),
        "{xml}"
    );
    let message = self::message("xdomea", "3.1.0", "0401").unwrap();
    assert_eq!(message.root(), "Abgabe.Abgabe.0401");
    valid(&message, &tree(&abgabe()), &options);
}

#[test]
fn what_is_missing_or_misspelt_is_named_by_its_path() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let refused = |change: fn(&mut serde_json::Value)| {
        let mut antrag = bauantrag();
        change(&mut antrag);
        let problems = message.write(&tree(&antrag), &xbau_options()).unwrap_err();
        let problem = problems.into_iter().next().unwrap();
        (problem.code, problem.target.unwrap(), problem.hint.unwrap_or_default())
    };
    let (code, target, _) =
        refused(|antrag| antrag["antragsteller"][1]["natuerlichePerson"]["name/vorname/name"] = json!(" "));
    assert_eq!(
        (code.as_str(), target.as_str()),
        ("KOP-X001", "antragsteller[2]/natuerlichePerson/name/vorname")
    );
    let (code, target, hint) = refused(|antrag| antrag["bauvorhaben"]["verortng"] = json!("x"));
    assert_eq!(
        (code.as_str(), target.as_str(), hint.as_str()),
        ("KOP-X002", "bauvorhaben/verortng", "Gemeint: verortung?")
    );
    let (code, target, _) =
        refused(|antrag| antrag["antragsteller"][0]["natuerlichePerson"]["name/anrede"] = json!("a\u{1}b"));
    assert_eq!(
        (code.as_str(), target.as_str()),
        ("KOP-X004", "antragsteller[1]/natuerlichePerson/name/anrede")
    );
    let problems = message.write(&tree(&bauantrag()), &WriteOptions::default()).unwrap_err();
    assert!(problems.iter().all(|problem| problem.code == "KOP-X006"), "{problems:#?}");
    assert!(problems[0].hint.as_deref().unwrap().contains("codelisten = { bundesland = "), "{problems:#?}");
}

#[test]
fn violations_name_the_target_and_hide_the_value() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let mut antrag = bauantrag();
    antrag["antragsteller"][1]["natuerlichePerson"]["anschrift"]["ort"] = json!("Musterstadt 😀");
    antrag["bauvorhaben"]["gegenstand/artDerMassnahme/code"] = json!("99");
    antrag["anlagen/anlage"][1]["datum"] = json!("20.11.2026");
    antrag["antragsteller"][0]["natuerlichePerson"]["id"] = json!("Erika Mustermann");
    let found = problems(&message, &tree(&antrag));
    let seen: Vec<(&str, &str)> = found
        .iter()
        .map(|problem| (problem.code.as_str(), problem.target.as_deref().unwrap_or_default()))
        .collect();
    let expected = [
        ("KOP-X020", "antragsteller[1]/natuerlichePerson/id"),
        ("KOP-X020", "antragsteller[2]/natuerlichePerson/anschrift/ort"),
        ("KOP-X021", "bauvorhaben/gegenstand/artDerMassnahme/code"),
        ("KOP-X020", "anlagen/anlage[2]/datum"),
    ];
    assert_eq!(seen, expected);
    let json = serde_json::to_string(&found).unwrap();
    assert!(
        !json.contains("Erika") && !json.contains("20.11.2026") && !json.contains("Musterstadt"),
        "{json}"
    );
    assert_eq!(found[0].revealed.as_deref(), Some("Erika Mustermann"));
}

#[test]
fn the_path_table_knows_every_element() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let written = written(&message, &tree(&bauantrag()), &xbau_options());
    let rows: Vec<(String, String)> = written.paths.rows().collect();
    assert_eq!(rows[0], ("/xbau:baugenehmigung.antrag.0200".to_owned(), String::new()));
    let row = (
        "/xbau:baugenehmigung.antrag.0200/xbau:antragsteller[2]/natuerlichePerson/anschrift/ort",
        "antragsteller[2]/natuerlichePerson/anschrift/ort",
    );
    assert!(rows.iter().any(|(xpath, target)| (xpath.as_str(), target.as_str()) == row), "{rows:#?}");
    let tags =
        written.bytes.windows(2).filter(|pair| pair[0] == b'<' && !matches!(pair[1], b'/' | b'?')).count();
    assert_eq!(rows.len(), tags);
}

#[test]
fn service_descriptions_say_who_sends_what() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = SchemaStore::open(folder.path(), None).unwrap();
    // they come in an archive of their own
    let report = store.import(&shared.join("xoev/xbau-2.6/wsdl")).unwrap();
    assert!(report.hints.is_empty() && report.package.messages.is_empty(), "{report:#?}");
    let services = store.services();
    let service = |name: &str| services.iter().find(|service| service.name == name).unwrap();
    assert_eq!(services.len(), 16);
    let portal = service("XBau26-BH2BAB");
    assert!(portal.takes("http://www.xleitstelle.de/xbau/2/6", "baugenehmigung.antrag.0200"));
    assert!(!portal.takes("http://www.xleitstelle.de/xbau/2/5", "baugenehmigung.antrag.0200"));
    assert_eq!(
        (&portal.receivers.prefixes[..], &portal.senders.prefixes[..]),
        (&["bab".to_owned()][..], &["bap".to_owned()][..])
    );
    assert_eq!(portal.operations[0].signature_level.as_deref(), Some("advanced"));
    assert_eq!(service("XBau26-BH2GEM").receivers.prefixes, ["gba", "bab"]);
    let chamber = &service("XBau26-BAB2AIKsync").operations[0];
    assert_eq!((chamber.answers.len(), chamber.faults.len()), (1, 1));
    drop(store);
    assert_eq!(SchemaStore::open(folder.path(), None).unwrap().services().len(), 16);

    let broken = folder.path().join("kaputt");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("a.wsdl"), "<!DOCTYPE a><definitions/>").unwrap();
    let store = SchemaStore::open(&folder.path().join("anderswo"), None).unwrap();
    assert_eq!(store.import(&broken).unwrap_err()[0].code, "KOP-X060");
    let schema = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema' targetNamespace='urn:a'/>";
    std::fs::write(broken.join("a.xsd"), schema).unwrap();
    let report = store.import(&broken).unwrap();
    assert!(report.package.services.is_empty() && report.hints[0].code == "KOP-X060", "{report:#?}");
}

#[test]
fn an_import_says_what_it_chose_borrowed_and_lacks() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = SchemaStore::open(folder.path(), None).unwrap();
    let problems = store.import(&shared.join(KERNMODUL)).unwrap_err();
    let missing = |name: &str| {
        problems
            .iter()
            .any(|problem| problem.code == "KOP-X042" && problem.hint.as_deref().unwrap().contains(name))
    };
    assert!(missing("xoev-code.xsd") && missing("gmlProfilexplan.xsd"), "{problems:#?}");
    let report = store.import(&shared.join(XBAU)).unwrap();
    let licences = &report.package.licences;
    let library = licences.iter().find(|licence| licence.text.contains("Creative Commons")).unwrap();
    assert!(!library.whole && library.sources.iter().any(|path| path.ends_with("xoev-code.xsd")));
    assert!(report.package.unlicensed > 30, "XBau's own documents state none");
    assert!(report.new && report.hints[0].detail.as_deref().unwrap().contains("beiseitegelassen: xsd"));
    assert!(!store.import(&shared.join(XBAU)).unwrap().new);
    let report = store.import(&shared.join(KERNMODUL)).unwrap();
    assert!(
        report
            .borrowed
            .iter()
            .any(|(path, from)| path.ends_with("xoev-code.xsd") && from == "xbau-hochbau 2.6")
    );
    let hash = report.package.hash;
    drop(store);

    let store = SchemaStore::open(folder.path(), None).unwrap();
    assert_eq!(store.by_hash(&hash).unwrap().info(), &report.package);
    assert_eq!(report.package.messages.iter().filter(|message| message.root.ends_with("1200")).count(), 1);
    let place = folder.path().join(hash.to_string()).join("files/xbau-kernmodul-codes.xsd");
    std::fs::write(&place, "<!-- geändert -->").unwrap();
    let problem = store.by_hash(&hash).unwrap().message("1200").err().unwrap();
    assert_eq!(problem.code, "KOP-X045");
}

#[test]
fn one_schema_serves_many_threads() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let good = written(&message, &tree(&bauantrag()), &xbau_options());
    let mut antrag = bauantrag();
    antrag["antragsteller"][1]["natuerlichePerson"]["anschrift"]["ort"] = json!("😀");
    let bad = written(&message, &tree(&antrag), &xbau_options());
    let verdict = message.validate(&bad.bytes, Some(&bad.paths)).unwrap_err();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..150 {
                    message.validate(&good.bytes, Some(&good.paths)).unwrap();
                    assert_eq!(message.validate(&bad.bytes, Some(&bad.paths)).unwrap_err(), verdict);
                }
            });
        }
    });
}

#[test]
fn writing_and_judging_are_quick() {
    let Some(message) = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200") else { return };
    let tree = tree(&bauantrag());
    let options = xbau_options();
    let first = written(&message, &tree, &options);
    message.validate(&first.bytes, Some(&first.paths)).unwrap();
    let rounds = if cfg!(debug_assertions) { 50 } else { 5_000 };
    let time = |work: &dyn Fn()| {
        let started = std::time::Instant::now();
        (0..rounds).for_each(|_| work());
        started.elapsed() / rounds
    };
    let write = time(&|| drop(written(&message, &tree, &options)));
    let judge = time(&|| message.validate(&first.bytes, Some(&first.paths)).unwrap());
    eprintln!("{} bytes: write {write:?}, validate {judge:?}", first.bytes.len());
    assert!(cfg!(debug_assertions) || write < judge, "writing took {write:?}, libxml2 {judge:?}");
}

#[test]
fn shipped_profiles_write_the_same_messages() {
    let profiles = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xoev-schemas"));
    let folder = tempfile::tempdir().unwrap();
    let store =
        SchemaStore::open(folder.path(), Some(profiles)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    for info in store.list() {
        let package = store.find(&info.standard, &info.version).unwrap();
        assert!(info.profile && !info.messages.is_empty(), "{info:?}");
        for message in &info.messages {
            let schema = package.message(&message.root).unwrap_or_else(|problem| panic!("{problem:#?}"));
            // an empty root is malformed for the schema, not for the compiler
            let problems = schema.validate(b"<nichts/>", None).unwrap_err();
            assert_eq!(problems[0].code, "KOP-X023", "{problems:#?}");
        }
    }
    let Some(shared) = shared() else { return };
    let profile = store.find("xdomea", "3.1.0").map(|package| package.info().hash);
    store.import(&shared.join("xoev/xoev-lib")).unwrap();
    store.import(&shared.join("xoev/xdomea-3.1.0")).unwrap();
    let official = store.find("xdomea", "3.1.0").unwrap();
    assert!(!official.info().profile, "an official package goes before a profile");
    assert!(profile.is_none_or(|hash| store.by_hash(&hash).is_some()));
}
