// SPDX-License-Identifier: EUPL-1.2
//! Reads a document along a plan back into the map that the writer takes (docs/xml-abbild.md). What does not
//! fit the plan is a problem; order and counts are not judged here, that is the validator's work.

use std::sync::Arc;

use kop_core::{Diagnostic, Tree};
use quick_xml::events::BytesStart;

use crate::{
    arrange::{Step, arrange},
    parse::{Given, MAX_DEPTH, Parser, Piece},
    plan::{Content, Plan, Type},
    value::absent,
    xsd::XSI,
};

/// Problems reported at most.
const MAX_PROBLEMS: usize = 50;

/// Reads a document whose root is the plan's.
pub(crate) fn read(plan: &Plan, xml: &[u8]) -> Result<Tree, Vec<Diagnostic>> {
    let mut parser = Parser::new(xml).map_err(|problem| vec![*problem])?;
    let root = parser.root().map_err(|problem| vec![*problem])?;
    let element = &plan.elements[plan.root as usize];
    let wanted = element.namespace.map_or("", |at| &plan.namespaces[at as usize].uri);
    let (uri, name) = parser.name(&root).map_err(|problem| vec![*problem])?;
    if (uri, name) != (wanted, &*element.name) {
        let (de, en) = (
            "Das Dokument ist eine andere Nachricht oder gehört zu einer anderen Version des Standards.",
            "The document is another message, or of another version of the standard.",
        );
        let problem = Diagnostic::new("KOP-X033", de, en)
            .with_hint(format!("Erwartet: {} im Namensraum {wanted}", element.name));
        return Err(vec![problem]);
    }
    let mut reader = Reader { plan, parser, problems: Vec::new(), path: Vec::new() };
    let tree = reader.element(plan.root, &root);
    match tree.and_then(|tree| reader.parser.end().map(|()| tree)) {
        Ok(tree) if reader.problems.is_empty() => Ok(tree),
        Ok(_) => Err(reader.problems),
        Err(problem) => {
            reader.problems.push(*problem);
            Err(reader.problems)
        }
    }
}

struct Reader<'p, 'x> {
    plan: &'p Plan,
    parser: Parser<'x>,
    problems: Vec<Diagnostic>,
    /// The open elements below the root: number in the plan, and number among repeats or 0.
    path: Vec<(u32, u32)>,
}

/// A child or a piece of text, in document order.
struct Item {
    /// None: text.
    slot: Option<u16>,
    key: Arc<str>,
    tree: Tree,
}

