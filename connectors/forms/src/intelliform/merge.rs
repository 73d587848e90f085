// SPDX-License-Identifier: EUPL-1.2
//! Merges the two data documents into one field tree: XML-Daten gives order, nesting and codes, the raw form
//! (Rohform) gives display texts and types.

use kop_core::{Feld, FeldTyp, Inhalt, Wert, eingang::Anlage};

use super::NS_INTERNAL;
use crate::{
    hints,
    xml::{Element, Node},
};

/// Whether a document is the raw form: its fields carry labels, times or types.
pub(super) fn is_raw(root: &Element) -> bool {
    root.elements().any(|field| field.attributes.iter().any(|attribute| &*attribute.ns == NS_INTERNAL))
}

/// Builds the tree. Hidden fields that stand in the raw form only are left out: the citizen did not see
/// them, so they are no part of the declaration. Uploads are linked to `attachments`; what is named there
/// but did not come is counted.
pub(super) fn fields(
    data: Option<&Element>,
    raw: Option<&Element>,
    attachments: &[Anlage],
) -> (Vec<Feld>, usize) {
    let mut merge = Merge { attachments, missing: 0 };
    let fields = match (data, raw) {
        (Some(data), raw) => merge.children(data, raw, &|_| true),
        // The raw form repeats the login as a block of its own.
        (None, Some(raw)) => merge.children(raw, Some(raw), &|name| name != "user"),
        (None, None) => Vec::new(),
    };
    (fields, merge.missing)
}

/// Ids and names of the uploads that the form's fields name.
pub(super) fn uploads(root: &Element) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![root];
    while let Some(element) = todo.pop() {
        if is_file(element) {
            found.push((
                element.attribute("", "id").unwrap_or_default().to_owned(),
                element.text().trim().to_owned(),
            ));
        }
        todo.extend(element.elements());
    }
    found
}

fn is_file(element: &Element) -> bool {
    element.name == "file"
        && element.attribute("", "id").is_some()
        && (element.attribute("", "content-type").is_some() || element.attribute("", "length").is_some())
}

struct Merge<'a> {
    attachments: &'a [Anlage],
    missing: usize,
}

impl Merge<'_> {
    fn children(
        &mut self,
        data: &Element,
        raw: Option<&Element>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Vec<Feld> {
        // The n-th element of a name here belongs to the n-th of that name there.
        let mut seen = std::collections::HashMap::new();
        let mut partners: std::collections::HashMap<&str, Vec<&Element>> = std::collections::HashMap::new();
        for element in raw.into_iter().flat_map(Element::elements) {
            partners.entry(&element.name).or_default().push(element);
        }
        let mut fields = Vec::new();
        for node in &data.children {
            match node {
                Node::Element(child) if wanted(&child.name) => {
                    let n = seen.entry(child.name.as_str()).or_insert(0_usize);
                    let partner = partners.get(child.name.as_str()).and_then(|list| list.get(*n)).copied();
                    *n += 1;
                    let inhalt = self.content(child, partner);
                    fields.push(Feld { name: child.name.clone(), label: None, inhalt });
                }
                // Text beside elements is no form's habit, but it may be what the citizen wrote.
                Node::Text(text) if !text.trim().is_empty() => {
                    let wert = Wert { text: text.trim().to_owned(), ..Wert::default() };
                    fields.push(Feld::wert("$", None, wert));
                }
                _ => {}
            }
        }
        hints::gather_repeats(fields)
    }

    fn content(&mut self, data: &Element, raw: Option<&Element>) -> Inhalt {
        if data.elements().next().is_none() {
            return Inhalt::Wert(self.value(data, raw));
        }
        let item = format!("{}-item", data.name);
        if data.elements().all(|child| child.name == item) {
            let mut partners = raw.into_iter().flat_map(Element::elements).filter(|child| child.name == item);
            let entries = data
                .elements()
                .map(|entry| {
                    let partner = partners.next();
                    if entry.elements().next().is_some() {
                        self.children(entry, partner, &|_| true)
                    } else {
                        // A repeated value: an entry with one field of the same name.
                        vec![Feld::wert(data.name.clone(), None, self.value(entry, partner))]
                    }
                })
                .collect();
            return Inhalt::Wiederholungen(entries);
        }
        Inhalt::Felder(self.children(data, raw, &|_| true))
    }

    fn value(&mut self, data: &Element, raw: Option<&Element>) -> Wert {
        let text = data.text();
        let told = raw.and_then(|raw| raw.attribute(NS_INTERNAL, "type"));
        let mut wert = Wert {
            typ: field_type(told, data, &text),
            anzeige: raw
                .and_then(|raw| raw.attribute(NS_INTERNAL, "label"))
                .filter(|label| !label.is_empty())
                .map(str::to_owned),
            einheit: ["currency", "unit"]
                .iter()
                .find_map(|name| data.attribute("", name).or_else(|| raw?.attribute("", name)))
                .filter(|unit| !unit.is_empty())
                .map(str::to_owned),
            anlage: None,
            text,
        };
        if is_file(data) {
            wert.typ = FeldTyp::Datei;
            wert.text = wert.text.trim().to_owned();
            wert.anlage = self.attachment(data.attribute("", "id").unwrap_or_default(), &wert.text);
            self.missing += usize::from(wert.anlage.is_none());
        }
        wert
    }

    /// The attachment of an upload: by id and name, else by id, else by name.
    fn attachment(&self, id: &str, name: &str) -> Option<usize> {
        let has_id = |attachment: &Anlage| !id.is_empty() && attachment.hersteller_id.as_deref() == Some(id);
        let has_name = |attachment: &Anlage| !name.is_empty() && attachment.name == name;
        let find = |fits: &dyn Fn(&Anlage) -> bool| self.attachments.iter().position(fits);
        find(&|attachment| has_id(attachment) && has_name(attachment))
            .or_else(|| find(&has_id))
            .or_else(|| find(&has_name))
    }
}

fn field_type(told: Option<&str>, data: &Element, text: &str) -> FeldTyp {
    match told.unwrap_or_default().to_lowercase().as_str() {
        "boolean" => FeldTyp::Wahrheit,
        "date" | "datetime" | "time" => FeldTyp::Datum,
        "integer" | "int" | "long" | "short" | "decimal" | "number" | "double" | "float" | "currency"
        | "money" => FeldTyp::Zahl,
        "file" => FeldTyp::Datei,
        // Without the raw form only what is unmistakable.
        "" if text == "true" || text == "false" => FeldTyp::Wahrheit,
        "" if data.attribute("", "currency").is_some() => FeldTyp::Zahl,
        _ => FeldTyp::Text,
    }
}
