// SPDX-License-Identifier: EUPL-1.2
//! What the tests of this room share: trees from JSON, the official schemas, invented applications.

use std::path::{Path, PathBuf};

use kop_core::Tree;
use kop_xml::{SchemaStore, WriteOptions};
use serde_json::{Value, json};

/// A tree as a mapping would return it.
pub(crate) fn tree(value: &Value) -> Tree {
    match value {
        Value::Null => Tree::Nothing,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(number) => Tree::Int(number.as_i64().expect("whole numbers only")),
        Value::String(text) => Tree::text(text.as_str()),
        Value::Array(items) => Tree::List(items.iter().map(tree).collect()),
        Value::Object(entries) => Tree::map(entries.iter().map(|(key, value)| (key.as_str(), tree(value)))),
    }
}

/// The folder of official schemas, unless it is missing and may be.
pub(crate) fn shared() -> Option<PathBuf> {
    let default = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).to_owned();
    let folder = std::env::var_os("KOP_SHARED").map_or_else(default, PathBuf::from);
    if folder.join("xoev").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("KOP_REQUIRE_SHARED").is_none_or(|value| value != "1"), "../shared fehlt");
    eprintln!("ÜBERSPRUNGEN: ../shared fehlt");
    None
}

/// A store with the official packages named.
pub(crate) fn official(shared: &Path, folder: &Path, packages: &[&str]) -> SchemaStore {
    let store = SchemaStore::open(folder, None).expect("an empty store");
    for package in packages {
        store.import(&shared.join(package)).unwrap_or_else(|problems| panic!("{package}: {problems:#?}"));
    }
    store
}

pub(crate) const XBAU: &str = "xrepository-zips/xbau_2.6_xsd_xsd_dev.zip";
pub(crate) const KERNMODUL: &str = "xrepository-zips/xbau-kernmodul_1.3.0_xsd.zip";

pub(crate) fn options(pins: &[(&str, &str)]) -> WriteOptions {
    WriteOptions {
        pins: pins.iter().map(|(list, version)| ((*list).to_owned(), (*version).to_owned())).collect(),
        schema_location: false,
    }
}

pub(crate) fn xbau_options() -> WriteOptions {
    options(&[
        ("bundesland", "2010-04-01"),
        ("anlagen", "3.0"),
        ("xbau-mimetypes", "1.0"),
        ("artdesantrags", "1.0"),
    ])
}

fn head(number: &str) -> Value {
    let stelle = |name: &str, kennung: &str| json!({"verzeichnisdienst": {"code": "DVDV", "@listVersionID": "2"}, "kennung": kennung, "name": name});
    json!({
        "identifikation.nachricht": {
            "nachrichtenUUID": "0d0a8f3e-7c3b-4a55-9f51-0d6f6f6f0001",
            "nachrichtentyp/code": number,
            "erstellungszeitpunkt": "2026-11-20T09:30:00.000+01:00"
        },
        "leser": stelle("Untere Bauaufsichtsbehörde Musterstadt", "bab:01056039"),
        "autor": stelle("Bauportal Musterland", "bap:000000000001")
    })
}

fn person(vorname: &str) -> Value {
    json!({"natuerlichePerson": {
        "id": "6f1b1d52-2d4e-4a0e-8a44-111111111111",
        "name/familienname/name": "Łukaszewska", "name/vorname/name": vorname, "name/anrede": null,
        "anschrift": {"strasse": "Am Mu\u{308}hlenbach", "hausnummer": "7a", "postleitzahl": "24937", "ort": "Musterstadt"}
    }})
}

