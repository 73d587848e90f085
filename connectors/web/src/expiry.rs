// SPDX-License-Identifier: EUPL-1.2
//! When certificates run out: just the field `notAfter` of X.509 (RFC 5280 section 4.1.2.5), read from DER.
//! Nothing is verified here; that is the TLS library's business.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kop_core::Zeitpunkt;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit tag of the version, which old certificates leave out.
const VERSION: u8 = 0xa0;

/// The earliest end among the certificates of a PEM file (RFC 7468).
pub(crate) fn of_pem(pem: &[u8]) -> Option<Zeitpunkt> {
    let text = std::str::from_utf8(pem).ok()?;
    let blocks = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let ends = blocks.filter_map(|block| {
        let body: String = block.split("-----END").next()?.split_whitespace().collect();
        not_after(&STANDARD.decode(body).ok()?)
    });
    ends.min()
}

fn not_after(der: &[u8]) -> Option<Zeitpunkt> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // serialNumber, signature, issuer; then validity.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, after_begin) = element(validity)?;
    let (kind, end, _) = element(after_begin)?;
    if tag != SEQUENCE {
        return None;
    }
    let text = std::str::from_utf8(end).ok()?;
    let text = match kind {
        // Two digits: 50 to 99 are of the last century (section 4.1.2.5.1).
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| text.get(from..to);
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    iso.parse().ok()
}

/// Tag, content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = usize::from(first & 0x7f);
        if !(1..=4).contains(&digits) {
            return None;
        }
        let (length, rest) = rest.split_at_checked(digits)?;
        (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The skeleton of a certificate: version, serial number, algorithm, issuer, validity.
    fn certificate(end: &[u8], kind: u8) -> String {
        let seq = |tag: u8, content: &[u8]| [&[tag, content.len() as u8][..], content].concat();
        let begin = seq(UTC_TIME, b"250101000000Z");
        let validity = seq(SEQUENCE, &[begin, seq(kind, end)].concat());
        let tbs = [seq(VERSION, &[2, 1, 2]), seq(2, &[1]), seq(SEQUENCE, &[]), seq(SEQUENCE, &[]), validity]
            .concat();
        let der = seq(SEQUENCE, &seq(SEQUENCE, &tbs));
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    }

    #[test]
    fn the_earliest_end_counts_and_rubbish_has_none() {
        let late = certificate(b"20600102030405Z", GENERALIZED_TIME);
        let early = certificate(b"271231235959Z", UTC_TIME);
        let end = |pem: &str| of_pem(pem.as_bytes()).map(|at| at.to_string());
        assert_eq!(end(&late).as_deref(), Some("2060-01-02T03:04:05Z"));
        assert_eq!(end(&format!("{late}{early}")).as_deref(), Some("2027-12-31T23:59:59Z"));
        for rubbish in ["", "-----BEGIN CERTIFICATE-----\n!!\n-----END", &certificate(b"27", UTC_TIME)] {
            assert_eq!(end(rubbish), None);
        }
        let whole = STANDARD.decode(early.lines().nth(1).unwrap()).unwrap();
        for cut in 0..whole.len() {
            assert_eq!(not_after(&whole[..cut]), None);
        }
    }
}
