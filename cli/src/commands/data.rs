// SPDX-License-Identifier: EUPL-1.2
//! `kop data`: what happens to stored data over time: deletion by periods, files that nobody names, the log of it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use kop_core::{Zeitpunkt, diagnostic::Lang};
use kop_flow::retention::{Due, Pass, delete_due};
use kop_store::{Blocker, Collector, Phase, Removed, Resealed, Store, StoreError};

use crate::{
    commands::messages::{local, pick},
    data::Data,
    instance::Instance,
    machine::MachineClock,
    problems,
};

/// Space that is given back in one go.
const SPACE_AT_ONCE: u64 = 64 << 20;

/// What to do with stored data.
#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Löscht, was nach den Aufbewahrungsfristen fällig ist, und nennt, was noch entgegensteht
    #[command(
        after_help = "„kop serve“ tut dasselbe von selbst. Gelöscht wird erst der Inhalt, später der Rest.\n\n\
                            Beispiel:\n  kop data delete --probelauf"
    )]
    Delete {
        /// Nichts löschen, nur nennen, was ginge und was entgegensteht
        #[arg(long)]
        probelauf: bool,
        /// Nur dieser Mandant
        #[arg(long)]
        mandant: Option<String>,
    },
    /// Entfernt Dateien, die zu keinem Eingang gehören, etwa von abgelehnten Anfragen
    #[command(
        after_help = "„kop serve“ tut dasselbe nach und nach. Was in den letzten 24 Stunden ankam, bleibt."
    )]
    Collect {
        /// Dateien, die jünger sind, bleiben; mindestens eine Stunde
        #[arg(long, value_name = "STUNDEN", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=87_600))]
        schonfrist: u64,
    },
    /// Verschlüsselt mit dem ersten Schlüssel, was noch mit einem älteren oder gar nicht verschlüsselt ist
    #[command(
        after_help = "Danach darf der ältere Schlüssel aus der mandant.toml entfernt werden. Das Programm kann \
                            dabei laufen.\n\nBeispiel:\n  kop data reseal --mandant musterstadt"
    )]
    Reseal {
        /// Nur dieser Mandant
        #[arg(long)]
        mandant: Option<String>,
    },
    /// Zeigt das Löschprotokoll eines Mandanten, die neuesten Löschungen zuerst
    Deletions {
        /// Der Mandant
        mandant: String,
        /// Höchstens so viele
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        anzahl: u32,
    },
}

