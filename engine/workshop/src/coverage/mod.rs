// SPDX-License-Identifier: EUPL-1.2
//! What the test cases of a mapping cover: elements of the target and where they come from, fields of the forms, rows
//! of the tables, enumerated codes, and what no case takes. Found out by running the script, so it holds for any
//! script.

mod elements;
mod fields;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kop_core::{BlobRef, ContentHash, Diagnostic, Eingang, Tree, diagnostic::Place, eingang::Anlage};
use kop_flow::{
    Composed,
    drift::plain,
    lineage::{self, Lineage},
};
use kop_mapping::{MappingHost, Read, RunInput, RunOutput};
use kop_tenant::{LoadedMapping, Target};
use kop_xml::{Inventory, SchemaStore};
use serde::Serialize;

use crate::case::{moment, trial};

/// A payload to run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The test case's or the file's name.
    pub name: String,
    /// The submission.
    pub eingang: Arc<Eingang>,
    /// Parameters of mapping and case.
    pub parameters: BTreeMap<String, String>,
}

/// Where an element's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filling {
    /// From a field of the form.
    Feld,
    /// From what comes with the form: numbers, applicant's account, files.
    Eingang,
    /// From a parameter.
    Parameter,
    /// The same in every case, or chosen by a field among constants.
    Fest,
    /// Written by the engine: head, code lists, fixed values.
    Engine,
    /// The script writes it, but in no case.
    NurImSkript,
    /// The script does not write it.
    Nie,
}

/// One element or attribute of the target.
#[derive(Clone, Debug, Serialize)]
pub struct Element {
    /// Path in the message, without numbers of repeats.
    #[serde(rename = "pfad")]
    pub path: String,
    /// Whether it must be there when its parent is.
    #[serde(rename = "pflicht")]
    pub required: bool,
    /// Where its content comes from.
    #[serde(rename = "herkunft")]
    pub filling: Filling,
    /// Fields whose value it holds, or that decide about it.
    #[serde(rename = "felder", skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
    /// Where the script writes it.
    #[serde(rename = "stelle", skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Cases that fill it.
    #[serde(rename = "faelle")]
    pub cases: usize,
}

/// One field of the forms.
#[derive(Clone, Debug, Serialize)]
pub struct FieldUse {
    /// Path, without numbers of repeats.
    #[serde(rename = "pfad")]
    pub path: String,
    /// What the citizen sees beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Payloads that have it.
    #[serde(rename = "antraege")]
    pub samples: usize,
    /// Payloads in which it is filled.
    #[serde(rename = "ausgefuellt")]
    pub filled: usize,
    /// Whether the script read it in any case.
    #[serde(rename = "gelesen")]
    pub read: bool,
    /// Elements that it shows in.
    #[serde(rename = "ziele", skip_serializing_if = "BTreeSet::is_empty")]
    pub targets: BTreeSet<String>,
    /// Elements that are there or not depending on it.
    #[serde(rename = "entscheidet", skip_serializing_if = "BTreeSet::is_empty")]
    pub decides: BTreeSet<String>,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableUse {
    /// Its name.
    pub name: String,
    /// Number of rows.
    #[serde(rename = "zeilen")]
    pub rows: usize,
    /// Keys of rows that no case uses.
    #[serde(rename = "nie")]
    pub never: Vec<String>,
    /// Whether every row was looked at; a very large table is not.
    #[serde(rename = "vollstaendig")]
    pub complete: bool,
}

/// An element whose codes the schema enumerates.
#[derive(Clone, Debug, Serialize)]
pub struct CodeUse {
    /// Path of the code.
    #[serde(rename = "pfad")]
    pub path: String,
    /// Codes that the cases give.
    #[serde(rename = "erzeugt")]
    pub produced: BTreeSet<String>,
    /// The others.
    #[serde(rename = "nie")]
    pub never: Vec<String>,
}

/// One payload and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct SampleState {
    /// Its name.
    pub name: String,
    /// Whether it gave a message; else the problems' codes.
    #[serde(rename = "nachricht")]
    pub message: bool,
    /// Codes of the problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// Payloads.
    #[serde(rename = "faelle")]
    pub samples: Vec<SampleState>,
    /// Elements, by path.
    #[serde(rename = "elemente")]
    pub elements: Vec<Element>,
    /// Fields, by path.
    #[serde(rename = "felder")]
    pub fields: Vec<FieldUse>,
    /// Tables, by name.
    #[serde(rename = "tabellen")]
    pub tables: Vec<TableUse>,
    /// Enumerated codes, by path.
    pub codes: Vec<CodeUse>,
}

