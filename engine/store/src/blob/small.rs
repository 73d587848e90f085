// SPDX-License-Identifier: EUPL-1.2
//! Files that are in memory as a whole: they get their name at once, and a record for the journal that makes them durable.
//! A content that is there already makes no file: ext4 is slow where many files come and go.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::Write,
    path::Path,
};

use kop_core::{BlobRef, ContentHash, TenantId};

use super::{Shared, Unfinished, create_dirs, journal::Record, read};
use crate::{error::StoreError, seal::Sealer};

/// Largest content that goes this way; a larger one spends its time on other things than syncs.
pub(super) const LARGEST: usize = 64 * 1024;

/// Gives the content its name. Nobody may be told of it before the journal has kept the record. `None`: the content is
/// there without a seal and shall have one, which takes more care.
pub(super) fn publish(
    store: &Shared,
    tenant: &TenantId,
    bytes: &[u8],
) -> Result<Option<(BlobRef, Vec<u8>)>, StoreError> {
    let sha256 = ContentHash::of(bytes);
    let blob = BlobRef { sha256, size: bytes.len() as u64 };
    let (plain, ring) = (store.path(tenant, &sha256), store.keys.ring(tenant)?);
    let (target, stored) = match &ring {
        Some(_) if fs::metadata(&plain).is_ok() => return Ok(None),
        Some(ring) => {
            let (mut sealer, header) = Sealer::new(ring)?;
            let mut sealed = header.to_vec();
            sealer.update(bytes, &mut sealed)?;
            sealer.finish(&mut sealed)?;
            (store.sealed_path(tenant, &sha256), Cow::Owned(sealed))
        }
        None => (plain, Cow::Borrowed(bytes)),
    };
    create_dirs(target.parent().unwrap_or(&store.root))?;
    let open = store.gate.pass()?;
    // One that got its name before it was durable, and whose writer died, may hold anything.
    if fs::metadata(&target).is_ok() && read::whole(store, tenant, &blob) {
        make_young(&target)?;
    } else {
        let mut new = Unfinished::create(store, None)?;
        new.file.write_all(&stored)?;
        fs::rename(&new.path, &target)?;
        new.published = true;
    }
    drop(open);
    let record = Record { tenant: tenant.clone(), blob, sealed: ring.is_some(), bytes: &stored }.encode()?;
    Ok(Some((blob, record)))
}

/// Whoever collects leaves it alone until the row that names it is there. The system tells the time, as for a new file.
fn make_young(path: &Path) -> Result<(), StoreError> {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let now = rustix::fs::Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::futimens(File::open(path)?, &now).map_err(std::io::Error::from)?)
}
