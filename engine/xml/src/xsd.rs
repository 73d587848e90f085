// SPDX-License-Identifier: EUPL-1.2
//! Reads one schema document with quick-xml into a small tree. Foreign files come through here before libxml2
//! sees them: DOCTYPE, unknown entities, depth and size are refused. Knows nothing of what a schema means.

use std::sync::Arc;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};
use sha2::{Digest, Sha256};

/// Name space of XML Schema.
pub(crate) const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// Name space of `xml:lang` and friends.
pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// Name space of `xsi:type` and friends.
pub(crate) const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Largest schema document.
pub(crate) const MAX_FILE: usize = 16 << 20;

/// The name without `{name space}` or prefix.
pub(crate) fn local_name(name: &str) -> &str {
    name.rsplit(['}', ':']).next().unwrap_or(name)
}
const MAX_DEPTH: usize = 128;
const MAX_NODES: usize = 400_000;

/// The W3C's xmldsig-core-schema.xsd, the one schema in use that carries a DOCTYPE; known by content only.
const XMLDSIG_SHA256: &str = "d102ad3df7664c307e0c2c776ba4a90513b1969974d8a940bae1a77f9f21e15d";

/// An element of a schema document.
#[derive(Debug)]
pub(crate) struct Node {
    /// Local name.
    pub(crate) name: Box<str>,
    /// Whether it is in the name space of XML Schema.
    pub(crate) xsd: bool,
    /// Attributes without name space.
    pub(crate) attrs: Vec<(Box<str>, Box<str>)>,
    /// Element children.
    pub(crate) children: Vec<u32>,
    /// Text; of documentation only the URN of a code list that it suggests.
    pub(crate) text: String,
    /// Line of its start tag, from 1.
    pub(crate) line: u32,
    scope: u32,
}

impl Node {
    /// An attribute's value.
    pub(crate) fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }
}

/// A schema document.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    scopes: Vec<Vec<(Box<str>, Arc<str>)>>,
}

