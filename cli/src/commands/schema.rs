// SPDX-License-Identifier: EUPL-1.2
//! `kop schema`: takes in official packages, lists them, shows what a message consists of, compares versions.

mod diff;
mod selftest;
mod show;

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use kop_core::{Diagnostic, diagnostic::Lang};
use kop_xml::{PackageInfo, SchemaStore};

use crate::{instance::open_schemas, problems};

/// What to do with schema packages.
#[derive(Subcommand)]
pub(crate) enum SchemaCommand {
    /// Lädt Pakete und Codelisten aus dem XRepository: Dateien, wie sie heruntergeladen wurden, oder Ordner
    #[command(after_help = "Beispiele:\n  kop schema import xbau_2.6_xsd.zip\n  \
                            kop schema import xbau-kernmodul_1.3.0_xsd.zip xoev-bibliotheken/\n  \
                            kop schema import codelisten/ Bundesland_2010-04-01.xml\n\n\
                            Verweist ein Paket auf Bibliotheken (XÖV-Code, Basisnachricht, DIN 91379), die ihm\n\
                            fehlen, nennt der Befehl sie; sie werden auf demselben Weg einmal geladen. Von\n\
                            mehreren Paketen werden die zuerst geladen, auf die andere verweisen.\n\n\
                            Codelisten (Genericode) in einem Paket gelten für dessen Nachrichten, für sich allein\n\
                            geladene für alle.")]
    Import {
        /// ZIP-Dateien, Ordner oder einzelne Codelisten (Genericode)
        #[arg(required = true)]
        pakete: Vec<PathBuf>,
    },
    /// Zählt die vorhandenen Pakete auf
    List {
        /// Nennt auch jede Codeliste: URN, Version, Name, Zahl der Codes
        #[arg(long)]
        codelisten: bool,
    },
    /// Zeigt eine Nachricht als Baum (Elemente, Häufigkeit, Typ) oder was ein Paket enthält; dazu die Dienste im DVDV
    #[command(after_help = "Beispiele:\n  kop schema show xbau-hochbau/2.6/baugenehmigung.antrag.0200\n  \
                            kop schema show xbau-hochbau/2.6\n\n\
                            Die Dienste stehen in den Dienstbeschreibungen (WSDL), die dem Paket beiliegen: wer wem\n\
                            welche Nachricht schickt.")]
    Show {
        /// STANDARD/VERSION/WURZELELEMENT oder STANDARD/VERSION
        was: String,
    },
    /// Stellt aus dem Schema Instanzen jeder Nachricht her und legt sie libxml2, xmllint und Xerces vor
    #[command(after_help = "Beispiele:\n  kop schema selftest xbau-hochbau/2.6\n  \
                            kop schema selftest xdomea/3.1.0 --nachricht 0401 --ausgabe instanzen/\n\n\
                            Von jeder Nachricht entsteht die kleinste Instanz, dazu so viele, dass jedes mögliche\n\
                            Element und Attribut und jeder Zweig einer Auswahl einmal vorkommt.")]
    Selftest(selftest::SelftestArgs),
    /// Vergleicht zwei Versionen eines Standards: was an einer Zuordnung zu ändern ist
    #[command(after_help = "Beispiele:\n  kop schema diff xbau-hochbau/2.5 xbau-hochbau/2.6\n  \
                            kop schema diff xbau-hochbau/2.5 xbau-hochbau/2.6 --nachricht 0200\n  \
                            kop schema diff xbau-hochbau/2.5 xbau-hochbau/2.6 --zuordnung mappings/bauantrag-xbau")]
    Diff {
        /// STANDARD/VERSION bisher
        vorher: String,
        /// STANDARD/VERSION danach
        nachher: String,
        /// Nur diese Nachricht: Wurzelelement oder Nummer
        #[arg(long, value_name = "NACHRICHT")]
        nachricht: Option<String>,
        /// Nur, was die Elemente berührt, die das Skript dieser Zuordnung schreibt
        #[arg(long, value_name = "ORDNER")]
        zuordnung: Option<PathBuf>,
    },
}

