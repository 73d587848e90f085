// SPDX-License-Identifier: EUPL-1.2
//! Brings a tenant's files under its first key: sealed ones get a new header, plain ones are sealed.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
};

use kop_core::{BlobRef, ContentHash, TenantId};

use super::{BlobStore, Shared, blocking, collect, read};
use crate::{
    error::StoreError,
    seal::{Keyring, rewrap_header},
};

/// What was done with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Resealed {
    /// Files that were plain and are sealed now.
    pub sealed: u64,
    /// Files that were sealed with an older key.
    pub rewrapped: u64,
}

impl BlobStore {
    /// Brings the files of one folder (0 to 255) under the tenant's first key; without keys nothing happens.
    ///
    /// # Errors
    /// A key is missing or wrong, or the disk's own. What was done until then stays.
    pub async fn reseal(&self, tenant: &TenantId, shard: u8) -> Result<Resealed, StoreError> {
        let Some(ring) = self.0.keys.ring(tenant)? else { return Ok(Resealed::default()) };
        let folder = self.0.root.join(tenant.as_str()).join(format!("{shard:02x}"));
        let names = blocking(move || Ok(collect::names(&folder)?)).await?;
        let mut done = Resealed::default();
        for name in names {
            if let Some(hash) = name.strip_suffix(super::SEALED).and_then(|hash| hash.parse().ok()) {
                let (store, tenant, ring) = (self.0.clone(), tenant.clone(), ring.clone());
                done.rewrapped += u64::from(blocking(move || rewrap(&store, &tenant, &ring, &hash)).await?);
            } else if let Ok(sha256) = name.parse::<ContentHash>() {
                done.sealed += u64::from(self.seal(tenant, sha256).await?);
            }
        }
        Ok(done)
    }

    /// Copies a plain file into a sealed one, which takes its place.
    async fn seal(&self, tenant: &TenantId, sha256: ContentHash) -> Result<bool, StoreError> {
        let Ok(meta) = fs::metadata(self.0.path(tenant, &sha256)) else { return Ok(false) };
        let blob = BlobRef { sha256, size: meta.len() };
        let mut writer = self.writer(tenant);
        let (store, from) = (self.0.clone(), tenant.clone());
        let mut reading = Some(blocking(move || read::Reading::open(&store, &from, &blob)).await?);
        while let Some(mut open) = reading.take() {
            let (open, chunk) = blocking(move || {
                let mut chunk = Vec::new();
                open.next(&mut chunk)?;
                Ok((open, chunk))
            })
            .await?;
            writer.write(chunk.into()).await?;
            reading = (open.left > 0).then_some(open);
        }
        writer.finish().await?;
        Ok(true)
    }
}

/// Alone behind the gate: a copy must not see half of it.
fn rewrap(store: &Shared, tenant: &TenantId, ring: &Keyring, hash: &ContentHash) -> Result<bool, StoreError> {
    let path = store.sealed_path(tenant, hash);
    let Some(_alone) = store.gate.alone()? else { return Err(StoreError::Busy) };
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(&path) else { return Ok(false) };
    let header = read::read_header(&mut file)?;
    let Some(steps) = rewrap_header(ring, &header)? else { return Ok(false) };
    for (at, bytes) in steps {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&bytes)?;
        file.sync_data()?;
    }
    Ok(true)
}
