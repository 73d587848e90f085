// SPDX-License-Identifier: EUPL-1.2
//! Problems on the terminal: one paragraph each on standard error, or JSON on standard output.

use std::{
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

use kop_core::{
    Diagnostic, Severity,
    diagnostic::{Class, Lang},
};

/// Prints problems and gives the exit code of a command that failed.
pub(crate) fn print(
    found: &[Diagnostic],
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if json {
        writeln!(out, "{:#}", serde_json::json!(found))?;
    } else {
        let mut err = io::stderr().lock();
        for problem in found {
            write!(err, "{}", paragraph(problem, lang, "", false))?;
        }
    }
    Ok(ExitCode::FAILURE)
}

/// One problem as lines: what, where with the line's text, field, target, hint. `reveal` shows the value.
pub(crate) fn paragraph(problem: &Diagnostic, lang: Lang, indent: &str, reveal: bool) -> String {
    let (place, field, target, rule, hint, value) = match lang {
        Lang::De => ("Stelle", "Feld", "Ziel", "Regel", "Abhilfe", "Wert"),
        Lang::En => ("place", "field", "target", "rule", "hint", "value"),
    };
    let mut text = String::new();
    let kind = kind(problem, lang);
    let _ = writeln!(text, "{indent}{} ({kind}): {}", problem.code, problem.text(lang));
    let mut line = |name: &str, content: &str| {
        let _ = writeln!(text, "{indent}  {name}: {content}");
    };
    if let Some(found) = &problem.field {
        let label = found.label.as_ref().map(|label| format!("{label} · ")).unwrap_or_default();
        line(field, &format!("{label}{}", found.path));
    }
    if let Some(at) = &problem.place {
        line(place, &format!("{}:{}:{}", at.file, at.line, at.column));
        if let Some(snippet) = &at.snippet {
            let number = at.line.to_string();
            let _ = writeln!(text, "{indent}    {number} │ {snippet}");
            if at.column > 0 {
                let before = number.chars().count() + at.column as usize;
                let _ = writeln!(text, "{indent}    {:before$}  ▲", "");
            }
        }
    }
    let mut line = |name: &str, content: &str| {
        let _ = writeln!(text, "{indent}  {name}: {content}");
    };
    if let Some(found) = &problem.target {
        line(target, found);
    }
    if let Some(broken) = &problem.rule {
        line(rule, broken);
    }
    let shown =
        if reveal { problem.revealed.as_ref().or(problem.value.as_ref()) } else { problem.value.as_ref() };
    if let Some(shown) = shown {
        line(value, shown);
    }
    if let Some(detail) = &problem.detail {
        let _ = writeln!(text, "{indent}  {detail}");
    }
    let mut line = |name: &str, content: &str| {
        let _ = writeln!(text, "{indent}  {name}: {content}");
    };
    if let Some(found) = &problem.hint {
        line(hint, found);
    }
    text
}

fn kind(problem: &Diagnostic, lang: Lang) -> &'static str {
    match (problem.severity, problem.class, lang) {
        (Severity::Hinweis, _, Lang::De) => "Hinweis",
        (Severity::Warnung, _, Lang::De) => "Warnung",
        (Severity::Fehler, class, Lang::De) => class.german(),
        (Severity::Hinweis, _, Lang::En) => "note",
        (Severity::Warnung, _, Lang::En) => "warning",
        (_, Class::Fachlich, Lang::En) => "data error",
        (_, Class::Zuordnung, Lang::En) => "mapping error",
        (_, Class::Struktur, Lang::En) => "structural error",
        (_, Class::Technisch, Lang::En) => "technical error",
    }
}
