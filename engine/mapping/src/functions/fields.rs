// SPDX-License-Identifier: EUPL-1.2
//! Reading the form: `text`, `pflicht`, `liste` and the like, and the properties of the handle.

use std::{borrow::Cow, sync::Arc};

use kop_core::{Diagnostic, Feld, FeldPfad, Inhalt, Wert, diagnostic::FieldRef, similar};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext};

use super::{Outcome, fail};
use crate::{
    bounds::ARRAY_SIZE,
    convert,
    errors::Problem,
    handle::{Abschnitt, Fehlt, Teil, Ziel, filled, text_of},
    run,
};

#[allow(clippy::unnecessary_box_returns)] // Rhai's functions return their errors boxed
fn bad_path(error: &kop_core::path::PathError) -> Box<EvalAltResult> {
    Problem::raise(
        Diagnostic::new("KOP-M010", "Das ist kein gültiger Feldpfad.", "This is no valid field path.")
            .with_detail(error.to_string())
            .with_hint("Namen mit / trennen, Wiederholungen ab 1 zählen: bauherr/nachname, hund[2]/rasse. Namen mit / [ ] in Anführungszeichen setzen."),
    )
}

#[allow(clippy::unnecessary_box_returns)] // as above
fn unknown(names: &[&str]) -> Box<EvalAltResult> {
    Problem::raise(
        Diagnostic::new("KOP-M010", "Diese Angabe gibt es hier nicht.", "There is no such entry here.")
            .with_hint(format!("Vorhanden: {}.", names.join(", "))),
    )
}

/// Reads one value and records it.
fn read(
    context: &NativeCallContext,
    teil: &Teil,
    path: &ImmutableString,
    display: bool,
) -> Outcome<Option<ImmutableString>> {
    let text: Option<ImmutableString> = match teil.find(path) {
        Ok(Ziel::Kopf(Cow::Borrowed(text))) => Some(text.into()),
        Ok(Ziel::Kopf(Cow::Owned(text))) => Some(text.into()),
        Ok(Ziel::Feld(feld)) => match &feld.inhalt {
            Inhalt::Wert(wert) => shown(wert, display).map(Into::into),
            _ => None,
        },
        Err(Fehlt::Leer) => None,
        Err(Fehlt::KeinPfad(error)) => return Err(bad_path(&error)),
        Err(Fehlt::Unbekannt(names)) => return Err(unknown(names)),
    };
    run::with(|run| run.read(context, &teil.pfad, path, text.clone(), text.is_some()))?;
    Ok(text)
}

/// What the citizen saw beside the field; looked up only when a message needs it.
fn label_of(teil: &Teil, path: &str) -> Option<String> {
    match teil.find(path) {
        Ok(Ziel::Feld(feld)) => feld.label.clone(),
        _ => None,
    }
}

fn shown(wert: &Wert, display: bool) -> Option<&str> {
    let shown = wert.anzeige.as_deref().map(str::trim).filter(|text| display && !text.is_empty());
    shown.or_else(|| text_of(wert))
}

fn or_unit(text: Option<ImmutableString>) -> Dynamic {
    text.map_or(Dynamic::UNIT, Dynamic::from)
}

fn field_ref(teil: &Teil, path: &str, label: Option<String>) -> FieldRef {
    FieldRef { path: run::full_path(&teil.pfad, path), label }
}

/// How a message names a field: by what the citizen saw, else by its name.
fn shown_name<'a>(path: &'a str, label: Option<&'a String>) -> &'a str {
    label.map_or_else(|| path.rsplit('/').next().unwrap_or(path), String::as_str)
}

fn pflicht(context: &NativeCallContext, teil: &Teil, path: &ImmutableString) -> Outcome {
    if let Some(text) = read(context, teil, path, false)? {
        return Ok(text.into());
    }
    let label = label_of(teil, path);
    let name = shown_name(path, label.as_ref());
    let mut problem = Diagnostic::new(
        "KOP-M002",
        format!("Das Pflichtfeld „{name}“ ist leer."),
        format!("The required field “{name}” is empty."),
    );
    problem.hint = unknown_field(teil, path);
    fail(problem, Some(field_ref(teil, path, label.clone())))
}

/// What to say of a field that the application does not have at all: probably it is spelt otherwise.
fn unknown_field(teil: &Teil, path: &str) -> Option<String> {
    if matches!(teil.find(path), Ok(Ziel::Feld(_) | Ziel::Kopf(_))) {
        return None;
    }
    let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
    let group = above.map(|above| teil.part(above)).transpose().ok()?;
    let group = group.as_ref().unwrap_or(teil);
    let names = group.fields().iter().map(|field| field.name.as_str());
    let question = similar::question(&similar::near(name, names))?;
    Some(format!("Der Antrag hat kein Feld dieses Namens. {question}"))
}

