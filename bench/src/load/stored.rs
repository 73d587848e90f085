// SPDX-License-Identifier: EUPL-1.2
//! A database that holds much already: one application that the program itself processed, copied row by row under other
//! ids and moments, and how long it takes to find something in it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kop_store::{DataFolder, NoKeys, Store, SubmissionFilter, SubmissionState};
use rusqlite::Connection;

use super::Spread;
use crate::Error;

const TABLES: [&str; 8] =
    ["vorgang", "submission", "submission_content", "message", "delivery", "attempt", "event", "blob_ref"];
/// Columns that hold a UUID of ours.
const IDS: [&str; 7] = [
    "vorgang_id",
    "submission_id",
    "message_id",
    "delivery_id",
    "attempt_id",
    "nachrichten_uuid",
    "work_item_id",
];
/// Rows in one transaction.
const STEP: u32 = 50_000;
/// How often each question is asked.
const TIMES: u32 = 60;

/// Adds copies of the only application until there are `count`; `there` of them are there. Stored documents are cut to
/// 1 KB, since nobody reads them here.
///
/// # Errors
/// When the database is in use or holds something else.
pub fn fill(data: &Path, there: u32, count: u32) -> Result<(), Error> {
    let conn = Connection::open(data.join("kop.db"))?;
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -100000;")?;
    for table in TABLES {
        // The newest, with all that belongs to it.
        let belongs = if table == "vorgang" { "vorgang_id" } else { "submission_id" };
        conn.execute_batch(&format!(
            "CREATE TEMP TABLE muster_{table} AS SELECT * FROM main.{table}
             WHERE {belongs} = (SELECT {belongs} FROM main.submission ORDER BY received_at DESC LIMIT 1);"
        ))?;
    }
    let mut from = there;
    while from < count {
        let to = (from + STEP).min(count);
        conn.execute_batch("BEGIN")?;
        for table in TABLES {
            let (names, values) = columns(&conn, table)?;
            conn.execute(
                &format!(
                    "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
                     INSERT INTO main.{table} ({names}) SELECT {values} FROM n, muster_{table}"
                ),
                (from, to),
            )?;
        }
        conn.execute_batch("COMMIT")?;
        from = to;
    }
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}

fn columns(conn: &Connection, table: &str) -> Result<(String, String), Error> {
    let mut asked = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = asked.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let values: Vec<String> = names
        .iter()
        .map(|name| match name.as_str() {
            // Copies are older than anything that comes: ids and moments begin earlier.
            id if IDS.contains(&id) => {
                format!("CASE WHEN {id} IS NULL THEN NULL ELSE '00000000' || substr({id}, 9, 16) || printf('%012x', i) END")
            }
            "vorgangsnummer" => "printf('ALT-2020-%07d', i)".to_owned(),
            "vendor_id" | "idem_key" => format!("{name} || i"),
            "document" => "substr(document, 1, 1000)".to_owned(),
            moment if moment == "at" || moment.ends_with("_at") => format!("{moment} - (i + 1) * 60000000"),
            other => other.to_owned(),
        })
        .collect();
    Ok((names.join(", "), values.join(", ")))
}

/// A search for the n-th time.
type Filter<'a> = Box<dyn Fn(u32) -> SubmissionFilter + 'a>;

/// The 95th percentile in ms of the slowest kind of search, and its name.
///
/// # Errors
/// When a search fails.
pub async fn search(data: &Path, count: u32) -> Result<(String, f64), Error> {
    let folder = DataFolder::attach(data, Arc::new(NoKeys))?;
    let all = || SubmissionFilter { tenant: "musterstadt".parse().ok(), ..SubmissionFilter::default() };
    let kinds: [(&str, Filter<'_>); 6] = [
        ("neueste", Box::new(|_| all())),
        (
            "Vorgangsnummer",
            Box::new(|n| SubmissionFilter { vorgangsnummer: Some(format!("ALT-2020-{n:07}")), ..all() }),
        ),
        ("Formular", Box::new(|_| SubmissionFilter { form_id: Some("bauantrag".into()), ..all() })),
        ("Zustand", Box::new(|_| SubmissionFilter { state: Some(SubmissionState::Verarbeitet), ..all() })),
        (
            "Zustand ohne Treffer",
            Box::new(|_| SubmissionFilter { state: Some(SubmissionState::Klaerung), ..all() }),
        ),
        ("Empfänger", Box::new(|_| SubmissionFilter { receiver: Some("bauaufsicht".into()), ..all() })),
    ];
    let mut worst = (String::new(), 0.0_f64);
    for (name, filter) in &kinds {
        let mut times: Vec<Duration> = Vec::new();
        for turn in 0..TIMES {
            let wanted = filter(1 + turn.wrapping_mul(7919) % count.max(2).saturating_sub(1));
            let begin = Instant::now();
            folder.store.submissions(wanted).await?;
            times.push(begin.elapsed());
        }
        let p95 = Spread::of(times).at(0.95);
        if p95 >= worst.1 {
            worst = ((*name).to_owned(), p95);
        }
    }
    Ok(worst)
}
