// SPDX-License-Identifier: EUPL-1.2
//! `kop messages release`: a person takes responsibility for files that the virus scanner cannot look into. Who,
//! why and which files stand in the timeline; a file with a finding is never released.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use kop_core::{Zeitpunkt, diagnostic::Lang};
use kop_store::{NewEvent, RetryTarget, Store, SubmissionState, steps::event};
use serde_json::{Value, json};

use super::{one, person, pick};
use crate::problems;

pub(super) async fn run(
    store: &dyn Store,
    number: &str,
    reason: &str,
    lang: Lang,
    now: Zeitpunkt,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let refuse = |de, en| {
        writeln!(io::stderr(), "{}", pick(lang, de, en))?;
        Ok(ExitCode::from(2))
    };
    let reason: String = reason.trim().chars().filter(|c| !c.is_control()).take(500).collect();
    if reason.is_empty() {
        return refuse("Es fehlt der Grund.", "The reason is missing.");
    }
    let Some(found) = one(store, None, number, lang).await? else { return Ok(ExitCode::from(2)) };
    let detail = match store.submission(&found.tenant, found.submission_id).await {
        Ok(detail) => detail,
        Err(error) => return problems::print(&[error.diagnostic()], lang, false, out),
    };
    let last = detail.events.iter().rev().find(|line| line.kind == event::VIRENPRUEFUNG);
    let blind: BTreeSet<&str> = last
        .and_then(|line| line.params["nicht_pruefbar"].as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if detail.submission.summary.state != SubmissionState::Klaerung || blind.is_empty() {
        return refuse(
            "Dieser Eingang hat keine Dateien, die auf eine Freigabe warten.",
            "This submission has no files that wait for a release.",
        );
    }
    let line = NewEvent {
        kind: event::FREIGEGEBEN.to_owned(),
        message_id: None,
        delivery_id: None,
        params: json!({ "von": person(), "grund": reason, "dateien": blind }),
    };
    let released = async {
        store.annotate(&found.tenant, found.submission_id, line, now).await?;
        store.retry(&found.tenant, RetryTarget::Submission(found.submission_id), &person(), now).await
    };
    if let Err(error) = released.await {
        return problems::print(&[error.diagnostic()], lang, false, out);
    }
    let files = blind.len();
    writeln!(out, "{} {}", found.vorgangsnummer, pick(lang, "freigegeben", "released"))?;
    writeln!(out, "{}: {files}", pick(lang, "Dateien", "files"))?;
    Ok(ExitCode::SUCCESS)
}
