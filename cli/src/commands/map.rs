// SPDX-License-Identifier: EUPL-1.2
//! `kop map`: runs a mapping on a payload without storing anything, and the tests beside mappings.

mod coverage;
mod lineage;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Subcommand;
use kop_core::diagnostic::Lang;
use kop_tenant::mapping_names;
use kop_workshop::{Verdict, case, cases, run_case};

use crate::{
    problems,
    workbench::{Workbench, name_of},
};

/// What to do with mappings.
#[derive(Subcommand)]
pub(crate) enum MapCommand {
    /// Führt eine Zuordnung an einem Antrag aus und zeigt das Ergebnis; gespeichert wird nichts
    #[command(
        after_help = "Beispiel:\n  kop map run mappings/hundesteuer-csv antrag.json --parameter tarif_H1=H1"
    )]
    Run {
        /// Ordner der Zuordnung
        zuordnung: PathBuf,
        /// Antrag: wie ein Formularserver ihn schickt (.json, .xml) oder im Ablageformat
        antrag: PathBuf,
        /// Eingangsart, wenn die Dateiendung nicht genügt
        #[arg(long)]
        quelle: Option<String>,
        /// Parameter über denen der Zuordnung
        #[arg(long, value_name = "NAME=WERT", value_parser = parameter)]
        parameter: Vec<(String, String)>,
    },
    /// Führt die Tests von Zuordnungen aus; ohne Angabe die aller Zuordnungen der Bibliothek
    #[command(
        after_help = "Beispiele:\n  kop map test mappings/hundesteuer-csv\n  kop map test --instanz examples/musterstadt"
    )]
    Test {
        /// Ordner der Zuordnungen
        zuordnungen: Vec<PathBuf>,
    },
    /// Zeigt, was die Testfälle einer Zuordnung abdecken: Elemente, Felder, Tabellen, Codes, Zweige
    #[command(
        after_help = "Beispiele:\n  kop map coverage mappings/bauantrag-xbau\n  kop map coverage mappings/hundesteuer-csv antrag.json --alle"
    )]
    Coverage {
        /// Ordner der Zuordnung
        zuordnung: PathBuf,
        /// Weitere Anträge neben den Testfällen
        antraege: Vec<PathBuf>,
        /// Nennt auch alle freiwilligen Elemente, die das Skript nicht schreibt
        #[arg(long)]
        alle: bool,
    },
    /// Zeigt, welches Feld des Antrags über welche Zeile des Skripts zu welchem Element wird
    #[command(
        after_help = "Beispiele:\n  kop map lineage mappings/hundesteuer-csv antrag.json\n  kop map lineage mappings/hundesteuer-csv antrag.json --feld hund/rasse"
    )]
    Lineage {
        /// Ordner der Zuordnung
        zuordnung: PathBuf,
        /// Antrag: wie ein Formularserver ihn schickt (.json, .xml) oder im Ablageformat
        antrag: PathBuf,
        /// Nur dieses Element und was darunter liegt
        #[arg(long, value_name = "PFAD")]
        ziel: Option<String>,
        /// Nur dieses Feld und was darunter liegt
        #[arg(long, value_name = "PFAD")]
        feld: Option<String>,
        /// Eingangsart, wenn die Dateiendung nicht genügt
        #[arg(long)]
        quelle: Option<String>,
        /// Zeigt Werte, statt sie zu verdecken
        #[arg(long)]
        reveal: bool,
    },
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=WERT")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs one of the commands.
pub(crate) fn run(
    command: &MapCommand,
    folder: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let first = match command {
        MapCommand::Run { zuordnung, .. }
        | MapCommand::Coverage { zuordnung, .. }
        | MapCommand::Lineage { zuordnung, .. } => Some(zuordnung),
        MapCommand::Test { zuordnungen } => zuordnungen.first(),
    };
    let bench = match Workbench::open(folder, first.map(PathBuf::as_path)) {
        Ok(bench) => bench,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            MapCommand::Run { zuordnung, antrag, quelle, parameter } => {
                let parameters = parameter.iter().cloned().collect();
                run_one(&bench, zuordnung, antrag, quelle.as_deref(), parameters, lang, json, out).await
            }
            MapCommand::Test { zuordnungen } => test(&bench, zuordnungen, lang, json, out).await,
            MapCommand::Coverage { zuordnung, antraege, alle } => {
                match coverage::gather(&bench, &name_of(zuordnung), antraege).await {
                    Ok(found) => coverage::print(&found, *alle, json, out),
                    Err(found) => problems::print(&found, lang, json, out),
                }
            }
            MapCommand::Lineage { zuordnung, antrag, ziel, feld, quelle, reveal } => {
                match lineage::gather(&bench, &name_of(zuordnung), antrag, quelle.as_deref()).await {
                    Ok(found) => {
                        let only = lineage::Only { target: ziel.as_deref(), field: feld.as_deref() };
                        lineage::print(&found, &only, *reveal, json, out)
                    }
                    Err(found) => problems::print(&found, lang, json, out),
                }
            }
        }
    })
}