/// Reads a value and converts it; `()` stays `()`.
fn converted(
    context: &NativeCallContext,
    teil: &Teil,
    path: &ImmutableString,
    what: (&str, &str),
    convert: impl Fn(&str) -> Option<Dynamic>,
) -> Outcome<Option<Dynamic>> {
    let Some(text) = read(context, teil, path, false)? else { return Ok(None) };
    if let Some(value) = convert(&text) {
        return Ok(Some(value));
    }
    let label = label_of(teil, path);
    let name = shown_name(path, label.as_ref());
    fail(
        Diagnostic::new(
            "KOP-M007",
            format!("Im Feld „{name}“ steht {}.", what.0),
            format!("The field “{name}” holds {}.", what.1),
        )
        .with_value(&text),
        Some(field_ref(teil, path, label.clone())),
    )
}

fn teil_at(context: &NativeCallContext, teil: &Teil, path: &ImmutableString) -> Outcome<Teil> {
    let part = teil.part(path).map_err(|error| bad_path(&error))?;
    let present = part.filled();
    run::with(|run| run.read(context, &teil.pfad, path, None, present))?;
    Ok(part)
}

fn liste(context: &NativeCallContext, teil: &Teil, path: &ImmutableString) -> Outcome<Array> {
    let parts = teil.list(path).map_err(|error| bad_path(&error))?;
    run::with(|run| run.read(context, &teil.pfad, path, None, !parts.is_empty()))?;
    if parts.len() > ARRAY_SIZE {
        return Err(EvalAltResult::ErrorDataTooLarge("array".into(), rhai::Position::NONE).into());
    }
    Ok(parts.into_iter().map(Dynamic::from).collect())
}

fn hat(context: &NativeCallContext, teil: &Teil, path: &ImmutableString) -> Outcome<bool> {
    let present = match teil.find(path) {
        Ok(Ziel::Feld(feld)) => filled(feld),
        Ok(Ziel::Kopf(_)) => true,
        Err(Fehlt::Leer) => false,
        Err(Fehlt::KeinPfad(error)) => return Err(bad_path(&error)),
        Err(Fehlt::Unbekannt(names)) => return Err(unknown(names)),
    };
    run::with(|run| run.read(context, &teil.pfad, path, None, present))?;
    Ok(present)
}

