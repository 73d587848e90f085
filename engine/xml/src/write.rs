// SPDX-License-Identifier: EUPL-1.2
//! Writes a tree as XML along a plan. One pass, no look-ups by hash: what a map gives is sorted into the slots
//! of its type on one shared stack, then the content model is walked. Knows nothing of files or libxml2.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use kop_core::{Diagnostic, Tree};

use crate::{
    message::{WriteOptions, Written},
    paths::{NONE, Paths, Row, target},
    plan::{Content, Element, Plan, Type},
    text,
};

/// Deepest nesting of a message; XBau needs 11.
const MAX_DEPTH: usize = 100;
/// Largest message.
const MAX_BYTES: usize = 64 << 20;
/// Problems reported at most.
const MAX_PROBLEMS: usize = 50;

/// Slots from here on are attributes.
pub(crate) const ATTRIBUTES: u16 = 0x8000;
/// The text of an element that has attributes (`$`).
pub(crate) const TEXT: u16 = 0xfffd;
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
    pub(crate) rows: Vec<Row>,
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) used: Vec<bool>,
    pub(crate) xsi: bool,
    depth: usize,
    root_gap: usize,
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
        rows: Vec::with_capacity(256),
        problems: Vec::new(),
        used: vec![false; plan.namespaces.len()],
        xsi: false,
        depth: 0,
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
        let single = (to == from + 1 && self.stack[from].rest.is_empty()).then(|| self.stack[from].tree);
        let mut typ = &plan.types[element.typ as usize];
        if !matches!(single, Some(Tree::Text(_) | Tree::Bool(_) | Tree::Int(_))) {
            typ = self.spread(typ, from, to, row);
            self.stack[base..].sort_by_key(|entry| (entry.slot, entry.repeat));
        } else if typ.is_abstract {
            self.concrete(typ, None, row);
        }
        if let Some(at) = element.namespace {
            self.used[at as usize] = true;
        }
        self.indent();
        self.out.push(b'<');
        self.out.extend_from_slice(element.qname.as_bytes());
        if parent == NONE {
            self.root_gap = self.out.len();
        }
        if !typ.attributes.is_empty()
            || self.stack.last().is_some_and(|last| last.slot >= XSI_TYPE && base < self.stack.len())
        {
            self.attributes(typ, base, row);
        }
        self.out.push(b'>');
        let head = self.out.len();
        let problems = self.problems.len();
        if let Some(value @ (Tree::Text(_) | Tree::Bool(_) | Tree::Int(_))) = single {
            match typ.content {
                Content::Simple | Content::Mixed => self.text(value, element, row),
                Content::Empty if *value == Tree::Bool(true) => {
                    self.out.truncate(head - 1);
                    self.out.extend_from_slice(b"/>");
                    return true;
                }
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
        } else {
            self.own_text(element, typ, base, row);
            if !typ.slots.is_empty() {
                self.depth += 1;
                if typ.flat {
                    self.sequence(typ, base, row);
                } else {
                    self.model(typ, base, row);
                }
                self.depth -= 1;
            }
        }
        let entries = self.stack.len() > base;
        let nil = self.stack[base..].last().is_some_and(|last| last.slot == XSI_NIL);
        self.stack.truncate(base);
        if self.out.len() == head {
            let attributes_only = entries && typ.content == Content::Empty;
            if attributes_only || (nil && element.nillable) {
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
        }
        if self.rows.len() as u32 > row + 1 {
            self.indent();
        }
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(element.qname.as_bytes());
        self.out.push(b'>');
        true
    }

    fn indent(&mut self) {
        const BLANKS: &[u8; 1 + 2 * MAX_DEPTH] = &{
            let mut line = [b' '; 1 + 2 * MAX_DEPTH];
            line[0] = b'\n';
            line
        };
        self.out.extend_from_slice(&BLANKS[..=2 * self.depth]);
    }

    /// Puts the children and attributes that the entries hold on the stack; returns the type, which `@xsi:type`
    /// may have changed.
    fn spread(&mut self, declared: &'t Type, from: usize, to: usize, row: u32) -> &'t Type {
        let mut typ = declared;
        if declared.is_abstract {
            let wanted = (from..to).find_map(|at| match (self.stack[at].rest, self.stack[at].tree) {
                ("", map) => map.get("@xsi:type"),
                ("@xsi:type", value) => Some(value),
                _ => None,
            });
            typ = self.concrete(declared, wanted, row).unwrap_or(declared);
        }
        for at in from..to {
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
        let name = match wanted {
            Some(Tree::Text(name)) => name.rsplit(':').next(),
            _ => None,
        };
        let found = name.and_then(|name| declared.derived.iter().find(|(known, ..)| &**known == name));
        if let Some((_, _, number)) = found {
            return Some(&self.plan.types[*number as usize]);
        }
        let known: Vec<&str> = declared.derived.iter().map(|(name, ..)| &**name).collect();
        let (de, en) = (
            "Dieses Element braucht die Angabe seines Typs in \"@xsi:type\".",
            "This element needs its type in \"@xsi:type\".",
        );
        self.problem("KOP-X007", de, en, row);
        self.hint(format!("Möglich: {}", known.join(", ")));
        None
    }

    /// Puts one entry of a map on the stack, in its slot.
    fn put(&mut self, typ: &'t Type, key: &'t str, tree: &'t Tree, row: u32) {
        if absent(tree) {
            return;
        }
        let (head, rest) = key.split_once('/').unwrap_or((key, ""));
        let slot = if let Some(name) = head.strip_prefix('@') {
            match name {
                "xsi:type" => Some(XSI_TYPE),
                "xsi:nil" => Some(XSI_NIL),
                name => typ
                    .attributes
                    .iter()
                    .position(|attribute| &*attribute.name == name || &*attribute.qname == name)
                    .map(|at| ATTRIBUTES + at as u16),
            }
        } else if head == "$" {
            Some(TEXT)
        } else {
            typ.slot(head).or_else(|| {
                let element = |slot: u16| &self.plan.elements[typ.slots[slot as usize].element as usize];
                let (_, local) = head.split_once(':')?;
                typ.slot(local).filter(|slot| &*element(*slot).qname == head)
            })
        };
        let Some(slot) = slot else {
            return self.unknown(typ, head, row);
        };
        match tree {
            Tree::List(items) if rest.is_empty() => {
                for (item, repeat) in items.iter().filter(|item| !absent(item)).zip(1..) {
                    self.stack.push(Entry { slot, repeat, rest: "", tree: item });
                }
            }
            tree => self.stack.push(Entry { slot, repeat: 0, rest, tree }),
        }
    }

    fn unknown(&mut self, typ: &Type, head: &str, row: u32) {
        let (de, en) =
            ("Dieses Element gibt es hier im Schema nicht.", "The schema has no such element here.");
        let attribute = head.starts_with('@');
        let names = typ.slots.iter().map(|slot| &*slot.key);
        let near: Vec<String> = if attribute {
            let names = typ.attributes.iter().map(|attribute| &*attribute.name);
            text::near(&head[1..], names).into_iter().map(|name| format!("@{name}")).collect()
        } else {
            text::near(head, names).into_iter().map(str::to_owned).collect()
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
                self.text(value, element, row);
            }
            Some(_) => {
                let (de, en) = (
                    "Dieses Element hat keinen eigenen Text (\"$\").",
                    "This element has no text of its own (\"$\").",
                );
                self.problem("KOP-X003", de, en, row);
            }
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

    fn text(&mut self, value: &Tree, element: &Element, row: u32) {
        let Some(value) = plain(value) else {
            let (de, en) = ("Hier steht ein einzelner Wert.", "A single value belongs here.");
            return self.problem("KOP-X003", de, en, row);
        };
        let boolean = self.plan.types[element.typ as usize].simple.as_deref() == Some("boolean");
        let fixed = element.fixed.as_deref();
        if let Some(fixed) =
            fixed.filter(|fixed| boolean && truth(fixed).is_some() && truth(fixed) == truth(&value))
        {
            self.out.extend_from_slice(fixed.as_bytes());
        } else if fixed.is_some_and(|fixed| fixed != &*value) {
            let (de, en) = (
                "Das Schema gibt den Wert dieses Elements fest vor.",
                "The schema fixes the value of this element.",
            );
            self.problem("KOP-X007", de, en, row);
        } else if text::push(&mut self.out, &value, false).is_err() {
            let (de, en) = illegal();
            self.problem("KOP-X004", de, en, row);
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

/// A single value as text; blank text is no value.
pub(crate) fn plain(tree: &Tree) -> Option<Cow<'_, str>> {
    match tree {
        Tree::Text(text) => Some(Cow::Borrowed(text)),
        Tree::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Tree::Int(value) => Some(Cow::Owned(value.to_string())),
        Tree::Nothing | Tree::List(_) | Tree::Map(_) => None,
    }
}

/// `xs:boolean` has two spellings of each value.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Whether nothing is to be written for a value. The attributes of a code list alone (house style:
/// `#{code: (), "@listVersionID": "1"}`) are nothing. Deeper than a message may be counts as present, so that
/// the writer refuses it.
fn absent(tree: &Tree) -> bool {
    fn look(tree: &Tree, depth: usize) -> bool {
        match tree {
            Tree::Nothing => true,
            Tree::Text(text) => text.trim().is_empty(),
            Tree::Bool(_) | Tree::Int(_) => false,
            _ if depth > MAX_DEPTH => false,
            Tree::List(items) => items.iter().all(|item| look(item, depth + 1)),
            Tree::Map(entries) => entries.iter().all(|(key, value)| {
                matches!(&**key, "@listURI" | "@listVersionID") || look(value, depth + 1)
            }),
        }
    }
    look(tree, 0)
}
