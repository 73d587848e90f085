// SPDX-License-Identifier: EUPL-1.2
//! Pulls a foreign document apart: tags with resolved names, attributes, text. Size, depth, counts, DOCTYPE and
//! entities are bounded here. Knows nothing of schemas.

use kop_core::Diagnostic;
use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::{Namespace, QName, ResolveResult},
};

use crate::text::allowed;

/// Largest document.
const MAX_DOCUMENT: usize = 64 << 20;
/// Deepest nesting; what the writer allows too.
pub(crate) const MAX_DEPTH: usize = 100;
/// Most elements; a 16 MB xdomea document has a third of that.
const MAX_ELEMENTS: usize = 1_000_000;
/// Most attributes of one element, name space declarations included.
const MAX_ATTRIBUTES: usize = 256;

/// What comes next inside an element.
pub(crate) enum Piece<'x> {
    Start(BytesStart<'x>),
    /// All text up to the next tag.
    Text(String),
    End,
}

/// An attribute with its name space; declarations are not among them.
pub(crate) struct Given {
    pub(crate) uri: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

pub(crate) struct Parser<'x> {
    reader: NsReader<&'x [u8]>,
    text: &'x str,
    /// A tag that ended a text.
    pending: Option<Event<'x>>,
    depth: usize,
    elements: usize,
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

impl<'x> Parser<'x> {
    pub(crate) fn new(xml: &'x [u8]) -> Parsed<Self> {
        if xml.len() > MAX_DOCUMENT {
            return Err(too_much());
        }
        let Ok(text) = std::str::from_utf8(xml) else {
            return Err(malformed("nicht in UTF-8"));
        };
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self { reader, text, pending: None, depth: 0, elements: 0 })
    }

