// SPDX-License-Identifier: EUPL-1.2
//! Free functions: codes, tables, parameters, dates, numbers, texts, stable ids and `fehler`.

use kop_core::{Diagnostic, similar};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, Position};

use super::{Outcome, fail};
use crate::{
    bounds::{RESULT_DEPTH, RESULT_NODES},
    convert,
    errors::Problem,
    handle::Teil,
    run,
    tables::Missing,
};

/// A key or value that helpers take: text or whole number; `None` for `()`.
fn key(value: &Dynamic, function: &str) -> Outcome<Option<ImmutableString>> {
    if value.is_unit() {
        return Ok(None);
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.clone()));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Some(number.to_string().into()));
    }
    if let Ok(c) = value.as_char() {
        return Ok(Some(c.to_string().into()));
    }
    let hint = if value.is_float() {
        "Kommazahlen sind ungenau: betrag(text) oder eingang.zahl(\"pfad\") liefern Text."
    } else {
        "Mit .text(\"feld\") den Wert lesen."
    };
    Err(Problem::raise(
        Diagnostic::new(
            "KOP-M005",
            format!("{function}() braucht einen Text oder eine ganze Zahl."),
            format!("{function}() needs a text or a whole number."),
        )
        .with_hint(hint),
    ))
}

fn code(value: &Dynamic, list: Option<ImmutableString>) -> Outcome {
    let Some(value) = key(value, "code")?.filter(|value| !value.is_empty()) else { return Ok(Dynamic::UNIT) };
    let mut map = Map::new();
    map.insert("code".into(), value.into());
    if let Some(list) = list {
        map.insert("@listURI".into(), list.into());
    }
    Ok(map.into())
}

/// Looks a key up; `()` as key gives `()`, so that an empty field stays empty.
fn tabelle(name: &str, wanted: &Dynamic, column: Option<&str>) -> Outcome {
    let Some(key) = key(wanted, "tabelle")? else { return Ok(Dynamic::UNIT) };
    let found = run::with(|run| {
        run.input.tables.look_up(name, &key, column).cloned().map_err(|missing| (missing, run.field_of(&key)))
    })?;
    let (missing, field) = match found {
        Ok(value) if value.is_empty() => return Ok(Dynamic::UNIT),
        Ok(value) => return Ok(value.into()),
        Err(missing) => missing,
    };
    let (de, en, hint) = match missing {
        Missing::Table => (
            format!("Die Tabelle „{name}“ gibt es nicht."),
            format!("There is no table “{name}”."),
            run::with(|run| similar::question(&similar::near(name, run.input.tables.names())))?
                .unwrap_or_else(|| {
                    format!("Die Datei tabellen/{name}.csv anlegen oder die Schreibweise prüfen.")
                }),
        ),
        Missing::Column => (
            format!("Die Tabelle „{name}“ hat keine Spalte „{}“.", column.unwrap_or_default()),
            format!("The table “{name}” has no column “{}”.", column.unwrap_or_default()),
            run::with(|run| run.input.tables.get(name).map(|table| table.columns().join(", ")))?
                .map_or_else(String::new, |columns| format!("Spalten von tabellen/{name}.csv: {columns}")),
        ),
        Missing::Key => {
            return fail(
                Diagnostic::new(
                    "KOP-M003",
                    format!("Die Tabelle „{name}“ kennt den Schlüssel aus dem Antrag nicht."),
                    format!("The table “{name}” does not know the application's key."),
                )
                .with_hint(format!(
                    "Den Schlüssel in tabellen/{name}.csv ergänzen, oder tabelle_oder(\"{name}\", …, ersatz) verwenden."
                ))
                .with_value(&key),
                field,
            );
        }
    };
    fail(Diagnostic::new("KOP-M003", de, en).with_hint(hint), None)
}

fn tabelle_oder(name: &str, wanted: &Dynamic, otherwise: Dynamic) -> Outcome {
    let Some(key) = key(wanted, "tabelle_oder")? else { return Ok(otherwise) };
    let found = run::with(|run| run.input.tables.look_up(name, &key, None).cloned())?;
    match found {
        Ok(value) if value.is_empty() => Ok(otherwise),
        Ok(value) => Ok(value.into()),
        Err(Missing::Key) => Ok(otherwise),
        // A missing table is a mistake, whatever the key.
        Err(Missing::Table | Missing::Column) => tabelle(name, &key.into(), None),
    }
}

fn parameter(name: &str, otherwise: Option<Dynamic>) -> Outcome {
    let found = run::with(|run| run.input.parameters.get(name).cloned())?;
    match (found.filter(|value| !value.is_empty()), otherwise) {
        (Some(value), _) => Ok(value.into()),
        (None, Some(otherwise)) => Ok(otherwise),
        (None, None) => fail(
            Diagnostic::new(
                "KOP-M006",
                format!("Der Parameter „{name}“ ist nicht gesetzt."),
                format!("The parameter “{name}” is not set."),
            )
            .with_hint(
                run::with(|run| {
                    similar::question(&similar::near(name, run.input.parameters.keys().map(String::as_str)))
                })?
                .unwrap_or_else(|| {
                    format!("{name} = \"…\" unter [parameter] in mandant.toml oder in parameter.toml der Zuordnung setzen.")
                }),
            ),
            None,
        ),
    }
}

