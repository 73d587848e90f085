// SPDX-License-Identifier: EUPL-1.2
//! `kop check`: reads the whole configuration as `kop serve` would and says what is wrong with it.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use kop_core::{Diagnostic, diagnostic::Lang};

use crate::{instance::Instance, problems};

/// Checks an instance. Exit code 1 when a tenant could not be loaded.
pub(crate) fn run(folder: &Path, lang: Lang, json: bool, out: &mut impl Write) -> io::Result<ExitCode> {
    let instance = match Instance::load(folder) {
        Ok(instance) => instance,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    // A schema that cannot be compiled would only show when the first application arrives.
    let mut found: Vec<Diagnostic> = Vec::new();
    let generations = instance.tenants.all();
    for mapping in generations.iter().flat_map(|generation| generation.mappings.values()) {
        if let kop_tenant::Target::Xoev { standard, version, root } = &mapping.manifest.ziel
            && let Some(package) = instance.schemas.find(standard, version)
            && let Err(problem) = package.message(root)
        {
            found.push(problem);
        }
    }
    found.extend(generations.iter().flat_map(|generation| instance.keys.problems(&generation.tenant)));
    let unscanned = instance.unscanned();
    let failed = !instance.broken.is_empty() || !found.is_empty();
    if json {
        let tenants: Vec<_> = generations
            .iter()
            .map(|generation| {
                serde_json::json!({
                    "mandant": generation.tenant, "name": generation.name, "stufe": generation.stage,
                    "generation": generation.hash, "routen": generation.routes.len(),
                    "empfaenger": generation.receivers.len(), "zuordnungen": generation.mappings.len(),
                    "warnungen": generation.warnings,
                })
            })
            .collect();
        let broken: Vec<_> = instance
            .broken
            .iter()
            .map(|(name, problems)| serde_json::json!({ "mandant": name, "fehler": problems }))
            .collect();
        writeln!(
            out,
            "{:#}",
            serde_json::json!({ "mandanten": tenants, "fehlerhaft": broken, "fehler": found, "warnungen": unscanned })
        )?;
    } else {
        for generation in generations.iter().filter(|generation| generation.faulty.is_empty()) {
            writeln!(
                out,
                "✓ {} ({}) · {} {} · {} {} · {} {}",
                generation.tenant,
                generation.name,
                pick(lang, "Wege:", "routes:"),
                generation.routes.len(),
                pick(lang, "Empfänger:", "receivers:"),
                generation.receivers.len(),
                pick(lang, "Zuordnungen:", "mappings:"),
                generation.mappings.len(),
            )?;
            for warning in &generation.warnings {
                write!(out, "{}", problems::paragraph(warning, lang, "  ", false))?;
            }
        }
        for (name, found) in &instance.broken {
            let in_part = generations.iter().any(|generation| generation.tenant.as_str() == name);
            let said = if in_part {
                pick(lang, "Zuordnungen sind fehlerhaft", "mappings are faulty")
            } else {
                pick(lang, "kann nicht geladen werden", "cannot be loaded")
            };
            writeln!(out, "✗ {name}: {said}")?;
            for problem in found {
                write!(out, "{}", problems::paragraph(problem, lang, "  ", false))?;
            }
        }
        if let Some(warning) = &unscanned {
            write!(out, "{}", problems::paragraph(warning, lang, "", false))?;
        }
        for problem in &found {
            write!(out, "{}", problems::paragraph(problem, lang, "", false))?;
        }
        if generations.is_empty() && instance.broken.is_empty() {
            writeln!(out, "{}", pick(lang, "Kein Mandant unter mandanten/.", "No tenant in mandanten/."))?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn pick(lang: Lang, german: &'static str, english: &'static str) -> &'static str {
    match lang {
        Lang::De => german,
        Lang::En => english,
    }
}
