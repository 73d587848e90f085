// SPDX-License-Identifier: EUPL-1.2
//! What is different between a stored message and one made anew, by element, member or cell, so that a person sees what
//! a change of the mapping does. Unlike [`crate::compare`], which judges a test, everything is told, and repeats are
//! numbered.

use std::collections::{BTreeMap, HashMap};

use kop_core::Diagnostic;
use quick_xml::{NsReader, events::Event, name::ResolveResult};
use serde_json::Value;

/// Values of one document that are looked at.
const MAX_VALUES: usize = 200_000;
/// Deepest document that is looked at.
const MAX_DEPTH: usize = 256;

/// One value that changed; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Element, member or cell: `bauherr[2]/name`, `flurstueck/@version`, `Zeile 2, Spalte 3`.
    pub at: String,
    /// As stored.
    pub before: Option<String>,
    /// As made now.
    pub after: Option<String>,
}

/// Where, and what stands there.
type Values = Vec<(String, String)>;

/// Everything that differs, in the order of the documents. The media type says how they are read; what is neither XML
/// nor JSON nor CSV is compared line by line.
///
/// # Errors
/// One of the two is not well-formed, or larger than a person could read.
pub fn changes(content_type: &str, before: &[u8], after: &[u8]) -> Result<Vec<Change>, Diagnostic> {
    if before == after {
        return Ok(Vec::new());
    }
    let read = |bytes: &[u8]| match content_type {
        "application/xml" => xml(bytes),
        "application/json" => json(bytes),
        "text/csv" => Ok(csv(bytes)),
        _ => Ok(lines(bytes)),
    };
    let (before, after) = (read(before)?, read(after)?);
    let known: HashMap<&str, &str> = after.iter().map(|(at, value)| (&**at, &**value)).collect();
    let stored: HashMap<&str, &str> = before.iter().map(|(at, value)| (&**at, &**value)).collect();
    let gone_or_changed = before.iter().filter_map(|(at, value)| {
        let now = known.get(at.as_str()).copied();
        (now != Some(value)).then(|| Change {
            at: at.clone(),
            before: Some(value.clone()),
            after: now.map(str::to_owned),
        })
    });
    let new = after.iter().filter(|(at, _)| !stored.contains_key(at.as_str())).map(|(at, value)| Change {
        at: at.clone(),
        before: None,
        after: Some(value.clone()),
    });
    Ok(gone_or_changed.chain(new).collect())
}

fn xml(bytes: &[u8]) -> Result<Values, Diagnostic> {
    struct Open {
        path: String,
        space: String,
        children: BTreeMap<String, usize>,
        leaf: bool,
    }
    let broken = |error: &dyn std::fmt::Display| malformed(&error.to_string());
    let text = std::str::from_utf8(bytes).map_err(|error| broken(&error))?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut found: Values = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut content = String::new();
    let name_of = |space: ResolveResult<'_>| match space {
        ResolveResult::Bound(space) => space.0.to_owned(),
        _ => String::new(),
    };
    loop {
        match reader.read_event().map_err(|error| broken(&error))? {
            Event::Start(start) => {
                let (space, local) = reader.resolver().resolve_element(start.name());
                let (space, local) = (name_of(space), local.as_ref().to_owned());
                let path = match open.last_mut() {
                    Some(parent) => {
                        parent.leaf = false;
                        let n = parent.children.entry(local.clone()).or_default();
                        *n += 1;
                        let number = if *n > 1 { format!("[{n}]") } else { String::new() };
                        if open.len() == 1 {
                            format!("{local}{number}")
                        } else {
                            format!("{}/{local}{number}", open[open.len() - 1].path)
                        }
                    }
                    // The root's own name says nothing in front of every path.
                    None => local,
                };
                // The schema gives the name space; it is told where it changes.
                if open.last().is_none_or(|parent| parent.space != space) {
                    found.push((format!("{path}/namespace()"), space.clone()));
                }
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|error| broken(&error))?;
                    let key = attribute.key.as_ref();
                    if key == "xmlns" || key.starts_with("xmlns:") {
                        continue;
                    }
                    let (_, local) = reader.resolver().resolve_attribute(attribute.key);
                    let value = attribute
                        .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                        .map_err(|error| broken(&error))?;
                    found.push((format!("{path}/@{}", local.as_ref()), value.into_owned()));
                }
                open.push(Open { path, space, children: BTreeMap::new(), leaf: true });
                if open.len() > MAX_DEPTH || found.len() > MAX_VALUES {
                    return Err(malformed("too large"));
                }
                content.clear();
            }
            Event::End(_) => {
                if let Some(closed) = open.pop().filter(|closed| closed.leaf) {
                    found.push((closed.path, content.trim().to_owned()));
                }
                content.clear();
            }
            Event::Text(part) => content.push_str(part.as_ref()),
            Event::CData(part) => content.push_str(part.as_ref()),
            Event::GeneralRef(name) => match quick_xml::escape::unescape(&format!("&{};", name.as_ref())) {
                Ok(resolved) => content.push_str(&resolved),
                Err(error) => return Err(broken(&error)),
            },
            Event::DocType(_) => return Err(malformed("DOCTYPE")),
            Event::Eof if open.is_empty() => return Ok(found),
            Event::Eof => return Err(malformed("ends in the middle of an element")),
            _ => {}
        }
    }
}

