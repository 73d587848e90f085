// SPDX-License-Identifier: EUPL-1.2
//! Something that the program needs goes away for a while, and the program keeps running: senders are told to come
//! again (503, and nothing else), nothing that was answered is lost, nothing becomes a Klärungsfall by it, and
//! everything goes on by itself, without a restart.

use std::time::Duration;

use kop_tests::{Error, Instance, Server, wait_until};
use serde_json::Value;

use super::{
    SETTLE, details,
    driver::{Driver, Refusal},
    ledger::Ledger,
    recorder::Recorder,
    say, settled,
};

/// How long the next answers or refusals may take.
const SOON: Duration = Duration::from_secs(30);

/// What a Klärungsfall says that only our side is to blame for: the store, a run or an attempt without an end.
const OURS: [&str; 3] = ["KOP-S", "KOP-F014", "KOP-F018"];

/// The program under load.
pub(super) struct Outage {
    instance: Instance,
    recorder: Recorder,
    server: Server,
    pub(super) driver: Driver,
}

impl Outage {
    /// Starts the program on a configured instance, and up to `count` applications.
    pub(super) async fn begin(
        instance: Instance,
        recorder: Recorder,
        count: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let server = instance.serve().await?;
        let driver = Driver::start(server.base(), count, 600, seed, Some(Refusal::Unavailable))?;
        Ok(Self { instance, recorder, server, driver })
    }

    /// Waits until so many more have been answered.
    pub(super) async fn answers(&self, more: usize) -> Result<(), Error> {
        self.until("Antworten", more, || self.driver.counts().0).await
    }

    /// Waits until so many more were told to come again.
    pub(super) async fn refusals(&self, more: usize) -> Result<(), Error> {
        self.until("Ablehnungen", more, || self.driver.counts().1).await
    }

    async fn until(&self, what: &str, more: usize, count: impl Fn() -> usize) -> Result<(), Error> {
        let wanted = count() + more;
        let reached = wait_until(what, SOON, || Ok((count() >= wanted).then_some(()))).await;
        reached.map_err(|error| format!("{error}\n{}", tail(&self.server.printed())).into())
    }

    /// Whether the program says that it lives.
    pub(super) async fn lives(&self) -> Result<bool, Error> {
        let asked = self.server.client().get(format!("{}/healthz", self.server.base())).send().await?;
        Ok(asked.status().is_success())
    }

    /// Lets everything come to rest and balances the ledger.
    pub(super) async fn end(self, what: &str) -> Result<(), Error> {
        let Self { instance, recorder, mut server, driver } = self;
        let refused = driver.counts().1;
        let answers = driver.end().await?;
        let all_settled = settled(&instance, SETTLE).await?;
        let shown = details(&instance)?;
        let printed = tail(&server.printed());
        server.kill()?;
        let mut ledger = Ledger::default();
        if !all_settled {
            ledger.wrong.push("danach bleibt etwas unterwegs".to_owned());
        }
        ledger.balance(&instance, &answers, &shown, &recorder.requests())?;
        let ours = |one: &&Value| OURS.iter().any(|code| one["klaerungsfaelle"].to_string().contains(code));
        let to_clerks = shown.iter().filter(ours).count();
        let summary = format!(
            "{what}: {refused} Ablehnungen, {} Eingänge, {} Sendungen: {} zugestellt, {} Klärungsfälle ({to_clerks} \
             dadurch), {} verloren; {} Versuche, {} unterbrochen",
            answers.len(),
            ledger.expected,
            ledger.delivered,
            ledger.work_items,
            ledger.lost,
            ledger.attempts,
            ledger.interrupted,
        );
        say(&summary);
        assert!(ledger.wrong.is_empty(), "{summary}\n{}\n{printed}", ledger.wrong.join("\n"));
        assert_eq!((to_clerks, ledger.interrupted), (0, 0), "{summary}\n{printed}");
        assert!(refused > 0 && ledger.delivered > 0, "the test tried too little: {summary}");
        Ok(())
    }
}

/// The end of what was printed.
fn tail(printed: &str) -> String {
    let from = printed.lines().count().saturating_sub(60);
    printed.lines().skip(from).collect::<Vec<_>>().join("\n")
}
