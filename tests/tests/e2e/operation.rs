// SPDX-License-Identifier: EUPL-1.2
//! What operators see: readiness, numbers, a door that closes and opens by itself, and logs without a value of any
//! application.

use std::time::Duration;

use kop_tests::{Error, Instance, Server, inputs, wait_until};

use crate::{CONFIG, DEPOSIT, send_bauantrag};

/// Waits until an operators' page satisfies a condition.
async fn page(server: &Server, path: &str, wanted: impl Fn(u16, &str) -> bool) -> Result<String, Error> {
    let mut last = String::new();
    for _ in 0..600 {
        let (status, text) = server.ask(path).await?;
        if wanted(status, &text) {
            return Ok(text);
        }
        last = format!("{status}\n{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("{path}: {last}").into())
}

#[tokio::test]
async fn numbers_tell_what_is_open_and_how_long_steps_take() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    // Nobody listens there: the message waits.
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
            "art = \"http\"\nurl = \"http://127.0.0.1:9/\"",
        )
    })?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let unknown = |form: &str| form.replace("\"Thomsen-Yıldız\"", "\"\"").replace("c1f0b7d4", "c1f0b7d5");
    send_bauantrag(&server, unknown).await?;
    let (status, text) = server.ask("/readyz").await?;
    assert_eq!(status, 200, "{text}");
    for line in ["datenbank: ok", "dateien: ok", "platte: ok", "rueckstau: ok", "schemata: ok"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let text = page(&server, "/metrics", |_, text| {
        text.contains("kop_attempts_total{ausgang=\"wiederholung\"}")
            && text.contains("kop_work_items{mandant=\"musterstadt\",klasse=\"fachlich\",ursache=\"KOP-M002")
            && text.contains("kop_attempts_total{ausgang=\"zugestellt\"} 2")
            && text.contains("empfaenger=\"bauaufsicht\",zustand=\"wartend\"} 1")
    })
    .await?;
    for start in [
        "kop_oldest_undelivered_seconds{mandant=\"musterstadt\",empfaenger=\"bauaufsicht\"} ",
        "kop_stuck_since_timestamp_seconds{mandant=\"musterstadt\",empfaenger=\"bauaufsicht\"} ",
        "kop_step_seconds_count{schritt=\"annahme\"} 2",
        "kop_step_seconds_bucket{schritt=\"zuordnung\",le=\"+Inf\"} ",
        "process_resident_memory_bytes ",
        "kop_disk_free_bytes ",
        "kop_backlog 1",
        "kop_intake_closed{grund=\"platte\"} 0",
    ] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}\n{text}");
    }
    // Every sample line is one, and its family was described before.
    let mut described = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.insert(rest.split(' ').next().unwrap_or_default().to_owned());
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(described.contains(name) || described.contains(family), "{line}");
            assert!(line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()), "{line}");
        }
    }
    // Not where applications come in.
    for path in ["/metrics", "/readyz"] {
        let answer = server.client().get(format!("{}{path}", server.base())).send().await?;
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn too_much_that_is_open_closes_the_door_until_there_is_room() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit("kop.toml", |text| format!("{text}\n[rueckstau]\nhoechstens = 1\n"))?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
            "art = \"http\"\nurl = \"http://127.0.0.1:9/\"\n\
             [empfaenger.bauaufsicht.wiederholung]\nerste_pause_s = 10\nlaengste_pause_s = 10\nversuche = 2",
        )
    })?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    // The second one is still let in; then two deliveries wait.
    send_bauantrag(&server, |form| form.replace("c1f0b7d4", "c1f0b7d5")).await?;
    page(&server, "/readyz", |status, text| status == 503 && text.contains("rueckstau: gestört")).await?;

    let application = inputs::bauantrag()?;
    let form = application.form_data.replace("c1f0b7d4", "c1f0b7d6");
    let answer = server.post_ozg_cloud(crate::TENANT, &form, None, Vec::new()).await?;
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await?.contains("KOP-S008"));
    let answer = server.post_deposit(DEPOSIT, &inputs::deposit()?).await?;
    assert_eq!(answer.status().as_u16(), 500, "a SOAP fault (SOAP 1.1 section 6.2)");
    assert!(answer.headers().contains_key("retry-after"));
    let text = answer.text().await?;
    assert!(text.contains("ApplicationFault") && text.contains("KOP-S008"), "{text}");

    // The attempts are used up, persons have to look, and the door opens by itself.
    page(&server, "/readyz", |status, _| status == 200).await?;
    let answer = server.post_ozg_cloud(crate::TENANT, &form, None, Vec::new()).await?;
    assert_eq!(answer.status().as_u16(), 200);
    Ok(())
}

