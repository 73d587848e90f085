// SPDX-License-Identifier: EUPL-1.2
//! Decodes base64 (RFC 4648 section 4, as xs:base64Binary allows it: with white space) in pieces of any size.

/// Not base64, or cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A decoder in the middle of a text.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bits: u32,
    /// Letters of the present group of four.
    filled: u8,
    padding: u8,
}

const SPACE: u8 = 64;
const PAD: u8 = 65;
const NO: u8 = 66;

const VALUES: [u8; 256] = {
    let mut values = [NO; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut n = 0;
    while n < 64 {
        values[alphabet[n] as usize] = n as u8;
        n += 1;
    }
    values[b' ' as usize] = SPACE;
    values[b'\t' as usize] = SPACE;
    values[b'\r' as usize] = SPACE;
    values[b'\n' as usize] = SPACE;
    values[b'=' as usize] = PAD;
    values
};

impl Decoder {
    /// Decodes a piece; the bytes that are complete go to `out`.
    pub(super) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        out.reserve(text.len() / 4 * 3 + 3);
        for byte in text {
            match VALUES[*byte as usize] {
                SPACE => {}
                PAD if self.filled >= 2 && self.filled + self.padding < 4 => {
                    self.padding += 1;
                    if self.filled + self.padding == 4 {
                        self.close(out)?;
                    }
                }
                PAD | NO => return Err(Broken),
                _ if self.padding > 0 => return Err(Broken),
                value => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.filled += 1;
                    if self.filled == 4 {
                        out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                        self.bits = 0;
                        self.filled = 0;
                    }
                }
            }
        }
        Ok(())
    }

    /// The padded group at the end; bits that belong to no byte must be zero.
    fn close(&self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let spare = if self.filled == 2 { 4 } else { 2 };
        if self.bits & ((1 << spare) - 1) != 0 {
            return Err(Broken);
        }
        let whole = self.bits >> spare;
        if self.filled == 3 {
            out.push((whole >> 8) as u8);
        }
        out.push(whole as u8);
        Ok(())
    }

    /// Whether the text ended with a whole group.
    pub(super) fn finish(&self) -> Result<(), Broken> {
        match (self.filled, self.padding) {
            (0, 0) | (2, 2) | (3, 1) => Ok(()),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &[u8], piece: usize) -> Result<Vec<u8>, Broken> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        for piece in text.chunks(piece.max(1)) {
            decoder.push(piece, &mut out)?;
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn garbage_and_ends_cut_off_are_noticed() {
        for good in ["", "QQ==", "QUI=", "QUJD", " Q U\r\nJ\tD ", "QUJDQQ= ="] {
            assert!(decode(good.as_bytes(), 1).is_ok(), "{good:?}");
        }
        for bad in [
            "Q", "QQ", "QUI", "QUJDQ", "=", "Q===", "QQ=Q", "QQ==QUJD", "QR==", "QÄ==", "QUJD=", "Q-_=",
            "QQ===",
        ] {
            assert_eq!(decode(bad.as_bytes(), 1), Err(Broken), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_known_decoder(bytes: Vec<u8>, piece in 1_usize..40) {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            proptest::prop_assert_eq!(decode(text.as_bytes(), piece), Ok(bytes));
        }
    }
}
