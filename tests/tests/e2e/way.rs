// SPDX-License-Identifier: EUPL-1.2
//! Both vendors' applications all the way: answered, stored, mapped, delivered with every file.

use std::fs;

use kop_tests::{Error, Instance, forms::AFM_PASSWORT, inputs};
use sha2::{Digest, Sha256};

use crate::{CONFIG, DEPOSIT, TENANT, message, send_bauantrag, send_mtom};

#[tokio::test]
async fn a_bauantrag_reaches_both_receivers_with_every_file_it_names() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve_with(&[("KOP_LOG", "trace")]).await?;
    let answer = send_bauantrag(&server, str::to_owned).await?;
    assert_eq!(answer["transactionId"], "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521");
    let vorgang = answer["vorgang"].as_object().expect("a Vorgang");
    let mut keys: Vec<_> = vorgang.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["status", "statusSince", "vorgangId", "vorgangNummer"]);

    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    assert_eq!(rows[0]["vorgangsnummer"], vorgang["vorgangNummer"]);
    assert_eq!(instance.delivered("dms")?.len(), 1);

    let sendung = &instance.delivered("bauaufsicht")?[0];
    let text = fs::read_to_string(message(sendung)?)?;
    let mut named = 0;
    for anhang in text.split("<anhang ").skip(1) {
        let name = between(anhang, "<dateiname>", "</dateiname>");
        let bytes = fs::read(sendung.join(name))?;
        assert_eq!(between(anhang, "filesize=\"", "\""), bytes.len().to_string());
        assert_eq!(between(anhang, "hashValue=\"", "\""), hex(&Sha256::digest(&bytes)));
        named += 1;
    }
    assert!(named >= 2, "{text}");

    // What a log says at its most talkative is still no personal data.
    let printed = server.printed();
    assert!(printed.contains("Submission stored"), "{printed}");
    for personal in ["Mareike", "Thomsen", "Deichstra", AFM_PASSWORT] {
        assert!(!printed.contains(personal), "{personal} im Protokoll");
    }
    Ok(())
}

#[tokio::test]
async fn base64_and_mtom_give_the_same_messages() -> Result<(), Error> {
    let deposit = inputs::deposit()?;
    let mut seen = Vec::new();
    for mtom in [false, true] {
        let instance = Instance::of_example("musterstadt")?;
        let server = instance.serve().await?;
        let (status, body) = if mtom {
            send_mtom(&server, &deposit).await?
        } else {
            let answer = server.post_deposit(DEPOSIT, &deposit).await?;
            (answer.status().as_u16(), answer.text().await?)
        };
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("depositResponse"), "{body}");
        let rows = instance.settled(1).await?;
        assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
        assert_eq!(rows[0]["sendungen"].as_array().map(Vec::len), Some(2), "fan-out by a Rhai condition");

        let shown = instance.kop_json(&["messages", "show", "MUST-2026-000001", "--reveal"])?;
        let document = shown.to_string();
        // The code comes from XML-Daten, its label and the field's label from Rohform.
        assert!(document.contains("\"aufgrabung\""), "{document}");
        assert!(document.contains("Aufgrabung"), "{document}");

        let mut files = Vec::new();
        for receiver in ["strassenbau", "strassenverkehr"] {
            let delivered = instance.delivered(receiver)?;
            assert_eq!(delivered.len(), 1, "{receiver}");
            let text = fs::read_to_string(message(&delivered[0])?)?;
            let mut names: Vec<_> = fs::read_dir(&delivered[0])?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_, _>>()?;
            names.sort();
            // Ids of parts come from the submission and differ; their count, names and the text do not.
            files.push((steady(&text), names.len()));
        }
        seen.push(files);
    }
    assert_eq!(seen[0], seen[1]);
    Ok(())
}

