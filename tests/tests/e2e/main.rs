// SPDX-License-Identifier: EUPL-1.2
//! The promises of the main path, shown on the real program from outside: HTTP in, files out.

mod alarms;
mod causes;
mod codes;
mod corrections;
mod coverage;
mod crash;
mod diagnoses;
mod hostile_scripts;
mod judged;
mod keeping;
mod lanes;
mod large;
mod operation;
mod receiver;
mod refusals;
mod remap;
mod repeats;
mod restart;
mod scale;
mod scanned;
mod selftest;
mod sources;
mod stages;
mod traces;
mod way;

use kop_tests::{Error, Server, forms::File, inputs};
use serde_json::Value;

/// The folder under which the example's tenant takes things in.
const TENANT: &str = "musterstadt";
/// Where it takes in intelliForm deposits.
const DEPOSIT: &str = "/musterstadt/deposit";
/// A file of the example that says everything about its tenant.
const CONFIG: &str = "mandanten/musterstadt/mandant.toml";

/// Sends the Bauantrag of the example, with another text for its `formData` if wanted, and reads the answer.
async fn send_bauantrag(server: &Server, change: impl FnOnce(&str) -> String) -> Result<Value, Error> {
    let application = inputs::bauantrag()?;
    let answer = server
        .post_ozg_cloud(
            TENANT,
            &change(&application.form_data),
            application.representation,
            application.attachments,
        )
        .await?;
    if !answer.status().is_success() {
        return Err(format!("{}: {}", answer.status(), answer.text().await?).into());
    }
    Ok(serde_json::from_str(&answer.text().await?)?)
}

/// Sends the deposit of the example as MTOM; the answer's status and body.
async fn send_mtom(server: &Server, deposit: &str) -> Result<(u16, String), Error> {
    let (envelope, files) = inputs::as_mtom(deposit)?;
    let files: Vec<(&str, File)> = files.iter().map(|(id, file)| (id.as_str(), file.clone())).collect();
    let answer = server.post_deposit_mtom(DEPOSIT, &envelope, &files).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// The single XML file of a delivered Sendung.
fn message(sendung: &std::path::Path) -> Result<std::path::PathBuf, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(sendung)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            found.push(path);
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(format!("{} XML-Dateien in {}", found.len(), sendung.display()).into()),
    }
}
