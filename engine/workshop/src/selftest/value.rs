// SPDX-License-Identifier: EUPL-1.2
//! Texts that a simple type lets in: codes, enumerated values, natural samples, bounds, what patterns give. Each
//! proposal is checked against the facets before it is taken.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use kop_xml::{SimpleKind, SimpleShape};

use super::{lexical, pattern::Pattern};

/// Texts tried for one pattern.
const MAX_SEEDS: usize = 64;
/// Longest text made to reach a least length.
const MAX_LENGTH: usize = 10_000;

/// Makes values; ids are unique per document.
#[derive(Default)]
pub(super) struct Values {
    /// Preferred where an enumeration has it: the message's own number.
    number: Option<String>,
    /// Ids of the document so far.
    pub(super) ids: Vec<String>,
    used: HashSet<String>,
    counter: usize,
    made: HashMap<*const SimpleShape, Option<String>>,
    patterns: HashMap<String, Option<Arc<Pattern>>>,
}

impl Values {
    /// For a message with its number.
    pub(super) fn of(number: Option<&str>) -> Self {
        Self { number: number.map(str::to_owned), ..Self::default() }
    }

    /// Begins a new document.
    pub(super) fn begin(&mut self) {
        self.ids.clear();
        self.used.clear();
    }

    /// A value for a type, one of the codes if it lets one in. Nothing when none was found.
    pub(super) fn value(&mut self, simple: &Arc<SimpleShape>, codes: &[String]) -> Option<String> {
        if let SimpleKind::Atomic(base) = &simple.kind
            && base == "ID"
        {
            return self.id(simple);
        }
        if let SimpleKind::Atomic(base) = &simple.kind
            && base == "IDREF"
        {
            return self.ids.first().cloned();
        }
        if let Some(code) = codes.iter().find(|code| self.fits(simple, code)) {
            return Some(code.clone());
        }
        let key = Arc::as_ptr(simple);
        if let Some(known) = self.made.get(&key) {
            return known.clone();
        }
        let made = self.make(simple);
        self.made.insert(key, made.clone());
        made
    }

    fn id(&mut self, simple: &SimpleShape) -> Option<String> {
        for _ in 0..1_000 {
            self.counter += 1;
            let plain = format!("id{}", self.counter);
            let made =
                if self.fits(simple, &plain) { Some(plain) } else { self.by_pattern(simple, self.counter) };
            if let Some(id) = made
                && self.used.insert(id.clone())
            {
                self.ids.push(id.clone());
                return Some(id);
            }
        }
        None
    }

    fn make(&mut self, simple: &SimpleShape) -> Option<String> {
        if !simple.enumeration.is_empty() {
            let own = self.number.clone().filter(|number| simple.enumeration.contains(number));
            let first = simple.enumeration.iter().find(|value| self.fits(simple, value)).cloned();
            return own.filter(|own| self.fits(simple, own)).or(first);
        }
        match &simple.kind {
            SimpleKind::List(item) => {
                let count = simple.bounds.min_length.unwrap_or(1).clamp(1, MAX_LENGTH);
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.value_of(item)?);
                }
                Some(items.join(" ")).filter(|text| self.fits(simple, text))
            }
            SimpleKind::Union(members) => members.iter().find_map(|member| {
                let value = self.value_of(member)?;
                self.fits(simple, &value).then_some(value)
            }),
            SimpleKind::Atomic(base) => {
                let samples = lexical::samples(base, &simple.bounds);
                if let Some(found) = samples.into_iter().find(|text| self.fits(simple, text)) {
                    return Some(found);
                }
                let found = (0..MAX_SEEDS).find_map(|seed| self.by_pattern(simple, seed));
                // an empty text is better than none
                found.or_else(|| self.fits(simple, "").then(String::new))
            }
        }
    }

    fn value_of(&mut self, simple: &SimpleShape) -> Option<String> {
        match &simple.kind {
            SimpleKind::Atomic(base) if base == "ID" => self.id(simple),
            SimpleKind::Atomic(base) if base == "IDREF" => self.ids.first().cloned(),
            _ => self.make(simple),
        }
    }

    fn by_pattern(&mut self, simple: &SimpleShape, seed: usize) -> Option<String> {
        let least = simple.bounds.min_length.unwrap_or(0).min(MAX_LENGTH);
        for group in &simple.patterns {
            for text in group {
                let Some(pattern) = self.pattern(text) else { continue };
                // as short as can be, then long enough: counted from the shortest, and in all
                let shortest = pattern.make(0, seed).map_or(0, |text| text.chars().count());
                for extra in [0, 1, least.saturating_sub(shortest), least, 8] {
                    let made = pattern.make(extra, seed);
                    if let Some(made) = made.filter(|made| !made.trim().is_empty() && self.fits(simple, made))
                    {
                        return Some(made);
                    }
                }
            }
        }
        None
    }

    fn pattern(&mut self, text: &str) -> Option<Arc<Pattern>> {
        if let Some(known) = self.patterns.get(text) {
            return known.clone();
        }
        let read = Pattern::read(text).map(Arc::new);
        self.patterns.insert(text.to_owned(), read.clone());
        read
    }

    /// Whether all facets let a text in.
    fn fits(&mut self, simple: &SimpleShape, text: &str) -> bool {
        if !simple.enumeration.is_empty()
            && !simple.enumeration.iter().any(|value| value.trim() == text.trim())
        {
            return false;
        }
        for group in &simple.patterns {
            let any = group.iter().any(|one| self.pattern(one).is_some_and(|pattern| pattern.matches(text)));
            if !any {
                return false;
            }
        }
        let within = |length: usize| {
            simple.bounds.min_length.is_none_or(|least| length >= least)
                && simple.bounds.max_length.is_none_or(|most| length <= most)
        };
        match &simple.kind {
            SimpleKind::Atomic(base) => lexical::fits(base, &simple.bounds, text),
            SimpleKind::List(item) => {
                let items: Vec<&str> = text.split_ascii_whitespace().collect();
                within(items.len()) && items.iter().all(|one| self.fits(item, one))
            }
            SimpleKind::Union(members) => members.iter().any(|member| self.fits(member, text)),
        }
    }
}
