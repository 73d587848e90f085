// SPDX-License-Identifier: EUPL-1.2
//! The real program under load, to HTTP and to folders, beside the floor; memory, a growing database, hot reload.
//!
//! `cargo bench -p kop-bench --bench load` prints the page that `docs/leistung.md` is; with `BENCH_WRITE=1` it writes it.
//! The argument `floor` measures only what stands beside the floor, a number only that rate. `BENCH_SECONDS` (8) per
//! rate, `BENCH_STORED` (1000000) applications at most, `BENCH_ROUNDS` (3) of everything that is measured as fast as it
//! goes, with `BENCH_COUNT` (4000) applications each.
//!
//! At its end a run deletes what it stored, and ext4 creates files more slowly for five minutes after many were
//! deleted: a second run has to wait that long, or it measures the first.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::cast_precision_loss)] // the table is the point

use std::{
    collections::HashMap,
    env,
    net::TcpListener,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use kop_bench::{
    Error,
    instance::{Instance, bauantrag, workspace},
    load::{
        Spread,
        floor::{Floor, turns_per_microsecond},
        fsync_median,
        generator::{Generator, Sent},
        program::{LoadInstance, Running},
        receiver::Receiver,
        report::{AtRate, Flood, Report, Stored},
        stored,
    },
    measure::{repeat, take_turns},
    prepared::Prepared,
    program,
};
use kop_connector_api::Inbox;
use kop_workshop::preview::Preview;

/// Connections of a flood.
const SENDERS: usize = 48;
/// Nobody waits longer for the last delivery.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "boden") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(Floor::of_arguments(&arguments[1..])?.run());
    }
    let Some(kop) = program::built() else {
        println!("ÜBERSPRUNGEN: das Programm ist nicht gebaut (make bench baut es)");
        return Ok(());
    };
    let short = arguments.first().is_some_and(|first| first == "floor");
    let only = arguments.first().and_then(|first| first.parse().ok());
    let root = tempfile::tempdir()?;
    let (load, fsync) = (load_average()?, fsync_median(root.path())?);
    let (mapping, message) = mapping_costs(root.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report =
        Report { machine: machine()?, mapping, message, fsync: [fsync, fsync], ..Report::default() };
    runtime.block_on(async {
        match only {
            Some(rate) => rates(&kop, root.path(), &mut report, &[rate], &[rate]).await,
            None => measure(&kop, root.path(), &mut report, short).await,
        }
    })?;
    report.fsync[1] = fsync_median(root.path())?;
    report.others = format!("{load} und {}", load_average()?);
    println!("{}", report.page());
    if env::var_os("BENCH_WRITE").is_some() && !short && only.is_none() {
        std::fs::write(workspace().join("docs/leistung.md"), report.page())?;
        std::fs::write(workspace().join("docs/leistung.svg"), report.plot())?;
    }
    Ok(())
}

async fn measure(kop: &Path, root: &Path, report: &mut Report, short: bool) -> Result<(), Error> {
    floods(kop, root, report, short).await?;
    if short {
        return Ok(());
    }
    rates(kop, root, report, &[100, 300, 600, 1000, 1500, 2000], &[100, 300, 600, 1000]).await?;
    report.reloads = reloads(kop, root).await?;
    report.stored = growing(kop, root).await?;
    Ok(())
}

fn setting(name: &str, otherwise: u32) -> Result<u32, Error> {
    Ok(env::var(name).ok().map(|text| text.parse()).transpose()?.unwrap_or(otherwise))
}

