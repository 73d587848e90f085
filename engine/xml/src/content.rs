// SPDX-License-Identifier: EUPL-1.2
//! The writer's walk through a content model: order, repeats, choices, what is mandatory. The entries of the
//! element lie sorted by slot on the writer's stack. The ordered form (`#`) goes as it stands.

use kop_core::Tree;

use crate::{
    arrange::{Step, arrange},
    plan::{Content, Element, Particle, Type},
    write::{ATTRIBUTES, Entry, ORDER, TEXT, Writer},
};

impl<'t> Writer<'t> {
    /// A plain sequence: entries and slots are both in order.
    pub(crate) fn sequence(&mut self, typ: &'t Type, base: usize, row: u32) {
        let end = self.stack.len();
        let mut at = base;
        for (number, slot) in typ.slots.iter().enumerate() {
            if at < end && usize::from(self.stack[at].slot) == number {
                let first = at;
                while at < end && usize::from(self.stack[at].slot) == number {
                    at += 1;
                }
                let written = self.repeats(typ, number as u16, first, at, row);
                if written > slot.max {
                    self.too_many(typ, number as u16, slot.max, row);
                }
                if written >= slot.min {
                    continue;
                }
            } else if slot.min == 0 {
                continue;
            }
            if !self.fixed(slot.element, row) {
                self.missing(typ, number as u16, row);
            }
        }
    }

    /// Writes all entries of one slot; returns how many elements that made.
    fn repeats(&mut self, typ: &'t Type, slot: u16, first: usize, end: usize, row: u32) -> u32 {
        let element = typ.slots[slot as usize].element;
        if self.stack[first].repeat == 0 {
            if self.stack[end - 1].repeat != 0 {
                self.conflict(typ, slot, row);
            }
            return u32::from(self.element(element, first, end, row, 0));
        }
        let many = end - first > 1;
        let mut written = 0;
        for at in first..end {
            written += u32::from(self.element(element, at, at + 1, row, if many { written + 1 } else { 0 }));
        }
        written
    }

    /// Any content model.
    pub(crate) fn model(&mut self, typ: &'t Type, base: usize, row: u32) {
        let slots = typ.slots.len();
        let (cursors, steps) = (self.cursors.len(), self.steps.len());
        // first the slots' next entries, then how many elements they make
        self.cursors.resize(cursors + 2 * slots, 0);
        let mut last = (u16::MAX, u32::MAX);
        for at in base..self.stack.len() {
            let Entry { slot, repeat, .. } = self.stack[at];
            if slot >= ATTRIBUTES {
                break;
            }
            if slot != last.0 {
                self.cursors[cursors + usize::from(slot)] = at as u32;
            } else if last.1 == 0 && repeat != 0 {
                self.conflict(typ, slot, row);
            }
            if (slot, repeat) != last {
                self.cursors[cursors + slots + usize::from(slot)] += 1;
            }
            last = (slot, repeat);
        }
        arrange(typ, &mut self.cursors[cursors + slots..], &mut self.steps);
        for at in steps..self.steps.len() {
            match self.steps[at] {
                Step::Take { slot, count, min } => {
                    let written = self.take(typ, slot, count, cursors, row);
                    if written < min && !self.fixed(typ.slots[slot as usize].element, row) {
                        self.missing(typ, slot, row);
                    }
                }
                Step::Missing { branches } => self.missing_choice(typ, branches, row),
                Step::Left { slot } => self.left_over(typ, slot, row),
            }
        }
        self.steps.truncate(steps);
        self.cursors.truncate(cursors);
    }

    /// Writes the next `count` elements of a slot.
    fn take(&mut self, typ: &'t Type, slot: u16, count: u32, cursors: usize, row: u32) -> u32 {
        let cursor = cursors + usize::from(slot);
        let length = self.stack.len();
        let same = |writer: &Self, at: usize| at < length && writer.stack[at].slot == slot;
        let mut at = self.cursors[cursor] as usize;
        let mut written = 0;
        for _ in 0..count {
            let (first, repeat) = (at, self.stack[at].repeat);
            while same(self, at) && self.stack[at].repeat == repeat {
                at += 1;
            }
            // only one among several is numbered
            let several = repeat > 1 || (repeat == 1 && same(self, at));
            let number = if several { repeat } else { 0 };
            written += u32::from(self.element(typ.slots[slot as usize].element, first, at, row, number));
        }
        self.cursors[cursor] = at as u32;
        written
    }

