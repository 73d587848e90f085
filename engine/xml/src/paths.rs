// SPDX-License-Identifier: EUPL-1.2
//! Which element of a written document came from which place in the tree. Kept as numbers while writing;
//! texts are only made when someone asks.

use std::{fmt::Write, sync::Arc};

use crate::plan::Plan;

/// No parent: the root.
pub(crate) const NONE: u32 = u32::MAX;

/// A written element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) parent: u32,
    pub(crate) element: u32,
    /// Number among its repeats, from 1; 0 when there is only one.
    pub(crate) repeat: u32,
}

/// Path table of a written document, in document order.
#[derive(Clone, Debug)]
pub struct Paths {
    pub(crate) plan: Arc<Plan>,
    pub(crate) rows: Vec<Row>,
}

impl Paths {
    /// Every element: its XPath with the document's prefixes
    /// (`/xbau:baugenehmigung.antrag.0200/xbau:antragsteller[2]`) and its path in the tree (`antragsteller[2]`;
    /// empty for the root).
    pub fn rows(&self) -> impl Iterator<Item = (String, String)> {
        (0..self.rows.len() as u32)
            .map(|row| (xpath(&self.plan, &self.rows, row), target(&self.plan, &self.rows, row)))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The tree path of the element reached by taking the n-th element child (from 0) at each level.
    pub(crate) fn target_at(&self, steps: &[u32]) -> Option<String> {
        self.row_at(steps).map(|row| target(&self.plan, &self.rows, row))
    }

    /// What that element's type is called and where the schema defines it: `String.Latin (datentypen.xsd:120)`.
    pub(crate) fn type_at(&self, steps: &[u32]) -> Option<String> {
        let row = &self.rows[self.row_at(steps)? as usize];
        let element = &self.plan.elements[row.element as usize];
        let typ = &self.plan.types[element.typ as usize];
        let (file, line) = typ.place.as_ref()?;
        let name = typ.name.as_deref().map(|name| format!("Typ {name}, ")).unwrap_or_default();
        Some(format!("{name}{file}:{line}"))
    }

    fn row_at(&self, steps: &[u32]) -> Option<u32> {
        let mut here = 0;
        for step in steps {
            let children = self.rows.iter().enumerate().skip(here as usize + 1);
            let (child, _) = children.filter(|(_, row)| row.parent == here).nth(*step as usize)?;
            here = child as u32;
        }
        (here < self.rows.len() as u32).then_some(here)
    }
}

/// Tree path of a row: local names below the root, repeats numbered from 1.
pub(crate) fn target(plan: &Plan, rows: &[Row], row: u32) -> String {
    join(rows, row, |element| &plan.elements[element as usize].name, false)
}

fn xpath(plan: &Plan, rows: &[Row], row: u32) -> String {
    join(rows, row, |element| &plan.elements[element as usize].qname, true)
}

fn join<'p>(rows: &[Row], row: u32, name: impl Fn(u32) -> &'p str, rooted: bool) -> String {
    let mut chain = Vec::new();
    let mut here = row;
    while let Some(found) = rows.get(here as usize) {
        chain.push(found);
        here = found.parent;
    }
    let mut text = String::new();
    for row in chain.iter().rev() {
        if row.parent == NONE && !rooted {
            continue;
        }
        if rooted || !text.is_empty() {
            text.push('/');
        }
        text.push_str(name(row.element));
        if row.repeat > 0 {
            let _ = write!(text, "[{}]", row.repeat);
        }
    }
    text
}
