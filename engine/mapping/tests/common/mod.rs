// SPDX-License-Identifier: EUPL-1.2
//! A small invented submission and a host for the tests of this crate.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses a part of it

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kop_core::{Diagnostic, Eingang};
use kop_mapping::{HostOptions, MappingHost, ModuleSource, RunInput, RunOutput, ScriptSource, Tables};

pub fn eingang() -> Arc<Eingang> {
    let hash = "aa".repeat(32);
    let wert = |name: &str, label: &str, text: &str| serde_json::json!({"name": name, "label": label, "wert": {"text": text}});
    let document = serde_json::json!({
        "version": 1,
        "kopf": {
            "mandant": "musterstadt",
            "eingangId": "0192f0c1-2a5b-7c3d-8e4f-5a6b7c8d9e0f",
            "vorgangId": "0192f0c1-2a5b-7c3d-8e4f-5a6b7c8d9e10",
            "vorgangsnummer": "MU-2026-0042",
            "eingangszeitpunkt": "2026-11-24T22:30:00Z",
            "quelle": "ozg-cloud",
            "formularId": "bauantrag",
            "leistungsschluessel": ["99012012001000"],
            "zusatz": {"mandant": "4711"}
        },
        "antragsteller": {"nachname": "Beispiel", "vorname": "Karla"},
        "zustaendigeStelle": {"ags": "01056039"},
        "formData": [
            {"name": "bauherr", "label": "Bauherrin oder Bauherr", "felder": [
                {"name": "anrede", "label": "Anrede", "wert": {"text": "2", "anzeige": "Frau"}},
                wert("vorname", "Vorname", " Karla "),
                wert("nachname", "Nachname", "Beispiel"),
                wert("geburtsdatum", "Geburtsdatum", "04.01.1950"),
                wert("straße", "Straße", "Am Markt"),
                wert("titel", "Titel", ""),
            ]},
            {"name": "flurstueck", "wiederholungen": [
                [wert("zaehler", "Zähler", "12"), wert("nenner", "Nenner", "3")],
                [wert("zaehler", "Zähler", "13")],
            ]},
            {"name": "hund", "felder": [wert("rufname", "Rufname", "Bello")]},
            wert("baukosten", "Baukosten in €", "1.234,50"),
            wert("denkmal", "Denkmalschutz?", "ja"),
            wert("termin", "Wunschtermin", "Keine Angabe"),
            wert("art", "Art der Maßnahme", "unbekannt"),
        ],
        "anlagen": [
            {"name": "Lageplan.pdf", "contentType": "application/pdf", "blob": {"sha256": hash, "size": 10}},
            {"name": "../Lageplan.PDF", "contentType": "application/pdf", "blob": {"sha256": hash, "size": 11}},
        ],
        "repraesentationen": [
            {"name": "Antrag.pdf", "contentType": "application/pdf", "blob": {"sha256": hash, "size": 12}},
        ]
    });
    Arc::new(serde_json::from_value(document).expect("the fixture is a submission"))
}

pub fn input() -> RunInput {
    let mut tables = Tables::new();
    tables.parse_csv("anrede", "tabellen/anrede.csv", "code;text;lang\n1;Herr;Herr\n2;Frau;Frau\n").unwrap();
    let parameters: BTreeMap<String, String> = [("land".to_owned(), "01".to_owned())].into();
    RunInput {
        eingang: eingang(),
        tables: Arc::new(tables),
        parameters: Arc::new(parameters),
        now: "2026-11-24T23:30:00Z".parse().unwrap(),
    }
}

pub fn host() -> MappingHost {
    MappingHost::new(HostOptions { threads: 1, deadline: Duration::from_secs(3) })
}

pub fn source(text: &str, modules: &[(&str, &str)]) -> ScriptSource {
    ScriptSource {
        file: "mapping.rhai".into(),
        text: text.into(),
        modules: modules
            .iter()
            .map(|(name, text)| ModuleSource {
                name: (*name).into(),
                file: format!("_gemeinsam/{name}.rhai"),
                text: (*text).into(),
            })
            .collect(),
    }
}

pub fn run(host: &MappingHost, text: &str, modules: &[(&str, &str)]) -> Result<RunOutput, Vec<Diagnostic>> {
    let script = host.compile(source(text, modules))?;
    host.run_blocking(&script, input())
}

pub fn json(host: &MappingHost, text: &str) -> serde_json::Value {
    run(host, text, &[]).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}")).tree.to_json()
}

/// The one problem of a script that fails.
pub fn problem(host: &MappingHost, text: &str) -> Diagnostic {
    match run(host, text, &[]) {
        Ok(output) => panic!("should fail: {text}\n{:?}", output.tree),
        Err(problems) => problems.into_iter().next().expect("a failure has a problem"),
    }
}
