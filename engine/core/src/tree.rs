// SPDX-License-Identifier: EUPL-1.2
//! What a mapping returns: a plain tree named by the target's elements. Order, name spaces, attributes' places
//! and optionality are not in it; the writer takes them from the schema.

use std::sync::Arc;

/// A value of the mapped tree.
///
/// Maps keep their keys sorted, as Rhai gives them. Keys follow the house style:
/// `"name/vorname"` for single wrappers, `"@listURI"` for an attribute, `"$"` for the text of an element that
/// has attributes as well. [`Tree::Nothing`], an empty text, an empty list and an empty map all mean
/// "not there".
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Tree {
    /// Absent.
    #[default]
    Nothing,
    /// Text; numbers come as text too where their lexical form matters (money, long ids).
    Text(Arc<str>),
    /// A truth value, `true`/`false` in XML.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Repeats of one element.
    List(Vec<Tree>),
    /// Child elements and attributes by name.
    Map(Vec<(Arc<str>, Tree)>),
}

impl Tree {
    /// A text value.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A map from pairs; the order given does not matter.
    pub fn map<K: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        let mut entries: Vec<(Arc<str>, Self)> = pairs.into_iter().map(|(k, v)| (k.into(), v)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Self::Map(entries)
    }

    /// Whether nothing would be written for this value.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.iter().all(Self::is_empty),
            Self::Map(entries) => entries.iter().all(|(_, value)| value.is_empty()),
            Self::Bool(_) | Self::Int(_) => false,
        }
    }

    /// The value under a key of a map, as written (slashes are not taken apart).
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    /// Adds or replaces one entry of a map; anything else becomes a map first.
    pub fn set(&mut self, key: &str, value: Self) {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        let Self::Map(entries) = self else { return };
        match entries.binary_search_by(|(name, _)| (**name).cmp(key)) {
            Ok(at) => entries[at].1 = value,
            Err(at) => entries.insert(at, (key.into(), value)),
        }
    }

    /// The tree as JSON: for vendor formats, `kop map run --json` and tests.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Text(text) => text.as_ref().into(),
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptiness_looks_through_wrappers() {
        let empty = Tree::map([("a", Tree::List(vec![Tree::text(""), Tree::Nothing])), ("b", Tree::Nothing)]);
        assert!(empty.is_empty());
        assert!(!Tree::map([("a", Tree::Bool(false))]).is_empty());
    }

    #[test]
    fn set_keeps_keys_sorted_and_unique() {
        let mut tree = Tree::Nothing;
        for key in ["b", "a", "b"] {
            tree.set(key, Tree::text(key));
        }
        assert_eq!(tree.to_json(), serde_json::json!({"a": "a", "b": "b"}));
    }
}
