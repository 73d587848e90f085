// SPDX-License-Identifier: EUPL-1.2
//! Writes a tree as XML along a plan. One pass, no look-ups by hash: what a map gives is sorted into the slots
//! of its type on one shared stack, then the content model is walked. Knows nothing of files or libxml2.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use kop_core::similar;
use kop_core::{Diagnostic, Tree};

use crate::{
    advice,
    arrange::Step,
    message::{WriteOptions, Written},
    model::is_list,
    paths::{NONE, Paths, Row, target},
    plan::{ANY, Content, Element, Plan, Type},
    text,
    value::{absent, is_value, joined, plain, same_value, truth},
};

/// Deepest nesting of a message; XBau needs 11.
pub(crate) const MAX_DEPTH: usize = 100;
/// Largest message.
const MAX_BYTES: usize = 64 << 20;
/// Problems reported at most.
const MAX_PROBLEMS: usize = 50;

/// Slots from here on are attributes.
pub(crate) const ATTRIBUTES: u16 = 0x8000;
/// Children and text in document order (`#`).
pub(crate) const ORDER: u16 = 0xfffb;
/// The text of an element that has attributes (`$`).
pub(crate) const TEXT: u16 = 0xfffc;
/// An attribute that only `xs:anyAttribute` lets in; its name is the rest of the key.
pub(crate) const ANY_ATTRIBUTE: u16 = 0xfffd;
pub(crate) const XSI_TYPE: u16 = 0xfffe;
pub(crate) const XSI_NIL: u16 = 0xffff;

/// A value on its way into a slot: what is left of its slash key, and the tree.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'t> {
    pub(crate) slot: u16,
    /// 0: to be merged with the others of this slot; from 1: a repeat of its own.
    pub(crate) repeat: u32,
    pub(crate) rest: &'t str,
    pub(crate) tree: &'t Tree,
}

pub(crate) struct Writer<'t> {
    pub(crate) plan: &'t Arc<Plan>,
    pub(crate) pins: &'t BTreeMap<String, String>,
    pub(crate) out: Vec<u8>,
    pub(crate) stack: Vec<Entry<'t>>,
    pub(crate) cursors: Vec<u32>,
    pub(crate) steps: Vec<Step<'t>>,
    pub(crate) rows: Vec<Row>,
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) used: Vec<bool>,
    pub(crate) xsi: bool,
    /// Elements of `xs:any` written so far, so that each is a repeat of its own.
    pub(crate) any: u32,
    /// Default name space in scope; only elements of `xs:any` set one.
    pub(crate) scope: &'t str,
    depth: usize,
    /// Open elements with mixed content, in which white space counts.
    inline: usize,
    root_gap: usize,
}

/// How an element's tags are written.
#[derive(Clone, Copy)]
pub(crate) struct Tag<'t> {
    /// Name with prefix.
    pub(crate) name: &'t str,
    /// Default name space to declare.
    pub(crate) xmlns: Option<&'t str>,
}

/// Writes the tree of the root's children and attributes.
pub(crate) fn write(
    plan: &Arc<Plan>,
    tree: &Tree,
    options: &WriteOptions,
    location: Option<&str>,
) -> Result<Written, Vec<Diagnostic>> {
    let mut writer = Writer {
        plan,
        pins: &options.pins,
        out: Vec::with_capacity(8 << 10),
        stack: Vec::with_capacity(128),
        cursors: Vec::new(),
        steps: Vec::new(),
        rows: Vec::with_capacity(256),
        problems: Vec::new(),
        used: vec![false; plan.namespaces.len()],
        xsi: false,
        any: 0,
        scope: "",
        depth: 0,
        inline: 0,
        root_gap: 0,
    };
    writer.out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let entry = Entry { slot: 0, repeat: 0, rest: "", tree };
    writer.stack.push(entry);
    writer.element(plan.root, 0, 1, NONE, 0);
    writer.out.push(b'\n');
    if !writer.problems.is_empty() {
        return Err(writer.problems);
    }
    let bytes = writer.with_namespaces(location);
    Ok(Written { bytes, paths: Paths { plan: plan.clone(), rows: writer.rows } })
}

