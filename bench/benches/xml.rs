// SPDX-License-Identifier: EUPL-1.2
//! What schemas cost: validation beside libxml2's own on one and two threads, a document of 16 MB beside `xmllint
//! --stream`, an official package's import, `kop check` on a hundred mappings, and lineage.
//!
//! `cargo bench -p kop-bench --bench xml` prints the table. Figures of different runs are not to be compared, ratios
//! within one run are. What needs ../shared or the built program says so when it is missing.

#![allow(clippy::print_stdout, clippy::cast_precision_loss)] // the table is the point, and it is rounded

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use kop_bench::{
    Error,
    instance::{Instance, copy_folder, workspace},
    libxml2,
    measure::{Subject, Times, repeat, take_long_turns, take_turns},
    prepared::Prepared,
    program,
};
use kop_core::Diagnostic;
use kop_flow::lineage;
use kop_xml::{MessageSchema, SchemaStore, Written};

/// Size of the large document, in bytes.
const LARGE: usize = 16 << 20;
/// Rounds of what takes long.
const LONG_ROUNDS: usize = 9;
/// Mappings of the tenant that is checked.
const MAPPINGS: usize = 100;
/// Tells a copy of this program to judge the large document and to say what memory it took: `own` or `foreign`.
const JUDGE: &str = "KOP_BENCH_JUDGE";
const MESSAGE: (&str, &str, &str) = ("xdomea", "3.1.0", "FVDaten.SGOAblegen.0605");

fn main() -> Result<(), Error> {
    if let Some(kind) = env::var_os(JUDGE) {
        return judge_and_tell(kind == "foreign");
    }
    let root = tempfile::tempdir()?;
    let instance = Instance::load(root.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    throughput(&Prepared::new(&instance, &runtime, "bauantrag-xbau", "bauaufsicht")?, root.path())?;
    large(&Prepared::new(&instance, &runtime, "vorgang-xdomea-ablegen", "dms")?, root.path())?;
    import()?;
    check(root.path())?;
    trace(&instance, &runtime)
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn said(problems: Vec<Diagnostic>) -> Error {
    format!("{problems:#?}").into()
}

fn show(row: &Times, unit: f64, name: &str) {
    let (median, least, most) = (row.median / unit, row.least / unit, row.most / unit);
    println!("  {:<44} {median:>9.1} {name}   ({least:.1} – {most:.1})", row.name);
}

fn mark(good: bool, text: &str) {
    println!("{} {text}", if good { "✓" } else { "✗" });
}

/// The Bauantrag (12 KB) again and again, on one thread and on two.
fn throughput(message: &Prepared, folder: &Path) -> Result<(), Error> {
    let Prepared { schema, written, entry, .. } = message;
    println!("Prüfen, XBau 0200, {} Bytes:", written.bytes.len());
    for threads in [1, 2] {
        let times = take_turns(vec![
            (format!("KOP, {threads} Thread(s)"), on_threads(threads, schema, written)),
            (
                format!("libxml2 allein, {threads} Thread(s)"),
                libxml2::bare(folder, entry, &written.bytes, threads)?,
            ),
        ])?;
        for row in &times {
            show(row, 1.0, "µs");
        }
        let rate = |row: &Times| f64::from(threads) * 1e6 / row.median;
        let (ours, theirs) = (rate(&times[0]), rate(&times[1]));
        let ratio = ours / theirs;
        mark(
            ratio >= 0.9,
            &format!("{ours:.0} gegen {theirs:.0} Nachrichten/s: {ratio:.2} × libxml2; Ziel ≥ 0.90"),
        );
    }
    Ok(())
}

/// A turn is over when each thread has validated as many times.
fn on_threads<'a>(threads: u32, schema: &'a Arc<MessageSchema>, written: &'a Written) -> Subject<'a> {
    let work = |times: u32| -> Result<(), Error> {
        for _ in 0..times {
            schema.validate(&written.bytes, Some(&written.paths)).map_err(said)?;
        }
        Ok(())
    };
    Box::new(move |times| {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(move || work(times))).collect();
            work(times)?;
            others.into_iter().try_for_each(|other| other.join().map_err(|_| "ein Thread brach ab")?)
        })?;
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    })
}

