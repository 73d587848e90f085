// SPDX-License-Identifier: EUPL-1.2
//! File handles and what makes a file a part of the Sendung.

use kop_core::{
    Diagnostic,
    eingang::{sicherer_dateiname, xoev_dateiname},
};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext};
use uuid::Uuid;

use super::Outcome;
use crate::{
    bounds::FILES,
    handle::{Datei, Teil},
    input::{FileList, FileUse},
    run,
};

fn list(context: &NativeCallContext, teil: &Teil, list: FileList) -> Outcome<Array> {
    let (files, name) = match list {
        FileList::Anlagen => (&teil.eingang.anlagen, "anlagen"),
        FileList::Repraesentationen => (&teil.eingang.repraesentationen, "repraesentationen"),
    };
    run::with(|run| run.read(context, &"@".into(), &name.into(), None, !files.is_empty()))?;
    Ok((0..files.len())
        .map(|index| Dynamic::from(Datei { eingang: std::sync::Arc::clone(&teil.eingang), list, index }))
        .collect())
}

/// The same for the same file of the same Vorgang, also in a later message: from the content, and the place
/// in the list where one content comes twice.
fn document_id(file: &Datei) -> Uuid {
    let list = match file.list {
        FileList::Anlagen => "anlagen",
        FileList::Repraesentationen => "repraesentationen",
    };
    let hash = file.anlage().map(|anlage| anlage.blob.sha256.to_string()).unwrap_or_default();
    file.eingang.stable_uuid(&["datei", list, &file.index.to_string(), &hash])
}

/// Registers the file under a name; the same file under the same name again is the same part.
fn register_file(file: &Datei, wanted: &str) -> Outcome<Map> {
    let Some(anlage) = file.anlage() else {
        return Err(EvalAltResult::ErrorRuntime("no such file".into(), rhai::Position::NONE).into());
    };
    let id = document_id(file);
    let name = run::with(|run| -> Outcome<String> {
        if let Some(known) = run.files.iter().find(|known| {
            known.list == file.list
                && known.index == file.index
                && same(unnumbered(&known.name, wanted), wanted)
        }) {
            return Ok(known.name.clone());
        }
        if run.files.len() >= FILES {
            return Err(crate::errors::Problem::raise(Diagnostic::new(
                "KOP-M004",
                "Die Sendung bekäme mehr als 1 000 Dateien.",
                "The Sendung would get more than 1,000 files.",
            )));
        }
        let taken = |name: &str, run: &run::Run| run.files.iter().any(|known| same(&known.name, name));
        let mut name = wanted.to_owned();
        let mut n = 1_usize;
        while taken(&name, run) {
            n += 1;
            name = numbered(wanted, n);
        }
        run.files.push(FileUse { list: file.list, index: file.index, name: name.clone(), document_id: id });
        Ok(name)
    })??;
    let mut map = Map::new();
    map.insert("dateiname".into(), name.into());
    map.insert("groesse".into(), i64::try_from(anlage.blob.size).unwrap_or(i64::MAX).into());
    map.insert("sha256".into(), anlage.blob.sha256.to_string().into());
    map.insert("content_type".into(), anlage.content_type.as_str().into());
    map.insert("id".into(), id.to_string().into());
    Ok(map)
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// `Plan.pdf` → `Plan_2.pdf`.
fn numbered(name: &str, n: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() => format!("{stem}_{n}.{ext}"),
        _ => format!("{name}_{n}"),
    }
}

/// The wanted name when `name` is a numbered form of it, else `name`.
fn unnumbered<'a>(name: &'a str, wanted: &'a str) -> &'a str {
    let (stem, ext) = wanted.rsplit_once('.').unwrap_or((wanted, ""));
    let middle = name.strip_prefix(stem).map(|rest| rest.strip_suffix(ext).unwrap_or(rest));
    let number = middle.and_then(|m| m.strip_prefix('_')).map(|m| m.trim_end_matches('.'));
    if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) { wanted } else { name }
}

fn text(get: impl Fn(&kop_core::eingang::Anlage) -> Option<String>, file: &Datei) -> Dynamic {
    file.anlage().and_then(get).filter(|text| !text.is_empty()).map_or(Dynamic::UNIT, Into::into)
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Datei>("Datei")
        .register_get("anlagen", |c: NativeCallContext, t: &mut Teil| list(&c, t, FileList::Anlagen))
        .register_get("repraesentationen", |c: NativeCallContext, t: &mut Teil| {
            list(&c, t, FileList::Repraesentationen)
        })
        .register_get("name", |f: &mut Datei| text(|a| Some(a.name.clone()), f))
        .register_get("endung", |f: &mut Datei| {
            f.anlage().map(kop_core::eingang::Anlage::endung).unwrap_or_default()
        })
        .register_get("content_type", |f: &mut Datei| text(|a| Some(a.content_type.clone()), f))
        .register_get("beschreibung", |f: &mut Datei| text(|a| a.beschreibung.clone(), f))
        .register_get("sha256", |f: &mut Datei| text(|a| Some(a.blob.sha256.to_string()), f))
        .register_get("groesse", |f: &mut Datei| {
            f.anlage().map_or(0, |a| i64::try_from(a.blob.size).unwrap_or(i64::MAX))
        })
        .register_fn("datei", |f: Datei, name: ImmutableString| register_file(&f, &sicherer_dateiname(&name)))
        .register_fn("datei", |f: Datei| {
            let name = f.anlage().map(kop_core::eingang::Anlage::sicherer_name).unwrap_or_default();
            register_file(&f, &name)
        })
        .register_fn("datei_mit_uuid", |f: Datei| {
            let name = f.anlage().map(|anlage| xoev_dateiname(&anlage.name)).unwrap_or_default();
            register_file(&f, &format!("{}_{name}", document_id(&f)))
        })
        .register_fn("stabile_uuid", |f: Datei| document_id(&f).to_string());
}
