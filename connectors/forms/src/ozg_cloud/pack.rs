// SPDX-License-Identifier: EUPL-1.2
//! Packs a JSON file and its attachments as a sender of form-data would: for `kop submit` and tests, so that
//! they take the same way as a request over the network.

use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use kop_connector_api::{BodyStream, FileStream, PayloadFile};

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

/// Names within a part's head: quotes and line breaks would end them.
fn clean(text: &str) -> String {
    text.replace(['"', '\r', '\n', '\\'], "_")
}

fn part_head(boundary: &str, head: &str) -> String {
    format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n")
}

/// The head of the JSON.
const FORM_DATA: &str = "name=\"formData\"\r\nContent-Type: application/json";

fn file_head(field: &str, name: &str, content_type: &str) -> String {
    let (field, name, content_type) = (clean(field), clean(name), clean(content_type));
    format!("name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: {content_type}")
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
        body.extend_from_slice(part_head(&boundary, head).as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part(FORM_DATA, form_data);
    for file in files {
        part(&file_head(&file.field, &file.name, &file.content_type), &file.content);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// The same, read while it is sent. Nobody has seen the whole content before, so the boundary is one that nobody
/// who wrote it could have foreseen.
pub(super) fn pack_stream(form_data: BodyStream, files: Vec<FileStream>) -> (String, BodyStream) {
    let boundary = format!("kop-antrag-{}", unforeseen());
    let said = |text: String| -> BodyStream { Box::pin(stream::iter([Ok(Bytes::from(text))])) };
    let mut pieces = vec![said(part_head(&boundary, FORM_DATA)), form_data, said("\r\n".to_owned())];
    for file in files {
        let field = if file.representation { "representation" } else { "attachment" };
        pieces.push(said(part_head(&boundary, &file_head(field, &file.name, &file.content_type))));
        pieces.push(file.content);
        pieces.push(said("\r\n".to_owned()));
    }
    pieces.push(said(format!("--{boundary}--\r\n")));
    (format!("multipart/form-data; boundary={boundary}"), Box::pin(stream::iter(pieces).flatten()))
}

/// 128 bits from the keys that the standard library draws from the system for its hash maps.
fn unforeseen() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_streamed_request_is_the_packed_one() {
        let content = |text: &'static str| -> BodyStream { Box::pin(stream::iter([Ok(Bytes::from(text))])) };
        let file = |field: &str| PackedFile {
            field: field.to_owned(),
            name: "a\"b.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            content: Bytes::from("inhalt"),
        };
        let (_, packed) = pack(b"{}", &[file("representation"), file("attachment")]);
        let files = [true, false].map(|representation| FileStream {
            representation,
            name: "a\"b.pdf".to_owned(),
            content_type: "application/pdf".to_owned(),
            content: content("inhalt"),
        });
        let (content_type, body) = pack_stream(content("{}"), files.into());
        let body: Vec<Bytes> = body.map(Result::unwrap).collect().await;
        let boundary = content_type.split_once("boundary=").unwrap().1;
        let body = String::from_utf8(body.concat()).unwrap().replace(boundary, "kop-antrag");
        assert_eq!(body.as_bytes(), packed);
        let (other, _) = pack_stream(content(""), Vec::new());
        assert_ne!(other, content_type);
    }
}
