// SPDX-License-Identifier: EUPL-1.2
//! What a message consists of, as plain data for comparison and coverage: elements with how often they may occur,
//! attributes, the bounds of texts, code lists. Order and the nesting of groups are left to the plan; here a choice
//! only shows in that none of its branches is required.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kop_core::Diagnostic;

use crate::{
    files::Files,
    model::{At, GroupKind, Kind, Model, Raw, TypeRef},
    package::{MessageInfo, Package, not_whole},
};

/// Most types that one message may reach; as for the writer's plan.
const MAX_TYPES: usize = 20_000;
/// Deepest derivation of simple types that is followed.
const MAX_CHAIN: usize = 32;
/// Facets by which XML Schema bounds a text (XML Schema Part 2, 4.3), enumeration aside.
const FACETS: [&str; 11] = [
    "length",
    "minLength",
    "maxLength",
    "pattern",
    "minInclusive",
    "maxInclusive",
    "minExclusive",
    "maxExclusive",
    "totalDigits",
    "fractionDigits",
    "whiteSpace",
];

/// One message's types, the root's among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Local name of the root element.
    pub root: String,
    /// Its name space; empty when it has none.
    pub namespace: String,
    /// Message number, e.g. `0200`.
    pub number: Option<String>,
    /// Number of the root's type in `types`.
    pub start: usize,
    /// All types that the message reaches.
    pub types: Vec<TypeFacts>,
}

/// One type with everything that its base types bring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeFacts {
    /// Local name; none when it is defined inside an element.
    pub name: Option<String>,
    /// Its text, where it holds one.
    pub text: Option<TextFacts>,
    /// Only types derived from it may be used.
    pub is_abstract: bool,
    /// It lets in elements that the schema does not name.
    pub open: bool,
    /// Elements below it, in the schema's order; a name occurs once.
    pub children: Vec<ChildFacts>,
    /// Its attributes.
    pub attributes: Vec<AttributeFacts>,
    /// The code list that its codes come from.
    pub list: Option<ListFacts>,
    /// Named types that `xsi:type` may choose, with their numbers.
    pub derived: Vec<(String, usize)>,
}

/// An element below a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildFacts {
    /// Local name.
    pub name: String,
    /// Name space; empty when it is unqualified.
    pub namespace: String,
    /// Least number below one parent; 0 in a choice.
    pub min: u32,
    /// Most; [`u32::MAX`] is unbounded.
    pub max: u32,
    /// Whether it is one of several to choose from.
    pub choice: bool,
    /// Number of its type.
    pub typ: usize,
    /// The value that the schema fixes.
    pub fixed: Option<String>,
}

/// An attribute of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFacts {
    /// Local name.
    pub name: String,
    /// Whether it must be there.
    pub required: bool,
    /// The value that the schema fixes.
    pub fixed: Option<String>,
    /// Local name of its type.
    pub type_name: String,
}

/// Bounds of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFacts {
    /// Built-in type at its base.
    pub base: String,
    /// Facets by name; several patterns are joined by a blank.
    pub facets: BTreeMap<String, String>,
    /// Allowed values, where the schema enumerates them.
    pub codes: Vec<String>,
}

/// A code list that a type refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// Its URN.
    pub urn: String,
    /// Its version, where the schema prescribes or names one.
    pub version: Option<String>,
}

impl Package {
    /// The inventories of some of its messages, by root or number; of all without any. Built anew with each call:
    /// for people, not for every message.
    ///
    /// # Errors
    /// KOP-X046 for a message that there is not, KOP-X043 for a schema that is not whole.
    pub fn inventories(&self, wanted: &[&str]) -> Result<Vec<Inventory>, Diagnostic> {
        let mut chosen: Vec<&MessageInfo> = Vec::new();
        for root in wanted {
            let fits = |info: &&MessageInfo| info.root == *root || info.number.as_deref() == Some(root);
            chosen.push(self.info.messages.iter().find(fits).ok_or_else(|| {
                Diagnostic::new(
                    "KOP-X046",
                    format!("Diese Nachricht gibt es in {} {} nicht.", self.info.standard, self.info.version),
                    format!("{} {} has no such message.", self.info.standard, self.info.version),
                )
            })?);
        }
        if wanted.is_empty() {
            chosen.extend(&self.info.messages);
        }
        let files = self.files()?;
        let found = chosen.into_iter().map(|info| inventory(&files, info)).collect();
        files.forget();
        found
    }
}

fn inventory(files: &Files, info: &MessageInfo) -> Result<Inventory, Diagnostic> {
    let model = Model::build(files, &info.entry).map_err(not_whole)?;
    let root = model.global(Kind::Element, &info.namespace, &info.root);
    let root = root.ok_or_else(|| not_whole(format!("element {} is not declared", info.root)))?;
    let mut taking = Taking { model: &model, types: Vec::new(), known: HashMap::new(), open: Vec::new() };
    let start = taking.number(model.element_type(root));
    while let Some((number, reference)) = taking.open.pop() {
        if taking.types.len() > MAX_TYPES {
            return Err(not_whole("reaches too many types".to_owned()));
        }
        taking.types[number] = taking.facts(reference.as_ref());
    }
    Ok(Inventory {
        root: info.root.clone(),
        namespace: info.namespace.clone(),
        number: info.number.clone(),
        start,
        types: taking.types,
    })
}

