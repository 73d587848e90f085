// SPDX-License-Identifier: EUPL-1.2
//! `kop map lineage`: field of the form ↔ line of the script ↔ element of the message.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use kop_core::{Diagnostic, mask::mask};
use kop_flow::{
    drift::plain,
    lineage::{Effect, Lineage, Link, WHEN_ASKED, trace},
};
use kop_mapping::{RunInput, Script};
use kop_workshop::case::moment;

use crate::workbench::Workbench;

/// What was traced.
pub(crate) struct Found {
    lineage: Lineage,
    script: Arc<Script>,
    /// Values of the result by path.
    values: BTreeMap<String, String>,
}

/// What to show of it.
pub(crate) struct Only<'a> {
    pub(crate) target: Option<&'a str>,
    pub(crate) field: Option<&'a str>,
}

impl Only<'_> {
    fn shows(&self, link: &Link) -> bool {
        let under = |path: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| {
                let fits = |path: &str| {
                    path.strip_prefix(wanted)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('['))
                };
                fits(path) || fits(&plain(path))
            })
        };
        under(&link.target, self.target) && under(&link.field.path, self.field)
    }
}

/// Runs the mapping and traces what became of each field.
pub(crate) async fn gather(
    bench: &Workbench,
    name: &str,
    payload: &Path,
    source: Option<&str>,
) -> Result<Found, Vec<Diagnostic>> {
    let mapping = bench.load(name)?;
    let eingang = bench.read(payload, source).await?;
    let input = RunInput {
        eingang: Arc::new(eingang),
        tables: mapping.tables.clone(),
        parameters: Arc::new(mapping.parameters.clone()),
        now: moment(),
    };
    let base = bench.host.run(&mapping.script, input.clone()).await?;
    let lineage = trace(&bench.host, &mapping.script, &input, &base, WHEN_ASKED).await;
    let values = kop_flow::lineage::leaves(&base.tree);
    Ok(Found { lineage, script: mapping.script, values })
}

/// Prints the links by element, then the elements that come from no field.
pub(crate) fn print(
    found: &Found,
    only: &Only<'_>,
    reveal: bool,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if !found.lineage.is_complete() {
        writeln!(
            io::stderr(),
            "Nach {} s abgebrochen: Nicht alle Felder wurden versucht.",
            WHEN_ASKED.as_secs()
        )?;
    }
    let shown = |value: &String| if reveal { value.clone() } else { mask(value) };
    let plain_values: BTreeSet<String> = found.values.keys().map(|path| plain(path)).collect();
    // One repeat less gives the others other numbers; that is no element of its own.
    let renumbered = |link: &&Link| {
        link.present
            && !found.values.contains_key(&link.target)
            && plain_values.contains(&plain(&link.target))
    };
    let links = found.lineage.links().iter().filter(|link| only.shows(link) && !renumbered(link));
    let links: Vec<&Link> = links.collect();
    let constants: Vec<(&String, &String)> = found
        .values
        .iter()
        .filter(|(path, _)| {
            only.field.is_none() && found.lineage.links().iter().all(|link| link.target != **path)
        })
        .filter(|(path, _)| {
            let path: &str = path;
            only.target.is_none_or(|wanted| path.starts_with(wanted) || plain(path).starts_with(wanted))
        })
        .collect();
    if json {
        let links: Vec<_> = links
            .iter()
            .map(|link| {
                serde_json::json!({
                    "feld": link.field.path, "label": link.field.label, "gelesen": link.read_at,
                    "ziel": link.target, "geschrieben": found.script.place_of(&link.target),
                    "wirkung": if link.effect == Effect::Value { "wert" } else { "zweig" },
                    "ausgefuellt": link.present, "wert": found.values.get(&link.target).map(shown),
                })
            })
            .collect();
        let rest: Vec<_> = constants
            .iter()
            .map(|(path, value)| {
                serde_json::json!({
                    "ziel": path, "geschrieben": found.script.place_of(path), "wert": shown(value),
                })
            })
            .collect();
        writeln!(out, "{:#}", serde_json::json!({ "verbindungen": links, "ohneFeld": rest }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut last = "";
    for link in &links {
        if link.target != last {
            last = &link.target;
            let value =
                found.values.get(last).map(|value| format!(" = {}", shown(value))).unwrap_or_default();
            writeln!(out, "{last}{value}")?;
            if let Some(place) = found.script.place_of(last) {
                let snippet = place.snippet.unwrap_or_default();
                writeln!(out, "    {}:{}  {}", place.file, place.line, snippet.trim())?;
            }
        }
        let label = link.field.label.as_ref().map(|label| format!(" „{label}“")).unwrap_or_default();
        let here = found.values.contains_key(&link.target);
        let what = match (link.effect, link.present, here) {
            (Effect::Value, true, _) => "Wert aus",
            (Effect::Branch, true, true) => "da wegen",
            (Effect::Branch, true, false) => "käme ohne",
            (Effect::Value, false, true) => "anders mit",
            (Effect::Branch, false, true) => "entfiele mit",
            (_, false, false) => "käme mit",
        };
        let read = link.read_at.as_ref().map(|at| format!("  gelesen {}:{}", at.file, at.line));
        writeln!(out, "  {what} {}{label}{}", link.field.path, read.unwrap_or_default())?;
    }
    if !constants.is_empty() {
        writeln!(out, "\nAus keinem Feld des Formulars")?;
        for (path, value) in constants {
            let place = found.script.place_of(path).map(|at| format!("  {}:{}", at.file, at.line));
            writeln!(out, "  {path} = {}{}", shown(value), place.unwrap_or_default())?;
        }
    }
    if links.is_empty() && only.field.is_some() {
        writeln!(out, "Dieses Feld wird nicht gelesen oder zeigt sich in keinem Element.")?;
    }
    Ok(ExitCode::SUCCESS)
}
