// SPDX-License-Identifier: EUPL-1.2
//! Whether two documents say the same: names with name spaces instead of prefixes, attributes sorted, text as
//! it stands. Left out are comments, processing instructions, white space between elements, and
//! `xsi:schemaLocation`: what exclusive C14N with fixed prefixes would leave of them. Reads with quick-xml's own
//! resolver and shares nothing with the reader under test.

use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::{QName, ResolveResult},
};

const XSI: &str = "{http://www.w3.org/2001/XMLSchema-instance}";

/// A document as lines: `<name`, `@name=value`, `"text`, `>`.
pub(crate) fn canonical(xml: &[u8]) -> Vec<String> {
    let mut reader =
        NsReader::from_str(std::str::from_utf8(xml).expect("UTF-8").trim_start_matches('\u{feff}'));
    reader.config_mut().expand_empty_elements = true;
    let mut lines: Vec<String> = Vec::new();
    let mut text = String::new();
    // whether the open element has children: then blank text in it is layout, as are line breaks alone
    let mut open: Vec<bool> = Vec::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(tag) => {
                if !text.trim().is_empty() {
                    lines.push(format!("\"{text}"));
                }
                text.clear();
                open.last_mut().into_iter().for_each(|has| *has = true);
                open.push(false);
                start(&reader, &tag, &mut lines);
            }
            Event::End(_) => {
                let has_children = open.pop().expect("an open element");
                let layout = text.trim().is_empty() && (has_children || text.contains('\n'));
                if !text.is_empty() && !layout {
                    lines.push(format!("\"{text}"));
                }
                text.clear();
                lines.push(">".to_owned());
            }
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::CData(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(part) => match part.resolve_char_ref().expect("a character") {
                Some(letter) => text.push(letter),
                None => text.push_str(resolve_predefined_entity(&part).expect("an entity of XML")),
            },
            Event::Eof => break,
            _ => {}
        }
        if open.is_empty() {
            text.clear();
        }
    }
    lines
}

fn start(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>, lines: &mut Vec<String>) {
    lines.push(format!("<{}", name(reader, tag.name(), true)));
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.expect("an attribute");
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let key = name(reader, attribute.key, false);
        let local = key.strip_prefix(XSI).unwrap_or_default();
        if matches!(local, "schemaLocation" | "noNamespaceSchemaLocation") {
            continue;
        }
        let mut value = attribute.normalized_value(XmlVersion::Implicit1_0).expect("a value").into_owned();
        if local == "type" {
            value = name(reader, QName(value.trim()), true);
        }
        attributes.push(format!("@{key}={value}"));
    }
    attributes.sort();
    lines.append(&mut attributes);
}

fn name(reader: &NsReader<&[u8]>, name: QName<'_>, element: bool) -> String {
    let resolver = reader.resolver();
    let (namespace, local) =
        if element { resolver.resolve_element(name) } else { resolver.resolve_attribute(name) };
    match namespace {
        ResolveResult::Bound(uri) => format!("{{{}}}{}", uri.0, local.into_inner()),
        ResolveResult::Unbound => format!("{{}}{}", local.into_inner()),
        ResolveResult::Unknown(prefix) => panic!("{prefix} is not declared"),
    }
}

#[test]
fn differences_that_count_are_seen() {
    let same = |a: &str, b: &str| canonical(a.as_bytes()) == canonical(b.as_bytes());
    let base = r#"<p:a xmlns:p="urn:p" x="1" y="2"><b>t&amp;</b><c/></p:a>"#;
    let alike = r#"<?xml version="1.0"?><!-- x --><q:a y="2" x="1" xmlns:q="urn:p"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:p p.xsd">
        <b><![CDATA[t&]]></b> <c></c> </q:a>"#;
    assert!(same(base, alike));
    for (from, to) in [
        ("urn:p", "urn:q"),
        ("x=\"1\"", "x=\"2\""),
        ("x=\"1\"", ""),
        ("x=\"1\"", "p:x=\"1\""),
        ("<b>t&amp;</b><c/>", "<c/><b>t&amp;</b>"),
        ("t&amp;", " t&amp;"),
        ("<c/>", ""),
        ("<c/>", "<c> </c>"),
        ("<b>", "<b xmlns=\"urn:p\">"),
    ] {
        assert!(!same(base, &base.replace(from, to)), "{from} → {to}");
    }
}
