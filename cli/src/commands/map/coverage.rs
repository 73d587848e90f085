// SPDX-License-Identifier: EUPL-1.2
//! `kop map coverage`: what the test cases of a mapping cover, as tables for its author.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use kop_core::Diagnostic;
use kop_workshop::{
    case::case_input,
    cases,
    coverage::{Coverage, Element, FieldUse, Filling, Sample, coverage},
};

use crate::workbench::Workbench;

/// Names that one line lists.
const NAMED: usize = 8;
/// Names that a line lists beside others.
const FEW: usize = 3;
/// Elements that are listed as never filled and optional, unless all are wanted.
const OPTIONAL: usize = 12;

/// The report with the mapping's name.
pub(crate) struct Found {
    name: String,
    coverage: Coverage,
}

/// Runs the mapping's cases and the payloads given beside them.
pub(crate) async fn gather(
    bench: &Workbench,
    name: &str,
    payloads: &[PathBuf],
) -> Result<Found, Vec<Diagnostic>> {
    let mapping = bench.load(name)?;
    let mut samples = Vec::new();
    for case in cases(&mapping) {
        let (eingang, parameters) = case_input(&case, &mapping.parameters, &bench.doors).await?;
        samples.push(Sample { name: case.name, eingang, parameters });
    }
    for payload in payloads {
        let eingang = bench.read(payload, None).await?.into();
        let name = payload.file_name().unwrap_or_default().to_string_lossy().into_owned();
        samples.push(Sample { name, eingang, parameters: mapping.parameters.clone() });
    }
    let coverage = coverage(&bench.host, &bench.schemas, &mapping, &samples).await?;
    Ok(Found { name: mapping.name, coverage })
}

/// Prints the report; never fails for what it says.
pub(crate) fn print(found: &Found, all: bool, json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let coverage = &found.coverage;
    if json {
        let mut value = serde_json::json!(coverage);
        value["zuordnung"] = found.name.as_str().into();
        value["einseitig"] = coverage.one_sided().map(|field| field.path.clone()).collect::<Vec<_>>().into();
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}: {} Fälle", found.name, coverage.samples.len())?;
    for sample in coverage.samples.iter().filter(|sample| !sample.message) {
        writeln!(out, "  {} liefert keine Nachricht ({})", sample.name, sample.codes.join(", "))?;
    }
    elements(coverage, all, out)?;
    fields(coverage, out)?;
    branches(coverage, out)?;
    tables(coverage, out)?;
    Ok(ExitCode::SUCCESS)
}

fn elements(coverage: &Coverage, all: bool, out: &mut impl Write) -> io::Result<()> {
    let of = |required: bool| coverage.elements.iter().filter(move |one| one.required == required);
    let count = |required: bool| {
        let filled = of(required).filter(|one| one.cases > 0).count();
        format!("{filled} von {}", of(required).count())
    };
    if of(true).next().is_some() {
        writeln!(out, "\nElemente gefüllt: Pflicht {}, freiwillig {}", count(true), count(false))?;
    } else {
        writeln!(out, "\nElemente gefüllt: {}", count(false))?;
    }
    let filled: Vec<&Element> =
        coverage.elements.iter().filter(|one| one.cases > 0 && one.filling != Filling::Engine).collect();
    let width = filled.iter().map(|one| one.path.chars().count()).max().unwrap_or_default().min(70);
    for one in filled {
        let place = one.place.as_ref().map(|at| format!("{}:{}", at.file, at.line)).unwrap_or_default();
        let fields = match one.filling {
            _ if one.fields.is_empty() => String::new(),
            Filling::Feld => named(&one.fields, NAMED),
            _ => format!("je nach {}", named(&one.fields, FEW)),
        };
        let line = format!("  {:width$}  {:<9}  {place}  {fields}", one.path, origin(one.filling));
        writeln!(out, "{}", line.trim_end())?;
    }
    let engine = coverage.elements.iter().filter(|one| one.filling == Filling::Engine).count();
    if engine > 0 {
        writeln!(out, "  dazu {engine} von der Engine geschrieben (Kopf, Codelisten, feste Werte)")?;
    }
    let lacking: Vec<&Element> = of(true).filter(|one| one.cases == 0).collect();
    list(out, "Pflicht, in keinem Fall gefüllt", &lacking, usize::MAX)?;
    let never: Vec<&Element> = of(false).filter(|one| one.filling == Filling::Nie).collect();
    let most = if all { usize::MAX } else { OPTIONAL };
    list(out, "Freiwillig, schreibt das Skript nicht", &never, most)
}

