// SPDX-License-Identifier: EUPL-1.2
//! The writer's plan of one message: elements, types and content models as numbers into flat tables, names
//! with their prefixes ready to copy. Made once per message from the [`Model`].

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    coding::Coding,
    model::{At, GroupKind, Kind, Model, Raw, RawType, TypeRef},
    xsd::XML,
};

/// Most types that one message may reach; far above XBau's.
const MAX_TYPES: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) elements: Vec<Element>,
    pub(crate) types: Vec<Type>,
    pub(crate) namespaces: Vec<Namespace>,
    /// The root's number in `elements`.
    pub(crate) root: u32,
}

#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) uri: Arc<str>,
    pub(crate) prefix: Box<str>,
}

#[derive(Debug)]
pub(crate) struct Element {
    /// Local name.
    pub(crate) name: Box<str>,
    /// Name with prefix, as written.
    pub(crate) qname: Box<str>,
    /// Number in `namespaces`.
    pub(crate) namespace: Option<u16>,
    pub(crate) typ: u32,
    pub(crate) fixed: Option<Box<str>>,
    pub(crate) default: Option<Box<str>>,
    pub(crate) nillable: bool,
    /// Stands for whatever `xs:any` lets in; its name comes with the document.
    pub(crate) raw: bool,
}

/// Key of the slot that stands for `xs:any`; no name of an element.
pub(crate) const ANY: &str = "*";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Neither text nor children.
    Empty,
    /// Text.
    Simple,
    /// Children.
    Children,
    /// Children with text between them.
    Mixed,
}

#[derive(Debug)]
pub(crate) struct Type {
    pub(crate) name: Option<Box<str>>,
    /// Schema file and line in which it is defined; `None` for built-in ones.
    pub(crate) place: Option<(Arc<str>, u32)>,
    pub(crate) content: Content,
    /// Built-in type at the base of the text.
    pub(crate) simple: Option<Box<str>>,
    pub(crate) is_abstract: bool,
    /// Names that may occur, in the order of the content model: key and element.
    pub(crate) slots: Vec<Slot>,
    /// Slots sorted by key.
    pub(crate) by_key: Vec<u16>,
    pub(crate) particle: Particle,
    /// A plain sequence: every slot once, in order; minima and maxima then lie in `slots`.
    pub(crate) flat: bool,
    pub(crate) attributes: Vec<Attribute>,
    /// URN and short name of the code list.
    pub(crate) list: Option<CodeList>,
    /// Whether it lets in attributes that the schema does not name.
    pub(crate) any_attribute: bool,
    /// Slot of what `xs:any` lets in.
    pub(crate) any: Option<u16>,
    /// What the schema says about its codes.
    pub(crate) coding: Coding,
    /// Named types that `xsi:type` may choose instead, a concrete type's own name among them.
    pub(crate) derived: Vec<Derived>,
}

/// A type that `xsi:type` may name.
#[derive(Debug)]
pub(crate) struct Derived {
    /// Local name.
    pub(crate) name: Box<str>,
    /// Name with prefix, as written.
    pub(crate) qname: Box<str>,
    /// Number in `namespaces`.
    pub(crate) namespace: Option<u16>,
    /// Number in `types`.
    pub(crate) typ: u32,
}

#[derive(Debug)]
pub(crate) struct Slot {
    /// Local name; `prefix:name` where the same local name occurs twice.
    pub(crate) key: Box<str>,
    pub(crate) element: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Whether it may occur more than once below one element, wherever in the content model.
    pub(crate) many: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct CodeList {
    pub(crate) urn: Box<str>,
    pub(crate) short: Box<str>,
    /// The schema leaves the choice of the list open (code type 4) and only suggests this one.
    pub(crate) suggested: bool,
}

/// The last part of a code list's URN.
pub(crate) fn short_name(urn: &str) -> &str {
    urn.rsplit([':', '/']).next().unwrap_or(urn)
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Box<str>,
    pub(crate) qname: Box<str>,
    pub(crate) namespace: Option<u16>,
    pub(crate) required: bool,
    pub(crate) fixed: Option<Box<str>>,
    pub(crate) type_name: Box<str>,
    /// An `xs:list`.
    pub(crate) list: bool,
}

#[derive(Debug)]
pub(crate) enum Particle {
    Element { slot: u16, min: u32, max: u32 },
    Group { kind: GroupKind, min: u32, max: u32, children: Vec<Particle>, slots: Vec<u16>, emptiable: bool },
}

impl Particle {
    /// Whether it may be left out altogether.
    pub(crate) fn emptiable(&self) -> bool {
        match self {
            Self::Element { min, .. } => *min == 0,
            Self::Group { emptiable, .. } => *emptiable,
        }
    }

