// SPDX-License-Identifier: EUPL-1.2
//! The data folder: database and blobs belong together and are opened together.

use std::{path::Path, sync::Arc};

use crate::{
    blob::BlobStore,
    error::StoreError,
    seal::{Keys, NoKeys, SealedStore},
    sqlite::SqliteStore,
};

/// Folder of the blobs below the data folder.
pub(crate) const BLOBS: &str = "blobs";

/// Database and blobs of one instance.
pub struct DataFolder {
    /// The rows.
    pub store: SealedStore,
    /// The files.
    pub blobs: BlobStore,
}

impl DataFolder {
    /// Opens a data folder as the one process that processes and delivers. Creates it, migrates the database,
    /// ends the leases of an earlier process, removes its unfinished files and puts back what it kept in its journal.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process serves; [`StoreError::NewerSchema`]; the disk's own.
    pub fn serve(folder: &Path, keys: Arc<dyn Keys>) -> Result<Self, StoreError> {
        // Creates the data folder on the way, with synced names.
        let blobs = BlobStore::new(&folder.join(BLOBS), keys.clone())?;
        let store = SqliteStore::serve(folder)?;
        blobs.remove_unfinished()?;
        blobs.keep_journal()?;
        Ok(Self { store: SealedStore::new(Arc::new(store), keys), blobs })
    }

    /// The same for tenants without keys.
    ///
    /// # Errors
    /// As [`DataFolder::serve`].
    pub fn serve_plain(folder: &Path) -> Result<Self, StoreError> {
        Self::serve(folder, Arc::new(NoKeys))
    }

    /// Opens a data folder beside a process that may be serving: for questions, a person's acts and `accept`.
    /// Claims and recovery are refused with [`StoreError::NotPossible`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing was ever stored there; [`StoreError::NewerSchema`].
    pub fn attach(folder: &Path, keys: Arc<dyn Keys>) -> Result<Self, StoreError> {
        let store = SqliteStore::attach(folder)?;
        let blobs = BlobStore::new(&folder.join(BLOBS), keys.clone())?;
        Ok(Self { store: SealedStore::new(Arc::new(store), keys), blobs })
    }

    /// Opens only the files, where the rows are in a database elsewhere. Several processes may share them, so what
    /// looks unfinished is left alone: another one may be writing it.
    ///
    /// # Errors
    /// The disk's own.
    pub fn files(folder: &Path, keys: Arc<dyn Keys>) -> Result<BlobStore, StoreError> {
        BlobStore::new(&folder.join(BLOBS), keys)
    }
}
