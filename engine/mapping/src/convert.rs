// SPDX-License-Identifier: EUPL-1.2
//! Dates and numbers in the notations that forms use. Numbers stay text: their lexical form matters.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use kop_core::Zeitpunkt;

/// The zone in which authorities count days.
fn berlin() -> TimeZone {
    thread_local! {
        static BERLIN: TimeZone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
    }
    BERLIN.with(Clone::clone)
}

/// The moment's date in Germany, `2026-11-24`.
pub(crate) fn date_of(at: Zeitpunkt) -> String {
    at.to_zoned(berlin()).date().to_string()
}

/// The moment with the German offset, `2026-11-24T11:16:48+01:00` (xs:dateTime).
pub(crate) fn date_time_of(at: Zeitpunkt) -> String {
    at.to_zoned(berlin()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// ISO date from `2026-11-24`, `20261124`, an ISO date and time (with an offset: the date in Germany),
/// `24.11.2026`, `24.11.2026 10:00` or milliseconds since 1970 (the date in Germany). `None` for all else;
/// two-digit years are not guessed.
pub fn iso_date(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if text.len() == 8 {
            return sane(Date::strptime("%Y%m%d", text).ok()?);
        }
        if digits.len() < 9 {
            return None;
        }
        let at = Timestamp::from_millisecond(text.parse().ok()?).ok()?;
        return sane(at.to_zoned(berlin()).date());
    }
    if let Some((day, rest)) = text.split_once('.') {
        let (month, rest) = rest.split_once('.')?;
        let year = rest.split([' ', 'T', ',']).next()?;
        if day.len() > 2 || month.len() > 2 || year.len() != 4 {
            return None;
        }
        return sane(Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?);
    }
    if text.len() == 10 {
        return sane(text.parse::<Date>().ok()?);
    }
    if text.get(10..11).is_some_and(|c| c == "T" || c == " ") {
        if let Ok(at) = text.parse::<Timestamp>() {
            return sane(at.to_zoned(berlin()).date());
        }
        return sane(text.parse::<DateTime>().ok()?.date());
    }
    // xs:date may carry an offset: 2026-11-24Z, 2026-11-24+01:00.
    let (date, zone) = (text.get(..10)?, text.get(10..)?);
    if zone == "Z" || (zone.len() == 6 && zone.starts_with(['+', '-'])) {
        return sane(date.parse::<Date>().ok()?);
    }
    None
}

/// Years that a form can mean; catches mistyped ones such as 0202 or 20245.
fn sane(date: Date) -> Option<String> {
    (1800..=2200).contains(&date.year()).then(|| date.to_string())
}

/// Decimal number with a point from German or English notation: `1.234,50` → `1234.50`, `1 234,5` → `1234.5`,
/// `12,5` → `12.5`, `1.10` → `1.10`, `1.234.567` → `1234567`, `12 €` → `12`. A single point followed by three
/// digits (`1.234`) is read as the decimal point that it is in the vendors' number fields. `None` for all else.
pub fn decimal_text(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(['€']).trim_end().trim_end_matches("EUR").trim_end();
    if text.len() > 40 {
        return None;
    }
    let (sign, body) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let body: String = body.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'')).collect();
    let (whole, fraction) = match (body.rfind(','), body.rfind('.')) {
        (Some(comma), Some(point)) if comma > point => (grouped(&body[..comma], '.')?, &body[comma + 1..]),
        (Some(_), Some(point)) => (grouped(&body[..point], ',')?, &body[point + 1..]),
        (Some(comma), None) => (body[..comma].to_owned(), &body[comma + 1..]),
        (None, Some(_)) if body.matches('.').count() > 1 => (grouped(&body, '.')?, ""),
        (None, Some(point)) => (body[..point].to_owned(), &body[point + 1..]),
        (None, None) => (body.clone(), ""),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(&whole) || !digits(fraction) {
        return None;
    }
    if fraction.is_empty() && body.ends_with(['.', ',']) {
        return None;
    }
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// Takes out the separators of thousands, which must stand before every third digit.
fn grouped(text: &str, separator: char) -> Option<String> {
    let mut groups = text.split(separator);
    let first = groups.next()?;
    let ok = (1..=3).contains(&first.len()) || !text.contains(separator);
    (ok && groups.all(|g| g.len() == 3)).then(|| text.replace(separator, ""))
}

/// Amount of money with exactly two decimals: `1.234,5` → `1234.50`. More than two decimals are no amount;
/// `1.234` is ambiguous for money and refused.
pub(crate) fn amount_text(text: &str) -> Option<String> {
    let number = decimal_text(text)?;
    match number.split_once('.') {
        None => Some(format!("{number}.00")),
        Some((whole, fraction)) => match fraction.len() {
            1 => Some(format!("{whole}.{fraction}0")),
            2 => Some(number),
            _ => None,
        },
    }
}

/// Yes or no in the notations of forms; `None` for all else.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "ja" | "j" | "1" | "x" | "yes" | "y" | "on" | "wahr" => Some(true),
        "" | "false" | "nein" | "n" | "0" | "no" | "off" | "falsch" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_the_notations_of_forms() {
        for (text, date) in [
            ("2026-11-24", "2026-11-24"),
            ("24.11.2026", "2026-11-24"),
            ("4.1.1950", "1950-01-04"),
            ("24.11.2026 10:15", "2026-11-24"),
            ("20261124", "2026-11-24"),
            ("2026-11-24T23:30:00Z", "2026-11-25"),
            ("2026-11-24T23:30:00", "2026-11-24"),
            ("2026-11-24+01:00", "2026-11-24"),
            // Midnight in Germany, not the day before.
            ("1764025200000", "2025-11-25"),
            ("-613789200000", "1950-07-21"),
        ] {
            assert_eq!(iso_date(text).as_deref(), Some(date), "{text}");
        }
        for text in [
            "Keine Angabe",
            "",
            "31.02.2026",
            "00.00.1950",
            "24.11.26",
            "0",
            "2026-13-01",
            "0202-01-01",
            "1.2.3",
        ] {
            assert_eq!(iso_date(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_lexical_form() {
        for (text, number) in [
            ("1.234,50", "1234.50"),
            ("1.10", "1.10"),
            ("12,5", "12.5"),
            ("1 234 567,00 €", "1234567.00"),
            ("1,234.5", "1234.5"),
            ("1.234.567", "1234567"),
            ("-3", "-3"),
            ("007", "007"),
        ] {
            assert_eq!(decimal_text(text).as_deref(), Some(number), "{text}");
        }
        for text in ["", "abc", "1.2.3", "12,", "1,2,3", "1e9", "--1", "12 Stück", "12345.678,9"] {
            assert_eq!(decimal_text(text), None, "{text}");
        }
        assert_eq!(amount_text("1.234,5").as_deref(), Some("1234.50"));
        assert_eq!(amount_text("1.234"), None);
    }
}
