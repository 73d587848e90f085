// SPDX-License-Identifier: EUPL-1.2
//! The yardstick for mapping: the very same script on a plain Rhai engine whose functions do the least that gives
//! the same map. No limits, no records, no diagnoses, no thread of its own.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use kop_core::{Eingang, Feld, Inhalt};
use rhai::{Dynamic, Engine, ImmutableString, Map, Module, Scope, module_resolvers::StaticModuleResolver};

use crate::{
    Error,
    measure::{Subject, repeat},
};

/// A field as a plain tree.
enum Node {
    Leaf(ImmutableString),
    Group(BTreeMap<String, Arc<Node>>),
    Repeats(Vec<Arc<Node>>),
}

type Handle = Option<Arc<Node>>;

fn group(fields: &[Feld]) -> Node {
    Node::Group(fields.iter().map(|field| (field.name.clone(), Arc::new(node(field)))).collect())
}

fn node(field: &Feld) -> Node {
    match &field.inhalt {
        Inhalt::Wert(value) => Node::Leaf(value.text.trim().into()),
        Inhalt::Felder(fields) => group(fields),
        Inhalt::Wiederholungen(repeats) => {
            Node::Repeats(repeats.iter().map(|fields| Arc::new(group(fields))).collect())
        }
    }
}

fn find(handle: &Handle, path: &str) -> Handle {
    let mut here = Arc::clone(handle.as_ref()?);
    for name in path.split('/') {
        let next = match &*here {
            Node::Group(fields) => fields.get(name)?,
            Node::Repeats(repeats) => match &**repeats.first()? {
                Node::Group(fields) => fields.get(name)?,
                _ => return None,
            },
            Node::Leaf(_) => return None,
        };
        here = Arc::clone(next);
    }
    Some(here)
}

fn text(handle: &mut Handle, path: &str) -> Dynamic {
    match find(handle, path).as_deref() {
        Some(Node::Leaf(text)) if !text.is_empty() => text.clone().into(),
        _ => Dynamic::UNIT,
    }
}

fn list(handle: &mut Handle, path: &str) -> rhai::Array {
    match find(handle, path) {
        Some(node) => match &*node {
            Node::Repeats(repeats) => {
                repeats.iter().map(|one| Dynamic::from(Some(Arc::clone(one)) as Handle)).collect()
            }
            _ => vec![Dynamic::from(Some(Arc::clone(&node)) as Handle)],
        },
        None => Vec::new(),
    }
}

/// Tables by name, rows by key, first value.
type Tables = BTreeMap<String, BTreeMap<String, ImmutableString>>;

fn tables(folder: &Path) -> Result<Tables, Error> {
    let mut tables = Tables::new();
    for entry in std::fs::read_dir(folder.join("tabellen"))? {
        let path = entry?.path();
        let rows = std::fs::read_to_string(&path)?
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(';'))
            .map(|(key, rest)| (key.to_lowercase(), rest.split(';').next().unwrap_or_default().into()))
            .collect();
        tables.insert(path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), rows);
    }
    Ok(tables)
}

/// A file as the script sees it.
#[derive(Clone)]
struct File {
    name: ImmutableString,
    sha256: ImmutableString,
    size: i64,
}

/// The mapping in `folder` on `eingang`, as plain Rhai runs it.
///
/// # Errors
/// When the script does not compile on a plain engine.
pub fn same_script(
    folder: &Path,
    eingang: &Eingang,
    parameters: &BTreeMap<String, String>,
) -> Result<Subject<'static>, Error> {
    #[allow(clippy::disallowed_methods)] // plain Rhai is the point, and the script is our own
    let mut engine = Engine::new();
    engine.set_max_expr_depths(256, 128);
    functions(&mut engine, tables(folder)?, parameters.clone(), eingang);

    let library = folder.parent().unwrap_or(folder).join("_gemeinsam");
    let mut resolver = StaticModuleResolver::new();
    for entry in std::fs::read_dir(library)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rhai") {
            // Modules that read the submission need the handle in scope to compile; those are not used here.
            let Ok(ast) = engine.compile_file(path.clone()) else { continue };
            let Ok(module) = Module::eval_ast_as_new(Scope::new(), &ast, &engine) else { continue };
            resolver.insert(path.file_stem().unwrap_or_default().to_string_lossy(), module);
        }
    }
    engine.set_module_resolver(resolver);
    let handle: Handle = Some(Arc::new(group(&eingang.form_data)));
    let on_var = handle.clone();
    #[allow(deprecated)] // marked so because it may change, not because it will go
    engine.on_var(move |name, _, _| Ok((name == "eingang").then(|| Dynamic::from(on_var.clone()))));
    let ast = engine.compile_file(folder.join("mapping.rhai"))?;
    let run = move || {
        let built: Map = engine.eval_ast_with_scope(&mut Scope::new(), &ast)?;
        if built.is_empty() { Err(Error::from("leer")) } else { Ok(()) }
    };
    run()?;
    Ok(repeat(run))
}

