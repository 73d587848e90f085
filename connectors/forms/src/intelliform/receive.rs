// SPDX-License-Identifier: EUPL-1.2
//! Reads a request body piece by piece: the envelope through the extractor, files into the blob store. A
//! sender who must log in has done so before the first file is stored.

use bytes::Bytes;
use futures_util::StreamExt;
use kop_connector_api::{Inbox, IntakePart, Refusal};
use kop_core::{TenantId, Zeitpunkt};
use multer::{Field, Multipart};

use super::{
    auth::{self, Nonces},
    base64_stream::Decoder,
    envelope::{self, MAX_ATTACHMENTS, StoredFile},
    extract::{Extractor, Fault, Found, TAKEN},
};
use crate::{
    credentials::Credentials,
    media_type::MediaType,
    problem,
    upload::{FileWriter, InlineBudget, Meter, Metered},
    xml,
};

/// A request in the middle of its arrival.
pub(super) struct Receiver<'a> {
    pub(super) inbox: &'a dyn Inbox,
    pub(super) tenant: &'a TenantId,
    /// What the sender still has to prove; `None` when nothing.
    pub(super) login: Option<Login<'a>>,
    extractor: Extractor,
    found: Vec<Found>,
    writer: Option<FileWriter>,
    taken: usize,
    files: Vec<StoredFile>,
    budget: InlineBudget,
}

