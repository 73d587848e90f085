// SPDX-License-Identifier: EUPL-1.2
//! Sends what the form vendors send: OZG-Cloud form-data and intelliForm deposits, plain and as MTOM.

use reqwest::{Response, header, multipart};

use crate::{Error, Server};

/// The password that the examples expect in `KOP_AFM_PASSWORT`.
pub const AFM_PASSWORT: &str = "nur-zum-testen";
/// The user that the examples name for intelliForm.
pub const AFM_BENUTZER: &str = "afm";

/// One file of a submission.
#[derive(Clone)]
pub struct File {
    /// File name as the vendor sends it.
    pub name: String,
    /// Content type.
    pub content_type: String,
    /// Content.
    pub content: Vec<u8>,
}

impl Server {
    /// `POST /{tenant}/antrag` as the OZG-Cloud senders do it: `formData` without file name and content type.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post_ozg_cloud(
        &self,
        tenant: &str,
        form_data: &str,
        representation: Option<File>,
        attachments: Vec<File>,
    ) -> Result<Response, Error> {
        let form = ozg_cloud(form_data, representation, attachments)?;
        Ok(self.client().post(format!("{}/{tenant}/antrag", self.base())).multipart(form).send().await?)
    }

    /// Posts a SOAP 1.1 `deposit` envelope with Basic credentials to the path under which the tenant takes
    /// intelliForm deposits.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post_deposit(&self, path: &str, envelope: &str) -> Result<Response, Error> {
        Ok(self
            .client()
            .post(format!("{}{path}", self.base()))
            .basic_auth(AFM_BENUTZER, Some(AFM_PASSWORT))
            .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
            .header("SOAPAction", "\"\"")
            .body(envelope.to_owned())
            .send()
            .await?)
    }

    /// As [`Server::post_deposit`], as MTOM: the envelope refers to `files` by `cid:` (XOP), each with its
    /// Content-ID.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn post_deposit_mtom(
        &self,
        path: &str,
        envelope: &str,
        files: &[(&str, File)],
    ) -> Result<Response, Error> {
        const BOUNDARY: &str = "uuid-0f9a2c1e-mtom";
        Ok(self
            .client()
            .post(format!("{}{path}", self.base()))
            .basic_auth(AFM_BENUTZER, Some(AFM_PASSWORT))
            .header(header::CONTENT_TYPE, mtom_content_type(BOUNDARY))
            .header("SOAPAction", "\"\"")
            .body(mtom_body(BOUNDARY, envelope, files))
            .send()
            .await?)
    }
}

/// The body of [`Server::post_ozg_cloud`], for whoever sends by a client of their own.
///
/// # Errors
/// When a content type is none.
pub fn ozg_cloud(
    form_data: &str,
    representation: Option<File>,
    attachments: Vec<File>,
) -> Result<multipart::Form, Error> {
    let mut form = multipart::Form::new().text("formData", form_data.to_owned());
    if let Some(file) = representation {
        form = form.part("representation", part(file)?);
    }
    for file in attachments {
        form = form.part("attachment", part(file)?);
    }
    Ok(form)
}

fn mtom_content_type(boundary: &str) -> String {
    format!(
        "multipart/related; type=\"application/xop+xml\"; start=\"<root@kop>\"; start-info=\"text/xml\"; \
         boundary=\"{boundary}\""
    )
}

fn mtom_body(boundary: &str, envelope: &str, files: &[(&str, File)]) -> Vec<u8> {
    let mut body = format!(
        "--{boundary}\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\n\
         Content-Transfer-Encoding: binary\r\nContent-ID: <root@kop>\r\n\r\n{envelope}\r\n"
    )
    .into_bytes();
    for (id, file) in files {
        let head = format!(
            "--{boundary}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\n\
             Content-Disposition: attachment; name=\"{}\"\r\n\r\n",
            file.content_type, file.name
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&file.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn part(file: File) -> Result<multipart::Part, Error> {
    Ok(multipart::Part::bytes(file.content).file_name(file.name).mime_str(&file.content_type)?)
}
