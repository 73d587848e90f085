// SPDX-License-Identifier: EUPL-1.2
//! Before anything is made of a submission, each of its files is looked at. A finding or a file that cannot be
//! looked into is a Klärungsfall and nothing leaves; a scanner that does not answer delays and never skips.
//!
//! Verdicts are remembered in the timeline, by the file's hash and the version of the signatures, so that a
//! submission that is processed again is not scanned again for nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kop_connector_api::{Scanner, Verdict};
use kop_core::{BlobRef, Diagnostic, Zeitpunkt};
use kop_store::{ClaimedSubmission, EventRecord, NewEvent, StoreError, SubmissionLease, steps::event};
use serde_json::json;

use crate::engine::Engine;

/// While a file is looked at, the lease is renewed this often.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// How long a version that the scanner told is believed.
const VERSION_HOLDS: Duration = Duration::from_secs(30);

/// After a scanner did not answer, nobody asks it for this long.
const REST: Duration = Duration::from_secs(3);

/// The first pause of a submission that waits for its scan; each is twice the one before, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Short, so that everything goes on soon after the scanner is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The scanner with what is known of it.
pub(crate) struct Scanning {
    scanner: Arc<dyn Scanner>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    version: Option<(String, Zeitpunkt)>,
    down: Option<Down>,
}

#[derive(Clone)]
struct Down {
    since: Zeitpunkt,
    rest_until: Zeitpunkt,
    problem: Diagnostic,
}

/// Whether files are looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum ScannerState {
    /// No scanner is set up.
    NotSetUp,
    /// It answered when it was last asked.
    Up,
    /// It does not answer.
    Down {
        /// Since when.
        since: Zeitpunkt,
        /// What stands in the way.
        problem: Box<Diagnostic>,
    },
}

impl Scanning {
    pub(crate) fn new(scanner: Arc<dyn Scanner>) -> Self {
        Self { scanner, known: Mutex::default() }
    }

