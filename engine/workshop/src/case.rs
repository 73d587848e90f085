// SPDX-License-Identifier: EUPL-1.2
//! The tests of a mapping: one folder a case, a payload in and the expected result beside it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use kop_core::{Diagnostic, Eingang, Stage, TenantId, Zeitpunkt, forms::KnownForms, ids::stable_uuid};
use kop_flow::{ComposeInput, Composed, TestedForms, accept::preview, compose};
use kop_mapping::MappingHost;
use kop_tenant::{CodeMitVersion, Identity, LoadedMapping, Target};
use kop_xml::SchemaStore;
use serde::Deserialize;

use crate::{
    compare::{Difference, compare_csv, compare_json, compare_xml},
    payload::{Doors, read_payload, unreadable},
};

/// Vorgangsnummer of every previewed payload.
pub const NUMBER: &str = "TEST-2026-000001";

/// Moment at which every test takes place.
const NOW: &str = "2026-03-02T08:15:30Z";

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Folder's name.
    pub name: String,
    /// Folder.
    pub dir: PathBuf,
}

/// What became of a case.
#[derive(Debug)]
pub struct CaseReport {
    /// The case.
    pub name: String,
    /// What its author says of it.
    pub description: String,
    /// Passed or not.
    pub verdict: Verdict,
}

/// Passed or not, and why.
#[derive(Debug)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Another result than expected.
    Differs(Vec<Difference>),
    /// Problems that were not expected.
    Failed(Vec<Diagnostic>),
    /// A problem was expected and did not come.
    NoProblem(String),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseFile {
    beschreibung: String,
    quelle: Option<String>,
    parameter: BTreeMap<String, String>,
    fehler: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    code: String,
}

/// The cases of a mapping, sorted by name.
pub fn cases(mapping: &LoadedMapping) -> Vec<Case> {
    let Ok(entries) = fs::read_dir(mapping.dir.join("tests")) else { return Vec::new() };
    let mut cases: Vec<Case> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| Case { name: entry.file_name().to_string_lossy().into_owned(), dir: entry.path() })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Runs a case.
pub async fn run_case(
    case: &Case,
    mapping: &LoadedMapping,
    parameters: &BTreeMap<String, String>,
    doors: &Doors,
    host: &MappingHost,
    schemas: &SchemaStore,
) -> CaseReport {
    let (file, verdict) = match read_case(case) {
        Ok(file) => {
            let verdict = judge(case, &file, mapping, parameters, doors, host, schemas).await;
            (file, verdict)
        }
        Err(problem) => (CaseFile::default(), Verdict::Failed(vec![problem])),
    };
    CaseReport { name: case.name.clone(), description: file.beschreibung, verdict }
}

fn read_case(case: &Case) -> Result<CaseFile, Diagnostic> {
    let path = case.dir.join("test.toml");
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| unreadable(&path, error.message())),
        Err(_) => Ok(CaseFile::default()),
    }
}

async fn judge(
    case: &Case,
    file: &CaseFile,
    mapping: &LoadedMapping,
    parameters: &BTreeMap<String, String>,
    doors: &Doors,
    host: &MappingHost,
    schemas: &SchemaStore,
) -> Verdict {
    let eingang = match submission(case, file, doors).await {
        Ok(eingang) => Arc::new(eingang),
        Err(problems) => return Verdict::Failed(problems),
    };
    let mut all = parameters.clone();
    all.extend(file.parameter.clone());
    match (trial(eingang, mapping, all, host, schemas).await, &file.fehler) {
        (Err(problems), Some(expected)) if problems.iter().any(|problem| problem.code == expected.code) => {
            Verdict::Passed
        }
        (Err(problems), _) => Verdict::Failed(problems),
        (Ok(_), Some(expected)) => Verdict::NoProblem(expected.code.clone()),
        (Ok(composed), None) => match differences(case, mapping, &composed) {
            Ok(found) if found.is_empty() => Verdict::Passed,
            Ok(found) => Verdict::Differs(found),
            Err(problem) => Verdict::Failed(vec![problem]),
        },
    }
}

/// Runs a mapping on a submission with invented identities, at a fixed moment.
///
/// # Errors
/// Whatever stands in the way of the message.
pub async fn trial(
    eingang: Arc<Eingang>,
    mapping: &LoadedMapping,
    parameters: BTreeMap<String, String>,
    host: &MappingHost,
    schemas: &SchemaStore,
) -> Result<Composed, Vec<Diagnostic>> {
    let identity = |name: &str, kennung: &str| Identity {
        name: name.to_owned(),
        verzeichnisdienst: Some(CodeMitVersion { code: "DVDV".into(), version: "2".into() }),
        kennung: Some(kennung.to_owned()),
    };
    compose(
        host,
        schemas,
        ComposeInput {
            uuid: stable_uuid(&["nachricht", &eingang.vorgang_uuid()]),
            eingang,
            mapping,
            parameters: Arc::new(parameters),
            reader: &identity("Empfänger im Test", "bab:01056039"),
            author: &identity("Absender im Test", "bap:000000000001"),
            stage: Stage::Test,
            now: moment(),
            package: None,
        },
    )
    .await
}

