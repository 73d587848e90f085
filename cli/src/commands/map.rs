// SPDX-License-Identifier: EUPL-1.2
//! `kop map`: runs a mapping on a payload without storing anything, and the tests beside mappings.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Subcommand;
use kop_core::{Diagnostic, Eingang, TenantId, diagnostic::Lang};
use kop_flow::accept::preview;
use kop_mapping::{HostOptions, MappingHost};
use kop_tenant::{InstanceConfig, LoadContext, LoadedMapping, Registry, load_mapping, mapping_names};
use kop_workshop::{Verdict, case, cases, read_payload, run_case};
use kop_xml::SchemaStore;

use crate::{
    instance::{open_schemas, schema_exists},
    problems, registry,
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
    let bench = match Bench::open(folder, command) {
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
        }
    })
}

/// What both commands work with. An instance is not needed: a mapping's own folder says where the library is.
struct Bench {
    host: Arc<MappingHost>,
    schemas: SchemaStore,
    doors: kop_workshop::Doors,
    library: Option<PathBuf>,
}

impl Bench {
    fn open(folder: &Path, command: &MapCommand) -> Result<Self, Vec<Diagnostic>> {
        let first = match command {
            MapCommand::Run { zuordnung, .. } => Some(zuordnung),
            MapCommand::Test { zuordnungen } => zuordnungen.first(),
        };
        let beside = first
            .and_then(|path| path.canonicalize().ok())
            .and_then(|path| path.parent().map(Path::to_owned));
        let (library, schemas) = if folder.join("kop.toml").is_file() {
            let config = InstanceConfig::load(folder)?;
            let schemas = open_schemas(&config.data_dir, config.schemas_dir.as_deref())?;
            (beside.or(config.library_dir), schemas)
        } else {
            let library = beside.unwrap_or_else(|| folder.join("mappings"));
            let profiles =
                library.parent().map(|root| root.join("xoev-schemas")).filter(|path| path.is_dir());
            (Some(library), open_schemas(&folder.join("daten"), profiles.as_deref())?)
        };
        let host = Arc::new(MappingHost::new(HostOptions::default()));
        Ok(Self { host, schemas, doors: registry::doors(), library })
    }

    fn load(&self, name: &str) -> Result<LoadedMapping, Vec<Diagnostic>> {
        let kinds = registry::kinds();
        let exists =
            |standard: &str, version: &str, root: &str| schema_exists(&self.schemas, standard, version, root);
        let context = LoadContext {
            registry: Registry { intakes: &self.doors.intakes, kinds: &kinds },
            host: &self.host,
            schema_exists: &exists,
        };
        load_mapping(name, None, self.library.as_deref(), &context, &mut Vec::new())
    }
}

fn name_of(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[allow(clippy::too_many_arguments)] // a command's options
async fn run_one(
    bench: &Bench,
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
        let eingang = read(bench, payload, source).await?;
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

async fn read(bench: &Bench, payload: &Path, source: Option<&str>) -> Result<Eingang, Vec<Diagnostic>> {
    if source.is_none()
        && let Ok(bytes) = std::fs::read(payload)
        && let Ok(eingang) = serde_json::from_slice::<Eingang>(&bytes)
    {
        return Ok(eingang);
    }
    let tenant: TenantId = "vorschau".parse().unwrap_or_else(|_| unreachable!("a valid tenant id"));
    let (source, normalised) = read_payload(&bench.doors, &tenant, payload, source).await?;
    Ok(preview(&tenant, source, normalised, case::NUMBER, case::moment()))
}

async fn test(
    bench: &Bench,
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