    /// The ordered form: a list of maps with one entry each, written as it stands.
    pub(crate) fn ordered(&mut self, typ: &'t Type, element: &'t Element, base: usize, row: u32) {
        let (de, en) = (
            "Die geordnete Form (\"#\") ist eine Liste von Maps mit je einem Eintrag und steht allein.",
            "The ordered form (\"#\") is a list of maps with one entry each and stands alone.",
        );
        let mut found = None;
        let mut others = false;
        for entry in &self.stack[base..] {
            match entry.slot {
                ORDER => found = Some(entry.tree),
                slot => others |= slot < ATTRIBUTES || slot == TEXT,
            }
        }
        let Some(Tree::List(items)) = found.filter(|_| !others) else {
            return self.problem("KOP-X003", de, en, row);
        };
        let mut counts = vec![0_u32; typ.slots.len()];
        for item in items {
            let entry = match item {
                Tree::Map(entries) => entries.as_slice(),
                _ => &[],
            };
            let [(key, value)] = entry else {
                self.problem("KOP-X003", de, en, row);
                continue;
            };
            if &**key == "$" {
                if matches!(typ.content, Content::Simple | Content::Mixed) {
                    self.text(value, typ, element, row);
                } else {
                    self.no_text(row);
                }
                continue;
            }
            let first = self.stack.len();
            self.put(typ, key, value, row);
            for at in first..self.stack.len() {
                let slot = self.stack[at].slot;
                let Some(count) = counts.get_mut(usize::from(slot)) else {
                    self.problem("KOP-X003", de, en, row);
                    break;
                };
                *count += 1;
                let number = if typ.slots[slot as usize].many { *count } else { 0 };
                self.element(typ.slots[slot as usize].element, at, at + 1, row, number);
            }
            self.stack.truncate(first);
        }
    }

    fn missing_choice(&mut self, typ: &'t Type, branches: &'t [Particle], row: u32) {
        let mut names = Vec::new();
        for child in branches {
            let slot = match child {
                Particle::Element { slot, .. } => Some(slot),
                Particle::Group { slots, .. } => slots.first(),
            };
            names.extend(slot.map(|slot| &*typ.slots[*slot as usize].key));
        }
        let (de, en) = (
            "Hier muss eines der möglichen Elemente gefüllt sein.",
            "One of the possible elements must be filled here.",
        );
        self.problem("KOP-X001", de, en, row);
        self.hint(format!("Eines von: {}", names.join(", ")));
    }

    fn missing(&mut self, typ: &Type, slot: u16, row: u32) {
        let (de, en) = ("Ein Pflichtelement ist leer.", "A mandatory element is empty.");
        self.slot_problem("KOP-X001", de, en, typ, slot, row);
    }

    fn too_many(&mut self, typ: &Type, slot: u16, max: u32, row: u32) {
        let (de, en) = ("Dieses Element kommt zu oft vor.", "This element occurs too often.");
        self.slot_problem("KOP-X003", de, en, typ, slot, row);
        self.hint(format!("Erlaubt: höchstens {max}"));
    }

    fn conflict(&mut self, typ: &Type, slot: u16, row: u32) {
        let (de, en) = (
            "Dieses Element wird zugleich als Liste und mit Schrägstrich-Schlüsseln gefüllt.",
            "This element is filled both as a list and by slash keys.",
        );
        self.slot_problem("KOP-X003", de, en, typ, slot, row);
    }

    fn left_over(&mut self, typ: &Type, slot: u16, row: u32) {
        let (de, en) = (
            "Dieses Element kommt zu oft vor oder schließt sich mit einem anderen aus.",
            "This element occurs too often, or another one excludes it.",
        );
        self.slot_problem("KOP-X005", de, en, typ, slot, row);
    }

    fn slot_problem(&mut self, code: &str, de: &str, en: &str, typ: &Type, slot: u16, row: u32) {
        self.problem(code, de, en, row);
        if let Some(problem) = self.problems.last_mut() {
            let path = problem.target.take().unwrap_or_default();
            let slash = if path.is_empty() { "" } else { "/" };
            problem.target = Some(format!("{path}{slash}{}", typ.slots[slot as usize].key));
        }
    }
}
