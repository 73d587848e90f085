// SPDX-License-Identifier: EUPL-1.2
//! `kop schema diff`: what the author of a mapping must change for another version of a standard.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use kop_core::{Diagnostic, diagnostic::Lang};
use kop_tenant::{LoadedMapping, Target};
use kop_workshop::schema_diff::{Change, ChangeKind, PackageDiff, by_messages, compare};
use kop_xml::{Package, SchemaStore};

use crate::{
    problems,
    workbench::{Workbench, name_of},
};

/// Messages that one headline lists.
const NAMED: usize = 6;
/// Characters of a value that a line shows.
const VALUE: usize = 100;

/// What to compare.
pub(crate) struct Wanted<'a> {
    pub(crate) before: &'a str,
    pub(crate) after: &'a str,
    pub(crate) root: Option<&'a str>,
    pub(crate) mapping: Option<&'a PathBuf>,
}

/// Compares two versions and prints what changed.
pub(crate) fn run(
    store: &SchemaStore,
    instance: &Path,
    wanted: &Wanted<'_>,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let work = || -> Result<_, Vec<Diagnostic>> {
        let mapping = wanted.mapping.map(|path| load(instance, path)).transpose()?;
        let mut root = wanted.root.map(str::to_owned);
        if let Some(mapping) = &mapping
            && root.is_none()
            && let Target::Xoev { root: own, .. } = &mapping.manifest.ziel
        {
            root = Some(own.clone());
        }
        let (before, after) = (package(store, wanted.before)?, package(store, wanted.after)?);
        let keys = mapping.as_ref().map(|mapping| &**mapping.script.key_positions());
        let diff = compare(&before, &after, root.as_deref(), keys).map_err(|problem| vec![problem])?;
        Ok((before, after, mapping, diff))
    };
    let (before, after, mapping, diff) = match work() {
        Ok(found) => found,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let versions = [&before, &after].map(|one| format!("{} {}", one.info().standard, one.info().version));
    if json {
        let mut value = serde_json::json!(diff);
        value["vorher"] = versions[0].as_str().into();
        value["nachher"] = versions[1].as_str().into();
        if let Some(mapping) = &mapping {
            value["zuordnung"] = mapping.name.as_str().into();
            for change in value["aenderungen"].as_array_mut().into_iter().flatten() {
                let place = change["pfad"].as_str().and_then(|path| mapping.script.place_of(path));
                change["stelle"] = serde_json::json!(place);
            }
        }
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{} → {}", versions[0], versions[1])?;
    messages(&diff, out)?;
    for (before, after) in &diff.namespaces {
        writeln!(out, "  Namensraum: {} → {}", unnamed(before), unnamed(after))?;
    }
    for (roots, changes) in by_messages(&diff) {
        writeln!(out, "\n{}", headline(roots, diff.compared.len()))?;
        for change in changes {
            writeln!(out, "  {}", line(change))?;
            if let Some(place) = mapping.as_ref().and_then(|mapping| mapping.script.place_of(&change.path)) {
                let snippet = place.snippet.unwrap_or_default();
                writeln!(out, "      {}:{}  {}", place.file, place.line, snippet.trim())?;
            }
        }
    }
    let (count, gone) = (diff.changes.len(), diff.gone.len() + diff.renamed.len());
    let scope = match &mapping {
        Some(mapping) => format!(", die „{}“ betreffen", mapping.name),
        None => String::new(),
    };
    writeln!(
        out,
        "\n{count} Änderungen{scope}; {} Nachrichten verglichen, {gone} weg oder umbenannt, {} neu.",
        diff.compared.len(),
        diff.new.len()
    )?;
    if mapping.is_some() {
        writeln!(out, "Nicht gesehen werden Elemente, deren Namen das Skript erst beim Lauf bildet.")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn load(instance: &Path, path: &Path) -> Result<Arc<LoadedMapping>, Vec<Diagnostic>> {
    Workbench::open(instance, Some(path))?.load(&name_of(path)).map(Arc::new)
}

fn package(store: &SchemaStore, name: &str) -> Result<Arc<Package>, Vec<Diagnostic>> {
    let (standard, version) = name.split_once('/').unwrap_or((name, ""));
    store.find(standard, version).ok_or_else(|| {
        vec![
            Diagnostic::new(
                "KOP-F005",
                format!("Das Schema „{standard} {version}“ ist nicht vorhanden."),
                format!("The schema \"{standard} {version}\" is not there."),
            )
            .with_hint("Geschrieben wird STANDARD/VERSION; „kop schema list“ zählt die vorhandenen auf."),
        ]
    })
}

fn messages(diff: &PackageDiff, out: &mut impl Write) -> io::Result<()> {
    for name in &diff.gone {
        writeln!(out, "  Nachricht entfällt: {name}")?;
    }
    for (before, after) in &diff.renamed {
        writeln!(out, "  Nachricht umbenannt: {before} → {after}")?;
    }
    for name in &diff.new {
        writeln!(out, "  Nachricht neu: {name}")?;
    }
    Ok(())
}

fn unnamed(space: &str) -> &str {
    if space.is_empty() { "(keiner)" } else { space }
}

fn headline(roots: &[String], compared: usize) -> String {
    match roots {
        [one] => one.clone(),
        all if all.len() == compared => format!("Alle {compared} verglichenen Nachrichten"),
        all => {
            let names = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if all.len() > NAMED { ", …" } else { "" };
            format!("{} Nachrichten: {names}{more}", all.len())
        }
    }
}

/// Patterns may be longer than a screen; `--json` has them whole.
fn short(value: &str) -> String {
    let cut: String = value.chars().take(VALUE).collect();
    if cut.len() < value.len() { format!("{cut}…") } else { cut }
}

fn line(change: &Change) -> String {
    let values = match (short(&change.before), short(&change.after)) {
        (before, after) if before.is_empty() && after.is_empty() => String::new(),
        (before, after) if before.is_empty() || after.is_empty() => format!(": {before}{after}"),
        (before, after) => format!(": {before} → {after}"),
    };
    let owner = change.owner.as_ref().filter(|_| change.kind != ChangeKind::Typ);
    let owner = owner.map(|owner| format!("  (Typ {owner})")).unwrap_or_default();
    format!("{}  {}{values}{owner}", change.path, change.kind.german())
}