fn list(out: &mut impl Write, title: &str, elements: &[&Element], most: usize) -> io::Result<()> {
    if elements.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}: {}", elements.len())?;
    for one in elements.iter().take(most) {
        writeln!(out, "  {}", one.path)?;
    }
    if elements.len() > most {
        writeln!(out, "  … {} weitere (--alle)", elements.len() - most)?;
    }
    Ok(())
}

fn fields(coverage: &Coverage, out: &mut impl Write) -> io::Result<()> {
    let used = coverage.fields.iter().filter(|field| field.read).count();
    writeln!(out, "\nFelder des Formulars: {used} von {} gelesen", coverage.fields.len())?;
    let label =
        |field: &FieldUse| field.label.as_ref().map(|label| format!("  „{label}“")).unwrap_or_default();
    for field in coverage.fields.iter().filter(|field| !field.read) {
        writeln!(out, "  nie gelesen: {}{}", field.path, label(field))?;
    }
    let idle = |field: &&FieldUse| field.read && field.targets.is_empty() && field.decides.is_empty();
    for field in coverage.fields.iter().filter(idle) {
        writeln!(out, "  gelesen, ohne Wirkung: {}{}", field.path, label(field))?;
    }
    Ok(())
}

fn branches(coverage: &Coverage, out: &mut impl Write) -> io::Result<()> {
    let unseen: Vec<&Element> =
        coverage.elements.iter().filter(|one| one.filling == Filling::NurImSkript).collect();
    let sided: Vec<&FieldUse> = coverage.one_sided().collect();
    writeln!(out, "\nZweige ohne Testfall: {}", unseen.len() + sided.len())?;
    for one in unseen {
        let place = one.place.as_ref().map(|at| format!("  {}:{}", at.file, at.line)).unwrap_or_default();
        let fields =
            if one.fields.is_empty() { String::new() } else { format!("  {}", named(&one.fields, NAMED)) };
        writeln!(out, "  nie gefüllt: {}{place}{fields}", one.path)?;
    }
    for field in sided {
        let state = if field.filled == 0 { "immer leer" } else { "immer ausgefüllt" };
        writeln!(out, "  {state}: {}  entscheidet über {}", field.path, named(&field.decides, FEW))?;
    }
    Ok(())
}

fn tables(coverage: &Coverage, out: &mut impl Write) -> io::Result<()> {
    for table in &coverage.tables {
        let used = table.rows - table.never.len();
        let open = if table.complete { "" } else { ", nicht alle angesehen" };
        writeln!(out, "\nTabelle {}: {used} von {} Zeilen verwendet{open}", table.name, table.rows)?;
        if !table.never.is_empty() {
            writeln!(out, "  nie: {}", named(&table.never, NAMED))?;
        }
    }
    for code in coverage.codes.iter().filter(|code| !code.never.is_empty()) {
        let all = code.produced.len() + code.never.len();
        writeln!(out, "\nCodes {}: {} von {all}", code.path, code.produced.len())?;
        writeln!(out, "  nie: {}", named(&code.never, NAMED))?;
    }
    Ok(())
}

fn origin(filling: Filling) -> &'static str {
    match filling {
        Filling::Feld => "Feld",
        Filling::Eingang => "Eingang",
        Filling::Parameter => "Parameter",
        Filling::Fest => "fest",
        Filling::Engine => "Engine",
        Filling::NurImSkript | Filling::Nie => "nie",
    }
}

fn named<'n>(names: impl IntoIterator<Item = &'n String>, most: usize) -> String {
    let all: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let text = all.iter().take(most).copied().collect::<Vec<_>>().join(", ");
    if all.len() > most { format!("{text}, … ({})", all.len()) } else { text }
}