fn json(bytes: &[u8]) -> Result<Values, Diagnostic> {
    fn flatten(value: &Value, path: String, found: &mut Values) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match value {
            Value::Null => {}
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| flatten(value, below(name), found));
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    flatten(item, format!("{path}[{}]", n + 1), found);
                }
            }
            Value::String(text) => found.push((path, text.clone())),
            plain => found.push((path, plain.to_string())),
        }
    }
    let value = serde_json::from_slice::<Value>(bytes).map_err(|error| malformed(&error.to_string()))?;
    let mut found = Vec::new();
    flatten(&value, String::new(), &mut found);
    Ok(found)
}

/// Cells; the separator is that of the header row. Bytes that are not UTF-8 are windows-1252, the other character set
/// that is written.
fn csv(bytes: &[u8]) -> Values {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0,
    };
    let header = text.lines().next().unwrap_or_default();
    let separator = [b';', b',', b'\t', b'|']
        .into_iter()
        .max_by_key(|wanted| header.bytes().filter(|byte| byte == wanted).count());
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator.unwrap_or(b';'))
        .from_reader(text.as_bytes());
    let rows: Vec<_> = reader.records().filter_map(Result::ok).collect();
    let columns = rows.first().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        for (m, cell) in row.iter().enumerate() {
            let column = columns.get(m).unwrap_or_default();
            found.push((format!("Zeile {}, Spalte {} {column}", n + 1, m + 1), cell.to_owned()));
        }
    }
    found
}

fn lines(bytes: &[u8]) -> Values {
    let text = String::from_utf8_lossy(bytes);
    text.lines().enumerate().map(|(n, line)| (format!("Zeile {}", n + 1), line.to_owned())).collect()
}

fn malformed(detail: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F019",
        "Das gespeicherte oder das erzeugte Dokument ist nicht wohlgeformt.",
        "The stored or the made document is not well-formed.",
    )
    .with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_element_and_repeats_are_numbered() {
        let before = br#"<r xmlns="urn:x"><p v="1"><n>A</n></p><p v="1"><n>B</n><o/></p><q>&lt;</q></r>"#;
        let after = br#"<x:r xmlns:x="urn:x"> <x:p v="2"><x:n>A</x:n></x:p><x:p v="1"><x:n>C</x:n></x:p><x:q>&#60;</x:q><x:s>n</x:s></x:r>"#;
        let found: Vec<_> = changes("application/xml", before, after)
            .unwrap()
            .into_iter()
            .map(|one| (one.at, one.before.unwrap_or("–".into()), one.after.unwrap_or("–".into())))
            .collect();
        let told = |at: &str, before: &str, after: &str| (at.to_owned(), before.to_owned(), after.to_owned());
        assert_eq!(
            found,
            [told("p/@v", "1", "2"), told("p[2]/n", "B", "C"), told("p[2]/o", "", "–"), told("s", "–", "n")]
        );
        let other = br#"<r xmlns="urn:y"><q>a</q></r>"#;
        let same_but = br#"<r xmlns="urn:x"><q>a</q></r>"#;
        assert_eq!(changes("application/xml", same_but, other).unwrap()[0].at, "r/namespace()");
        assert!(changes("application/xml", b"<a>", b"<b/>").is_err());
    }

    #[test]
    fn json_cells_and_lines_have_places_too() {
        let one =
            |kind: &str, before: &[u8], after: &[u8]| changes(kind, before, after).unwrap().remove(0).at;
        assert_eq!(one("application/json", br#"{"a":[{"b":"1"}]}"#, br#"{"a":[{"b":"2"}]}"#), "a[1]/b");
        assert_eq!(one("text/csv", b"x;y\n1;2", b"x;y\n1;3"), "Zeile 2, Spalte 2 y");
        assert_eq!(one("text/html", b"a\nb", b"a\nc"), "Zeile 2");
    }
}