/// Reads a document. The error is a reason in plain words, without content of the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, String> {
    if bytes.len() > MAX_FILE {
        return Err(format!("larger than {} MiB", MAX_FILE >> 20));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut document = Document { nodes: Vec::new(), scopes: vec![vec![("xml".into(), XML.into())]] };
    let mut open: Vec<u32> = Vec::new();
    // Lines are counted from the last tag on, so that each byte is looked at once.
    let (mut line, mut counted) = (1, 0);
    let source = text.trim_start_matches('\u{feff}').as_bytes();
    loop {
        let here = usize::try_from(reader.buffer_position()).unwrap_or(counted).min(source.len());
        line += source[counted..here].split(|byte| *byte == b'\n').count() as u32 - 1;
        counted = here;
        match reader.read_event().map_err(|error| format!("not well-formed: {error}"))? {
            Event::Start(tag) => {
                let node = document.push(&tag, &open, line)?;
                open.push(node);
                if open.len() > MAX_DEPTH {
                    return Err(format!("nested deeper than {MAX_DEPTH}"));
                }
            }
            Event::Empty(tag) => {
                document.push(&tag, &open, line)?;
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                let Some(node) = open.last().map(|at| &mut document.nodes[*at as usize]) else { continue };
                if &*node.name == "documentation" {
                    // the sentence by which XÖV schemas suggest a list for a code of type 4
                    let urn = text
                        .split_once("Codelisten-URI urn:")
                        .map(|(_, rest)| rest.split_whitespace().next());
                    node.text
                        .extend(urn.flatten().map(|urn| format!("urn:{}", urn.trim_end_matches(['.', ',']))));
                } else if !text.trim_ascii().is_empty() {
                    node.text.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                let known =
                    matches!(&*reference, "amp" | "lt" | "gt" | "quot" | "apos") || reference.is_char_ref();
                if !known {
                    return Err("refers to an entity".to_owned());
                }
            }
            Event::DocType(_) => {
                let digest =
                    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                if digest != XMLDSIG_SHA256 {
                    return Err("has a DOCTYPE".to_owned());
                }
            }
            Event::Eof => break,
            Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !open.is_empty() {
        return Err("ends in the middle of an element".to_owned());
    }
    match document.nodes.first() {
        Some(root) if root.xsd && &*root.name == "schema" => Ok(document),
        _ => Err("is not an XML schema".to_owned()),
    }
}

impl Document {
    fn push(&mut self, tag: &BytesStart<'_>, open: &[u32], line: u32) -> Result<u32, String> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("more than {MAX_NODES} elements"));
        }
        if open.is_empty() && !self.nodes.is_empty() {
            return Err("has two roots".to_owned());
        }
        let parent = open.last().copied();
        let outer = parent.map_or(0, |at| self.nodes[at as usize].scope);
        let mut bindings: Vec<(Box<str>, Arc<str>)> = Vec::new();
        let mut attrs = Vec::new();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| format!("not well-formed: {error}"))?;
            let key = attribute.key.as_ref();
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                .map_err(|error| format!("not well-formed: {error}"))?;
            match key.split_once(':') {
                None if key == "xmlns" => bindings.push(("".into(), value.as_ref().into())),
                Some(("xmlns", prefix)) => bindings.push((prefix.into(), value.as_ref().into())),
                None => attrs.push((key.into(), value.as_ref().into())),
                Some(_) => {}
            }
        }
        let scope = if bindings.is_empty() {
            outer
        } else {
            let mut all = self.scopes[outer as usize].clone();
            all.retain(|(prefix, _)| bindings.iter().all(|(new, _)| new != prefix));
            all.append(&mut bindings);
            self.scopes.push(all);
            self.scopes.len() as u32 - 1
        };
        let raw = tag.name();
        let raw = raw.as_ref();
        let (prefix, name) = raw.split_once(':').unwrap_or(("", raw));
        let xsd = self.lookup(scope, prefix).is_some_and(|uri| &**uri == XSD);
        let at = self.nodes.len() as u32;
        self.nodes.push(Node {
            name: name.into(),
            xsd,
            attrs,
            children: Vec::new(),
            text: String::new(),
            line,
            scope,
        });
        if let Some(parent) = parent {
            self.nodes[parent as usize].children.push(at);
        }
        Ok(at)
    }

    fn lookup(&self, scope: u32, prefix: &str) -> Option<&Arc<str>> {
        self.scopes[scope as usize].iter().find(|(name, _)| &**name == prefix).map(|(_, uri)| uri)
    }

    /// One element.
    pub(crate) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    /// The `xs:schema` element.
    pub(crate) fn root(&self) -> &Node {
        &self.nodes[0]
    }

    /// Target name space; empty when there is none.
    pub(crate) fn target(&self) -> &str {
        self.root().attr("targetNamespace").unwrap_or_default()
    }

    /// XML Schema children of an element, annotations left out.
    pub(crate) fn children(&self, at: u32) -> impl Iterator<Item = (u32, &Node)> {
        self.node(at)
            .children
            .iter()
            .map(|child| (*child, self.node(*child)))
            .filter(|(_, node)| node.xsd && &*node.name != "annotation")
    }

    /// Name space and local name of a QName in an element's scope; without prefix the default name space, else
    /// the given one (chameleon include).
    pub(crate) fn qname<'a>(
        &'a self,
        at: u32,
        qname: &'a str,
        chameleon: &'a str,
    ) -> Option<(&'a str, &'a str)> {
        let (prefix, name) = qname.trim().split_once(':').unwrap_or(("", qname.trim()));
        match self.lookup(self.node(at).scope, prefix) {
            Some(uri) => Some((uri, name)),
            None if prefix.is_empty() => Some((chameleon, name)),
            None => None,
        }
    }

    /// Prefix that the document itself gives to a name space.
    pub(crate) fn prefix_of(&self, uri: &str) -> Option<&str> {
        let scope = &self.scopes[self.root().scope as usize];
        scope
            .iter()
            .find(|(prefix, bound)| !prefix.is_empty() && &**bound == uri)
            .map(|(prefix, _)| &**prefix)
    }

    /// Text at a path of local names below an element's annotation, e.g. `["appinfo", "codeliste", "kennung"]`.
    pub(crate) fn annotation(&self, at: u32, path: &[&str]) -> Option<&str> {
        let find = |at: u32, name: &str| {
            self.node(at).children.iter().copied().find(|child| &*self.node(*child).name == name)
        };
        let mut here = find(at, "annotation")?;
        for name in path {
            here = find(here, name)?;
        }
        Some(self.node(here).text.trim()).filter(|text| !text.is_empty())
    }

    /// Texts of the elements whose local names are wanted, outside of XML Schema's own: what annotations hold.
    pub(crate) fn texts(&self, wanted: fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let named = self.nodes.iter().filter(move |node| !node.xsd && wanted(&node.name));
        named.map(|node| node.text.trim()).filter(|text| !text.is_empty())
    }

    /// References to other documents: kind (`import`, `include`, …), name space, location.
    pub(crate) fn references(&self) -> impl Iterator<Item = (&str, Option<&str>, Option<&str>)> {
        self.children(0)
            .filter(|(_, node)| matches!(&*node.name, "import" | "include" | "redefine" | "override"))
            .map(|(_, node)| (&*node.name, node.attr("namespace"), node.attr("schemaLocation")))
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn hostile_documents_are_refused_with_a_reason() {
        let schema = |inner: &str| {
            format!(r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">{inner}</xs:schema>"#)
        };
        let refused = |text: &str| read(text.as_bytes()).unwrap_err();
        assert!(read(schema("").as_bytes()).is_ok());
        assert!(
            refused(&format!("<!DOCTYPE x SYSTEM 'file:///etc/passwd'>{}", schema(""))).contains("DOCTYPE")
        );
        assert!(refused(&schema("<xs:annotation>&bombe;</xs:annotation>")).contains("entity"));
        assert!(refused(&schema(&"<xs:group>".repeat(200))).contains("deeper"));
        assert!(refused(&schema("<xs:element>")).contains("well-formed"));
        assert!(refused("<a/>").contains("not an XML schema"));
        assert!(refused("").contains("not an XML schema"));
    }
}
