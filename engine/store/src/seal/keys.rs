// SPDX-License-Identifier: EUPL-1.2
//! A tenant's keys, and data keys wrapped with one of them. AES-256-GCM throughout.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, rand,
};
use kop_core::TenantId;

use crate::error::StoreError;

/// Bytes of a data key.
const KEY: usize = 32;

/// Bytes of an authentication tag.
pub(super) const TAG: usize = 16;

/// Longest name of a key.
const LONGEST_ID: usize = 32;

/// Shortest secret: 32 characters of random base64 are 192 bits.
const SHORTEST_SECRET: usize = 32;

/// Bytes of a wrapped data key: length and name of the tenant key, nonce, sealed key.
pub(super) const SLOT: usize = 1 + LONGEST_ID + NONCE_LEN + KEY + TAG;

/// Gives the keys of a tenant.
pub trait Keys: Send + Sync {
    /// The tenant's keys; `None`: it has none, its data is stored as it is.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`]: keys are named and cannot be had. Nothing is stored then, least of all unsealed.
    fn ring(&self, tenant: &TenantId) -> Result<Option<Arc<Keyring>>, StoreError>;
}

/// No tenant has keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn ring(&self, _: &TenantId) -> Result<Option<Arc<Keyring>>, StoreError> {
        Ok(None)
    }
}

/// One key of a tenant.
pub struct TenantKey {
    id: String,
    key: LessSafeKey,
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKey({})", self.id)
    }
}

impl TenantKey {
    /// The key that a secret stands for, different for every tenant. The secret has to be random: it is spread, not
    /// slowed down (HKDF-SHA-256, RFC 5869).
    ///
    /// # Errors
    /// The name is empty or longer than 32 bytes, or the secret has fewer than 32 characters.
    pub fn derive(tenant: &TenantId, id: &str, secret: &str) -> Result<Self, StoreError> {
        let wrong = || StoreError::KeyMissing(format!("{tenant}/{id}"));
        if !(1..=LONGEST_ID).contains(&id.len()) || secret.len() < SHORTEST_SECRET {
            return Err(wrong());
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kop engine tenant key 1");
        let info = [tenant.as_str().as_bytes()];
        let spread = salt.extract(secret.as_bytes());
        let key: UnboundKey = spread.expand(&info, &AES_256_GCM).map_err(|_| wrong())?.into();
        Ok(Self { id: id.to_owned(), key: LessSafeKey::new(key) })
    }
}

/// The keys of one tenant: the first one seals, all of them open.
#[derive(Debug)]
pub struct Keyring {
    tenant: TenantId,
    keys: Vec<TenantKey>,
}

impl Keyring {
    /// A ring; `None` without any key.
    pub fn new(tenant: TenantId, keys: Vec<TenantKey>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { tenant, keys })
    }

    /// A data key, and the same wrapped with the first key of the ring.
    pub(super) fn new_data_key(&self) -> Result<(LessSafeKey, [u8; SLOT]), StoreError> {
        let mut key = [0; KEY];
        fill(&mut key)?;
        Ok((data_key(&key)?, self.wrap(key)?))
    }

    fn wrap(&self, key: [u8; KEY]) -> Result<[u8; SLOT], StoreError> {
        let with = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut sealed = key.to_vec();
        with.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(), &mut sealed)
            .map_err(|_| crypto())?;
        let mut slot = [0; SLOT];
        slot[0] = with.id.len() as u8;
        slot[1..=with.id.len()].copy_from_slice(with.id.as_bytes());
        slot[1 + LONGEST_ID..][..NONCE_LEN].copy_from_slice(&nonce);
        slot[1 + LONGEST_ID + NONCE_LEN..].copy_from_slice(&sealed);
        Ok(slot)
    }

    /// The data key of a slot.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`]: the ring has no key of that name. [`StoreError::KeyWrong`]: it has one, and it is
    /// another.
    pub(super) fn unwrap(&self, slot: &[u8]) -> Result<LessSafeKey, StoreError> {
        data_key(&self.unwrap_bytes(slot)?)
    }

    fn unwrap_bytes(&self, slot: &[u8]) -> Result<[u8; KEY], StoreError> {
        let id = slot_id(slot)?;
        let named = || format!("{}/{id}", self.tenant);
        let with =
            self.keys.iter().find(|key| key.id == id).ok_or_else(|| StoreError::KeyMissing(named()))?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&slot[1 + LONGEST_ID..][..NONCE_LEN]);
        let mut sealed = slot[1 + LONGEST_ID + NONCE_LEN..SLOT].to_vec();
        let key = with
            .key
            .open_in_place(Nonce::assume_unique_for_key(nonce), self.aad(), &mut sealed)
            .map_err(|_| StoreError::KeyWrong(named()))?;
        key.try_into().map_err(|_| crypto_damaged())
    }

    /// The slot under the first key of the ring; `None` when it is that already.
    pub(super) fn rewrap(&self, slot: &[u8]) -> Result<Option<[u8; SLOT]>, StoreError> {
        let key = self.unwrap_bytes(slot)?;
        if slot_id(slot)? == self.keys[0].id { Ok(None) } else { self.wrap(key).map(Some) }
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from([b"kop data key 1\0", self.tenant.as_str().as_bytes()].concat())
    }

    /// For errors about what a ring of nothing cannot open.
    pub(super) fn missing(tenant: &TenantId, slot: &[u8]) -> StoreError {
        let id = slot_id(slot).unwrap_or("?");
        StoreError::KeyMissing(format!("{tenant}/{id}"))
    }
}

/// The name of the tenant key that a slot is wrapped with.
fn slot_id(slot: &[u8]) -> Result<&str, StoreError> {
    let length = usize::from(*slot.first().ok_or_else(crypto_damaged)?);
    if slot.len() < SLOT || !(1..=LONGEST_ID).contains(&length) {
        return Err(crypto_damaged());
    }
    std::str::from_utf8(&slot[1..=length]).map_err(|_| crypto_damaged())
}

fn data_key(bytes: &[u8; KEY]) -> Result<LessSafeKey, StoreError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| crypto())?))
}

fn fill(bytes: &mut [u8]) -> Result<(), StoreError> {
    rand::fill(bytes).map_err(|_| crypto())
}

fn crypto() -> StoreError {
    StoreError::File("the system gives no randomness, or encryption failed".to_owned())
}

pub(super) fn crypto_damaged() -> StoreError {
    StoreError::Damaged("a sealed value cannot be opened".to_owned())
}
