// SPDX-License-Identifier: EUPL-1.2
//! `kop messages correct`: lays another value over one of an application, with a reason and a name. The application
//! itself stays as it came.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;
use kop_core::{Eingang, Zeitpunkt, diagnostic::Lang};
use kop_flow::correction;
use kop_store::{NewCorrection, NewCorrections, Store};

use super::{one, person, pick};
use crate::problems;

/// What to correct.
#[derive(Args)]
pub(crate) struct CorrectArgs {
    /// Vorgangsnummer oder Nummer des Eingangs, wie bei „show“
    nummer: String,
    /// Feld und neuer Wert; mehrere sind möglich
    #[arg(required = true, value_name = "FELD/PFAD=WERT", value_parser = entry)]
    werte: Vec<(String, String)>,
    /// Warum; steht im Verlauf
    #[arg(long)]
    grund: String,
    /// Wer die Korrektur verantwortet
    #[arg(long, value_name = "NAME")]
    von: String,
    /// Auch Felder, die der Antrag nicht hat
    #[arg(long)]
    neu: bool,
}

fn entry(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("FELD/PFAD=WERT")?;
    Ok((path.trim().to_owned(), value.to_owned()))
}

/// Runs the command. Nothing is corrected unless everything can be.
pub(super) async fn run(
    store: &dyn Store,
    args: &CorrectArgs,
    now: Zeitpunkt,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if args.grund.trim().is_empty() || args.von.trim().is_empty() {
        let needed =
            pick(lang, "Grund und Name dürfen nicht leer sein.", "Reason and name must not be empty.");
        writeln!(io::stderr(), "{needed}")?;
        return Ok(ExitCode::from(2));
    }
    let Some(found) = one(store, None, &args.nummer, lang).await? else { return Ok(ExitCode::from(2)) };
    let detail = match store.submission(&found.tenant, found.submission_id).await {
        Ok(detail) => detail,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let Ok(mut eingang) = serde_json::from_slice::<Eingang>(&detail.submission.document) else {
        let unreadable = kop_core::Diagnostic::new(
            "KOP-F008",
            "Das gespeicherte Dokument des Eingangs kann nicht gelesen werden.",
            "The stored document of the submission cannot be read.",
        );
        return problems::print(&[unreadable], lang, json, out);
    };
    correction::apply(&mut eingang, &detail.corrections);
    let (mut corrections, mut refused) = (Vec::new(), Vec::new());
    for (path, value) in &args.werte {
        match correction::check(&eingang, path, value, args.neu) {
            Ok(before) => {
                corrections.push(NewCorrection { path: path.clone(), before, after: value.clone() });
            }
            Err(problem) => refused.push(problem),
        }
    }
    if !refused.is_empty() {
        return problems::print(&refused, lang, json, out);
    }
    let new = NewCorrections {
        submission_id: found.submission_id,
        seen: detail.corrections.last().map_or(0, |last| last.seq),
        corrections,
        reason: args.grund.trim().to_owned(),
        who: args.von.trim().to_owned(),
        account: person(),
    };
    if let Err(error) = store.correct(&found.tenant, new, now).await {
        return problems::print(&[error.diagnostic()], lang, json, out);
    }
    if json {
        let paths: Vec<_> = args.werte.iter().map(|(path, _)| path).collect();
        writeln!(
            out,
            "{:#}",
            serde_json::json!({ "vorgangsnummer": found.vorgangsnummer, "korrigiert": paths })
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let said = pick(
        lang,
        "korrigiert; der Antrag selbst bleibt, wie er kam. Wirksam wird es mit „kop messages retry“ oder „remap“.",
        "corrected; the application itself stays as it came. `kop messages retry` or `remap` makes use of it.",
    );
    writeln!(out, "{} {said}", found.vorgangsnummer)?;
    Ok(ExitCode::SUCCESS)
}
