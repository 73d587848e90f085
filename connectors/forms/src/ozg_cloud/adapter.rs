// SPDX-License-Identifier: EUPL-1.2
//! Turns form-data into the internal document. Pure: it sees the JSON and the files' references only.

use std::collections::BTreeMap;

use kop_connector_api::{Adapter, Intake, IntakePart, Normalised};
use kop_core::{
    Diagnostic, Feld, FeldTyp, Inhalt,
    eingang::{Anlage, ServiceKonto, Vertrauensniveau, ZustaendigeStelle},
};
use serde_json::Value;

use super::{SOURCE, form_data};
use crate::{hints, problem};

/// Most further members of `control` that are kept, and their longest text.
const MAX_EXTRA: usize = 100;
const MAX_EXTRA_TEXT: usize = 4_096;

/// Reads OZG-Cloud form-data.
#[derive(Debug, Default)]
pub struct OzgCloudAdapter;

impl Adapter for OzgCloudAdapter {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn normalise(&self, intake: &Intake) -> Result<Normalised, Vec<Diagnostic>> {
        let mut document = form_data::read(&intake.envelope).map_err(|refusal| refusal.problems)?;
        let mut fields = document.take_fields();
        let mut normalised = Normalised::default();
        match document.control.take() {
            Some(control) => read_control(control, &mut normalised),
            None => normalised.remarks.push(problem::control_missing()),
        }
        for (n, part) in intake.parts.iter().enumerate() {
            let list = if part.key.starts_with("representation") {
                &mut normalised.representations
            } else {
                &mut normalised.attachments
            };
            list.push(file(part, n));
        }
        link_uploads(&mut fields, &normalised.attachments);
        normalised.applicant = hints::applicant(&fields);
        normalised.consents = hints::consents(&fields);
        hints::authority(&fields, &mut normalised.authority);
        normalised.fields = fields;
        Ok(normalised)
    }
}

fn file(part: &IntakePart, n: usize) -> Anlage {
    Anlage {
        name: part
            .file_name
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("datei-{}", n + 1)),
        content_type: part.content_type.clone().unwrap_or_else(|| "application/octet-stream".to_owned()),
        hersteller_id: None,
        beschreibung: None,
        blob: part.blob,
    }
}

fn read_control(mut control: BTreeMap<String, Value>, into: &mut Normalised) {
    let mut take = |name: &str| control.remove(name).and_then(|value| plain(&value));
    into.vendor_id = take("transactionId");
    into.form_id = take("formId");
    into.form_name = take("name");
    into.form_version = take("formVersion");
    into.sent = take("createdAt");
    let unit = take("organisationsEinheitenId");
    if let Some(Value::Array(keys)) = control.remove("leikaIds") {
        into.services = keys.iter().filter_map(plain).collect();
    }
    let mut authority = ZustaendigeStelle::default();
    match control.remove("zustaendigeStelle") {
        Some(Value::Object(members)) => {
            let member = |names: &[&str]| names.iter().find_map(|name| members.get(*name).and_then(plain));
            authority.organisationseinheit =
                member(&["organisationsEinheitenId", "organisationseinheitenId", "id"]);
            authority.name = member(&["bezeichnung", "name"]);
            authority.ags = member(&["ags", "amtlicherGemeindeschluessel"]);
            authority.ars = member(&["ars", "amtlicherRegionalschluessel"]);
        }
        Some(value) => authority.organisationseinheit = plain(&value),
        None => {}
    }
    if unit.is_some() {
        authority.organisationseinheit = unit;
    }
    into.authority = authority;
    into.account = control.remove("serviceKonto").as_ref().and_then(account);
    for (name, value) in control.into_iter().take(MAX_EXTRA) {
        let mut text = plain(&value).unwrap_or_else(|| match value {
            Value::Null | Value::String(_) => String::new(),
            other => other.to_string(),
        });
        if !text.is_empty() {
            let mut end = text.len().min(MAX_EXTRA_TEXT);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            into.extra.insert(name, text);
        }
    }
}

fn account(value: &Value) -> Option<ServiceKonto> {
    let text = |value: &Value, name: &str| value.get(name).and_then(plain);
    let address = value.get("postfachAddress").or_else(|| value.get("postfachAddresses")?.get(0));
    let raw = text(value, "trustLevel");
    let account = ServiceKonto {
        art: text(value, "type").unwrap_or_default(),
        vertrauensniveau: raw.as_deref().map(Vertrauensniveau::from_raw).unwrap_or_default(),
        vertrauensniveau_roh: raw,
        postfach_id: address.and_then(|address| text(address, "identifier")),
        postfach_art: address.and_then(|address| text(address, "type")),
    };
    let nothing =
        account.art.is_empty() && account.vertrauensniveau_roh.is_none() && account.postfach_id.is_none();
    (!nothing).then_some(account)
}

/// A scalar as text; nothing for empty texts, null, objects and arrays.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Links a text that is exactly the name of one attachment to it. Gover lists file names in the field and
/// sends the files with every special character as `_`.
fn link_uploads(fields: &mut [Feld], attachments: &[Anlage]) {
    let plain_name = |name: &str| -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    let mut by_name = BTreeMap::new();
    for (n, attachment) in attachments.iter().enumerate() {
        by_name.entry(plain_name(&attachment.name)).and_modify(|known| *known = None).or_insert(Some(n));
    }
    link(fields, &|text| by_name.get(&plain_name(text)).copied().flatten());
}

fn link(fields: &mut [Feld], find: &dyn Fn(&str) -> Option<usize>) {
    for field in fields {
        match &mut field.inhalt {
            Inhalt::Wert(wert) if wert.typ == FeldTyp::Text && wert.text.contains('.') => {
                if let Some(n) = find(&wert.text) {
                    wert.anlage = Some(n);
                    wert.typ = FeldTyp::Datei;
                }
            }
            Inhalt::Wert(_) => {}
            Inhalt::Felder(inner) => link(inner, find),
            Inhalt::Wiederholungen(entries) => entries.iter_mut().for_each(|entry| link(entry, find)),
        }
    }
}
