// SPDX-License-Identifier: EUPL-1.2
//! Loads one mapping from its folder: the tenant's own, or the library's with the tenant's tables and
//! parameters laid over it. Compiles the script, runs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use kop_core::{Diagnostic, diagnostic::Severity};
use kop_mapping::{ModuleSource, ScriptSource, Tables};

use crate::{
    LoadContext,
    folder::{Folder, Record, bad_name, entries, is_plain_name},
    generation::{LoadedMapping, Origin},
    manifest::{Manifest, Target},
    source::SourceFile,
};

/// Folder of modules that scripts import.
const SHARED: &str = "_gemeinsam";
/// What the tenant laid over a mapping of the library is recorded below this name.
const OVERLAY: &str = "mandant";
/// Placeholders of `dateiname`.
const PLACEHOLDERS: [&str; 5] =
    ["vorgangsnummer", "nachrichten_uuid", "prozess_id", "nachrichtentyp", "datum"];

/// Loads a mapping by name. `tenant_dir` is the tenant's folder (its `zuordnungen/` goes first), `library` the
/// folder of the shared mappings. Warnings go to `warnings`.
///
/// # Errors
/// Everything that is wrong with it, with places.
pub fn load_mapping(
    name: &str,
    tenant_dir: Option<&Path>,
    library: Option<&Path>,
    ctx: &LoadContext<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<LoadedMapping, Vec<Diagnostic>> {
    load_recorded(name, tenant_dir, library, ctx, warnings).map(|(mapping, _)| mapping)
}

/// Names of the mappings in a folder: those of its sub-folders with a `mapping.toml`, sorted.
pub fn mapping_names(dir: &Path) -> Vec<String> {
    let mut names = entries(dir, "").unwrap_or_default();
    names.retain(|name| is_plain_name(name) && dir.join(name).join("mapping.toml").is_file());
    names
}

/// Where a mapping lies that is not in use yet.
#[derive(Clone, Copy, Debug)]
pub struct CandidateFolders<'a> {
    /// The mapping's own folder; modules in `_gemeinsam` beside it go before all others.
    pub folder: &'a Path,
    /// The tenant's folder, whose tables and parameters for the mapping are laid over it.
    pub tenant_dir: &'a Path,
    /// The folder of the shared mappings.
    pub library: Option<&'a Path>,
}

/// Loads a mapping from a folder of any name as if it were in use under `name`.
///
/// # Errors
/// As [`load_mapping`].
pub fn load_candidate(
    name: &str,
    folders: CandidateFolders<'_>,
    ctx: &LoadContext<'_>,
) -> Result<LoadedMapping, Vec<Diagnostic>> {
    let own = folders.tenant_dir.join("zuordnungen");
    let places = Places {
        own: Some((&own, folders.tenant_dir)),
        library: folders.library,
        candidate: Some(folders.folder),
    };
    load_from(name, &places, ctx, &mut Vec::new()).map(|(mapping, _)| mapping)
}

/// Loads a mapping from the files that its hash is over, as [`LoadedMapping::sources`] names them.
///
/// # Errors
/// As [`load_mapping`].
pub fn load_archived(
    name: &str,
    folder: &Path,
    ctx: &LoadContext<'_>,
) -> Result<LoadedMapping, Vec<Diagnostic>> {
    let overlays = folder.join(OVERLAY);
    let places = Places { own: Some((&overlays, folder)), library: Some(folder), candidate: None };
    load_from(name, &places, ctx, &mut Vec::new()).map(|(mapping, _)| mapping)
}

pub(crate) fn load_recorded(
    name: &str,
    tenant_dir: Option<&Path>,
    library: Option<&Path>,
    ctx: &LoadContext<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(LoadedMapping, Record), Vec<Diagnostic>> {
    let own = tenant_dir.map(|dir| (dir.join("zuordnungen"), dir));
    let own = own.as_ref().map(|(root, dir)| (root.as_path(), *dir));
    load_from(name, &Places { own, library, candidate: None }, ctx, warnings)
}

/// Folders that a mapping can come from.
struct Places<'a> {
    /// The tenant's own mappings and overlays, and the folder that they must not lead out of.
    own: Option<(&'a Path, &'a Path)>,
    library: Option<&'a Path>,
    candidate: Option<&'a Path>,
}

