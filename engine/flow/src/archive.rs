// SPDX-License-Identifier: EUPL-1.2
//! Keeps every state of a mapping that ever made a message: `<root>/<tenant>/<hash>/`, with the files that the hash is
//! over under the names that it is over. So what made a message can be run again when its folder was changed or
//! removed. Configuration, no personal data.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kop_core::{ContentHash, TenantId};
use kop_store::StoreError;
use kop_tenant::LoadedMapping;

/// Folder for states that have no name yet; no tenant's id begins with a dot.
const UNFINISHED: &str = ".unfertig";

/// Distinguishes the unfinished folders of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// States of mappings by tenant and hash.
#[derive(Clone, Debug)]
pub struct MappingArchive {
    root: PathBuf,
}

impl MappingArchive {
    /// The archive below a folder, which is made when the first state is kept.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of a state, where it was kept.
    pub fn folder(&self, tenant: &TenantId, hash: &ContentHash) -> Option<PathBuf> {
        let folder = self.path(tenant, hash);
        folder.is_dir().then_some(folder)
    }

    /// Keeps a mapping's files; complete and on the disk when this returns. Costs nothing the next time.
    ///
    /// # Errors
    /// The disk's own; then no message may be recorded that names this state.
    pub async fn keep(&self, tenant: &TenantId, mapping: &LoadedMapping) -> Result<(), StoreError> {
        let waiting = mapping.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sources) = waiting else { return Ok(()) };
        let (archive, folder) = (self.clone(), self.path(tenant, &mapping.hash));
        let kept = tokio::task::spawn_blocking(move || archive.write(&folder, &sources));
        kept.await.map_err(|error| StoreError::File(error.to_string()))??;
        // Only now, so that another message that was faster has waited for the disk too.
        *mapping.sources.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    fn path(&self, tenant: &TenantId, hash: &ContentHash) -> PathBuf {
        self.root.join(tenant.as_str()).join(hash.to_string())
    }

    /// Written apart and named last: a folder with a state's name is complete.
    fn write(&self, folder: &Path, sources: &BTreeMap<String, Arc<str>>) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
        // What a process of the same number left when it was killed.
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        for (name, text) in sources {
            let path = unfinished.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&unfinished))?;
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        sync_folders(&unfinished)?;
        let of_tenant = folder.parent().unwrap_or(&self.root);
        fs::create_dir_all(of_tenant)?;
        match fs::rename(&unfinished, folder) {
            Ok(()) => {}
            // Another process kept the same state at the same time.
            Err(_) if folder.is_dir() => fs::remove_dir_all(&unfinished)?,
            Err(error) => return Err(error),
        }
        for made in [Some(of_tenant), Some(&*self.root), self.root.parent()].into_iter().flatten() {
            File::open(made)?.sync_all()?;
        }
        Ok(())
    }
}

/// Syncs a folder and those below it: the names in them, whose contents are synced already.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