/// Runs one of the commands.
pub(crate) fn run(
    command: &DataCommand,
    folder: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let instance = match Instance::load(folder) {
        Ok(instance) => instance,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = kop_core::Clock::now(&MachineClock);
    let data = match runtime.block_on(Data::attach(&instance.config, instance.keys.clone())) {
        Ok(Some(data)) => data,
        Ok(None) => {
            if json {
                writeln!(out, "{{}}")?;
            }
            writeln!(io::stderr(), "{}", pick(lang, "Noch nichts eingegangen.", "Nothing has come in yet."))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let done = runtime.block_on(async {
        match command {
            DataCommand::Delete { probelauf, mandant } => {
                delete(&instance, &data, *probelauf, mandant.as_deref(), now)
                    .await
                    .map(|report| print_deleted(&report, *probelauf, lang, json, out))
            }
            DataCommand::Collect { schonfrist } => {
                let grace = Duration::from_secs(schonfrist * 3600);
                collect(&data, grace, now)
                    .await
                    .map(|(removed, space)| print_collected(removed, space, lang, json, out))
            }
            DataCommand::Reseal { mandant } => reseal(&instance, &data, mandant.as_deref())
                .await
                .map(|(rows, files)| print_resealed(rows, files, lang, json, out)),
            DataCommand::Deletions { mandant, anzahl } => {
                let Ok(tenant) = mandant.parse() else {
                    return Ok(Ok(ExitCode::from(2)));
                };
                data.store.deletions(&tenant, *anzahl).await.map(|log| {
                    if json {
                        writeln!(out, "{:#}", serde_json::json!(log))?;
                    } else {
                        for line in log {
                            let (what, id) = (what(line.phase, lang), line.submission_id);
                            writeln!(out, "{}  {what:<9}  {id}  {} Tage", local(line.at), line.days)?;
                        }
                    }
                    Ok(ExitCode::SUCCESS)
                })
            }
        }
    });
    match done {
        Ok(printed) => printed,
        Err(error) => problems::print(&[error.diagnostic()], lang, json, out),
    }
}

/// Everything that was due, and what it freed.
struct Deleted {
    due: Vec<Due>,
    removed: Removed,
    space: u64,
}

async fn delete(
    instance: &Instance,
    data: &Data,
    dry: bool,
    tenant: Option<&str>,
    now: Zeitpunkt,
) -> Result<Deleted, StoreError> {
    let collector = Collector::new(Duration::ZERO);
    let mut all = Deleted { due: Vec::new(), removed: Removed::default(), space: 0 };
    for generation in instance.tenants.all() {
        if tenant.is_some_and(|name| name != generation.tenant.as_str()) {
            continue;
        }
        let pass = Pass { dry, limit: usize::MAX };
        let report = delete_due(&*data.store, &data.blobs, &generation, pass, &collector, now).await?;
        all.due.extend(report.due);
        all.removed += report.removed;
    }
    if !dry {
        all.space = release(data).await?;
    }
    Ok(all)
}

async fn collect(data: &Data, grace: Duration, now: Zeitpunkt) -> Result<(Removed, u64), StoreError> {
    let mut collector = Collector::new(grace);
    let mut all = Removed::default();
    loop {
        let (removed, end) = collector.step(&*data.store, &data.blobs, 10_000, now).await?;
        all += removed;
        if end {
            return Ok((all, release(data).await?));
        }
    }
}

/// Gives all space back, in pieces, so that a running service gets its turn in between.
async fn release(data: &Data) -> Result<u64, StoreError> {
    let mut all = 0;
    loop {
        match data.store.release_space(SPACE_AT_ONCE).await? {
            0 => return Ok(all),
            bytes => all += bytes,
        }
    }
}

async fn reseal(
    instance: &Instance,
    data: &Data,
    tenant: Option<&str>,
) -> Result<(u64, Resealed), StoreError> {
    let (mut rows, mut files) = (0, Resealed::default());
    for generation in instance.tenants.all() {
        let tenant_id = &generation.tenant;
        if tenant.is_some_and(|name| name != tenant_id.as_str()) {
            continue;
        }
        let mut after = None;
        loop {
            let (some, next) = data.store.reseal(tenant_id, after, 200).await?;
            rows += some;
            after = next;
            if after.is_none() {
                break;
            }
        }
        for shard in 0..=u8::MAX {
            let some = data.blobs.reseal(tenant_id, shard).await?;
            files.sealed += some.sealed;
            files.rewrapped += some.rewrapped;
        }
    }
    // What was plain before must not be left in the file or its log.
    release(data).await?;
    Ok((rows, files))
}

fn print_resealed(
    rows: u64,
    files: Resealed,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let Resealed { sealed, rewrapped } = files;
    if json {
        let whole =
            serde_json::json!({ "eingaenge": rows, "dateien_neu": sealed, "dateien_umgestellt": rewrapped });
        writeln!(out, "{whole:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    match lang {
        Lang::De => writeln!(
            out,
            "{rows} Eingänge umgestellt; {sealed} Dateien verschlüsselt, {rewrapped} auf den neuen Schlüssel umgestellt."
        )?,
        Lang::En => writeln!(
            out,
            "{rows} submissions changed over; {sealed} files encrypted, {rewrapped} changed over to the new key."
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_deleted(
    report: &Deleted,
    dry: bool,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if json {
        let due: Vec<_> = report
            .due
            .iter()
            .map(|due| {
                serde_json::json!({
                    "mandant": due.summary.tenant, "eingang": due.summary.submission_id,
                    "vorgangsnummer": due.summary.vorgangsnummer, "was": due.phase, "tage": due.days,
                    "geloescht": due.blocked.is_empty() && !dry, "steht_entgegen": due.blocked,
                })
            })
            .collect();
        let whole = serde_json::json!({
            "probelauf": dry, "faellig": due, "dateien": report.removed.files, "bytes": report.removed.bytes,
            "datenbank_bytes": report.space,
        });
        writeln!(out, "{whole:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut gone, mut kept) = (0, 0);
    for due in &report.due {
        let (number, what, days) = (&due.summary.vorgangsnummer, what(due.phase, lang), due.days);
        if due.blocked.is_empty() {
            gone += 1;
            let verb = match (lang, dry) {
                (Lang::De, true) => "würde gelöscht",
                (Lang::De, false) => "gelöscht",
                (Lang::En, true) => "would be deleted",
                (Lang::En, false) => "deleted",
            };
            writeln!(out, "{number}  {what} {verb} ({days} {})", pick(lang, "Tage", "days"))?;
        } else {
            kept += 1;
            let why: Vec<_> = due.blocked.iter().map(|blocker| reason(blocker, lang)).collect();
            writeln!(out, "{number}  {what} {}: {}", pick(lang, "bleibt", "kept"), why.join("; "))?;
        }
    }
    match (lang, dry) {
        (Lang::De, true) => writeln!(out, "Probelauf: {gone} würden gelöscht, {kept} bleiben.")?,
        (Lang::En, true) => writeln!(out, "Dry run: {gone} would be deleted, {kept} are kept.")?,
        (Lang::De, false) => writeln!(
            out,
            "{gone} gelöscht, {kept} bleiben; {} Dateien ({} Bytes) entfernt, Datenbank {} Bytes kleiner.",
            report.removed.files, report.removed.bytes, report.space
        )?,
        (Lang::En, false) => writeln!(
            out,
            "{gone} deleted, {kept} kept; {} files ({} bytes) removed, database {} bytes smaller.",
            report.removed.files, report.removed.bytes, report.space
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_collected(
    removed: Removed,
    space: u64,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if json {
        let whole = serde_json::json!({
            "dateien": removed.files, "bytes": removed.bytes, "datenbank_bytes": space,
        });
        writeln!(out, "{whole:#}")?;
    } else {
        let (files, bytes) = (removed.files, removed.bytes);
        match lang {
            Lang::De => writeln!(out, "{files} Dateien ({bytes} Bytes) entfernt.")?,
            Lang::En => writeln!(out, "{files} files ({bytes} bytes) removed.")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn what(phase: Phase, lang: Lang) -> &'static str {
    match phase {
        Phase::Inhalte => pick(lang, "Inhalte", "contents"),
        Phase::Metadaten => pick(lang, "Metadaten", "metadata"),
    }
}

fn reason(blocker: &Blocker, lang: Lang) -> String {
    match (blocker, lang) {
        (Blocker::Unverarbeitet, Lang::De) => "noch nicht verarbeitet".into(),
        (Blocker::Unverarbeitet, Lang::En) => "not processed yet".into(),
        (Blocker::Klaerungsfall { offen }, Lang::De) => format!("offene Klärungsfälle: {offen}"),
        (Blocker::Klaerungsfall { offen }, Lang::En) => format!("open work items: {offen}"),
        (Blocker::Zustellung { empfaenger }, Lang::De) => format!("Zustellung an {empfaenger} läuft noch"),
        (Blocker::Zustellung { empfaenger }, Lang::En) => format!("delivery to {empfaenger} is not over"),
        (Blocker::Quittung { empfaenger }, Lang::De) => format!("Quittung von {empfaenger} fehlt"),
        (Blocker::Quittung { empfaenger }, Lang::En) => format!("receipt of {empfaenger} is missing"),
    }
}

#[cfg(test)]
mod tests;
