// SPDX-License-Identifier: EUPL-1.2
//! A read-only view of a message's schema: elements, types, content models and facets, under the keys that the
//! writer takes. For tools that make instances or explain a message; made anew each time it is asked for, since
//! production needs only the plan.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::{At, GroupKind, Model, Raw, RawType, TypeRef},
    plan::{Content, Origins, Plan, Type},
    simple::SimpleShape,
};

/// A message: flat tables that refer to one another by number.
#[derive(Debug)]
pub struct Shape {
    /// The root's number in `elements`.
    pub root: usize,
    /// All elements that a message may hold.
    pub elements: Vec<ElementShape>,
    /// All types, those that only `xsi:type` may choose among them.
    pub types: Vec<TypeShape>,
}

/// An element's declaration.
#[derive(Debug)]
pub struct ElementShape {
    /// Local name.
    pub name: String,
    /// Number in `types`.
    pub typ: usize,
    /// The only value allowed.
    pub fixed: Option<String>,
}

/// A type with everything that its base types bring.
#[derive(Debug)]
pub struct TypeShape {
    /// Local name; none when it was defined inline.
    pub name: Option<String>,
    /// What is between its tags.
    pub content: ContentShape,
    /// Its content model; none when it has no children.
    pub particle: Option<ParticleShape>,
    /// Attributes; those that a restriction prohibits left out.
    pub attributes: Vec<AttributeShape>,
    /// Must be replaced by one of `derived`.
    pub is_abstract: bool,
    /// Types that `xsi:type` may choose: value for `"@xsi:type"`, number in `types`.
    pub derived: Vec<(String, usize)>,
    /// URN of the code list that its codes come from.
    pub list: Option<String>,
}

/// What is between an element's tags.
#[derive(Debug)]
pub enum ContentShape {
    /// Nothing.
    Empty,
    /// Text.
    Text(Arc<SimpleShape>),
    /// Elements.
    Elements,
    /// Elements with text between them.
    Mixed,
}

/// An attribute.
#[derive(Debug)]
pub struct AttributeShape {
    /// Key in the tree, with its `@`.
    pub key: String,
    /// Whether it must be there.
    pub required: bool,
    /// The only value allowed.
    pub fixed: Option<String>,
    /// Its value.
    pub simple: Arc<SimpleShape>,
}

/// A piece of a content model.
#[derive(Debug)]
pub enum ParticleShape {
    /// An element.
    Element {
        /// Key in the tree.
        key: String,
        /// Number in [`Shape::elements`].
        element: usize,
        /// Fewest occurrences.
        min: u32,
        /// Most occurrences; `u32::MAX` when there is no bound.
        max: u32,
    },
    /// A group. A substitution group is a choice of its members.
    Group {
        /// How the children stand to each other.
        kind: GroupShape,
        /// Fewest occurrences.
        min: u32,
        /// Most occurrences; `u32::MAX` when there is no bound.
        max: u32,
        /// Its pieces.
        children: Vec<ParticleShape>,
    },
    /// `xs:any`
    Any {
        /// Fewest occurrences.
        min: u32,
        /// Most occurrences; `u32::MAX` when there is no bound.
        max: u32,
        /// Name spaces let in: URIs, `##any`, `##other`, `##local`.
        namespaces: Vec<String>,
        /// Whether what stands there must be declared somewhere.
        strict: bool,
    },
}

/// How the children of a group stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupShape {
    /// One after another.
    Sequence,
    /// One of them.
    Choice,
    /// In any order.
    All,
}

/// The view of a plan whose types came from `origins`.
pub(crate) fn shape(model: &Model, plan: &Plan, origins: &Origins) -> Shape {
    let elements = plan.elements.iter().map(|element| ElementShape {
        name: element.name.to_string(),
        typ: element.typ as usize,
        fixed: element.fixed.as_deref().map(str::to_owned),
    });
    let mut viewer = Viewer { model, plan, simple: HashMap::new() };
    let mut types: Vec<Option<TypeShape>> = plan.types.iter().map(|_| None).collect();
    for (reference, number) in origins {
        let typ = &plan.types[*number as usize];
        types[*number as usize] = Some(viewer.typ(typ, reference.as_ref()));
    }
    Shape {
        root: plan.root as usize,
        elements: elements.collect(),
        types: types.into_iter().flatten().collect(),
    }
}

struct Viewer<'m> {
    model: &'m Model,
    plan: &'m Plan,
    simple: HashMap<Option<TypeRef>, Arc<SimpleShape>>,
}

