// SPDX-License-Identifier: EUPL-1.2
//! Compares a result with what its author expects: XML without regard to prefixes, comments and white space
//! between elements, JSON by value, CSV by cell. A whole value may be a matcher: `{{uuid}}`, `{{zeitpunkt}}`,
//! `{{beliebig}}`.

use kop_core::Diagnostic;
use quick_xml::{NsReader, events::Event, name::ResolveResult};
use serde_json::Value;

/// Most differences that are reported.
const MAX_DIFFERENCES: usize = 20;
/// Deepest XML that is compared.
const MAX_DEPTH: usize = 256;

/// One place where the result is not as expected. Test data is invented, so values are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path, row or cell.
    pub at: String,
    /// What stands in the expectation.
    pub expected: String,
    /// What the mapping made.
    pub actual: String,
}

/// One line of a flattened document: where, and what stands there.
type Line = (String, String);

/// Compares XML.
///
/// # Errors
/// One of the two is not well-formed.
pub fn compare_xml(expected: &[u8], actual: &[u8]) -> Result<Vec<Difference>, Diagnostic> {
    Ok(compare_lines(&flatten_xml(expected)?, &flatten_xml(actual)?))
}

/// Compares JSON; a member that is `null` or missing is the same.
///
/// # Errors
/// One of the two is no JSON.
pub fn compare_json(expected: &[u8], actual: &[u8]) -> Result<Vec<Difference>, Diagnostic> {
    let parse =
        |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|error| malformed(&error.to_string()));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    flatten_json(&parse(expected)?, String::new(), &mut left);
    flatten_json(&parse(actual)?, String::new(), &mut right);
    Ok(compare_lines(&left, &right))
}

/// Compares CSV; the expectation is UTF-8, the result in its own character set.
pub fn compare_csv(expected: &[u8], actual: &[u8], charset: &str, separator: char) -> Vec<Difference> {
    let actual = if charset == "utf-8" {
        String::from_utf8_lossy(actual).into_owned()
    } else {
        encoding_rs::WINDOWS_1252.decode(actual).0.into_owned()
    };
    let cells = |text: &str| -> Vec<Line> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(u8::try_from(separator).unwrap_or(b';'))
            .from_reader(text.as_bytes());
        let rows = reader.records().filter_map(Result::ok);
        rows.enumerate()
            .flat_map(|(n, row)| {
                let cell = |(m, cell): (usize, &str)| {
                    (format!("Zeile {}, Spalte {}", n + 1, m + 1), cell.to_owned())
                };
                row.iter().enumerate().map(cell).collect::<Vec<_>>()
            })
            .collect()
    };
    compare_lines(&cells(&String::from_utf8_lossy(expected)), &cells(&actual))
}

fn compare_lines(expected: &[Line], actual: &[Line]) -> Vec<Difference> {
    let mut found = Vec::new();
    let nothing = || "(nichts)".to_owned();
    for n in 0..expected.len().max(actual.len()) {
        let (left, right) = (expected.get(n), actual.get(n));
        let same = match (left, right) {
            (Some((at, wanted)), Some((here, value))) => at == here && matches(wanted, value),
            _ => false,
        };
        if same {
            continue;
        }
        let at = left.or(right).map(|(at, _)| at.clone()).unwrap_or_default();
        let show = |line: Option<&Line>| match line {
            Some((here, value)) if *here == at => value.clone(),
            Some((here, value)) => format!("{here} = {value}"),
            None => nothing(),
        };
        found.push(Difference { expected: show(left), actual: show(right), at: at.clone() });
        // Once the structure differs, everything after it would too.
        let same_place = left.zip(right).is_some_and(|(left, right)| left.0 == right.0);
        if !same_place || found.len() >= MAX_DIFFERENCES {
            break;
        }
    }
    found
}

fn matches(expected: &str, actual: &str) -> bool {
    match expected {
        "{{beliebig}}" => true,
        "{{uuid}}" => actual.parse::<uuid::Uuid>().is_ok(),
        "{{zeitpunkt}}" => actual.parse::<kop_core::Zeitpunkt>().is_ok(),
        text => text == actual,
    }
}

