// SPDX-License-Identifier: EUPL-1.2
//! The one binary `kop`: reads the command line and hands over to a command. Data goes to standard output,
//! everything else to standard error.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature mutants makes mistakes on purpose and belongs into no release");

mod commands;
mod data;
mod instance;
mod keys;
mod language;
mod machine;
mod problems;
mod published;
mod registry;
mod timeline;
mod traces;
mod workbench;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use commands::{
    data::DataCommand, map::MapCommand, messages::MessagesCommand, schema::SchemaCommand, submit::Submission,
};
use kop_tenant::{InstanceConfig, LogFormat};

/// KOP engine: nimmt Anträge aus Formularsystemen an und bringt sie als XÖV-Nachricht zum Fachverfahren.
#[derive(Parser)]
#[command(name = "kop", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// Sprache der Ausgaben: de oder en (sonst nach LANG, im Zweifel Deutsch)
    #[arg(long, global = true, value_name = "SPRACHE", value_parser = ["de", "en"])]
    lang: Option<String>,
    /// Ordner der Instanz: der mit kop.toml
    #[arg(long, global = true, value_name = "ORDNER", default_value = ".")]
    instanz: PathBuf,
    /// Ausgabe als JSON, für Programme
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What a serving process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    #[value(alias = "all")]
    Alles,
    #[value(alias = "intake")]
    Eingang,
    #[value(alias = "worker")]
    Arbeit,
}

