// SPDX-License-Identifier: EUPL-1.2
//! The schema of one entry document: its closure of includes and imports, an index of what is declared in it,
//! and the look-ups of XML Schema (form, references, derivation). Compiled into a [`crate::plan::Plan`] and
//! then dropped.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    files::Files,
    xsd::{Document, Node, XML, XSD},
};

/// Deepest chain of derivations or groups that is followed.
const MAX_CHAIN: usize = 64;

/// A document taken in under a target name space (its own, or the including one's for a chameleon include).
pub(crate) struct Instance {
    pub(crate) document: Arc<Document>,
    pub(crate) target: Arc<str>,
    /// Path of the document within its package.
    pub(crate) path: Arc<str>,
}

/// A place in the model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct At {
    pub(crate) instance: u32,
    pub(crate) node: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    Element,
    Type,
    Group,
    AttributeGroup,
    Attribute,
}

/// A type as referred to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum TypeRef {
    /// Of XML Schema itself: local name.
    BuiltIn(Box<str>),
    /// Defined in a document, with a name or inline.
    At(At),
}

/// A piece of a content model, before names are resolved to slots.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    Element {
        at: At,
        min: u32,
        max: u32,
    },
    Group {
        kind: GroupKind,
        min: u32,
        max: u32,
        children: Vec<Raw>,
    },
    /// `xs:any`; what `xs:anyType` lets in is declared nowhere.
    Any {
        at: Option<At>,
        min: u32,
        max: u32,
    },
}

/// How the children of a group stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GroupKind {
    Sequence,
    Choice,
    All,
}

/// An attribute's use.
#[derive(Clone, Debug)]
pub(crate) struct RawAttribute {
    pub(crate) name: Box<str>,
    /// Empty when unqualified.
    pub(crate) namespace: Arc<str>,
    pub(crate) required: bool,
    pub(crate) fixed: Option<Box<str>>,
    pub(crate) type_name: Box<str>,
    /// None where the schema gives no type, or only names one.
    pub(crate) typ: Option<TypeRef>,
    /// An `xs:list`.
    pub(crate) list: bool,
}

/// A type with everything that its base types bring.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawType {
    pub(crate) name: Option<Box<str>>,
    pub(crate) content: Option<Raw>,
    /// Text content, with the name of the built-in type at its base.
    pub(crate) simple: Option<Box<str>>,
    pub(crate) mixed: bool,
    pub(crate) is_abstract: bool,
    pub(crate) attributes: Vec<RawAttribute>,
    /// `xs:anyAttribute`
    pub(crate) any_attribute: bool,
    /// URN of the code list named in the annotation.
    pub(crate) list: Option<Box<str>>,
    /// URN of the code list that the documentation suggests.
    pub(crate) suggested: Option<Box<str>>,
}

/// The closure of one entry document.
pub(crate) struct Model {
    pub(crate) instances: Vec<Instance>,
    index: HashMap<(Kind, Arc<str>, Box<str>), At>,
    substitutes: HashMap<At, Vec<At>>,
    derived: HashMap<At, Vec<At>>,
}

impl Model {
    /// Follows includes and imports from the entry document. The error names what could not be read.
    pub(crate) fn build(files: &Files, entry: &str) -> Result<Self, String> {
        let mut model = Self {
            instances: Vec::new(),
            index: HashMap::new(),
            substitutes: HashMap::new(),
            derived: HashMap::new(),
        };
        let mut seen: HashSet<(String, Arc<str>)> = HashSet::new();
        let mut queue: VecDeque<(String, Option<Arc<str>>)> = VecDeque::from([(entry.to_owned(), None)]);
        while let Some((path, including)) = queue.pop_front() {
            let document = files.document(&path)?;
            let own: Arc<str> = document.target().into();
            let target = if own.is_empty() { including.unwrap_or(own) } else { own };
            if !seen.insert((path.clone(), target.clone())) {
                continue;
            }
            for (kind, _, location) in document.references() {
                if let Some(path) = location.and_then(|location| files.resolve(&path, location)) {
                    queue.push_back((path.to_owned(), (kind != "import").then(|| target.clone())));
                }
            }
            model.take_in(document, target, path.into());
        }
        model.link();
        Ok(model)
    }

    /// Where something stands: file name and line.
    pub(crate) fn place(&self, at: At) -> (Arc<str>, u32) {
        let path = &self.instances[at.instance as usize].path;
        let file = path.rsplit('/').next().map_or_else(|| path.clone(), Arc::from);
        (file, self.node(at).line)
    }

