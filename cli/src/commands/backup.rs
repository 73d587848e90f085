// SPDX-License-Identifier: EUPL-1.2
//! `kop backup` and `kop restore`: the data folder as it is at one moment, also of a running service, and back.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use kop_core::{Diagnostic, diagnostic::Lang};
use kop_store::{BackupSummary, StoreError};
use kop_tenant::InstanceConfig;

use crate::{commands::messages::pick, machine::MachineClock, problems};

/// The configuration of an instance whose data folder holds everything.
fn kept_here(folder: &Path) -> Result<InstanceConfig, Vec<Diagnostic>> {
    let config = InstanceConfig::load(folder)?;
    if config.database.is_some() { Err(vec![kept_elsewhere()]) } else { Ok(config) }
}

/// Backs the data folder up into a folder.
pub(crate) fn backup(
    folder: &Path,
    target: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let config = match kept_here(folder) {
        Ok(config) => config,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let now = kop_core::Clock::now(&MachineClock);
    let summary = match kop_store::backup(&config.data_dir, target, now) {
        Ok(summary) => summary,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    if json {
        writeln!(out, "{:#}", serde_json::json!(summary))?;
        return Ok(ExitCode::SUCCESS);
    }
    let BackupSummary { dateien, bytes, neu, .. } = summary;
    match lang {
        Lang::De => writeln!(
            out,
            "Sicherung vollständig: {dateien} Dateien, {bytes} Bytes, davon {neu} Dateien neu.\n\
             Nicht enthalten: Schlüssel, kop.toml und der Ordner mandanten. Ohne die Schlüssel ist Verschlüsseltes nicht \
             lesbar; sie werden getrennt aufbewahrt."
        )?,
        Lang::En => writeln!(
            out,
            "Backup complete: {dateien} files, {bytes} bytes, {neu} files of them new.\n\
             Not contained: keys, kop.toml and the folder mandanten. What is encrypted cannot be read without the keys; \
             keep them elsewhere."
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings a backup back into the instance's data folder, which must not hold anything.
pub(crate) fn restore(
    folder: &Path,
    source: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let config = match kept_here(folder) {
        Ok(config) => config,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let summary = match kop_store::restore(source, &config.data_dir) {
        Ok(summary) => summary,
        Err(error) => {
            let problem = error.diagnostic();
            let problem = match error {
                StoreError::NotPossible(_) => problem.with_hint(pick(
                    lang,
                    "Zurückgeholt wird nur in einen leeren Datenordner. Den vorhandenen umbenennen, nicht löschen.",
                    "A backup is restored into an empty data folder only. Rename the present one, do not delete it.",
                )),
                StoreError::NotFound => problem.with_hint(pick(
                    lang,
                    "Der Ordner enthält keine vollständige Sicherung (sicherung.json fehlt).",
                    "The folder holds no complete backup (sicherung.json is missing).",
                )),
                _ => problem,
            };
            return problems::print(&[problem], lang, json, out);
        }
    };
    if json {
        writeln!(out, "{:#}", serde_json::json!(summary))?;
        return Ok(ExitCode::SUCCESS);
    }
    let BackupSummary { dateien, bytes, erstellt, .. } = summary;
    match lang {
        Lang::De => writeln!(
            out,
            "Zurückgeholt und geprüft: {dateien} Dateien, {bytes} Bytes, Stand {erstellt}.\n\
             Was danach einging, fehlt; was danach zugestellt wurde, geht noch einmal hinaus. \
             „kop serve“ setzt fort, was unterwegs war. Vorgangsnummern beginnen mit Abstand."
        )?,
        Lang::En => writeln!(
            out,
            "Restored and checked: {dateien} files, {bytes} bytes, as of {erstellt}.\n\
             What came in later is missing; what was delivered later goes out once more. `kop serve` \
             goes on with what was under way. Vorgangsnummern begin at a distance."
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A database server has its own way, and half a backup is none.
fn kept_elsewhere() -> Diagnostic {
    Diagnostic::new(
        "KOP-S023",
        "Die Daten liegen in PostgreSQL; gesichert werden sie mit dessen Mitteln.",
        "The data is in PostgreSQL; it is backed up with PostgreSQL's own means.",
    )
    .with_hint("Erst pg_dump (oder fortlaufend archivieren), danach den Ordner blobs kopieren.")
}
