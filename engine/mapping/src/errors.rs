// SPDX-License-Identifier: EUPL-1.2
//! From what Rhai reports to a diagnostic with code, place and field.

use kop_core::{Diagnostic, diagnostic::Place, similar};
use rhai::{Dynamic, EvalAltResult, ParseError, ParseErrorType, Position};

use crate::{messages, script::Source};

/// A diagnostic on its way through Rhai as the value of a thrown error.
#[derive(Clone)]
pub(crate) struct Problem(pub(crate) Box<Diagnostic>);

impl Problem {
    #[allow(clippy::unnecessary_box_returns)] // Rhai's functions return their errors boxed
    /// As an error that a helper returns; Rhai fills in the position of the call.
    pub(crate) fn raise(diagnostic: Diagnostic) -> Box<EvalAltResult> {
        EvalAltResult::ErrorRuntime(Dynamic::from(Self(Box::new(diagnostic))), Position::NONE).into()
    }
}

/// The token with which the deadline ends a script.
#[derive(Clone)]
pub(crate) struct OutOfTime;

/// A script that does not compile.
pub(crate) fn of_parse(error: &ParseError, source: &Source) -> Diagnostic {
    let (de, en) = messages::parse(error.err_type());
    let (code, hint) = messages::parse_code(error.err_type());
    let mut problem = Diagnostic::new(code, de, en).with_detail(plain(&error.err_type().to_string()));
    problem.hint = hint;
    if let ParseErrorType::VariableUndefined(name) = error.err_type() {
        let names = source.text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let names = names.filter(|word| word.starts_with(char::is_alphabetic) && word != name);
        if let Some(question) = similar::question(&similar::near(name, names)) {
            problem.hint = Some(question);
        }
    }
    place(problem, source, error.position())
}

/// A script that failed. `sources` are the script's files, the main script first.
pub(crate) fn of_run(error: EvalAltResult, sources: &[Source]) -> Diagnostic {
    let mut source = sources.first();
    let mut error = error;
    let mut position = error.position();
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(_, name, inner, at) => {
                if let Some(found) = sources.iter().find(|s| !name.is_empty() && *s.file == *name) {
                    source = Some(found);
                }
                if !position.is_none() || !at.is_none() {
                    position = if inner.position().is_none() { at } else { inner.position() };
                }
                error = *inner;
            }
            EvalAltResult::ErrorInModule(name, inner, at) => {
                match sources.iter().find(|s| *s.file == *name) {
                    Some(found) => {
                        source = Some(found);
                        position = inner.position();
                    }
                    None => position = at,
                }
                error = *inner;
            }
            _ => break,
        }
    }
    if !error.position().is_none() {
        position = error.position();
    }
    let problem = innermost(error);
    match source {
        Some(source) if problem.place.is_none() => place(problem, source, position),
        _ => problem,
    }
}

fn innermost(error: EvalAltResult) -> Diagnostic {
    let error = match error {
        EvalAltResult::ErrorRuntime(value, at) => match value.try_cast_result::<Problem>() {
            Ok(problem) => return *problem.0,
            // The thrown value may hold what the citizen wrote, so it is shown masked only.
            Err(thrown) => {
                let problem = Diagnostic::new(
                    "KOP-M008",
                    "Die Zuordnung hat mit „throw“ abgebrochen.",
                    "The mapping stopped with “throw”.",
                )
                .with_hint("Mit fehler(\"…\") wird die Ursache verständlich angezeigt.");
                let _ = at;
                return match thrown.into_immutable_string() {
                    Ok(text) => problem.with_value(&text.chars().take(200).collect::<String>()),
                    Err(_) => problem,
                };
            }
        },
        other => other,
    };
    let message = messages::run(&error);
    let mut problem = Diagnostic::new(message.code, message.de, message.en);
    problem.hint = message.hint;
    problem.detail = message.detail;
    problem
}

/// Names the place, with the line's text.
pub(crate) fn place(problem: Diagnostic, source: &Source, position: Position) -> Diagnostic {
    let Some(line) = position.line() else {
        return problem.with_place(Place {
            file: source.file.to_string(),
            line: 1,
            column: 0,
            snippet: None,
        });
    };
    let snippet = source.text.lines().nth(line - 1).map(|text| text.chars().take(200).collect());
    problem.with_place(Place {
        file: source.file.to_string(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: position.position().and_then(|column| u32::try_from(column).ok()).unwrap_or(0),
        snippet,
    })
}

/// A library's words on one line and of bearable length.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