/// µs of reading, mapping, writing and validating one application, and the message's length.
fn mapping_costs(folder: &Path) -> Result<(f64, usize), Error> {
    let instance = Instance::load(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Prepared { script, input, whole, schema, options, written, .. } =
        Prepared::new(&instance, &runtime, "bauantrag-xbau", "bauaufsicht")?;
    let said = |problems: Vec<kop_core::Diagnostic>| -> Error { format!("{problems:#?}").into() };
    let (intake, adapter) = instance.ozg_cloud();
    let packed = instance.pack(&bauantrag())?;
    let times = take_turns(vec![(
        "alles".to_owned(),
        repeat(|| {
            let preview = Arc::new(Preview::default());
            runtime.block_on(intake.handle(packed.request()?, preview.clone() as Arc<dyn Inbox>));
            adapter.normalise(&preview.take().ok_or("der Antrag wurde nicht angenommen")?).map_err(said)?;
            instance.host.run_blocking(&script, input.clone()).map_err(said)?;
            schema.write(&whole, &options).map_err(said)?;
            schema.validate(&written.bytes, Some(&written.paths)).map_err(said)
        }),
    )])?;
    // The least: on a machine that others use too, the median is theirs as well.
    Ok((times[0].least, written.bytes.len()))
}

/// As fast as it goes: engine to HTTP, floor to HTTP, engine to folders, in turns.
async fn floods(kop: &Path, root: &Path, report: &mut Report, short: bool) -> Result<(), Error> {
    #[allow(clippy::cast_sign_loss, reason = "both factors are positive")]
    let turns = (turns_per_microsecond() * report.mapping) as u64;
    let mut http = Flood { name: "Engine, HTTP", rates: Vec::new() };
    let mut floor = Flood { name: "Boden, HTTP", rates: Vec::new() };
    let mut folders = Flood { name: "Engine, Ordner", rates: Vec::new() };
    let count = setting("BENCH_COUNT", 4000)? as usize;
    for round in 0..setting("BENCH_ROUNDS", 3)? {
        eprintln!("so schnell es geht, Runde {}", round + 1);
        let receiver = Receiver::start().await?;
        let instance = LoadInstance::new(root, Some(receiver.address))?;
        let server = instance.serve(kop)?;
        http.rates.push(flood(&server, count, || receiver.count()).await?);
        report.memory = report.memory.max(server.memory()?);
        drop(server);

        let receiver = Receiver::start().await?;
        let folder = tempfile::tempdir_in(root)?.keep();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (data, message) = (folder.join("daten"), report.message);
        let boden = Floor { data, address, receiver: receiver.address, turns, message };
        let server = boden.start(&folder)?;
        floor.rates.push(flood(&server, count, || receiver.count()).await?);
        drop(server);

        if !short {
            let instance = LoadInstance::new(root, None)?;
            let server = instance.serve(kop)?;
            folders.rates.push(flood(&server, count / 2, || instance.finished()).await?);
            report.memory = report.memory.max(server.memory()?);
        }
    }
    report.floods = vec![http, floor];
    if !short {
        report.floods.push(folders);
    }
    Ok(())
}

/// Delivered applications per second, from the first sent to the last delivered.
async fn flood(server: &Running, count: usize, delivered: impl Fn() -> usize) -> Result<f64, Error> {
    // The first few compile schema and script.
    Generator::new(server.address, 900_000)?.flood(50, 8).await;
    wait_for(&delivered, 50, server).await?;
    let begin = Instant::now();
    let sent = Generator::new(server.address, 0)?.flood(count, SENDERS).await;
    let taken = sent.iter().filter(|one| one.number.is_some()).count();
    if taken < count {
        eprintln!("{} von {count} Anträgen wurden nicht angenommen", count - taken);
    }
    wait_for(&delivered, 50 + taken, server).await?;
    Ok(taken as f64 / begin.elapsed().as_secs_f64())
}

async fn wait_for(delivered: &impl Fn() -> usize, count: usize, server: &Running) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    while delivered() < count {
        if Instant::now() > until {
            let printed = server.printed();
            let end = printed.len().saturating_sub(2000);
            return Err(format!(
                "{} von {count} zugestellt: {}",
                delivered(),
                printed.get(end..).unwrap_or("")
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn rates(
    kop: &Path,
    root: &Path,
    report: &mut Report,
    to_http: &[u32],
    to_folders: &[u32],
) -> Result<(), Error> {
    let length = Duration::from_secs(setting("BENCH_SECONDS", 8)?.into());
    for &rate in to_http {
        eprintln!("{rate}/s nach HTTP");
        let receiver = Receiver::start().await?;
        let instance = LoadInstance::new(root, Some(receiver.address))?;
        let server = instance.serve(kop)?;
        Generator::new(server.address, 900_000)?.flood(50, 8).await;
        wait_for(&|| receiver.count(), 50, &server).await?;
        let sent = Generator::new(server.address, 0)?.at_rate(rate, length).await;
        let taken = sent.iter().filter(|one| one.number.is_some()).count();
        let _late_ones_count_as_failed = wait_for(&|| receiver.count(), 50 + taken, &server).await;
        let memory = server.memory()?;
        report.memory = report.memory.max(memory);
        let arrived = receiver.arrived();
        report.rates.push(at_rate("HTTP", rate, &sent, memory, |one| {
            Some(arrived.get(one.number.as_ref()?)?.saturating_duration_since(one.due))
        }));
    }
    for &rate in to_folders {
        eprintln!("{rate}/s in Ordner");
        let instance = LoadInstance::new(root, None)?;
        let server = instance.serve(kop)?;
        Generator::new(server.address, 900_000)?.flood(50, 8).await;
        wait_for(&|| instance.finished(), 50, &server).await?;
        let (wall, moment) = (wall_clock(), Instant::now());
        let sent = Generator::new(server.address, 0)?.at_rate(rate, length).await;
        let taken = sent.iter().filter(|one| one.number.is_some()).count();
        let _late_ones_count_as_failed = wait_for(&|| instance.finished(), 50 + taken, &server).await;
        let memory = server.memory()?;
        report.memory = report.memory.max(memory);
        let finished: HashMap<String, SystemTime> = instance.finished_at()?.into_iter().collect();
        report.rates.push(at_rate("Ordner", rate, &sent, memory, |one| {
            let due = wall + one.due.saturating_duration_since(moment);
            finished.get(one.number.as_ref()?)?.duration_since(due).ok()
        }));
    }
    Ok(())
}

fn at_rate(
    to: &'static str,
    rate: u32,
    sent: &[Sent],
    memory: f64,
    delivered: impl Fn(&Sent) -> Option<Duration>,
) -> AtRate {
    let answered = sent.iter().filter(|one| one.number.is_some()).map(|one| one.answered).collect();
    let delivered: Vec<Duration> = sent.iter().filter_map(delivered).collect();
    let failed = sent.len() - delivered.len();
    let three = |times| {
        let spread = Spread::of(times);
        [spread.at(0.5), spread.at(0.99), spread.at(0.999)]
    };
    AtRate { to, rate, failed, answered: three(answered), delivered: three(delivered), memory }
}

/// Configuration and mapping change ten times while applications come in.
async fn reloads(kop: &Path, root: &Path) -> Result<(Vec<f64>, usize), Error> {
    eprintln!("neue Zuordnungen im Betrieb");
    let receiver = Receiver::start().await?;
    let instance = LoadInstance::new(root, Some(receiver.address))?;
    let server = instance.serve(kop)?;
    let generator = Generator::new(server.address, 0)?;
    let load = tokio::spawn(async move { generator.at_rate(100, Duration::from_secs(6)).await });
    let mut times = Vec::new();
    for turn in 0..10 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        instance.touch(&format!("Fassung {turn}"))?;
        times.push(server.reload()?.as_secs_f64() * 1e3);
    }
    let failed = load.await?.iter().filter(|one| one.number.is_none()).count();
    Ok((times, failed))
}

/// What an application costs, and how long a search takes, while more and more is stored.
async fn growing(kop: &Path, root: &Path) -> Result<Vec<Stored>, Error> {
    let most = setting("BENCH_STORED", 1_000_000)?;
    let receiver = Receiver::start().await?;
    let instance = LoadInstance::new(root, Some(receiver.address))?;
    let mut number = 0;
    let mut there = 1;
    let mut rows = Vec::new();
    let server = instance.serve(kop)?;
    Generator::new(server.address, number)?.flood(1, 1).await;
    wait_for(&|| receiver.count(), 1, &server).await?;
    // The end of the attempt is recorded after the receiver's answer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(server);
    for count in [1000, 10_000, 100_000, 1_000_000].into_iter().filter(|count| *count <= most) {
        eprintln!("{count} gespeichert");
        stored::fill(&instance.data(), there, count)?;
        there = count;
        let server = instance.serve(kop)?;
        let mut costs = Vec::new();
        for _ in 0..setting("BENCH_ROUNDS", 3)? {
            let before = receiver.count();
            let begin = Instant::now();
            number += 1000;
            let sent = Generator::new(server.address, number)?.flood(800, SENDERS).await;
            let taken = sent.iter().filter(|one| one.number.is_some()).count();
            wait_for(&|| receiver.count(), before + taken, &server).await?;
            costs.push(begin.elapsed().as_secs_f64() * 1e6 / taken.max(1) as f64);
        }
        costs.sort_by(f64::total_cmp);
        let (search, p95) = stored::search(&instance.data(), count).await?;
        rows.push(Stored { count, cost: costs[costs.len() / 2], search, p95 });
    }
    Ok(rows)
}

fn machine() -> Result<String, Error> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{}, {cores} Kerne, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim()))
}

fn load_average() -> Result<String, Error> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

#[allow(clippy::disallowed_methods, reason = "files know the wall clock only")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