    fn take_in(&mut self, document: Arc<Document>, target: Arc<str>, path: Arc<str>) {
        let instance = self.instances.len() as u32;
        for (node, child) in document.children(0) {
            let kind = match &*child.name {
                "element" => Kind::Element,
                "complexType" | "simpleType" => Kind::Type,
                "group" => Kind::Group,
                "attributeGroup" => Kind::AttributeGroup,
                "attribute" => Kind::Attribute,
                _ => continue,
            };
            if let Some(name) = child.attr("name") {
                self.index.entry((kind, target.clone(), name.into())).or_insert(At { instance, node });
            }
        }
        self.instances.push(Instance { document, target, path });
    }

    /// Notes substitution groups and which types derive from which.
    fn link(&mut self) {
        let mut substitutes: HashMap<At, Vec<At>> = HashMap::new();
        let mut derived: HashMap<At, Vec<At>> = HashMap::new();
        let mut all: Vec<(Kind, At)> = self.index.iter().map(|((kind, ..), at)| (*kind, *at)).collect();
        all.sort_by_key(|(_, at)| (at.instance, at.node));
        for (kind, at) in all {
            match kind {
                Kind::Element => {
                    if let Some(head) = self.node(at).attr("substitutionGroup")
                        && let Some(head) = self.find(Kind::Element, at, head)
                    {
                        substitutes.entry(head).or_default().push(at);
                    }
                }
                Kind::Type => {
                    if let Some(step) = self.step(at)
                        && let Some(base) = self.node(step).attr("base")
                        && let Some(base) = self.find(Kind::Type, step, base)
                    {
                        derived.entry(base).or_default().push(at);
                    }
                }
                _ => {}
            }
        }
        self.substitutes = substitutes;
        self.derived = derived;
    }

    /// The extension or restriction by which a type derives from another one.
    fn step(&self, at: At) -> Option<At> {
        if &*self.node(at).name == "simpleType" {
            let (node, _) = self.children(at).find(|(_, child)| &*child.name == "restriction")?;
            return Some(At { node, ..at });
        }
        self.derivation(at).map(|(_, step)| step)
    }

    /// `complexContent`/`simpleContent` of a complex type, and the extension or restriction in it.
    fn derivation(&self, at: At) -> Option<(&Node, At)> {
        let (node, content) = self
            .children(at)
            .find(|(_, child)| matches!(&*child.name, "complexContent" | "simpleContent"))?;
        let (step, _) = self
            .children(At { node, ..at })
            .find(|(_, child)| matches!(&*child.name, "extension" | "restriction"))?;
        Some((content, At { node: step, ..at }))
    }

    pub(crate) fn node(&self, at: At) -> &Node {
        self.document(at).node(at.node)
    }

    pub(crate) fn document(&self, at: At) -> &Document {
        &self.instances[at.instance as usize].document
    }

    pub(crate) fn target(&self, at: At) -> &Arc<str> {
        &self.instances[at.instance as usize].target
    }

    fn children(&self, at: At) -> impl Iterator<Item = (u32, &Node)> {
        self.document(at).children(at.node)
    }

    /// A declaration by name space and local name.
    pub(crate) fn global(&self, kind: Kind, namespace: &str, name: &str) -> Option<At> {
        self.index.get(&(kind, namespace.into(), name.into())).copied()
    }

    fn find(&self, kind: Kind, from: At, qname: &str) -> Option<At> {
        let (namespace, name) = self.document(from).qname(from.node, qname, self.target(from))?;
        self.global(kind, namespace, name)
    }

    /// Global elements that may stand for this one, the element itself included; abstract ones left out.
    pub(crate) fn substitutes(&self, head: At) -> Vec<At> {
        let mut found = Vec::new();
        let mut queue = vec![head];
        while let Some(at) = queue.pop() {
            if found.len() > 256 || found.contains(&at) {
                continue;
            }
            found.push(at);
            queue.extend(self.substitutes.get(&at).into_iter().flatten());
        }
        found.retain(|at| self.node(*at).attr("abstract") != Some("true"));
        found.sort_by_key(|at| (at.instance, at.node));
        found
    }

    /// Concrete named types derived from this one.
    pub(crate) fn derived(&self, base: At) -> Vec<At> {
        let mut found = Vec::new();
        let mut queue: Vec<At> = self.derived.get(&base).cloned().unwrap_or_default();
        while let Some(at) = queue.pop() {
            if found.len() > 256 || found.contains(&at) {
                continue;
            }
            found.push(at);
            queue.extend(self.derived.get(&at).into_iter().flatten());
        }
        found.retain(|at| self.node(*at).attr("abstract") != Some("true"));
        found.sort_by_key(|at| (at.instance, at.node));
        found
    }

