// SPDX-License-Identifier: EUPL-1.2
//! Reads a service description of the Deutsches Verwaltungsdiensteverzeichnis: WSDL 1.1 bound to OSCI, which says
//! who may send which messages to whom. One pass with quick-xml over a foreign file: DOCTYPE, entities, size,
//! depth and counts are bounded. Nobody is called by what stands here; the addresses in it are not read.

use std::collections::{BTreeMap, BTreeSet};

use kop_core::ContentHash;
use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event},
};
use serde::{Deserialize, Serialize};

use crate::xsd::local_name;

/// Largest description, in bytes.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 32;
/// Most operations, messages, parts, types, name spaces and roots of one description, each.
const MAX_ITEMS: usize = 2_000;
const MAX_NAME: usize = 200;
/// Most characters of prose that are looked at.
const MAX_PROSE: usize = 100_000;
/// The binding itself is imported too, and brings no messages.
const OSCI: &str = "http://www.osci.de/2006/07/wsdl/";

/// A DVDV service: who may send which messages to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Name in the DVDV, e.g. `XBau26-BH2BAB`.
    pub name: String,
    /// Path of the description in the package.
    pub path: String,
    /// Hash of the description.
    pub hash: Option<ContentHash>,
    /// Name spaces of the messages.
    pub namespaces: Vec<String>,
    /// What can be asked of the service.
    pub operations: Vec<OperationInfo>,
    /// Who offers the service: gets its messages.
    pub receivers: PartyInfo,
    /// Who uses the service: sends its messages. Nothing where the description does not tell.
    pub senders: PartyInfo,
}

/// One end of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyInfo {
    /// Categories of organisations in the DVDV, e.g. `Bauaufsichtsbehörde`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Prefixes of their Kennungen, e.g. `bab`; those of senders are known from the services that they offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// One operation of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationInfo {
    /// Name, e.g. `sendeBH2BAB`.
    pub name: String,
    /// Local names of the roots that go in, sorted.
    pub takes: Vec<String>,
    /// Roots that come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<String>,
    /// Roots that tell of a failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// How OSCI carries it, e.g. `one-way-active` or `request-response`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// Level of signature that the container of the message must have, e.g. `advanced`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_level: Option<String>,
}

impl ServiceInfo {
    /// Whether its messages are of a name space.
    pub fn speaks(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace)
    }

    /// Whether a root goes in or comes out.
    pub fn mentions(&self, root: &str) -> bool {
        let all = |operation: &OperationInfo| {
            [&operation.takes, &operation.answers, &operation.faults]
                .into_iter()
                .any(|roots| roots.iter().any(|one| one == root))
        };
        self.operations.iter().any(all)
    }

    /// Whether a message may be sent to the service.
    pub fn takes(&self, namespace: &str, root: &str) -> bool {
        self.speaks(namespace)
            && self.operations.iter().any(|operation| operation.takes.iter().any(|taken| taken == root))
    }
}

/// Reads a description. The error is a reason in plain words, without content of the file.
pub(crate) fn read(path: &str, bytes: &[u8]) -> Result<ServiceInfo, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("larger than {} MiB", MAX_BYTES >> 20));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut found = Builder::default();
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| format!("not well-formed: {error}"))? {
            Event::Start(tag) => found.start(&tag, &mut open)?,
            Event::Empty(tag) => {
                found.start(&tag, &mut open)?;
                found.end(&open);
                open.pop();
            }
            Event::End(_) => {
                found.end(&open);
                open.pop();
            }
            Event::Text(text) => found.text(&open, &text.xml10_content()),
            Event::CData(text) => found.text(&open, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let known = resolve(&reference).ok_or("refers to an entity")?;
                found.text(&open, known.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err("has a DOCTYPE".to_owned()),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !open.is_empty() {
        return Err("ends in the middle of an element".to_owned());
    }
    let mut service = found.finish()?;
    path.clone_into(&mut service.path);
    service.hash = Some(ContentHash::of(bytes));
    Ok(service)
}

/// Tells the prefixes of senders from what the other services say of the same category as receiver.
pub(crate) fn complete(services: &mut [ServiceInfo]) {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in services.iter() {
        if let ([category], [prefix]) =
            (service.receivers.categories.as_slice(), service.receivers.prefixes.as_slice())
        {
            known.entry(category.clone()).or_default().insert(prefix.clone());
        }
    }
    for service in services {
        let senders = &mut service.senders;
        // one category without a known prefix, and the list would refuse what it must not
        if senders.categories.iter().all(|category| known.contains_key(category)) {
            let prefixes = senders.categories.iter().flat_map(|category| &known[category]);
            senders.prefixes = prefixes.cloned().collect::<BTreeSet<_>>().into_iter().collect();
        }
    }
}

fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    }
}

