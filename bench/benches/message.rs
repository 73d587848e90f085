// SPDX-License-Identifier: EUPL-1.2
//! µs per message, step by step, beside what libxml2 and Rhai take by themselves for the same bytes and tree.
//!
//! `cargo bench -p kop-bench` prints the table. The message is the example's Bauantrag as XBau 0200 (12 KB), checked
//! against the shipped profile. Figures of different runs are not to be compared, ratios within one run are.

#![allow(clippy::print_stdout, clippy::cast_precision_loss)] // the table is the point, and it is rounded

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use kop_bench::{
    Error,
    instance::{Instance, bauantrag},
    libxml2,
    measure::{Times, repeat, take_turns},
    prepared::Prepared,
    program, rhai,
};
use kop_connector_api::Inbox;
use kop_core::TenantId;
use kop_flow::{Reception, Worker, WorkerOptions};
use kop_store::{DeliveryState, SubmissionFilter};
use kop_workshop::preview::Preview;
use tokio_util::sync::CancellationToken;

/// Applications handed in for the end-to-end figure, and how many at a time.
const APPLICATIONS: u32 = 400;
const AT_A_TIME: u32 = 16;

fn main() -> Result<(), Error> {
    let root = tempfile::tempdir()?;
    let instance = Instance::load(root.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    steps(&instance, &runtime, root.path())?;
    end_to_end(&instance, &runtime)?;
    whole_program(&instance)
}

fn steps(
    instance: &Instance,
    runtime: &tokio::runtime::Runtime,
    folder: &std::path::Path,
) -> Result<(), Error> {
    let Prepared { script, input, run, whole, schema, entry, options, written, .. } =
        Prepared::new(instance, runtime, "bauantrag-xbau", "bauaufsicht")?;
    let said = |problems: Vec<kop_core::Diagnostic>| -> Error { format!("{problems:#?}").into() };
    let folder_of_script = instance.mapping("bauantrag-xbau")?.dir.clone();

    let (intake, adapter) = instance.ozg_cloud();
    let packed = instance.pack(&bauantrag())?;
    let subjects = vec![
        (
            "parse: multipart → Ablageformat".to_owned(),
            repeat(|| {
                let preview = Arc::new(Preview::default());
                let request = packed.request()?;
                runtime.block_on(intake.handle(request, preview.clone() as Arc<dyn Inbox>));
                let taken = preview.take().ok_or("der Antrag wurde nicht angenommen")?;
                adapter.normalise(&taken).map_err(said)?;
                Ok(())
            }),
        ),
        (
            "map".to_owned(),
            repeat(|| {
                instance.host.run_blocking(&script, input.clone()).map_err(said)?;
                Ok(())
            }),
        ),
        (
            "write".to_owned(),
            repeat(|| {
                schema.write(&whole, &options).map_err(said)?;
                Ok(())
            }),
        ),
        (
            "validate".to_owned(),
            repeat(|| schema.validate(&written.bytes, Some(&written.paths)).map_err(said)),
        ),
        ("bare libxml2: parse + validate".to_owned(), libxml2::bare(folder, &entry, &written.bytes, 1)?),
        (
            "bare Rhai: the same script".to_owned(),
            rhai::same_script(&folder_of_script, &input.eingang, &input.parameters)?,
        ),
    ];
    println!(
        "Bauantrag → XBau 0200: {} Bytes, {} Lesezugriffe des Skripts\n",
        written.bytes.len(),
        run.reads.len()
    );
    let times = take_turns(subjects)?;
    for row in &times {
        show(row);
    }
    let median = |n: usize| times[n].median;
    let ours = median(1) + median(2) + median(3);
    let bare = median(4) + median(5);
    let kilobytes = written.bytes.len() as f64 / 1000.0;
    println!();
    ratio("map + write + validate", ours, "bare libxml2 + bare Rhai", bare, 1.5);
    ratio("write", median(2), "5 µs + 5 µs/KB", 5.0 + 5.0 * kilobytes, 1.0);
    ratio("validate", median(3), "bare libxml2", median(4), 1.0 / 0.9);
    Ok(())
}

fn show(row: &Times) {
    println!("{:<36} {:>9.1} µs   ({:.1} – {:.1})", row.name, row.median, row.least, row.most);
}

fn ratio(name: &str, ours: f64, other: &str, theirs: f64, target: f64) {
    let mark = if ours <= theirs * target { "✓" } else { "✗" };
    println!(
        "{mark} {name}: {ours:.1} µs = {:.2} × {other} ({theirs:.1} µs); Ziel ≤ {target:.2}",
        ours / theirs
    );
}

/// Everything but the network: intake, durable storage, two messages, two deliveries into folders.
fn end_to_end(instance: &Instance, runtime: &tokio::runtime::Runtime) -> Result<(), Error> {
    let engine = instance.engine()?;
    let tenant: TenantId = "musterstadt".parse().map_err(|_| "Mandant")?;
    let text = std::fs::read_to_string(bauantrag())?;
    let folder = tempfile::tempdir()?;
    let files: Vec<PathBuf> = (0..APPLICATIONS)
        .map(|n| {
            // Each application is another one: another transaction, another content.
            let own = text.replace("c1f0b7d4-52c8", &format!("{n:08x}-52c8"));
            let path = folder.path().join(format!("{n}.json"));
            std::fs::write(&path, own).map(|()| path)
        })
        .collect::<Result<_, _>>()?;
    let (accepted, delivered) = runtime.block_on(async {
        let stop = CancellationToken::new();
        let next = AtomicU32::new(0);
        let begin = Instant::now();
        let hand_in = || async {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(n as usize) else { return Ok::<(), Error>(()) };
                let request = instance.pack(file)?.request()?;
                let inbox = Arc::new(Reception(engine.clone())) as Arc<dyn Inbox>;
                let answer = instance.ozg_cloud().0.handle(request, inbox).await;
                if !answer.status().is_success() {
                    return Err(String::from_utf8_lossy(answer.body()).into_owned().into());
                }
            }
        };
        let worker = tokio::spawn(Worker::new(engine.clone(), WorkerOptions::default()).run(stop.clone()));
        let senders = (0..AT_A_TIME).map(|_| hand_in());
        for sent in join_all(senders).await {
            sent?;
        }
        let accepted = begin.elapsed();
        loop {
            let mut open = 0;
            let page = engine
                .store()
                .submissions(SubmissionFilter {
                    tenant: Some(tenant.clone()),
                    limit: 1000,
                    ..Default::default()
                })
                .await
                .map_err(|error| format!("{error:?}"))?;
            for row in &page.items {
                let detail = engine.store().submission(&tenant, row.submission_id).await;
                let detail = detail.map_err(|error| format!("{error:?}"))?;
                let done = detail.deliveries.len() == 2
                    && detail.deliveries.iter().all(|one| one.state == DeliveryState::Zugestellt);
                if !done {
                    open += 1;
                    break;
                }
            }
            if open == 0 {
                break;
            }
            if begin.elapsed() > Duration::from_secs(120) {
                return Err("nicht alles wurde zugestellt".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let delivered = begin.elapsed();
        stop.cancel();
        worker.await?;
        Ok::<_, Error>((accepted, delivered))
    })?;
    let per = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(APPLICATIONS);
    println!(
        "\nEnd to end, {APPLICATIONS} Bauanträge, {AT_A_TIME} zugleich, SQLite FULL, je zwei Sendungen mit Dateien:\n\
         {:<36} {:>9.1} µs je Antrag\n{:<36} {:>9.1} µs je Antrag",
        "store: bis zur Antwort",
        per(accepted),
        "end to end: bis beide zugestellt sind",
        per(delivered)
    );
    Ok(())
}

/// All of them at once on this task.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

fn whole_program(instance: &Instance) -> Result<(), Error> {
    let Some(kop) = program::built() else {
        println!("\nStart und Ruhe: ÜBERSPRUNGEN, das Programm ist nicht gebaut (make bench baut es)");
        return Ok(());
    };
    let folder = instance.folder.join("daten");
    std::fs::remove_dir_all(&folder)?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(program::start(&kop, &instance.folder)?);
    }
    starts.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    println!();
    let (start, idle) =
        (starts[2].milliseconds, starts.iter().map(|one| one.idle_kib).max().unwrap_or_default());
    println!(
        "{} Start bis zur ersten Antwort: {start:.0} ms (Ziel ≤ 200)",
        if start <= 200.0 { "✓" } else { "✗" }
    );
    println!(
        "{} Speicher in Ruhe: {:.1} MB (Ziel ≤ 50)",
        if idle <= 48_828 { "✓" } else { "✗" },
        idle as f64 * 1.024 / 1000.0
    );
    Ok(())
}
