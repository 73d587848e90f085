// SPDX-License-Identifier: EUPL-1.2
//! Packs a JSON file and its attachments as a sender of form-data would: for `kop submit` and tests, so that
//! they take the same way as a request over the network.

use bytes::Bytes;
use kop_connector_api::PayloadFile;

/// A file to be packed.
#[derive(Clone, Debug)]
pub struct PackedFile {
    /// Name of the multipart field: `attachment` or `representation`.
    pub field: String,
    /// File name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
}

impl From<&PayloadFile> for PackedFile {
    fn from(file: &PayloadFile) -> Self {
        Self {
            field: if file.representation { "representation" } else { "attachment" }.to_owned(),
            name: file.name.clone(),
            content_type: file.content_type.clone(),
            content: file.content.clone(),
        }
    }
}

/// The Content-Type header and the body of a request with this JSON and these files. Quotes and line breaks
/// in file names become `_`.
pub fn pack(form_data: &[u8], files: &[PackedFile]) -> (String, Vec<u8>) {
    let mut boundary = String::from("kop-antrag");
    let occurs = |boundary: &str| {
        let within = |bytes: &[u8]| bytes.windows(boundary.len()).any(|window| window == boundary.as_bytes());
        within(form_data) || files.iter().any(|file| within(&file.content))
    };
    while occurs(&boundary) {
        boundary.push('-');
        boundary.push_str(&kop_core::ContentHash::of(boundary.as_bytes()).short());
    }
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"formData\"\r\nContent-Type: application/json", form_data);
    for file in files {
        let clean = |text: &str| text.replace(['"', '\r', '\n', '\\'], "_");
        part(
            &format!(
                "name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}",
                clean(&file.field),
                clean(&file.name),
                clean(&file.content_type)
            ),
            &file.content,
        );
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
