// SPDX-License-Identifier: EUPL-1.2
//! The process is killed at random moments while applications come in and receivers misbehave. Afterwards a ledger
//! per submission and receiver has to balance: accepted = delivered + Klärungsfälle, lost 0. `CRASHES` (10) says how
//! often, `CRASH_SEED` repeats a choice of moments. With `KOP_BIN_MUTANT`, a build with the feature `mutants`, the
//! ledger has to find what those builds do wrong.

mod database;
pub(crate) mod driver;
mod full;
pub(crate) mod ledger;
mod outage;
mod power;
pub(crate) mod recorder;

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kop_store::testkit::TestPostgres;
use kop_tests::{Disk, Error, Instance, Server, disk};
use serde_json::Value;

use self::{
    driver::{Driver, Refusal},
    ledger::Ledger,
    recorder::Recorder,
};
use crate::CONFIG;

/// HTTP receiver that recognises what it has.
const REPEATABLE: &str = "bauaufsicht";
/// HTTP receiver that would take a second sending for a new one.
const ONCE: &str = "strassenbau";
/// HTTP receiver that recognises what it has, and gets one after another in the order of the applications.
const ORDERED: &str = "steueramt";
/// Folder receivers.
const FOLDERS: [&str; 2] = ["strassenverkehr", "dms"];

/// Applications that are sent per crash, at most.
const PER_CRASH: usize = 16;
/// Applications in all, at most: `kop messages list` shows no more than 1000.
const MOST: usize = 900;
/// From the last restart until nothing is under way.
const SETTLE: Duration = Duration::from_secs(60);
/// More of it per crash: what a crash interrupted on PostgreSQL holds up an ordered lane for seconds.
const SETTLE_PER_CRASH: Duration = Duration::from_secs(5);
/// All of it where a mistake may keep something under way for ever.
const SETTLE_MISTAKEN: Duration = Duration::from_secs(10);

/// A generator of numbers that gives the same ones for the same seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What one run has shown.
struct Run {
    ledger: Ledger,
    summary: String,
}

/// What a run is to try.
struct Plan {
    crashes: usize,
    /// A build that is wrong on purpose, and its mistake.
    mutant: Option<(PathBuf, &'static str)>,
    /// Holds the data folder; it loses its power at every crash. Without it the process alone is killed.
    disk: Option<Disk>,
    /// Keeps everything but files. On the disk where there is one.
    postgres: Option<TestPostgres>,
}

impl Plan {
    fn kills(crashes: usize) -> Self {
        Self { crashes, mutant: None, disk: None, postgres: None }
    }