/// What a message part refers to.
enum Part {
    Element(String),
    Type(String),
}

/// What has been read so far.
#[derive(Default)]
struct Builder {
    name: String,
    prose: String,
    category: String,
    categories: Vec<String>,
    namespaces: BTreeSet<String>,
    /// Complex types of the description itself: name → elements in them.
    types: BTreeMap<String, Vec<String>>,
    typ: String,
    messages: BTreeMap<String, Vec<Part>>,
    message: String,
    operations: Vec<Operation>,
    /// Operation whose binding is being read.
    bound: Option<usize>,
    items: usize,
}

#[derive(Default)]
struct Operation {
    info: OperationInfo,
    takes: Vec<String>,
    answers: Vec<String>,
    faults: Vec<String>,
}

impl Builder {
    fn start(&mut self, tag: &BytesStart<'_>, open: &mut Vec<String>) -> Result<(), String> {
        if open.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let raw = tag.name();
        let name = local_name(raw.as_ref());
        if open.is_empty() && name != "definitions" {
            return Err("is not a WSDL".to_owned());
        }
        open.push(name.chars().take(MAX_NAME).collect());
        let attribute = |wanted: &str| -> Result<Option<String>, String> {
            for attribute in tag.attributes() {
                let attribute = attribute.map_err(|error| format!("not well-formed: {error}"))?;
                if attribute.key.as_ref() == wanted {
                    let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                    let value = value.map_err(|error| format!("not well-formed: {error}"))?;
                    if value.len() > MAX_NAME {
                        return Err(format!("has a name longer than {MAX_NAME} bytes"));
                    }
                    return Ok(Some(value.into_owned()));
                }
            }
            Ok(None)
        };
        let plain =
            |wanted: &str| attribute(wanted).map(|value| local_name(&value.unwrap_or_default()).to_owned());
        let path: Vec<&str> = open.iter().map(String::as_str).collect();
        match path[..] {
            ["definitions"] => self.name = attribute("name")?.unwrap_or_default(),
            ["definitions", "import"] | ["definitions", "types", "schema", "import"] => {
                let namespace = attribute("namespace")?.filter(|namespace| namespace != OSCI);
                self.namespaces.extend(namespace);
                self.count()?;
            }
            ["definitions", "types", "schema", "complexType"] => {
                self.typ = plain("name")?;
                self.count()?;
            }
            ["definitions", "types", "schema", "complexType", .., "element"] => {
                let named = attribute("ref")?.or(attribute("name")?);
                let elements = self.types.entry(self.typ.clone()).or_default();
                elements.extend(named.map(|name| local_name(&name).to_owned()));
                self.count()?;
            }
            ["definitions", "message"] => {
                self.message = plain("name")?;
                self.count()?;
            }
            ["definitions", "message", "part"] => {
                let part = match (attribute("element")?, attribute("type")?) {
                    (Some(element), _) => Some(Part::Element(local_name(&element).to_owned())),
                    (None, Some(typ)) => Some(Part::Type(local_name(&typ).to_owned())),
                    (None, None) => None,
                };
                self.messages.entry(self.message.clone()).or_default().extend(part);
                self.count()?;
            }
            ["definitions", "portType", "operation"] => {
                let info = OperationInfo { name: plain("name")?, ..OperationInfo::default() };
                self.operations.push(Operation { info, ..Operation::default() });
                self.count()?;
            }
            ["definitions", "portType", "operation", way @ ("input" | "output" | "fault")] => {
                let message = plain("message")?;
                let Some(operation) = self.operations.last_mut() else { return Ok(()) };
                match way {
                    "input" => operation.takes.push(message),
                    "output" => operation.answers.push(message),
                    _ => operation.faults.push(message),
                }
                self.count()?;
            }
            ["definitions", "binding", "operation"] => {
                let name = plain("name")?;
                self.bound = self.operations.iter().position(|operation| operation.info.name == name);
            }
            ["definitions", "binding", "operation", "operation"] => {
                let exchange = attribute("communicationType")?;
                self.bound_operation(|operation| operation.exchange = exchange);
            }
            ["definitions", "binding", "operation", "input", "container"]
                if attribute("required")?.as_deref() == Some("true") =>
            {
                // other containers hold what may come along
                let level = attribute("signatureLevel")?;
                self.bound_operation(|operation| {
                    operation.signature_level = operation.signature_level.take().or(level);
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn bound_operation(&mut self, change: impl FnOnce(&mut OperationInfo)) {
        if let Some(operation) = self.bound.and_then(|at| self.operations.get_mut(at)) {
            change(&mut operation.info);
        }
    }

    fn count(&mut self) -> Result<(), String> {
        self.items += 1;
        if self.items > MAX_ITEMS { Err(format!("names more than {MAX_ITEMS} things")) } else { Ok(()) }
    }

    fn text(&mut self, open: &[String], text: &str) {
        let path: Vec<&str> = open.iter().map(String::as_str).collect();
        match path[..] {
            ["definitions", "documentation", "categories", "category"] => {
                self.category.extend(text.chars().take(MAX_NAME));
            }
            ["definitions", "documentation", ..] => {
                self.prose.extend(text.chars().take(MAX_PROSE.saturating_sub(self.prose.len())));
            }
            _ => {}
        }
    }

    fn end(&mut self, open: &[String]) {
        if open.last().is_some_and(|name| name == "category") {
            let name = shorten(&std::mem::take(&mut self.category));
            if !name.is_empty() && self.categories.len() < MAX_ITEMS && !self.categories.contains(&name) {
                self.categories.push(name);
            }
        }
    }

    fn finish(self) -> Result<ServiceInfo, String> {
        if self.name.is_empty() || self.name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("names no service".to_owned());
        }
        let (types, messages) = (&self.types, &self.messages);
        let roots = |names: &[String]| -> Vec<String> {
            let parts = names.iter().filter_map(|name| messages.get(name)).flatten();
            let roots = parts.flat_map(|part| match part {
                Part::Element(root) => std::slice::from_ref(root),
                Part::Type(typ) => types.get(typ).map(Vec::as_slice).unwrap_or_default(),
            });
            roots.cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let operations: Vec<OperationInfo> = self
            .operations
            .iter()
            .map(|operation| OperationInfo {
                takes: roots(&operation.takes),
                answers: roots(&operation.answers),
                faults: roots(&operation.faults),
                ..operation.info.clone()
            })
            .collect();
        if operations.iter().all(|operation| operation.takes.is_empty()) {
            return Err("names no message that goes in".to_owned());
        }
        let prose = words(&self.prose);
        let prefix =
            |word: &str| (2..=8).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let quoted = |topic: &str, fits: &dyn Fn(&str) -> bool| -> Vec<String> {
            let mut found: Vec<String> = Vec::new();
            for (at, _) in prose.match_indices(topic).take(20) {
                let sentence = sentence(&prose[at..]);
                for word in sentence.split(['"', '“', '”', '„']).skip(1).step_by(2).map(shorten) {
                    if fits(&word) && !found.contains(&word) && found.len() < 50 {
                        found.push(word);
                    }
                }
            }
            found
        };
        Ok(ServiceInfo {
            name: self.name,
            namespaces: self.namespaces.into_iter().collect(),
            operations,
            receivers: PartyInfo { categories: self.categories, prefixes: quoted("Präfix", &prefix) },
            senders: PartyInfo {
                categories: quoted("Dienstnutzer ", &|word| !word.is_empty()),
                prefixes: Vec::new(),
            },
            ..ServiceInfo::default()
        })
    }
}

/// The words of HTML, without tags.
fn words(html: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(if c.is_whitespace() { ' ' } else { c }),
            _ => {}
        }
    }
    text
}

/// The first sentence: a full stop before a capital ends it, one in `bzw.` does not.
fn sentence(prose: &str) -> &str {
    let ends =
        |(at, _): &(usize, &str)| prose[at + 1..].trim_start().chars().next().is_none_or(char::is_uppercase);
    prose.match_indices('.').find(ends).map_or(prose, |(at, _)| &prose[..at])
}

fn shorten(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WSDL: &str = r#"<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:o="http://www.osci.de/2006/07/wsdl/"
        xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" xmlns:a="urn:x:1" name="Probe1-A2B">
        <documentation><t:categories><t:category>Amt</t:category></t:categories><![CDATA[<p>Der <i>Präfix</i> lautet
        "<b>amt</b>" bzw. "<b>kat</b>".</p><p>Zulässige Dienstnutzer sind Organisationen "<b>Portal</b>" und „Amt“. Nicht "xyz".</p>]]>
        </documentation><import namespace="http://www.osci.de/2006/07/wsdl/"/><import namespace="urn:x:1"/>
        <types><xs:schema><xs:complexType name="viele"><xs:choice><xs:element name="b.0002"/><xs:element ref="a:c.0003"/>
        </xs:choice></xs:complexType></xs:schema></types>
        <message name="ein"><part name="p" type="t:viele"/><part name="q" type="xs:anyType"/></message>
        <message name="aus"><part name="p" element="a:d.0004"/></message>
        <portType name="i"><operation name="sende"><input message="t:ein"/><output message="t:aus"/></operation></portType>
        <binding name="b" type="t:i"><o:binding signatureLevel="none"/><operation name="sende"><o:operation
        communicationType="request-response"/><input><o:container signatureLevel="none" required="false"/>
        <o:container signatureLevel="advanced" required="true"/></input></operation></binding></definitions>"#;

    #[test]
    fn a_description_says_who_sends_what() {
        let service = read("w/a.wsdl", WSDL.as_bytes()).unwrap();
        assert_eq!(
            (service.name.as_str(), service.namespaces.as_slice()),
            ("Probe1-A2B", &["urn:x:1".to_owned()][..])
        );
        let operation = &service.operations[0];
        assert_eq!(operation.takes, ["b.0002", "c.0003"]);
        assert_eq!(operation.answers, ["d.0004"]);
        assert_eq!(operation.signature_level.as_deref(), Some("advanced"));
        assert_eq!(operation.exchange.as_deref(), Some("request-response"));
        assert_eq!(
            (&service.receivers.categories[0], &service.receivers.prefixes[..]),
            (&"Amt".to_owned(), &["amt".to_owned(), "kat".to_owned()][..])
        );
        assert_eq!(service.senders.categories, ["Portal", "Amt"]);
        assert!(service.takes("urn:x:1", "b.0002"));
        assert!(!service.takes("urn:x:2", "b.0002") && !service.takes("urn:x:1", "d.0004"));
    }

    #[test]
    fn senders_have_the_prefix_that_they_have_as_receivers() {
        let mut first = read("a", WSDL.as_bytes()).unwrap();
        first.receivers.prefixes.truncate(1);
        let mut services = vec![first.clone(), first];
        complete(&mut services);
        assert!(services[0].senders.prefixes.is_empty(), "the prefix of Portal is not known");
        services[1].receivers = PartyInfo { categories: vec!["Portal".into()], prefixes: vec!["por".into()] };
        complete(&mut services);
        assert_eq!(services[0].senders.prefixes, ["amt", "por"]);
    }

    #[test]
    fn hostile_descriptions_are_refused_with_a_reason() {
        let reason = |text: &str| read("a", text.as_bytes()).unwrap_err();
        assert!(reason(&format!("<!DOCTYPE a>{WSDL}")).contains("DOCTYPE"));
        assert!(reason(&WSDL.replace("<p>", "]]>&b;<![CDATA[<p>")).contains("entity"));
        assert!(reason(&WSDL.replace("<types>", &"<a>".repeat(40))).contains("deeper"));
        let many = "<part element=\"a:b\"/>".repeat(MAX_ITEMS);
        assert!(
            reason(&WSDL.replace("<message name=\"ein\">", &format!("<message name=\"ein\">{many}")))
                .contains("more than")
        );
        assert!(reason(&WSDL.replace("Probe1-A2B", "")).contains("no service"));
        assert!(reason(&WSDL.replace("t:ein", "t:weg")).contains("no message"));
        assert!(reason("<schema/>").contains("not a WSDL"));
        assert!(reason(&"x".repeat(MAX_BYTES + 1)).contains("larger"));
    }
}