impl<'t> Writer<'t> {
    /// The document with the name spaces that were used declared on the root.
    fn with_namespaces(&mut self, location: Option<&str>) -> Vec<u8> {
        let mut declared = Vec::new();
        for (namespace, used) in self.plan.namespaces.iter().zip(&self.used) {
            if *used && &*namespace.prefix != "xml" {
                declared.extend_from_slice(format!(" xmlns:{}=\"", namespace.prefix).as_bytes());
                let _ = text::push(&mut declared, &namespace.uri, true);
                declared.push(b'"');
            }
        }
        if self.xsi || location.is_some() {
            declared.extend_from_slice(b" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
        }
        if let Some(location) = location {
            let root = &self.plan.elements[self.plan.root as usize];
            let (name, value) = match root.namespace {
                Some(at) => {
                    let uri = &self.plan.namespaces[at as usize].uri;
                    ("schemaLocation", format!("{} {location}", uri.replace(' ', "%20")))
                }
                None => ("noNamespaceSchemaLocation", location.to_owned()),
            };
            declared.extend_from_slice(format!(" xsi:{name}=\"").as_bytes());
            let _ = text::push(&mut declared, &value, true);
            declared.push(b'"');
        }
        let mut bytes = Vec::with_capacity(self.out.len() + declared.len());
        bytes.extend_from_slice(&self.out[..self.root_gap]);
        bytes.extend_from_slice(&declared);
        bytes.extend_from_slice(&self.out[self.root_gap..]);
        bytes
    }

    /// Writes one element from the entries `from..to` of the stack. False: it had no content and was left out.
    pub(crate) fn element(&mut self, number: u32, from: usize, to: usize, parent: u32, repeat: u32) -> bool {
        let element = &self.plan.elements[number as usize];
        if element.raw {
            return self.any_element(number, from, parent, repeat);
        }
        if let Some(at) = element.namespace {
            self.used[at as usize] = true;
        }
        self.tagged(number, from..to, parent, repeat, Tag { name: &element.qname, xmlns: None })
    }

    /// Writes one element under a name that is already known.
    pub(crate) fn tagged(
        &mut self,
        number: u32,
        entries: Range<usize>,
        parent: u32,
        repeat: u32,
        tag: Tag<'t>,
    ) -> bool {
        let plan = self.plan;
        let element = &plan.elements[number as usize];
        let row = self.rows.len() as u32;
        self.rows.push(Row { parent, element: number, repeat });
        let start = self.out.len();
        if self.depth >= MAX_DEPTH || start > MAX_BYTES {
            let (de, en) =
                ("Die Nachricht wird zu tief oder zu groß.", "The message gets too deep or too large.");
            self.problem("KOP-X008", de, en, row);
            self.rows.truncate(row as usize);
            return true;
        }
        let base = self.stack.len();
        let first = self.stack[entries.start];
        let single =
            (entries.len() == 1 && first.rest.is_empty() && is_value(first.tree)).then_some(first.tree);
        let mut typ = &plan.types[element.typ as usize];
        if single.is_none() {
            typ = self.spread(typ, entries, row);
            self.stack[base..].sort_by_key(|entry| (entry.slot, entry.repeat));
        } else if typ.is_abstract {
            self.concrete(typ, None, row);
        }
        self.indent();
        self.out.push(b'<');
        self.out.extend_from_slice(tag.name.as_bytes());
        if let Some(uri) = tag.xmlns {
            self.declare("xmlns", uri);
        }
        if parent == NONE {
            self.root_gap = self.out.len();
        }
        let last = self.stack[base..].last().map_or(0, |last| last.slot);
        if !typ.attributes.is_empty() || last >= ANY_ATTRIBUTE {
            self.attributes(typ, base, row);
        }
        self.out.push(b'>');
        let head = self.out.len();
        let problems = self.problems.len();
        let mixed = usize::from(typ.content == Content::Mixed);
        self.inline += mixed;
        self.depth += 1;
        let explicit = match single {
            Some(value) => self.value(value, typ, element, row),
            None => self.children(typ, element, base, row),
        };
        self.depth -= 1;
        let entries = self.stack.len() > base;
        self.stack.truncate(base);
        if self.out.len() == head {
            self.inline -= mixed;
            let attributes_only = entries && typ.content == Content::Empty;
            if attributes_only || explicit {
                self.out.truncate(head - 1);
                self.out.extend_from_slice(b"/>");
                return true;
            }
            if parent != NONE {
                self.out.truncate(start);
                self.rows.truncate(row as usize);
                // a reported problem stands for the element; only a silent one counts as left out
                return self.problems.len() > problems;
            }
        } else {
            if self.rows.len() as u32 > row + 1 {
                self.indent();
            }
            self.inline -= mixed;
        }
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(tag.name.as_bytes());
        self.out.push(b'>');
        true
    }

    /// Content given as a single value. True: the element is meant even though nothing was written.
    fn value(&mut self, value: &'t Tree, typ: &'t Type, element: &'t Element, row: u32) -> bool {
        match typ.content {
            Content::Simple | Content::Mixed => self.text(value, typ, element, row),
            Content::Empty if *value == Tree::Bool(true) => return true,
            Content::Empty | Content::Children => {
                let (de, en) = (
                    "Hier stehen Unterelemente, die Zuordnung liefert aber einen einzelnen Wert.",
                    "Child elements belong here, but the mapping gives a single value.",
                );
                let hint = if typ.slot("code").is_some() {
                    "Für Codes: code(…) verwenden oder #{code: …} schreiben.".to_owned()
                } else {
                    names_hint(typ)
                };
                self.problem("KOP-X003", de, en, row);
                self.hint(hint);
            }
        }
        false
    }

    /// Content given as a map. True: the element is meant even though nothing was written.
    fn children(&mut self, typ: &'t Type, element: &'t Element, base: usize, row: u32) -> bool {
        // entries are sorted, and what is special comes last
        let special = self.stack[base..].last().is_some_and(|last| last.slot >= ORDER);
        let has = |slot: u16| special && self.stack[base..].iter().any(|entry| entry.slot == slot);
        let (ordered, nil) = (has(ORDER), has(XSI_NIL));
        if nil {
            let filled =
                has(TEXT) || ordered || self.stack[base..].iter().any(|entry| entry.slot < ATTRIBUTES);
            if filled || !element.nillable {
                let (de, en) = (
                    "\"@xsi:nil\" gilt hier nicht: das Schema lässt es nicht zu, oder das Element ist gefüllt.",
                    "\"@xsi:nil\" does not apply: the schema does not allow it, or the element is filled.",
                );
                self.problem("KOP-X003", de, en, row);
            }
            return true;
        }
        if let Some(any) = typ.any {
            self.number_any(any, base);
        }
        if ordered {
            self.ordered(typ, element, base, row);
            return true;
        }
        self.own_text(element, typ, base, row);
        if !typ.slots.is_empty() {
            if typ.flat {
                self.sequence(typ, base, row);
            } else {
                self.model(typ, base, row);
            }
        }
        false
    }

    fn indent(&mut self) {
        const BLANKS: &[u8; 1 + 2 * MAX_DEPTH] = &{
            let mut line = [b' '; 1 + 2 * MAX_DEPTH];
            line[0] = b'\n';
            line
        };
        if self.inline == 0 {
            self.out.extend_from_slice(&BLANKS[..=2 * self.depth]);
        }
    }

    /// Puts the children and attributes that the entries hold on the stack; returns the type, which `@xsi:type`
    /// may have changed.
    fn spread(&mut self, declared: &'t Type, from: Range<usize>, row: u32) -> &'t Type {
        let mut typ = declared;
        let wanted = from.clone().find_map(|at| match (self.stack[at].rest, self.stack[at].tree) {
            ("", Tree::Map(entries)) => {
                // keys are sorted, and names of elements come after `@`
                let mut early = entries.iter().take_while(|(key, _)| key.as_bytes().first() <= Some(&b'@'));
                early.find(|(key, _)| &**key == "@xsi:type").map(|(_, value)| value)
            }
            ("@xsi:type", value) => Some(value),
            _ => None,
        });
        let wanted = wanted.filter(|value| !absent(value));
        let foreign = matches!(wanted, Some(Tree::Text(name)) if name.starts_with('{'));
        if declared.is_abstract || (wanted.is_some() && !(foreign && declared.any_attribute)) {
            typ = self.concrete(declared, wanted, row).unwrap_or(declared);
        }
        for at in from {
            let Entry { rest, tree, .. } = self.stack[at];
            if !rest.is_empty() {
                self.put(typ, rest, tree, row);
                continue;
            }
            match tree {
                Tree::Map(entries) => {
                    for (key, value) in entries {
                        self.put(typ, key, value, row);
                    }
                }
                Tree::Nothing => {}
                value
                    if matches!(typ.content, Content::Simple | Content::Mixed)
                        && !matches!(value, Tree::List(_)) =>
                {
                    self.stack.push(Entry { slot: TEXT, repeat: 0, rest: "", tree: value });
                }
                _ => {
                    let (de, en) = (
                        "Die Zuordnung liefert hier eine Liste oder einen Wert, wo Unterelemente stehen.",
                        "The mapping gives a list or a value where child elements belong.",
                    );
                    self.problem("KOP-X003", de, en, row);
                }
            }
        }
        typ
    }

    fn concrete(&mut self, declared: &'t Type, wanted: Option<&Tree>, row: u32) -> Option<&'t Type> {
        if let Some(Tree::Text(name)) = wanted
            && let Some(chosen) = declared.choose(name)
        {
            return Some(&self.plan.types[chosen.typ as usize]);
        }
        let known: Vec<&str> = declared.derived.iter().take(20).map(|derived| &*derived.name).collect();
        let (de, en) = if wanted.is_some() {
            ("Den Typ in \"@xsi:type\" gibt es hier nicht.", "The type in \"@xsi:type\" does not exist here.")
        } else {
            (
                "Dieses Element braucht die Angabe seines Typs in \"@xsi:type\".",
                "This element needs its type in \"@xsi:type\".",
            )
        };
        self.problem("KOP-X007", de, en, row);
        self.hint(format!("Möglich: {}", known.join(", ")));
        None
    }

    /// Puts one entry of a map on the stack, in its slot.
    pub(crate) fn put(&mut self, typ: &'t Type, key: &'t str, tree: &'t Tree, row: u32) {
        if absent(tree) {
            if key == "#" && matches!(tree, Tree::List(_)) {
                self.stack.push(Entry { slot: ORDER, repeat: 0, rest: "", tree });
            }
            return;
        }
        if key.starts_with('{') {
            return self.put_any(typ, key, tree, row);
        }
        let (head, rest) = key.split_once('/').unwrap_or((key, ""));
        let slot = if let Some(name) = head.strip_prefix('@') {
            match name {
                "xsi:type" => Some(XSI_TYPE),
                "xsi:nil" if plain(tree).as_deref().and_then(truth) == Some(true) => Some(XSI_NIL),
                "xsi:nil" => return,
                _ if key.starts_with("@{") => return self.put_any_attribute(typ, key, tree, row),
                name => typ
                    .attributes
                    .iter()
                    .position(|attribute| &*attribute.name == name || &*attribute.qname == name)
                    .map(|at| ATTRIBUTES + at as u16),
            }
        } else {
            typ.slot(head).filter(|_| head != ANY).or_else(|| {
                match head {
                    "$" => return Some(TEXT),
                    "#" => return Some(ORDER),
                    _ => {}
                }
                let element = |slot: u16| &self.plan.elements[typ.slots[slot as usize].element as usize];
                let (_, local) = head.split_once(':')?;
                typ.slot(local).filter(|slot| &*element(*slot).qname == head)
            })
        };
        let Some(slot) = slot else {
            if typ.any_attribute && head.starts_with('@') {
                return self.put_any_attribute(typ, head, tree, row);
            }
            return self.unknown(typ, head, row);
        };
        match tree {
            Tree::List(items) if rest.is_empty() && slot < ATTRIBUTES => {
                for (item, repeat) in items.iter().filter(|item| !absent(item)).zip(1..) {
                    self.stack.push(Entry { slot, repeat, rest: "", tree: item });
                }
            }
            tree => self.stack.push(Entry { slot, repeat: 0, rest, tree }),
        }
    }

    pub(crate) fn unknown(&mut self, typ: &Type, head: &str, row: u32) {
        let (de, en) =
            ("Dieses Element gibt es hier im Schema nicht.", "The schema has no such element here.");
        let attribute = head.starts_with('@');
        let names = typ.slots.iter().map(|slot| &*slot.key).filter(|key| *key != ANY);
        let near: Vec<String> = if attribute {
            let names = typ.attributes.iter().map(|attribute| &*attribute.name);
            similar::near(&head[1..], names).into_iter().map(|name| format!("@{name}")).collect()
        } else {
            similar::near(head, names).into_iter().map(str::to_owned).collect()
        };
        let hint =
            if near.is_empty() { names_hint(typ) } else { format!("Gemeint: {}?", near.join(" oder ")) };
        let head: String = head.chars().take(80).collect();
        self.problem("KOP-X002", de, en, row);
        if let Some(problem) = self.problems.last_mut() {
            let path = problem.target.take().unwrap_or_default();
            problem.target = Some(if path.is_empty() { head } else { format!("{path}/{head}") });
        }
        self.hint(hint);
    }

    /// Text given as `$`, or fixed by the schema.
    fn own_text(&mut self, element: &'t Element, typ: &'t Type, base: usize, row: u32) {
        let given = self.stack[base..].iter().find(|entry| entry.slot == TEXT).map(|entry| entry.tree);
        match given {
            Some(value) if matches!(typ.content, Content::Simple | Content::Mixed) => {
                self.text(value, typ, element, row);
            }
            Some(_) => self.no_text(row),
            None => {
                let children = self.stack[base..].iter().any(|entry| entry.slot < ATTRIBUTES);
                if children && typ.content == Content::Simple {
                    let (de, en) =
                        ("Hier steht Text, keine Unterelemente.", "Text belongs here, not child elements.");
                    self.problem("KOP-X003", de, en, row);
                }
            }
        }
    }

    pub(crate) fn no_text(&mut self, row: u32) {
        let (de, en) = (
            "Dieses Element hat keinen eigenen Text (\"$\").",
            "This element has no text of its own (\"$\").",
        );
        self.problem("KOP-X003", de, en, row);
    }

    pub(crate) fn text(&mut self, value: &'t Tree, typ: &Type, element: &Element, row: u32) {
        let simple = typ.simple.as_deref();
        let list = simple.is_some_and(is_list);
        let Some(value) = plain(value).or_else(|| joined(value).filter(|_| list)) else {
            let (de, en) = ("Hier steht ein einzelner Wert.", "A single value belongs here.");
            return self.problem("KOP-X003", de, en, row);
        };
        let fixed = element.fixed.as_deref();
        if let Some(fixed) = fixed.filter(|_| simple == Some("boolean"))
            && same_value(fixed, &value, simple)
        {
            // libxml2 takes `true` for something else than the `1` of the schema
            self.out.extend_from_slice(fixed.as_bytes());
        } else if fixed.is_some_and(|fixed| !same_value(fixed, &value, simple)) {
            let (de, en) = (
                "Das Schema gibt den Wert dieses Elements fest vor.",
                "The schema fixes the value of this element.",
            );
            self.problem("KOP-X007", de, en, row);
        } else if let Err(text::Illegal(c)) = text::push(&mut self.out, &value, false) {
            let (de, en) = illegal();
            self.problem("KOP-X004", de, en, row);
            self.hint(format!(
                "{} steht meist unsichtbar im Text, etwa nach dem Einfügen aus einem anderen Programm. Die Angabe neu tippen lassen, oder das Zeichen im Skript ersetzen.",
                advice::character(c)
            ));
            if let Some(problem) = self.problems.pop() {
                self.problems.push(problem.with_value(&value));
            }
        }
    }

    /// Writes a fixed value that the schema demands and the mapping need not give.
    pub(crate) fn fixed(&mut self, number: u32, parent: u32) -> bool {
        let element = &self.plan.elements[number as usize];
        let typ = &self.plan.types[element.typ as usize];
        let Some(fixed) = element.fixed.as_deref().filter(|_| typ.content == Content::Simple) else {
            return false;
        };
        if typ.attributes.iter().any(|attribute| attribute.required) {
            return false;
        }
        self.rows.push(Row { parent, element: number, repeat: 0 });
        if let Some(at) = element.namespace {
            self.used[at as usize] = true;
        }
        self.indent();
        for part in [b"<".as_slice(), element.qname.as_bytes(), b">"] {
            self.out.extend_from_slice(part);
        }
        let _ = text::push(&mut self.out, fixed, false);
        for part in [b"</".as_slice(), element.qname.as_bytes(), b">"] {
            self.out.extend_from_slice(part);
        }
        true
    }

    /// Notes a problem with an element already on the path table.
    pub(crate) fn problem(&mut self, code: &str, de: &str, en: &str, row: u32) {
        if self.problems.len() < MAX_PROBLEMS {
            let path = target(self.plan, &self.rows, row);
            self.problems.push(Diagnostic::new(code, de, en).with_target(path));
        }
    }

    pub(crate) fn hint(&mut self, hint: String) {
        if let Some(problem) = self.problems.last_mut() {
            problem.hint = Some(hint);
        }
    }
}

pub(crate) fn illegal() -> (&'static str, &'static str) {
    (
        "Der Wert enthält ein Zeichen, das XML nicht erlaubt.",
        "The value holds a character that XML does not allow.",
    )
}

/// The names a type knows, for a hint.
pub(crate) fn names_hint(typ: &Type) -> String {
    let names: Vec<&str> = typ.slots.iter().take(12).map(|slot| &*slot.key).collect();
    if names.is_empty() {
        return "Hier gibt es keine Unterelemente.".to_owned();
    }
    let more = if typ.slots.len() > names.len() { ", …" } else { "" };
    format!("Hier gibt es: {}{more}", names.join(", "))
}
