// SPDX-License-Identifier: EUPL-1.2
//! Reads foreign XML into a small tree and writes such a tree back in one canonical form.
//!
//! DOCTYPE and entities of its own are refused, so neither XXE nor an entity bomb has a way in; depth,
//! elements and attributes are bounded. Knows nothing of SOAP or forms.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    name::ResolveResult,
    reader::NsReader,
};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Most elements of one document.
const MAX_ELEMENTS: usize = 100_000;
/// Most attributes of one element; logins bring some fifty.
const MAX_ATTRIBUTES: usize = 256;

/// Why a document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XmlError {
    /// DOCTYPE, or an entity that is not one of XML's own five.
    Doctype,
    /// Not the encoding it claims, or one that is not read.
    Encoding,
    /// Deeper or larger than any form.
    Limit,
    /// Not well-formed.
    Malformed,
}

impl XmlError {
    /// For a diagnostic's detail; holds nothing of the document.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Doctype => "DOCTYPE or entity",
            Self::Encoding => "encoding",
            Self::Limit => "too deep or too many elements or attributes",
            Self::Malformed => "not well-formed XML with namespaces",
        }
    }
}

/// An attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute {
    /// Namespace; empty for none.
    pub(crate) ns: Arc<str>,
    /// Local name.
    pub(crate) name: String,
    /// Value, with references resolved.
    pub(crate) value: String,
}

/// An element. Prefixes are gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    /// Namespace; empty for none.
    pub(crate) ns: Arc<str>,
    /// Local name.
    pub(crate) name: String,
    /// Attributes without namespace declarations.
    pub(crate) attributes: Vec<Attribute>,
    /// Children in order.
    pub(crate) children: Vec<Node>,
}

/// A child of an element; comments and processing instructions are dropped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// An element.
    Element(Element),
    /// Character data.
    Text(String),
}

impl Element {
    /// Child elements in order.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child element of a local name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.elements().find(|element| element.name == name)
    }

    /// The element's own character data.
    pub(crate) fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) => Some(text.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    /// Trimmed text of a child, `None` when it is absent or empty.
    pub(crate) fn child_text(&self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text().trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// An attribute by namespace and local name.
    pub(crate) fn attribute(&self, ns: &str, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| &*attribute.ns == ns && attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}

/// Reads a document in whatever encoding it declares.
pub(crate) fn read(bytes: &[u8]) -> Result<Element, XmlError> {
    read_text(&decode(bytes)?)
}

fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let encoding = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => match declared_encoding(bytes) {
            Some(label) => encoding_rs::Encoding::for_label(label).ok_or(XmlError::Encoding)?,
            None => encoding_rs::UTF_8,
        },
    };
    let (text, _, damaged) = encoding.decode(bytes);
    if damaged { Err(XmlError::Encoding) } else { Ok(text) }
}

/// The encoding that an XML declaration in ASCII letters names.
fn declared_encoding(bytes: &[u8]) -> Option<&[u8]> {
    let head = bytes.strip_prefix(b"<?xml")?;
    let head = &head[..head.len().min(200)];
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let head = &head[..end];
    let at = head.windows(8).position(|word| word == b"encoding")?;
    let mut quoted = head[at + 8..].splitn(3, |byte| matches!(byte, b'"' | b'\''));
    quoted.nth(1)
}

