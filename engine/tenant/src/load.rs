// SPDX-License-Identifier: EUPL-1.2
//! From a tenant's folder to a generation: read, check everything, and only then build.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use kop_core::{Diagnostic, TenantId};
use kop_mapping::JsonPath;

use crate::{
    LoadContext,
    check::{Check, settings_of},
    condition::RouteCondition,
    config::{MandantDatei, RouteDatei},
    folder::{Folder, Record, entries},
    generation::{Generation, Identity, LoadedMapping, Receiver, Route, RouteTarget},
    manifest::Target,
    mapping::{load_recorded, mapping_names},
    pull::PullSource,
    retention::Retention,
    service,
};

/// Mappings of one tenant.
const MAX_MAPPINGS: usize = 500;

/// Loads and checks a tenant; the folder's name is its id. Reads files and touches no network.
///
/// # Errors
/// Everything that is wrong, with places; warnings along with it.
pub fn load_tenant(
    dir: &Path,
    library: Option<&Path>,
    ctx: &LoadContext<'_>,
) -> Result<Generation, Vec<Diagnostic>> {
    let folder_name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let tenant: TenantId = folder_name.parse().map_err(|_| {
        vec![
            Diagnostic::new(
                "KOP-K003",
                format!("Der Ordner „{folder_name}“ kann kein Mandant sein."),
                format!("The folder \"{folder_name}\" cannot be a tenant."),
            )
            .with_hint("Kleinbuchstaben, Ziffern und Bindestriche, höchstens 63 Zeichen."),
        ]
    })?;
    let Some(folder) = Folder::open(dir, "", dir).map_err(|problem| vec![problem])? else {
        return Err(vec![Diagnostic::new(
            "KOP-K001",
            format!("Der Ordner des Mandanten „{tenant}“ ist nicht da."),
            format!("The folder of the tenant \"{tenant}\" is not there."),
        )]);
    };
    let mut record = Record::default();
    let file = folder.read("mandant.toml", &mut record).map_err(|problem| vec![problem])?;
    let read: MandantDatei = file.parse().map_err(|problem| vec![problem])?;

    let mut check = Check {
        read: &read,
        file: &file,
        ctx,
        problems: Vec::new(),
        warnings: Vec::new(),
        faulty: BTreeMap::new(),
    };
    check.settings();
    let mappings = mappings(dir, library, &mut check, &mut record);
    senders(&mappings, &mut check);
    service::services(&mappings, &mut check);
    let parameters = Arc::new(read.parameter.clone());
    let routes: Vec<Route> = read
        .route
        .iter()
        .enumerate()
        .map(|(n, route)| build_route(n, route, &parameters, &mut check))
        .collect();
    let Check { mut problems, warnings, faulty, .. } = check;
    if !problems.is_empty() {
        problems.extend(warnings);
        return Err(problems);
    }
    let keeping =
        read.route.iter().filter_map(|route| Some((route.name.clone(), route.aufbewahrung.clone()?)));
    let retention = Retention::new(read.aufbewahrung.clone(), keeping.collect());
    Ok(Generation {
        hash: record.hash(),
        tenant,
        stage: read.stufe,
        units: read.organisationseinheiten.into_iter().map(|(id, unit)| (id, unit.name)).collect(),
        intakes: read.eingang.into_iter().map(|(source, settings)| (source, Arc::new(settings))).collect(),
        sources: read
            .quelle
            .iter()
            .map(|(name, written)| (name.clone(), PullSource::new(name, written, read.stufe)))
            .collect(),
        parameters,
        senders: read
            .absender
            .into_iter()
            .map(|(key, sender)| {
                let identity = Identity {
                    name: sender.name,
                    verzeichnisdienst: sender.verzeichnisdienst,
                    kennung: sender.kennung,
                };
                (key, identity)
            })
            .collect(),
        receivers: read
            .empfaenger
            .into_iter()
            .map(|(key, receiver)| {
                let kind = receiver.zustellung.get("art").and_then(|art| art.as_str()).unwrap_or_default();
                let receiver = Receiver {
                    key: key.clone(),
                    kind: kind.to_owned(),
                    settings: Arc::new(settings_of(&receiver.zustellung)),
                    identity: Identity {
                        name: receiver.name,
                        verzeichnisdienst: receiver.verzeichnisdienst,
                        kennung: receiver.kennung,
                    },
                    service: receiver.dienst,
                    stage: receiver.stufe,
                    retry: receiver.wiederholung,
                    lane: receiver.bahn,
                };
                (key, Arc::new(receiver))
            })
            .collect(),
        name: read.name,
        ags: read.ags,
        ars: read.ars,
        routes,
        retention,
        mappings,
        faulty,
        warnings,
    })
}

