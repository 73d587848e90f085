// SPDX-License-Identifier: EUPL-1.2
//! All tenants' current generations. Readers take an `Arc` and keep it for as long as their work lasts; a
//! reload swaps the whole list at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kop_core::{Diagnostic, TenantId};

use crate::{
    InstanceConfig, LoadContext,
    generation::Generation,
    load::{load_tenant, tenant_folders},
};

type List = Arc<BTreeMap<TenantId, Arc<Generation>>>;

/// All tenants' current generations.
#[derive(Debug, Default)]
pub struct Tenants(RwLock<List>);

impl Tenants {
    /// Loads every tenant of an instance. A broken one does not stop the others: its folder's name and its
    /// problems come back beside the list.
    pub fn load_all(
        instance: &InstanceConfig,
        ctx: &LoadContext<'_>,
    ) -> (Self, Vec<(String, Vec<Diagnostic>)>) {
        let tenants = Self::default();
        let broken = tenants.reload_all(instance, ctx);
        (tenants, broken)
    }

    /// A holder of given generations, for tests and single runs.
    pub fn of(generations: impl IntoIterator<Item = Generation>) -> Self {
        let list = generations.into_iter().map(|one| (one.tenant.clone(), Arc::new(one))).collect();
        Self(RwLock::new(Arc::new(list)))
    }

    /// The tenant's current generation.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<Generation>> {
        self.list().get(tenant).cloned()
    }

    /// All current generations, by tenant.
    pub fn all(&self) -> Vec<Arc<Generation>> {
        self.list().values().cloned().collect()
    }

    /// Loads all tenants again. A tenant that is broken now keeps the generation it had; one whose folder is
    /// gone is dropped. Returns the broken ones.
    pub fn reload_all(
        &self,
        instance: &InstanceConfig,
        ctx: &LoadContext<'_>,
    ) -> Vec<(String, Vec<Diagnostic>)> {
        let before = self.list();
        let mut list = BTreeMap::new();
        let mut broken = Vec::new();
        for dir in tenant_folders(&instance.tenants_dir) {
            let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match load_tenant(&dir, instance.library_dir.as_deref(), ctx) {
                Ok(generation) => {
                    let faulty = generation.faulty.values().flatten().cloned().collect::<Vec<_>>();
                    let tenant = generation.tenant.clone();
                    // What works is not exchanged for what works in part; at a start there is nothing better.
                    let kept = before.get(&tenant).filter(|_| !faulty.is_empty()).cloned();
                    list.insert(tenant, kept.unwrap_or_else(|| Arc::new(generation)));
                    if !faulty.is_empty() {
                        broken.push((name, faulty));
                    }
                }
                Err(problems) => {
                    if let Ok(tenant) = name.parse::<TenantId>()
                        && let Some(old) = before.get(&tenant)
                    {
                        list.insert(tenant, old.clone());
                    }
                    broken.push((name, problems));
                }
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
        broken
    }

    /// Loads one tenant again and swaps it in.
    ///
    /// # Errors
    /// It is broken; the generation it had stays.
    pub fn reload(
        &self,
        tenant: &TenantId,
        instance: &InstanceConfig,
        ctx: &LoadContext<'_>,
    ) -> Result<Arc<Generation>, Vec<Diagnostic>> {
        let dir = instance.tenants_dir.join(tenant.as_str());
        let fresh = Arc::new(load_tenant(&dir, instance.library_dir.as_deref(), ctx)?);
        if !fresh.faulty.is_empty() {
            return Err(fresh.faulty.values().flatten().cloned().collect());
        }
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = (**held).clone();
        list.insert(tenant.clone(), fresh.clone());
        *held = Arc::new(list);
        Ok(fresh)
    }

    fn list(&self) -> List {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
