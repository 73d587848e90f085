// SPDX-License-Identifier: EUPL-1.2
//! Sealed values of rows: bytes begin with [`MAGIC`], text with [`SEALED`]. Each is bound to its tenant by the wrapping
//! of its data key, and to its place by its context.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

use super::keys::{Keyring, SLOT, TAG, crypto_damaged};
use crate::error::StoreError;

/// No JSON document begins like this.
const MAGIC: &[u8] = b"\0KOP1";

/// Text that is sealed.
const SEALED: &str = "kop1:";

/// Text that is not sealed but looks like it, or like this.
const PLAIN: &str = "kop0:";

/// A data key is used for one value only, so its nonce is always the same.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Seals a value for its place.
pub(super) fn seal(ring: &Keyring, context: &str, plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let (key, slot) = ring.new_data_key()?;
    let mut sealed = plain;
    key.seal_in_place_append_tag(only_nonce(), Aad::from(context.as_bytes()), &mut sealed)
        .map_err(|_| crypto_damaged())?;
    Ok([MAGIC, &slot[..], &sealed].concat())
}

/// Whether bytes are a sealed value.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The slot of a sealed value.
pub(super) fn slot(sealed: &[u8]) -> Result<&[u8], StoreError> {
    sealed.get(MAGIC.len()..MAGIC.len() + SLOT).ok_or_else(crypto_damaged)
}

/// Opens a sealed value from its place.
pub(super) fn open(ring: &Keyring, context: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    let key = ring.unwrap(slot(sealed)?)?;
    let mut bytes = sealed[MAGIC.len() + SLOT..].to_vec();
    let plain = key
        .open_in_place(only_nonce(), Aad::from(context.as_bytes()), &mut bytes)
        .map_err(|_| crypto_damaged())?
        .len();
    debug_assert_eq!(plain + TAG, bytes.len());
    bytes.truncate(plain);
    Ok(bytes)
}

/// The same value under the ring's first key; `None` when it is that already.
pub(super) fn rewrap(ring: &Keyring, sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let fresh = ring.rewrap(slot(sealed)?)?;
    Ok(fresh.map(|slot| [MAGIC, &slot[..], &sealed[MAGIC.len() + SLOT..]].concat()))
}

/// Sealed bytes as text.
pub(super) fn to_text(sealed: &[u8]) -> String {
    format!("{SEALED}{}", BASE64.encode(sealed))
}

/// The sealed bytes of a text that is sealed.
pub(super) fn from_text(text: &str) -> Option<Result<Vec<u8>, StoreError>> {
    let sealed = text.strip_prefix(SEALED)?;
    Some(BASE64.decode(sealed).map_err(|_| crypto_damaged()))
}

/// Unsealed text as it is stored: never taken for sealed text.
pub(super) fn escape(text: &str) -> String {
    if text.starts_with(SEALED) || text.starts_with(PLAIN) {
        format!("{PLAIN}{text}")
    } else {
        text.to_owned()
    }
}

/// What [`escape`] stored.
pub(super) fn unescape(text: &str) -> &str {
    text.strip_prefix(PLAIN).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::keys::TenantKey;

    fn ring(tenant: &str, secrets: &[(&str, &str)]) -> Keyring {
        let tenant = tenant.parse().unwrap();
        let key = |(id, secret): &(&str, &str)| TenantKey::derive(&tenant, id, &secret.repeat(32)).unwrap();
        let keys = secrets.iter().map(key).collect();
        Keyring::new(tenant, keys).unwrap()
    }

    #[test]
    fn only_the_right_key_at_the_right_place_opens() {
        let nord = ring("nord", &[("alt", "a")]);
        let sealed = seal(&nord, "dokument/1", b"Mustermann".to_vec()).unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(10).any(|window| window == b"Mustermann"));
        assert_eq!(open(&nord, "dokument/1", &sealed).unwrap(), b"Mustermann");
        assert!(matches!(open(&nord, "dokument/2", &sealed), Err(StoreError::Damaged(_))), "another place");
        let wrong = ring("nord", &[("alt", "b")]);
        assert_eq!(open(&wrong, "dokument/1", &sealed), Err(StoreError::KeyWrong("nord/alt".into())));
        let other = ring("nord", &[("neu", "a")]);
        assert_eq!(open(&other, "dokument/1", &sealed), Err(StoreError::KeyMissing("nord/alt".into())));
        let sued = ring("sued", &[("alt", "a")]);
        assert!(matches!(open(&sued, "dokument/1", &sealed), Err(StoreError::KeyWrong(_))), "another tenant");
        for n in [6, 60, 120, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[n] ^= 1;
            assert!(open(&nord, "dokument/1", &changed).is_err(), "byte {n}");
            assert!(open(&nord, "dokument/1", &sealed[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn a_new_key_takes_over_and_the_old_one_can_go() {
        let old = ring("nord", &[("alt", "a")]);
        let sealed = seal(&old, "x", b"Mustermann".to_vec()).unwrap();
        assert_eq!(rewrap(&old, &sealed).unwrap(), None);
        let both = ring("nord", &[("neu", "n"), ("alt", "a")]);
        let fresh = rewrap(&both, &sealed).unwrap().unwrap();
        assert_eq!(open(&both, "x", &sealed).unwrap(), b"Mustermann");
        let new = ring("nord", &[("neu", "n")]);
        assert_eq!(open(&new, "x", &fresh).unwrap(), b"Mustermann");
        assert!(open(&old, "x", &fresh).is_err());
    }

    #[test]
    fn names_that_look_sealed_come_back_as_they_were() {
        for name in ["plan.pdf", "kop1:plan.pdf", "kop0:kop1:plan.pdf", ""] {
            let stored = escape(name);
            assert!(from_text(&stored).is_none());
            assert_eq!(unescape(&stored), name);
        }
    }
}