    /// An empty content model.
    fn nothing() -> Self {
        let (children, slots) = (Vec::new(), Vec::new());
        Self::Group { kind: GroupKind::Sequence, min: 1, max: 1, children, slots, emptiable: true }
    }

    /// How often a slot's element may occur at most.
    fn most(&self, wanted: u16) -> u32 {
        match self {
            Self::Element { slot, max, .. } => u32::from(*slot == wanted).saturating_mul(*max),
            Self::Group { slots, .. } if slots.binary_search(&wanted).is_err() => 0,
            Self::Group { kind, max, children, .. } => {
                let each = children.iter().map(|child| child.most(wanted));
                let once = match kind {
                    GroupKind::Choice => each.max().unwrap_or(0),
                    GroupKind::Sequence | GroupKind::All => each.fold(0, u32::saturating_add),
                };
                once.saturating_mul(*max)
            }
        }
    }
}

impl Type {
    /// The slot of a key.
    pub(crate) fn slot(&self, key: &str) -> Option<u16> {
        let at = self.by_key.binary_search_by(|slot| (*self.slots[*slot as usize].key).cmp(key)).ok()?;
        Some(self.by_key[at])
    }

    /// The type that an `xsi:type` chooses: local name, or `prefix:name`. A prefix that the plan does not use
    /// is taken for another spelling.
    pub(crate) fn choose(&self, name: &str) -> Option<&Derived> {
        let local = name.rsplit(':').next().unwrap_or(name);
        let exact = self.derived.iter().find(|derived| *derived.qname == *name);
        exact.or_else(|| self.derived.iter().find(|derived| &*derived.name == local))
    }
}

/// Compiles the plan for one root element. The error says what the schema lacks.
pub(crate) fn compile(model: &Model, namespace: &str, root: &str) -> Result<Plan, String> {
    compile_with_origins(model, namespace, root).map(|(plan, _)| plan)
}

/// The numbers of a plan's types by what they were compiled from; nothing stands for `xs:anyType`.
pub(crate) type Origins = HashMap<Option<TypeRef>, u32>;

/// Compiles the plan for one root element, and says where its types came from.
pub(crate) fn compile_with_origins(
    model: &Model,
    namespace: &str,
    root: &str,
) -> Result<(Plan, Origins), String> {
    let at = model
        .global(Kind::Element, namespace, root)
        .ok_or_else(|| format!("element {root} is not declared"))?;
    let mut compiler = Compiler {
        model,
        plan: Plan { elements: Vec::new(), types: Vec::new(), namespaces: Vec::new(), root: 0 },
        types: HashMap::new(),
        elements: HashMap::new(),
        pending: Vec::new(),
        later: VecDeque::new(),
        any: None,
    };
    compiler.plan.root = compiler.element(at, &model.target(at).clone())?;
    loop {
        while let Some((number, reference)) = compiler.pending.pop() {
            let typ = compiler.compile_type(reference.as_ref())?;
            compiler.plan.types[number as usize] = typ;
            if let Some(TypeRef::At(at)) = reference {
                compiler.later.push_back((number, at));
            }
            if compiler.plan.types.len() > MAX_TYPES {
                return Err("reaches too many types".to_owned());
            }
        }
        // what a message rarely names comes last, so that prefixes do not depend on it
        let Some((number, at)) = compiler.later.pop_front() else { break };
        compiler.derive(number, at);
    }
    Ok((compiler.plan, compiler.types))
}

struct Compiler<'m> {
    model: &'m Model,
    plan: Plan,
    types: HashMap<Option<TypeRef>, u32>,
    elements: HashMap<(At, Arc<str>), u32>,
    pending: Vec<(u32, Option<TypeRef>)>,
    /// Types whose derived ones are still to be noted.
    later: VecDeque<(u32, At)>,
    /// The element that stands for `xs:any`.
    any: Option<u32>,
}

