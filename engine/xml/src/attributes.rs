// SPDX-License-Identifier: EUPL-1.2
//! The writer's part for attributes: given ones, fixed ones, code lists with their pinned versions, `xsi:type`
//! and `xsi:nil`.

use std::{borrow::Cow, collections::BTreeMap};

use kop_core::Tree;

use crate::{
    plan::{Attribute, Type, short_name},
    text,
    value::{joined, plain, same_value},
    write::{ANY_ATTRIBUTE, ATTRIBUTES, Writer, XSI_NIL, XSI_TYPE, illegal},
};

impl<'t> Writer<'t> {
    /// Writes the attributes of the element whose entries begin at `base`.
    pub(crate) fn attributes(&mut self, typ: &'t Type, base: usize, row: u32) {
        let given = self.stack[base..].partition_point(|entry| entry.slot < ATTRIBUTES) + base;
        for (number, attribute) in typ.attributes.iter().enumerate() {
            let slot = ATTRIBUTES + number as u16;
            let value = self.stack[given..].iter().find(|entry| entry.slot == slot).map(|entry| entry.tree);
            // `false` for a list's attribute: the writer is not to add it
            let off = value == Some(&Tree::Bool(false)) && of_list(&attribute.name);
            let tree = value.filter(|_| !off);
            let value = tree.and_then(|tree| plain(tree).or_else(|| several(tree, attribute)));
            if tree.is_some() && value.is_none() {
                let (de, en) = ("Hier steht ein einzelner Wert.", "A single value belongs here.");
                self.attribute_problem("KOP-X003", de, en, row, attribute);
                continue;
            }
            let value = match (&attribute.fixed, value) {
                (Some(fixed), Some(given)) if !same_value(fixed, &given, Some(&attribute.type_name)) => {
                    let (de, en) = (
                        "Das Schema gibt den Wert dieses Attributs fest vor.",
                        "The schema fixes the value of this attribute.",
                    );
                    self.attribute_problem("KOP-X007", de, en, row, attribute);
                    continue;
                }
                (_, Some(given)) => given,
                (_, None) if off && !attribute.required => continue,
                (fixed, None) => match self.supplied(typ, attribute, fixed.as_deref(), given) {
                    Some(value) => Cow::Borrowed(value),
                    None if attribute.required => {
                        self.attribute_missing(typ, attribute, row);
                        continue;
                    }
                    None => continue,
                },
            };
            if let Some(at) = attribute.namespace {
                self.used[at as usize] = true;
            }
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.qname.as_bytes());
            self.out.extend_from_slice(b"=\"");
            if text::push(&mut self.out, &value, true).is_err() {
                let (de, en) = illegal();
                self.attribute_problem("KOP-X004", de, en, row, attribute);
            }
            self.out.push(b'"');
        }
        self.xsi_attributes(row, given);
    }

    fn xsi_attributes(&mut self, row: u32, given: usize) {
        for at in given..self.stack.len() {
            let entry = self.stack[at];
            match entry.slot {
                XSI_NIL => {
                    self.xsi = true;
                    self.out.extend_from_slice(b" xsi:nil=\"true\"");
                }
                XSI_TYPE => {
                    let element = &self.plan.elements[self.rows[row as usize].element as usize];
                    let Tree::Text(name) = entry.tree else { continue };
                    if name.starts_with('{') {
                        self.any_type(name, row);
                        continue;
                    }
                    let Some(chosen) = self.plan.types[element.typ as usize].choose(name) else { continue };
                    self.xsi = true;
                    if let Some(at) = chosen.namespace {
                        self.used[at as usize] = true;
                    }
                    for part in [" xsi:type=\"", &chosen.qname, "\""] {
                        self.out.extend_from_slice(part.as_bytes());
                    }
                }
                ANY_ATTRIBUTE => self.any_attribute(entry.rest, entry.tree, row),
                _ => {}
            }
        }
    }

    /// What the writer itself knows for an attribute: fixed values, the URN of the code list, its pinned version.
    fn supplied(
        &self,
        typ: &'t Type,
        attribute: &'t Attribute,
        fixed: Option<&'t str>,
        given: usize,
    ) -> Option<&'t str> {
        let of_list = of_list(&attribute.name);
        if fixed.is_some() {
            return fixed.filter(|_| attribute.required || of_list);
        }
        if !of_list {
            return None;
        }
        let pins: &'t BTreeMap<String, String> = self.pins;
        let pin = |urn: &str| pins.get(urn).or_else(|| pins.get(short_name(urn))).map(String::as_str);
        if &*attribute.name == "listVersionID"
            && let Some(urn) = self.chosen_list(typ, given)
        {
            return pin(urn);
        }
        let list = typ.list.as_ref()?;
        match &*attribute.name {
            "listVersionID" => pin(&list.urn),
            // a suggested list is taken once its version is pinned: that is the author's choice
            _ => (attribute.required && (!list.suggested || pin(&list.urn).is_some())).then_some(&*list.urn),
        }
    }

    /// The list that the mapping chose with `@listURI`.
    fn chosen_list(&self, typ: &Type, given: usize) -> Option<&'t str> {
        let at = typ.attributes.iter().position(|attribute| &*attribute.name == "listURI")?;
        let slot = ATTRIBUTES + at as u16;
        match self.stack[given..].iter().find(|entry| entry.slot == slot)?.tree {
            Tree::Text(urn) => Some(urn),
            _ => None,
        }
    }

    fn attribute_missing(&mut self, typ: &Type, attribute: &Attribute, row: u32) {
        match &typ.list {
            Some(list) if matches!(&*attribute.name, "listURI" | "listVersionID") => {
                let (de, en) = (
                    "Die Version dieser Codeliste ist nicht festgelegt.",
                    "The version of this code list is not pinned.",
                );
                if &*attribute.name == "listURI" {
                    return; // its version is missing too and says the same
                }
                self.attribute_problem("KOP-X006", de, en, row, attribute);
                self.hint(format!(
                    "In mapping.toml: codelisten = {{ {} = \"…\" }} ({})",
                    list.short, list.urn
                ));
            }
            _ => {
                let (de, en) = ("Ein Pflichtattribut fehlt.", "A mandatory attribute is missing.");
                self.attribute_problem("KOP-X001", de, en, row, attribute);
            }
        }
    }

    fn attribute_problem(&mut self, code: &str, de: &str, en: &str, row: u32, attribute: &Attribute) {
        self.problem(code, de, en, row);
        if let Some(problem) = self.problems.last_mut() {
            let path = problem.target.take().unwrap_or_default();
            let slash = if path.is_empty() { "" } else { "/" };
            problem.target = Some(format!("{path}{slash}@{}", attribute.name));
        }
    }
}

/// The attributes that name a code list.
fn of_list(name: &str) -> bool {
    matches!(name, "listURI" | "listVersionID")
}

/// The items of an `xs:list`, or text in ordered form.
fn several<'t>(tree: &'t Tree, attribute: &Attribute) -> Option<Cow<'t, str>> {
    joined(tree).filter(|_| attribute.list).or_else(|| blank(tree))
}

/// `{"#": []}`: there, but empty; `{"#": [{"$": " "}]}`: blank.
pub(crate) fn blank(tree: &Tree) -> Option<Cow<'_, str>> {
    let Tree::Map(entries) = tree else { return None };
    let [(key, Tree::List(items))] = entries.as_slice() else { return None };
    match items.as_slice() {
        [] if &**key == "#" => Some(Cow::Borrowed("")),
        [Tree::Map(entries)] if &**key == "#" => match entries.as_slice() {
            [(key, Tree::Text(text))] if &**key == "$" => Some(Cow::Borrowed(text)),
            _ => None,
        },
        _ => None,
    }
}
