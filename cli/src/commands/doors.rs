// SPDX-License-Identifier: EUPL-1.2
//! `kop doors`: what this binary can take in and deliver to, with the JSON Schemas of the settings.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::registry;

/// Prints every intake and kind of receiver, or with `--json` the schemas of their settings too.
pub(crate) fn run(json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let (intakes, kinds) = (registry::doors().intakes, registry::kinds());
    if json {
        let doors: Vec<_> = intakes
            .iter()
            .map(|intake| {
                serde_json::json!({
                    "eingang": intake.source(), "adresse": intake.address(), "einstellungen": intake.schema(),
                })
            })
            .chain(
                kinds.iter().map(
                    |kind| serde_json::json!({ "zustellart": kind.name(), "einstellungen": kind.schema() }),
                ),
            )
            .collect();
        writeln!(out, "{:#}", serde_json::Value::Array(doors))?;
        return Ok(ExitCode::SUCCESS);
    }
    for intake in intakes {
        writeln!(out, "Eingang      {:<14} /<mandant>/{}", intake.source(), intake.address())?;
    }
    for kind in kinds {
        writeln!(out, "Zustellung   {}", kind.name())?;
    }
    Ok(ExitCode::SUCCESS)
}