#[allow(clippy::too_many_arguments)] // a command's options
async fn run_one(
    bench: &Workbench,
    mapping: &Path,
    payload: &Path,
    source: Option<&str>,
    parameters: BTreeMap<String, String>,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let work = async {
        let mapping = bench.load(&name_of(mapping))?;
        let eingang = bench.read(payload, source).await?;
        let mut all = mapping.parameters.clone();
        all.extend(parameters);
        case::trial(Arc::new(eingang), &mapping, all, &bench.host, &bench.schemas).await
    };
    let composed = match work.await {
        Ok(composed) => composed,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    for line in &composed.run.prints {
        writeln!(io::stderr(), "print: {line}")?;
    }
    if !json {
        for remark in &composed.remarks {
            write!(io::stderr(), "{}", problems::paragraph(remark, lang, "", false))?;
        }
    }
    if json {
        let parts: Vec<_> = composed.parts.iter().map(|part| &part.name).collect();
        let reads: Vec<_> = composed.run.reads.iter().map(|read| read.path).collect();
        let value = serde_json::json!({
            "baum": composed.tree.to_json(), "dateiname": composed.name, "dateien": parts,
            "gelesen": reads, "hinweise": composed.remarks, "schema": composed.schema_package,
        });
        writeln!(out, "{value:#}")?;
    } else {
        out.write_all(&composed.bytes)?;
        writeln!(out)?;
        for part in &composed.parts {
            writeln!(io::stderr(), "+ {}", part.name)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn test(
    bench: &Workbench,
    paths: &[PathBuf],
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let names: Vec<String> = if paths.is_empty() {
        bench.library.as_deref().map(mapping_names).unwrap_or_default()
    } else {
        paths.iter().map(|path| name_of(path)).collect()
    };
    let (mut passed, mut failed) = (0_usize, 0_usize);
    let mut rows = Vec::new();
    for name in names {
        let mapping = match bench.load(&name) {
            Ok(mapping) => mapping,
            Err(found) => {
                failed += 1;
                problems::print(&found, lang, false, out)?;
                continue;
            }
        };
        for case in cases(&mapping) {
            let report =
                run_case(&case, &mapping, &mapping.parameters, &bench.doors, &bench.host, &bench.schemas)
                    .await;
            let ok = matches!(report.verdict, Verdict::Passed);
            *(if ok { &mut passed } else { &mut failed }) += 1;
            if json {
                rows.push(serde_json::json!({
                    "zuordnung": name, "fall": report.name, "bestanden": ok, "grund": reason(&report.verdict, lang),
                }));
                continue;
            }
            writeln!(out, "{} {name}/{}  {}", if ok { "✓" } else { "✗" }, report.name, report.description)?;
            write!(out, "{}", reason(&report.verdict, lang))?;
        }
    }
    if json {
        writeln!(out, "{:#}", serde_json::Value::Array(rows))?;
    } else {
        writeln!(out, "{}", tally(passed, failed, lang))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tally(passed: usize, failed: usize, lang: Lang) -> String {
    match lang {
        Lang::De => format!("\n{passed} bestanden, {failed} fehlgeschlagen"),
        Lang::En => format!("\n{passed} passed, {failed} failed"),
    }
}

/// Why a case did not pass, indented lines.
fn reason(verdict: &Verdict, lang: Lang) -> String {
    match verdict {
        Verdict::Passed => String::new(),
        Verdict::Differs(differences) => differences
            .iter()
            .map(|one| match lang {
                Lang::De => format!(
                    "    {}\n      erwartet: {}\n      ist:      {}\n",
                    one.at, one.expected, one.actual
                ),
                Lang::En => format!(
                    "    {}\n      expected: {}\n      actual:   {}\n",
                    one.at, one.expected, one.actual
                ),
            })
            .collect(),
        // Test data is invented, so its values may be seen.
        Verdict::Failed(problems) => {
            problems.iter().map(|problem| problems::paragraph(problem, lang, "    ", true)).collect()
        }
        Verdict::NoProblem(code) => match lang {
            Lang::De => format!("    {code} wurde erwartet, es gab aber keinen Fehler.\n"),
            Lang::En => format!("    {code} was expected, but there was no problem.\n"),
        },
    }
}
