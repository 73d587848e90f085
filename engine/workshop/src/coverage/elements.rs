// SPDX-License-Identifier: EUPL-1.2
//! Elements of the target: which are filled and from where, which the script writes in no case, which it does not
//! know.

use std::collections::{BTreeMap, BTreeSet};

use kop_flow::lineage::Effect;
use kop_tenant::{LoadedMapping, Target};
use kop_xml::{ChildFacts, Inventory, TypeFacts};

use super::{CodeUse, Element, Filling, Traced, plain};

/// What is known of the script's and the cases' paths.
struct Known<'a> {
    mapping: &'a LoadedMapping,
    traced: &'a [Traced],
    parameters: &'a BTreeSet<String>,
    /// Paths that the script writes somewhere, and everything above them.
    script: BTreeSet<String>,
    /// Paths that a case fills, and everything above them: number of cases.
    filled: BTreeMap<String, usize>,
    /// Path → fields whose value it holds; fields that decide about it.
    links: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
    /// Lines where something outside the form's fields is read.
    outside_lines: BTreeSet<(String, u32)>,
}

pub(super) fn elements(
    mapping: &LoadedMapping,
    inventory: Option<&Inventory>,
    traced: &[Traced],
    parameters: &BTreeSet<String>,
) -> Vec<Element> {
    let known = Known::of(mapping, traced, parameters);
    let mut found = Vec::new();
    if let Some(inventory) = inventory {
        let mut stack = vec![(inventory.start, String::new())];
        while let Some((typ, path)) = stack.pop() {
            below(inventory, &inventory.types[typ], &path, &known, &mut found, &mut stack);
        }
    } else {
        let mut paths: BTreeMap<String, bool> = BTreeMap::new();
        paths.extend(known.script.iter().filter(|path| known.is_end(path)).map(|path| (path.clone(), false)));
        paths.extend(traced.iter().flat_map(|one| one.whole.keys()).map(|path| (path.clone(), false)));
        if matches!(mapping.manifest.ziel, Target::Csv) {
            paths.extend(mapping.manifest.csv.spalten.iter().map(|column| (column.clone(), false)));
        }
        found.extend(paths.into_iter().map(|(path, required)| known.element(path, required)));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    found
}

/// Looks at the attributes and children of an element that is there; children that are not there, once.
fn below(
    inventory: &Inventory,
    typ: &TypeFacts,
    path: &str,
    known: &Known<'_>,
    found: &mut Vec<Element>,
    stack: &mut Vec<(usize, String)>,
) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    // What a case never makes lacks nothing.
    let there = path.is_empty() || known.filled.contains_key(path);
    for attribute in typ.attributes.iter().filter(|attribute| attribute.fixed.is_none()) {
        let here = at(&format!("@{}", attribute.name));
        let required = there && attribute.required;
        if required || known.touches(&here) {
            found.push(known.element(here, required));
        }
    }
    let (many, most): (Vec<&TypeFacts>, bool) = if typ.is_abstract {
        (typ.derived.iter().map(|(_, number)| &inventory.types[*number]).collect(), true)
    } else {
        (vec![typ], false)
    };
    let children = many.iter().flat_map(|typ| &typ.children);
    for child in children {
        let here = at(&child.name);
        let inner = &inventory.types[child.typ];
        // What one of several derived types requires, the message may lack.
        let required = there && child.min > 0 && !most;
        if known.touches(&here) && has_parts(inner) {
            if inner.text.is_some() {
                found.push(known.element(here.clone(), required));
            }
            stack.push((child.typ, here));
        } else {
            found.push(known.element(here, required && fillable(child)));
        }
    }
}

fn has_parts(typ: &TypeFacts) -> bool {
    !typ.children.is_empty() || typ.is_abstract || typ.attributes.iter().any(|one| one.fixed.is_none())
}

/// What the schema fixes the writer adds by itself.
fn fillable(child: &ChildFacts) -> bool {
    child.fixed.is_none()
}

