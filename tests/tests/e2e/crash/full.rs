// SPDX-License-Identifier: EUPL-1.2
//! The disk is full for a while: the one below the data folder, or the database's.

use std::time::Duration;

use kop_store::testkit::TestPostgres;
use kop_tests::{Disk, Error, Instance, disk};

use super::{Chance, configure, now, outage::Outage, recorder::Recorder, say};
use crate::scale::ask;

/// In MiB.
const SIZE: u64 = 48;
/// The same where PostgreSQL lies on it, of which it takes nearly half for itself.
const SIZE_OF_DATABASE: u64 = 160;
/// What is left while the disk is full, in bytes: less than one application needs.
const LEFT: u64 = 16 * 1024;
/// Applications, at most.
const COUNT: usize = 60;
/// The same with PostgreSQL, which has some room within its files.
const COUNT_WITH_DATABASE: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_time_and_nothing_else() -> Result<(), Error> {
    let Some(disk) = small(SIZE)? else { return Ok(()) };
    let mut chance = Chance(u64::try_from(now())?);
    let recorder = Recorder::start(chance.next()).await?;
    let instance = Instance::of_example("musterstadt")?;
    configure(&instance, &recorder)?;
    // The door that closes before the disk is full has a test of its own; here the disk itself says no.
    instance.edit("kop.toml", |text| format!("{text}\n[rueckstau]\nfrei_mb = 0\n"))?;
    disk::link_to_disk(&disk, &instance.folder().join("daten"))?;
    let outage = Outage::begin(instance, recorder, COUNT, chance.next()).await?;
    outage.answers(8).await?;
    while_full(&disk, &outage).await?;
    disk.empty()?;
    outage.end("volle Platte").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_postgresql_costs_time_and_nothing_else() -> Result<(), Error> {
    let Some(disk) = small(SIZE_OF_DATABASE)? else { return Ok(()) };
    let Some(postgres) = TestPostgres::start_on(Some(&disk.path())) else { return Ok(()) };
    let database = postgres.database("kop");
    let mut chance = Chance(u64::try_from(now())?);
    let recorder = Recorder::start(chance.next()).await?;
    let instance = Instance::of_example("musterstadt")?.with_database(&database, None)?;
    configure(&instance, &recorder)?;
    let outage = Outage::begin(instance, recorder, COUNT_WITH_DATABASE, chance.next()).await?;
    let mut ended = 0;
    for log_too in [false, true] {
        outage.answers(8).await?;
        disk.fill(LEFT)?;
        if log_too {
            // The next file of its log finds no room: then PostgreSQL ends by itself, until somebody starts it again.
            let _refused = ask(&database, "SELECT pg_switch_wal()");
        }
        while_full(&disk, &outage).await?;
        disk.empty()?;
        if !postgres.is_up()? {
            ended += 1;
            tokio::task::block_in_place(|| postgres.up())
                .map_err(|error| format!("{error}\n{}", postgres.printed()))?;
        }
        outage.answers(4).await?;
    }
    outage.end(&format!("volle Platte der Datenbank (die sich {ended}-mal beendete)")).await
}

fn small(mebibytes: u64) -> Result<Option<Disk>, Error> {
    Ok(match Disk::new(mebibytes)? {
        Ok(disk) => Some(disk),
        Err(reason) => {
            say(&format!("ÜBERSPRUNGEN: keine volle Platte ohne eigene Platte ({reason})"));
            None
        }
    })
}

/// Fills the disk, and has the program meet that for a while.
async fn while_full(disk: &Disk, outage: &Outage) -> Result<(), Error> {
    disk.fill(LEFT)?;
    outage.refusals(12).await?;
    // Whatever was under way has met the full disk by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(outage.lives().await?);
    Ok(())
}
