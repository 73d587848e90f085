// SPDX-License-Identifier: EUPL-1.2
//! Makes instances of a message from its shape alone: the smallest one, and ones that go where something is still
//! to be covered. Knows nothing of any standard.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use kop_core::Tree;
use kop_xml::{
    MessageSchema,
    shape::{AttributeShape, ContentShape, GroupShape, ParticleShape, Shape, TypeShape},
};

use super::{
    spots::{NONE, Spots},
    value::Values,
};

/// Deepest nesting of what is mandatory.
const MAX_DEPTH: usize = 80;
/// Elements after which an instance takes nothing optional any more.
const MAX_ELEMENTS: usize = 4_000;
/// Elements beyond which an instance is given up.
const MAX_MANDATORY: usize = 200_000;
/// Codes of a list that are tried.
const CODES: usize = 50;
/// Reasons kept.
const MAX_REASONS: usize = 50;
/// Cost of what cannot be made.
const IMPOSSIBLE: u32 = u32::MAX;

/// Why a piece cannot be made.
type Why = String;

/// The codes of the list of the type around.
type Codes = Rc<[String]>;

/// Makes the instances of one message.
pub(super) struct Generator<'s> {
    shape: &'s Shape,
    schema: &'s MessageSchema,
    values: Values,
    /// Fewest elements that a type's content needs.
    costs: Vec<u32>,
    /// Types in which one name has several places, so that a map does not say where one belongs.
    ordered: Vec<bool>,
    lists: HashMap<String, Option<(String, Codes)>>,
    pub(super) spots: Spots,
    root: u32,
    taken: Vec<u32>,
    elements: usize,
    depth: usize,
    path: Vec<String>,
    /// Points given up.
    pub(super) lost: u32,
    /// Path → why it could not be made.
    pub(super) reasons: BTreeMap<String, Why>,
}

/// A place to come back to when a piece cannot be made.
struct Mark {
    out: usize,
    taken: usize,
    ids: usize,
    path: usize,
    depth: usize,
}

impl<'s> Generator<'s> {
    pub(super) fn new(schema: &'s MessageSchema, shape: &'s Shape) -> Self {
        let (spots, root) = Spots::of(shape);
        Self {
            shape,
            schema,
            values: Values::of(schema.number()),
            costs: costs(shape),
            ordered: shape.types.iter().map(|typ| typ.particle.as_ref().is_some_and(has_order)).collect(),
            lists: HashMap::new(),
            spots,
            root,
            taken: Vec::new(),
            elements: 0,
            depth: 0,
            path: Vec::new(),
            lost: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// The smallest instance.
    pub(super) fn minimal(&mut self) -> Result<Tree, Why> {
        self.instance(NONE)
    }

    /// An instance that covers what the earlier ones left open; nothing when all is covered or no more can be.
    pub(super) fn next(&mut self) -> Option<Tree> {
        while self.spots.open(self.root) > 0 {
            let lost = self.lost;
            match self.instance(self.root) {
                Ok(tree) if !self.taken.is_empty() => {
                    for spot in std::mem::take(&mut self.taken) {
                        self.spots.cover(spot);
                    }
                    return Some(tree);
                }
                // what was in the way has been given up
                Ok(_) if self.lost > lost => {}
                Ok(_) => {
                    self.note("kein Platz mehr im Dokument".to_owned());
                    return None;
                }
                Err(why) => {
                    self.note(why);
                    return None;
                }
            }
        }
        None
    }

    /// Points that are in no instance and were not given up.
    pub(super) fn left(&self) -> u32 {
        self.spots.open(self.root)
    }

    fn instance(&mut self, spot: u32) -> Result<Tree, Why> {
        self.values.begin();
        self.taken.clear();
        self.path.clear();
        (self.elements, self.depth) = (0, 0);
        self.element(self.shape.root, spot, &Rc::from([]))
    }

    fn note(&mut self, why: Why) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.entry(self.path.join("/")).or_insert(why);
        }
    }

    fn mark(&self, out: usize) -> Mark {
        Mark {
            out,
            taken: self.taken.len(),
            ids: self.values.ids.len(),
            path: self.path.len(),
            depth: self.depth,
        }
    }

    fn back(&mut self, mark: &Mark, out: &mut Vec<(String, Tree)>) {
        out.truncate(mark.out);
        self.taken.truncate(mark.taken);
        self.values.ids.truncate(mark.ids);
        self.path.truncate(mark.path);
        self.depth = mark.depth;
    }