/// Converts a text that a script holds; the field is found by the value.
fn converted(
    value: &Dynamic,
    function: &str,
    what: (&str, &str),
    convert: impl Fn(&str) -> Option<String>,
) -> Outcome {
    let Some(text) = key(value, function)?.filter(|text| !text.trim().is_empty()) else {
        return Ok(Dynamic::UNIT);
    };
    if let Some(value) = convert(&text) {
        return Ok(value.into());
    }
    let field = run::with(|run| run.field_of(&text))?;
    fail(
        Diagnostic::new(
            "KOP-M007",
            format!("{function}(): Das ist {}.", what.0),
            format!("{function}(): this is {}.", what.1),
        )
        .with_value(&text),
        field,
    )
}

/// A UUID from the Vorgang and the value's texts; maps and lists count with all that is in them.
fn stabile_uuid(value: Dynamic) -> Outcome<String> {
    let mut parts: Vec<String> = Vec::new();
    // An explicit stack: the value may be nested as deeply as a script likes.
    let mut stack = vec![(value, 0_usize)];
    let mut nodes = 0_usize;
    while let Some((value, depth)) = stack.pop() {
        nodes += 1;
        if depth > RESULT_DEPTH || nodes > RESULT_NODES {
            return Err(EvalAltResult::ErrorDataTooLarge("stabile_uuid".into(), Position::NONE).into());
        }
        let value = value.flatten();
        if value.is::<Teil>() {
            let teil: Teil = value.cast();
            parts.push(teil.pfad.to_string());
            parts.extend(teil_texts(&teil));
        } else if value.is_map() {
            let map: Map = value.cast();
            for (name, below) in map.into_iter().rev() {
                stack.push((below, depth + 1));
                stack.push((name.as_str().into(), depth + 1));
            }
        } else if value.is_array() {
            let list: Array = value.cast();
            stack.extend(list.into_iter().rev().map(|below| (below, depth + 1)));
        } else if let Ok(truth) = value.as_bool() {
            parts.push(truth.to_string());
        } else {
            parts.push(key(&value, "stabile_uuid")?.map(|text| text.to_string()).unwrap_or_default());
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    run::with(|run| run.input.eingang.stable_uuid(&parts).to_string())
}

/// Texts of all fields of a part, in the form's order, with names.
fn teil_texts(teil: &Teil) -> Vec<String> {
    use kop_core::Inhalt;
    let mut out = Vec::new();
    let mut stack: Vec<&kop_core::Feld> = teil.fields().iter().rev().collect();
    while let Some(feld) = stack.pop() {
        match &feld.inhalt {
            Inhalt::Wert(wert) => {
                out.push(feld.name.clone());
                out.push(wert.text.clone());
            }
            Inhalt::Felder(below) => stack.extend(below.iter().rev()),
            Inhalt::Wiederholungen(repeats) => stack.extend(repeats.iter().flatten().rev()),
        }
    }
    out
}

fn case(value: &Dynamic, function: &str, change: fn(&str) -> String) -> Outcome {
    Ok(key(value, function)?.map_or(Dynamic::UNIT, |text| change(&text).into()))
}

fn kuerze(value: &Dynamic, length: i64) -> Outcome {
    let length = usize::try_from(length).unwrap_or(0);
    Ok(key(value, "kuerze")?.map_or(Dynamic::UNIT, |text| {
        text.chars().take(length).collect::<String>().trim_end().to_owned().into()
    }))
}

pub(super) fn register(engine: &mut Engine) {
    let date = ("kein Datum", "no date");
    let amount = ("kein Geldbetrag", "no amount of money");
    engine
        .register_fn("code", |value: Dynamic| code(&value, None))
        .register_fn("code", |value: Dynamic, list: ImmutableString| code(&value, Some(list)))
        .register_fn("tabelle", |name: ImmutableString, key: Dynamic| tabelle(&name, &key, None))
        .register_fn("tabelle", |name: ImmutableString, key: Dynamic, column: ImmutableString| {
            tabelle(&name, &key, Some(&column))
        })
        .register_fn("tabelle_oder", |name: ImmutableString, key: Dynamic, otherwise: Dynamic| {
            tabelle_oder(&name, &key, otherwise)
        })
        .register_fn("parameter", |name: ImmutableString| parameter(&name, None))
        .register_fn("parameter", |name: ImmutableString, otherwise: Dynamic| {
            parameter(&name, Some(otherwise))
        })
        .register_fn("stabile_uuid", stabile_uuid)
        .register_fn("heute", || -> Outcome<String> { run::with(|run| convert::date_of(run.input.now)) })
        .register_fn("jetzt", || -> Outcome<String> { run::with(|run| convert::date_time_of(run.input.now)) })
        .register_fn("datum_aus", move |value: Dynamic| {
            converted(&value, "datum_aus", date, convert::iso_date)
        })
        .register_fn("betrag", move |value: Dynamic| {
            converted(&value, "betrag", amount, convert::amount_text)
        })
        .register_fn("gross", |value: Dynamic| case(&value, "gross", str::to_uppercase))
        .register_fn("klein", |value: Dynamic| case(&value, "klein", str::to_lowercase))
        .register_fn("kuerze", |value: Dynamic, length: i64| kuerze(&value, length))
        .register_fn("to_string", |problem: &mut Problem| problem.0.de.clone())
        .register_fn("fehler", |_: NativeCallContext, text: ImmutableString| -> Outcome {
            let text: String = text.chars().take(500).collect();
            Err(Problem::raise(Diagnostic::new("KOP-M008", text, "The mapping refused the application.")))
        });
}