/// The disk is as large as it is here; the threshold is set above what is free on a small file system of its own,
/// where that can be mounted, else above what the machine has.
#[tokio::test]
async fn a_disk_that_is_nearly_full_closes_the_door() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let disk = instance.folder().join("daten");
    std::fs::create_dir_all(&disk)?;
    let small = Mounted::on(&disk);
    let wanted = if small.is_some() { 40 } else { 900_000_000 };
    instance
        .edit("kop.toml", |text| format!("{text}\n[rueckstau]\nfrei_mb = {wanted}\nfrei_prozent = 0\n"))?;
    let server = instance.serve().await?;
    if small.is_none() {
        eprintln!("ÜBERSPRUNGEN: kein eigenes Dateisystem; nur die geschlossene Tür wird gezeigt");
        page(&server, "/readyz", |status, text| status == 503 && text.contains("platte: gestört")).await?;
        return Ok(());
    }
    send_bauantrag(&server, str::to_owned).await?;
    instance.settled(1).await?;
    std::fs::write(disk.join("fuellung"), vec![0; 40_000_000])?;
    page(&server, "/readyz", |status, text| status == 503 && text.contains("platte: gestört")).await?;
    let refused = send_bauantrag(&server, |form| form.replace("c1f0b7d4", "c1f0b7d5")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("503")));
    std::fs::remove_file(disk.join("fuellung"))?;
    page(&server, "/readyz", |status, _| status == 200).await?;
    send_bauantrag(&server, |form| form.replace("c1f0b7d4", "c1f0b7d5")).await?;
    assert_eq!(instance.settled(2).await?.len(), 2);
    Ok(())
}

/// A file system of 64 MB in memory; unmounted when it is dropped.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn on(folder: &std::path::Path) -> Option<Self> {
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(folder)
            .stderr(std::process::Stdio::null())
            .status();
        done.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the server that uses it is dropped at the same time.
        let _gone = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn no_log_holds_a_value_of_an_application() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit("kop.toml", |text| format!("{text}\n[protokoll]\nformat = \"json\"\n"))?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/dms\"",
            "art = \"http\"\nurl = \"http://127.0.0.1:9/\"",
        )
        .replace("name = \"{vorgangsnummer}\"  ", "# ")
    })?;
    let server = instance.serve_with(&[("KOP_LOG", "trace")]).await?;
    // A marker in every text of the form, one application at a time: what is a code breaks, what is text does not.
    let mut form: serde_json::Value = serde_json::from_str(&inputs::bauantrag()?.form_data)?;
    send_bauantrag(&server, str::to_owned).await?;
    let mut marked = 0;
    mark(&mut form, &mut marked);
    assert!(marked > 30, "{marked}");
    let answer = server
        .post_ozg_cloud(crate::TENANT, &form.to_string(), None, inputs::bauantrag()?.attachments)
        .await?;
    assert!(answer.status().is_success(), "{}", answer.text().await?);
    wait_until("beide sind verarbeitet", Duration::from_secs(30), || {
        Ok((server.printed().matches("Submission processed").count() >= 2).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let printed = server.printed();
    assert!(
        !printed.contains("MARKE"),
        "{}",
        printed.lines().find(|l| l.contains("MARKE")).unwrap_or_default()
    );
    for personal in ["Mareike", "Thomsen", "Deichstra"] {
        assert!(!printed.contains(personal), "{personal} im Protokoll");
    }
    // Every line of ours is JSON; ids tell what it is about.
    let lines: Vec<serde_json::Value> = printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let said = |what: &str, id: &str| {
        let text =
            |line: &serde_json::Value| line["fields"]["message"].as_str().unwrap_or_default().to_owned();
        let line = lines.iter().find(|line| text(line).starts_with(what));
        line.is_some_and(|line| line.to_string().contains(&format!("\"{id}\":")))
    };
    for (what, ids) in [
        ("Submission stored", &["tenant", "submission"][..]),
        ("Submission processed", &["tenant", "submission"]),
        ("Delivered", &["tenant", "submission", "message", "delivery", "attempt"]),
        ("Attempt failed", &["tenant", "submission", "message", "delivery", "attempt"]),
    ] {
        for id in ids {
            assert!(said(what, id), "{what}: {id}");
        }
    }
    Ok(())
}

/// Puts a marker into every text that is not a key of the payload's own structure.
fn mark(value: &mut serde_json::Value, marked: &mut u32) {
    match value {
        serde_json::Value::Object(entries) => {
            for (key, value) in entries {
                let own = ["type", "name", "id", "transactionId", "formId", "formEngineName", "createdAt"];
                if key == "control" || own.contains(&key.as_str()) {
                    continue;
                }
                mark(value, marked);
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mark(item, marked)),
        serde_json::Value::String(text) if !text.is_empty() => {
            *marked += 1;
            *text = format!("MARKE{marked}");
        }
        _ => {}
    }
}
