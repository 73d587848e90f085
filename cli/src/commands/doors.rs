// SPDX-License-Identifier: EUPL-1.2
//! `kop doors`: what this binary can take in, with the JSON Schema of the settings.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::registry;

/// Prints every intake: name and address, or with `--json` the schema of its settings too.
pub(crate) fn run(json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let intakes = registry::intakes();
    if json {
        let doors: Vec<_> = intakes
            .iter()
            .map(|intake| {
                serde_json::json!({
                    "eingang": intake.source(), "adresse": intake.address(), "einstellungen": intake.schema(),
                })
            })
            .collect();
        writeln!(out, "{:#}", serde_json::Value::Array(doors))?;
    } else {
        for intake in intakes {
            writeln!(out, "{:<14}/<mandant>/{}", intake.source(), intake.address())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
