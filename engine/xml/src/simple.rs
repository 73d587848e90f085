// SPDX-License-Identifier: EUPL-1.2
//! What a schema says about text: built-in type at the base, facets, lists, unions. The writer does not need it
//! (libxml2 judges); who makes values from a schema does.

use crate::model::{At, Model, TypeRef};

const MAX_CHAIN: usize = 32;

/// What a text may be (XML Schema 1.0 part 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleShape {
    /// What it consists of.
    pub kind: SimpleKind,
    /// Patterns: of each inner list at least one must match the whole text.
    pub patterns: Vec<Vec<String>>,
    /// The only values allowed; empty when there is no such facet.
    pub enumeration: Vec<String>,
    /// Facets that bound it.
    pub bounds: Bounds,
}

/// What a text consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimpleKind {
    /// One value: local name of the built-in type at its base, e.g. `date`.
    Atomic(String),
    /// Values separated by blanks.
    List(Box<SimpleShape>),
    /// A value of one of these.
    Union(Vec<SimpleShape>),
}

/// Facets that bound a value. Lengths count characters, of binary values bytes, of lists items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `minLength` or `length`.
    pub min_length: Option<usize>,
    /// `maxLength` or `length`.
    pub max_length: Option<usize>,
    /// `minInclusive`, as written in the schema.
    pub min_inclusive: Option<String>,
    /// `maxInclusive`
    pub max_inclusive: Option<String>,
    /// `minExclusive`
    pub min_exclusive: Option<String>,
    /// `maxExclusive`
    pub max_exclusive: Option<String>,
    /// `totalDigits`
    pub total_digits: Option<usize>,
    /// `fractionDigits`
    pub fraction_digits: Option<usize>,
}

impl SimpleShape {
    fn of(kind: SimpleKind) -> Self {
        Self { kind, patterns: Vec::new(), enumeration: Vec::new(), bounds: Bounds::default() }
    }

    fn built_in(name: &str) -> Self {
        let items = match name {
            "NMTOKENS" => "NMTOKEN",
            "IDREFS" => "IDREF",
            "ENTITIES" => "ENTITY",
            name => return Self::of(SimpleKind::Atomic(name.to_owned())),
        };
        let mut list = Self::of(SimpleKind::List(Box::new(Self::built_in(items))));
        list.bounds.min_length = Some(1);
        list
    }

    /// Text without any rule.
    pub(crate) fn text() -> Self {
        Self::built_in("string")
    }
}

impl Model {
    /// The text of a simple type, or of a complex type with simple content.
    pub(crate) fn simple(&self, reference: &TypeRef) -> SimpleShape {
        self.simple_chain(reference, 0)
    }

    fn simple_chain(&self, reference: &TypeRef, depth: usize) -> SimpleShape {
        let at = match reference {
            TypeRef::BuiltIn(name) => return SimpleShape::built_in(name),
            TypeRef::At(at) => *at,
        };
        if depth > MAX_CHAIN {
            return SimpleShape::text();
        }
        let document = self.document(at);
        let inner = |at: At| {
            let mut children = document.children(at.node);
            children.find(|(_, child)| &*child.name == "simpleType").map(|(node, _)| At { node, ..at })
        };
        let inside = |at: At| inner(at).map(|at| self.simple_chain(&TypeRef::At(at), depth + 1));
        let named = |at: At, name: &str| {
            self.type_ref(at, name).map(|reference| self.simple_chain(&reference, depth + 1))
        };
        for (node, step) in document.children(at.node) {
            let here = At { node, ..at };
            match &*step.name {
                "simpleContent" => return self.simple_chain(&TypeRef::At(here), depth + 1),
                "restriction" => {
                    let base = inside(here).or_else(|| named(here, step.attr("base")?));
                    return self.restricted(base.unwrap_or_else(SimpleShape::text), here);
                }
                "extension" => {
                    return step
                        .attr("base")
                        .and_then(|base| named(here, base))
                        .unwrap_or_else(SimpleShape::text);
                }
                "list" => {
                    let items = inside(here).or_else(|| named(here, step.attr("itemType")?));
                    let items = items.unwrap_or_else(SimpleShape::text);
                    return SimpleShape::of(SimpleKind::List(Box::new(items)));
                }
                "union" => {
                    let names = step.attr("memberTypes").unwrap_or_default().split_ascii_whitespace();
                    let mut members: Vec<SimpleShape> = names.filter_map(|name| named(here, name)).collect();
                    for (node, _) in document.children(node) {
                        members.push(self.simple_chain(&TypeRef::At(At { node, ..at }), depth + 1));
                    }
                    return SimpleShape::of(SimpleKind::Union(members));
                }
                _ => {}
            }
        }
        SimpleShape::text()
    }

    /// A base with the facets of one restriction.
    fn restricted(&self, mut shape: SimpleShape, at: At) -> SimpleShape {
        let (mut patterns, mut enumeration) = (Vec::new(), Vec::new());
        let bounds = &mut shape.bounds;
        for (_, facet) in self.document(at).children(at.node) {
            let Some(value) = facet.attr("value") else { continue };
            let text = || Some(value.to_owned());
            let number = || value.trim().parse().ok();
            match &*facet.name {
                "pattern" => patterns.push(value.to_owned()),
                "enumeration" => enumeration.push(value.to_owned()),
                "length" => (bounds.min_length, bounds.max_length) = (number(), number()),
                "minLength" => bounds.min_length = number(),
                "maxLength" => bounds.max_length = number(),
                "minInclusive" => bounds.min_inclusive = text(),
                "maxInclusive" => bounds.max_inclusive = text(),
                "minExclusive" => bounds.min_exclusive = text(),
                "maxExclusive" => bounds.max_exclusive = text(),
                "totalDigits" => bounds.total_digits = number(),
                "fractionDigits" => bounds.fraction_digits = number(),
                _ => {}
            }
        }
        if !patterns.is_empty() {
            shape.patterns.push(patterns);
        }
        if !enumeration.is_empty() {
            shape.enumeration = enumeration;
        }
        shape
    }
}
