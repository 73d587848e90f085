// SPDX-License-Identifier: EUPL-1.2
//! The one binary `kop`: reads the command line and hands over to a command. Data goes to standard output,
//! everything else to standard error.

mod commands;
mod language;
mod problems;
mod registry;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

/// KOP engine: nimmt Anträge aus Formularsystemen an und bringt sie als XÖV-Nachricht zum Fachverfahren.
#[derive(Parser)]
#[command(name = "kop", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// Sprache der Ausgaben: de oder en (sonst nach LANG, im Zweifel Deutsch)
    #[arg(long, global = true, value_name = "SPRACHE", value_parser = ["de", "en"])]
    lang: Option<String>,
    /// Ordner der Instanz; darin liegen die Daten unter daten/
    #[arg(long, global = true, value_name = "ORDNER", default_value = ".")]
    instanz: PathBuf,
    /// Ausgabe als JSON, für Programme
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Erklärt einen Fehlercode: was er bedeutet, wie es dazu kommt, was hilft
    #[command(
        after_help = "Beispiele:\n  kop explain KOP-M002\n  kop explain            alle Codes mit Überschrift"
    )]
    Explain {
        /// Der Code, z. B. KOP-M002; ohne Angabe werden alle aufgezählt
        code: Option<String>,
    },
    /// Schema-Pakete der XÖV-Standards: laden, aufzählen, ansehen
    #[command(subcommand)]
    Schema(commands::schema::SchemaCommand),
    /// Zeigt Eingangsarten, die diese Version kennt, mit ihren Einstellungen
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
    let lang = language::choose(
        cli.lang.as_deref(),
        std::env::var("LC_ALL").or_else(|_| std::env::var("LANG")).ok(),
    );
    let mut out = std::io::stdout().lock();
    let done = match cli.command {
        Command::Explain { code } => commands::explain::run(code.as_deref(), lang, cli.json, &mut out),
        Command::Schema(command) => commands::schema::run(&command, &cli.instanz, lang, cli.json, &mut out),
        Command::Doors => commands::doors::run(cli.json, &mut out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kop", &mut out);
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        // A reader that went away (`kop explain | head`) is no failure of ours.
        if error.kind() == std::io::ErrorKind::BrokenPipe { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}