/// A message without what is new in every run: ids and times.
fn steady(message: &str) -> String {
    let mut steady = String::new();
    let mut rest = message;
    // 8-4-4-4-12 hexadecimal digits, and points of time, which are the only texts with "T" between digits.
    while let Some(at) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(at);
        steady.push_str(before);
        let end = from
            .find(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.' | 'T' | '+' | 'Z')))
            .unwrap_or(from.len());
        let word = &from[..end];
        let uuid = word.len() == 36 && word.matches('-').count() == 4;
        let time = word.len() >= 20 && word.contains('T') && word.contains(':');
        steady.push_str(if uuid || time { "*" } else { word });
        rest = &from[end..];
    }
    steady.push_str(rest);
    steady
}

#[tokio::test]
async fn what_no_route_takes_is_a_visible_klaerungsfall() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance
        .edit(CONFIG, |text| text.replace("sonst = true", "wenn = { formular = [\"etwas-anderes\"] }"))?;
    let server = instance.serve().await?;
    send_bauantrag(&server, |form| form.replace("\"formId\": \"bauantrag\"", "\"formId\": \"unbekannt\""))
        .await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let shown =
        instance.kop(&["messages", "show", rows[0]["vorgangsnummer"].as_str().unwrap_or_default()])?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("KOP-F"), "{shown}");

    // The route is mended, the submission tried again: nothing had to be sent twice.
    drop(server);
    instance.edit(CONFIG, |text| text.replace("etwas-anderes", "unbekannt"))?;
    let retried = instance.kop(&["messages", "retry", "MUST-2026-000001"])?;
    assert!(retried.status.success(), "{retried:?}");
    let _server = instance.serve().await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    assert_eq!(instance.delivered("poststelle")?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_first_steps_work_as_the_readme_says() -> Result<(), Error> {
    let instance = Instance::of_example("erste-schritte")?;
    let file = instance.folder().join("eingaenge/fundsache.json");
    let file = file.to_str().ok_or("Pfad")?;
    let checked = instance.kop(&["check"])?;
    assert!(checked.status.success(), "{checked:?}");
    let submitted = instance.kop(&["submit", "--mandant", TENANT, file])?;
    assert!(submitted.status.success(), "{submitted:?}");
    let sendung = &instance.delivered("fundbuero")?[0];
    let page = fs::read_to_string(sendung.join("index.html"))?;
    assert!(page.contains("Damenfahrrad, grün, Marke &lt;unleserlich&gt;"), "{page}");
    assert!(sendung.join("daten.json").is_file());
    // What the clerk's screen shows is masked until asked for, and asking is logged.
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("Oke"));
    let revealed = instance.kop(&["messages", "show", "MUST-2026-000001", "--reveal"])?;
    assert!(String::from_utf8_lossy(&revealed.stdout).contains("Oke"));
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("Angaben unverdeckt angesehen von"));
    Ok(())
}

#[test]
fn every_shipped_mapping_passes_its_tests_and_a_broken_one_does_not() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let report = instance.kop_json(&["map", "test"])?;
    let rows = report.as_array().ok_or("eine Liste")?;
    assert!(rows.len() >= 22, "{report:#}");
    assert!(rows.iter().all(|row| row["bestanden"] == true), "{report:#}");

    let broken = tempfile::tempdir()?;
    let mapping = broken.path().join("hundesteuer-csv");
    kop_tests::instance::copy_folder(&kop_tests::workspace().join("mappings/hundesteuer-csv"), &mapping)?;
    kop_tests::instance::copy_folder(
        &kop_tests::workspace().join("mappings/_gemeinsam"),
        &broken.path().join("_gemeinsam"),
    )?;
    let script = fs::read_to_string(mapping.join("mapping.rhai"))?;
    fs::write(mapping.join("mapping.rhai"), script.replacen("pers_nachname", "pers_vorname", 1))?;
    let tested = instance.kop(&["map", "test", mapping.to_str().ok_or("Pfad")?])?;
    assert!(!tested.status.success(), "{tested:?}");
    Ok(())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let after = text.split_once(start).map_or("", |(_, after)| after);
    after.split_once(end).map_or("", |(inside, _)| inside)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