/// A login by UsernameToken that is still to come.
pub(super) struct Login<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) nonces: &'a Nonces,
    pub(super) now: Zeitpunkt,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(inbox: &'a dyn Inbox, tenant: &'a TenantId, login: Option<Login<'a>>) -> Self {
        Self {
            inbox,
            tenant,
            login,
            extractor: Extractor::new(),
            found: Vec::new(),
            writer: None,
            taken: 0,
            files: Vec::new(),
            budget: InlineBudget::new(),
        }
    }

    /// Reads a body that is the envelope itself.
    pub(super) async fn plain(&mut self, mut body: Metered, meter: &Meter) -> Result<(), Refusal> {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|_| meter.refusal(problem::broken_off))?;
            meter.progressed();
            self.envelope_piece(&piece).await?;
        }
        Ok(())
    }

    /// Reads an MTOM body (multipart/related, XOP): the root part is the first one, or the one that `start`
    /// names (RFC 2387 section 3.2).
    pub(super) async fn related(
        &mut self,
        body: Metered,
        meter: &Meter,
        media: &MediaType,
    ) -> Result<(), Refusal> {
        let boundary =
            media.boundary().ok_or_else(|| problem::wrong_media_type("multipart/related mit boundary"))?;
        let start = media.param("start").map(bare_id);
        let mut multipart = Multipart::new(body, boundary);
        let mut root_seen = false;
        while let Some(field) =
            multipart.next_field().await.map_err(|_| meter.refusal(problem::malformed_multipart))?
        {
            meter.progressed();
            let id = header(&field, "content-id").map(|id| bare_id(&id)).unwrap_or_default();
            let is_root = !root_seen && start.as_ref().is_none_or(|start| *start == id);
            if is_root {
                root_seen = true;
                self.root_part(field, meter).await?;
            } else {
                self.file_part(field, meter, id).await?;
            }
        }
        if root_seen { Ok(()) } else { Err(problem::envelope_unreadable("no root part")) }
    }

    /// The envelope without files and header, and the files.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Vec<StoredFile>), Refusal> {
        let skeleton = self.extractor.finish().map_err(refusal)?;
        if self.login.is_some() {
            return Err(problem::credentials_missing());
        }
        Ok((skeleton, self.files))
    }

    async fn root_part(&mut self, mut field: Field<'_>, meter: &Meter) -> Result<(), Refusal> {
        check_charset(&MediaType::of(field.headers()))?;
        while let Some(piece) = chunk(&mut field, meter).await? {
            self.envelope_piece(&piece).await?;
        }
        Ok(())
    }

    async fn file_part(&mut self, mut field: Field<'_>, meter: &Meter, id: String) -> Result<(), Refusal> {
        self.may_store()?;
        let content_type = header(&field, "content-type");
        let encoding = header(&field, "content-transfer-encoding").unwrap_or_default().to_lowercase();
        let mut decoder = match encoding.trim() {
            "" | "binary" | "8bit" | "7bit" => None,
            "base64" => Some(Decoder::default()),
            _ => return Err(problem::malformed_multipart()),
        };
        let mut writer = FileWriter::open(self.inbox, self.tenant, true).await?;
        while let Some(piece) = chunk(&mut field, meter).await? {
            let piece = match &mut decoder {
                None => piece,
                Some(decoder) => {
                    let mut decoded = Vec::new();
                    decoder.push(&piece, &mut decoded).map_err(|_| problem::base64_broken())?;
                    decoded.into()
                }
            };
            writer.write(piece, &mut self.budget).await?;
        }
        if let Some(decoder) = decoder {
            decoder.finish().map_err(|_| problem::base64_broken())?;
        }
        self.keep(writer, id, content_type).await
    }

    async fn envelope_piece(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let mut found = std::mem::take(&mut self.found);
        let result = self.extractor.push(piece, &mut found);
        for found in found.drain(..) {
            match found {
                Found::Header(bytes) => self.header(&bytes)?,
                Found::FileStart => {
                    self.may_store()?;
                    self.writer = Some(FileWriter::open(self.inbox, self.tenant, true).await?);
                }
                Found::FileBytes(bytes) => {
                    if let Some(writer) = &mut self.writer {
                        writer.write(bytes, &mut self.budget).await?;
                    }
                }
                Found::FileEnd => {
                    if let Some(writer) = self.writer.take() {
                        let id = format!("{TAKEN}{}", self.taken);
                        self.taken += 1;
                        self.keep(writer, id, None).await?;
                    }
                }
            }
        }
        self.found = found;
        result.map_err(refusal)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let envelope = xml::read(bytes).map_err(envelope::refusal)?;
        let Some(header) = envelope.child("Header") else { return Ok(()) };
        auth::check_understood(header)?;
        if let Some(login) = &self.login {
            auth::check_token(header, login.credentials, self.tenant, login.nonces, login.now)?;
            self.login = None;
        }
        Ok(())
    }

    /// Refuses files of a sender who has not logged in, and more files than anyone sends.
    fn may_store(&self) -> Result<(), Refusal> {
        if self.login.is_some() {
            return Err(problem::credentials_missing());
        }
        if self.files.len() >= MAX_ATTACHMENTS {
            return Err(problem::too_many_parts(MAX_ATTACHMENTS));
        }
        Ok(())
    }

    async fn keep(&mut self, writer: FileWriter, id: String, kind: Option<String>) -> Result<(), Refusal> {
        let (blob, inline) = writer.finish().await?;
        let part = IntakePart { key: String::new(), file_name: None, content_type: kind, blob, inline };
        self.files.push(StoredFile { content_id: id, part });
        Ok(())
    }
}

async fn chunk(field: &mut Field<'_>, meter: &Meter) -> Result<Option<Bytes>, Refusal> {
    let chunk = field.chunk().await.map_err(|_| meter.refusal(problem::malformed_multipart))?;
    meter.progressed();
    Ok(chunk)
}

fn header(field: &Field<'_>, name: &str) -> Option<String> {
    field.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A Content-ID without its angle brackets.
fn bare_id(id: &str) -> String {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id).to_owned()
}

/// A charset parameter may name UTF-8 or its subset only.
pub(super) fn check_charset(media: &MediaType) -> Result<(), Refusal> {
    match media.param("charset").map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => Ok(()),
        Some(_) => Err(problem::wrong_encoding()),
    }
}

fn refusal(fault: Fault) -> Refusal {
    match fault {
        Fault::Doctype => problem::doctype_refused(),
        Fault::Encoding => problem::wrong_encoding(),
        Fault::Base64 => problem::base64_broken(),
        Fault::Limit => problem::envelope_unreadable("too deep or too large"),
        Fault::Malformed => problem::envelope_unreadable("not well-formed"),
        Fault::CutOff => problem::broken_off(),
    }
}
