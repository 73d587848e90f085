// SPDX-License-Identifier: EUPL-1.2
//! The one executor of mappings: script → tree → head → bytes → verdict, plus the parts that go along.
//! It stores nothing, so tests, previews and production run the very same code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kop_core::{
    BlobRef, ContentHash, Diagnostic, Eingang, Stage, Tree, Zeitpunkt, eingang::sicherer_dateiname,
};
use kop_mapping::{FileList, MappingHost, Reads, RunInput, RunOutput};
use kop_tenant::{Identity, LoadedMapping, Target};
use kop_xml::{SchemaStore, WriteOptions};
use uuid::Uuid;

use crate::{head, lineage, target};

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
    /// The schema package to write and validate with; else the one that is in use for the mapping's target.
    pub package: Option<ContentHash>,
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
    /// How long it took.
    pub took: Took,
}

/// How long the parts of making a message took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// The script, its wait for a thread included.
    pub map: Duration,
    /// Writing and judging.
    pub render: Duration,
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
    let script_input = RunInput {
        eingang: input.eingang.clone(),
        tables: input.mapping.tables.clone(),
        parameters: input.parameters.clone(),
        now: input.now,
    };
    let begun = Instant::now();
    let run = host.run(&input.mapping.script, script_input.clone()).await?;
    let map = begun.elapsed();
    let mut parts = files(&input.eingang, &run);
    let document = match render(schemas, &input, &run.tree) {
        Ok(document) => document,
        Err(mut problems) => {
            // The schema knows elements only; the person who mends it needs the field and the line.
            if problems.iter().any(|problem| problem.field.is_none() && problem.target.is_some()) {
                let script = &input.mapping.script;
                let lineage = lineage::trace(host, script, &script_input, &run, lineage::WHEN_FAILED).await;
                lineage.explain(&mut problems);
            }
            return Err(locate(problems, input.mapping));
        }
    };
    let took = Took { map, render: begun.elapsed().saturating_sub(map) };
    if matches!(input.mapping.manifest.ziel, Target::Ablage) {
        let data = serde_json::to_vec_pretty(&*input.eingang).unwrap_or_default();
        parts.push(ComposedPart {
            name: "daten.json".into(),
            content_type: "application/json".into(),
            content: PartContent::Bytes(data),
        });
    }
    let name = main_name(&input, document.extension, &document.number);
    check_names(&name, &parts)?;
    Ok(Composed {
        name,
        content_type: document.content_type,
        bytes: document.bytes,
        parts,
        schema_package: document.schema_package,
        remarks: locate(document.remarks, input.mapping),
        tree: run.tree,
        run: RunReport { prints: run.prints, reads: run.reads },
        took,
    })
}

/// The main document.
#[derive(Default)]
struct Document {
    bytes: Vec<u8>,
    content_type: &'static str,
    extension: &'static str,
    schema_package: Option<ContentHash>,
    /// Number of the XÖV message, for its file name.
    number: String,
    remarks: Vec<Diagnostic>,
}

fn render(schemas: &SchemaStore, input: &ComposeInput<'_>, tree: &Tree) -> Result<Document, Vec<Diagnostic>> {
    let manifest = &input.mapping.manifest;
    match &manifest.ziel {
        Target::Xoev { standard, version, root } => {
            let package = match &input.package {
                Some(hash) => schemas.by_hash(hash),
                None => schemas.find(standard, version),
            };
            let package = package.ok_or_else(|| {
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
            let written = schema.write(&whole, &options)?;
            schema.validate(&written.bytes, Some(&written.paths))?;
            let today = &head::timestamp(input.now)[..10];
            let remarks = schema.check(&written, &options, today)?;
            Ok(Document {
                bytes: written.bytes,
                content_type: "application/xml",
                extension: "xml",
                schema_package: Some(schema.package_hash()),
                number: schema.number().unwrap_or_default().to_owned(),
                remarks,
            })
        }
        Target::Csv => {
            let csv = &manifest.csv;
            let format = target::csv::CsvFormat {
                columns: &csv.spalten,
                separator: csv.trennzeichen,
                charset: csv.zeichensatz.as_str(),
            };
            let bytes = target::csv::render(tree, format)?;
            Ok(Document { bytes, content_type: "text/csv", extension: "csv", ..Document::default() })
        }
        Target::Json => {
            let bytes = target::json::render(tree)?;
            Ok(Document { bytes, content_type: "application/json", extension: "json", ..Document::default() })
        }
        Target::Ablage => {
            let bytes = target::ablage::render(tree);
            Ok(Document { bytes, content_type: "text/html", extension: "html", ..Document::default() })
        }
    }
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
