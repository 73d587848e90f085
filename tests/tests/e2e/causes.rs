// SPDX-License-Identifier: EUPL-1.2
//! Klärungsfälle of one cause are one line, and are tried again together; never by themselves.

use std::fs;

use kop_tests::{Error, Instance};

use crate::TENANT;

/// The Bauantrag of the example under an id of its own.
fn numbered(instance: &Instance, number: usize) -> Result<(), Error> {
    instance.submit_bauantrag(|form| {
        form.replace(
            "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521",
            &format!("c1f0b7d4-0000-0000-0000-00000000000{number}"),
        )
    })?;
    Ok(())
}

#[tokio::test]
async fn a_broken_mapping_is_one_cause_and_is_retried_as_one() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let script = instance.own_mapping("bauantrag-xbau", |script| format!("fehler(\"kaputt\");\n{script}"))?;
    let manifest = script.with_file_name("mapping.toml");
    fs::write(&manifest, format!("version = \"14\"\n{}", fs::read_to_string(&manifest)?))?;
    for number in 0..3 {
        numbered(&instance, number)?;
    }

    let causes = instance.kop_json(&["messages", "causes", "--mandant", TENANT])?;
    assert_eq!(causes.as_array().map(Vec::len), Some(1), "{causes:#}");
    let cause = &causes[0];
    assert_eq!(
        (cause["anzahl"].as_u64(), cause["klasse"].as_str()),
        (Some(3), Some("fachlich")),
        "{cause:#}"
    );
    let origin = &cause["herkunft"][0];
    assert_eq!((origin["version"].as_str(), origin["anzahl"].as_u64()), (Some("14"), Some(3)), "{cause:#}");
    assert_eq!(origin["empfaenger"], "bauaufsicht");
    let shown = instance.kop(&["--lang", "de", "messages", "causes"])?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    for said in
        ["3 Klärungsfälle, dieselbe Ursache, seit Version 14 von bauantrag-xbau", "Bauantrag → bauaufsicht"]
    {
        assert!(shown.contains(said), "{said}: {shown}");
    }

    // A service that runs for a while tries none of them by itself, whatever was mended meanwhile.
    let text = fs::read_to_string(&script)?;
    fs::write(&script, text.replace("fehler(\"kaputt\");\n", ""))?;
    let runs = |instance: &Instance| -> Result<Vec<u64>, Error> {
        let rows = instance.kop_json(&["messages", "list"])?;
        let mut runs = Vec::new();
        for row in rows.as_array().into_iter().flatten() {
            let shown =
                instance.kop_json(&["messages", "show", row["vorgangsnummer"].as_str().unwrap_or("")])?;
            runs.push(shown["eingang"]["runs"].as_u64().unwrap_or_default());
        }
        Ok(runs)
    };
    {
        let _server = instance.serve().await?;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(runs(&instance)?, [1, 1, 1], "a data error is not retried blindly");
        assert!(instance.delivered("bauaufsicht")?.is_empty());

        let id = cause["ursache"].as_str().unwrap_or_default();
        let retried = instance.kop(&["--lang", "de", "messages", "retry", "--cause", &id[..6]])?;
        let said = String::from_utf8_lossy(&retried.stdout);
        assert!(retried.status.success() && said.starts_with("3 neu angestoßen"), "{said}");
        let rows = instance.settled(3).await?;
        assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    }
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 3);
    assert_eq!(instance.delivered("dms")?.len(), 3, "what had gone out is not made a second time");
    assert_eq!(instance.kop_json(&["messages", "causes"])?.as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn what_cannot_be_retried_is_said_with_its_reason() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    // Two contents under one id: the remark stays, although both are delivered.
    instance.submit_bauantrag(str::to_owned)?;
    instance.submit_bauantrag(|form| form.replace("Mareike", "Maren"))?;
    let causes = instance.kop_json(&["messages", "causes"])?;
    let id = causes[0]["ursache"].as_str().unwrap_or_default();
    let retried = instance.kop(&["--lang", "de", "messages", "retry", "--cause", id])?;
    let said = String::from_utf8_lossy(&retried.stdout);
    assert_eq!(retried.status.code(), Some(1), "{said}");
    assert!(said.contains("MUST-2026-000002: im Zustand „verarbeitet“ nicht möglich"), "{said}");
    let unknown = instance.kop(&["messages", "retry", "--cause", "0000"])?;
    assert_eq!(unknown.status.code(), Some(2));
    Ok(())
}
