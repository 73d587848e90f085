// SPDX-License-Identifier: EUPL-1.2
//! A new mapping run is an act of a person: shown first, sent as a message of its own, never by a retry.

use std::{fs, path::Path};

use kop_tests::{Error, Instance};
use serde_json::Value;

use crate::message;

/// What the draft changes in the shipped script, and to what.
const SUBJECT: &str = "bezeichnungDesBauvorhabens: vorhaben";
const CHANGED: &str = "bezeichnungDesBauvorhabens: \"Entwurf \" + vorhaben";

/// The first message for the Bauaufsicht: its id and state.
fn messages(instance: &Instance) -> Result<Vec<Value>, Error> {
    let shown = instance.kop_json(&["messages", "show", "MUST-2026-000001"])?;
    let all = shown["sendungen"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|one| one["receiver"] == "bauaufsicht").collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs `remap` on the first message with more arguments; its row and the exit code.
fn remap(instance: &Instance, id: &str, args: &[&str]) -> Result<(Value, Option<i32>), Error> {
    let mut all = vec!["messages", "remap", id, "--json", "--lang", "de"];
    all.extend(args);
    let output = instance.kop(&all)?;
    let rows: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((rows[0].clone(), output.status.code()))
}

#[test]
fn the_same_version_gives_the_same_bytes_although_its_folder_is_gone() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let script = instance.own_mapping("bauantrag-xbau", |script| format!("// eigene\n{script}"))?;
    instance.submit_bauantrag(str::to_owned)?;
    let first = messages(&instance)?.remove(0);
    let id = text(&first["message_id"]);

    // The mapping changes, its modules move: what is kept runs on its own.
    fs::write(&script, "fehler(\"neu\");\n#{}")?;
    let (same, code) = remap(&instance, id, &["--version", "dieselbe"])?;
    assert_eq!((&same["gleich"], code), (&true.into(), Some(0)), "{same:#}");
    let (current, code) = remap(&instance, id, &["--version", "aktuelle"])?;
    assert_eq!(code, Some(1));
    assert!(
        current["probleme"][0]["code"].as_str().is_some_and(|code| code.starts_with("KOP-M")),
        "{current:#}"
    );
    fs::remove_dir_all(script.parent().ok_or("ein Ordner")?)?;
    let (same, _) = remap(&instance, id, &["--version", "dieselbe"])?;
    assert_eq!(same["gleich"], true, "{same:#}");
    assert_eq!(same["zuordnungHash"], first["mapping_hash"]);

    // Whoever edits what was kept is found out.
    let kept = instance.folder().join("daten/zuordnungen/musterstadt").join(text(&first["mapping_hash"]));
    let file = kept.join("bauantrag-xbau/mapping.rhai");
    fs::write(&file, fs::read_to_string(&file)? + "\n")?;
    let (changed, code) = remap(&instance, id, &["--version", "dieselbe"])?;
    assert_eq!((text(&changed["probleme"][0]["code"]), code), ("KOP-F030", Some(1)), "{changed:#}");
    Ok(())
}

#[tokio::test]
async fn a_changed_mapping_is_shown_masked_and_sent_only_with_a_reason() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    // The receiver's folder cannot be made, so the message waits.
    fs::create_dir_all(instance.folder().join("ausgang"))?;
    let blocker = instance.folder().join("ausgang/bauaufsicht");
    fs::write(&blocker, "")?;
    instance.submit_bauantrag(str::to_owned)?;
    let first = messages(&instance)?.remove(0);
    let id = text(&first["message_id"]);
    assert_eq!(first["state"], "offen");

    let draft = candidate(&instance)?;
    let with_draft = ["--version", "entwurf", "--entwurf", &draft];
    let (shown, code) = remap(&instance, id, &with_draft)?;
    assert_eq!(code, Some(0));
    let differences = shown["unterschiede"].as_array().cloned().unwrap_or_default();
    assert_eq!(differences.len(), 1, "{shown:#}");
    assert!(text(&differences[0]["neu"]).starts_with("Xxxxxxx"), "masked: {shown:#}");
    assert_eq!(messages(&instance)?.len(), 1, "showing changes nothing");
    let (clear, _) = remap(&instance, id, &[&with_draft[..], &["--klartext"]].concat())?;
    assert!(text(&clear["unterschiede"][0]["neu"]).starts_with("Entwurf"), "{clear:#}");
    let log = instance.kop(&["--lang", "de", "messages", "show", "MUST-2026-000001"])?;
    assert!(String::from_utf8_lossy(&log.stdout).contains("unverdeckt angesehen"));

    let no_reason = instance.kop(&[&["messages", "remap", id, "--senden"][..], &with_draft].concat())?;
    assert_eq!(no_reason.status.code(), Some(2));
    let send = [&with_draft[..], &["--senden", "--grund", "Betreff berichtigt"]].concat();
    let (sent, code) = remap(&instance, id, &send)?;
    assert_eq!(code, Some(0), "{sent:#}");
    let (again, code) = remap(&instance, id, &send)?;
    assert!(text(&again["nicht"]).contains("schon ersetzt") && code == Some(1), "{again:#}");

    fs::remove_file(&blocker)?;
    let _server = instance.serve().await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    let all = messages(&instance)?;
    let [old, new] = all.as_slice() else { return Err(format!("{all:#?}").into()) };
    assert_eq!(
        (&old["state"], &new["state"], &new["ersetzt"]),
        (&"ersetzt".into(), &"zugestellt".into(), &old["message_id"])
    );
    assert_ne!(old["nachrichten_uuid"], new["nachrichten_uuid"]);
    let delivered = instance.delivered("bauaufsicht")?;
    assert_eq!(delivered.len(), 1, "only the new one goes out");
    let bytes = fs::read_to_string(message(&delivered[0])?)?;
    assert!(bytes.contains(text(&new["nachrichten_uuid"])) && bytes.contains("Entwurf "), "{bytes}");

    // What has arrived is replaced only on a person's word.
    let id = text(&new["message_id"]);
    let current = ["--version", "aktuelle", "--senden", "--grund", "doch nicht"];
    let (refused, code) = remap(&instance, id, &current)?;
    assert!(text(&refused["nicht"]).contains("--trotzdem") && code == Some(1), "{refused:#}");
    let (sent, code) = remap(&instance, id, &[&current[..], &["--trotzdem"]].concat())?;
    assert!(sent["gesendet"].is_string() && code == Some(0), "{sent:#}");
    Ok(())
}

/// A draft of the shipped mapping in a folder of its own, with one changed element.
fn candidate(instance: &Instance) -> Result<String, Error> {
    let draft = instance.folder().join("entwuerfe/bauantrag-xbau");
    kop_tests::instance::copy_folder(&kop_tests::workspace().join("mappings/bauantrag-xbau"), &draft)?;
    change_subject(&draft.join("mapping.rhai"))?;
    Ok(draft.to_string_lossy().into_owned())
}

fn change_subject(script: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(script)?;
    let changed = text.replace(SUBJECT, CHANGED);
    if text == changed {
        return Err("der Entwurf unterscheidet sich nicht".into());
    }
    Ok(fs::write(script, changed)?)
}
