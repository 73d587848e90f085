// SPDX-License-Identifier: EUPL-1.2
//! One process takes in, two work, on one PostgreSQL database and one RabbitMQ broker. Half-way a worker is killed and
//! does not come back, and the broker is killed and does. The ledger of the crash test has to balance. `SCALE` (300)
//! says how many applications.

use std::{
    env,
    process::Command,
    time::{Duration, Instant},
};

use kop_store::testkit::TestPostgres;
use kop_tests::{Error, Instance, Rabbitmq, wait_until};
use serde_json::Value;

use crate::crash::{Chance, configure, driver::Driver, ledger::Ledger, now, recorder::Recorder, say};

/// From the last answer until nothing is under way; a worker that died is noticed within seconds.
const SETTLE: Duration = Duration::from_secs(120);
/// More of it per application: an ordered lane sends one after another, and waits whenever its receiver errs.
const SETTLE_EACH: Duration = Duration::from_millis(200);

/// A submission as `kop messages show --json` shows it, for all at once.
const SHOWN: &str = r#"SELECT (json_build_object(
    'eingang', json_build_object('vendor_id', s.vendor_id, 'vorgangsnummer', s.vorgangsnummer, 'state', s.state,
        'submission_id', s.submission_id, 'received_at',
        to_char(timestamp 'epoch' + s.received_at * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
    'zustellungen', (SELECT coalesce(json_agg(d), '[]') FROM delivery d
        WHERE d.tenant = s.tenant AND d.submission_id = s.submission_id),
    'versuche', (SELECT coalesce(json_agg(json_build_object('delivery_id', a.delivery_id, 'kind', a.kind,
            'outcome', a.outcome, 'problem', a.problem::json, 'started_at',
            to_char(timestamp 'epoch' + a.started_at * interval '1 microsecond', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
            ORDER BY a.started_at), '[]')
        FROM delivery d JOIN attempt a ON a.tenant = d.tenant AND a.delivery_id = d.delivery_id
        WHERE d.tenant = s.tenant AND d.submission_id = s.submission_id),
    'klaerungsfaelle', (SELECT coalesce(json_agg(w), '[]') FROM work_item w
        WHERE w.tenant = s.tenant AND w.submission_id = s.submission_id)))::jsonb
    FROM submission s"#;

/// Submissions that wait and messages that are not with their receivers.
const OPEN: &str = "SELECT (SELECT count(*) FROM submission WHERE state = 'eingegangen')
    + (SELECT count(*) FROM message WHERE state = 'offen')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_lose_nothing_when_one_and_the_broker_die() -> Result<(), Error> {
    let count: usize = env::var("SCALE").ok().map(|text| text.parse()).transpose()?.unwrap_or(300);
    let Some(postgres) = TestPostgres::start() else { return Ok(()) };
    let Some(mut broker) = Rabbitmq::start()? else { return Ok(()) };
    let database = postgres.database("kop");
    let mut chance = Chance(u64::try_from(now())?);
    let recorder = Recorder::start(chance.next()).await?;
    let instance = Instance::of_example("musterstadt")?.with_database(&database, Some(&broker.address()))?;
    configure(&instance, &recorder)?;
    let intake = instance.serve_as("eingang", &[]).await?;
    let mut first = instance.serve_as("arbeit", &[]).await?;
    let second = instance.serve_as("arbeit", &[]).await?;
    let begun = Instant::now();
    let driver = Driver::start(intake.base(), count, 40, chance.next(), None)?;
    while driver.answered() < count / 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    first.kill()?;
    broker.kill()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::task::block_in_place(|| broker.up())?;
    let answers = driver.all().await?;
    let answered = begun.elapsed();
    let patience = SETTLE + SETTLE_EACH * u32::try_from(count)?;
    wait_until("Nichts ist mehr unterwegs", patience, || {
        Ok((ask(&database, OPEN)?.trim() == "0").then_some(()))
    })
    .await
    .map_err(|error| {
        format!(
            "{error}\n{}",
            second.printed().chars().rev().take(3000).collect::<String>().chars().rev().collect::<String>()
        )
    })?;
    let settled = begun.elapsed();
    let shown =
        ask(&database, SHOWN)?.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let mut ledger = Ledger::default();
    ledger.balance(&instance, &answers, &shown, &recorder.requests())?;
    let summary = format!(
        "{count} Eingänge in {:.1} s, zur Ruhe nach {:.1} s; {} Sendungen: {} zugestellt, {} Klärungsfälle, {} verloren; \
         {} Versuche, {} erneut gesendet, davon {} nach unklarem Ausgang doppelt angekommen, {} unterbrochen",
        answered.as_secs_f64(),
        settled.as_secs_f64(),
        ledger.expected,
        ledger.delivered,
        ledger.work_items,
        ledger.lost,
        ledger.attempts,
        ledger.resent,
        ledger.doubled,
        ledger.interrupted,
    );
    say(&summary);
    assert!(ledger.wrong.is_empty(), "{summary}\n{}", ledger.wrong.join("\n"));
    assert_eq!(answers.len(), count);
    // Whoever looks first, the intake included.
    let freed = [&intake, &second].iter().any(|one| one.printed().contains("its leases are freed"));
    assert!(freed, "others take over what the first had");
    wait_until("Die Weckrufe kommen wieder", Duration::from_secs(60), || {
        Ok(second.printed().contains("Wake-ups over RabbitMQ again").then_some(()))
    })
    .await
}

/// One question to the database, by a program of its maker.
pub(crate) fn ask(database: &str, sql: &str) -> Result<String, Error> {
    let output = Command::new("psql").args(["-X", "-q", "-A", "-t", "-d", database, "-c", sql]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
