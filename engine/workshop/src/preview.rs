// SPDX-License-Identifier: EUPL-1.2
//! An inbox that keeps everything in memory: intakes and adapters run as in production, nothing is stored.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use kop_connector_api::{Accepted, BlobSink, Inbox, Intake, Refusal, RefusalKind};
use kop_core::{
    BlobRef, ContentHash, Diagnostic, SubmissionId, TenantId, VorgangId, Zeitpunkt, ids::stable_uuid,
};

/// Largest file of a previewed payload.
const MAX_FILE: usize = 256 << 20;

/// Files by their hash.
type Files = Arc<Mutex<BTreeMap<ContentHash, Bytes>>>;

/// The inbox.
#[derive(Default)]
pub struct Preview {
    files: Files,
    taken: Mutex<Option<Intake>>,
}

impl Preview {
    /// The payload that was handed over, once.
    pub fn take(&self) -> Option<Intake> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The bytes of a file of the payload.
    pub fn file(&self, blob: &BlobRef) -> Option<Bytes> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(&blob.sha256).cloned()
    }
}

#[async_trait]
impl Inbox for Preview {
    async fn blob(&self, _: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        Ok(Box::new(Sink { bytes: Vec::new(), files: self.files.clone() }))
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(intake);
        let id = stable_uuid(&["vorschau"]);
        Ok(Accepted {
            submission_id: SubmissionId(id),
            vorgang_id: VorgangId(id),
            vorgangsnummer: crate::case::NUMBER.to_owned(),
            vendor_id: None,
            received_at: Zeitpunkt::UNIX_EPOCH,
            repeated: false,
        })
    }
}

struct Sink {
    bytes: Vec<u8>,
    files: Files,
}

#[async_trait]
impl BlobSink for Sink {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        if self.bytes.len() + chunk.len() > MAX_FILE {
            let problem = Diagnostic::new(
                "KOP-E001",
                "Die Datei ist für eine Vorschau zu groß.",
                "The file is too large for a preview.",
            );
            return Err(Refusal::new(RefusalKind::TooLarge, problem));
        }
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<BlobRef, Refusal> {
        let blob = BlobRef { sha256: ContentHash::of(&self.bytes), size: self.bytes.len() as u64 };
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.sha256, self.bytes.into());
        Ok(blob)
    }
}