struct Taking<'m> {
    model: &'m Model,
    types: Vec<TypeFacts>,
    known: HashMap<Option<TypeRef>, usize>,
    /// Types that have a number and nothing else yet.
    open: Vec<(usize, Option<TypeRef>)>,
}

impl Taking<'_> {
    fn number(&mut self, reference: Option<TypeRef>) -> usize {
        if let Some(known) = self.known.get(&reference) {
            return *known;
        }
        let number = self.types.len();
        self.types.push(TypeFacts::default());
        self.known.insert(reference.clone(), number);
        self.open.push((number, reference));
        number
    }

    fn facts(&mut self, reference: Option<&TypeRef>) -> TypeFacts {
        let model = self.model;
        let Some(reference) = reference else { return TypeFacts { open: true, ..TypeFacts::default() } };
        let raw = model.resolve(reference);
        let mut facts = TypeFacts {
            name: raw.name.map(Into::into),
            is_abstract: raw.is_abstract,
            open: raw.any_attribute,
            ..TypeFacts::default()
        };
        if let Some(base) = raw.simple {
            let mut text = TextFacts { base: base.into(), ..TextFacts::default() };
            if let TypeRef::At(at) = reference {
                bounds(model, *at, &mut text, 0);
            }
            facts.text = Some(text);
        }
        if let Some(content) = &raw.content {
            self.children(content, Times { min: 1, max: 1, choice: false }, &mut facts);
        }
        let fixed = |name: &str| {
            let found = raw.attributes.iter().find(|attribute| &*attribute.name == name)?;
            found.fixed.as_deref().map(str::to_owned)
        };
        let version = fixed("listVersionID").or(model.coding(Some(reference)).version.map(Into::into));
        let urn = fixed("listURI").or(raw.list.map(Into::into)).or(raw.suggested.map(Into::into));
        facts.list = urn.filter(|urn: &String| urn.starts_with("urn:")).map(|urn| ListFacts { urn, version });
        facts.attributes = raw
            .attributes
            .into_iter()
            .map(|attribute| AttributeFacts {
                name: attribute.name.into(),
                required: attribute.required,
                fixed: attribute.fixed.map(Into::into),
                type_name: attribute.type_name.into(),
            })
            .collect();
        if let (TypeRef::At(at), true) = (reference, raw.is_abstract) {
            for derived in model.derived(*at) {
                let Some(name) = model.node(derived).attr("name") else { continue };
                facts.derived.push((name.to_owned(), self.number(Some(TypeRef::At(derived)))));
            }
        }
        facts
    }

    fn children(&mut self, raw: &Raw, times: Times, facts: &mut TypeFacts) {
        let model = self.model;
        match raw {
            Raw::Any { .. } => facts.open = true,
            Raw::Element { at, min, max } => {
                let Some((declaration, namespace)) = model.element(*at) else { return };
                let times = times.of(*min, *max);
                if declaration == *at {
                    return self.child(declaration, &namespace, times, facts);
                }
                let members = model.substitutes(declaration);
                let times = if members.len() > 1 { Times { min: 0, choice: true, ..times } } else { times };
                for member in members {
                    self.child(member, model.target(member), times, facts);
                }
            }
            Raw::Group { kind, min, max, children } => {
                let mut times = times.of(*min, *max);
                if *kind == GroupKind::Choice && children.len() > 1 {
                    times = Times { min: 0, choice: true, ..times };
                }
                for child in children {
                    self.children(child, times, facts);
                }
            }
        }
    }

    fn child(&mut self, at: At, namespace: &Arc<str>, times: Times, facts: &mut TypeFacts) {
        let node = self.model.node(at);
        let Some(name) = node.attr("name") else { return };
        let same = |known: &&mut ChildFacts| known.name == name && known.namespace == **namespace;
        if let Some(known) = facts.children.iter_mut().find(same) {
            known.min = known.min.saturating_add(times.min);
            known.max = known.max.saturating_add(times.max);
            return;
        }
        let child = ChildFacts {
            name: name.to_owned(),
            namespace: namespace.to_string(),
            min: times.min,
            max: times.max,
            choice: times.choice,
            typ: self.number(self.model.element_type(at)),
            fixed: node.attr("fixed").map(str::to_owned),
        };
        facts.children.push(child);
    }
}

/// How often something occurs below its type.
#[derive(Clone, Copy)]
struct Times {
    min: u32,
    max: u32,
    choice: bool,
}