    /// Gives up an optional piece.
    fn give_up(&mut self, spot: u32) {
        self.lost += self.spots.give_up(spot);
    }

    fn wanted(&self, spot: u32) -> bool {
        self.spots.open(spot) > 0 && self.elements < MAX_ELEMENTS
    }

    /// The element's content; its spot is that of its type.
    fn element(&mut self, number: usize, spot: u32, codes: &Codes) -> Result<Tree, Why> {
        let element = &self.shape.elements[number];
        self.elements += 1;
        if self.depth >= MAX_DEPTH || self.elements > MAX_MANDATORY {
            return Err("verschachtelt ohne Ende".to_owned());
        }
        self.depth += 1;
        let typ = &self.shape.types[element.typ];
        let made = if typ.is_abstract {
            self.derived(typ, spot, element.fixed.as_deref(), codes)
        } else {
            self.content(element.typ, spot, element.fixed.as_deref(), None, codes)
        }?;
        self.depth -= 1;
        Ok(made)
    }

    /// One of the types that may stand for an abstract one.
    fn derived(
        &mut self,
        typ: &'s TypeShape,
        spot: u32,
        fixed: Option<&str>,
        codes: &Codes,
    ) -> Result<Tree, Why> {
        let mut last =
            format!("der abstrakte Typ {} hat keinen abgeleiteten", typ.name.as_deref().unwrap_or("?"));
        for (at, (name, derived)) in typ.derived.iter().enumerate() {
            let branch = self.spots.child(spot, at);
            if !self.wanted(branch) {
                continue;
            }
            let mark = self.mark(0);
            match self.content(*derived, self.spots.child(branch, 0), fixed, Some(name), codes) {
                Ok(tree) => {
                    self.taken.push(branch);
                    return Ok(tree);
                }
                Err(why) => {
                    self.note(why.clone());
                    self.back(&mark, &mut Vec::new());
                    last = why;
                    self.give_up(branch);
                }
            }
        }
        let mut cheapest: Vec<_> = typ.derived.iter().collect();
        cheapest.sort_by_key(|(_, derived)| self.costs[*derived]);
        for (name, derived) in cheapest {
            let mark = self.mark(0);
            match self.content(*derived, NONE, fixed, Some(name), codes) {
                Ok(tree) => return Ok(tree),
                Err(why) => {
                    self.back(&mark, &mut Vec::new());
                    last = why;
                }
            }
        }
        Err(last)
    }

    fn content(
        &mut self,
        number: usize,
        spot: u32,
        fixed: Option<&str>,
        xsi_type: Option<&str>,
        outer: &Codes,
    ) -> Result<Tree, Why> {
        let typ = &self.shape.types[number];
        let list = typ.list.as_deref().and_then(|urn| self.list(urn));
        let codes = list.as_ref().map_or_else(|| outer.clone(), |(_, codes)| codes.clone());
        let mut entries: Vec<(String, Tree)> = Vec::new();
        if let Some(name) = xsi_type {
            entries.push(("@xsi:type".to_owned(), Tree::text(name)));
        }
        for (at, attribute) in typ.attributes.iter().enumerate() {
            let here = self.spots.child(spot, at);
            // a fixed value that must be there is the writer's to supply
            let supplied = attribute.required && attribute.fixed.is_some();
            if supplied || !(attribute.required || self.wanted(here)) {
                continue;
            }
            let known = match (attribute.key.as_str(), &typ.list, &list) {
                ("@listURI", Some(urn), _) => Some(urn.clone()),
                ("@listVersionID", _, Some((version, _))) => Some(version.clone()),
                _ => None,
            };
            if let Some(value) = self.attribute(attribute, known.as_slice()) {
                entries.push((attribute.key.clone(), single(&value)));
                self.taken.extend((here != NONE).then_some(here));
                continue;
            }
            self.path.push(attribute.key.clone());
            let why = no_value(&attribute.simple);
            if attribute.required {
                return Err(why);
            }
            self.note(why);
            self.give_up(here);
            self.path.pop();
        }
        match &typ.content {
            ContentShape::Empty if entries.is_empty() => return Ok(Tree::Bool(true)),
            ContentShape::Empty => {}
            ContentShape::Text(simple) => {
                let made = match fixed {
                    Some(fixed) => Some(fixed.to_owned()),
                    None => self.values.value(simple, &codes),
                };
                let text = made.ok_or_else(|| no_value(simple))?;
                if entries.is_empty() {
                    return Ok(single(&text));
                }
                if text.trim().is_empty() {
                    entries.push(("#".to_owned(), blank(&text)));
                } else {
                    entries.push(("$".to_owned(), Tree::text(text)));
                }
            }
            ContentShape::Elements | ContentShape::Mixed => {
                let mut children = Vec::new();
                if let Some(particle) = &typ.particle {
                    let here = self.spots.child(spot, typ.attributes.len());
                    self.particle(particle, here, &codes, &mut children)?;
                }
                if children.is_empty() && matches!(typ.content, ContentShape::Mixed) {
                    entries.push(("$".to_owned(), Tree::text("Text")));
                } else if children.is_empty() || self.ordered[number] {
                    let items = children.into_iter().map(|child| Tree::map([child])).collect();
                    entries.push(("#".to_owned(), Tree::List(items)));
                } else {
                    entries.extend(together(children));
                }
            }
        }
        Ok(Tree::map(entries))
    }