fn functions(engine: &mut Engine, tables: Tables, parameters: BTreeMap<String, String>, eingang: &Eingang) {
    for name in ["text", "pflicht", "anzeige", "zahl", "datum"] {
        engine.register_fn(name, |handle: &mut Handle, path: &str| text(handle, path));
    }
    engine
        .register_fn("hat", |handle: &mut Handle, path: &str| {
            find(handle, path).is_some_and(|node| !matches!(&*node, Node::Leaf(text) if text.is_empty()))
        })
        .register_fn("teil", |handle: &mut Handle, path: &str| find(handle, path))
        .register_fn("liste", list)
        .register_fn("code", |code: Dynamic| {
            if code.is_unit() { code } else { Dynamic::from_map(Map::from([("code".into(), code)])) }
        })
        .register_fn("parameter", move |name: &str| parameters.get(name).cloned().unwrap_or_default())
        .register_fn("klein", |text: &str| text.to_lowercase())
        .register_fn("fehler", |text: &str| text.to_owned())
        .register_fn("stabile_uuid", |text: &str| {
            uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
        });
    let tables = Arc::new(tables);
    let look_up = move |table: &str, key: &str| {
        let found = tables.get(table).and_then(|rows| rows.get(&key.to_lowercase()));
        found.map_or(Dynamic::UNIT, |value| value.clone().into())
    };
    let or = look_up.clone();
    engine
        .register_fn("tabelle", move |table: &str, key: Dynamic| {
            key.read_lock::<ImmutableString>().map_or(Dynamic::UNIT, |key| look_up(table, &key))
        })
        .register_fn("tabelle_oder", move |table: &str, key: &str, instead: Dynamic| {
            let found = or(table, key);
            if found.is_unit() { instead } else { found }
        });

    let files = |list: &[kop_core::eingang::Anlage]| -> Vec<File> {
        list.iter()
            .map(|file| File {
                name: file.name.as_str().into(),
                sha256: file.blob.sha256.to_string().into(),
                size: i64::try_from(file.blob.size).unwrap_or_default(),
            })
            .collect()
    };
    let (uploads, renderings) = (files(&eingang.anlagen), files(&eingang.repraesentationen));
    let number: ImmutableString = eingang.kopf.vorgangsnummer.as_str().into();
    let vorgang: ImmutableString = eingang.vorgang_uuid().into();
    engine
        .register_get("anlagen", move |_: &mut Handle| -> rhai::Array {
            uploads.iter().cloned().map(Dynamic::from).collect()
        })
        .register_get("repraesentationen", move |_: &mut Handle| -> rhai::Array {
            renderings.iter().cloned().map(Dynamic::from).collect()
        })
        .register_get("vorgangsnummer", move |_: &mut Handle| number.clone())
        .register_get("eingangsdatum", |_: &mut Handle| ImmutableString::from("2026-03-02"))
        .register_get("vorgang_uuid", move |_: &mut Handle| vorgang.clone())
        .register_get("name", |file: &mut File| file.name.clone())
        .register_get("beschreibung", |_: &mut File| Dynamic::UNIT)
        .register_get("content_type", |_: &mut File| ImmutableString::from("application/pdf"))
        .register_get("endung", |file: &mut File| {
            file.name.rsplit_once('.').map(|(_, end)| end.to_lowercase()).unwrap_or_default()
        })
        .register_fn("datei_mit_uuid", |file: File| {
            let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, file.sha256.as_bytes()).to_string();
            Map::from([
                ("dateiname".into(), format!("{id}_{}", file.name).into()),
                ("id".into(), id.into()),
                ("groesse".into(), file.size.into()),
                ("sha256".into(), file.sha256.into()),
            ])
        });
}
