// SPDX-License-Identifier: EUPL-1.2
//! The foreign validators: xmllint (the system's own libxml2, its own catalogue and resolver) and Xerces-C
//! (`SAX2Count` of its samples). Both read files; neither may go to the network.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Files judged by one start of xmllint.
const BATCH: usize = 200;
/// Reasons kept for one document.
const MAX_REASONS: usize = 3;

/// A validator that is not our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    Xmllint,
    Xerces,
}

/// Documents refused, each with the validator's reasons.
pub(super) type Refused = BTreeMap<PathBuf, Vec<String>>;

impl Judge {
    fn program(self) -> &'static str {
        match self {
            Self::Xmllint => "xmllint",
            Self::Xerces => "SAX2Count",
        }
    }

    /// Whether it is installed.
    pub(super) fn is_there(self) -> bool {
        let argument = if self == Self::Xmllint { "--version" } else { "-?" };
        let mut command = Command::new(self.program());
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    }

    /// Judges files that lie beside their schema document and name it.
    pub(super) fn judge(self, schema: &Path, files: &[PathBuf]) -> io::Result<Refused> {
        let mut refused = Refused::new();
        for batch in files.chunks(BATCH) {
            match self {
                Self::Xmllint => {
                    let said = said(self.program(), ["--noout", "--nonet", "--schema"], schema, batch)?;
                    by_xmllint(&said, batch, &mut refused);
                }
                Self::Xerces => {
                    let list = schema.with_extension("liste");
                    let names: Vec<_> = batch.iter().map(|file| file.display().to_string()).collect();
                    fs::write(&list, names.join("\n"))?;
                    let said = said(self.program(), ["-v=always", "-l"], &list, &[])?;
                    fs::remove_file(&list)?;
                    by_xerces(&said, batch, &mut refused);
                }
            }
        }
        Ok(refused)
    }
}

/// Everything that a program printed.
fn said<const N: usize>(
    program: &str,
    options: [&str; N],
    first: &Path,
    files: &[PathBuf],
) -> io::Result<String> {
    let files = files.iter().map(|file| file.as_os_str());
    let output = Command::new(program)
        .args(options)
        .args([first.as_os_str()].into_iter().chain(files).collect::<Vec<&OsStr>>())
        .stdin(Stdio::null())
        .output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// xmllint prints `FILE validates`, or `FILE:LINE: … : REASON` and `FILE fails to validate`.
fn by_xmllint(said: &str, files: &[PathBuf], refused: &mut Refused) {
    for file in files {
        let name = file.display().to_string();
        let lines = || said.lines().filter_map(|line| line.strip_prefix(&name));
        if lines().any(|rest| rest == " validates") {
            continue;
        }
        let reasons = lines().filter(|rest| rest.starts_with(':')).map(str::to_owned);
        note(refused, file, reasons.collect(), said);
    }
}

/// Xerces prints `FILE: N ms (…)`, after `Error at file FILE, line N, char N` and `Message: …` for each problem.
fn by_xerces(said: &str, files: &[PathBuf], refused: &mut Refused) {
    for file in files {
        let name = file.display().to_string();
        let mut lines = said.lines();
        let mut reasons = Vec::new();
        let mut counted = false;
        while let Some(line) = lines.next() {
            if line.trim_start().starts_with(&name) && line.contains(" ms (") {
                counted = true;
            } else if line.contains("rror at file") && line.contains(&name) {
                let place = line.rsplit_once(", line").map_or("", |(_, place)| place);
                reasons.push(format!("Zeile{place}: {}", lines.next().unwrap_or_default().trim()));
            }
        }
        if !counted || !reasons.is_empty() {
            note(refused, file, reasons, said);
        }
    }
}

fn note(refused: &mut Refused, file: &Path, mut reasons: Vec<String>, said: &str) {
    if reasons.is_empty() {
        // it said nothing about the file: what it said at all
        reasons = said.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    }
    reasons.truncate(MAX_REASONS);
    for reason in &mut reasons {
        *reason = reason.chars().take(400).collect();
    }
    refused.insert(file.to_owned(), reasons);
}
