// SPDX-License-Identifier: EUPL-1.2
//! Data at rest: encrypted with the tenant's key and gone with it; backed up while under load and brought back.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kop_tests::{Error, Instance, inputs, wait_until};

use crate::{CONFIG, TENANT, send_bauantrag};

/// Part of the transaction id of the example's application, to be another one each time.
const ID: &str = "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521";

fn id(number: usize) -> String {
    format!("c1f0b7d4-52c8-4c36-8a14-{number:012}")
}

/// Folders of configuration, which belongs to nobody: states of mappings, schemas.
const CONFIGURATION: [&str; 2] = ["zuordnungen", "schemata"];

/// Whether any file below a data folder holds one of the texts.
fn holds(folder: &Path, texts: &[&str]) -> Result<Option<String>, Error> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if CONFIGURATION.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            if let Some(found) = holds(&path, texts)? {
                return Ok(Some(found));
            }
        } else {
            let bytes = fs::read(&path)?;
            let found =
                texts.iter().find(|text| bytes.windows(text.len()).any(|part| part == text.as_bytes()));
            if let Some(text) = found {
                return Ok(Some(format!("{text} in {}", path.display())));
            }
        }
    }
    Ok(None)
}

#[tokio::test]
async fn an_encrypted_tenant_is_read_with_its_key_only() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let keys = tempfile::tempdir()?;
    let key = |name: &str| keys.path().join(name).display().to_string();
    fs::write(key("alt"), "ein-zufaelliger-text-von-48-zeichen-fuer-den-test")?;
    fs::write(key("neu"), "ein-anderer-zufaelliger-text-von-fast-50-zeichen")?;
    let with = |keys: &[&str]| {
        let list: Vec<_> =
            keys.iter().map(|name| format!("{{ id = \"{name}\", wert = \"file:{}\" }}", key(name))).collect();
        format!("[verschluesselung]\nschluessel = [{}]\n[parameter]", list.join(", "))
    };
    instance.edit(CONFIG, |text| text.replace("[parameter]", &with(&["alt"])))?;
    let secrets = ["Thomsen-Y", "Deichstra", "Lageplan", "Grundriss", "formData", "antrag_0200"];
    let mut server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    assert_eq!(holds(&instance.folder().join("daten"), &secrets)?, None, "while it runs");
    server.kill()?;
    assert_eq!(holds(&instance.folder().join("daten"), &secrets)?, None, "after a crash");
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001", "--reveal"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Angaben") && shown.contains("Deichstra"), "{shown}");

    // A new key, and the old one is let go.
    instance.edit(CONFIG, |text| text.replace(&with(&["alt"]), &with(&["neu", "alt"])))?;
    let resealed = instance.kop_json(&["data", "reseal"])?;
    assert_eq!(resealed["eingaenge"], 1, "{resealed:#}");
    assert!(resealed["dateien_umgestellt"].as_u64() > Some(1), "{resealed:#}");
    instance.edit(CONFIG, |text| text.replace(&with(&["neu", "alt"]), &with(&["neu"])))?;
    let again = instance.kop(&["messages", "show", "MUST-2026-000001", "--reveal"])?;
    assert!(String::from_utf8_lossy(&again.stdout).contains("Deichstra"));

    // Without any key: told plainly, nothing is shown, nothing is taken in.
    fs::remove_file(key("neu"))?;
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    assert!(!shown.status.success());
    let told = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(told.contains("KOP-S010") && told.contains("Schlüssel"), "{told}");
    assert!(shown.stdout.is_empty());
    let check = instance.kop(&["check"])?;
    assert!(!check.status.success() && String::from_utf8_lossy(&check.stdout).contains("KOP-K031"));
    let server = instance.serve().await?;
    assert!(send_bauantrag(&server, |form| form.replace(ID, &id(2))).await.is_err());
    assert_eq!(holds(&instance.folder().join("daten"), &secrets)?, None, "least of all unencrypted");
    Ok(())
}