/// Runs one of the commands on the packages below `instance`.
pub(crate) fn run(
    command: &SchemaCommand,
    instance: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    // Without kop.toml the folder's usual place, so that packages can be looked at before there is an instance.
    let opened = if instance.join("kop.toml").is_file() {
        kop_tenant::InstanceConfig::load(instance)
            .and_then(|config| open_schemas(&config.data_dir, config.schemas_dir.as_deref()))
    } else {
        open_schemas(&instance.join("daten"), None)
    };
    let store = match opened {
        Ok(store) => store,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    match command {
        SchemaCommand::Import { pakete } => import(&store, pakete, lang, json, out),
        SchemaCommand::List { codelisten } => list(&store.list(), *codelisten, lang, json, out),
        SchemaCommand::Show { was } => show::run(&store, was, lang, json, out),
        SchemaCommand::Selftest(args) => selftest::selftest(&store, args, lang, json, out),
        SchemaCommand::Diff { vorher, nachher, nachricht, zuordnung } => {
            let wanted = diff::Wanted {
                before: vorher,
                after: nachher,
                root: nachricht.as_deref(),
                mapping: zuordnung.as_ref(),
            };
            diff::run(&store, instance, &wanted, lang, json, out)
        }
    }
}

/// The library that a package needs is not there (yet).
const LACKS_LIBRARY: &str = "KOP-X042";

fn import(
    store: &SchemaStore,
    paths: &[PathBuf],
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if io::stderr().is_terminal() {
        writeln!(io::stderr(), "{}", pick(lang, "Die Pakete werden gelesen …", "Reading the packages …"))?;
    }
    let mut reports = Vec::new();
    let mut failures: Vec<Diagnostic> = Vec::new();
    let mut waiting: Vec<&PathBuf> = paths.iter().collect();
    // What lacks a library waits until another of the packages has brought it.
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut lacking = Vec::new();
        let mut still = Vec::new();
        for path in waiting {
            if !path.exists() {
                failures.push(
                    Diagnostic::new(
                        "KOP-X048",
                        "Die Datei oder den Ordner gibt es nicht.",
                        "There is no such file or folder.",
                    )
                    .with_detail(path.display().to_string()),
                );
                continue;
            }
            match store.import(path) {
                Ok(report) => reports.push(report),
                Err(found) if found.iter().all(|one| one.code == LACKS_LIBRARY) => {
                    lacking.extend(found);
                    still.push(path);
                }
                Err(found) => failures.extend(found),
            }
        }
        if still.len() == before {
            failures.extend(lacking);
            break;
        }
        waiting = still;
    }
    if json {
        let imported: Vec<_> = reports
            .iter()
            .map(|report| {
                serde_json::json!({
                    "package": report.package, "new": report.new,
                    "borrowed": report.borrowed, "hints": report.hints,
                })
            })
            .collect();
        writeln!(out, "{:#}", serde_json::json!({ "imported": imported, "problems": failures }))?;
        return Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for report in &reports {
        let state = if report.new {
            pick(lang, "geladen", "imported")
        } else {
            pick(lang, "war schon vorhanden", "was there already")
        };
        writeln!(out, "{} {state}", title(&report.package))?;
        line(&report.package, lang, out)?;
        for (file, origin) in &report.borrowed {
            writeln!(out, "  {} {file} ({origin})", pick(lang, "Bibliothek:", "library:"))?;
        }
        for hint in &report.hints {
            let detail = hint.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            writeln!(out, "  {} {}{detail}", pick(lang, "Hinweis:", "note:"), hint.text(lang))?;
        }
    }
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { problems::print(&failures, lang, json, out) }
}

fn list(
    packages: &[PackageInfo],
    lists: bool,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if json {
        writeln!(out, "{:#}", serde_json::json!(packages))?;
        return Ok(ExitCode::SUCCESS);
    }
    if packages.is_empty() {
        let hint = pick(
            lang,
            "Noch kein Paket vorhanden. Pakete aus dem XRepository lädt „kop schema import DATEI“.",
            "No package yet. `kop schema import FILE` takes in packages from the XRepository.",
        );
        writeln!(io::stderr(), "{hint}")?;
    }
    for package in packages {
        writeln!(out, "{}", title(package))?;
        line(package, lang, out)?;
        for list in package.lists.iter().filter(|_| lists) {
            let name: String = list.name.chars().take(60).collect();
            let ends = list.valid_to.as_ref().map(|day| format!(", {} {day}", pick(lang, "bis", "until")));
            let (codes, ends) = (pick(lang, "Codes", "codes"), ends.unwrap_or_default());
            writeln!(out, "    {} {}: {name}, {} {codes}{ends}", list.urn, list.version, list.codes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(standard: &str, version: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F005",
        format!("Das Schema „{standard} {version}“ ist nicht vorhanden."),
        format!("The schema \"{standard} {version}\" is not there."),
    )
    .with_hint("„kop schema list“ zählt die vorhandenen auf.")
}

fn title(package: &PackageInfo) -> String {
    format!("{} {}", package.standard, package.version).trim_end().to_owned()
}

fn line(package: &PackageInfo, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let kind = match (package.library, package.profile) {
        _ if package.files == 0 && package.lists.is_empty() => {
            pick(lang, "Dienstbeschreibungen", "service descriptions")
        }
        _ if package.files == 0 => pick(lang, "Codelisten", "code lists"),
        (true, _) => pick(lang, "Bibliothek", "library"),
        (_, true) => pick(lang, "mitgeliefertes Profil", "shipped profile"),
        _ => pick(lang, "Paket", "package"),
    };
    let (messages, documents) =
        (pick(lang, "Nachrichten", "messages"), pick(lang, "Schemadokumente", "documents"));
    let short = package.hash.short();
    write!(out, "  {kind} {short}")?;
    if package.files > 0 {
        write!(out, ", {} {messages}, {} {documents}", package.messages.len(), package.files)?;
    }
    if !package.lists.is_empty() {
        write!(out, ", {} {}", package.lists.len(), pick(lang, "Codelisten", "code lists"))?;
    }
    if !package.rules.is_empty() {
        let not_run = pick(lang, "Schematron-Dateien (nicht ausgeführt)", "Schematron files (not run)");
        write!(out, ", {} {not_run}", package.rules.len())?;
    }
    if !package.services.is_empty() {
        write!(out, ", {} {}", package.services.len(), pick(lang, "Dienste", "services"))?;
    }
    if package.licences.is_empty() {
        write!(out, ", {}", pick(lang, "Lizenz nicht angegeben", "licence not stated"))?;
    }
    writeln!(out)
}

fn pick(lang: Lang, german: &'static str, english: &'static str) -> &'static str {
    match lang {
        Lang::De => german,
        Lang::En => english,
    }
}