fn read_text(text: &str) -> Result<Element, XmlError> {
    if text.chars().any(illegal) {
        return Err(XmlError::Malformed);
    }
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut names = Names::default();
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0;
    loop {
        let event = reader.read_event().map_err(|_| XmlError::Malformed)?;
        match event {
            Event::Start(tag) => {
                if root.is_some() {
                    return Err(XmlError::Malformed);
                }
                count += 1;
                if open.len() >= MAX_DEPTH || count > MAX_ELEMENTS {
                    return Err(XmlError::Limit);
                }
                open.push(element(&reader, &tag, &mut names)?);
            }
            Event::Empty(tag) => {
                if root.is_some() {
                    return Err(XmlError::Malformed);
                }
                count += 1;
                if open.len() >= MAX_DEPTH || count > MAX_ELEMENTS {
                    return Err(XmlError::Limit);
                }
                let element = element(&reader, &tag, &mut names)?;
                close(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or(XmlError::Malformed)?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => append(&mut open, &text.xml10_content())?,
            Event::CData(text) => append(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let resolved = if reference.is_char_ref() {
                    reference
                        .resolve_char_ref()
                        .ok()
                        .flatten()
                        .filter(|c| !illegal(*c))
                        .ok_or(XmlError::Malformed)?
                } else {
                    match &*reference.into_inner() {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err(XmlError::Doctype),
                    }
                };
                append(&mut open, resolved.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    if open.is_empty() { root.ok_or(XmlError::Malformed) } else { Err(XmlError::Malformed) }
}

/// Whether XML 1.0 (section 2.2, Char) forbids a character.
fn illegal(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Namespaces already seen, so that a hundred thousand elements share a handful of texts.
#[derive(Default)]
struct Names(Vec<Arc<str>>);

impl Names {
    fn share(&mut self, resolved: &ResolveResult<'_>) -> Result<Arc<str>, XmlError> {
        let uri = match resolved {
            ResolveResult::Unbound => "",
            ResolveResult::Bound(namespace) => namespace.into_inner(),
            ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
        };
        if let Some(known) = self.0.iter().find(|known| &***known == uri) {
            return Ok(Arc::clone(known));
        }
        let new: Arc<str> = uri.into();
        if self.0.len() < 32 {
            self.0.push(Arc::clone(&new));
        }
        Ok(new)
    }
}

fn element(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>, names: &mut Names) -> Result<Element, XmlError> {
    let (resolved, local) = reader.resolver().resolve_element(tag.name());
    let mut element = Element {
        ns: names.share(&resolved)?,
        name: local.into_inner().to_owned(),
        attributes: Vec::new(),
        children: Vec::new(),
    };
    for (n, attribute) in tag.attributes().enumerate() {
        if n >= MAX_ATTRIBUTES {
            return Err(XmlError::Limit);
        }
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (resolved, local) = reader.resolver().resolve_attribute(attribute.key);
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::Malformed)?;
        if value.chars().any(illegal) {
            return Err(XmlError::Malformed);
        }
        element.attributes.push(Attribute {
            ns: names.share(&resolved)?,
            name: local.into_inner().to_owned(),
            value: value.into_owned(),
        });
    }
    Ok(element)
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(Node::Element(element)),
        None => *root = Some(element),
    }
}

fn append(open: &mut [Element], text: &str) -> Result<(), XmlError> {
    match open.last_mut() {
        Some(parent) => {
            if let Some(Node::Text(before)) = parent.children.last_mut() {
                before.push_str(text);
            } else if !text.is_empty() {
                parent.children.push(Node::Text(text.to_owned()));
            }
            Ok(())
        }
        None if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() => Ok(()),
        None => Err(XmlError::Malformed),
    }
}

/// Writes a tree in one form that depends on nothing but its content: the same message gives the same bytes
/// whatever prefixes its sender chose. White space between child elements is left out.
pub(crate) fn write(element: &Element) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    write_element(element, "", &mut out);
    out
}

fn write_element(element: &Element, outer_ns: &str, out: &mut String) {
    out.push('<');
    out.push_str(&element.name);
    if &*element.ns != outer_ns {
        out.push_str(" xmlns=\"");
        escape(&element.ns, out);
        out.push('"');
    }
    for (n, attribute) in element.attributes.iter().enumerate() {
        if attribute.ns.is_empty() {
            out.push(' ');
        } else if &*attribute.ns == "http://www.w3.org/XML/1998/namespace" {
            out.push_str(" xml:");
        } else {
            let _ = write!(out, " xmlns:n{n}=\"");
            escape(&attribute.ns, out);
            let _ = write!(out, "\" n{n}:");
        }
        out.push_str(&attribute.name);
        out.push_str("=\"");
        escape(&attribute.value, out);
        out.push('"');
    }
    let has_elements = element.elements().next().is_some();
    let skip = |node: &Node| matches!(node, Node::Text(text) if has_elements && text.trim().is_empty());
    if element.children.iter().all(skip) {
        out.push_str("/>");
        return;
    }
    out.push('>');
    for node in element.children.iter().filter(|node| !skip(node)) {
        match node {
            Node::Element(child) => write_element(child, &element.ns, out),
            Node::Text(text) => escape(text, out),
        }
    }
    out.push_str("</");
    out.push_str(&element.name);
    out.push('>');
}

/// Escapes text for element content and attribute values alike; white space that an attribute would lose is
/// written as a reference.
pub(crate) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => _ = write!(out, "&#{};", c as u32),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_does_not_depend_on_prefixes() {
        let one = "<a:x xmlns:a='urn:1'><y b='1'>t&amp;&#252;</y>\n <z xmlns:q='urn:2' q:k='v'/></a:x>";
        let two = "<?xml version='1.0'?><c:x xmlns:c=\"urn:1\" xmlns:p='urn:2'><y b=\"1\"><![CDATA[t&]]>ü</y><z p:k='v'></z></c:x>";
        let written = write(&read(one.as_bytes()).unwrap());
        assert_eq!(written, write(&read(two.as_bytes()).unwrap()));
        assert_eq!(written, write(&read(written.as_bytes()).unwrap()));
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "<a>".repeat(100_000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        let attributes: Vec<_> = (0..300).map(|n| format!(" a{n}=''")).collect();
        let attributes = attributes.concat();
        for (document, error) in [
            ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", XmlError::Doctype),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", XmlError::Doctype),
            ("<a>&b;</a>", XmlError::Doctype),
            (&deep, XmlError::Limit),
            (&wide, XmlError::Limit),
            (&format!("<a{attributes}/>"), XmlError::Limit),
            ("<a><b></a></b>", XmlError::Malformed),
            ("<a/><b/>", XmlError::Malformed),
            ("<a/>text", XmlError::Malformed),
            ("<p:a/>", XmlError::Malformed),
            ("<a b='1' b='2'/>", XmlError::Malformed),
            ("<a>&#0;</a>", XmlError::Malformed),
            ("<a>\u{1}</a>", XmlError::Malformed),
            ("<a", XmlError::Malformed),
            ("", XmlError::Malformed),
            ("<?xml version='1.0' encoding='utf-7'?><a/>", XmlError::Encoding),
        ] {
            let shown: String = document.chars().take(60).collect();
            assert_eq!(read(document.as_bytes()).unwrap_err(), error, "{shown}");
        }
        assert_eq!(read(b"<a>\xff</a>").unwrap_err(), XmlError::Encoding);
    }

    #[test]
    fn other_encodings_are_read() {
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>M\xfcller</a>";
        assert_eq!(read(latin).unwrap().text(), "Müller");
        let utf16: Vec<u8> = "\u{feff}<a>ß</a>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16).unwrap().text(), "ß");
    }
}
