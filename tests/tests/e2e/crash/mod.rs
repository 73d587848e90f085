// SPDX-License-Identifier: EUPL-1.2
//! The process is killed at random moments while applications come in and receivers misbehave. Afterwards a ledger
//! per submission and receiver has to balance: accepted = delivered + Klärungsfälle, lost 0. `CRASHES` (10) says how
//! often, `CRASH_SEED` repeats a choice of moments. With `KOP_BIN_MUTANT`, a build with the feature `mutants`, the
//! ledger has to find what those builds do wrong.

mod driver;
mod ledger;
mod recorder;

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kop_tests::{Error, Instance};
use serde_json::Value;

use self::{driver::Driver, ledger::Ledger, recorder::Recorder};
use crate::CONFIG;

/// HTTP receiver that recognises what it has.
const REPEATABLE: &str = "bauaufsicht";
/// HTTP receiver that would take a second sending for a new one.
const ONCE: &str = "strassenbau";
/// Folder receivers.
const FOLDERS: [&str; 2] = ["strassenverkehr", "dms"];

/// Applications that are sent per crash, at most.
const PER_CRASH: usize = 16;
/// Applications in all, at most: `kop messages list` shows no more than 1000.
const MOST: usize = 900;
/// From the last restart until nothing is under way.
const SETTLE: Duration = Duration::from_secs(60);

/// A generator of numbers that gives the same ones for the same seed (splitmix64).
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What one run has shown.
struct Run {
    ledger: Ledger,
    summary: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_sent_twice_unasked() -> Result<(), Error> {
    let crashes = env::var("CRASHES").ok().map(|text| text.parse()).transpose()?.unwrap_or(10);
    let run = crash(None, crashes).await?;
    say(&run.summary);
    assert!(run.ledger.wrong.is_empty(), "{}\n{}", run.summary, run.ledger.wrong.join("\n"));
    assert!(run.ledger.delivered > 0 && run.ledger.resent > 0, "the test tried too little: {}", run.summary);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_an_answer_before_the_commit() -> Result<(), Error> {
    goes_red("ack-early", 8, &["verloren", "andere Vorgangsnummer"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_finds_a_retry_that_maps_anew() -> Result<(), Error> {
    goes_red("remap-on-retry", 3, &["andere Bytes"]).await
}

async fn goes_red(mutant: &'static str, crashes: usize, expected: &[&str]) -> Result<(), Error> {
    let Some(binary) = env::var_os("KOP_BIN_MUTANT").map(PathBuf::from) else {
        say("ÜBERSPRUNGEN: KOP_BIN_MUTANT nennt kein Programm; make crash-test setzt es");
        return Ok(());
    };
    let run = crash(Some((binary, mutant)), crashes).await?;
    say(&format!("KOP_MUTANT={mutant}: {}\n  {}", run.summary, run.ledger.wrong.join("\n  ")));
    let found = run.ledger.wrong.iter().any(|line| expected.iter().any(|word| line.contains(word)));
    assert!(found, "KOP_MUTANT={mutant} blieb unentdeckt: {}", run.summary);
    Ok(())
}

async fn crash(mutant: Option<(PathBuf, &'static str)>, crashes: usize) -> Result<Run, Error> {
    let seed = match env::var("CRASH_SEED") {
        Ok(text) => text.parse()?,
        Err(_) => u64::try_from(now())?,
    };
    say(&format!("CRASH_SEED={seed} CRASHES={crashes}"));
    let begun = Instant::now();
    let mut chance = Chance(seed);
    let recorder = Recorder::start(chance.next()).await?;
    let (instance, environment) = match mutant {
        Some((binary, name)) => {
            (Instance::of_example("musterstadt")?.with_binary(binary), vec![("KOP_MUTANT", name)])
        }
        None => (Instance::of_example("musterstadt")?, Vec::new()),
    };
    configure(&instance, &recorder)?;

    let mut server = instance.serve_with(&environment).await?;
    let driver = Driver::start(server.base(), (crashes * PER_CRASH).min(MOST), chance.next())?;
    for _ in 0..crashes {
        tokio::time::sleep(Duration::from_millis(100 + chance.below(1400))).await;
        if chance.below(2) == 0 {
            // The worst moment: somebody just went away with an answer.
            driver.next_answer(Duration::from_millis(500)).await;
        }
        server.kill()?;
        server = instance.serve_with(&environment).await?;
        driver.now_at(server.base());
    }
    let restarted = Instant::now();
    let answers = driver.end().await?;
    let settled = settled(&instance).await?;
    let settling = restarted.elapsed();
    let shown = details(&instance)?;
    server.kill()?;
    let mut ledger = Ledger::default();
    if !settled {
        ledger.wrong.push(format!("nach {SETTLE:?} ist noch etwas unterwegs"));
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

/// The Bauantrag goes to four receivers: two over HTTP, two into folders; failures are tried again soon.
fn configure(instance: &Instance, recorder: &Recorder) -> Result<(), Error> {
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
        for (receiver, repeatable) in [(REPEATABLE, true), (ONCE, false)] {
            text = text.replace(
                &format!("art = \"ordner\"\npfad = \"ausgang/{receiver}\""),
                &format!(
                    "art = \"http\"\nurl = \"{}/{receiver}\"\nwiederholbar = {repeatable}\n\
                     zeitlimit_sekunden = 1\nverbindung_sekunden = 1\n\
                     [empfaenger.{receiver}.wiederholung]\n{again}\n\
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
async fn settled(instance: &Instance) -> Result<bool, Error> {
    let until = Instant::now() + SETTLE;
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
fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_micros().cast_signed())
}

#[allow(clippy::print_stderr, reason = "seed and result are what the run is for")]
fn say(text: &str) {
    eprintln!("{text}");
}
