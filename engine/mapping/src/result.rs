// SPDX-License-Identifier: EUPL-1.2
//! From a script's value to the plain tree, without recursion: depth, size and types are checked before
//! anything else touches the value.

use std::{fmt::Write, sync::Arc};

use kop_core::{Diagnostic, Tree};
use rhai::{Array, Dynamic, ImmutableString, Map};

use crate::{
    bounds::{ARRAY_SIZE, MAP_SIZE, RESULT_BYTES, RESULT_DEPTH, RESULT_NODES},
    handle::{Datei, Teil},
};

/// A list or map that is being taken apart.
enum Frame {
    List {
        rest: std::vec::IntoIter<Dynamic>,
        done: Vec<Tree>,
    },
    Map {
        rest: std::collections::btree_map::IntoIter<rhai::Identifier, Dynamic>,
        done: Vec<(Arc<str>, Tree)>,
        key: Arc<str>,
    },
}

/// Converts a value; errors are KOP-M009 (shape) or KOP-M004 (size), with the target path.
pub(crate) fn tree_of(value: Dynamic) -> Result<Tree, Box<Diagnostic>> {
    let mut stack: Vec<Frame> = Vec::new();
    let mut next = Some(value);
    let (mut nodes, mut bytes) = (0_usize, 0_usize);
    loop {
        let tree = match next.take() {
            Some(value) => {
                nodes += 1;
                if nodes > RESULT_NODES {
                    return Err(too_large(&stack, "mehr als 200 000 Werte", "more than 200,000 values"));
                }
                // A value shared by closures is taken out of its cell.
                let value = value.flatten();
                if value.is_array() || value.is_map() {
                    if stack.len() >= RESULT_DEPTH {
                        return Err(too_large(&stack, "mehr als 64 Ebenen", "more than 64 levels"));
                    }
                    stack.push(frame(value, &stack)?);
                    None
                } else {
                    Some(leaf(value, &mut bytes, &stack)?)
                }
            }
            None => None,
        };
        // Hand the finished value up, then take the next one of the innermost list or map.
        let mut finished = tree;
        loop {
            let Some(top) = stack.last_mut() else { return Ok(finished.unwrap_or_default()) };
            match top {
                Frame::List { rest, done } => {
                    done.extend(finished.take());
                    if let Some(value) = rest.next() {
                        next = Some(value);
                        break;
                    }
                }
                Frame::Map { rest, done, key } => {
                    if let Some(tree) = finished.take() {
                        done.push((Arc::clone(key), tree));
                    }
                    if let Some((name, value)) = rest.next() {
                        bytes += name.len();
                        *key = name.as_str().into();
                        next = Some(value);
                        break;
                    }
                }
            }
            finished = match stack.pop() {
                Some(Frame::List { done, .. }) => Some(Tree::List(done)),
                Some(Frame::Map { done, .. }) => Some(Tree::Map(done)),
                None => None,
            };
            if bytes > RESULT_BYTES {
                return Err(too_large(&stack, "mehr als 16 MiB Text", "more than 16 MiB of text"));
            }
        }
    }
}

fn frame(value: Dynamic, stack: &[Frame]) -> Result<Frame, Box<Diagnostic>> {
    let value = match value.try_cast_result::<Map>() {
        Ok(map) if map.len() > MAP_SIZE => {
            return Err(too_large(
                stack,
                "eine Map mit mehr als 5 000 Einträgen",
                "a map of more than 5,000 entries",
            ));
        }
        Ok(map) => {
            let done = Vec::with_capacity(map.len());
            return Ok(Frame::Map { rest: map.into_iter(), done, key: "".into() });
        }
        Err(value) => value,
    };
    let list = value.try_cast_result::<Array>().unwrap_or_default();
    if list.len() > ARRAY_SIZE {
        return Err(too_large(
            stack,
            "eine Liste mit mehr als 10 000 Einträgen",
            "a list of more than 10,000 entries",
        ));
    }
    let done = Vec::with_capacity(list.len());
    Ok(Frame::List { rest: list.into_iter(), done })
}

fn leaf(value: Dynamic, bytes: &mut usize, stack: &[Frame]) -> Result<Tree, Box<Diagnostic>> {
    if value.is_unit() {
        return Ok(Tree::Nothing);
    }
    if let Ok(value) = value.as_bool() {
        return Ok(Tree::Bool(value));
    }
    if let Ok(value) = value.as_int() {
        return Ok(Tree::Int(value));
    }
    if let Ok(value) = value.as_char() {
        return Ok(Tree::text(value.to_string()));
    }
    let value = match value.try_cast_result::<ImmutableString>() {
        Ok(text) => {
            *bytes += text.len();
            if *bytes > RESULT_BYTES {
                return Err(too_large(stack, "mehr als 16 MiB Text", "more than 16 MiB of text"));
            }
            return Ok(Tree::Text(text.as_str().into()));
        }
        Err(value) => value,
    };
    let (de, en, hint) = if value.is_float() {
        (
            "Hier steht eine Kommazahl. Kommazahlen sind ungenau und verlieren ihre Schreibweise.",
            "A floating-point number stands here; those are inexact and lose their lexical form.",
            "eingang.zahl(\"pfad\") oder betrag(text) liefern die Zahl als Text.",
        )
    } else if value.is::<Teil>() {
        (
            "Hier steht ein Teil des Antrags statt eines Wertes.",
            "A part of the submission stands here instead of a value.",
            "Mit .text(\"feld\") den Wert lesen.",
        )
    } else if value.is::<Datei>() {
        (
            "Hier steht eine Datei statt eines Wertes.",
            "A file stands here instead of a value.",
            "Mit datei(d, d.name) wird sie Teil der Sendung; danach .dateiname und die anderen Angaben verwenden.",
        )
    } else if value.is_fnptr() {
        (
            "Hier steht eine Funktion statt eines Wertes.",
            "A function stands here instead of a value.",
            "Die Funktion mit ( ) aufrufen.",
        )
    } else {
        (
            "Dieser Wert kann nicht in eine Nachricht.",
            "This value cannot go into a message.",
            "Erlaubt sind Text, ganze Zahl, true/false, Liste, Map und ().",
        )
    };
    Err(Box::new(Diagnostic::new("KOP-M009", de, en).with_hint(hint).with_target(path(stack))))
}

fn too_large(stack: &[Frame], de: &str, en: &str) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::new(
            "KOP-M004",
            format!("Das Ergebnis der Zuordnung ist zu groß: {de}."),
            format!("The mapping's result is too large: {en}."),
        )
        .with_target(path(stack)),
    )
}

/// Path of the value in work; bounded, for a hostile result may be deep and its keys long.
fn path(stack: &[Frame]) -> String {
    let mut out = String::new();
    for frame in stack.iter().take(32) {
        match frame {
            Frame::Map { key, .. } => {
                if !out.is_empty() {
                    out.push('/');
                }
                out.extend(key.chars().take(100));
            }
            Frame::List { done, .. } if done.is_empty() => {}
            Frame::List { done, .. } => {
                let _ = write!(out, "[{}]", done.len() + 1);
            }
        }
    }
    out
}
