// SPDX-License-Identifier: EUPL-1.2
//! The JSON of the part `formData`: its shape, and the bounds it must keep before anything is built from it.

use std::collections::BTreeMap;

use kop_connector_api::{Refusal, RefusalKind};
use kop_core::{Feld, FeldTyp, Inhalt, Wert};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{hints, problem};

/// Deepest nesting of objects and arrays; two levels for each group of fields.
const MAX_DEPTH: usize = 100;
/// Most objects, arrays and commas together: bounds what the tree can take in memory.
const MAX_TOKENS: usize = 400_000;

/// The whole document. Members that are not known are ignored here and kept in the stored envelope.
#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) control: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(rename = "formData")]
    form_data: Option<Vec<Item>>,
}

/// A field or a group; which of the value members stands there tells the type.
#[derive(Deserialize)]
struct Item {
    name: String,
    label: Option<String>,
    #[serde(rename = "formItems")]
    items: Option<Vec<Item>>,
    #[serde(rename = "stringValue")]
    string: Option<Box<RawValue>>,
    #[serde(rename = "numberValue")]
    number: Option<Box<RawValue>>,
    #[serde(rename = "dateValue")]
    date: Option<Box<RawValue>>,
    #[serde(rename = "booleanValue")]
    boolean: Option<Box<RawValue>>,
}

/// Reads the document.
pub(super) fn read(bytes: &[u8]) -> Result<Document, Refusal> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable("not valid UTF-8"))?;
    keep_bounds(bytes)?;
    // serde_json's messages may quote values, so only the place and the kind of mistake are passed on.
    let document: Document = serde_json::from_str(text).map_err(|error| {
        unreadable(format!(
            "{:?} error at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })?;
    if document.form_data.is_none() {
        return Err(unreadable("member `formData` is missing"));
    }
    Ok(document)
}

fn unreadable(detail: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::BadPayload, problem::form_data_unreadable(detail.into()))
}

/// Looks at depth and count in one pass without recursion, before anything is built.
fn keep_bounds(bytes: &[u8]) -> Result<(), Refusal> {
    let (mut depth, mut tokens) = (0_usize, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                tokens += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => tokens += 1,
            _ => {}
        }
        if depth > MAX_DEPTH || tokens > MAX_TOKENS {
            return Err(Refusal::new(RefusalKind::BadPayload, problem::data_beyond_limits()));
        }
    }
    Ok(())
}

impl Document {
    /// The fields of the form, taken out of the document.
    pub(super) fn take_fields(&mut self) -> Vec<Feld> {
        fields(self.form_data.take().unwrap_or_default())
    }
}

fn fields(items: Vec<Item>) -> Vec<Feld> {
    hints::gather_repeats(items.into_iter().map(field).collect())
}

fn field(item: Item) -> Feld {
    let inhalt = match item.items {
        Some(items) => Inhalt::Felder(fields(items)),
        None => Inhalt::Wert(value(&[
            (item.string, FeldTyp::Text),
            (item.number, FeldTyp::Zahl),
            (item.date, FeldTyp::Datum),
            (item.boolean, FeldTyp::Wahrheit),
        ])),
    };
    Feld { name: item.name, label: item.label, inhalt }
}

/// The first member that holds something; a field without any is an empty one.
fn value(members: &[(Option<Box<RawValue>>, FeldTyp)]) -> Wert {
    for (raw, typ) in members {
        let Some(raw) = raw.as_ref().map(|raw| raw.get()).filter(|raw| *raw != "null") else { continue };
        // A number or truth value is kept as it was written; only texts are unescaped.
        let text = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
        return Wert { text, typ: *typ, ..Wert::default() };
    }
    Wert::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_whatever_the_nesting() {
        for hostile in [
            "[".repeat(100_000),
            "{\"formData\":".repeat(100_000),
            format!("[{}]", "0,".repeat(MAX_TOKENS + 1)),
        ] {
            assert_eq!(read(hostile.as_bytes()).err().unwrap().problems[0].code, "KOP-E013");
        }
        let brackets_in_text =
            format!(r#"{{"formData":[{{"name":"a","stringValue":"{}\""}}]}}"#, "[{,".repeat(200_000));
        assert!(read(brackets_in_text.as_bytes()).is_ok());
    }
}
