// SPDX-License-Identifier: EUPL-1.2
//! The writer's walk through a content model: order, repeats, choices, what is mandatory. The entries of the
//! element lie sorted by slot on the writer's stack.

use crate::{
    model::GroupKind,
    plan::{Particle, Type},
    write::{ATTRIBUTES, Writer},
};

/// No more entries for a slot.
const DONE: u32 = u32::MAX;

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
        let cursors = self.cursors.len();
        self.cursors.resize(cursors + typ.slots.len(), DONE);
        for at in (base..self.stack.len()).rev() {
            let slot = self.stack[at].slot;
            if slot < ATTRIBUTES {
                self.cursors[cursors + usize::from(slot)] = at as u32;
            }
        }
        self.particle(typ, &typ.particle, cursors, row);
        for number in 0..typ.slots.len() {
            if self.cursors[cursors + number] != DONE {
                self.left_over(typ, number as u16, row);
            }
        }
        self.cursors.truncate(cursors);
    }

    fn present(&self, cursors: usize, slot: u16) -> bool {
        self.cursors[cursors + usize::from(slot)] != DONE
    }

    fn covers(&self, cursors: usize, particle: &Particle) -> usize {
        match particle {
            Particle::Element { slot, .. } => usize::from(self.present(cursors, *slot)),
            Particle::Group { slots, .. } => {
                slots.iter().filter(|slot| self.present(cursors, **slot)).count()
            }
            Particle::Any => 0,
        }
    }

    fn particle(&mut self, typ: &'t Type, particle: &'t Particle, cursors: usize, row: u32) {
        match particle {
            Particle::Any => {}
            Particle::Element { slot, min, max } => {
                let written = self.take(typ, *slot, *max, cursors, row);
                if written < *min && !self.fixed(typ.slots[*slot as usize].element, row) {
                    self.missing(typ, *slot, row);
                }
            }
            Particle::Group { kind, max, children, emptiable, .. } => {
                if self.covers(cursors, particle) == 0 {
                    if !emptiable {
                        self.missing_group(typ, *kind, children, cursors, row);
                    }
                    return;
                }
                let mut round = 0;
                let mut before = usize::MAX;
                while round < *max {
                    // an entry that no branch takes must not turn the loop for ever
                    let left = self.remaining(cursors, typ);
                    if self.covers(cursors, particle) == 0 || left == before {
                        break;
                    }
                    before = left;
                    round += 1;
                    match kind {
                        GroupKind::Sequence | GroupKind::All => {
                            for child in children {
                                self.particle(typ, child, cursors, row);
                            }
                        }
                        GroupKind::Choice => {
                            let best = children.iter().rev().max_by_key(|child| self.covers(cursors, child));
                            if let Some(branch) = best {
                                self.particle(typ, branch, cursors, row);
                            }
                        }
                    }
                }
            }
        }
    }

    fn remaining(&self, cursors: usize, typ: &Type) -> usize {
        let open = |number: &usize| self.cursors[cursors + number] != DONE;
        (0..typ.slots.len())
            .filter(open)
            .map(|number| self.stack.len() - self.cursors[cursors + number] as usize)
            .sum()
    }

    /// Writes up to `max` elements of a slot.
    fn take(&mut self, typ: &'t Type, slot: u16, max: u32, cursors: usize, row: u32) -> u32 {
        let cursor = self.cursors[cursors + usize::from(slot)];
        if cursor == DONE {
            return 0;
        }
        let first = cursor as usize;
        let length = self.stack.len();
        let same = |writer: &Self, at: usize| at < length && writer.stack[at].slot == slot;
        let mut end = first;
        let mut elements = 0;
        while same(self, end) && elements < max {
            let repeat = self.stack[end].repeat;
            while same(self, end) && self.stack[end].repeat == repeat {
                end += 1;
            }
            elements += 1;
        }
        self.cursors[cursors + usize::from(slot)] = if same(self, end) { end as u32 } else { DONE };
        let element = typ.slots[slot as usize].element;
        if self.stack[first].repeat == 0 {
            return u32::from(self.element(element, first, end, row, 0));
        }
        let several = self.stack[first].repeat > 1 || end - first > 1 || same(self, end);
        let mut written = 0;
        for at in first..end {
            let repeat = if several { self.stack[at].repeat } else { 0 };
            written += u32::from(self.element(element, at, at + 1, row, repeat));
        }
        written
    }

    fn missing_group(
        &mut self,
        typ: &'t Type,
        kind: GroupKind,
        children: &'t [Particle],
        cursors: usize,
        row: u32,
    ) {
        if kind != GroupKind::Choice {
            for child in children {
                if !child.emptiable() {
                    self.particle(typ, child, cursors, row);
                }
            }
            return;
        }
        let mut names = Vec::new();
        for child in children {
            match child {
                Particle::Element { slot, .. } => names.push(&*typ.slots[*slot as usize].key),
                Particle::Group { slots, .. } => {
                    names.extend(slots.first().map(|slot| &*typ.slots[*slot as usize].key));
                }
                Particle::Any => {}
            }
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