    fn attribute(&mut self, attribute: &AttributeShape, known: &[String]) -> Option<String> {
        attribute.fixed.clone().or_else(|| self.values.value(&attribute.simple, known))
    }

    fn list(&mut self, urn: &str) -> Option<(String, Codes)> {
        if let Some(known) = self.lists.get(urn) {
            return known.clone();
        }
        let found = self.schema.sample_codes(urn, CODES).map(|(version, codes)| (version, Rc::from(codes)));
        self.lists.insert(urn.to_owned(), found.clone());
        found
    }

    /// Appends what a piece of a content model consists of: key and value in document order.
    fn particle(
        &mut self,
        particle: &'s ParticleShape,
        spot: u32,
        codes: &Codes,
        out: &mut Vec<(String, Tree)>,
    ) -> Result<(), Why> {
        let (ParticleShape::Element { min, max, .. }
        | ParticleShape::Group { min, max, .. }
        | ParticleShape::Any { min, max, .. }) = particle;
        let wanted = self.wanted(spot);
        if (*min == 0 && !wanted) || *max == 0 {
            return Ok(());
        }
        let mark = self.mark(out.len());
        let made = match particle {
            ParticleShape::Element { key, element, .. } => {
                // what may repeat does, where something is to be covered
                let count = if wanted { (*min).max(2).min(*max) } else { *min };
                self.path.push(key.clone());
                let made = (0..count).try_for_each(|round| {
                    let inner = if round == 0 { self.spots.child(spot, 0) } else { NONE };
                    let tree = self.element(*element, inner, codes)?;
                    out.push((key.clone(), tree));
                    Ok(())
                });
                if made.is_ok() {
                    self.path.pop();
                }
                made
            }
            ParticleShape::Group { kind, children, .. } => (0..(*min).max(1)).try_for_each(|round| {
                let inner = if round == 0 { spot } else { NONE };
                if *kind == GroupShape::Choice {
                    return self.choice(children, inner, codes, out);
                }
                children
                    .iter()
                    .enumerate()
                    .try_for_each(|(at, child)| self.particle(child, self.spots.child(inner, at), codes, out))
            }),
            ParticleShape::Any { namespaces, strict, .. } => {
                self.elements += 1;
                any(namespaces, *strict).map(|key| {
                    out.extend(
                        (0..(*min).max(1)).map(|_| (key.clone(), Tree::List(vec![Tree::text("Text")]))),
                    );
                })
            }
        };
        match made {
            Ok(()) => {
                self.taken.extend((spot != NONE).then_some(spot));
                Ok(())
            }
            Err(why) if *min == 0 => {
                self.note(why);
                self.back(&mark, out);
                self.give_up(spot);
                Ok(())
            }
            Err(why) => Err(why),
        }
    }

    fn choice(
        &mut self,
        children: &'s [ParticleShape],
        spot: u32,
        codes: &Codes,
        out: &mut Vec<(String, Tree)>,
    ) -> Result<(), Why> {
        let mut last = "eine Auswahl ohne Zweige".to_owned();
        for (at, child) in children.iter().enumerate() {
            let branch = self.spots.child(spot, at);
            if !self.wanted(branch) {
                continue;
            }
            let mark = self.mark(out.len());
            match self.particle(child, branch, codes, out) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    self.note(why.clone());
                    self.back(&mark, out);
                    last = why;
                    self.give_up(branch);
                }
            }
        }
        let mut cheapest: Vec<_> = children.iter().collect();
        cheapest.sort_by_key(|child| cost(child, self.shape, &self.costs));
        for child in cheapest {
            let mark = self.mark(out.len());
            match self.particle(child, NONE, codes, out) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    self.back(&mark, out);
                    last = why;
                }
            }
        }
        Err(last)
    }
}