    /// The declaration behind an element particle, and the name space it is written in (empty: none).
    pub(crate) fn element(&self, at: At) -> Option<(At, Arc<str>)> {
        let node = self.node(at);
        if let Some(reference) = node.attr("ref") {
            let global = self.find(Kind::Element, at, reference)?;
            return Some((global, self.target(global).clone()));
        }
        let document = self.document(at);
        let global = document.node(0).children.contains(&at.node);
        let form = node.attr("form").or_else(|| document.root().attr("elementFormDefault"));
        let qualified = global || form == Some("qualified");
        Some((at, if qualified { self.target(at).clone() } else { "".into() }))
    }

    /// The type of an element declaration; none stands for `xs:anyType`.
    pub(crate) fn element_type(&self, at: At) -> Option<TypeRef> {
        if let Some(name) = self.node(at).attr("type") {
            return self.type_ref(at, name);
        }
        if let Some((node, _)) =
            self.children(at).find(|(_, child)| matches!(&*child.name, "complexType" | "simpleType"))
        {
            return Some(TypeRef::At(At { node, ..at }));
        }
        let head = self.find(Kind::Element, at, self.node(at).attr("substitutionGroup")?)?;
        (head != at).then(|| self.element_type(head)).flatten()
    }

    pub(crate) fn type_ref(&self, from: At, qname: &str) -> Option<TypeRef> {
        let (namespace, name) = self.document(from).qname(from.node, qname, self.target(from))?;
        match self.global(Kind::Type, namespace, name) {
            Some(at) => Some(TypeRef::At(at)),
            None if namespace == XSD => Some(TypeRef::BuiltIn(name.into())),
            None => None,
        }
    }

    /// A type with its bases merged in.
    pub(crate) fn resolve(&self, reference: &TypeRef) -> RawType {
        self.resolve_chain(reference, 0)
    }

    fn resolve_chain(&self, reference: &TypeRef, depth: usize) -> RawType {
        let at = match reference {
            TypeRef::BuiltIn(name) => {
                return RawType {
                    name: Some(name.clone()),
                    simple: Some(name.clone()),
                    ..RawType::default()
                };
            }
            TypeRef::At(at) => *at,
        };
        let node = self.node(at);
        let mut found = RawType {
            name: node.attr("name").map(Into::into),
            is_abstract: node.attr("abstract") == Some("true"),
            mixed: node.attr("mixed") == Some("true"),
            list: self.document(at).annotation(at.node, &["appinfo", "codeliste", "kennung"]).map(Into::into),
            suggested: self.document(at).annotation(at.node, &["documentation"]).map(Into::into),
            ..RawType::default()
        };
        if depth > MAX_CHAIN {
            return found;
        }
        if &*node.name == "simpleType" {
            found.simple = Some(self.built_in_base(at, depth));
            return found;
        }
        let Some((content, step)) = self.derivation(at) else {
            found.content = self.content(at, depth);
            self.override_attributes(&mut found, at, depth);
            return found;
        };
        let base = self.node(step).attr("base").and_then(|base| self.type_ref(step, base));
        let base = base.map(|base| self.resolve_chain(&base, depth + 1)).unwrap_or_default();
        found.mixed |= base.mixed || content.attr("mixed") == Some("true");
        found.list = found.list.or(base.list);
        found.suggested = found.suggested.or(base.suggested);
        found.attributes = base.attributes;
        // a restriction keeps no wildcard that it does not repeat
        found.any_attribute = base.any_attribute && &*self.node(step).name == "extension";
        self.override_attributes(&mut found, step, depth);
        if &*content.name == "simpleContent" {
            found.simple = Some(base.simple.unwrap_or_else(|| "string".into()));
            return found;
        }
        let own = self.content(step, depth);
        found.content = if &*self.node(step).name == "restriction" {
            own
        } else {
            match (base.content, own) {
                (Some(base), Some(own)) => {
                    let children = vec![base, own];
                    Some(Raw::Group { kind: GroupKind::Sequence, min: 1, max: 1, children })
                }
                (base, own) => base.or(own),
            }
        };
        found
    }

    /// The built-in type at the base of a simple type; `list` for an `xs:list`, `string` for a union.
    fn built_in_base(&self, at: At, depth: usize) -> Box<str> {
        let text = || "string".into();
        let Some((node, step)) = self.children(at).next() else { return text() };
        if &*step.name == "list" {
            return "list".into();
        }
        let base = match (step.attr("base"), depth < MAX_CHAIN) {
            (Some(base), true) => self.type_ref(At { node, ..at }, base),
            _ => None,
        };
        match base {
            Some(TypeRef::BuiltIn(name)) => name,
            Some(TypeRef::At(base)) => self.built_in_base(base, depth + 1),
            None => text(),
        }
    }

