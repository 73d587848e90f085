// SPDX-License-Identifier: EUPL-1.2
//! What a single value of the tree is as text, and which values are nothing.

use std::borrow::Cow;

use kop_core::Tree;

use crate::write::MAX_DEPTH;

/// A single value as text; blank text is no value.
pub(crate) fn plain(tree: &Tree) -> Option<Cow<'_, str>> {
    match tree {
        Tree::Text(text) => Some(Cow::Borrowed(text)),
        Tree::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Tree::Int(value) => Some(Cow::Owned(value.to_string())),
        Tree::Nothing | Tree::List(_) | Tree::Map(_) => None,
    }
}

/// The items of an `xs:list`.
pub(crate) fn joined(tree: &Tree) -> Option<Cow<'_, str>> {
    let Tree::List(items) = tree else { return None };
    let items: Vec<Cow<'_, str>> = items.iter().map(plain).collect::<Option<_>>()?;
    Some(Cow::Owned(items.join(" ")))
}

pub(crate) fn is_value(tree: &Tree) -> bool {
    matches!(tree, Tree::Text(_) | Tree::Bool(_) | Tree::Int(_))
}

/// Whether a value is the one that the schema fixes, by the spellings that matter for its type.
pub(crate) fn same_value(fixed: &str, given: &str, simple: Option<&str>) -> bool {
    fixed == given
        || match simple {
            Some("string") => false,
            Some("boolean") => truth(fixed).is_some() && truth(fixed) == truth(given),
            _ => fixed.split_whitespace().eq(given.split_whitespace()),
        }
}

/// `xs:boolean` has two spellings of each value.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Whether nothing is to be written for a value. The attributes of a code list alone (house style:
/// `#{code: (), "@listVersionID": "1"}`) are nothing; the ordered form says that something is there, be it
/// empty. Deeper than a message may be counts as present, so that the writer refuses it.
pub(crate) fn absent(tree: &Tree) -> bool {
    fn look(tree: &Tree, depth: usize) -> bool {
        match tree {
            Tree::Nothing => true,
            Tree::Text(text) => text.trim().is_empty(),
            Tree::Bool(_) | Tree::Int(_) => false,
            _ if depth > MAX_DEPTH => false,
            Tree::List(items) => items.iter().all(|item| look(item, depth + 1)),
            Tree::Map(entries) => entries.iter().all(|(key, value)| match &**key {
                "@listURI" | "@listVersionID" => true,
                "#" => !matches!(value, Tree::List(_)),
                _ => look(value, depth + 1),
            }),
        }
    }
    look(tree, 0)
}