    fn state(&self) -> ScannerState {
        match self.known().down.clone() {
            Some(down) => ScannerState::Down { since: down.since, problem: Box::new(down.problem) },
            None => ScannerState::Up,
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the signatures; asks at most once in [`VERSION_HOLDS`], and not while the scanner rests.
    async fn version(&self, now: Zeitpunkt) -> Result<String, Diagnostic> {
        {
            let known = self.known();
            if let Some(down) = known.down.as_ref().filter(|down| now < down.rest_until) {
                return Err(down.problem.clone());
            }
            if let Some((version, at)) = &known.version
                && known.down.is_none()
                && now.duration_since(*at).unsigned_abs() < VERSION_HOLDS
            {
                return Ok(version.clone());
            }
        }
        let asked = self.scanner.version().await;
        self.note(asked.as_ref().err(), now);
        let version = asked?;
        self.known().version = Some((version.clone(), now));
        Ok(version)
    }

    /// Keeps in mind whether the scanner answered.
    fn note(&self, problem: Option<&Diagnostic>, now: Zeitpunkt) {
        let mut known = self.known();
        match problem {
            None => {
                if known.down.take().is_some() {
                    tracing::info!("The virus scanner answers again.");
                }
            }
            Some(problem) => {
                let since = known.down.as_ref().map_or(now, |down| down.since);
                if known.down.is_none() {
                    tracing::error!(%problem, "The virus scanner does not answer; submissions wait.");
                }
                let rest_until = now.checked_add(REST).unwrap_or(now);
                known.down = Some(Down { since, rest_until, problem: problem.clone() });
            }
        }
    }
}

impl Engine {
    /// What is known of the scanner, without asking it.
    pub fn scanner_state(&self) -> ScannerState {
        self.scanning.as_ref().map_or(ScannerState::NotSetUp, Scanning::state)
    }

    /// Asks the scanner, unless it was asked just now.
    pub async fn ask_scanner(&self) -> ScannerState {
        let Some(scanning) = &self.scanning else { return ScannerState::NotSetUp };
        let _noted = scanning.version(self.now()).await;
        scanning.state()
    }
}

/// What looking at the files led to.
pub(crate) enum Looked {
    /// Go on.
    Pass(Vec<NewEvent>),
    /// A person must look; nothing may be made of it.
    Stop(Vec<Diagnostic>, Vec<NewEvent>),
    /// No verdict yet: try again then.
    Later(Zeitpunkt, Vec<NewEvent>),
}

/// Looks at every file of a submission. Its lease is renewed meanwhile.
pub(crate) async fn look(engine: &Engine, claimed: &mut ClaimedSubmission) -> Looked {
    let Some(scanning) = &engine.scanning else { return Looked::Pass(Vec::new()) };
    let summary = &claimed.submission.summary;
    let (tenant, id) = (summary.tenant.clone(), summary.submission_id);
    let past = match engine.parts.store.submission(&tenant, id).await {
        Ok(detail) => Past::of(&detail.events),
        Err(error) if error.passes() => {
            let now = engine.now();
            return Looked::Later(now.checked_add(FIRST_PAUSE).unwrap_or(now), Vec::new());
        }
        Err(error) => return Looked::Stop(vec![error.diagnostic()], Vec::new()),
    };
    let spread = f64::from(id.0.as_bytes()[15]) / 255.0;
    let later = |now: Zeitpunkt, problem: &Diagnostic, events: Vec<NewEvent>| {
        let pause = FIRST_PAUSE.saturating_mul(1 << past.put_off.min(8)).min(LONGEST_PAUSE);
        // Spread, so that all that wait do not return at once.
        let pause = pause.mul_f64(0.75 + 0.25 * spread);
        // Once is enough to be told: the lines of a scanner that is away for days must not fill the timeline.
        let said = past.last_code.as_deref() == Some(&problem.code);
        let why = (!said).then(|| line(json!({ "code": problem.code })));
        Looked::Later(now.checked_add(pause).unwrap_or(now), events.into_iter().chain(why).collect())
    };
    let version = match scanning.version(engine.now()).await {
        Ok(version) => version,
        Err(problem) => return later(engine.now(), &problem, Vec::new()),
    };

    let files = claimed.submission.payload.clone();
    let mut tally = Tally { version, files: files.len(), ..Tally::default() };
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let hash = file.blob.sha256.to_string();
        if !seen.insert(hash.clone()) {
            continue;
        }
        if past.version.as_deref() == Some(&tally.version) && past.clean.contains(&hash) {
            tally.clean.push(hash);
            continue;
        }
        tally.scanned += 1;
        let begun = std::time::Instant::now();
        let verdict = {
            let lease = &mut claimed.lease;
            let scanning = one(engine, scanning, &tenant, &file.blob);
            keeping_lease(engine, lease, scanning).await
        };
        engine.metrics.scan.observe(begun.elapsed());
        match verdict {
            Ok(Verdict::Clean) => tally.clean.push(hash),
            Ok(Verdict::Found(name)) => {
                tally.found += 1;
                problems.push(found(index, file.file_name.as_deref(), name));
            }
            Ok(Verdict::Unscannable(_)) if past.released.contains(&hash) => tally.released += 1,
            Ok(Verdict::Unscannable(why)) => {
                tally.blind.push(hash);
                problems.push(not_to_be_scanned(index, file.file_name.as_deref(), why));
            }
            Err(Failure::Scanner(problem)) => {
                scanning.note(Some(&problem), engine.now());
                return later(engine.now(), &problem, tally.line().into_iter().collect());
            }
            Err(Failure::File(problem)) => {
                return Looked::Stop(vec![problem], tally.line().into_iter().collect());
            }
        }
    }
    let events = tally.line().into_iter().collect();
    if problems.is_empty() { Looked::Pass(events) } else { Looked::Stop(problems, events) }
}

enum Failure {
    Scanner(Diagnostic),
    File(Diagnostic),
}

async fn one(
    engine: &Engine,
    scanning: &Scanning,
    tenant: &kop_core::TenantId,
    blob: &BlobRef,
) -> Result<Verdict, Failure> {
    let content = engine
        .parts
        .blobs
        .open(tenant, blob)
        .await
        .map_err(|error: StoreError| Failure::File(error.diagnostic()))?;
    scanning.scanner.scan(Box::pin(content), blob.size).await.map_err(Failure::Scanner)
}

/// Does something that may take longer than a lease, and keeps the lease meanwhile.
async fn keeping_lease<T>(engine: &Engine, lease: &mut SubmissionLease, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(RENEW_EVERY) => {
                let renewed = engine.parts.store.renew_submission(lease, crate::process::LEASE, engine.now()).await;
                match renewed {
                    Ok(renewed) => *lease = renewed,
                    // Whoever took it over records the result; ours will be refused.
                    Err(error) => tracing::warn!(submission = %lease.submission_id, %error, "Lease not renewed."),
                }
            }
        }
    }
}

