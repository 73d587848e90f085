// SPDX-License-Identifier: EUPL-1.2
//! Turns a `deposit` into the internal document. Pure: it sees the envelope, the inline data documents and
//! the files' references only.

use std::collections::BTreeMap;

use kop_connector_api::{Adapter, Intake, IntakePart, Normalised};
use kop_core::{Diagnostic, Feld, Inhalt, eingang::Anlage};

use super::{
    NS_TRANSACTION, SOURCE,
    account::User,
    envelope::{Attachment, Deposit, MAX_ATTACHMENTS},
    merge,
};
use crate::{
    hints, problem,
    xml::{self, Element},
};

/// Names under which forms carry the Leistungsschlüssel, in lower case.
const SERVICE_NAMES: [&str; 2] = ["leika", "leistungsschl"];

/// Reads intelliForm's `deposit`.
#[derive(Debug, Default)]
pub struct IntelliformAdapter;

impl Adapter for IntelliformAdapter {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn normalise(&self, intake: &Intake) -> Result<Normalised, Vec<Diagnostic>> {
        let envelope = xml::read(&intake.envelope)
            .map_err(|error| problem::envelope_unreadable(error.detail()).problems)?;
        let deposit =
            Deposit::read(&envelope).ok_or_else(|| problem::too_many_parts(MAX_ATTACHMENTS).problems)?;
        let documents = Documents::find(&deposit, intake)?;
        let mut normalised = Normalised { remarks: documents.remarks, ..Normalised::default() };
        let (data, raw) = (documents.data.as_ref(), documents.raw.as_ref());
        // At least one of them is there, else there would be no `documents`.
        let Some(main) = data.or(raw) else { return Err(vec![problem::data_part_missing()]) };

        sort_files(&deposit, intake, main, &mut normalised);
        let (fields, missing) = merge::fields(data, raw, &normalised.attachments);
        if missing > 0 {
            normalised.remarks.push(problem::upload_without_file());
        }
        read_head(&deposit, main, &mut normalised);
        let user = User::of(main, raw);
        normalised.applicant = user.person().or_else(|| hints::applicant(&fields));
        normalised.account = user.account(&deposit);
        normalised.services = services(&deposit, &fields);
        normalised.consents = hints::consents(&fields);
        normalised.authority.organisationseinheit =
            deposit.parameter("OrganisationseinheitenID").filter(|id| !id.is_empty()).map(str::to_owned);
        hints::authority(&fields, &mut normalised.authority);
        normalised.fields = fields;
        Ok(normalised)
    }
}

/// The two data documents.
#[derive(Default)]
struct Documents {
    data: Option<Element>,
    raw: Option<Element>,
    remarks: Vec<Diagnostic>,
}

impl Documents {
    /// Finds them by content among the attachments that may be data; ids and names only narrow down.
    fn find(deposit: &Deposit, intake: &Intake) -> Result<Self, Vec<Diagnostic>> {
        let primary = deposit.value("primaryDataAttachmentId");
        let mut found = Self::default();
        let mut unreadable = None;
        for attachment in deposit.attachments.iter().filter(|attachment| attachment.may_be_data(primary)) {
            let Some(part) = part_of(attachment, intake) else { continue };
            let Some(bytes) = &part.inline else {
                if part.blob.size > 0 {
                    unreadable = Some("too large or not XML");
                }
                continue;
            };
            match xml::read(bytes) {
                // The "store" form of the same data, which this adapter does not need.
                Ok(root) if root.attribute("", "class").is_some_and(|class| class.ends_with("DataBean")) => {}
                Ok(root) if merge::is_raw(&root) => _ = found.raw.get_or_insert(root),
                Ok(root) => _ = found.data.get_or_insert(root),
                Err(error) => unreadable = Some(error.detail()),
            }
        }
        match (found.data.is_some() || found.raw.is_some(), unreadable) {
            (true, Some(detail)) => found.remarks.push(problem::one_data_part_unreadable(detail)),
            (true, None) => {}
            (false, Some(detail)) => return Err(vec![problem::data_part_unreadable(detail)]),
            (false, None) => return Err(vec![problem::data_part_missing()]),
        }
        Ok(found)
    }
}

fn part_of<'a>(attachment: &Attachment, intake: &'a Intake) -> Option<&'a IntakePart> {
    let key = attachment.part.as_deref()?;
    intake.parts.iter().find(|part| part.key == key)
}

