// SPDX-License-Identifier: EUPL-1.2
//! `kop explain`: the page behind a diagnostic code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use kop_core::{
    codes,
    diagnostic::{Lang, Severity},
};

/// Prints one page, or one line for every code. Exit code 2 for a code that does not exist.
pub(crate) fn run(code: Option<&str>, lang: Lang, json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let Some(code) = code else {
        for page in codes::all() {
            let title = page.text(lang).lines().next().unwrap_or_default();
            writeln!(out, "{}  {title}", page.code)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(page) = codes::page(code) else {
        let known = match lang {
            Lang::De => "Diesen Code gibt es nicht. „kop explain“ ohne Angabe zählt alle auf.",
            Lang::En => "There is no such code. `kop explain` without one lists them all.",
        };
        writeln!(io::stderr(), "{known}")?;
        return Ok(ExitCode::from(2));
    };
    if json {
        let value = serde_json::json!({
            "code": page.code, "class": page.class, "severity": page.severity,
            "de": page.text(Lang::De), "en": page.text(Lang::En),
        });
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let severity = match (page.severity, lang) {
        (Severity::Hinweis, Lang::De) => "Hinweis",
        (Severity::Warnung, Lang::De) => "Warnung",
        (Severity::Fehler, Lang::De) => page.class.german(),
        (Severity::Hinweis, Lang::En) => "note",
        (Severity::Warnung, Lang::En) => "warning",
        (Severity::Fehler, Lang::En) => "error",
    };
    writeln!(out, "{} ({severity})\n\n{}", page.code, page.text(lang))?;
    Ok(ExitCode::SUCCESS)
}
