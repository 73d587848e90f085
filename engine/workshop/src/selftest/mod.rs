// SPDX-License-Identifier: EUPL-1.2
//! Self-generated conformance: for every message of a package a smallest instance and instances that together
//! cover each optional part and each branch of a choice, made from the schema alone, written by the writer, read
//! back by the reader, and judged by libxml2, xmllint and Xerces-C. No knowledge of any standard.

mod generate;
mod judges;
mod lexical;
mod pattern;
mod spots;
mod value;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kop_core::{Diagnostic, Tree};
use kop_xml::{MessageSchema, Package, WriteOptions};
use serde::Serialize;

use generate::Generator;
use judges::{Judge, Refused};
pub use spots::MAX_LEVEL;

/// Most covering instances of one message.
pub const MAX_INSTANCES: usize = 200;
/// Remarks kept for one message.
const MAX_REMARKS: usize = 20;

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these messages (root or number); all when empty.
    pub messages: Vec<String>,
    /// Foreign validators judge only so many covering instances of each message, the first ones.
    pub sample: Option<usize>,
    /// Leave the foreign validators out.
    pub only_libxml2: bool,
    /// Keep schema documents and instances in this folder.
    pub keep: Option<PathBuf>,
}

/// The verdicts on a package.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Standard of the package.
    pub standard: String,
    /// Its version.
    pub version: String,
    /// xmllint took part.
    pub xmllint: bool,
    /// Xerces-C took part.
    pub xerces: bool,
    /// One row for each message.
    pub messages: Vec<MessageReport>,
}

/// The verdicts on a message.
#[derive(Debug, Default, Serialize)]
pub struct MessageReport {
    /// Root element.
    pub root: String,
    /// Whether there is a smallest instance that everyone accepts.
    pub minimal: bool,
    /// Instances in all, the smallest one among them.
    pub instances: usize,
    /// Optional parts and branches down to [`MAX_LEVEL`].
    pub points: u32,
    /// Of those, in an instance.
    pub covered: u32,
    /// What was left out, with the reason.
    pub cut: Vec<String>,
    /// Documents that could not be written, or that the reader did not give back.
    pub writer: Verdict,
    /// Our own libxml2.
    pub libxml2: Verdict,
    /// The system's xmllint.
    pub xmllint: Verdict,
    /// Xerces-C.
    pub xerces: Verdict,
    /// Instances on which validators disagree.
    pub disagreements: Vec<String>,
}

/// How many a validator judged and refused.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Documents judged.
    pub judged: usize,
    /// Documents refused.
    pub refused: usize,
    /// Reasons, `instance: reason`.
    pub reasons: Vec<String>,
}

impl Verdict {
    fn refuse(&mut self, instance: usize, reason: impl AsRef<str>) {
        self.refused += 1;
        if self.reasons.len() < MAX_REMARKS {
            self.reasons.push(format!("{instance}: {}", reason.as_ref()));
        }
    }
}

impl MessageReport {
    /// Whether all that was made was written, read back and accepted.
    pub fn good(&self) -> bool {
        self.instances > 0
            && [&self.writer, &self.libxml2, &self.xmllint, &self.xerces].iter().all(|one| one.refused == 0)
    }
}

impl Report {
    /// Whether every message is good.
    pub fn good(&self) -> bool {
        self.messages.iter().all(MessageReport::good)
    }
}

/// An instance on disk.
struct Document {
    /// Row of the report.
    message: usize,
    /// Number in the message; 0 is the smallest.
    number: usize,
    refused: bool,
}

