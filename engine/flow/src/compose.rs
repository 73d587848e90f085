// SPDX-License-Identifier: EUPL-1.2
//! The one executor of mappings: script → tree → head → bytes → verdict, plus the parts that go along.
//! It stores nothing, so tests, previews and production run the very same code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kop_core::{
    BlobRef, ContentHash, Diagnostic, Eingang, Stage, Tree, Zeitpunkt, eingang::sicherer_dateiname,
};
use kop_mapping::{FileList, MappingHost, Reads, RunInput, RunOutput};
use kop_tenant::{Identity, LoadedMapping, Target};
use kop_xml::{SchemaStore, WriteOptions};
use uuid::Uuid;

use crate::{head, target};

/// What one message is made of.
pub struct ComposeInput<'a> {
    /// The submission.
    pub eingang: Arc<Eingang>,
    /// The mapping.
    pub mapping: &'a LoadedMapping,
    /// Parameters of tenant and route over the mapping's own.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// Who receives it.
    pub reader: &'a Identity,
    /// Who sends it.
    pub author: &'a Identity,
    /// The tenant's stage.
    pub stage: Stage,
    /// The message's own UUID.
    pub uuid: Uuid,
    /// When it is made.
    pub now: Zeitpunkt,
}

/// Where a part's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub enum PartContent {
    /// In the tenant's blob store already.
    Blob(BlobRef),
    /// Made here.
    Bytes(Vec<u8>),
}

/// A file that goes along with the main document.
#[derive(Clone, Debug, PartialEq)]
pub struct ComposedPart {
    /// Safe file name, unique in the message.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub content: PartContent,
}

/// A finished message, not yet stored.
#[derive(Debug)]
pub struct Composed {
    /// File name of the main document.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes, as they will be sent.
    pub bytes: Vec<u8>,
    /// Everything beside it.
    pub parts: Vec<ComposedPart>,
    /// Package that it was validated against.
    pub schema_package: Option<ContentHash>,
    /// What someone should look at although the message goes out, e.g. code lists that are not there.
    pub remarks: Vec<Diagnostic>,
    /// What the script returned.
    pub tree: Tree,
    /// What the script read, printed and registered.
    pub run: RunReport,
}

/// What is known of a script's run beside its tree.
#[derive(Debug)]
pub struct RunReport {
    /// Output of `print`.
    pub prints: Vec<String>,
    /// The fields it read.
    pub reads: Reads,
}

/// Runs the mapping and makes the message.
///
/// # Errors
/// Everything that stands in the way, each with field, script line and target as far as they are known.
pub async fn compose(
    host: &MappingHost,
    schemas: &SchemaStore,
    input: ComposeInput<'_>,
) -> Result<Composed, Vec<Diagnostic>> {
    let run = host
        .run(
            &input.mapping.script,
            RunInput {
                eingang: input.eingang.clone(),
                tables: input.mapping.tables.clone(),
                parameters: input.parameters.clone(),
                now: input.now,
            },
        )
        .await?;
    let mut parts = files(&input.eingang, &run);
    let manifest = &input.mapping.manifest;
    let tree = run.tree;
    let mut remarks = Vec::new();
    let located = |problems: Vec<Diagnostic>| locate(problems, input.mapping);
    let (bytes, content_type, extension, schema_package, number) = match &manifest.ziel {
        Target::Xoev { standard, version, root } => {
            let package = schemas.find(standard, version).ok_or_else(|| {
                vec![
                    Diagnostic::new(
                        "KOP-F005",
                        format!("Das Schema „{standard} {version}“ ist nicht vorhanden."),
                        format!("The schema \"{standard} {version}\" is not there."),
                    )
                    .with_hint("Das Paket aus dem XRepository mit „kop schema import“ laden."),
                ]
            })?;
            let schema = package.message(root).map_err(|problem| vec![problem])?;
            let mut whole = tree.clone();
            head::add(
                &mut whole,
                &schema,
                &head::Head {
                    reader: input.reader,
                    author: input.author,
                    stage: input.stage,
                    uuid: input.uuid,
                    created: input.now,
                },
            );
            let options =
                WriteOptions { pins: manifest.codelisten.clone(), schema_location: manifest.schemaort };
            let written = schema.write(&whole, &options).map_err(&located)?;
            schema.validate(&written.bytes, Some(&written.paths)).map_err(&located)?;
            let today = &head::timestamp(input.now)[..10];
            remarks = located(schema.check(&written, &options, today).map_err(&located)?);
            let number = schema.number().unwrap_or_default().to_owned();
            (written.bytes, "application/xml", "xml", Some(schema.package_hash()), number)
        }
        Target::Csv => {
            let csv = &manifest.csv;
            let format = target::csv::CsvFormat {
                columns: &csv.spalten,
                separator: csv.trennzeichen,
                charset: csv.zeichensatz.as_str(),
            };
            (target::csv::render(&tree, format).map_err(&located)?, "text/csv", "csv", None, String::new())
        }
        Target::Json => {
            (target::json::render(&tree).map_err(&located)?, "application/json", "json", None, String::new())
        }
        Target::Ablage => {
            let data = serde_json::to_vec_pretty(&*input.eingang).unwrap_or_default();
            parts.push(ComposedPart {
                name: "daten.json".into(),
                content_type: "application/json".into(),
                content: PartContent::Bytes(data),
            });
            (target::ablage::render(&tree), "text/html", "html", None, String::new())
        }
    };
    let name = main_name(&input, extension, &number);
    check_names(&name, &parts)?;
    let report = RunReport { prints: run.prints, reads: run.reads };
    Ok(Composed { name, content_type, bytes, parts, schema_package, remarks, tree, run: report })
}

