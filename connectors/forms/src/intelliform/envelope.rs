// SPDX-License-Identifier: EUPL-1.2
//! The SOAP envelope without its files: what operation it calls, which file belongs to which attachment, and
//! what `deposit` says.

use std::collections::HashMap;

use kop_connector_api::{IntakePart, Refusal};

use super::{NS_BACKEND, NS_XOP};
use crate::{
    problem,
    xml::{Element, Node, XmlError},
};

const NS_SOAP_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const NS_SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";
/// Most attachments of one submission.
pub(super) const MAX_ATTACHMENTS: usize = 1_000;
/// Most `customParameters`, and most attributes of one attachment.
const MAX_PAIRS: usize = 500;

/// An XML problem as the sender is told.
pub(super) fn refusal(error: XmlError) -> Refusal {
    match error {
        XmlError::Doctype => problem::doctype_refused(),
        XmlError::Encoding => problem::wrong_encoding(),
        XmlError::Limit | XmlError::Malformed => problem::envelope_unreadable(error.detail()),
    }
}

/// The `deposit` element of an envelope.
pub(super) fn deposit_of(envelope: Element) -> Result<Element, Refusal> {
    match (envelope.name.as_str(), &*envelope.ns) {
        ("Envelope", NS_SOAP_11) => {}
        ("Envelope", NS_SOAP_12) => return Err(problem::soap_not_understood(true)),
        _ => return Err(problem::envelope_unreadable("not a SOAP envelope")),
    }
    let mut children = envelope.children.into_iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    });
    let body = children
        .find(|element| element.name == "Body" && &*element.ns == NS_SOAP_11)
        .ok_or_else(|| problem::envelope_unreadable("no SOAP body"))?;
    let mut operations = body.children.into_iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    });
    let operation = operations.next().ok_or_else(|| problem::envelope_unreadable("empty SOAP body"))?;
    match (operation.name.as_str(), &*operation.ns) {
        ("deposit", NS_BACKEND) if operations.next().is_none() => Ok(operation),
        ("prefill", NS_BACKEND) => Err(problem::operation_unknown(true)),
        _ => Err(problem::operation_unknown(false)),
    }
}

/// A file in the blob store, under the Content-ID that it came with.
#[derive(Debug)]
pub(super) struct StoredFile {
    pub(super) content_id: String,
    pub(super) part: IntakePart,
}

/// Gives every file the name of its place, so that neither Content-IDs nor the order of MIME parts make two
/// sendings of the same application different, and brings the files into the order of their attachments.
/// Files that no attachment speaks of come last.
pub(super) fn link_files(deposit: &mut Element, files: Vec<StoredFile>) -> Result<Vec<IntakePart>, Refusal> {
    let mut by_id: HashMap<String, IntakePart> = HashMap::with_capacity(files.len());
    let mut unnamed = Vec::new();
    let mut order = Vec::with_capacity(files.len());
    for file in files {
        if file.content_id.is_empty() {
            unnamed.push(file.part);
        } else {
            order.push(file.content_id.clone());
            if by_id.insert(file.content_id, file.part).is_some() {
                return Err(problem::reference_broken());
            }
        }
    }
    let mut parts = Vec::with_capacity(by_id.len());
    let mut keys: HashMap<String, String> = HashMap::new();
    let mut broken = false;
    for_each_attachment(deposit, &mut |attachment| {
        let name = attachment.child_text("name");
        let content_type = attachment.child_text("contentType");
        let Some(include) = include_of(attachment) else { return };
        let href = include.attributes.iter_mut().find(|attribute| attribute.name == "href");
        let Some(href) = href else {
            broken = true;
            return;
        };
        let Some(id) = href.value.strip_prefix("cid:").map(unescape_url) else {
            broken = true;
            return;
        };
        if let Some(key) = keys.get(&id) {
            href.value = format!("cid:{key}");
            return;
        }
        let Some(mut part) = by_id.remove(&id) else {
            broken = true;
            return;
        };
        let key = format!("teil-{}", parts.len() + 1);
        href.value = format!("cid:{key}");
        keys.insert(id, key.clone());
        part.key = key;
        part.file_name = name.or(part.file_name);
        part.content_type = content_type.or(part.content_type);
        parts.push(part);
    });
    if broken {
        return Err(problem::reference_broken());
    }
    let leftover = order.into_iter().filter_map(|id| by_id.remove(&id));
    for mut part in leftover.chain(unnamed) {
        part.key = format!("teil-{}", parts.len() + 1);
        parts.push(part);
    }
    Ok(parts)
}

/// Calls `visit` for each attachment; lists may be wrapped or not.
fn for_each_attachment(deposit: &mut Element, visit: &mut dyn FnMut(&mut Element)) {
    fn children<'a>(element: &'a mut Element, name: &'a str) -> impl Iterator<Item = &'a mut Element> {
        element.children.iter_mut().filter_map(move |node| match node {
            Node::Element(child) if child.name == name => Some(child),
            _ => None,
        })
    }
    for data in children(deposit, "data") {
        for attachment in children(data, "attachments") {
            if attachment.child("attachment").is_some() {
                children(attachment, "attachment").for_each(&mut *visit);
            } else {
                visit(attachment);
            }
        }
    }
}