/// Sorts the files: what the form's fields name as an upload, and all that is neither PDF nor XML, is an
/// attachment; the form's PDF and the data documents are representations.
fn sort_files(deposit: &Deposit, intake: &Intake, main: &Element, into: &mut Normalised) {
    let uploads = merge::uploads(main);
    let primary_form = deposit.value("primaryFormAttachmentId");
    let primary_data = deposit.value("primaryDataAttachmentId");
    let mut spoken_of = std::collections::HashSet::new();
    let mut lonely = false;
    for attachment in &deposit.attachments {
        let Some(part) = part_of(attachment, intake) else {
            lonely = true;
            continue;
        };
        spoken_of.insert(part.key.as_str());
        let id = attachment.id.as_deref();
        let is_data = attachment.may_be_data(primary_data);
        let uploaded = !is_data
            && (attachment.is_upload_by_id()
                || uploads.iter().any(|(upload, name)| {
                    id == Some(upload.as_str()) || (id.is_none() && attachment.name.as_ref() == Some(name))
                }));
        let rendering =
            is_data || attachment.is_pdf() || attachment.is_xml() || (id.is_some() && id == primary_form);
        let list = if !uploaded && rendering { &mut into.representations } else { &mut into.attachments };
        list.push(file(Some(attachment), part));
    }
    for part in intake.parts.iter().filter(|part| !spoken_of.contains(part.key.as_str())) {
        lonely = true;
        into.attachments.push(file(None, part));
    }
    if lonely {
        into.remarks.push(problem::file_without_partner());
    }
}

fn file(attachment: Option<&Attachment>, part: &IntakePart) -> Anlage {
    let name = attachment
        .and_then(|attachment| attachment.name.clone().or_else(|| attachment.original_name.clone()))
        .or_else(|| part.file_name.clone())
        .unwrap_or_else(|| part.key.clone());
    Anlage {
        name,
        content_type: attachment
            .and_then(|attachment| attachment.content_type.clone())
            .or_else(|| part.content_type.clone())
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        hersteller_id: attachment.and_then(|attachment| attachment.id.clone()),
        beschreibung: attachment.and_then(|attachment| attachment.description.clone()),
        blob: part.blob,
    }
}

/// Facts about form and transaction: the envelope's word first, then the data document's.
fn read_head(deposit: &Deposit, main: &Element, into: &mut Normalised) {
    let inner = |name: &str| {
        main.attribute(NS_TRANSACTION, name).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let fact = |outer: &str, name: &str| deposit.value(outer).map(str::to_owned).or_else(|| inner(name));
    into.vendor_id = fact("id", "id");
    into.form_id = fact("formId", "form-id");
    into.form_name = fact("form", "form");
    into.form_version = inner("form-version");
    into.sent = fact("timestamp", "timestamp");
    let mut extra: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |name: String, value: &str| {
        if !value.is_empty() {
            extra
                .entry(name)
                .and_modify(|known| {
                    known.push(';');
                    known.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
    };
    for (name, value) in &deposit.values {
        if !matches!(name.as_str(), "id" | "formId" | "form" | "timestamp") {
            put(name.clone(), value);
        }
    }
    for attribute in main.attributes.iter().filter(|attribute| &*attribute.ns == NS_TRANSACTION) {
        put(format!("t:{}", attribute.name), &attribute.value);
    }
    for (name, value) in &deposit.custom {
        put(name.clone(), value);
    }
    into.extra = extra;
}

/// Leistungsschlüssel from custom parameters or from fields at the top of the form.
fn services(deposit: &Deposit, fields: &[Feld]) -> Vec<String> {
    let named = |name: &str| {
        let name = name.to_lowercase();
        SERVICE_NAMES.iter().any(|word| name.contains(word))
    };
    let custom = deposit.custom.iter().filter(|(name, _)| named(name)).map(|(_, value)| value.as_str());
    let leaves = fields.iter().filter_map(|field| match &field.inhalt {
        Inhalt::Wert(wert) if named(&field.name) => Some(wert.text.as_str()),
        _ => None,
    });
    let mut services: Vec<String> = Vec::new();
    for value in custom.chain(leaves).flat_map(|text| text.split([',', ';', ' '])) {
        let key = value.rsplit(':').next().unwrap_or_default();
        let valid = key.len() == 14 && key.bytes().all(|byte| byte.is_ascii_digit());
        if valid && !services.iter().any(|known| known == key) {
            services.push(key.to_owned());
        }
    }
    services
}