fn flatten_xml(xml: &[u8]) -> Result<Vec<Line>, Diagnostic> {
    let xml = std::str::from_utf8(xml).map_err(|error| malformed(&error.to_string()))?;
    let mut reader = NsReader::from_str(xml);
    let mut lines: Vec<Line> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut leaf = false;
    let broken = |error: &dyn std::fmt::Display| malformed(&error.to_string());
    let resolved = |space: ResolveResult<'_>| match space {
        ResolveResult::Bound(space) => format!("{{{}}}", space.0),
        _ => String::new(),
    };
    loop {
        match reader.read_event().map_err(|error| broken(&error))? {
            Event::Start(start) => {
                let (space, local) = reader.resolver().resolve_element(start.name());
                path.push(format!("{}{}", resolved(space), local.as_ref()));
                if path.len() > MAX_DEPTH {
                    return Err(malformed("too deep"));
                }
                let at = path.join("/");
                lines.push((at.clone(), String::new()));
                let mut attributes: Vec<Line> = Vec::new();
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|error| broken(&error))?;
                    let key = attribute.key.as_ref();
                    if key == "xmlns" || key.starts_with("xmlns:") {
                        continue;
                    }
                    let (space, local) = reader.resolver().resolve_attribute(attribute.key);
                    let value = attribute
                        .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                        .map_err(|error| broken(&error))?;
                    let name = format!("{at}/@{}{}", resolved(space), local.as_ref());
                    attributes.push((name, value.into_owned()));
                }
                attributes.sort();
                lines.extend(attributes);
                text.clear();
                leaf = true;
            }
            Event::End(_) => {
                if leaf {
                    lines.push((format!("{}/text()", path.join("/")), text.trim().to_owned()));
                }
                text.clear();
                leaf = false;
                path.pop();
            }
            Event::Text(part) => text.push_str(part.as_ref()),
            Event::CData(part) => text.push_str(part.as_ref()),
            Event::GeneralRef(name) => match quick_xml::escape::unescape(&format!("&{};", name.as_ref())) {
                Ok(resolved) => text.push_str(&resolved),
                Err(error) => return Err(broken(&error)),
            },
            Event::DocType(_) => return Err(malformed("DOCTYPE")),
            Event::Eof if path.is_empty() => return Ok(lines),
            Event::Eof => return Err(malformed("ends in the middle of an element")),
            _ => {}
        }
    }
}

fn flatten_json(value: &Value, path: String, lines: &mut Vec<Line>) {
    match value {
        Value::Null => {}
        Value::Object(object) => {
            for (key, value) in object {
                flatten_json(value, format!("{path}/{key}"), lines);
            }
        }
        Value::Array(items) => {
            // A gap counts as little as a missing member.
            for (n, item) in items.iter().filter(|item| !item.is_null()).enumerate() {
                flatten_json(item, format!("{path}[{}]", n + 1), lines);
            }
        }
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => lines.push((path, text.clone())),
        plain => lines.push((path, plain.to_string())),
    }
}

fn malformed(detail: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F019",
        "Das erwartete oder das erzeugte Dokument ist nicht wohlgeformt.",
        "The expected or the made document is not well-formed.",
    )
    .with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_white_space_do_not_count_values_and_order_do() {
        let expected = br#"<a:r xmlns:a="urn:x" n="1"><a:k>{{uuid}}</a:k> <a:l>x &amp; y</a:l></a:r>"#;
        let same =
            br#"<r xmlns="urn:x" n="1"><k>00000000-0000-4000-8000-000000000001</k><l>x &amp; y</l></r>"#;
        assert_eq!(compare_xml(expected, same).unwrap(), []);
        for other in [
            &br#"<r xmlns="urn:y" n="1"><k>00000000-0000-4000-8000-000000000001</k><l>x &amp; y</l></r>"#[..],
            br#"<r xmlns="urn:x" n="2"><k>00000000-0000-4000-8000-000000000001</k><l>x &amp; y</l></r>"#,
            br#"<r xmlns="urn:x" n="1"><k>abc</k><l>x &amp; y</l></r>"#,
            br#"<r xmlns="urn:x" n="1"><l>x &amp; y</l><k>00000000-0000-4000-8000-000000000001</k></r>"#,
            br#"<r xmlns="urn:x" n="1"><k>00000000-0000-4000-8000-000000000001</k></r>"#,
        ] {
            assert!(!compare_xml(expected, other).unwrap().is_empty(), "{}", String::from_utf8_lossy(other));
        }
        let cut_off = expected.strip_suffix(b"</a:r>").unwrap();
        assert!(compare_xml(cut_off, same).is_err() && compare_xml(expected, b"<r>").is_err());
    }

    #[test]
    fn json_and_csv_are_compared_by_value() {
        assert_eq!(
            compare_json(br#"{"a":[1,null],"b":"{{beliebig}}"}"#, br#"{"b":"x","a":[1]}"#).unwrap(),
            []
        );
        assert_eq!(compare_json(br#"{"a":"1"}"#, br#"{"a":"2"}"#).unwrap()[0].at, "/a");
        assert_eq!(compare_csv("a;ö\r\n".as_bytes(), b"a;\xf6\r\n", "windows-1252", ';'), []);
        assert_eq!(compare_csv(b"a;b\r\n", b"a;c\r\n", "utf-8", ';')[0].at, "Zeile 1, Spalte 2");
    }
}