#[tokio::test]
async fn a_backup_under_load_is_restored_and_everything_arrives() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let mut server = instance.serve().await?;
    for number in 0..3 {
        send_bauantrag(&server, |form| form.replace(ID, &id(number))).await?;
    }
    // Load: applications keep coming in while the backup is made.
    let done = Arc::new(AtomicBool::new(false));
    let (stop, base, client) = (done.clone(), server.base().to_owned(), server.client().clone());
    let load = tokio::spawn(async move {
        let application = inputs::bauantrag().map_err(|error| error.to_string())?;
        let mut sent = 0;
        for number in 100..400 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let form = application.form_data.replace(ID, &id(number));
            let request = kop_tests::forms::ozg_cloud(
                &form,
                application.representation.clone(),
                application.attachments.clone(),
            )
            .map_err(|error| error.to_string())?;
            let url = format!("{base}/{TENANT}/antrag");
            sent += usize::from(client.post(url).multipart(request).send().await.is_ok());
        }
        Ok::<_, String>(sent)
    });
    let before: BTreeSet<String> = wait_until("die Last kommt an", Duration::from_secs(30), || {
        let numbers = numbers(&instance)?;
        Ok((numbers.len() > 5).then_some(numbers))
    })
    .await?;
    // Delivered for certain before the backup, so that no restore may deliver it in another form.
    let finished: BTreeSet<String> = instance
        .kop_json(&["messages", "list", "--anzahl", "1000"])?
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["zustand"] == "zugestellt")
        .filter_map(|row| row["vorgangsnummer"].as_str().map(str::to_owned))
        .collect();
    let target = tempfile::tempdir()?;
    let target = target.path().join("sicherung").display().to_string();
    let made = instance.kop_json(&["backup", &target])?;
    assert!(made["dateien"].as_u64() > Some(10), "{made:#}");
    done.store(true, Ordering::Relaxed);
    server.kill()?;
    let sent = load.await??;
    assert!(sent > 2, "there was load");

    // Into what is there: no. Into an empty folder: yes.
    let refused = instance.kop(&["restore", &target])?;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("KOP-S007"));
    fs::rename(instance.folder().join("daten"), instance.folder().join("daten.alt"))?;
    instance.kop_json(&["restore", &target])?;
    let restored = numbers(&instance)?;
    assert!(restored.is_superset(&before), "{before:?} {restored:?}");

    let server = instance.serve().await?;
    let rows = instance.settled(restored.len()).await?;
    // What was made and delivered only after the backup is made anew, and the folder that holds the first one refuses
    // the second: a person is told. Everything else is delivered, and everything is there.
    let there = instance.delivered("bauaufsicht")?;
    for row in rows {
        let number = row["vorgangsnummer"].as_str().unwrap_or_default().to_owned();
        let arrived = there.iter().any(|path| path.to_string_lossy().contains(&number));
        assert!(arrived, "{number} is not at its receiver: {there:#?}");
        let state = row["zustand"].as_str().unwrap_or_default();
        assert!(state == "zugestellt" || (state == "abgewiesen" && !finished.contains(&number)), "{row:#}");
    }
    // What its sender sends again because nobody knows it any more gets a number of its own.
    let answer = send_bauantrag(&server, |form| form.replace(ID, &id(999))).await?;
    let number = answer["vorgang"]["vorgangNummer"].as_str().unwrap_or_default().to_owned();
    assert!(number.as_str() > "MUST-2026-001000", "{number}");
    Ok(())
}

fn numbers(instance: &Instance) -> Result<BTreeSet<String>, Error> {
    let rows = instance.kop_json(&["messages", "list", "--anzahl", "1000"])?;
    let rows = rows.as_array().cloned().unwrap_or_default();
    Ok(rows.iter().filter_map(|row| row["vorgangsnummer"].as_str().map(str::to_owned)).collect())
}