/// A document of 16 MB, made of many documents of a case file, as a stream.
fn large(message: &Prepared, folder: &Path) -> Result<(), Error> {
    let (small, file) = (folder.join("klein.xml"), folder.join("gross.xml"));
    fs::write(&small, &message.written.bytes)?;
    let written = enlarge(message)?;
    fs::write(&file, &written.bytes)?;
    let megabytes = written.bytes.len() as f64 / f64::from(1 << 20);
    println!("\nxdomea 0605, {megabytes:.1} MB, {} Elemente, als Strom:", written.paths.len());
    drop(written);
    let schema = &message.schema;
    let stream = |foreign: bool| -> Subject<'_> {
        let file = &file;
        repeat(move || schema.validate_stream(File::open(file)?, foreign).map_err(said))
    };
    let times = take_long_turns(
        vec![
            ("KOP, selbst geschrieben".to_owned(), stream(false)),
            ("KOP, fremd".to_owned(), stream(true)),
            ("xmllint --stream --schema".to_owned(), xmllint(&message.entry, &file)),
            ("xmllint, kleines Dokument (Start)".to_owned(), xmllint(&message.entry, &small)),
        ],
        LONG_ROUNDS,
    )?;
    for row in &times {
        show(row, 1e3, "ms");
    }
    let theirs = times[2].median - times[3].median;
    for (row, target) in [(&times[0], 1.3), (&times[1], 1.8)] {
        let ratio = row.median / theirs;
        let text = format!("{}: {ratio:.2} × xmllint ohne dessen Start; Ziel ≤ {target:.2}", row.name);
        mark(ratio <= target, &text);
    }
    for (kind, name) in [("own", times[0].name.as_str()), ("foreign", times[1].name.as_str())] {
        let answer = Command::new(env::current_exe()?)
            .env(JUDGE, kind)
            .args([&small, &file])
            .stderr(Stdio::inherit())
            .output()?;
        let kib: f64 = String::from_utf8(answer.stdout)?.trim().parse()?;
        let megabytes = kib * 1.024 / 1000.0;
        mark(megabytes <= 20.0, &format!("{name}: {megabytes:.1} MB mehr Speicher; Ziel ≤ 20"));
    }
    Ok(())
}

/// The message with one of its documents repeated until it is large, written by the writer.
fn enlarge(message: &Prepared) -> Result<Written, Error> {
    let xml = std::str::from_utf8(&message.written.bytes)?;
    let (open, close) = ("<xdomea:Dokument>", "</xdomea:Dokument>");
    let begin = xml.find(open).ok_or("kein Dokument")?;
    let end = xml[begin..].find(close).ok_or("kein Dokument")? + begin + close.len();
    let times = LARGE.saturating_sub(xml.len()) / (end - begin) + 1;
    let many = format!("{}{}{}", &xml[..begin], xml[begin..end].repeat(times), &xml[end..]);
    let tree = message.schema.read(many.as_bytes()).map_err(said)?;
    let written = message.schema.write(&tree, &message.options).map_err(said)?;
    message.schema.validate(&written.bytes, Some(&written.paths)).map_err(said)?;
    Ok(written)
}

fn xmllint<'a>(schema: &'a Path, file: &'a Path) -> Subject<'a> {
    repeat(move || {
        let judged = Command::new("xmllint")
            .args(["--noout", "--nonet", "--stream", "--schema"])
            .args([schema, file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if judged.success() { Ok(()) } else { Err("xmllint nimmt das Dokument nicht an".into()) }
    })
}

/// The child's part: judges the small document, then the large one, and prints by how many KiB the highest
/// resident memory grew meanwhile.
fn judge_and_tell(foreign: bool) -> Result<(), Error> {
    let mut files = env::args_os().skip(1).map(PathBuf::from);
    let (small, file) = (files.next().ok_or("Dokument")?, files.next().ok_or("Dokument")?);
    let (standard, version, root) = MESSAGE;
    let profiles = workspace().join("xoev-schemas");
    let schemas = SchemaStore::open(Path::new("gibt-es-nicht"), Some(&profiles)).map_err(said)?;
    let package = schemas.find(standard, version).ok_or("das Profil")?;
    let schema = package.message(root).map_err(|problem| said(vec![problem]))?;
    schema.validate_stream(File::open(small)?, foreign).map_err(said)?;
    // compiling the schema took more than it left: the highest memory starts again from now (proc(5), clear_refs)
    fs::write("/proc/self/clear_refs", "5")?;
    let before = highest_memory()?;
    schema.validate_stream(File::open(file)?, foreign).map_err(said)?;
    println!("{}", highest_memory()? - before);
    Ok(())
}

fn highest_memory() -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("VmHWM")?.parse()?)
}

