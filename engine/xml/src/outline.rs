// SPDX-License-Identifier: EUPL-1.2
//! A message's structure as text, for people who write a mapping: names as keys of the tree, cardinalities,
//! types, choices.

use std::fmt::Write;

use crate::{
    model::GroupKind,
    plan::{Particle, Plan, Type},
};

/// Longest outline; beyond it deeper levels are cut.
const MAX_LINES: usize = 6_000;
const MAX_DEPTH: usize = 24;

pub(crate) fn outline(plan: &Plan) -> String {
    let root = &plan.elements[plan.root as usize];
    let mut lines = Lines { plan, text: String::new(), count: 0, open: Vec::new() };
    let _ = writeln!(lines.text, "{}", root.name);
    lines.inside(root.typ, 1);
    lines.text
}

struct Lines<'p> {
    plan: &'p Plan,
    text: String,
    count: usize,
    open: Vec<u32>,
}

impl Lines<'_> {
    fn line(&mut self, depth: usize, words: &str) {
        self.count += 1;
        let _ = writeln!(self.text, "{}{words}", "  ".repeat(depth));
    }

    fn inside(&mut self, number: u32, depth: usize) {
        let plan = self.plan;
        let typ = &plan.types[number as usize];
        for attribute in &typ.attributes {
            let fixed = attribute.fixed.as_ref().map(|value| format!(" = \"{value}\"")).unwrap_or_default();
            let times = if attribute.required { "1" } else { "0..1" };
            self.line(depth, &format!("@{}  {times}  {}{fixed}", attribute.name, attribute.type_name));
        }
        self.open.push(number);
        self.particle(typ, &typ.particle, depth);
        // what may stand for a concrete type is not listed: all codes derive from one
        for derived in typ.derived.iter().filter(|_| typ.is_abstract) {
            self.line(depth, &format!("(\"@xsi:type\": \"{}\")", derived.name));
            if !self.open.contains(&derived.typ) {
                self.inside(derived.typ, depth + 1);
            }
        }
        self.open.pop();
    }

    fn particle(&mut self, typ: &Type, particle: &Particle, depth: usize) {
        match particle {
            Particle::Element { slot, min, max } => self.element(typ, *slot, &times(*min, *max), depth),
            Particle::Group { kind, min, max, children, .. } => {
                let plain = (*min, *max) == (1, 1) && *kind != GroupKind::Choice;
                let depth = if plain {
                    depth
                } else {
                    let word = if *kind == GroupKind::Choice { "entweder" } else { "zusammen" };
                    self.line(depth, &format!("({word}  {})", times(*min, *max)));
                    depth + 1
                };
                for child in children {
                    self.particle(typ, child, depth);
                }
            }
        }
    }

    fn element(&mut self, typ: &Type, slot: u16, times: &str, depth: usize) {
        let plan = self.plan;
        let key = &typ.slots[slot as usize].key;
        let element = &plan.elements[typ.slots[slot as usize].element as usize];
        if element.raw {
            return self.line(depth, &format!("{{Namensraum}}Name  {times}  (beliebige Elemente)"));
        }
        let inner = &plan.types[element.typ as usize];
        let mut words = format!("{key}  {times}");
        let name = inner.name.as_deref().or(inner.simple.as_deref());
        if let Some(name) = name {
            let _ = write!(words, "  {name}");
        }
        if let Some(list) = &inner.list {
            let _ = write!(words, "  Codeliste {}", list.short);
        }
        if let Some(fixed) = &element.fixed {
            let _ = write!(words, " = \"{fixed}\"");
        } else if let Some(default) = &element.default {
            let _ = write!(words, " (sonst \"{default}\")");
        }
        let cut = self.open.contains(&element.typ) || depth >= MAX_DEPTH || self.count >= MAX_LINES;
        let has_more = !inner.slots.is_empty() || !inner.attributes.is_empty() || inner.is_abstract;
        if cut && has_more {
            words.push_str("  …");
        }
        self.line(depth, &words);
        if !cut {
            self.inside(element.typ, depth + 1);
        }
    }
}

fn times(min: u32, max: u32) -> String {
    match (min, max) {
        (1, 1) => "1".to_owned(),
        (min, u32::MAX) => format!("{min}..n"),
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min}..{max}"),
    }
}
