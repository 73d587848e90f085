// SPDX-License-Identifier: EUPL-1.2
//! A wrong value of an application is corrected beside it, with a reason and a name; what came stays as it came.

use kop_tests::{Error, Instance};
use serde_json::Value;

/// Corrects values of the one application; exit code and what was printed.
fn correct(instance: &Instance, args: &[&str]) -> Result<(Option<i32>, String), Error> {
    let mut all = vec![
        "--lang",
        "de",
        "messages",
        "correct",
        "MUST-2026-000001",
        "--grund",
        "Anruf",
        "--von",
        "E. Muster",
    ];
    all.extend(args);
    let output = instance.kop(&all)?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code(), said))
}

#[tokio::test]
async fn a_corrected_value_is_used_and_both_are_kept() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    // A script that refuses a certain name, and says so with the field.
    instance.own_mapping("bauantrag-xbau", |script| {
        format!("if eingang.text(\"antragsteller/pers_nachname\") == \"Thomsen-Yıldız\" {{ eingang.pflicht(\"antragsteller/pflichtfeld_dazu\"); }}\n{script}")
    })?;
    instance.submit_bauantrag(str::to_owned)?;
    let show = |instance: &Instance, reveal: bool| -> Result<Value, Error> {
        let args = ["messages", "show", "MUST-2026-000001", "--reveal"];
        instance.kop_json(&args[..if reveal { 4 } else { 3 }])
    };
    let before = show(&instance, true)?;
    assert_eq!(before["zustand"], "klaerungsfall", "{before:#}");

    let (code, said) = correct(&instance, &["antragsteller/pers_nachname=Thomas", "gibt/es/nicht=x"])?;
    assert!(code == Some(1) && said.contains("KOP-F033"), "{said}");
    assert_eq!(show(&instance, false)?["korrekturen"], Value::Array(Vec::new()), "all or nothing");
    let (code, said) = correct(&instance, &["antragsteller/pers_nachname=Tomsen"])?;
    assert_eq!(code, Some(0), "{said}");

    let after = show(&instance, true)?;
    assert_eq!(after["dokument"], before["dokument"], "the application stays as it came");
    let one = &after["korrekturen"][0];
    assert_eq!(
        (&one["before"], &one["after"], &one["who"]),
        (&"Thomsen-Yıldız".into(), &"Tomsen".into(), &"E. Muster".into())
    );
    let masked = instance.kop(&["--lang", "de", "messages", "show", "MUST-2026-000001"])?;
    let masked = String::from_utf8_lossy(&masked.stdout).into_owned();
    assert!(
        masked.contains("antragsteller/pers_nachname: Xxxxxxx-Xxxxxx → Xxxxxx")
            && masked.contains("korrigiert von E. Muster: antragsteller/pers_nachname"),
        "{masked}"
    );
    assert!(!masked.contains("Tomsen"), "{masked}");

    assert!(instance.kop(&["messages", "retry", "MUST-2026-000001"])?.status.success());
    let _server = instance.serve().await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    let delivered = instance.delivered("bauaufsicht")?;
    let text = std::fs::read_to_string(crate::message(&delivered[0])?)?;
    assert!(text.contains(">Tomsen<"), "{text}");
    Ok(())
}