fn load_from(
    name: &str,
    places: &Places<'_>,
    ctx: &LoadContext<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(LoadedMapping, Record), Vec<Diagnostic>> {
    let one = |problem: Diagnostic| vec![problem];
    if !is_plain_name(name) || name.starts_with('_') {
        return Err(one(bad_name("Zuordnung")));
    }
    let open_own = |sub: &str| match places.own {
        Some((root, within)) => Folder::open(&root.join(sub), sub, within).map_err(one),
        None => Ok(None),
    };
    let open_shipped = |sub: &str| match places.library {
        Some(dir) => Folder::open(&dir.join(sub), sub, dir).map_err(one),
        None => Ok(None),
    };
    let own = open_own(name)?;
    let shipped = match places.candidate {
        Some(folder) => Folder::open(folder, name, folder).map_err(one)?,
        None => open_shipped(name)?,
    };
    // A candidate for the tenant's own mapping takes its place.
    let own = own.filter(|own| places.candidate.is_none() || !own.has("mapping.toml"));
    let (base, overlay, origin) = match (own, shipped) {
        (Some(own), _) if own.has("mapping.toml") => (own, None, Origin::Tenant),
        (Some(own), Some(shipped)) if shipped.has("mapping.toml") => (shipped, Some(own), Origin::Overlaid),
        (None, Some(shipped)) if shipped.has("mapping.toml") => (shipped, None, Origin::Library),
        _ => return Err(one(not_there(name, places.own.map(|(root, _)| root), places.library))),
    };
    if overlay.as_ref().is_some_and(|own| own.has("mapping.rhai")) {
        return Err(one(Diagnostic::new(
            "KOP-K011",
            format!("{name}: Im Ordner des Mandanten steht mapping.rhai ohne mapping.toml."),
            format!("{name}: The tenant's folder has mapping.rhai without mapping.toml."),
        )
        .with_hint("Entweder die ganze Zuordnung in den Ordner legen (mit mapping.toml) oder nur Tabellen und parameter.toml.")));
    }

    let mut record = Record::default();
    let mut problems = Vec::new();
    let manifest_file = base.read("mapping.toml", &mut record).map_err(one)?;
    let manifest: Manifest = manifest_file.parse().map_err(one)?;
    check_manifest(&manifest, &manifest_file, ctx, &mut problems);
    let script_file = base.read("mapping.rhai", &mut record).map_err(one)?;
    let beside = match places.candidate.and_then(Path::parent) {
        Some(dir) => Folder::open(&dir.join(SHARED), SHARED, dir).map_err(one)?,
        None => None,
    };
    let shared = [beside, open_own(SHARED)?, open_shipped(SHARED)?];
    let modules = imported(&script_file, &shared, &mut record).map_err(one)?;
    let tables = tables(&base, overlay.as_ref(), &mut record, warnings, &mut problems);
    let parameters = parameters(&base, &mut record, &mut problems);
    let mut overlay_parameters = BTreeMap::new();
    if let Some(overlay) = &overlay {
        let mut laid_over = Record::default();
        overlay_parameters = self::parameters(overlay, &mut laid_over, &mut problems);
        record.extend(&laid_over.under(&format!("{OVERLAY}/")));
    }
    let script_text: Arc<str> = script_file.text.as_str().into();
    let compiled =
        ctx.host.compile(ScriptSource { file: script_file.name.clone(), text: script_file.text, modules });
    match compiled {
        Ok(script) if problems.is_empty() => Ok((
            LoadedMapping {
                name: name.to_owned(),
                origin,
                dir: base.path,
                manifest,
                script,
                script_text,
                tables: Arc::new(tables),
                parameters,
                overlay_parameters,
                hash: record.hash(),
                sources: Mutex::new(Some(record.texts())),
                tested_forms: OnceLock::new(),
            },
            record,
        )),
        Ok(_) => Err(problems),
        Err(found) => {
            problems.extend(found);
            Err(problems)
        }
    }
}

fn not_there(name: &str, own: Option<&Path>, library: Option<&Path>) -> Diagnostic {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for dir in [own, library].into_iter().flatten() {
        names.extend(mapping_names(dir));
    }
    let known = names.into_iter().collect::<Vec<_>>().join(", ");
    let problem = Diagnostic::new(
        "KOP-K010",
        format!("Die Zuordnung „{name}“ gibt es nicht."),
        format!("There is no mapping \"{name}\"."),
    );
    if known.is_empty() { problem } else { problem.with_hint(format!("Vorhanden: {known}")) }
}

fn check_manifest(
    manifest: &Manifest,
    file: &SourceFile,
    ctx: &LoadContext<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    match &manifest.ziel {
        Target::Xoev { standard, version, root }
            if (ctx.message_namespace)(standard, version, root).is_none() =>
        {
            problems.push(
                Diagnostic::new(
                    "KOP-K012",
                    format!("Das Schema für {root} ({standard} {version}) ist nicht vorhanden."),
                    format!("The schema of {root} ({standard} {version}) is not there."),
                )
                .with_place(file.place(&["ziel"]))
                .with_hint("Das Paket des Standards mit „kop schema import“ laden oder den Namen prüfen."),
            );
        }
        Target::Csv if manifest.csv.spalten.is_empty() => problems.push(
            Diagnostic::new(
                "KOP-K011",
                format!("{}: Für das Ziel csv fehlen die Spalten.", file.name),
                format!("{}: The target csv needs its columns.", file.name),
            )
            .with_place(file.place(&["csv"]))
            .with_hint("[csv] mit spalten = [\"…\"] ergänzen."),
        ),
        _ => {}
    }
    if let Some(template) = &manifest.dateiname {
        let unknown = template
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap_or_default())
            .find(|name| !PLACEHOLDERS.contains(name));
        if unknown.is_some() || template.trim().is_empty() || template.contains(['/', '\\']) {
            problems.push(
                Diagnostic::new(
                    "KOP-K011",
                    format!(
                        "{}: Der Dateiname ist keiner oder hat einen unbekannten Platzhalter.",
                        file.name
                    ),
                    format!("{}: The file name is none, or has an unknown placeholder.", file.name),
                )
                .with_place(file.place(&["dateiname"]))
                .with_hint(format!("Platzhalter: {{{}}}", PLACEHOLDERS.join("} {"))),
            );
        }
    }
}

