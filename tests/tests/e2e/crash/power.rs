// SPDX-License-Identifier: EUPL-1.2
//! The disk below the data folder loses its power while applications come in: whatever was not synced is gone.
//! `POWER_CUTS` (2) says how often. Needs root and loop devices; without them nothing is shown, and that is said.

use std::env;

use kop_tests::{Disk, Error};

use super::{Plan, crash, goes_red, say};

/// Room for a few hundred applications, in MiB.
const SIZE: u64 = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_nothing_that_was_answered() -> Result<(), Error> {
    let cuts = env::var("POWER_CUTS").ok().map(|text| text.parse()).transpose()?.unwrap_or(2);
    let Some(plan) = plan(cuts)? else { return Ok(()) };
    let run = crash(plan).await?;
    say(&run.summary);
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
