// SPDX-License-Identifier: EUPL-1.2
//! Lends the store's blobs to connectors and intakes, which know only the connectors' contract.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kop_connector_api::{BlobRead, BlobSink, Blobs, Refusal, RefusalKind};
use kop_core::{BlobRef, TenantId};
use kop_store::{BlobStore, BlobWriter, StoreError};

/// Reads blobs for connectors.
pub struct StoredBlobs(pub Arc<BlobStore>);

#[async_trait]
impl Blobs for StoredBlobs {
    async fn open(&self, tenant: &TenantId, blob: &BlobRef) -> std::io::Result<BlobRead> {
        let reader = self.0.open(tenant, blob).await.map_err(std::io::Error::other)?;
        Ok(Box::pin(reader))
    }
}

/// Writes one blob for an intake.
pub(crate) struct Sink(pub(crate) BlobWriter);

#[async_trait]
impl BlobSink for Sink {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        self.0.write(chunk).await.map_err(|error| refusal(&error))
    }

    async fn finish(self: Box<Self>) -> Result<BlobRef, Refusal> {
        self.0.finish().await.map_err(|error| refusal(&error))
    }
}

/// What a sender is told when the store cannot.
pub(crate) fn refusal(error: &StoreError) -> Refusal {
    let kind = match error {
        error if error.passes() => RefusalKind::Busy,
        StoreError::TooLarge(_) => RefusalKind::TooLarge,
        _ => RefusalKind::Technical,
    };
    Refusal::new(kind, error.diagnostic())
}
