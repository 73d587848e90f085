// SPDX-License-Identifier: EUPL-1.2
//! Operators get one mail per cause, without a value of any application, and a restart tells nothing twice.

use std::time::Duration;

use kop_tests::{Error, Instance, smtp, wait_until};

use crate::send_bauantrag;

#[tokio::test]
async fn a_new_cause_is_mailed_once() -> Result<(), Error> {
    let (port, mails) = smtp::sink().await?;
    let instance = Instance::of_example("musterstadt")?;
    instance.edit("kop.toml", |text| {
        format!(
            "{text}\n[alarm]\nserver = \"127.0.0.1:{port}\"\ntls = \"keine\"\nvon = \"kop@musterstadt.example\"\n\
             an = [\"it-leitstelle@musterstadt.example\", \"fachverfahren@musterstadt.example\"]\nalle_sekunden = 1\n\
             [virenpruefung]\nart = \"clamd\"\nadresse = \"127.0.0.1:9\"\n"
        )
    })?;
    // Nobody scans: that is told, and nothing is processed.
    let mut server = instance.serve().await?;
    send_bauantrag(&server, |form| form.replace("\"Thomsen-Yıldız\"", "\"\"")).await?;
    wait_until("die Virenprüfung ist gemeldet", Duration::from_secs(20), || {
        Ok(mails.all().first().cloned())
    })
    .await?;
    server.kill()?;

    // Set right; now a Klärungsfall opens, and that is another cause.
    instance.edit("kop.toml", |text| {
        text.replace("[virenpruefung]\nart = \"clamd\"\nadresse = \"127.0.0.1:9\"\n", "")
    })?;
    let mut server = instance.serve().await?;
    wait_until("der Klärungsfall ist gemeldet", Duration::from_secs(30), || Ok(mails.all().get(1).cloned()))
        .await?;
    // Between the mail server's answer and this note a crash would tell it twice, which is the safe mistake.
    let noted = instance.folder().join("daten/alarm.json");
    wait_until("die Meldung ist vermerkt", Duration::from_secs(10), || {
        Ok(std::fs::read_to_string(&noted).unwrap_or_default().contains("KOP-M002").then_some(()))
    })
    .await?;
    server.kill()?;
    let _again = instance.serve().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;

    let mails = mails.all();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    let texts: Vec<String> = mails.iter().map(|mail| readable(mail)).collect();
    assert!(texts[0].contains("KOP-F043") && !texts[0].contains("KOP-M002"), "{}", texts[0]);
    assert!(
        texts[1].contains("Mandant musterstadt: 1 Klärungsfall") && texts[1].contains("KOP-M002"),
        "{}",
        texts[1]
    );
    for mail in &mails {
        assert!(
            mail.contains("it-leitstelle@musterstadt.example") && mail.contains("fachverfahren@"),
            "{mail}"
        );
        for personal in ["Mareike", "Deichstra", "pers_nachname"] {
            assert!(!readable(mail).contains(personal), "{personal}: {mail}");
        }
    }
    Ok(())
}

/// The text of a mail in quoted-printable or base64 (RFC 2045 section 6).
fn readable(mail: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let (head, body) = mail.split_once("\n\n").unwrap_or_default();
    if head.to_lowercase().contains("base64") {
        let packed: String = body.split_whitespace().collect();
        return String::from_utf8_lossy(&STANDARD.decode(packed).unwrap_or_default()).into_owned();
    }
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some((before, after)) = rest.split_once('=') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(b'='));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
