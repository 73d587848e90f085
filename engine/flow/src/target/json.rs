// SPDX-License-Identifier: EUPL-1.2
//! A vendor's JSON: the script's tree as it is. Slash keys become nested objects; what is empty is left out.

use kop_core::{Diagnostic, Tree};
use serde_json::{Map, Value};

/// The document, UTF-8, indented.
///
/// # Errors
/// Two keys of the script want different things at one place.
pub fn render(tree: &Tree) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let value = convert(tree, "")?.unwrap_or(Value::Object(Map::new()));
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
    bytes.push(b'\n');
    Ok(bytes)
}

fn convert(tree: &Tree, path: &str) -> Result<Option<Value>, Vec<Diagnostic>> {
    if tree.is_empty() {
        return Ok(None);
    }
    Ok(Some(match tree {
        Tree::Map(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let target = if path.is_empty() { key.to_string() } else { format!("{path}/{key}") };
                if let Some(value) = convert(value, &target)? {
                    place(&mut object, key, value).map_err(|()| vec![clash(&target)])?;
                }
            }
            Value::Object(object)
        }
        Tree::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (n, item) in items.iter().enumerate() {
                if let Some(value) = convert(item, &format!("{path}[{}]", n + 1))? {
                    list.push(value);
                }
            }
            Value::Array(list)
        }
        plain => plain.to_json(),
    }))
}

/// Puts a value under a slash key, merging objects.
fn place(object: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), ()> {
    let (first, rest) = match key.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    match rest {
        Some(rest) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            place(inner.as_object_mut().ok_or(())?, rest, value)
        }
        None => match (object.get_mut(first), value) {
            (None, value) => {
                object.insert(first.to_owned(), value);
                Ok(())
            }
            (Some(Value::Object(there)), Value::Object(more)) => {
                more.into_iter().try_for_each(|(key, value)| place(there, &key, value))
            }
            (Some(_), _) => Err(()),
        },
    }
}

fn clash(target: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F010",
        format!("Die Zuordnung gibt für „{target}“ zwei verschiedene Werte an."),
        format!("The mapping gives two different values for \"{target}\"."),
    )
    .with_target(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slash_keys_nest_and_empty_values_vanish() {
        let tree = Tree::map([
            ("halter/name", Tree::text("Özdemir")),
            ("halter/anschrift/ort", Tree::text("Musterstadt")),
            ("leer", Tree::text("")),
            ("kennzeichen", Tree::List(vec![Tree::text("MU-A 1"), Tree::Nothing])),
        ]);
        let json: Value = serde_json::from_slice(&render(&tree).unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"halter": {"anschrift": {"ort": "Musterstadt"}, "name": "Özdemir"},
                "kennzeichen": ["MU-A 1"]})
        );
    }

    #[test]
    fn two_values_at_one_place_are_refused() {
        let tree = Tree::map([("a", Tree::text("x")), ("a/b", Tree::text("y"))]);
        assert_eq!(render(&tree).unwrap_err()[0].code, "KOP-F010");
    }
}