#[derive(Subcommand)]
enum Command {
    /// Legt eine neue Instanz an, die sofort läuft
    #[command(after_help = "Beispiel:\n  kop init meine-instanz")]
    Init {
        /// Neuer oder leerer Ordner
        ordner: PathBuf,
    },
    /// Prüft die ganze Konfiguration, ohne etwas zu ändern
    Check {
        /// Ordner der Instanz; sonst der von --instanz
        ordner: Option<PathBuf>,
    },
    /// Nimmt Anträge über HTTP an, verarbeitet sie und stellt zu
    #[command(after_help = "Protokoll: KOP_LOG=info (warn, debug …); --log json für Programme.\n\
                            Der Dienst spricht HTTP; davor gehört ein Reverse Proxy mit TLS.\n\
                            SIGHUP liest die Mandanten neu ein; was fehlerhaft ist, bleibt, wie es war.")]
    Serve {
        /// Adresse und Port statt der in kop.toml; Port 0 wählt einen freien
        #[arg(long)]
        adresse: Option<SocketAddr>,
        /// Adresse und Port für /readyz und /metrics statt der in kop.toml
        #[arg(long)]
        verwaltung: Option<SocketAddr>,
        /// Form des Protokolls: text oder json, statt der in kop.toml
        #[arg(long, value_name = "FORM", value_parser = ["text", "json"])]
        log: Option<String>,
        /// Was dieser Prozess tut: annehmen (eingang), verarbeiten und zustellen (arbeit) oder beides; geteilt nur mit
        /// PostgreSQL
        #[arg(long, alias = "role", value_name = "ROLLE", value_enum, default_value_t = Role::Alles)]
        rolle: Role,
    },
    /// Reicht einen Antrag aus einer Datei ein: derselbe Weg wie über HTTP, ohne HTTP
    #[command(after_help = "Dateien in anlagen/ und representation/ neben dem Antrag gehen mit.\n\n\
                            Beispiel:\n  kop submit eingaenge/fundsache.json")]
    Submit {
        /// Der Antrag, wie ein Formularserver ihn schickt (.json: OZG-Cloud, .xml: intelliForm)
        antrag: PathBuf,
        /// Mandant; nötig, wenn die Instanz mehrere hat
        #[arg(long)]
        mandant: Option<String>,
        /// Eingangsart, wenn die Dateiendung nicht genügt
        #[arg(long)]
        quelle: Option<String>,
    },
    /// Zuordnungen: ausführen, ohne zu speichern, und testen
    #[command(subcommand)]
    Map(MapCommand),
    /// Eingänge und Sendungen: aufzählen, ansehen, neu anstoßen
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Gespeicherte Daten: nach Fristen löschen, aufräumen, Löschprotokoll, Schlüssel wechseln
    #[command(subcommand)]
    Data(DataCommand),
    /// Sichert den Datenordner, auch während der Dienst läuft
    #[command(
        after_help = "In denselben Ordner noch einmal gesichert, wird nur Neues kopiert. Schlüssel, kop.toml und \
                            mandanten/ gehören nicht dazu.\n\nBeispiel:\n  kop backup /sicherung/kop"
    )]
    Backup {
        /// Neuer oder leerer Ordner, oder eine frühere Sicherung
        ziel: PathBuf,
    },
    /// Holt eine Sicherung in einen leeren Datenordner zurück und prüft sie dabei ganz
    #[command(after_help = "Beispiel:\n  mv daten daten.alt\n  kop restore /sicherung/kop")]
    Restore {
        /// Ordner der Sicherung
        quelle: PathBuf,
    },
    /// Schema-Pakete der XÖV-Standards: laden, aufzählen, ansehen
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Erklärt einen Fehlercode: was er bedeutet, wie es dazu kommt, was hilft
    #[command(
        after_help = "Beispiele:\n  kop explain KOP-M002\n  kop explain            alle Codes mit Überschrift"
    )]
    Explain {
        /// Der Code, z. B. KOP-M002; ohne Angabe werden alle aufgezählt
        code: Option<String>,
    },
    /// Zeigt Eingangsarten und Zustellarten dieser Version mit ihren Einstellungen
    Doors,
    /// Schreibt Vervollständigungen für eine Shell auf die Standardausgabe
    #[command(after_help = "Beispiel:\n  kop completions bash > /etc/bash_completion.d/kop")]
    Completions {
        /// bash, zsh, fish, elvish oder powershell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let locale = std::env::var("LC_ALL").or_else(|_| std::env::var("LANG")).ok();
    let lang = language::choose(cli.lang.as_deref(), locale);
    start_log(&cli.command, &cli.instanz);
    let (folder, json) = (cli.instanz, cli.json);
    let mut out = std::io::stdout().lock();
    let done = match cli.command {
        Command::Init { ordner } => commands::init::run(&ordner, lang, &mut out),
        Command::Check { ordner } => commands::check::run(&ordner.unwrap_or(folder), lang, json, &mut out),
        Command::Serve { adresse, verwaltung, log: _, rolle } => {
            commands::serve::run(&folder, adresse, verwaltung, rolle, lang, &mut out)
        }
        Command::Submit { antrag, mandant, quelle } => {
            let what = Submission { tenant: mandant.as_deref(), source: quelle.as_deref(), file: &antrag };
            commands::submit::run(&folder, &what, lang, json, &mut out)
        }
        Command::Map(command) => commands::map::run(&command, &folder, lang, json, &mut out),
        Command::Messages(command) => commands::messages::run(&command, &folder, lang, json, &mut out),
        Command::Data(command) => commands::data::run(&command, &folder, lang, json, &mut out),
        Command::Backup { ziel } => commands::backup::backup(&folder, &ziel, lang, json, &mut out),
        Command::Restore { quelle } => commands::backup::restore(&folder, &quelle, lang, json, &mut out),
        Command::Schema(command) => commands::schema::run(&command, &folder, lang, json, &mut out),
        Command::Explain { code } => commands::explain::run(code.as_deref(), lang, json, &mut out),
        Command::Doors => commands::doors::run(json, &mut out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kop", &mut out);
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        // A reader that went away (`kop explain | head`) is no failure of ours.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        tracing::error!(%error, "The command failed.");
        ExitCode::FAILURE
    })
}

/// Logs to standard error. A server says what it does; other commands only what goes wrong.
fn start_log(command: &Command, folder: &std::path::Path) {
    let (serving, wanted) = match command {
        Command::Serve { log, .. } => (true, log.as_deref()),
        _ => (false, None),
    };
    let variable = std::env::var("KOP_LOG_FORMAT").ok();
    // A broken kop.toml is told later, by the command itself.
    let configured = || serving && InstanceConfig::load(folder).is_ok_and(|one| one.log == LogFormat::Json);
    let json = match wanted.or(variable.as_deref()) {
        Some(format) => format == "json",
        None => configured(),
    };
    let fallback = if serving { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KOP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
}