/// The files that the script registered with `datei()`; the same file under the same name counts once.
fn files(eingang: &Eingang, run: &RunOutput) -> Vec<ComposedPart> {
    let mut parts: Vec<ComposedPart> = Vec::new();
    for file in &run.files {
        let list = match file.list {
            FileList::Anlagen => &eingang.anlagen,
            FileList::Repraesentationen => &eingang.repraesentationen,
        };
        let Some(anlage) = list.get(file.index) else { continue };
        let part = ComposedPart {
            name: file.name.clone(),
            content_type: anlage.content_type.clone(),
            content: PartContent::Blob(anlage.blob),
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

fn main_name(input: &ComposeInput<'_>, extension: &str, number: &str) -> String {
    let eingang = &input.eingang;
    let template =
        input.mapping.manifest.dateiname.clone().unwrap_or_else(|| match input.mapping.manifest.ziel {
            Target::Ablage => "index.html".to_owned(),
            _ => format!("{{vorgangsnummer}}_{}.{extension}", input.mapping.name),
        });
    let day = head::timestamp(eingang.kopf.eingangszeitpunkt)[..10].to_owned();
    let uuid = input.uuid.to_string();
    let name = [
        ("{vorgangsnummer}", eingang.kopf.vorgangsnummer.as_str()),
        ("{nachrichten_uuid}", &uuid),
        ("{prozess_id}", &uuid),
        ("{nachrichtentyp}", number),
        ("{datum}", &day),
    ]
    .iter()
    .fold(template, |name, (placeholder, value)| name.replace(placeholder, value));
    sicherer_dateiname(&name)
}

/// Names are compared without regard to case, because receivers' file systems may not tell it apart.
fn check_names(main: &str, parts: &[ComposedPart]) -> Result<(), Vec<Diagnostic>> {
    let mut seen = BTreeSet::from([main.to_lowercase()]);
    for part in parts {
        if !seen.insert(part.name.to_lowercase()) {
            return Err(vec![
                Diagnostic::new(
                    "KOP-F006",
                    "Zwei Dateien der Sendung hätten denselben Namen.",
                    "Two files of the message would have the same name.",
                )
                .with_value(&part.name)
                .with_hint("In der Zuordnung datei_mit_uuid() verwenden oder der zweiten Datei einen anderen Namen geben."),
            ]);
        }
    }
    Ok(())
}

/// Adds the script's line to problems that name a target element.
fn locate(problems: Vec<Diagnostic>, mapping: &LoadedMapping) -> Vec<Diagnostic> {
    problems
        .into_iter()
        .map(|problem| {
            let place = match (&problem.place, &problem.target) {
                (None, Some(target)) => mapping.script.place_of(target),
                _ => None,
            };
            match place {
                Some(place) => problem.with_place(place),
                None => problem,
            }
        })
        .collect()
}