/// What the timeline tells of earlier looks.
#[derive(Default)]
struct Past {
    version: Option<String>,
    clean: BTreeSet<String>,
    released: BTreeSet<String>,
    /// How often in a row the submission was put off.
    put_off: u32,
    last_code: Option<String>,
}

impl Past {
    fn of(events: &[EventRecord]) -> Self {
        let mut past = Self::default();
        let hashes = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
        };
        for event in events {
            match event.kind.as_str() {
                event::ZURUECKGESTELLT => past.put_off += 1,
                event::VIRENPRUEFUNG => {
                    past.last_code = event.params["code"].as_str().map(str::to_owned);
                    if let Some(version) = event.params["version"].as_str() {
                        if past.version.as_deref() != Some(version) {
                            past.clean.clear();
                            past.version = Some(version.to_owned());
                        }
                        past.clean.extend(hashes(&event.params["sauber"]));
                    }
                }
                event::FREIGEGEBEN => past.released.extend(hashes(&event.params["dateien"])),
                event::NEU_ANGESTOSSEN | event::VERARBEITET => past.put_off = 0,
                _ => {}
            }
        }
        past
    }
}

/// What this look found.
#[derive(Default)]
struct Tally {
    version: String,
    files: usize,
    scanned: u32,
    clean: Vec<String>,
    blind: Vec<String>,
    found: u32,
    released: u32,
}

impl Tally {
    /// A line, unless everything was known before.
    fn line(self) -> Option<NewEvent> {
        (self.scanned > 0).then(|| {
            line(json!({
                "dateien": self.files, "version": self.version, "sauber": self.clean, "funde": self.found,
                "nicht_pruefbar": self.blind, "freigegeben": self.released,
            }))
        })
    }
}

fn line(params: serde_json::Value) -> NewEvent {
    NewEvent { kind: event::VIRENPRUEFUNG.to_owned(), message_id: None, delivery_id: None, params }
}

/// Files are named by their place; the name that came along is a value and shown masked.
fn about(problem: Diagnostic, name: Option<&str>, detail: String) -> Diagnostic {
    let problem = problem.with_detail(detail);
    match name {
        Some(name) => problem.with_value(name),
        None => problem,
    }
}

fn place(index: usize) -> (String, String) {
    match index {
        0 => ("den Antragsdaten".to_owned(), "the form data".to_owned()),
        n => (format!("der {n}. Datei"), format!("file {n}")),
    }
}

fn found(index: usize, name: Option<&str>, finding: String) -> Diagnostic {
    let (de, en) = place(index);
    let problem = Diagnostic::new(
        "KOP-F040",
        format!("In {de} des Antrags wurde Schadsoftware gefunden; es geht nichts hinaus."),
        format!("Malware was found in {en} of the application; nothing leaves."),
    );
    about(problem, name, finding)
}

fn not_to_be_scanned(index: usize, name: Option<&str>, why: String) -> Diagnostic {
    let (de, en) = place(index);
    let problem = Diagnostic::new(
        "KOP-F041",
        format!("In {de} des Antrags kann die Virenprüfung nicht hineinsehen; es geht nichts hinaus."),
        format!("The virus scanner cannot look into {en} of the application; nothing leaves."),
    )
    .with_hint(
        "Nach eigener Prüfung freigeben: „kop messages release“ mit --grund; sonst neu einreichen lassen.",
    );
    about(problem, name, why)
}
