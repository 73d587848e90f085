// SPDX-License-Identifier: EUPL-1.2
//! Tenants' keys: from the references in mandant.toml to rings, read when first needed and kept until the
//! configuration is read anew.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use kop_core::{Diagnostic, TenantId, diagnostic::Place};
use kop_store::{Keyring, Keys, StoreError, TenantKey};
use kop_tenant::tenant_keys;

/// The keys of an instance's tenants.
pub(crate) struct InstanceKeys {
    tenants_dir: PathBuf,
    read: Mutex<BTreeMap<TenantId, Option<Arc<Keyring>>>>,
}

impl InstanceKeys {
    /// Keys as named below a folder of tenants.
    pub(crate) fn new(tenants_dir: &Path) -> Arc<Self> {
        Arc::new(Self { tenants_dir: tenants_dir.to_owned(), read: Mutex::default() })
    }

    /// Reads them anew when they are needed next.
    pub(crate) fn forget(&self) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The keys of a tenant that cannot be had, for `kop check`.
    pub(crate) fn problems(&self, tenant: &TenantId) -> Vec<Diagnostic> {
        // What mandant.toml itself says wrongly, loading the tenant has told.
        let named = tenant_keys(&self.tenants_dir, tenant).unwrap_or_default();
        let broken = named.iter().filter_map(|key| Some((key, make(tenant, &key.id, &key.wert).err()?)));
        broken
            .map(|(key, detail)| {
                let place =
                    Place { file: format!("{tenant}/mandant.toml"), line: 0, column: 0, snippet: None };
                Diagnostic::new(
                    "KOP-K031",
                    format!("Das Geheimnis des Schlüssels „{}“ ist nicht zu gebrauchen.", key.id),
                    format!("The secret of the key \"{}\" is of no use.", key.id),
                )
                .with_place(place)
                .with_detail(detail)
            })
            .collect()
    }
}

/// The key, or why it cannot be had; the text names the reference, never a value.
fn make(tenant: &TenantId, id: &str, secret: &kop_connector_api::Secret) -> Result<TenantKey, String> {
    let secret = secret.resolve().map_err(|error| error.to_string())?;
    TenantKey::derive(tenant, id, secret.expose()).map_err(|_| "fewer than 32 characters".to_owned())
}

impl Keys for InstanceKeys {
    fn ring(&self, tenant: &TenantId) -> Result<Option<Arc<Keyring>>, StoreError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ring) = read.get(tenant) {
            return Ok(ring.clone());
        }
        let named = tenant_keys(&self.tenants_dir, tenant)
            .map_err(|_| StoreError::KeyMissing(format!("{tenant}/mandant.toml")))?;
        let mut keys = Vec::new();
        for (n, key) in named.iter().enumerate() {
            match make(tenant, &key.id, &key.wert) {
                Ok(key) => keys.push(key),
                // Without the first one nothing may be written; an older one is missed when it is needed.
                Err(_) if n == 0 => return Err(StoreError::KeyMissing(format!("{tenant}/{}", key.id))),
                Err(detail) => tracing::error!(%tenant, key = key.id, detail, "An older key cannot be read."),
            }
        }
        let ring = Keyring::new(tenant.clone(), keys).map(Arc::new);
        read.insert(tenant.clone(), ring.clone());
        Ok(ring)
    }
}