    /// The group directly below a type, extension, restriction or group definition.
    fn content(&self, at: At, depth: usize) -> Option<Raw> {
        self.children(at).find_map(|(node, _)| self.particle(At { node, ..at }, depth + 1))
    }

    fn particle(&self, at: At, depth: usize) -> Option<Raw> {
        let node = self.node(at);
        let min = node.attr("minOccurs").and_then(|text| text.parse().ok()).unwrap_or(1);
        let max = match node.attr("maxOccurs") {
            Some("unbounded") => u32::MAX,
            text => text.and_then(|text| text.parse().ok()).unwrap_or(1),
        };
        if depth > MAX_CHAIN {
            return None;
        }
        let kind = match &*node.name {
            "element" => return Some(Raw::Element { at, min, max }),
            "any" => return Some(Raw::Any { at: Some(at), min, max }),
            "group" => {
                let inner = self.content(self.find(Kind::Group, at, node.attr("ref")?)?, depth)?;
                if (min, max) == (1, 1) {
                    return Some(inner);
                }
                return Some(Raw::Group { kind: GroupKind::Sequence, min, max, children: vec![inner] });
            }
            "sequence" => GroupKind::Sequence,
            "choice" => GroupKind::Choice,
            "all" => GroupKind::All,
            _ => return None,
        };
        let children =
            self.children(at).filter_map(|(node, _)| self.particle(At { node, ..at }, depth + 1)).collect();
        Some(Raw::Group { kind, min, max, children })
    }

    fn override_attributes(&self, found: &mut RawType, at: At, depth: usize) {
        for (node, child) in self.children(at) {
            let here = At { node, ..at };
            match &*child.name {
                "attribute" => {
                    let Some(attribute) = self.attribute(here) else { continue };
                    let all = &mut found.attributes;
                    let place = all
                        .iter()
                        .position(|old| old.name == attribute.name && old.namespace == attribute.namespace);
                    match (child.attr("use") == Some("prohibited"), place) {
                        (true, Some(place)) => drop(all.remove(place)),
                        (true, None) => {}
                        (false, Some(place)) => all[place] = attribute,
                        (false, None) => all.push(attribute),
                    }
                }
                "attributeGroup" if depth < MAX_CHAIN => {
                    let group =
                        child.attr("ref").and_then(|name| self.find(Kind::AttributeGroup, here, name));
                    if let Some(group) = group {
                        self.override_attributes(found, group, depth + 1);
                    }
                }
                "anyAttribute" => found.any_attribute = true,
                _ => {}
            }
        }
    }

    fn attribute(&self, at: At) -> Option<RawAttribute> {
        let node = self.node(at);
        let required = node.attr("use") == Some("required");
        let type_name =
            node.attr("type").map_or("string", |name| name.rsplit(':').next().unwrap_or(name)).into();
        let fixed: Option<Box<str>> = node.attr("fixed").map(Into::into);
        let list = self.is_list(at);
        let Some(reference) = node.attr("ref") else {
            let form = node.attr("form").or_else(|| self.document(at).root().attr("attributeFormDefault"));
            let namespace = if form == Some("qualified") { self.target(at).clone() } else { "".into() };
            return Some(RawAttribute {
                name: node.attr("name")?.into(),
                namespace,
                required,
                fixed,
                type_name,
                typ: self.element_type(at),
                list,
            });
        };
        let (namespace, name) = self.document(at).qname(at.node, reference, self.target(at))?;
        let global = self.global(Kind::Attribute, namespace, name);
        if global.is_none() && namespace != XML {
            return None;
        }
        let fixed = fixed.or_else(|| self.node(global?).attr("fixed").map(Into::into));
        let list = global.is_some_and(|global| self.is_list(global));
        Some(RawAttribute {
            name: name.into(),
            namespace: namespace.into(),
            required,
            fixed,
            type_name,
            typ: global.and_then(|global| self.element_type(global)),
            list,
        })
    }

    /// Whether an attribute's type is an `xs:list`.
    fn is_list(&self, at: At) -> bool {
        let simple = match self.element_type(at) {
            Some(TypeRef::BuiltIn(name)) => name,
            Some(TypeRef::At(at)) => self.built_in_base(at, 0),
            None => return false,
        };
        is_list(&simple)
    }

    /// Prefix for a name space: what its own documents call it, else what any document calls it.
    pub(crate) fn prefix(&self, namespace: &str) -> Option<&str> {
        let own = self.instances.iter().filter(|instance| &*instance.target == namespace);
        own.chain(&self.instances).find_map(|instance| instance.document.prefix_of(namespace))
    }
}

/// Whether a simple type's base is a list of values.
pub(crate) fn is_list(simple: &str) -> bool {
    matches!(simple, "list" | "IDREFS" | "NMTOKENS" | "ENTITIES")
}