fn include_of(attachment: &mut Element) -> Option<&mut Element> {
    attachment
        .children
        .iter_mut()
        .find_map(|node| match node {
            Node::Element(content) if content.name == "content" => Some(content),
            _ => None,
        })?
        .children
        .iter_mut()
        .find_map(|node| match node {
            Node::Element(include) if include.name == "Include" && &*include.ns == NS_XOP => Some(include),
            _ => None,
        })
}

/// A `cid:` address is URL-escaped (RFC 2392).
fn unescape_url(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = |n: usize| bytes.get(at + n).and_then(|byte| (*byte as char).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, hex(1), hex(2)) {
            out.push((high * 16 + low) as u8);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a `deposit` says.
#[derive(Debug, Default)]
pub(super) struct Deposit {
    pub(super) attachments: Vec<Attachment>,
    /// `customParameters` in order.
    pub(super) custom: Vec<(String, String)>,
    /// The single values that are not empty, by name and in order.
    pub(super) values: Vec<(String, String)>,
}

/// One attachment of a `deposit`.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    /// Key of its part, where it has content.
    pub(super) part: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) content_type: Option<String>,
    /// The attribute `X-IntelliForm-Original-Name`.
    pub(super) original_name: Option<String>,
}

impl Deposit {
    /// Reads a `deposit` element. `None` when it lists more than any form would.
    pub(super) fn read(deposit: &Element) -> Option<Self> {
        let mut read = Self::default();
        let Some(data) = deposit.child("data") else { return Some(read) };
        for child in data.elements() {
            match child.name.as_str() {
                "attachments" => {
                    if child.child("attachment").is_some() {
                        read.attachments.extend(
                            child.elements().filter(|inner| inner.name == "attachment").map(Attachment::read),
                        );
                    } else if child.elements().next().is_some() {
                        read.attachments.push(Attachment::read(child));
                    }
                }
                "customParameters" => {
                    if child.child("entry").is_some() {
                        read.custom.extend(child.elements().filter_map(pair));
                    } else {
                        read.custom.extend(pair(child));
                    }
                }
                name => {
                    let text = child.text().trim().to_owned();
                    if !text.is_empty() {
                        read.values.push((name.to_owned(), text));
                    }
                }
            }
            if read.attachments.len() > MAX_ATTACHMENTS
                || read.custom.len() > MAX_PAIRS
                || read.values.len() > MAX_PAIRS
            {
                return None;
            }
        }
        Some(read)
    }

    /// A single value by name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A custom parameter by its name in any case of letters.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.custom.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

fn pair(element: &Element) -> Option<(String, String)> {
    let key = element.child_text("key")?;
    Some((key, element.child_text("value").unwrap_or_default()))
}

impl Attachment {
    fn read(element: &Element) -> Self {
        let part = element
            .child("content")
            .and_then(|content| content.child("Include"))
            .and_then(|include| include.attribute("", "href"))
            .and_then(|href| href.strip_prefix("cid:"))
            .map(str::to_owned);
        let original_name = element
            .elements()
            .filter(|child| child.name == "attributes")
            .take(MAX_PAIRS)
            .filter_map(|child| {
                if child.child("entry").is_some() { child.elements().find_map(pair) } else { pair(child) }
            })
            .find(|(key, _)| key.eq_ignore_ascii_case("X-IntelliForm-Original-Name"))
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty());
        Self {
            part,
            id: element.child_text("id"),
            name: element.child_text("name"),
            description: element.child_text("description"),
            content_type: element.child_text("contentType"),
            original_name,
        }
    }

    /// Whether the applicant uploaded it.
    pub(super) fn is_upload_by_id(&self) -> bool {
        self.id.as_deref().is_some_and(|id| id.starts_with("assistants."))
    }

    /// Whether it may be one of the two data documents. Ids are not unique and the original name of both is
    /// the same, so this only narrows down; what it is its content tells.
    pub(super) fn may_be_data(&self, primary: Option<&str>) -> bool {
        if self.is_upload_by_id() || !self.is_xml() {
            return false;
        }
        let named = [&self.name, &self.original_name].into_iter().flatten().any(|name| {
            let name = name.to_lowercase();
            ["xml-daten", "xml-rohform", "rohform"].iter().any(|word| name.contains(word))
        });
        let id = self.id.as_deref();
        named || id.is_some_and(|id| Some(id) == primary || id.ends_with("-xml"))
    }

    /// Whether type or name say XML.
    pub(super) fn is_xml(&self) -> bool {
        let kind = self.content_type.as_deref().unwrap_or_default().to_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        matches!(kind.as_str(), "text/xml" | "application/xml")
            || (matches!(kind.as_str(), "" | "application/octet-stream" | "text/plain")
                && self.name.as_deref().is_some_and(|name| name.to_lowercase().ends_with(".xml")))
    }

    /// Whether type or name say PDF.
    pub(super) fn is_pdf(&self) -> bool {
        let kind = self.content_type.as_deref().unwrap_or_default().to_lowercase();
        kind.starts_with("application/pdf")
            || (kind.is_empty()
                && self.name.as_deref().is_some_and(|name| name.to_lowercase().ends_with(".pdf")))
    }
}