/// A value alone.
fn single(text: &str) -> Tree {
    if text.trim().is_empty() { Tree::map([("#", blank(text))]) } else { Tree::text(text) }
}

/// Empty or blank text in ordered form.
fn blank(text: &str) -> Tree {
    let item = (!text.is_empty()).then(|| Tree::map([("$", Tree::text(text))]));
    Tree::List(item.into_iter().collect())
}

/// Repeats of one key as a list.
fn together(children: Vec<(String, Tree)>) -> Vec<(String, Tree)> {
    let mut all: Vec<(String, Vec<Tree>)> = Vec::new();
    for (key, tree) in children {
        let items = match tree {
            Tree::List(items) => items,
            tree => vec![tree],
        };
        match all.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => known.extend(items),
            None => all.push((key, items)),
        }
    }
    let one = |mut items: Vec<Tree>| if items.len() == 1 { items.remove(0) } else { Tree::List(items) };
    all.into_iter().map(|(key, items)| (key, one(items))).collect()
}

/// Key of an element that a wildcard lets in.
fn any(namespaces: &[String], strict: bool) -> Result<String, Why> {
    if strict {
        return Err("beliebige Elemente, die deklariert sein müssen (xs:any strict)".to_owned());
    }
    match namespaces.first().map(String::as_str) {
        None | Some("##any" | "##other") => Ok("{urn:beispiel:fremd}fremd".to_owned()),
        Some("##local") => Ok("{}fremd".to_owned()),
        Some(uri) => Ok(format!("{{{uri}}}fremd")),
    }
}

fn no_value(simple: &kop_xml::SimpleShape) -> Why {
    let pattern = simple.patterns.iter().flatten().next();
    let pattern: String = pattern.map(|text| text.chars().take(60).collect()).unwrap_or_default();
    format!("kein Wert gefunden ({:?} {pattern})", simple.kind)
}

/// Whether one key has several places, or a group repeats: then only the ordered form says what is meant.
fn has_order(particle: &ParticleShape) -> bool {
    fn keys<'p>(particle: &'p ParticleShape, all: &mut Vec<&'p str>) -> bool {
        match particle {
            ParticleShape::Element { key, .. } => {
                all.push(key);
                false
            }
            ParticleShape::Any { .. } => {
                all.push("");
                false
            }
            ParticleShape::Group { min, children, .. } => {
                children.iter().fold(*min > 1, |found, child| keys(child, all) || found)
            }
        }
    }
    let mut all = Vec::new();
    let repeats = keys(particle, &mut all);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    repeats || all.len() < count
}

/// Fewest elements of each type.
fn costs(shape: &Shape) -> Vec<u32> {
    let mut costs = vec![IMPOSSIBLE; shape.types.len()];
    loop {
        let mut changed = false;
        for (number, typ) in shape.types.iter().enumerate() {
            let now = if typ.is_abstract {
                let others = typ.derived.iter().filter(|(_, derived)| *derived != number);
                others.map(|(_, derived)| costs[*derived]).min().unwrap_or(IMPOSSIBLE)
            } else {
                typ.particle.as_ref().map_or(0, |particle| cost(particle, shape, &costs))
            };
            if now < costs[number] {
                costs[number] = now;
                changed = true;
            }
        }
        if !changed {
            return costs;
        }
    }
}

fn cost(particle: &ParticleShape, shape: &Shape, costs: &[u32]) -> u32 {
    match particle {
        ParticleShape::Element { min: 0, .. }
        | ParticleShape::Any { min: 0, .. }
        | ParticleShape::Group { min: 0, .. } => 0,
        ParticleShape::Element { element, min, .. } => {
            costs[shape.elements[*element].typ].saturating_add(1).saturating_mul(*min)
        }
        ParticleShape::Any { strict: true, .. } => IMPOSSIBLE,
        ParticleShape::Any { min, .. } => *min,
        ParticleShape::Group { kind, min, children, .. } => {
            let each = children.iter().map(|child| cost(child, shape, costs));
            let once = if *kind == GroupShape::Choice {
                each.min().unwrap_or(0)
            } else {
                each.fold(0, u32::saturating_add)
            };
            once.saturating_mul(*min)
        }
    }
}
