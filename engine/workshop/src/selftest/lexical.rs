// SPDX-License-Identifier: EUPL-1.2
//! The built-in types of XML Schema (part 2): samples of each, and whether a text is one within its bounds. Only
//! as strict as making values needs; validators have the last word.

use kop_xml::Bounds;

/// Texts of a built-in type, the natural ones first.
pub(super) fn samples(base: &str, bounds: &Bounds) -> Vec<String> {
    let mut all: Vec<String> = natural(base).iter().map(|text| (*text).to_owned()).collect();
    let limits = [&bounds.min_inclusive, &bounds.max_inclusive, &bounds.min_exclusive, &bounds.max_exclusive];
    for limit in limits.into_iter().flatten() {
        all.push(limit.clone());
        if let Ok(number) = limit.parse::<f64>() {
            for step in [1.0, -1.0, 0.5, -0.5, 0.01, -0.01] {
                all.push((number + step).to_string());
            }
        }
    }
    let least = bounds.min_length.unwrap_or(0).min(10_000);
    let most = bounds.max_length.unwrap_or(least.max(1)).min(10_000);
    for length in [least, most, 1] {
        match base {
            "hexBinary" => all.push("0f".repeat(length)),
            "base64Binary" => all.push(base64_of(length)),
            "anyURI" => {
                all.extend([format!("urn:x{}", "x".repeat(length.saturating_sub(5))), "x".repeat(length)]);
            }
            _ if is_text(base) => all.push("T".repeat(length)),
            _ => {}
        }
    }
    all
}

fn natural(base: &str) -> &'static [&'static str] {
    match base {
        "boolean" => &["true", "false", "1", "0"],
        "decimal" => &["1.5", "1", "0", "10", "12345", "-1", "0.01", "1.00"],
        "integer" | "long" | "int" | "short" | "byte" => &["1", "0", "10", "2026", "12345", "-1"],
        "nonNegativeInteger" | "positiveInteger" | "unsignedLong" | "unsignedInt" | "unsignedShort"
        | "unsignedByte" => &["1", "0", "10", "100", "2026", "12345"],
        "nonPositiveInteger" | "negativeInteger" => &["-1", "-10", "-100"],
        "float" | "double" => &["1.5", "1", "0", "-1", "100", "1.0E0"],
        "date" => &["2026-03-15", "2026-03-15Z", "2026-03-15+01:00"],
        "dateTime" => &[
            "2026-03-15T10:30:00+01:00",
            "2026-03-15T09:30:00Z",
            "2026-03-15T10:30:00",
            "2026-03-15T09:30:00.000Z",
        ],
        "time" => &["10:30:00", "10:30:00+01:00", "09:30:00Z"],
        "gYear" => &["2026", "1990"],
        "gYearMonth" => &["2026-03"],
        "gMonth" => &["--03"],
        "gMonthDay" => &["--03-15"],
        "gDay" => &["---15"],
        "duration" => &["P1D", "PT1H", "P1Y2M3DT4H5M6S"],
        "hexBinary" => &["0fb7"],
        "base64Binary" => &["VGV4dA=="],
        "anyURI" => &["urn:beispiel:eins", "https://beispiel.example/eins", "#eins"],
        "language" => &["de", "de-DE"],
        "QName" | "Name" | "NCName" | "NMTOKEN" => &["eins", "e", "a1"],
        _ if is_text(base) => &["Text", "1", "A", "T1", "Text mit Wörtern"],
        _ => &[],
    }
}

fn is_text(base: &str) -> bool {
    matches!(
        base,
        "string" | "normalizedString" | "token" | "anySimpleType" | "anyType" | "NMTOKEN" | "NCName" | "Name"
    )
}

fn base64_of(bytes: usize) -> String {
    let whole = "VGVz".repeat(bytes / 3);
    whole + ["", "VA==", "VGU="][bytes % 3]
}

/// Whether a text is a value of a built-in type within bounds.
pub(super) fn fits(base: &str, bounds: &Bounds, text: &str) -> bool {
    let length = match base {
        "hexBinary" => text.len() / 2,
        "base64Binary" => text.trim_end_matches('=').len() * 3 / 4,
        _ => text.chars().count(),
    };
    let long_enough = bounds.min_length.is_none_or(|least| length >= least);
    let short_enough = bounds.max_length.is_none_or(|most| length <= most);
    long_enough && short_enough && is_one(base, text) && in_range(bounds, text) && digits(bounds, text)
}