impl<'p> Reader<'p, '_> {
    /// Reads an element's attributes and content up to its end tag.
    fn element(&mut self, number: u32, tag: &BytesStart<'_>) -> Result<Tree, Box<Diagnostic>> {
        let plan = self.plan;
        let element = &plan.elements[number as usize];
        let mut typ = &plan.types[element.typ as usize];
        let mut entries: Vec<(Arc<str>, Tree)> = Vec::new();
        let mut nil = false;
        let (special, given): (Vec<Given>, Vec<Given>) =
            self.parser.attributes(tag)?.into_iter().partition(|given| given.uri == XSI);
        for Given { name, value, .. } in special {
            match &*name {
                "type" => match self.chosen(typ, &value) {
                    Some((chosen, name)) => {
                        typ = chosen;
                        entries.push(("@xsi:type".into(), Tree::text(name)));
                    }
                    None => self.problem(
                        "KOP-X036",
                        "Den Typ, den dieses Element in xsi:type nennt, gibt es hier im Schema nicht.",
                        "The schema does not have the type that this element names in xsi:type here.",
                        None,
                    ),
                },
                "nil" if matches!(value.trim(), "true" | "1") => {
                    nil = true;
                    entries.push(("@xsi:nil".into(), Tree::Bool(true)));
                }
                _ => {}
            }
        }
        self.attributes(typ, given, &mut entries);
        let items = self.content(typ)?;
        Ok(tree(typ, entries, items, nil))
    }

    fn attributes(&mut self, typ: &Type, given: Vec<Given>, entries: &mut Vec<(Arc<str>, Tree)>) {
        let plan = self.plan;
        let mut seen = vec![false; typ.attributes.len()];
        for Given { uri, name, value } in given {
            let known = typ.attributes.iter().position(|known| {
                let known_uri = known.namespace.map_or("", |at| &plan.namespaces[at as usize].uri);
                *known.name == *name && *known_uri == *uri
            });
            let key: Arc<str> = match known {
                Some(at) => {
                    seen[at] = true;
                    let known = &typ.attributes[at];
                    let first = typ.attributes.iter().position(|other| other.name == known.name);
                    let name = if first == Some(at) { &known.name } else { &known.qname };
                    format!("@{name}").into()
                }
                None if typ.any_attribute && uri.is_empty() => format!("@{name}").into(),
                None if typ.any_attribute => format!("@{{{uri}}}{name}").into(),
                None => {
                    self.problem(
                        "KOP-X034",
                        "Dieses Attribut gibt es hier im Schema nicht.",
                        "The schema has no such attribute here.",
                        Some(&format!("@{name}")),
                    );
                    continue;
                }
            };
            entries.push((key, if value.trim().is_empty() { blank(value) } else { Tree::text(value) }));
        }
        // what the writer would add by itself, but this document leaves out
        for (attribute, _) in typ.attributes.iter().zip(seen).filter(|(_, seen)| !seen) {
            let list = matches!(&*attribute.name, "listURI" | "listVersionID");
            if list && attribute.fixed.is_some() {
                entries.push((format!("@{}", attribute.name).into(), Tree::Bool(false)));
            }
        }
    }

    /// The type that an `xsi:type` names, and how the map spells it.
    fn chosen(&mut self, declared: &'p Type, value: &str) -> Option<(&'p Type, String)> {
        let plan = self.plan;
        let (uri, local) = self.parser.resolve(value)?;
        let is =
            |namespace: Option<u16>| *namespace.map_or("", |at| &plan.namespaces[at as usize].uri) == *uri;
        let found =
            declared.derived.iter().find(|derived| *derived.name == *local && is(derived.namespace)).map(
                |found| {
                    let first = declared.derived.iter().find(|derived| derived.name == found.name);
                    let plain = first.is_some_and(|first| first.namespace == found.namespace);
                    let name = if plain { &found.name } else { &found.qname };
                    (&plan.types[found.typ as usize], name.to_string())
                },
            );
        if found.is_none() && declared.any_attribute && declared.derived.is_empty() {
            return Some((declared, format!("{{{uri}}}{local}")));
        }
        found
    }

    /// Children and text up to the end tag.
    fn content(&mut self, typ: &'p Type) -> Result<Vec<Item>, Box<Diagnostic>> {
        let mut items: Vec<Item> = Vec::new();
        let mut counts = vec![0_u32; typ.slots.len()];
        loop {
            match self.parser.next()? {
                Piece::End => break,
                // layout; told from text at once where no text belongs
                Piece::Text(text) if typ.content == Content::Children && text.trim_ascii().is_empty() => {}
                Piece::Text(text) => match items.last_mut() {
                    Some(Item { slot: None, tree: Tree::Text(known), .. }) => {
                        *known = format!("{known}{text}").into();
                    }
                    _ => items.push(Item { slot: None, key: "$".into(), tree: Tree::text(text) }),
                },
                Piece::Start(tag) => {
                    let (uri, name) = self.parser.name(&tag)?;
                    let Some(slot) = slot(self.plan, typ, uri, name) else {
                        let name = name.to_owned();
                        self.unknown_element(typ, &name);
                        self.parser.skip()?;
                        continue;
                    };
                    let place = &typ.slots[slot as usize];
                    let element = &self.plan.elements[place.element as usize];
                    let key: Arc<str> =
                        if element.raw { format!("{{{uri}}}{name}").into() } else { (&*place.key).into() };
                    counts[slot as usize] += 1;
                    let number = if place.many { counts[slot as usize] } else { 0 };
                    self.path.push((place.element, number));
                    debug_assert!(self.path.len() <= MAX_DEPTH, "the parser counts the depth");
                    let tree = self.element(place.element, &tag)?;
                    self.path.pop();
                    items.push(Item { slot: Some(slot), key, tree });
                }
            }
        }
        self.without_layout(typ, &mut items);
        Ok(items)
    }

    /// Drops white space between elements; what else is text where none belongs is a problem.
    fn without_layout(&mut self, typ: &Type, items: &mut Vec<Item>) {
        let is_blank = |item: &Item| matches!(&item.tree, Tree::Text(text) if text.trim_ascii().is_empty());
        let texts = items.iter().filter(|item| item.slot.is_none());
        let words = texts.clone().any(|item| !is_blank(item));
        let children = items.len() > texts.count();
        match typ.content {
            Content::Simple | Content::Mixed if !children || words => return,
            Content::Empty | Content::Children if words => self.problem(
                "KOP-X035",
                "Hier steht Text, wo nach dem Schema keiner steht.",
                "There is text here, where the schema has none.",
                None,
            ),
            _ => {}
        }
        items.retain(|item| item.slot.is_some());
    }

    fn unknown_element(&mut self, typ: &Type, name: &str) {
        let (de, en) =
            ("Dieses Element gibt es hier im Schema nicht.", "The schema has no such element here.");
        if typ.content == Content::Simple {
            let (de, en) =
                ("Hier steht Text, keine Unterelemente.", "Text belongs here, not child elements.");
            return self.problem("KOP-X035", de, en, Some(name));
        }
        self.problem("KOP-X034", de, en, Some(name));
        let known = self.problems.len() <= MAX_PROBLEMS;
        if let Some(problem) = self.problems.last_mut().filter(|_| known) {
            problem.hint = Some(crate::write::names_hint(typ));
        }
    }

    fn problem(&mut self, code: &str, de: &str, en: &str, name: Option<&str>) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let name = name.map(|name| name.chars().take(80).collect::<String>());
        let step = |(element, number): &(u32, u32)| {
            let name = &self.plan.elements[*element as usize].name;
            if *number > 0 { format!("{name}[{number}]") } else { name.to_string() }
        };
        let steps: Vec<String> = self.path.iter().map(step).chain(name).collect();
        self.problems.push(Diagnostic::new(code, de, en).with_target(steps.join("/")));
    }
}