    /// The same with a mistake; `None` where there is no such build.
    fn with_mistake(mut self, mistake: &'static str) -> Option<Self> {
        let Some(binary) = env::var_os("KOP_BIN_MUTANT").map(PathBuf::from) else {
            say("ÜBERSPRUNGEN: KOP_BIN_MUTANT nennt kein Programm; make crash-test setzt es");
            return None;
        };
        self.mutant = Some((binary, mistake));
        Some(self)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_sent_twice_unasked() -> Result<(), Error> {
    let run = crash(Plan::kills(count("CRASHES", 10)?)).await?;
    say(&run.summary);
    assert!(run.ledger.wrong.is_empty(), "{}\n{}", run.summary, run.ledger.wrong.join("\n"));
    assert!(run.ledger.delivered > 0 && run.ledger.resent > 0, "the test tried too little: {}", run.summary);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_postgresql_either() -> Result<(), Error> {
    let Some(server) = TestPostgres::start() else { return Ok(()) };
    let run = crash(Plan { postgres: Some(server), ..Plan::kills(count("CRASHES", 10)?) }).await?;
    say(&format!("PostgreSQL: {}", run.summary));
    assert!(run.ledger.wrong.is_empty(), "{}\n{}", run.summary, run.ledger.wrong.join("\n"));
    assert!(run.ledger.delivered > 0, "the test tried too little: {}", run.summary);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_an_answer_before_the_commit() -> Result<(), Error> {
    let Some(plan) = Plan::kills(8).with_mistake("ack-early") else { return Ok(()) };
    goes_red(plan, &["verloren", "andere Vorgangsnummer"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_a_retry_that_maps_anew() -> Result<(), Error> {
    let Some(plan) = Plan::kills(3).with_mistake("remap-on-retry") else { return Ok(()) };
    goes_red(plan, &["andere Bytes"]).await
}

/// The ledger has to find a mistake, and by one of the words that tell it from others.
async fn goes_red(plan: Plan, expected: &[&str]) -> Result<(), Error> {
    let mistake = plan.mutant.as_ref().map_or("", |(_, mistake)| mistake);
    let run = crash(plan).await?;
    let telling: Vec<_> =
        run.ledger.wrong.iter().filter(|line| expected.iter().any(|word| line.contains(word))).collect();
    let mut shown = run.ledger.wrong.clone();
    shown.truncate(12);
    say(&format!(
        "KOP_MUTANT={mistake}: {} von {} Zeilen verraten es; {}\n  {}",
        telling.len(),
        run.ledger.wrong.len(),
        run.summary,
        shown.join("\n  ")
    ));
    assert!(!telling.is_empty(), "KOP_MUTANT={mistake} blieb unentdeckt: {}", run.summary);
    Ok(())
}

/// How often something is to happen: as the environment says, or else so often.
fn count(variable: &str, usual: usize) -> Result<usize, Error> {
    Ok(env::var(variable).ok().map(|text| text.parse()).transpose()?.unwrap_or(usual))
}

async fn crash(plan: Plan) -> Result<Run, Error> {
    let Plan { crashes, mutant, mut disk, postgres } = plan;
    let seed = match env::var("CRASH_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => u64::try_from(now())?,
    };
    say(&format!(
        "CRASH_SEED={seed}, {crashes} {}",
        if disk.is_some() { "Stromausfälle" } else { "Abstürze" }
    ));
    let mistaken = mutant.is_some();
    let begun = Instant::now();
    let mut chance = Chance(seed);
    let recorder = Recorder::start(chance.next()).await?;
    let (instance, environment) = match mutant {
        Some((binary, name)) => {
            (Instance::of_example("musterstadt")?.with_binary(binary), vec![("KOP_MUTANT", name)])
        }
        None => (Instance::of_example("musterstadt")?, Vec::new()),
    };
    let instance = match &postgres {
        Some(postgres) => instance.with_database(&postgres.database("kop"), None)?,
        None => instance,
    };
    configure(&instance, &recorder)?;
    if let Some(disk) = &disk {
        // What receivers have, folders included, stays on the disk of the test.
        disk::link_to_disk(disk, &instance.folder().join("daten"))?;
    }

    let mut server = instance.serve_with(&environment).await?;
    // Once the disk is gone, and before the process is, answers are errors.
    let refusal = disk.is_some().then_some(Refusal::Any);
    let driver = Driver::start(server.base(), (crashes * PER_CRASH).min(MOST), 600, chance.next(), refusal)?;
    let mut ledger = Ledger::default();
    for number in 1..=crashes {
        tokio::time::sleep(Duration::from_millis(100 + chance.below(1400))).await;
        // The worst moment: somebody just went away with an answer. A mistake must not need luck to show.
        if mistaken {
            driver.next_answer(Duration::from_secs(5)).await;
        } else if disk.is_some() || chance.below(2) == 0 {
            driver.next_answer(Duration::from_millis(500)).await;
        }
        strike(&mut server, disk.as_mut(), postgres.as_ref())?;
        server = match instance.serve_with(&environment).await {
            Ok(server) => server,
            Err(problem) => {
                ledger.wrong.push(format!("startet nach dem {number}. Absturz nicht: {problem}"));
                return Ok(Run { ledger, summary: format!("abgebrochen nach {number} Abstürzen") });
            }
        };
        driver.now_at(server.base());
    }
    let restarted = Instant::now();
    let answers = driver.end().await?;
    let patience = SETTLE + SETTLE_PER_CRASH * u32::try_from(crashes)?;
    let settled = settled(&instance, if mistaken { SETTLE_MISTAKEN } else { patience }).await?;
    let settling = restarted.elapsed();
    let shown = details(&instance)?;
    server.kill()?;
    if !settled {
        ledger.wrong.push(format!("nach {:?} ist noch etwas unterwegs", restarted.elapsed()));
    }
    ledger.balance(&instance, &answers, &shown, &recorder.requests())?;
    let summary = format!(
        "{crashes} Abstürze, {} Eingänge, {} Sendungen: {} zugestellt, {} Klärungsfälle, {} verloren; \
         {} Versuche, {} erneut gesendet, davon {} nach unklarem Ausgang doppelt angekommen, {} durch Absturz \
         unterbrochen; {:.1} s, davon {:.1} s bis zur Ruhe",
        answers.len(),
        ledger.expected,
        ledger.delivered,
        ledger.work_items,
        ledger.lost,
        ledger.attempts,
        ledger.resent,
        ledger.doubled,
        ledger.interrupted,
        begun.elapsed().as_secs_f64(),
        settling.as_secs_f64(),
    );
    Ok(Run { ledger, summary })
}

/// Ends the process, where there is a disk by its loss of power, which ends the database as well.
fn strike(
    server: &mut Server,
    disk: Option<&mut Disk>,
    postgres: Option<&TestPostgres>,
) -> Result<(), Error> {
    let Some(disk) = disk else { return server.kill() };
    disk.cut_power()?;
    server.kill()?;
    let Some(postgres) = postgres else { return disk.restore_power() };
    postgres.kill()?;
    tokio::task::block_in_place(|| {
        disk.restore_power()?;
        postgres.up().map_err(|error| format!("{error}\n{}", postgres.printed()).into())
    })
}

/// The Bauantrag goes to five receivers: three over HTTP, two into folders; failures are tried again soon.
pub(crate) fn configure(instance: &Instance, recorder: &Recorder) -> Result<(), Error> {
    let again = "erste_pause_s = 1\nlaengste_pause_s = 1\nversuche = 100";
    // Failures in a row are what this test makes; pauses would only make it longer.
    let lane = "nach_fehlern = 1000";
    instance.edit(CONFIG, |text| {
        let mut text = text.replace(
            "zuordnung = \"bauantrag-xbau\"\nempfaenger = [\"bauaufsicht\"]",
            &format!(
                "zuordnung = \"bauantrag-xbau\"\nempfaenger = [\"{REPEATABLE}\", \"{ONCE}\", \"{}\"]",
                FOLDERS[0]
            ),
        );
        text = text.replace("empfaenger = [\"dms\"]", &format!("empfaenger = [\"dms\", \"{ORDERED}\"]"));
        for (receiver, repeatable) in [(REPEATABLE, true), (ONCE, false), (ORDERED, true)] {
            let order = if receiver == ORDERED { "empfaenger" } else { "keine" };
            text = text.replace(
                &format!("art = \"ordner\"\npfad = \"ausgang/{receiver}\""),
                &format!(
                    "art = \"http\"\nurl = \"{}/{receiver}\"\nwiederholbar = {repeatable}\n\
                     zeitlimit_sekunden = 2\nverbindung_sekunden = 1\n\
                     [empfaenger.{receiver}.wiederholung]\n{again}\n\
                     [empfaenger.{receiver}.bahn]\nreihenfolge = \"{order}\"\n\
                     [empfaenger.{receiver}.bahn.unterbrechung]\n{lane}",
                    recorder.base
                ),
            );
        }
        for receiver in FOLDERS {
            text = text.replace(
                &format!("[empfaenger.{receiver}.zustellung]"),
                &format!("[empfaenger.{receiver}.wiederholung]\n{again}\n[empfaenger.{receiver}.zustellung]"),
            );
        }
        text
    })
}

/// Waits until no submission waits for its processing and no message for its receiver.
async fn settled(instance: &Instance, limit: Duration) -> Result<bool, Error> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        let rows = instance.kop_json(&["messages", "list", "--anzahl", "1000"])?;
        let open = |row: &Value| {
            let messages = row["sendungen"].as_array();
            row["zustand"] == "eingegangen"
                || messages.is_none_or(|all| all.iter().any(|message| message["zustand"] == "offen"))
        };
        if !rows.as_array().ok_or("keine Liste")?.iter().any(open) {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(false)
}

/// What the program shows of every submission.
fn details(instance: &Instance) -> Result<Vec<Value>, Error> {
    let rows = instance.kop_json(&["messages", "list", "--anzahl", "1000"])?;
    let mut shown = Vec::new();
    for row in rows.as_array().ok_or("keine Liste")? {
        shown.push(instance.kop_json(&["messages", "show", row["id"].as_str().unwrap_or_default()])?);
    }
    Ok(shown)
}

/// Microseconds since 1970, as the program that is tested counts them.
#[allow(clippy::disallowed_methods, reason = "another process writes the other moments of the comparison")]
pub(crate) fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_micros().cast_signed())
}

#[allow(clippy::print_stderr, reason = "seed and result are what the run is for")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