/// The modules that a script imports, and those that they import. The tenant's go before the library's.
fn imported(
    script: &SourceFile,
    shared: &[Option<Folder>],
    record: &mut Record,
) -> Result<Vec<ModuleSource>, Diagnostic> {
    let mut modules: BTreeMap<String, ModuleSource> = BTreeMap::new();
    let mut open: Vec<String> = import_names(&script.text);
    while let Some(name) = open.pop() {
        // A name that leads elsewhere or nowhere is left to the compiler, which knows its line.
        if modules.contains_key(&name) || !is_plain_name(&name) {
            continue;
        }
        let file = format!("{name}.rhai");
        let Some(folder) = shared.iter().flatten().find(|folder| folder.has(&file)) else { continue };
        let source = folder.read(&file, record)?;
        open.extend(import_names(&source.text));
        modules.insert(name.clone(), ModuleSource { name, file: source.name, text: source.text });
    }
    Ok(modules.into_values().collect())
}

fn import_names(script: &str) -> Vec<String> {
    script
        .match_indices("import")
        .filter_map(|(at, word)| {
            let rest = script[at + word.len()..].trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '`'))?;
            rest[1..].split(quote).next().map(str::to_owned)
        })
        .collect()
}

fn tables(
    base: &Folder,
    overlay: Option<&Folder>,
    record: &mut Record,
    warnings: &mut Vec<Diagnostic>,
    problems: &mut Vec<Diagnostic>,
) -> Tables {
    let mut read = |folder: &Folder, record: &mut Record| {
        let mut tables = Tables::new();
        let stems = folder.stems("tabellen", "csv").unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        for stem in stems {
            match folder.read(&format!("tabellen/{stem}.csv"), record) {
                Ok(file) => {
                    if let Err(found) = tables.parse_csv(&stem, &file.name, &file.text) {
                        problems.extend(found);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        tables
    };
    let mut tables = read(base, record);
    if let Some(overlay) = overlay {
        let mut laid_over = Record::default();
        let over = read(overlay, &mut laid_over);
        record.extend(&laid_over.under(&format!("{OVERLAY}/")));
        for name in over.names().filter(|name| tables.get(name).is_none()) {
            warnings.push(
                Diagnostic::new(
                    "KOP-K016",
                    format!("Die Tabelle „{name}“ überlagert nichts: Die Zuordnung hat keine Tabelle dieses Namens."),
                    format!("The table \"{name}\" is laid over nothing: the mapping has no table of this name."),
                )
                .with_severity(Severity::Warnung)
                .with_detail(overlay.name_of(&format!("tabellen/{name}.csv"))),
            );
        }
        tables.overlay(&over);
    }
    tables
}

fn parameters(
    folder: &Folder,
    record: &mut Record,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    if !folder.has("parameter.toml") {
        return BTreeMap::new();
    }
    folder.read("parameter.toml", record).and_then(|file| file.parse()).unwrap_or_else(|problem| {
        problems.push(problem);
        BTreeMap::new()
    })
}
