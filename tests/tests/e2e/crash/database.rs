// SPDX-License-Identifier: EUPL-1.2
//! PostgreSQL is restarted while applications come in, in good order and as after a crash in turn; the program keeps
//! running. `DB_RESTARTS` (4) says how often.

use std::time::Duration;

use kop_store::testkit::TestPostgres;
use kop_tests::{Error, Instance};

use super::{Chance, MOST, PER_CRASH, configure, count, now, outage::Outage, recorder::Recorder};

/// `pg_ctl`'s words for both.
const MODES: [&str; 2] = ["fast", "immediate"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_costs_time_and_nothing_else() -> Result<(), Error> {
    let Some(postgres) = TestPostgres::start() else { return Ok(()) };
    let restarts = count("DB_RESTARTS", 4)?;
    let mut chance = Chance(u64::try_from(now())?);
    let recorder = Recorder::start(chance.next()).await?;
    let instance = Instance::of_example("musterstadt")?.with_database(&postgres.database("kop"), None)?;
    configure(&instance, &recorder)?;
    let applications = (restarts * PER_CRASH).min(MOST);
    let outage = Outage::begin(instance, recorder, applications, chance.next()).await?;
    for mode in MODES.iter().cycle().take(restarts) {
        tokio::time::sleep(Duration::from_millis(200 + chance.below(1000))).await;
        outage.driver.next_answer(Duration::from_millis(500)).await;
        tokio::task::block_in_place(|| postgres.down(mode))?;
        tokio::time::sleep(Duration::from_millis(chance.below(1500))).await;
        assert!(outage.lives().await?);
        tokio::task::block_in_place(|| postgres.up())?;
        outage.answers(3).await?;
    }
    outage.end(&format!("{restarts} Neustarts der Datenbank")).await
}
