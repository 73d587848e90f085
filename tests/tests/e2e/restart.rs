// SPDX-License-Identifier: EUPL-1.2
//! The power fails at bad moments. What was answered is there afterwards, and arrives once.

use std::{fs, time::Duration};

use kop_tests::{Error, Instance, wait_until};
use serde_json::Value;

use crate::{CONFIG, send_bauantrag};

#[tokio::test]
async fn what_was_answered_survives_the_kill_that_follows() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let mut numbers = Vec::new();
    for round in 0..3 {
        let mut server = instance.serve().await?;
        let answer = send_bauantrag(&server, |form| {
            form.replace(
                "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521",
                &format!("c1f0b7d4-0000-0000-0000-00000000000{round}"),
            )
        })
        .await?;
        server.kill()?;
        numbers.push(answer["vorgang"]["vorgangNummer"].clone());
    }
    let _server = instance.serve().await?;
    let rows = instance.settled(3).await?;
    let mut stored: Vec<_> = rows.iter().map(|row| row["vorgangsnummer"].clone()).collect();
    stored.reverse();
    assert_eq!(stored, numbers);
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 3, "each arrives once");
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_away_is_tried_again_after_a_restart() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "pfad = \"ausgang/bauaufsicht\"",
            "pfad = \"ausgang/bauaufsicht\"\n[empfaenger.bauaufsicht.wiederholung]\nerste_pause_s = 2\nlaengste_pause_s = 2",
        )
    })?;
    // Where the receiver's folder should be lies a file: its drive is not mounted, so to speak.
    fs::create_dir_all(instance.folder().join("ausgang"))?;
    let blocker = instance.folder().join("ausgang/bauaufsicht");
    fs::write(&blocker, "")?;
    let mut server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let delivery = |shown: &Value| -> Option<Value> {
        shown["zustellungen"].as_array()?.iter().find(|one| one["lane"] == "bauaufsicht").cloned()
    };
    let show = || instance.kop_json(&["messages", "show", "MUST-2026-000001"]);
    let first = wait_until("ein Versuch ist gescheitert", Duration::from_secs(20), || {
        Ok(delivery(&show()?).filter(|one| one["attempts"].as_u64() >= Some(1) && one["state"] == "wartend"))
    })
    .await?;
    assert!(first["next_try_at"].is_string(), "{first:#}");
    // The other receiver of the same application does not wait for it.
    wait_until("beim anderen ist sie angekommen", Duration::from_secs(20), || {
        Ok((instance.delivered("dms")?.len() == 1).then_some(()))
    })
    .await?;
    server.kill()?;

    fs::remove_file(&blocker)?;
    let _server = instance.serve().await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    let last = delivery(&show()?).ok_or("die Zustellung")?;
    assert!(last["attempts"].as_u64() > first["attempts"].as_u64(), "{last:#}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    Ok(())
}
