// SPDX-License-Identifier: EUPL-1.2
//! Nothing leaves before every file was looked at by a real clamd; a clamd that is away delays and never skips.

use std::{io::Write, time::Duration};

use kop_tests::{
    Error, Instance,
    clamd::{Clamd, eicar},
    forms::File,
    inputs, wait_until,
};

use crate::{TENANT, send_bauantrag};

const BAUANTRAG: &str = "MUST-2026-000001";

fn with_scanner(socket: &std::path::Path) -> Result<Instance, Error> {
    let instance = Instance::of_example("musterstadt")?;
    let section = format!("\n[virenpruefung]\nart = \"clamd\"\nsocket = \"{}\"\n", socket.display());
    instance.edit("kop.toml", |text| format!("{text}{section}"))?;
    Ok(instance)
}

async fn send_with(server: &kop_tests::Server, content: Vec<u8>) -> Result<(), Error> {
    let application = inputs::bauantrag()?;
    let file = File { name: "plan.pdf".to_owned(), content_type: "application/pdf".to_owned(), content };
    let answer = server.post_ozg_cloud(TENANT, &application.form_data, None, vec![file]).await?;
    if answer.status().is_success() { Ok(()) } else { Err(answer.text().await?.into()) }
}

fn shown(instance: &Instance) -> Result<String, Error> {
    let shown = instance.kop(&["messages", "show", BAUANTRAG])?;
    Ok(String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[tokio::test]
async fn a_finding_keeps_everything_in_the_house() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let Some(clamd) = Clamd::start(folder.path())? else { return Ok(()) };
    let instance = with_scanner(clamd.socket())?;
    let server = instance.serve().await?;
    send_with(&server, eicar()).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let text = shown(&instance)?;
    for word in ["KOP-F040", "Kop.Test.Eicar", "Virenprüfung (ClamAV"] {
        assert!(text.contains(word), "{word} fehlt in:\n{text}");
    }
    assert!(!text.contains("plan.pdf"), "file names are masked:\n{text}");
    for receiver in ["bauaufsicht", "dms"] {
        assert_eq!(instance.delivered(receiver)?.len(), 0, "{receiver}");
    }
    // A finding is nothing that a person releases.
    let released = instance.kop(&["messages", "release", BAUANTRAG, "--grund", "wird schon gehen"])?;
    assert!(!released.status.success(), "{released:?}");
    Ok(())
}

#[tokio::test]
async fn an_encrypted_file_waits_until_a_person_releases_it() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let Some(clamd) = Clamd::start(folder.path())? else { return Ok(()) };
    let instance = with_scanner(clamd.socket())?;
    let server = instance.serve().await?;
    send_with(&server, locked_zip()?).await?;
    assert_eq!(instance.settled(1).await?[0]["zustand"], "klaerungsfall");
    assert!(shown(&instance)?.contains("Heuristics.Encrypted"), "{}", shown(&instance)?);
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 0);

    // To try again without a release changes nothing.
    assert!(instance.kop(&["messages", "retry", BAUANTRAG])?.status.success());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(instance.settled(1).await?[0]["zustand"], "klaerungsfall");

    let nameless = instance.kop(&["messages", "release", BAUANTRAG, "--grund", "  "])?;
    assert!(!nameless.status.success(), "{nameless:?}");
    let released = instance.kop(&["messages", "release", BAUANTRAG, "--grund", "Passwort liegt vor"])?;
    assert!(released.status.success(), "{released:?}");
    wait_until("nach der Freigabe zugestellt", Duration::from_secs(30), || {
        Ok((instance.delivered("bauaufsicht")?.len() == 1).then_some(()))
    })
    .await?;
    let text = shown(&instance)?;
    assert!(text.contains("Passwort liegt vor") && text.contains("freigegeben von"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_scanner_that_is_away_delays_and_never_skips() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let Some(clamd) = Clamd::start(folder.path())? else { return Ok(()) };
    let instance = with_scanner(clamd.socket())?;
    drop(clamd);
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    wait_until("der Eingang ist zurückgestellt", Duration::from_secs(30), || {
        Ok(shown(&instance)?.contains("Virenprüfung nicht möglich (KOP-F043)").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 0);
    // Told to operators, but the door stays open: an application is not refused for a scanner's fault.
    let (status, text) = server.ask("/readyz").await?;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("virenpruefung: gestört: Die Virenprüfung ist nicht erreichbar."), "{text}");
    assert!(server.ask("/metrics").await?.1.contains("\nkop_scanner_up 0\n"));

    let _clamd = Clamd::start(folder.path())?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    let text = shown(&instance)?;
    assert_eq!(text.matches("Virenprüfung nicht möglich").count(), 1, "told once, not at each try:\n{text}");
    assert!(text.contains("Funde: 0"), "{text}");
    Ok(())
}

#[test]
fn a_scanner_is_checked_and_its_absence_is_told_where_it_counts() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    assert!(!String::from_utf8_lossy(&instance.kop(&["check"])?.stdout).contains("KOP-F042"));
    instance.edit(crate::CONFIG, |text| text.replace("stufe = \"test\"", "stufe = \"produktion\""))?;
    let checked = instance.kop(&["check"])?;
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.contains("KOP-F042"), "{text}");
    instance.edit("kop.toml", |text| format!("{text}\n[virenpruefung]\nart = \"clamd\"\n"))?;
    let checked = instance.kop(&["check"])?;
    assert!(!checked.status.success());
    assert!(String::from_utf8_lossy(&checked.stderr).contains("KOP-K006"), "{checked:?}");
    Ok(())
}

/// A ZIP whose entry says that it is encrypted (APPNOTE.TXT section 4.4.4).
fn locked_zip() -> Result<Vec<u8>, Error> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("plan.txt", zip::write::SimpleFileOptions::default())?;
    archive.write_all(b"geheim")?;
    let mut bytes = archive.finish()?.into_inner();
    for (mark, at) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let found = bytes.windows(4).position(|four| four == mark).ok_or("kein Kopf")?;
        bytes[found + at] |= 1;
    }
    Ok(bytes)
}