/// All filled fields below a part, in the form's order.
fn felder(context: &NativeCallContext, teil: &Teil, path: &ImmutableString) -> Outcome<Array> {
    let part = if path.is_empty() { teil.clone() } else { teil_at(context, teil, path)? };
    let mut out = Array::new();
    let base = Arc::clone(&part.pfad);
    if let (Some(feld), true) = (part.feld(), part.fields().is_empty()) {
        leaf(context, feld, &base, "", &mut out)?;
    }
    // An explicit stack: the form's depth is the vendor's choice.
    let mut stack: Vec<(std::slice::Iter<'_, Feld>, String)> = Vec::new();
    match part.repeats() {
        Some(repeats) => {
            for (n, repeat) in repeats.iter().enumerate().rev() {
                stack.push((repeat.iter(), format!("[{}]", n + 1)));
            }
        }
        None => stack.push((part.fields().iter(), String::new())),
    }
    while let Some((fields, prefix)) = stack.last_mut() {
        let Some(feld) = fields.next() else {
            stack.pop();
            continue;
        };
        let step =
            |index| FeldPfad::from_steps(vec![kop_core::path::Step { name: feld.name.clone(), index }]);
        let path = run::full_path(prefix, &step(None).to_string());
        match &feld.inhalt {
            Inhalt::Wert(_) => leaf(context, feld, &base, &path, &mut out)?,
            Inhalt::Felder(below) => stack.push((below.iter(), path)),
            Inhalt::Wiederholungen(repeats) => {
                let prefix = prefix.clone();
                for (n, repeat) in repeats.iter().enumerate().rev() {
                    let path = run::full_path(&prefix, &step(Some(n + 1)).to_string());
                    stack.push((repeat.iter(), path));
                }
            }
        }
        // The result holds three texts per field and must stay within the limits of lists and maps.
        if out.len() > ARRAY_SIZE || stack.len() > ARRAY_SIZE {
            return Err(EvalAltResult::ErrorDataTooLarge("array".into(), rhai::Position::NONE).into());
        }
    }
    Ok(out)
}

fn leaf(
    context: &NativeCallContext,
    feld: &Feld,
    base: &Arc<str>,
    path: &str,
    out: &mut Array,
) -> Outcome<()> {
    let Inhalt::Wert(wert) = &feld.inhalt else { return Ok(()) };
    let Some(text) = shown(wert, true) else { return Ok(()) };
    let text: ImmutableString = text.into();
    let label = feld.label.as_deref();
    run::with(|run| run.read(context, base, &path.into(), Some(text.clone()), true))?;
    let mut entry = Map::new();
    entry.insert("name".into(), feld.name.as_str().into());
    entry.insert("label".into(), label.map_or(Dynamic::UNIT, Into::into));
    entry.insert("text".into(), text.into());
    out.push(Dynamic::from_map(entry));
    Ok(())
}

/// A fact of the head as a property, recorded with `@`.
fn property(
    engine: &mut Engine,
    name: &'static str,
    value: impl Fn(&Teil) -> Option<String> + Send + Sync + 'static,
) {
    engine.register_get(name, move |context: NativeCallContext, teil: &mut Teil| -> Outcome {
        let value: Option<ImmutableString> = value(teil).filter(|text| !text.is_empty()).map(Into::into);
        run::with(|run| run.read(&context, &"@".into(), &name.into(), value.clone(), value.is_some()))?;
        Ok(or_unit(value))
    });
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Teil>("Teil des Antrags")
        .register_fn("text", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| -> Outcome {
            read(&c, t, &p, false).map(or_unit)
        })
        .register_fn("anzeige", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| -> Outcome {
            read(&c, t, &p, true).map(or_unit)
        })
        .register_fn("pflicht", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| pflicht(&c, t, &p))
        .register_fn("zahl", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| -> Outcome {
            let what = ("keine Zahl", "no number");
            converted(&c, t, &p, what, |text| convert::decimal_text(text).map(Into::into))
                .map(Option::unwrap_or_default)
        })
        .register_fn("datum", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| -> Outcome {
            let what = ("kein Datum", "no date");
            converted(&c, t, &p, what, |text| convert::iso_date(text).map(Into::into))
                .map(Option::unwrap_or_default)
        })
        .register_fn("wahr", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| -> Outcome {
            let what = ("weder Ja noch Nein", "neither yes nor no");
            converted(&c, t, &p, what, |text| convert::truth(text).map(Into::into))
                .map(|value| value.unwrap_or(Dynamic::FALSE))
        })
        .register_fn("hat", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| hat(&c, t, &p))
        .register_fn("teil", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| teil_at(&c, t, &p))
        .register_fn("liste", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| liste(&c, t, &p))
        .register_fn("felder", |c: NativeCallContext, t: &mut Teil, p: ImmutableString| felder(&c, t, &p))
        .register_fn("felder", |c: NativeCallContext, t: &mut Teil| felder(&c, t, &ImmutableString::new()));

    property(engine, "vorgang_uuid", |t| Some(t.eingang.vorgang_uuid()));
    property(engine, "vorgangsnummer", |t| Some(t.eingang.kopf.vorgangsnummer.clone()));
    property(engine, "eingangszeitpunkt", |t| Some(convert::date_time_of(t.eingang.kopf.eingangszeitpunkt)));
    property(engine, "eingangsdatum", |t| Some(convert::date_of(t.eingang.kopf.eingangszeitpunkt)));
    property(engine, "formular_id", |t| t.eingang.kopf.formular_id.clone());
    property(engine, "formular_name", |t| t.eingang.kopf.formular_name.clone());
    property(engine, "formular_version", |t| t.eingang.kopf.formular_version.clone());
    property(engine, "leistung", |t| t.eingang.kopf.leistungsschluessel.first().cloned());
    property(engine, "hersteller_id", |t| t.eingang.kopf.hersteller_id.clone());
    property(engine, "quelle", |t| Some(t.eingang.kopf.quelle.clone()));

    for (name, section) in [
        ("antragsteller", Abschnitt::Antragsteller),
        ("vertretene_person", Abschnitt::VertretenePerson),
        ("zustaendige_stelle", Abschnitt::ZustaendigeStelle),
        ("zahlung", Abschnitt::Zahlung),
        ("service_konto", Abschnitt::ServiceKonto),
        ("zusatz", Abschnitt::Zusatz),
    ] {
        engine.register_get(name, move |t: &mut Teil| t.kopf(section));
    }
}