/// Runs the self-test on a package; `progress` is told what comes next.
///
/// # Errors
/// Problems of the package itself (KOP-X04…), or KOP-X048 when the folder for the documents cannot be written.
pub fn run(
    package: &Package,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, Vec<Diagnostic>> {
    let draft = tempfile::tempdir().map_err(|error| vec![unwritable(&error)])?;
    let folder = options.keep.as_deref().unwrap_or(draft.path());
    fs::create_dir_all(folder).map_err(|error| vec![unwritable(&error)])?;
    let folder = fs::canonicalize(folder).map_err(|error| vec![unwritable(&error)])?;
    let _held = package.hold().map_err(|problem| vec![problem])?;
    package.unfold(&folder).map_err(|problem| vec![problem])?;
    let judges: Vec<Judge> = [Judge::Xmllint, Judge::Xerces]
        .into_iter()
        .filter(|judge| !options.only_libxml2 && judge.is_there())
        .collect();
    let info = package.info();
    let mut report = Report {
        standard: info.standard.clone(),
        version: info.version.clone(),
        xmllint: judges.contains(&Judge::Xmllint),
        xerces: judges.contains(&Judge::Xerces),
        messages: Vec::new(),
    };
    let asked = |root: &str, number: Option<&str>| {
        options.messages.is_empty()
            || options.messages.iter().any(|one| one == root || Some(one.as_str()) == number)
    };
    let chosen: Vec<_> =
        info.messages.iter().filter(|message| asked(&message.root, message.number.as_deref())).collect();
    if chosen.is_empty()
        && let Some(first) = options.messages.first()
    {
        package.message(first).map_err(|problem| vec![problem])?;
    }
    // schema document → its instances
    let mut documents: BTreeMap<String, BTreeMap<PathBuf, Document>> = BTreeMap::new();
    for (at, message) in chosen.iter().enumerate() {
        progress(&format!("{}/{} {}", at + 1, chosen.len(), message.root));
        let schema = package.message(&message.root).map_err(|problem| vec![problem])?;
        let entry = schema.entry_document().to_owned();
        let beside = folder.join(&entry);
        let mut row = MessageReport { root: message.root.clone(), ..MessageReport::default() };
        let files = documents.entry(entry).or_default();
        let mut put = |number: usize, bytes: &[u8], refused: bool| {
            let file = beside.with_file_name(format!("instanz-{at:04}-{number:03}.xml"));
            fs::write(&file, bytes).map_err(|error| vec![unwritable(&error)])?;
            files.insert(file, Document { message: at, number, refused });
            Ok(())
        };
        one(&schema, &mut row, &mut put)?;
        report.messages.push(row);
    }
    for judge in judges {
        for (entry, files) in &documents {
            progress(&format!("{judge:?} {entry}"));
            foreign(judge, &folder.join(entry), files, options.sample, &mut report.messages)
                .map_err(|error| vec![unwritable(&error)])?;
        }
    }
    Ok(report)
}

/// Takes a document: number, bytes, whether libxml2 refused it.
type Put<'p> = dyn FnMut(usize, &[u8], bool) -> Result<(), Vec<Diagnostic>> + 'p;

/// Makes, writes, reads back and judges the instances of one message.
fn one(
    schema: &Arc<MessageSchema>,
    row: &mut MessageReport,
    put: &mut Put<'_>,
) -> Result<(), Vec<Diagnostic>> {
    let shape = schema.shape().map_err(|problem| vec![problem])?;
    let mut generator = Generator::new(schema, &shape);
    row.points = generator.spots.points;
    match generator.minimal() {
        Ok(tree) => row.minimal = written(schema, 0, &tree, row, put)?,
        Err(why) => row.cut.push(format!("keine kleinste Instanz: {why}")),
    }
    if !row.cut.is_empty() {
        return Ok(());
    }
    while row.instances <= MAX_INSTANCES {
        let Some(tree) = generator.next() else { break };
        written(schema, row.instances, &tree, row, put)?;
    }
    let open = generator.left();
    row.covered = row.points - open - generator.lost;
    if open > 0 {
        row.cut.push(format!("{open} Stellen offen nach {} Instanzen", row.instances));
    }
    if generator.spots.cut {
        row.cut.push("Stellen in der Tiefe ausgelassen: zu viele".to_owned());
    }
    row.cut.extend(generator.reasons.iter().take(MAX_REMARKS).map(|(path, why)| format!("{path}: {why}")));
    Ok(())
}

/// Whether the instance was written, came back from the reader, and is valid for libxml2.
fn written(
    schema: &MessageSchema,
    number: usize,
    tree: &Tree,
    row: &mut MessageReport,
    put: &mut Put<'_>,
) -> Result<bool, Vec<Diagnostic>> {
    let options = WriteOptions { schema_location: true, ..WriteOptions::default() };
    row.instances += 1;
    row.writer.judged += 1;
    let document = match schema.write(tree, &options) {
        Ok(document) => document,
        Err(found) => {
            row.writer.refuse(number, in_words(&found));
            return Ok(false);
        }
    };
    let back = schema.read(&document.bytes).and_then(|tree| schema.write(&tree, &options));
    let same = match back {
        Ok(back) if back.bytes == document.bytes => true,
        Ok(back) => {
            row.writer.refuse(
                number,
                format!("gelesen und geschrieben anders: {}", first_difference(&document.bytes, &back.bytes)),
            );
            false
        }
        Err(found) => {
            row.writer.refuse(number, in_words(&found));
            false
        }
    };
    row.libxml2.judged += 1;
    let verdict = schema.validate(&document.bytes, Some(&document.paths));
    if let Err(found) = &verdict {
        row.libxml2.refuse(number, in_words(found));
    }
    put(number, &document.bytes, verdict.is_err())?;
    Ok(same && verdict.is_ok())
}

fn foreign(
    judge: Judge,
    schema: &Path,
    documents: &BTreeMap<PathBuf, Document>,
    sample: Option<usize>,
    rows: &mut [MessageReport],
) -> std::io::Result<()> {
    let files: Vec<PathBuf> = documents
        .iter()
        .filter(|(_, document)| sample.is_none_or(|most| document.number <= most))
        .map(|(file, _)| file.clone())
        .collect();
    let canary = schema.with_file_name("falsch.xml");
    let mut asked = files.clone();
    let has_canary = match files.first() {
        Some(first) => wrong(first, &canary)?,
        None => false,
    };
    asked.extend(has_canary.then(|| canary.clone()));
    let refused: Refused = judge.judge(schema, &asked)?;
    if has_canary {
        fs::remove_file(&canary)?;
    }
    let blind = has_canary && !refused.contains_key(&canary);
    for file in &files {
        let Some(document) = documents.get(file) else { continue };
        let row = &mut rows[document.message];
        let verdict = if judge == Judge::Xmllint { &mut row.xmllint } else { &mut row.xerces };
        verdict.judged += 1;
        if blind {
            verdict.refuse(document.number, "nichts geprüft: ein falsches Dokument wird auch angenommen");
            continue;
        }
        let reasons = refused.get(file);
        if let Some(reasons) = reasons {
            verdict.refuse(document.number, reasons.join("; "));
            row.minimal &= document.number > 0;
        }
        if reasons.is_some() != document.refused {
            let who = if document.refused {
                format!("libxml2 lehnt ab, {judge:?} nicht")
            } else {
                format!("{judge:?} lehnt ab, libxml2 nicht")
            };
            row.disagreements.push(format!("Instanz {}: {who}", document.number));
        }
    }
    Ok(())
}

/// Makes a document wrong by an element that no schema knows, at the end of the root: a validator that accepts it
/// has not found the schema.
fn wrong(good: &Path, bad: &Path) -> std::io::Result<bool> {
    let text = fs::read_to_string(good)?;
    let Some(end) = text.rfind("</") else { return Ok(false) };
    fs::write(bad, format!("{}<falsch/>{}", &text[..end], &text[end..]))?;
    Ok(true)
}

fn in_words(found: &[Diagnostic]) -> String {
    let some: Vec<String> = found
        .iter()
        .take(3)
        .map(|one| {
            let parts = [
                one.target.as_deref(),
                Some(&*one.de),
                one.hint.as_deref(),
                one.detail.as_deref(),
                one.rule.as_deref(),
            ];
            format!("{} {}", one.code, parts.into_iter().flatten().collect::<Vec<_>>().join(" · "))
        })
        .collect();
    some.join("; ")
}

fn first_difference(a: &[u8], b: &[u8]) -> String {
    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    let around = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 60)]).replace('\n', " ")
    };
    format!("{} ↔ {}", around(a), around(b))
}

fn unwritable(error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(
        "KOP-X048",
        "Der Ordner für die Instanzen oder ein Prüfprogramm ist nicht verfügbar.",
        "The folder for the instances or a validator is not available.",
    )
    .with_detail(error.to_string())
}
