// SPDX-License-Identifier: EUPL-1.2
//! The disk below the data folder loses its power while applications come in: whatever was not synced is gone.
//! `POWER_CUTS` (2) says how often. Needs root and loop devices; without them nothing is shown, and that is said.

use kop_store::testkit::TestPostgres;
use kop_tests::{Disk, Error};

use super::{Plan, count, crash, goes_red, say};

/// Room for a few hundred applications, in MiB.
const SIZE: u64 = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_nothing_that_was_answered() -> Result<(), Error> {
    let Some(plan) = plan(count("POWER_CUTS", 2)?)? else { return Ok(()) };
    survives(plan).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_nothing_from_postgresql_either() -> Result<(), Error> {
    let Some(mut plan) = plan(count("POWER_CUTS", 2)?)? else { return Ok(()) };
    plan.postgres = TestPostgres::start_on(plan.disk.as_ref().map(Disk::path).as_deref());
    if plan.postgres.is_none() {
        return Ok(());
    }
    survives(plan).await
}

async fn survives(plan: Plan) -> Result<(), Error> {
    let named = if plan.postgres.is_some() { "PostgreSQL: " } else { "" };
    let run = crash(plan).await?;
    say(&format!("{named}{}", run.summary));
    assert!(run.ledger.wrong.is_empty(), "{}\n{}", run.summary, run.ledger.wrong.join("\n"));
    assert!(run.ledger.delivered > 0, "the test tried too little: {}", run.summary);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_a_store_that_does_not_sync() -> Result<(), Error> {
    let Some(plan) = plan(2)?.and_then(|plan| plan.with_mistake("nosync")) else { return Ok(()) };
    goes_red(plan, &["verloren", "andere Vorgangsnummer", "startet nach dem", "beschädigt"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_files_that_are_not_synced() -> Result<(), Error> {
    let Some(plan) = plan(2)?.and_then(|plan| plan.with_mistake("nosync-blobs")) else { return Ok(()) };
    goes_red(plan, &["beschädigt"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_a_start_that_forgets_the_journal() -> Result<(), Error> {
    let Some(plan) = plan(2)?.and_then(|plan| plan.with_mistake("noreplay")) else { return Ok(()) };
    goes_red(plan, &["beschädigt"]).await
}

fn plan(cuts: usize) -> Result<Option<Plan>, Error> {
    Ok(match Disk::new(SIZE)? {
        Ok(disk) => Some(Plan { disk: Some(disk), ..Plan::kills(cuts) }),
        Err(reason) => {
            say(&format!("ÜBERSPRUNGEN: kein Stromausfall ohne eigene Platte ({reason})"));
            None
        }
    })
}