impl Coverage {
    /// Fields that decide about elements but are filled in every payload or in none: one of the two branches is
    /// not tested. A form without the field is one that leaves it empty.
    pub fn one_sided(&self) -> impl Iterator<Item = &FieldUse> {
        let all = self.samples.len();
        self.fields
            .iter()
            .filter(move |field| !field.decides.is_empty() && (field.filled == 0 || field.filled == all))
    }
}

/// What a payload gave: values by path without numbers.
pub(crate) type Values = BTreeMap<String, Vec<String>>;

/// One payload that gave a message.
struct Traced {
    input: RunInput,
    values: Values,
    /// What only the engine wrote.
    engine: BTreeSet<String>,
    /// All that the message holds; the script's values where the target is not XML.
    whole: Values,
    reads: Vec<Read>,
    /// Elements whose value stands so outside the form's fields.
    outside: BTreeSet<String>,
    lineage: Lineage,
}

/// Looks at what payloads cover.
///
/// # Errors
/// The target's schema is not there.
pub async fn coverage(
    host: &MappingHost,
    schemas: &SchemaStore,
    mapping: &LoadedMapping,
    samples: &[Sample],
) -> Result<Coverage, Vec<Diagnostic>> {
    let inventory = inventory(schemas, mapping)?;
    let mut states = Vec::new();
    let mut traced = Vec::new();
    let mut inputs = Vec::new();
    for sample in samples {
        let input = RunInput {
            eingang: sample.eingang.clone(),
            tables: mapping.tables.clone(),
            parameters: Arc::new(sample.parameters.clone()),
            now: moment(),
        };
        inputs.push(input.clone());
        let made = trial(sample.eingang.clone(), mapping, sample.parameters.clone(), host, schemas).await;
        let codes = match made {
            Ok(composed) => {
                traced.push(trace(host, schemas, mapping, input, composed).await);
                Vec::new()
            }
            Err(problems) => problems
                .into_iter()
                .map(|problem| problem.code)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        states.push(SampleState { name: sample.name.clone(), message: codes.is_empty(), codes });
    }
    let parameters = parameter_effects(host, mapping, &traced).await;
    let beside = outside_effects(host, mapping, &traced).await;
    for (one, moved) in traced.iter_mut().zip(beside) {
        one.outside.extend(moved);
    }
    let elements = elements::elements(mapping, inventory.as_ref(), &traced, &parameters);
    Ok(Coverage {
        samples: states,
        codes: inventory.as_ref().map(|all| elements::codes(all, &traced)).unwrap_or_default(),
        elements,
        fields: fields::fields(samples, &traced),
        tables: tables::tables(host, mapping, &inputs).await,
    })
}

fn inventory(schemas: &SchemaStore, mapping: &LoadedMapping) -> Result<Option<Inventory>, Vec<Diagnostic>> {
    let Target::Xoev { standard, version, root } = &mapping.manifest.ziel else { return Ok(None) };
    let Some(package) = schemas.find(standard, version) else {
        return Err(vec![Diagnostic::new(
            "KOP-F005",
            format!("Das Schema „{standard} {version}“ ist nicht vorhanden."),
            format!("The schema \"{standard} {version}\" is not there."),
        )]);
    };
    package.inventories(&[root]).map(|mut found| found.pop()).map_err(|problem| vec![problem])
}

async fn trace(
    host: &MappingHost,
    schemas: &SchemaStore,
    mapping: &LoadedMapping,
    input: RunInput,
    composed: Composed,
) -> Traced {
    let values = values(&composed.tree);
    let whole = whole(schemas, mapping, &composed).unwrap_or_else(|| values.clone());
    let engine = whole.keys().filter(|path| !values.contains_key(*path)).cloned().collect();
    let reads = composed.run.reads.clone();
    let from_outside = |found: &&String| reads.of_value(found).is_some_and(|read| read.path.starts_with('@'));
    let outside = values
        .iter()
        .filter(|(_, found)| found.iter().any(|value| from_outside(&value)))
        .map(|(path, _)| path.clone())
        .collect();
    let base = RunOutput {
        tree: composed.tree,
        files: Vec::new(),
        reads: composed.run.reads,
        prints: Vec::new(),
        keys: Arc::clone(mapping.script.key_positions()),
    };
    let lineage = lineage::trace(host, &mapping.script, &input, &base, lineage::WHEN_ASKED).await;
    Traced { input, values, engine, whole, reads: base.reads.iter().collect(), outside, lineage }
}

/// The whole message read back, head and fixed values included.
fn whole(schemas: &SchemaStore, mapping: &LoadedMapping, composed: &Composed) -> Option<Values> {
    let Target::Xoev { standard, version, root } = &mapping.manifest.ziel else { return None };
    let schema = schemas.find(standard, version)?.message(root).ok()?;
    schema.read(&composed.bytes).ok().map(|tree| values(&tree))
}

/// Elements that move when a parameter changes.
async fn parameter_effects(
    host: &MappingHost,
    mapping: &LoadedMapping,
    traced: &[Traced],
) -> BTreeSet<String> {
    let mut moved = BTreeSet::new();
    for one in traced {
        for name in one.input.parameters.keys() {
            let mut parameters = (*one.input.parameters).clone();
            parameters.entry(name.clone()).and_modify(|value| value.push('1'));
            let input = RunInput { parameters: Arc::new(parameters), ..one.input.clone() };
            moved.extend(moves(host, mapping, one, input).await);
        }
    }
    moved
}

/// Elements that move when something outside the form's fields changes: its files, its number, its moment.
async fn outside_effects(
    host: &MappingHost,
    mapping: &LoadedMapping,
    traced: &[Traced],
) -> Vec<BTreeSet<String>> {
    let mut all = Vec::new();
    for one in traced {
        let mut moved = BTreeSet::new();
        for change in [rename_files, change_files, change_head] {
            let mut eingang = (*one.input.eingang).clone();
            change(&mut eingang);
            let input = RunInput { eingang: Arc::new(eingang), ..one.input.clone() };
            moved.extend(moves(host, mapping, one, input).await);
        }
        all.push(moved);
    }
    all
}

fn files(eingang: &mut Eingang) -> impl Iterator<Item = &mut Anlage> {
    eingang.anlagen.iter_mut().chain(&mut eingang.repraesentationen)
}

fn rename_files(eingang: &mut Eingang) {
    for file in files(eingang) {
        file.name.insert(0, 'x');
    }
}

fn change_files(eingang: &mut Eingang) {
    for file in files(eingang) {
        file.blob = BlobRef { sha256: ContentHash::of(&[]), size: file.blob.size + 1 };
    }
}

fn change_head(eingang: &mut Eingang) {
    const LATER: Duration = Duration::from_secs(40 * 24 * 60 * 60);
    eingang.kopf.vorgangsnummer.push('1');
    let later = eingang.kopf.eingangszeitpunkt.checked_add(LATER);
    eingang.kopf.eingangszeitpunkt = later.unwrap_or(eingang.kopf.eingangszeitpunkt);
}

/// Elements that hold something else, or are gone, with another input; none when the script refuses it.
async fn moves(
    host: &MappingHost,
    mapping: &LoadedMapping,
    base: &Traced,
    input: RunInput,
) -> BTreeSet<String> {
    let Ok(run) = host.run(&mapping.script, input).await else { return BTreeSet::new() };
    let now = values(&run.tree);
    let moved = base.values.iter().filter(|(path, was)| now.get(*path) != Some(was));
    moved.map(|(path, _)| path.clone()).collect()
}

/// Every value of a tree by its path without numbers of repeats; empty things are left out, as the writer does.
pub(crate) fn values(tree: &Tree) -> Values {
    let mut found = Values::new();
    // An explicit stack: the depth of a result is its author's choice.
    let mut stack = vec![(String::new(), tree)];
    while let Some((path, tree)) = stack.pop() {
        let text = match tree {
            Tree::Nothing => continue,
            Tree::Text(text) if text.is_empty() => continue,
            Tree::Text(text) => text.to_string(),
            Tree::Bool(value) => value.to_string(),
            Tree::Int(value) => value.to_string(),
            Tree::List(items) => {
                stack.extend(items.iter().rev().map(|item| (path.clone(), item)));
                continue;
            }
            Tree::Map(entries) => {
                for (key, value) in entries.iter().rev() {
                    let below = match (&**key, path.is_empty()) {
                        ("$" | "#", _) => path.clone(),
                        (key, true) => key.to_owned(),
                        (key, false) => format!("{path}/{key}"),
                    };
                    stack.push((below, value));
                }
                continue;
            }
        };
        found.entry(path).or_default().push(text);
    }
    found
}