fn is_one(base: &str, text: &str) -> bool {
    let whole = || text.trim_start_matches('+').parse::<i128>().ok();
    let between = |least: i128, most: i128| whole().is_some_and(|number| (least..=most).contains(&number));
    let name = |first: fn(char) -> bool| {
        let good = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        good && text.chars().next().is_some_and(first)
    };
    let starts = |c: char| c.is_alphabetic() || c == '_';
    match base {
        "boolean" => matches!(text, "true" | "false" | "1" | "0"),
        "decimal" => {
            text.parse::<f64>().is_ok() && text.chars().all(|c| c.is_ascii_digit() || "+-.".contains(c))
        }
        "float" | "double" => text.parse::<f64>().is_ok(),
        "integer" => whole().is_some(),
        "nonNegativeInteger" => between(0, i128::MAX),
        "positiveInteger" => between(1, i128::MAX),
        "nonPositiveInteger" => between(i128::MIN, 0),
        "negativeInteger" => between(i128::MIN, -1),
        "long" => between(i64::MIN.into(), i64::MAX.into()),
        "int" => between(i32::MIN.into(), i32::MAX.into()),
        "short" => between(i16::MIN.into(), i16::MAX.into()),
        "byte" => between(i8::MIN.into(), i8::MAX.into()),
        "unsignedLong" => between(0, u64::MAX.into()),
        "unsignedInt" => between(0, u32::MAX.into()),
        "unsignedShort" => between(0, u16::MAX.into()),
        "unsignedByte" => between(0, u8::MAX.into()),
        "date" => shaped(text, "dddd-dd-dd"),
        "dateTime" => shaped(text, "dddd-dd-ddTdd:dd:dd"),
        "time" => shaped(text, "dd:dd:dd"),
        "gYear" => shaped(text, "dddd"),
        "gYearMonth" => shaped(text, "dddd-dd"),
        "gMonth" => shaped(text, "--dd"),
        "gMonthDay" => shaped(text, "--dd-dd"),
        "gDay" => shaped(text, "---dd"),
        "duration" => text.trim_start_matches('-').starts_with('P') && text.ends_with(char::is_alphabetic),
        "hexBinary" => text.len().is_multiple_of(2) && text.chars().all(|c| c.is_ascii_hexdigit()),
        "base64Binary" => text.len().is_multiple_of(4),
        "language" => text.split('-').all(|part| (1..=8).contains(&part.len())),
        "NMTOKEN" => name(|_| true),
        "Name" | "NCName" | "QName" | "ID" | "IDREF" => name(starts),
        "token" => text == text.trim() && !text.contains("  ") && !text.contains(['\t', '\n', '\r']),
        "NOTATION" | "ENTITY" => false,
        _ => true,
    }
}

/// Whether a text begins with digits and signs of a form, and what follows is seconds' fractions and a zone.
fn shaped(text: &str, form: &str) -> bool {
    if text.len() < form.len() || !text.is_ascii() {
        return false;
    }
    let (head, rest) = text.split_at(form.len());
    let same =
        head.chars().zip(form.chars()).all(|(c, f)| if f == 'd' { c.is_ascii_digit() } else { c == f });
    let parts: Vec<u32> =
        head.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let year = usize::from(form.starts_with("dddd"));
    let months = if form.contains("-dd") { parts.get(year..).unwrap_or_default() } else { &[] };
    let calendar = match (form, months) {
        ("---dd", [day, ..]) => (1..=28).contains(day),
        (_, [month, day, ..]) => (1..=12).contains(month) && (1..=28).contains(day),
        (_, [month]) => (1..=12).contains(month),
        (_, []) => true,
    };
    same && calendar && rest.chars().all(|c| c.is_ascii_digit() || ".:+-Z".contains(c))
}

fn in_range(bounds: &Bounds, text: &str) -> bool {
    let order = |limit: &String| match (text.parse::<f64>(), limit.parse::<f64>()) {
        (Ok(number), Ok(limit)) => number.partial_cmp(&limit),
        // dates of one form sort as texts
        _ => Some(text.cmp(limit.as_str())),
    };
    let holds = |limit: &Option<String>, good: fn(std::cmp::Ordering) -> bool| {
        limit.as_ref().is_none_or(|limit| order(limit).is_some_and(good))
    };
    holds(&bounds.min_inclusive, std::cmp::Ordering::is_ge)
        && holds(&bounds.max_inclusive, std::cmp::Ordering::is_le)
        && holds(&bounds.min_exclusive, std::cmp::Ordering::is_gt)
        && holds(&bounds.max_exclusive, std::cmp::Ordering::is_lt)
}

fn digits(bounds: &Bounds, text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0').len();
    let whole = whole.trim_start_matches(['+', '-', '0']).len();
    bounds.total_digits.is_none_or(|most| whole + fraction <= most)
        && bounds.fraction_digits.is_none_or(|most| fraction <= most)
}

#[cfg(test)]
mod tests {
    use kop_xml::Bounds;

    use super::{fits, samples};

    #[test]
    fn every_built_in_type_has_a_sample_of_its_own() {
        let types = "string normalizedString token boolean decimal float double integer nonNegativeInteger \
                     positiveInteger nonPositiveInteger negativeInteger long int short byte unsignedLong unsignedInt \
                     unsignedShort unsignedByte date dateTime time gYear gYearMonth gMonth gMonthDay gDay duration \
                     hexBinary base64Binary anyURI language QName Name NCName NMTOKEN anySimpleType";
        for base in types.split_whitespace() {
            let bounds = Bounds::default();
            assert!(samples(base, &bounds).iter().any(|text| fits(base, &bounds, text)), "{base}");
        }
    }

    #[test]
    fn bounds_hold() {
        let narrow = Bounds {
            min_exclusive: Some("17".into()),
            max_inclusive: Some("18".into()),
            total_digits: Some(2),
            ..Bounds::default()
        };
        let found: Vec<_> =
            samples("integer", &narrow).into_iter().filter(|text| fits("integer", &narrow, text)).collect();
        assert!(found.iter().all(|text| text == "18") && !found.is_empty(), "{found:?}");
        let long = Bounds { min_length: Some(7), max_length: Some(7), ..Bounds::default() };
        for base in ["token", "base64Binary", "hexBinary", "anyURI"] {
            assert!(samples(base, &long).iter().any(|text| fits(base, &long, text)), "{base}");
        }
    }
}