    /// The root's start tag.
    pub(crate) fn root(&mut self) -> Parsed<BytesStart<'x>> {
        loop {
            match self.event()? {
                Event::Start(tag) => {
                    self.open()?;
                    return Ok(tag);
                }
                Event::Decl(declaration) => {
                    let encoding = declaration.encoding().and_then(Result::ok);
                    if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                        return Err(malformed("nicht in UTF-8"));
                    }
                }
                event => self.between(&event)?,
            }
        }
    }

    /// Checks that nothing comes after the root.
    pub(crate) fn end(&mut self) -> Parsed<()> {
        loop {
            match self.event()? {
                Event::Eof => return Ok(()),
                event => self.between(&event)?,
            }
        }
    }

    /// The next piece of the open element.
    pub(crate) fn next(&mut self) -> Parsed<Piece<'x>> {
        let mut text = String::new();
        loop {
            let event = match self.pending.take() {
                Some(event) => event,
                None => self.event()?,
            };
            match event {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => {
                    let known = reference.resolve_char_ref().map_err(|_| self.broken())?;
                    match (known, resolve_predefined_entity(&reference)) {
                        (Some(letter), _) => text.push(letter),
                        (None, Some(entity)) => text.push_str(entity),
                        (None, None) => return Err(doctype()),
                    }
                }
                Event::Comment(_) | Event::PI(_) => {}
                event @ (Event::Start(_) | Event::End(_)) if !text.is_empty() => {
                    if !text.chars().all(allowed) {
                        return Err(self.broken());
                    }
                    self.pending = Some(event);
                    return Ok(Piece::Text(text));
                }
                Event::Start(tag) => {
                    self.open()?;
                    return Ok(Piece::Start(tag));
                }
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(Piece::End);
                }
                Event::DocType(_) => return Err(doctype()),
                Event::Eof | Event::Decl(_) | Event::Empty(_) => return Err(self.broken()),
            }
        }
    }

    /// Skips the rest of the open element.
    pub(crate) fn skip(&mut self) -> Parsed<()> {
        let outside = self.depth - 1;
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    /// Name space (empty: none) and local name of a start tag that was just read.
    pub(crate) fn name<'a>(&'a self, tag: &'a BytesStart<'_>) -> Parsed<(&'a str, &'a str)> {
        let (namespace, local) = self.reader.resolver().resolve_element(tag.name());
        match namespace {
            ResolveResult::Bound(Namespace(uri)) => Ok((uri, local.into_inner())),
            ResolveResult::Unbound => Ok(("", local.into_inner())),
            ResolveResult::Unknown(_) => Err(self.broken()),
        }
    }

    /// Name space and local name of a QName in content, e.g. in `xsi:type`.
    pub(crate) fn resolve(&self, qname: &str) -> Option<(String, String)> {
        let (namespace, local) = self.reader.resolver().resolve_element(QName(qname.trim()));
        match namespace {
            ResolveResult::Bound(Namespace(uri)) => Some((uri.to_owned(), local.into_inner().to_owned())),
            ResolveResult::Unbound => Some((String::new(), local.into_inner().to_owned())),
            ResolveResult::Unknown(_) => None,
        }
    }

    /// Attributes of a start tag that was just read.
    pub(crate) fn attributes(&self, tag: &BytesStart<'_>) -> Parsed<Vec<Given>> {
        let mut all: Vec<Given> = Vec::new();
        for (number, attribute) in tag.attributes().with_checks(false).enumerate() {
            if number >= MAX_ATTRIBUTES {
                return Err(too_much());
            }
            let attribute = attribute.map_err(|_| self.broken())?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| self.broken())?;
            let (namespace, local) = self.reader.resolver().resolve_attribute(attribute.key);
            let uri = match namespace {
                ResolveResult::Bound(Namespace(uri)) => uri,
                ResolveResult::Unbound => "",
                ResolveResult::Unknown(_) => return Err(self.broken()),
            };
            let name = local.into_inner();
            if all.iter().any(|known| known.uri == uri && known.name == name) || !value.chars().all(allowed) {
                return Err(self.broken());
            }
            all.push(Given { uri: uri.to_owned(), name: name.to_owned(), value: value.into_owned() });
        }
        Ok(all)
    }

    fn event(&mut self) -> Parsed<Event<'x>> {
        self.reader.read_event().map_err(|_| self.broken())
    }

    fn open(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.elements += 1;
        if self.depth > MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err(too_much());
        }
        Ok(())
    }

    /// What may stand before and after the root.
    fn between(&self, event: &Event<'_>) -> Parsed<()> {
        match event {
            Event::Comment(_) | Event::PI(_) => Ok(()),
            Event::Text(text) if text.trim_ascii().is_empty() => Ok(()),
            Event::DocType(_) => Err(doctype()),
            _ => Err(self.broken()),
        }
    }

    fn broken(&self) -> Box<Diagnostic> {
        let place = usize::try_from(self.reader.error_position().max(self.reader.buffer_position()));
        let read = self.text.as_bytes().get(..place.unwrap_or(0)).unwrap_or_default();
        let line = read.split(|byte| *byte == b'\n').count();
        malformed(&format!("Zeile {line}"))
    }
}

fn malformed(detail: &str) -> Box<Diagnostic> {
    let (de, en) = ("Das Dokument ist kein wohlgeformtes XML.", "The document is not well-formed XML.");
    Box::new(Diagnostic::new("KOP-X030", de, en).with_detail(detail))
}

fn doctype() -> Box<Diagnostic> {
    let (de, en) = (
        "Das Dokument enthält eine Dokumenttyp-Angabe oder eigene Entitäten und wird deshalb nicht gelesen.",
        "The document holds a document type declaration or entities of its own and is not read for that.",
    );
    Box::new(Diagnostic::new("KOP-X031", de, en))
}

fn too_much() -> Box<Diagnostic> {
    let (de, en) =
        ("Das Dokument ist zu groß oder zu tief geschachtelt.", "The document is too large or too deep.");
    Box::new(Diagnostic::new("KOP-X032", de, en))
}
