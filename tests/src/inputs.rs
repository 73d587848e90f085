// SPDX-License-Identifier: EUPL-1.2
//! The applications that the example Musterstadt brings along, ready to be sent.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Error, forms::File, workspace};

/// An application as the OZG-Cloud senders have it.
#[derive(Clone)]
pub struct FormData {
    /// The part `formData`.
    pub form_data: String,
    /// The part `representation`.
    pub representation: Option<File>,
    /// The parts `attachment`.
    pub attachments: Vec<File>,
}

/// The Bauantrag with its PDF and two Bauvorlagen.
///
/// # Errors
/// When the example lacks a file.
pub fn bauantrag() -> Result<FormData, Error> {
    let folder = workspace().join("examples/musterstadt/eingaenge/ozg-cloud");
    Ok(FormData {
        form_data: fs::read_to_string(folder.join("formData.json"))?,
        representation: files(&folder.join("representation"))?.into_iter().next(),
        attachments: files(&folder.join("anlagen"))?,
    })
}

/// The Sondernutzung as an intelliForm deposit with its files in base64.
///
/// # Errors
/// When the example lacks the file.
pub fn deposit() -> Result<String, Error> {
    Ok(fs::read_to_string(workspace().join("examples/musterstadt/eingaenge/intelliform/deposit.xml"))?)
}

/// A deposit with its files taken out and referred to by XOP, as a sender with MTOM has it, and the files by
/// their Content-ID.
///
/// # Errors
/// When a content is not base64.
pub fn as_mtom(deposit: &str) -> Result<(String, Vec<(String, File)>), Error> {
    let mut envelope = String::new();
    let mut files = Vec::new();
    let mut rest = deposit;
    while let Some((before, after)) = rest.split_once("<content>") {
        let (text, after) = after.split_once("</content>").ok_or("content ohne Ende")?;
        let compact: String = text.split_whitespace().collect();
        let id = format!("datei-{}@kop", files.len());
        envelope.push_str(before);
        let include = "<xop:Include xmlns:xop=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:";
        envelope.extend(["<content>", include, &id, "\"/></content>"]);
        let file = File {
            name: format!("datei-{}", files.len()),
            content_type: "application/octet-stream".to_owned(),
            content: STANDARD.decode(compact)?,
        };
        files.push((id, file));
        rest = after;
    }
    envelope.push_str(rest);
    Ok((envelope, files))
}

fn files(folder: &Path) -> Result<Vec<File>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        found.push(File {
            name: entry.file_name().to_string_lossy().into_owned(),
            content_type: "application/pdf".to_owned(),
            content: fs::read(entry.path())?,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
