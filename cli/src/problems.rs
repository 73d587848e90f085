// SPDX-License-Identifier: EUPL-1.2
//! Problems on the terminal: one paragraph each on standard error, or JSON on standard output.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use kop_core::{Diagnostic, diagnostic::Lang};

/// Prints problems and gives the exit code of a command that failed.
pub(crate) fn print(
    found: &[Diagnostic],
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if json {
        writeln!(out, "{:#}", serde_json::json!(found))?;
        return Ok(ExitCode::FAILURE);
    }
    let mut err = io::stderr().lock();
    for problem in found {
        writeln!(err, "{}: {}", problem.code, problem.text(lang))?;
        if let Some(place) = &problem.place {
            writeln!(err, "  {}:{}:{}", place.file, place.line, place.column)?;
        }
        if let Some(target) = &problem.target {
            writeln!(err, "  {target}")?;
        }
        if let Some(detail) = &problem.detail {
            writeln!(err, "  {detail}")?;
        }
        if let (Some(hint), Lang::De) = (&problem.hint, lang) {
            writeln!(err, "  Abhilfe: {hint}")?;
        }
        writeln!(err, "  kop explain {}", problem.code)?;
    }
    Ok(ExitCode::FAILURE)
}
