// SPDX-License-Identifier: EUPL-1.2
//! Characters: NFC, what XML forbids, escaping.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A character that XML 1.0 (production 2) does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Illegal(pub(crate) char);

pub(crate) fn allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Appends text, normalised to NFC and escaped. Line ends become `\n`; in an attribute they and tabs are
/// written as character references, so that they survive attribute normalisation.
pub(crate) fn push(out: &mut Vec<u8>, text: &str, attribute: bool) -> Result<(), Illegal> {
    let text = if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect::<String>())
    };
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' if attribute => b"&quot;",
            b'\t' if attribute => b"&#9;",
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => b"",
            b'\n' | b'\r' if attribute => b"&#10;",
            b'\r' => b"\n",
            b'\t' | b'\n' => continue,
            0..=0x1f => return Err(Illegal(char::from(*byte))),
            // U+FFFE and U+FFFF, the only other ones a Rust string can hold
            0xef if matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])) => {
                return Err(Illegal('\u{fffe}'));
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(escaped);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    debug_assert!(text.chars().all(allowed));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, attribute: bool) -> Result<String, Illegal> {
        let mut out = Vec::new();
        push(&mut out, text, attribute)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_is_normalised_and_escaped() {
        assert_eq!(
            written("Mu\u{308}nchen & <Söhne>\r\n\"x\"", false).unwrap(),
            "München &amp; &lt;Söhne&gt;\n\"x\""
        );
        assert_eq!(written("a\"\t\nb", true).unwrap(), "a&quot;&#9;&#10;b");
    }

    #[test]
    fn what_xml_forbids_is_refused() {
        for text in ["a\u{0}b", "a\u{1b}", "\u{ffff}", "\u{fffe}", "\u{b}"] {
            assert!(written(text, false).is_err(), "{text:?}");
        }
        assert!(written("Łódź 😀", false).is_ok());
    }
}