/// The map, or the single value, of an element.
fn tree(typ: &Type, mut entries: Vec<(Arc<str>, Tree)>, items: Vec<Item>, nil: bool) -> Tree {
    let has_attributes = !entries.is_empty() || !typ.attributes.is_empty();
    match items.as_slice() {
        [] if nil => {}
        [] if typ.content == Content::Empty && entries.is_empty() => return Tree::Bool(true),
        [] if typ.content == Content::Empty => {}
        [] => entries.push(("#".into(), Tree::List(Vec::new()))),
        [Item { slot: None, tree: Tree::Text(text), .. }] if !text.trim().is_empty() => {
            let text = Tree::Text(text.clone());
            if !has_attributes {
                return text;
            }
            entries.push(("$".into(), text));
        }
        _ if plain(typ, &items) => {
            for Item { slot, key, tree } in items {
                let many = slot.is_some_and(|slot| typ.slots[slot as usize].many);
                let known = entries.iter_mut().rev().find(|(known, _)| *known == key);
                match known {
                    Some((_, Tree::List(trees))) => trees.push(tree),
                    _ if many => entries.push((key, Tree::List(vec![tree]))),
                    _ => entries.push((key, tree)),
                }
            }
        }
        _ => {
            let ordered = items.into_iter().map(|item| Tree::map([(item.key, item.tree)]));
            entries.push(("#".into(), Tree::List(ordered.collect())));
        }
    }
    let mut tree = Tree::map(entries);
    if absent(&tree) {
        tree.set("#", Tree::List(Vec::new()));
    }
    tree
}

/// The slot of a child: its own, else that of `xs:any`.
fn slot(plan: &Plan, typ: &Type, uri: &str, name: &str) -> Option<u16> {
    let fits = |slot: u16| {
        let element = &plan.elements[typ.slots[slot as usize].element as usize];
        let known = element.namespace.map_or("", |at| &plan.namespaces[at as usize].uri);
        *element.name == *name && known == uri
    };
    // the key is the name itself, save where two name spaces share one
    let plain = typ.slot(name).filter(|slot| fits(*slot));
    plain.or_else(|| (0..typ.slots.len() as u16).find(|slot| fits(*slot))).or(typ.any)
}

/// Whether the writer would put the children of a plain map in the order in which they stand.
fn plain(typ: &Type, items: &[Item]) -> bool {
    let mut slots = Vec::with_capacity(items.len());
    let mut any = None;
    for item in items {
        let Some(slot) = item.slot else { return false };
        // elements of `xs:any` are sorted by name in a map
        if typ.any == Some(slot) && *any.get_or_insert(&item.key) != &item.key {
            return false;
        }
        slots.push(slot);
    }
    if typ.flat {
        return slots.is_sorted()
            && !typ.slots.iter().zip(0..).any(|(place, slot)| {
                !place.many && slots.iter().filter(|known| **known == slot).count() > 1
            });
    }
    let mut left = vec![0_u32; typ.slots.len()];
    for slot in &slots {
        left[usize::from(*slot)] += 1;
    }
    let mut steps = Vec::new();
    arrange(typ, &mut left, &mut steps);
    let mut written = slots.into_iter();
    for step in steps {
        match step {
            Step::Take { slot, count, .. } => {
                if !(0..count).all(|_| written.next() == Some(slot)) {
                    return false;
                }
            }
            Step::Missing { .. } => {}
            Step::Left { .. } => return false,
        }
    }
    written.next().is_none()
}

/// Text of nothing but white space, which the writer would leave out otherwise.
fn blank(value: String) -> Tree {
    let text = (!value.is_empty()).then(|| Tree::map([("$", Tree::text(value))]));
    Tree::map([("#", Tree::List(text.into_iter().collect()))])
}