/// The tenants' folders of an instance, sorted; hidden ones and files are left out.
pub fn tenant_folders(tenants_dir: &Path) -> Vec<PathBuf> {
    entries(tenants_dir, "mandanten")
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .map(|name| tenants_dir.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

/// Every mapping that a route names and every own one; each broken one is told once, at its first mention.
fn mappings(
    dir: &Path,
    library: Option<&Path>,
    check: &mut Check<'_>,
    record: &mut Record,
) -> BTreeMap<String, Arc<LoadedMapping>> {
    let mut wanted: BTreeMap<String, Option<[String; 2]>> = BTreeMap::new();
    for (n, route) in check.read.route.iter().enumerate() {
        for (m, target) in route.ziel.iter().enumerate() {
            wanted.entry(target.zuordnung.clone()).or_insert_with(|| Some([n.to_string(), m.to_string()]));
        }
    }
    for name in mapping_names(&dir.join("zuordnungen")) {
        wanted.entry(name).or_insert(None);
    }
    if wanted.len() > MAX_MAPPINGS {
        let problem = check.at(
            "KOP-K013",
            &["route"],
            format!("Mehr als {MAX_MAPPINGS} Zuordnungen."),
            format!("More than {MAX_MAPPINGS} mappings."),
        );
        check.problems.push(problem);
        return BTreeMap::new();
    }
    let mut loaded = BTreeMap::new();
    for (name, mention) in wanted {
        match load_recorded(&name, Some(dir), library, check.ctx, &mut check.warnings) {
            Ok((mapping, files)) => {
                record.extend(&files);
                loaded.insert(name, Arc::new(mapping));
            }
            Err(mut found) => {
                for problem in &mut found {
                    if let (None, Some([n, m])) = (&problem.place, &mention) {
                        problem.place = Some(check.file.place(&["route", n, "ziel", m, "zuordnung"]));
                    }
                }
                check.faulty.insert(name, found);
            }
        }
    }
    loaded
}

/// An XÖV message needs a sender and a receiver that its head can name.
fn senders(mappings: &BTreeMap<String, Arc<LoadedMapping>>, check: &mut Check<'_>) {
    let read = check.read;
    for (n, route) in read.route.iter().enumerate() {
        for (m, target) in route.ziel.iter().enumerate() {
            let (n, m) = (n.to_string(), m.to_string());
            let keys = ["route", &n, "ziel", &m, "zuordnung"];
            let Some(mapping) = mappings.get(&target.zuordnung) else { continue };
            let default = mapping.manifest.kopf.autor.as_ref();
            if let (None, Some(key)) = (&target.absender, default)
                && !read.absender.contains_key(key)
                && matches!(mapping.manifest.ziel, Target::Xoev { .. })
            {
                check.unknown("Absender", "sender", key, &keys);
            } else if target.absender.is_none()
                && default.is_none()
                && matches!(mapping.manifest.ziel, Target::Xoev { .. })
            {
                let problem = check
                    .at(
                        "KOP-K014",
                        &keys,
                        format!(
                            "Für die Nachricht der Zuordnung „{}“ ist kein Absender genannt.",
                            mapping.name
                        ),
                        format!("No sender is named for the message of the mapping \"{}\".", mapping.name),
                    )
                    .with_hint(
                        "Im Ziel absender = \"…\" nennen oder in mapping.toml kopf = { autor = \"…\" }.",
                    );
                check.problems.push(problem);
            }
        }
    }
}

fn build_route(
    n: usize,
    route: &RouteDatei,
    parameters: &Arc<BTreeMap<String, String>>,
    check: &mut Check<'_>,
) -> Route {
    let n = n.to_string();
    let mut condition = RouteCondition { wenn: route.wenn.clone(), ..RouteCondition::default() };
    if let Some(text) = &route.wenn.jsonpath {
        match JsonPath::parse(text, Some(&check.file.place(&["route", &n, "wenn", "jsonpath"]))) {
            Ok(path) => condition.jsonpath = Some(path),
            Err(problem) => check.problems.push(*problem),
        }
    }
    if let Some(text) = &route.wenn.rhai {
        match check.ctx.host.condition(text, Some(check.file.place(&["route", &n, "wenn", "rhai"]))) {
            Ok(expression) => condition.expression = Some((expression, parameters.clone())),
            Err(problems) => check.problems.extend(problems),
        }
    }
    Route {
        name: route.name.clone(),
        otherwise: route.sonst,
        settle: route.quittieren,
        condition,
        targets: route
            .ziel
            .iter()
            .map(|target| RouteTarget {
                mapping: target.zuordnung.clone(),
                receivers: target.empfaenger.clone(),
                sender: target.absender.clone(),
                parameters: target.parameter.clone(),
                when_parked: target.bei_stau,
            })
            .collect(),
    }
}
