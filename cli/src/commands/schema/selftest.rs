// SPDX-License-Identifier: EUPL-1.2
//! `kop schema selftest`: instances of every message of a package, made from its schema and judged by several
//! validators, as a table.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use kop_core::diagnostic::Lang;
use kop_workshop::selftest::{MAX_INSTANCES, MAX_LEVEL, MessageReport, Options, Report, Verdict, run};
use kop_xml::SchemaStore;

use crate::problems;

use super::{missing, pick};

/// Settings of the command.
#[derive(Args)]
pub(crate) struct SelftestArgs {
    /// STANDARD/VERSION wie in „kop schema list“
    paket: String,
    /// Nur diese Nachricht (Wurzelelement oder Nummer); mehrfach möglich
    #[arg(long, value_name = "NACHRICHT")]
    nachricht: Vec<String>,
    /// Lässt xmllint und Xerces aus
    #[arg(long)]
    nur_libxml2: bool,
    /// Legt xmllint und Xerces außer der kleinsten nur so viele Instanzen je Nachricht vor
    #[arg(long, value_name = "ANZAHL")]
    stichprobe: Option<usize>,
    /// Behält Schemadokumente und Instanzen in diesem Ordner
    #[arg(long, value_name = "ORDNER")]
    ausgabe: Option<PathBuf>,
}

/// Runs the self-test and prints its table.
pub(super) fn selftest(
    store: &SchemaStore,
    args: &SelftestArgs,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let (standard, version) = args.paket.split_once('/').unwrap_or((&args.paket, ""));
    let Some(package) = store.find(standard, version) else {
        return problems::print(&[missing(standard, version)], lang, json, out);
    };
    let options = Options {
        messages: args.nachricht.clone(),
        sample: args.stichprobe,
        only_libxml2: args.nur_libxml2,
        keep: args.ausgabe.clone(),
    };
    let mut progress = |step: &str| {
        let _ = writeln!(io::stderr(), "{step}");
    };
    let report = match run(&package, &options, &mut progress) {
        Ok(report) => report,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    if json {
        writeln!(out, "{:#}", serde_json::json!(report))?;
    } else {
        table(&report, &options, lang, out)?;
    }
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(report: &Report, options: &Options, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let heading = pick(
        lang,
        "Nachricht                                           kleinste  Instanzen  Stellen (erfasst/alle)  Schreiber  libxml2   xmllint   Xerces",
        "message                                             minimal   instances  points (covered/all)    writer     libxml2   xmllint   Xerces",
    );
    writeln!(out, "{} {}", report.standard, report.version)?;
    writeln!(out, "{heading}")?;
    for row in &report.messages {
        let minimal = if row.minimal { pick(lang, "gültig", "valid") } else { pick(lang, "NEIN", "NO") };
        let points = format!("{}/{}", row.covered, row.points);
        let verdicts = [&row.writer, &row.libxml2, &row.xmllint, &row.xerces].map(share);
        let [writer, own, xmllint, xerces] = verdicts;
        writeln!(
            out,
            "{:<52}{minimal:<10}{:<11}{points:<24}{writer:<11}{own:<10}{xmllint:<10}{xerces}",
            row.root, row.instances
        )?;
    }
    for (there, name) in [(report.xmllint, "xmllint"), (report.xerces, "Xerces-C (SAX2Count)")] {
        if !there {
            let why = match (options.only_libxml2, lang) {
                (true, Lang::De) => "nicht gefragt",
                (true, Lang::En) => "not asked",
                (false, Lang::De) => "nicht installiert, hat nichts geprüft",
                (false, Lang::En) => "not installed, judged nothing",
            };
            writeln!(out, "{name}: {why}")?;
        }
    }
    if let Some(sample) = options.sample.filter(|_| !options.only_libxml2) {
        let words = pick(
            lang,
            "xmllint und Xerces sahen von jeder Nachricht außer der kleinsten höchstens so viele Instanzen:",
            "xmllint and Xerces saw at most so many instances of each message besides the minimal one:",
        );
        writeln!(out, "{words} {sample}")?;
    }
    let bounds =
        pick(lang, "Grenzen: Tiefe, Instanzen je Nachricht:", "Bounds: depth, instances per message:");
    writeln!(out, "{bounds} {MAX_LEVEL}, {MAX_INSTANCES}")?;
    for row in &report.messages {
        remarks(row, lang, out)?;
    }
    Ok(())
}

/// `accepted/judged`.
fn share(verdict: &Verdict) -> String {
    if verdict.judged == 0 {
        return "–".to_owned();
    }
    format!("{}/{}", verdict.judged - verdict.refused, verdict.judged)
}

fn remarks(row: &MessageReport, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let cut = pick(lang, "ausgelassen", "left out");
    let disagree = pick(lang, "Prüfer uneins", "validators disagree");
    let writer = pick(lang, "Schreiber", "writer");
    let all = [
        (cut, &row.cut),
        (writer, &row.writer.reasons),
        ("libxml2", &row.libxml2.reasons),
        ("xmllint", &row.xmllint.reasons),
        ("Xerces", &row.xerces.reasons),
        (disagree, &row.disagreements),
    ];
    for (what, texts) in all {
        for text in texts {
            writeln!(out, "{} {what}: {text}", row.root)?;
        }
    }
    Ok(())
}