/// What XBau 2.6 refers to, and it itself, below ../shared.
const LIBRARIES: [&str; 4] = [
    "xoev/xlink",
    "xoev/xoev-lib",
    "xoev/xplanung-5.4-gmlprofile",
    "xrepository-zips/xbau-kernmodul_1.3.0_xsd.zip",
];
const XBAU: &str = "xrepository-zips/xbau_2.6_xsd_xsd_dev.zip";

/// Import of the official XBau 2.6, its libraries being there.
fn import() -> Result<(), Error> {
    println!();
    let shared = env::var_os("KOP_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    if !shared.join(XBAU).is_file() {
        println!("Einlesen von XBau 2.6: ÜBERSPRUNGEN, ../shared fehlt");
        return Ok(());
    }
    let subject: Subject<'_> = Box::new(|_| {
        let folder = tempfile::tempdir()?;
        let store = SchemaStore::open(folder.path(), None).map_err(said)?;
        for library in LIBRARIES {
            store.import(&shared.join(library)).map_err(said)?;
        }
        let begin = Instant::now();
        store.import(&shared.join(XBAU)).map_err(said)?;
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    });
    let times = take_long_turns(vec![("Einlesen von XBau 2.6".to_owned(), subject)], 5)?;
    for row in &times {
        show(row, 1e3, "ms");
    }
    mark(times[0].median <= 2e6, "Einlesen von XBau 2.6; Ziel ≤ 2 s");
    Ok(())
}

/// The real `kop check` on a tenant with a hundred mappings of its own, each with a route.
fn check(root: &Path) -> Result<(), Error> {
    println!();
    let Some(kop) = program::built() else {
        println!("kop check: ÜBERSPRUNGEN, das Programm ist nicht gebaut (make bench baut es)");
        return Ok(());
    };
    let example = workspace().join("examples/musterstadt");
    let folder = root.join("examples/hundert");
    let tenant = folder.join("mandanten/musterstadt");
    fs::create_dir_all(&tenant)?;
    fs::copy(example.join("kop.toml"), folder.join("kop.toml"))?;
    let mut settings = fs::read_to_string(example.join("mandanten/musterstadt/mandant.toml"))?;
    for number in 0..MAPPINGS {
        let name = format!("bauantrag-{number}");
        copy_folder(&workspace().join("mappings/bauantrag-xbau"), &tenant.join("zuordnungen").join(&name))?;
        write!(
            settings,
            "\n[[route]]\nname = \"{name}\"\nwenn = {{ formular = [\"{name}\"] }}\n[[route.ziel]]\n\
             zuordnung = \"{name}\"\nempfaenger = [\"bauaufsicht\"]\n"
        )?;
    }
    fs::write(tenant.join("mandant.toml"), settings)?;
    let subject = repeat(|| {
        let checked = Command::new(&kop)
            .arg("--instanz")
            .arg(&folder)
            .args(["--json", "check"])
            .env("KOP_AFM_PASSWORT", "nur-zum-testen")
            .output()?;
        if !checked.status.success() {
            return Err(String::from_utf8_lossy(&checked.stdout).into_owned().into());
        }
        let answer: serde_json::Value = serde_json::from_slice(&checked.stdout)?;
        let mappings = answer["mandanten"][0]["zuordnungen"].as_u64().unwrap_or_default();
        if mappings >= MAPPINGS as u64 { Ok(()) } else { Err(format!("nur {mappings} Zuordnungen").into()) }
    });
    let times = take_long_turns(vec![(format!("kop check, {MAPPINGS} Zuordnungen"), subject)], 5)?;
    for row in &times {
        show(row, 1e3, "ms");
    }
    mark(times[0].median <= 2e6, "kop check; Ziel ≤ 2 s");
    Ok(())
}

/// Which field became which element of the example's Bauantrag.
fn trace(instance: &Instance, runtime: &tokio::runtime::Runtime) -> Result<(), Error> {
    println!();
    let message = Prepared::new(instance, runtime, "bauantrag-xbau", "bauaufsicht")?;
    let subject = repeat(|| {
        runtime.block_on(lineage::trace(
            &instance.host,
            &message.script,
            &message.input,
            &message.run,
            lineage::WHEN_ASKED,
        ));
        Ok(())
    });
    let name = format!("Herkunft, {} gelesene Felder", message.run.reads.len());
    let times = take_turns(vec![(name, subject)])?;
    for row in &times {
        show(row, 1e3, "ms");
    }
    mark(times[0].median <= 50e3, "Herkunft einer Nachricht; Ziel ≤ 50 ms");
    Ok(())
}