/// The fixed moment of previews.
pub fn moment() -> Zeitpunkt {
    NOW.parse().unwrap_or(Zeitpunkt::UNIX_EPOCH)
}

/// A case's payload, read as its vendor's intake and adapter would, and the parameters that it sets over the mapping's.
///
/// # Errors
/// The payload or `test.toml` cannot be read.
pub async fn case_input(
    case: &Case,
    parameters: &BTreeMap<String, String>,
    doors: &Doors,
) -> Result<(Arc<Eingang>, BTreeMap<String, String>), Vec<Diagnostic>> {
    let file = read_case(case).map_err(|problem| vec![problem])?;
    let eingang = submission(case, &file, doors).await?;
    let mut all = parameters.clone();
    all.extend(file.parameter);
    Ok((Arc::new(eingang), all))
}

/// The forms of a mapping's test payloads, for [`kop_flow::TestedForms`].
pub struct CaseForms(pub Doors);

/// Cases that are read for their forms.
const FORM_CASES: usize = 100;
/// Largest payload with its files that is read for its form, in bytes.
const FORM_BYTES: u64 = 16 << 20;

#[async_trait]
impl TestedForms for CaseForms {
    async fn forms(&self, mapping: &LoadedMapping) -> KnownForms {
        let mut known = KnownForms::default();
        for case in cases(mapping).into_iter().take(FORM_CASES).filter(|case| size(&case.dir) <= FORM_BYTES) {
            let read = case_input(&case, &BTreeMap::new(), &self.0).await;
            if let Ok((eingang, _)) = read
                && let Some(form) = &eingang.kopf.formular_id
            {
                let whole = read_case(&case).is_ok_and(|file| file.fehler.is_none());
                known.add(form, eingang.kopf.formular_version.as_deref(), &eingang.form_data, whole);
            }
        }
        known
    }
}

/// Bytes of the files in a case's folder and the folders in it.
fn size(folder: &Path) -> u64 {
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    let mut all = files(folder);
    let inner: Vec<_> = all.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect();
    all.extend(inner.iter().flat_map(|folder| files(folder)));
    all.iter()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|found| found.len())
        .sum()
}

async fn submission(case: &Case, file: &CaseFile, doors: &Doors) -> Result<Eingang, Vec<Diagnostic>> {
    let stored = case.dir.join("eingang.json");
    if stored.is_file() {
        let text = fs::read(&stored).map_err(|error| vec![unreadable(&stored, &error.to_string())])?;
        return serde_json::from_slice(&text).map_err(|error| vec![unreadable(&stored, &error.to_string())]);
    }
    let payload =
        ["payload.json", "deposit.xml"].iter().map(|name| case.dir.join(name)).find(|path| path.is_file());
    let payload =
        payload.ok_or_else(|| vec![unreadable(&case.dir, "payload.json, deposit.xml, eingang.json")])?;
    let tenant: TenantId =
        "musterstadt".parse().map_err(|_| vec![unreadable(&payload, "the test's tenant id")])?;
    let (source, normalised) = read_payload(doors, &tenant, &payload, file.quelle.as_deref()).await?;
    Ok(preview(&tenant, source, normalised, NUMBER, moment()))
}

fn differences(
    case: &Case,
    mapping: &LoadedMapping,
    composed: &Composed,
) -> Result<Vec<Difference>, Diagnostic> {
    let path = |extension: &str| case.dir.join(format!("erwartet.{extension}"));
    let read = |path: &Path| fs::read(path).map_err(|error| unreadable(path, &error.to_string()));
    Ok(match mapping.manifest.ziel {
        Target::Xoev { .. } => compare_xml(&read(&path("xml"))?, &composed.bytes)?,
        Target::Csv => {
            let charset = mapping.manifest.csv.zeichensatz.as_str();
            compare_csv(&read(&path("csv"))?, &composed.bytes, charset, mapping.manifest.csv.trennzeichen)
        }
        Target::Json => compare_json(&read(&path("json"))?, &composed.bytes)?,
        // The page is the engine's; what the script says of it is the author's.
        Target::Ablage => {
            let tree = serde_json::to_vec(&composed.tree.to_json()).unwrap_or_default();
            compare_json(&read(&path("json"))?, &tree)?
        }
    })
}