impl<'a> Known<'a> {
    fn of(mapping: &'a LoadedMapping, traced: &'a [Traced], parameters: &'a BTreeSet<String>) -> Self {
        let mut known = Self {
            mapping,
            traced,
            parameters,
            script: BTreeSet::new(),
            filled: BTreeMap::new(),
            links: BTreeMap::new(),
            outside_lines: BTreeSet::new(),
        };
        for (path, _) in mapping.script.key_positions().iter() {
            let path = path.strip_suffix("/$").unwrap_or(path);
            known.script.extend(prefixes(path));
        }
        for one in traced {
            let paths: BTreeSet<String> = one.whole.keys().flat_map(|path| prefixes(path)).collect();
            for path in paths {
                *known.filled.entry(path).or_default() += 1;
            }
            for link in one.lineage.links() {
                let target = plain(&link.target);
                let target = target.strip_prefix("zeile/").unwrap_or(&target).to_owned();
                let (values, deciding) = known.links.entry(target).or_default();
                let fields = if link.effect == Effect::Value { values } else { deciding };
                fields.insert(plain(&link.field.path));
            }
            for read in one.reads.iter().filter(|read| read.path.starts_with('@')) {
                known.outside_lines.extend(read.place.as_ref().map(|place| (place.file.clone(), place.line)));
            }
        }
        known
    }

    fn touches(&self, path: &str) -> bool {
        self.filled.contains_key(path) || self.script.contains(path) || self.links.contains_key(path)
    }

    /// Whether the script writes nothing below a path that it writes.
    fn is_end(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.script.range(below.clone()..).next().is_none_or(|next| !next.starts_with(&below))
    }

    fn element(&self, path: String, required: bool) -> Element {
        let cases = self.filled.get(&path).copied().unwrap_or_default();
        let (values, deciding) = self.links.get(&path).cloned().unwrap_or_default();
        // A key of its own, or one right above it: `art: code(x)` writes `art/code`.
        let keys = self.mapping.script.key_positions();
        let above = path.rsplit_once('/').map(|(above, _)| above);
        let known = |path: &str| !keys.get(path).is_empty();
        let place =
            (known(&path) || above.is_some_and(known)).then(|| self.mapping.script.place_of(&path)).flatten();
        let by_script = self.traced.iter().any(|one| one.values.contains_key(&path));
        let filling = if cases == 0 {
            let written = self.script.contains(&path) || !values.is_empty() || !deciding.is_empty();
            if written { Filling::NurImSkript } else { Filling::Nie }
        } else if !by_script && self.traced.iter().any(|one| one.engine.contains(&path)) {
            Filling::Engine
        } else if !values.is_empty() {
            Filling::Feld
        } else if self.parameters.contains(&path) {
            Filling::Parameter
        } else if self.traced.iter().any(|one| one.outside.contains(&path))
            || place.as_ref().is_some_and(|at| self.outside_lines.contains(&(at.file.clone(), at.line)))
        {
            Filling::Eingang
        } else {
            Filling::Fest
        };
        let fields = if values.is_empty() { deciding } else { values };
        Element { path, required, filling, fields, place, cases }
    }
}

/// A path and all paths above it.
fn prefixes(path: &str) -> impl Iterator<Item = String> {
    let ends: Vec<usize> =
        path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([path.len()]).collect();
    ends.into_iter().map(|end| path[..end].to_owned())
}

/// Codes that the schema enumerates, where a case fills them.
pub(super) fn codes(inventory: &Inventory, traced: &[Traced]) -> Vec<CodeUse> {
    let mut produced: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for one in traced {
        for (path, values) in &one.values {
            produced.entry(path).or_default().extend(values.iter().cloned());
        }
    }
    let mut found = Vec::new();
    for (path, produced) in produced {
        let Some(text) = type_at(inventory, path).and_then(|typ| typ.text.as_ref()) else { continue };
        if text.codes.is_empty() {
            continue;
        }
        let never = text.codes.iter().filter(|code| !produced.contains(*code)).cloned().collect();
        found.push(CodeUse { path: path.clone(), produced, never });
    }
    found
}

fn type_at<'i>(inventory: &'i Inventory, path: &str) -> Option<&'i TypeFacts> {
    let mut typ = &inventory.types[inventory.start];
    for step in path.split('/') {
        let own = typ.children.iter().find(|child| child.name == step);
        let derived = || {
            let types = typ.derived.iter().map(|(_, number)| &inventory.types[*number]);
            types.flat_map(|typ| &typ.children).find(|child| child.name == step)
        };
        typ = &inventory.types[own.or_else(derived)?.typ];
    }
    Some(typ)
}