impl Times {
    fn of(self, min: u32, max: u32) -> Self {
        Self { min: self.min.saturating_mul(min), max: self.max.saturating_mul(max), ..self }
    }
}

/// Adds the bounds of a simple type, or of a complex one with text, from itself up to its base.
fn bounds(model: &Model, at: At, text: &mut TextFacts, depth: usize) {
    if depth > MAX_CHAIN {
        return;
    }
    let document = model.document(at);
    for (node, child) in document.children(at.node) {
        let here = At { node, ..at };
        match &*child.name {
            "simpleContent" | "simpleType" => bounds(model, here, text, depth + 1),
            "restriction" | "extension" => {
                own_bounds(model, here, text);
                let inner = document.children(node).find(|(_, inner)| &*inner.name == "simpleType");
                if let Some((inner, _)) = inner {
                    bounds(model, At { node: inner, ..at }, text, depth + 1);
                }
                if let Some(base) = child.attr("base")
                    && let Some((namespace, name)) = document.qname(node, base, model.target(at))
                    && let Some(base) = model.global(Kind::Type, namespace, name)
                {
                    bounds(model, base, text, depth + 1);
                }
            }
            "union" | "list" => {
                let members = child.attr("memberTypes").or(child.attr("itemType")).unwrap_or_default();
                let names: Vec<&str> =
                    members.split_ascii_whitespace().filter_map(|name| name.rsplit(':').next()).collect();
                text.facets.entry(child.name.to_string()).or_insert_with(|| names.join(" "));
            }
            _ => {}
        }
    }
}

/// The facets of one step of derivation; those of the nearer step hold, patterns add up.
fn own_bounds(model: &Model, step: At, text: &mut TextFacts) {
    let document = model.document(step);
    let mut codes = Vec::new();
    let mut patterns = Vec::new();
    for (_, facet) in document.children(step.node) {
        let value = facet.attr("value").unwrap_or_default();
        match &*facet.name {
            "enumeration" => codes.push(value.to_owned()),
            "pattern" => patterns.push(value.to_owned()),
            name if FACETS.contains(&name) => {
                text.facets.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
            _ => {}
        }
    }
    if text.codes.is_empty() {
        text.codes = codes;
    }
    if !patterns.is_empty() {
        let all = text.facets.entry("pattern".to_owned()).or_default();
        let mut parts: Vec<&str> = all.split_ascii_whitespace().collect();
        parts.extend(patterns.iter().map(String::as_str));
        *all = parts.join(" ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(schema: &str) -> Inventory {
        let text = format!(
            r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t"
            elementFormDefault="qualified">{schema}</xs:schema>"#
        );
        let files = Files::new(BTreeMap::from([("t.xsd".to_owned(), text.into_bytes().into())]));
        let info = MessageInfo {
            root: "wurzel".to_owned(),
            namespace: "urn:t".to_owned(),
            number: None,
            entry: "t.xsd".to_owned(),
        };
        inventory(&files, &info).unwrap()
    }

    #[test]
    fn cardinalities_multiply_and_a_choice_requires_no_branch() {
        let found = of(r#"<xs:element name="wurzel"><xs:complexType><xs:sequence maxOccurs="3">
            <xs:element name="a" type="xs:string" maxOccurs="2"/>
            <xs:choice><xs:element name="b" type="xs:string"/><xs:element name="c" type="xs:string"/></xs:choice>
            <xs:sequence minOccurs="0"><xs:element name="d" type="xs:string"/></xs:sequence>
            </xs:sequence><xs:attribute name="version" fixed="2.6" use="required"/></xs:complexType></xs:element>"#);
        let root = &found.types[found.start];
        let times: Vec<_> = root.children.iter().map(|c| (c.name.as_str(), c.min, c.max, c.choice)).collect();
        assert_eq!(times, [("a", 1, 6, false), ("b", 0, 3, true), ("c", 0, 3, true), ("d", 0, 3, false)]);
        assert_eq!(root.attributes[0].fixed.as_deref(), Some("2.6"));
    }

    #[test]
    fn bounds_come_from_the_nearest_step_and_patterns_add_up() {
        let found = of(r#"<xs:element name="wurzel" type="Eng"/>
            <xs:simpleType name="Weit"><xs:restriction base="xs:token"><xs:maxLength value="10"/>
              <xs:pattern value="[a-z]*"/></xs:restriction></xs:simpleType>
            <xs:simpleType name="Eng"><xs:restriction base="Weit"><xs:maxLength value="5"/>
              <xs:pattern value="a.*"/><xs:enumeration value="ab"/></xs:restriction></xs:simpleType>"#);
        let text = found.types[found.start].text.clone().unwrap();
        assert_eq!((text.base.as_str(), text.codes), ("token", vec!["ab".to_owned()]));
        assert_eq!(text.facets["maxLength"], "5");
        assert_eq!(text.facets["pattern"], "a.* [a-z]*");
    }
}
