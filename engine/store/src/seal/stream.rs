// SPDX-License-Identifier: EUPL-1.2
//! Sealed files: a header of [`HEADER`] bytes with two places for the wrapped data key, then pieces of 64 KiB, each
//! sealed under its number and whether it is the last (the STREAM construction: Hoang, Reyhanitabar, Rogaway, Vizár,
//! "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015). So a file that was cut, reordered
//! or mixed with another does not open.
//!
//! A new tenant key is written into the place that is not in use and synced before the old place is emptied, so a crash
//! leaves at least one that opens.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use kop_core::TenantId;

use super::keys::{Keyring, SLOT, TAG, crypto_damaged};
use crate::error::StoreError;

const MAGIC: &[u8; 8] = b"KOPBLOB1";

/// Bytes before the first piece.
pub(crate) const HEADER: usize = 256;

/// Bytes of a piece before sealing.
const PIECE: usize = 64 * 1024;

/// Where the two places of the header begin.
const PLACES: [usize; 2] = [MAGIC.len(), MAGIC.len() + SLOT];

/// How long the file of a sealed content is.
pub(crate) fn sealed_len(size: u64) -> u64 {
    let pieces = size.div_ceil(PIECE as u64).max(1);
    HEADER as u64 + size + pieces * TAG as u64
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 5..NONCE_LEN - 1].copy_from_slice(&number.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Seals a content that comes in pieces of any size.
pub(crate) struct Sealer {
    key: LessSafeKey,
    waiting: Vec<u8>,
    number: u32,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer(piece {})", self.number)
    }
}

impl Sealer {
    /// A sealer with a data key of its own, and the header to write first.
    pub(crate) fn new(ring: &Keyring) -> Result<(Self, [u8; HEADER]), StoreError> {
        let (key, slot) = ring.new_data_key()?;
        let mut header = [0; HEADER];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[PLACES[0]..][..SLOT].copy_from_slice(&slot);
        Ok((Self { key, waiting: Vec::new(), number: 0 }, header))
    }

    /// Takes bytes in; what can be written goes to `out`. The last piece is held back until [`Sealer::finish`].
    pub(crate) fn update(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.waiting.len() == PIECE {
                self.piece(false, out)?;
            }
            let (now, later) = rest.split_at(rest.len().min(PIECE - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// The end of the content.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.piece(true, out)
    }

    fn piece(&mut self, last: bool, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(self.number, last), Aad::empty(), &mut self.waiting)
            .map_err(|_| crypto_damaged())?;
        out.extend_from_slice(&self.waiting);
        out.extend_from_slice(tag.as_ref());
        self.waiting.clear();
        self.number = self.number.checked_add(1).ok_or(StoreError::TooLarge(u64::MAX))?;
        Ok(())
    }
}

/// Opens the pieces of a sealed file, in order.
pub(crate) struct Opener {
    key: LessSafeKey,
    number: u32,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener(piece {})", self.number)
    }
}

impl Opener {
    /// Opens by a file's header.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`], [`StoreError::KeyWrong`]; [`StoreError::Damaged`] when it is no header.
    pub(crate) fn new(
        tenant: &TenantId,
        ring: Option<&Keyring>,
        header: &[u8; HEADER],
    ) -> Result<Self, StoreError> {
        let Some(ring) = ring else { return Err(Keyring::missing(tenant, &header[used(header)?..])) };
        let (_, key) = opening_place(ring, header)?;
        Ok(Self { key, number: 0 })
    }

    /// Bytes of the next piece in the file, when so many bytes of content are left, and whether it is the last one.
    pub(crate) fn next(left: u64) -> (usize, bool) {
        (left.min(PIECE as u64) as usize + TAG, left <= PIECE as u64)
    }

    /// Opens one piece as it was read.
    pub(crate) fn piece<'a>(&mut self, sealed: &'a mut [u8], last: bool) -> Result<&'a [u8], StoreError> {
        let plain = self
            .key
            .open_in_place(nonce(self.number, last), Aad::empty(), sealed)
            .map_err(|_| crypto_damaged())?;
        self.number = self.number.checked_add(1).ok_or_else(crypto_damaged)?;
        Ok(plain)
    }
}

/// The first place that holds something.
fn used(header: &[u8; HEADER]) -> Result<usize, StoreError> {
    if !header.starts_with(MAGIC) {
        return Err(crypto_damaged());
    }
    PLACES.into_iter().find(|&at| header[at] != 0).ok_or_else(crypto_damaged)
}

/// The place whose key the ring has. A place that a crash left half written opens with nothing.
fn opening_place(ring: &Keyring, header: &[u8; HEADER]) -> Result<(usize, LessSafeKey), StoreError> {
    let first = used(header)?;
    let mut told = None;
    for at in PLACES.into_iter().filter(|&at| at >= first && header[at] != 0) {
        match ring.unwrap(&header[at..at + SLOT]) {
            Ok(key) => return Ok((at, key)),
            Err(error) => told = told.or(Some(error)),
        }
    }
    Err(told.unwrap_or_else(crypto_damaged))
}

/// Bytes, and where in the file they belong.
type Patch = (u64, Vec<u8>);

/// What to write where so that a file opens with the ring's first key: first one, sync, then the other, sync.
/// `None`: it does already.
pub(crate) fn rewrap_header(ring: &Keyring, header: &[u8; HEADER]) -> Result<Option<[Patch; 2]>, StoreError> {
    let (at, _) = opening_place(ring, header)?;
    let other = PLACES[usize::from(at == PLACES[0])];
    let fresh = ring.rewrap(&header[at..at + SLOT])?;
    Ok(fresh.map(|slot| [(other as u64, slot.to_vec()), (at as u64, vec![0; SLOT])]))
}