/// A Bauantrag with two applicants, two parcels and two Bauvorlagen.
pub(crate) fn bauantrag() -> Value {
    let flurstueck = |zaehler: &str| {
        json!({"bundesland/code": "01", "kodierungFlurstueck": {
            "gemarkung/nummer": "1234", "flur": "5", "zaehler": zaehler, "nenner": ""}})
    };
    let anlage = |name: &str| {
        json!({
            "bezeichnung": name, "versionsnummer": "1", "datum": "2026-11-20",
            "anlageart/code": "01", "mimeType/code": "application/pdf",
            "anhangOderVerlinkung/anhang": {
                "dokumentid": format!("urn:uuid:{name}"),
                "dateiname": format!("3fa85f64-5717-4562-b3fc-2c963f66afa6_{name}.pdf"),
                "@filesize": 2048, "@hashValue": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
            }
        })
    };
    json!({
        "@produkt": "KOP", "@produkthersteller": "Musterland",
        "nachrichtenkopf.g2g": head("0200"),
        "referenzAntragsservice/referenzAntragsservice": "6f1b1d52-2d4e-4a0e-8a44-222222222222",
        "antragsteller": [person("Zoë"), person("Jörg")],
        "bauvorhaben": {
            "bezeichnungDesBauvorhabens": "Neubau eines Carports & Schuppens",
            "beteiligte/bauherr/bauherr": person("Zoë"),
            "beteiligte/gebuehrenpflichtiger": person("Zoë"),
            "gegenstand/artDerMassnahme/code": "10",
            "gegenstand/anzahlDerGebaeude/anzahlDerGebaeudeImBauvorhaben": 1,
            "verortung/baugrundstueck/grundstueck/flurstueck": [flurstueck("17"), flurstueck("18")]
        },
        "anlagen/anlage": [anlage("Lageplan"), anlage("Bauzeichnung")]
    })
}

/// A Sondernutzung.
pub(crate) fn sondernutzung() -> Value {
    json!({
        "@produkt": "KOP", "@produkthersteller": "Musterland",
        "nachrichtenkopf.g2g": head("1200"),
        "referenzAntragsservice/referenzAntragsservice": "6f1b1d52-2d4e-4a0e-8a44-333333333333",
        "artDesAntrags/code": "sbb",
        "antragsteller": person("Zoë"),
        "grundstueck/flurstueck": {"bundesland/code": "01", "kodierungFlurstueck": {
            "gemarkung/nummer": "1234", "zaehler": "9"}}
    })
}

/// xdomea's head.
fn kopf(nummer: &str) -> Value {
    json!({
        "ProzessID": "6f1b1d52-2d4e-4a0e-8a44-444444444444", "Nachrichtentyp/code": nummer,
        "Erstellungszeitpunkt": "2026-11-20T09:30:00.000+01:00",
        "Absender/Institution/Name": "Stadt Musterstadt", "Empfaenger/Organisationseinheit/Name": "Zentralregistratur",
        "Empfangsbestaetigung": false, "Importbestaetigung": true
    })
}

fn dokument(name: &str) -> Value {
    json!({
        "Identifikation/ID": "6f1b1d52-2d4e-4a0e-8a44-555555555555",
        "AllgemeineMetadaten/Betreff": name, "Posteingangsdatum": "2026-11-20",
        "Version": {"Nummer": "1", "Format": {"Name/code": "018", "Version": "1.7", "Primaerdokument": {
            "Dateiname": format!("6f1b1d52-2d4e-4a0e-8a44-555555555555_{name}.pdf"), "DateinameOriginal": name}}}
    })
}

/// A document for a DMS, 0605.
pub(crate) fn ablage() -> Value {
    let mut kopf = kopf("0605");
    kopf["Erstellerkennung"] = json!("kop");
    kopf["Stapel"] = json!(false);
    json!({"Kopf": kopf, "SchriftgutobjektZumAblegen": [{
        "FachverfahrenObjektID": "BA-2026-17", "Ablageort": "eingang/BA-2026-17",
        "Schriftgutobjekt/Dokument": dokument("Antrag")}]})
}

/// A hand-over of a case with two documents, 0401.
pub(crate) fn abgabe() -> Value {
    json!({"Kopf": kopf("0401"), "Schriftgutobjekt/Vorgang": {
        "Identifikation/ID": "6f1b1d52-2d4e-4a0e-8a44-666666666666",
        "AllgemeineMetadaten/Betreff": "Hundesteuer",
        "Dokument": [dokument("Anmeldung"), dokument("Nachweis")]}})
}
