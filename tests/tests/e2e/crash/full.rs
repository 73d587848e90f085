// SPDX-License-Identifier: EUPL-1.2
//! The disk below the data folder is full for a while: senders are told to come again, nothing that was answered is
//! lost, nothing becomes a Klärungsfall by it, and once there is room everything goes on by itself, without a restart.

use std::time::Duration;

use kop_tests::{Disk, Error, Instance, disk, wait_until};

use super::{
    Chance, SETTLE, configure, details, driver::Driver, ledger::Ledger, now, recorder::Recorder, say, settled,
};

/// In MiB.
const SIZE: u64 = 48;
/// What is left while the disk is full, in bytes: less than one application needs.
const LEFT: u64 = 16 * 1024;
/// Applications, at most.
const COUNT: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_time_and_nothing_else() -> Result<(), Error> {
    let disk = match Disk::new(SIZE)? {
        Ok(disk) => disk,
        Err(reason) => {
            say(&format!("ÜBERSPRUNGEN: keine volle Platte ohne eigene Platte ({reason})"));
            return Ok(());
        }
    };
    let mut chance = Chance(u64::try_from(now())?);
    let recorder = Recorder::start(chance.next()).await?;
    let instance = Instance::of_example("musterstadt")?;
    configure(&instance, &recorder)?;
    // The door that closes before the disk is full has a test of its own; here the disk itself says no.
    instance.edit("kop.toml", |text| format!("{text}\n[rueckstau]\nfrei_mb = 0\n"))?;
    disk::link_to_disk(&disk, &instance.folder().join("daten"))?;
    let mut server = instance.serve().await?;
    let driver = Driver::start(server.base(), COUNT, 600, chance.next(), true)?;

    let some = |limit: usize| move |count: usize| (count >= limit).then_some(());
    let limit = Duration::from_secs(30);
    wait_until("einige Antworten", limit, || Ok(some(8)(driver.counts().0))).await?;
    disk.fill(LEFT)?;
    wait_until("einige Ablehnungen", limit, || Ok(some(12)(driver.counts().1))).await?;
    // Whatever was under way has met the full disk by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, refused) = driver.counts();
    let healthy = server.client().get(format!("{}/healthz", server.base())).send().await?.status();
    disk.empty()?;

    let answers = driver.end().await?;
    let all_settled = settled(&instance, SETTLE).await?;
    let shown = details(&instance)?;
    let printed = server.printed();
    server.kill()?;
    let mut ledger = Ledger::default();
    if !all_settled {
        ledger.wrong.push("nach der vollen Platte bleibt etwas unterwegs".to_owned());
    }
    ledger.balance(&instance, &answers, &shown, &recorder.requests())?;
    let by_the_disk = |one: &&serde_json::Value| one["klaerungsfaelle"].to_string().contains("KOP-S001");
    let to_clerks = shown.iter().filter(by_the_disk).count();
    let summary = format!(
        "volle Platte: {before} Antworten davor, {refused} Ablehnungen, {} Eingänge, {} Sendungen: {} zugestellt, {} \
         Klärungsfälle ({to_clerks} durch die Platte), {} verloren",
        answers.len(),
        ledger.expected,
        ledger.delivered,
        ledger.work_items,
        ledger.lost
    );
    say(&summary);
    assert!(ledger.wrong.is_empty(), "{summary}\n{}\n{printed}", ledger.wrong.join("\n"));
    assert_eq!(to_clerks, 0, "{summary}");
    assert!(healthy.is_success() && answers.len() > before / 2, "{summary}");
    Ok(())
}