impl Compiler<'_> {
    fn namespace(&mut self, uri: &Arc<str>) -> Option<u16> {
        if uri.is_empty() {
            return None;
        }
        if let Some(at) = self.plan.namespaces.iter().position(|known| known.uri == *uri) {
            return Some(at as u16);
        }
        let wanted = if &**uri == XML { "xml" } else { self.model.prefix(uri).unwrap_or("ns") };
        let taken = |prefix: &str| {
            prefix == "xsi" || self.plan.namespaces.iter().any(|known| &*known.prefix == prefix)
        };
        let mut prefix = wanted.to_owned();
        let mut number = 1;
        while taken(&prefix) {
            number += 1;
            prefix = format!("{wanted}{number}");
        }
        self.plan.namespaces.push(Namespace { uri: uri.clone(), prefix: prefix.into() });
        Some(self.plan.namespaces.len() as u16 - 1)
    }

    fn qname(&self, namespace: Option<u16>, name: &str) -> Box<str> {
        match namespace {
            Some(at) => format!("{}:{name}", self.plan.namespaces[at as usize].prefix).into(),
            None => name.into(),
        }
    }

    fn element(&mut self, at: At, uri: &Arc<str>) -> Result<u32, String> {
        if let Some(known) = self.elements.get(&(at, uri.clone())) {
            return Ok(*known);
        }
        let node = self.model.node(at);
        let name = node.attr("name").ok_or("an element has no name")?;
        let namespace = self.namespace(uri);
        let reference = self.model.element_type(at);
        if reference.is_none()
            && let Some(wanted) = node.attr("type")
        {
            return Err(format!("type {wanted} of element {name} is not declared"));
        }
        let typ = self.type_number(reference);
        let element = Element {
            name: name.into(),
            qname: self.qname(namespace, name),
            namespace,
            typ,
            fixed: node.attr("fixed").map(Into::into),
            default: node.attr("default").map(Into::into),
            nillable: matches!(node.attr("nillable"), Some("true" | "1")),
            raw: false,
        };
        self.plan.elements.push(element);
        let number = self.plan.elements.len() as u32 - 1;
        self.elements.insert((at, uri.clone()), number);
        Ok(number)
    }

    fn type_number(&mut self, reference: Option<TypeRef>) -> u32 {
        if let Some(known) = self.types.get(&reference) {
            return *known;
        }
        let number = self.plan.types.len() as u32;
        self.plan.types.push(Type {
            name: None,
            place: None,
            content: Content::Mixed,
            simple: None,
            is_abstract: false,
            slots: Vec::new(),
            by_key: Vec::new(),
            particle: Particle::nothing(),
            flat: false,
            attributes: Vec::new(),
            any_attribute: false,
            any: None,
            list: None,
            coding: Coding::default(),
            derived: Vec::new(),
        });
        self.types.insert(reference.clone(), number);
        self.pending.push((number, reference));
        number
    }

    fn compile_type(&mut self, reference: Option<&TypeRef>) -> Result<Type, String> {
        let anything = RawType {
            mixed: true,
            content: Some(Raw::Any { at: None, min: 0, max: u32::MAX }),
            any_attribute: true,
            ..RawType::default()
        };
        let raw = match reference {
            None => anything,
            Some(TypeRef::BuiltIn(name)) if &**name == "anyType" => anything,
            Some(reference) => self.model.resolve(reference),
        };
        let mut slots = Vec::new();
        let particle = match &raw.content {
            Some(content) => self.particle(content, &mut slots, raw.name.as_deref())?,
            None => Particle::nothing(),
        };
        let content = match (&raw.simple, raw.mixed, slots.is_empty()) {
            (Some(_), ..) => Content::Simple,
            (None, true, _) => Content::Mixed,
            (None, false, true) => Content::Empty,
            (None, false, false) => Content::Children,
        };
        // a lone wildcard or element of a group is a sequence of one
        let particle = match particle {
            Particle::Element { slot, min, .. } => Particle::Group {
                kind: GroupKind::Sequence,
                min: 1,
                max: 1,
                emptiable: min == 0,
                slots: vec![slot],
                children: vec![particle],
            },
            group @ Particle::Group { .. } => group,
        };
        let flat = flat(&particle, &mut slots);
        for (number, slot) in slots.iter_mut().enumerate() {
            slot.many = particle.most(number as u16) > 1;
        }
        let any = slots.iter().position(|slot| &*slot.key == ANY).map(|at| at as u16);
        let mut by_key: Vec<u16> = (0..slots.len() as u16).collect();
        by_key.sort_by(|a, b| slots[*a as usize].key.cmp(&slots[*b as usize].key));
        let mut attributes = Vec::new();
        for attribute in &raw.attributes {
            let namespace = self.namespace(&attribute.namespace);
            attributes.push(Attribute {
                name: attribute.name.clone(),
                qname: self.qname(namespace, &attribute.name),
                namespace,
                required: attribute.required,
                fixed: attribute.fixed.clone(),
                type_name: attribute.type_name.clone(),
                list: attribute.list,
            });
        }
        let urn =
            attributes.iter().find(|attribute| &*attribute.name == "listURI").and_then(|at| at.fixed.clone());
        let named = urn.or(raw.list);
        let suggested = named.is_none();
        let coded = attributes.iter().any(|attribute| &*attribute.name == "listVersionID");
        let list = named.or(raw.suggested.filter(|_| coded)).map(|urn| {
            let short = short_name(&urn).into();
            CodeList { urn, short, suggested }
        });
        let place = match reference {
            Some(TypeRef::At(at)) => Some(self.model.place(*at)),
            _ => None,
        };
        Ok(Type {
            name: raw.name,
            place,
            content,
            simple: raw.simple,
            is_abstract: raw.is_abstract,
            slots,
            by_key,
            particle,
            flat,
            attributes,
            any_attribute: raw.any_attribute,
            any,
            list,
            coding: self.model.coding(reference),
            derived: Vec::new(),
        })
    }

    /// Notes which named types may stand for a type, itself included.
    fn derive(&mut self, number: u32, base: At) {
        let own = (!self.plan.types[number as usize].is_abstract).then_some(base);
        let mut derived = Vec::new();
        for at in own.into_iter().chain(self.model.derived(base)) {
            let Some(name) = self.model.node(at).attr("name") else { continue };
            let namespace = self.namespace(&self.model.target(at).clone());
            let typ = self.type_number(Some(TypeRef::At(at)));
            derived.push(Derived { name: name.into(), qname: self.qname(namespace, name), namespace, typ });
        }
        self.plan.types[number as usize].derived = derived;
    }

    /// The slot that stands for `xs:any`.
    fn any_slot(&mut self, slots: &mut Vec<Slot>) -> u16 {
        if let Some(known) = slots.iter().position(|slot| &*slot.key == ANY) {
            return known as u16;
        }
        let element = self.any.unwrap_or_else(|| {
            let typ = self.type_number(None);
            let (name, qname) = (ANY.into(), ANY.into());
            let any = Element {
                name,
                qname,
                namespace: None,
                typ,
                fixed: None,
                default: None,
                nillable: false,
                raw: true,
            };
            self.plan.elements.push(any);
            self.plan.elements.len() as u32 - 1
        });
        self.any = Some(element);
        slots.push(Slot { key: ANY.into(), element, min: 0, max: u32::MAX, many: true });
        slots.len() as u16 - 1
    }

    fn particle(
        &mut self,
        raw: &Raw,
        slots: &mut Vec<Slot>,
        owner: Option<&str>,
    ) -> Result<Particle, String> {
        match raw {
            Raw::Any { min, max, .. } => {
                Ok(Particle::Element { slot: self.any_slot(slots), min: *min, max: *max })
            }
            Raw::Element { at, min, max } => {
                let (declaration, uri) = self.model.element(*at).ok_or_else(|| {
                    let wanted = self.model.node(*at).attr("ref").unwrap_or_default();
                    format!("element {wanted} in {} is not declared", owner.unwrap_or("a type"))
                })?;
                if declaration == *at {
                    return Ok(Particle::Element {
                        slot: self.slot(*at, &uri, slots)?,
                        min: *min,
                        max: *max,
                    });
                }
                let members = self.model.substitutes(declaration);
                let mut numbers = Vec::new();
                for member in members {
                    let uri = self.model.target(member).clone();
                    numbers.push(self.slot(member, &uri, slots)?);
                }
                if let [slot] = numbers[..] {
                    return Ok(Particle::Element { slot, min: *min, max: *max });
                }
                let children =
                    numbers.iter().map(|slot| Particle::Element { slot: *slot, min: 1, max: 1 }).collect();
                let emptiable = *min == 0;
                Ok(Particle::Group {
                    kind: GroupKind::Choice,
                    min: *min,
                    max: *max,
                    children,
                    slots: numbers,
                    emptiable,
                })
            }
            Raw::Group { kind, min, max, children } => {
                let mut compiled = Vec::with_capacity(children.len());
                for child in children {
                    match (kind, self.particle(child, slots, owner)?) {
                        (
                            GroupKind::Sequence,
                            Particle::Group { kind: GroupKind::Sequence, min: 1, max: 1, children, .. },
                        ) => compiled.extend(children),
                        (_, child) => compiled.push(child),
                    }
                }
                let mut inner: Vec<u16> = Vec::new();
                for child in &compiled {
                    match child {
                        Particle::Element { slot, .. } => inner.push(*slot),
                        Particle::Group { slots, .. } => inner.extend(slots),
                    }
                }
                inner.sort_unstable();
                inner.dedup();
                let emptiable = *min == 0
                    || match kind {
                        GroupKind::Choice => compiled.is_empty() || compiled.iter().any(Particle::emptiable),
                        GroupKind::Sequence | GroupKind::All => compiled.iter().all(Particle::emptiable),
                    };
                let (kind, min, max) = (*kind, *min, *max);
                Ok(Particle::Group { kind, min, max, children: compiled, slots: inner, emptiable })
            }
        }
    }

    fn slot(&mut self, at: At, uri: &Arc<str>, slots: &mut Vec<Slot>) -> Result<u16, String> {
        let element = self.element(at, uri)?;
        let declared = &self.plan.elements[element as usize];
        for (number, slot) in slots.iter().enumerate() {
            let known = &self.plan.elements[slot.element as usize];
            if known.name == declared.name && known.namespace == declared.namespace {
                return Ok(number as u16);
            }
        }
        if slots.len() >= usize::from(u16::MAX / 2) {
            return Err("a type has too many elements".to_owned());
        }
        let plain = slots.iter().all(|slot| *slot.key != *declared.name);
        let key = if plain { declared.name.clone() } else { declared.qname.clone() };
        slots.push(Slot { key, element, min: 0, max: u32::MAX, many: false });
        Ok(slots.len() as u16 - 1)
    }
}

/// Whether a content model is one plain sequence (or `xs:all`) of different elements; if so, their minima and
/// maxima are moved to the slots.
fn flat(particle: &Particle, slots: &mut [Slot]) -> bool {
    let Particle::Group { kind: GroupKind::Sequence | GroupKind::All, min: 1, max: 1, children, .. } =
        particle
    else {
        return false;
    };
    let in_order = children.len() == slots.len()
        && children.iter().enumerate().all(
            |(number, child)| matches!(child, Particle::Element { slot, .. } if usize::from(*slot) == number),
        );
    if in_order {
        for (slot, child) in slots.iter_mut().zip(children) {
            if let Particle::Element { min, max, .. } = child {
                (slot.min, slot.max) = (*min, *max);
            }
        }
    }
    in_order
}