impl Viewer<'_> {
    fn simple(&mut self, reference: Option<&TypeRef>) -> Arc<SimpleShape> {
        let model = self.model;
        let known = self.simple.entry(reference.cloned());
        known
            .or_insert_with(|| {
                Arc::new(reference.map_or_else(SimpleShape::text, |reference| model.simple(reference)))
            })
            .clone()
    }

    fn typ(&mut self, typ: &Type, reference: Option<&TypeRef>) -> TypeShape {
        let raw = reference.map(|reference| self.model.resolve(reference)).unwrap_or_default();
        let content = match typ.content {
            Content::Empty => ContentShape::Empty,
            Content::Simple => ContentShape::Text(self.simple(reference)),
            Content::Children => ContentShape::Elements,
            Content::Mixed => ContentShape::Mixed,
        };
        let attributes = typ.attributes.iter().zip(&raw.attributes).map(|(attribute, raw)| AttributeShape {
            key: format!("@{}", attribute.qname),
            required: attribute.required,
            fixed: attribute.fixed.as_deref().map(str::to_owned),
            simple: self.simple(raw.typ.as_ref()),
        });
        TypeShape {
            name: typ.name.as_deref().map(str::to_owned),
            content,
            attributes: attributes.collect(),
            particle: self.content(typ, &raw),
            is_abstract: typ.is_abstract,
            derived: typ
                .derived
                .iter()
                .map(|derived| (derived.qname.to_string(), derived.typ as usize))
                .collect(),
            list: typ.list.as_ref().map(|list| list.urn.to_string()),
        }
    }

    fn content(&self, typ: &Type, raw: &RawType) -> Option<ParticleShape> {
        (!typ.slots.is_empty()).then(|| self.particle(typ, raw.content.as_ref()?)).flatten()
    }

    fn particle(&self, typ: &Type, raw: &Raw) -> Option<ParticleShape> {
        match raw {
            Raw::Any { at, min, max } => Some(self.wildcard(*at, *min, *max)),
            Raw::Group { kind, min, max, children } => Some(ParticleShape::Group {
                kind: match kind {
                    GroupKind::Sequence => GroupShape::Sequence,
                    GroupKind::Choice => GroupShape::Choice,
                    GroupKind::All => GroupShape::All,
                },
                min: *min,
                max: *max,
                children: children.iter().filter_map(|child| self.particle(typ, child)).collect(),
            }),
            Raw::Element { at, min, max } => {
                let (declaration, uri) = self.model.element(*at)?;
                if declaration == *at {
                    return self.element(typ, declaration, &uri, *min, *max);
                }
                let members = self.model.substitutes(declaration);
                if let [member] = members[..] {
                    return self.element(typ, member, self.model.target(member), *min, *max);
                }
                let members = members.into_iter();
                let children =
                    members.filter_map(|member| self.element(typ, member, self.model.target(member), 1, 1));
                Some(ParticleShape::Group {
                    kind: GroupShape::Choice,
                    min: *min,
                    max: *max,
                    children: children.collect(),
                })
            }
        }
    }

    /// An element under the key of its slot.
    fn element(&self, typ: &Type, at: At, uri: &str, min: u32, max: u32) -> Option<ParticleShape> {
        let name = self.model.node(at).attr("name")?;
        let slot = typ.slots.iter().find(|slot| {
            let element = &self.plan.elements[slot.element as usize];
            let namespace = element.namespace.map(|at| &*self.plan.namespaces[at as usize].uri);
            !element.raw && &*element.name == name && namespace.unwrap_or_default() == uri
        })?;
        Some(ParticleShape::Element { key: slot.key.to_string(), element: slot.element as usize, min, max })
    }

    fn wildcard(&self, at: Option<At>, min: u32, max: u32) -> ParticleShape {
        let (namespaces, strict) = match at {
            None => (vec!["##any".to_owned()], false),
            Some(at) => {
                let node = self.model.node(at);
                let names = node.attr("namespace").unwrap_or("##any").split_ascii_whitespace();
                let target = self.model.target(at);
                let named = |name: &str| {
                    if name == "##targetNamespace" { target.to_string() } else { name.to_owned() }
                };
                let strict = !matches!(node.attr("processContents"), Some("lax" | "skip"));
                (names.map(named).collect(), strict)
            }
        };
        ParticleShape::Any { min, max, namespaces, strict }
    }
}
