// SPDX-License-Identifier: EUPL-1.2
//! How to mend a value that breaks a facet or a type: which characters, which form, which values. Knows the rule's text
//! and the value; the value itself never enters a hint, single characters of it may.

use kop_core::similar;

/// Characters that a hint names.
const CHARACTERS: usize = 5;
/// Longest pattern and most values that a hint repeats.
const PATTERN: usize = 60;
const VALUES: usize = 12;

/// What to do about a value that a pattern refuses.
pub(crate) fn for_pattern(pattern: &str, value: &str) -> Option<String> {
    // A short pattern says more than the characters that do not fit it.
    if pattern.chars().count() <= PATTERN {
        return Some(format!("Erwartet wird die Form {pattern}"));
    }
    let found = offending(pattern, value);
    let shown: Vec<String> = found.iter().map(|c| character(*c)).collect();
    (!shown.is_empty()).then(|| {
        format!(
            "Hier nicht erlaubt: {}. Eine andere Schreibweise wählen, oder das Zeichen im Skript ersetzen.",
            shown.join(", ")
        )
    })
}

/// A character as people recognise it, also one that cannot be seen.
pub(crate) fn character(c: char) -> String {
    if c.is_control() || c.is_whitespace() {
        format!("U+{:04X}", u32::from(c))
    } else {
        format!("„{c}“ (U+{:04X})", u32::from(c))
    }
}

/// What to do about a value that a built-in type refuses.
pub(crate) fn for_type(name: &str) -> Option<String> {
    let form = match name {
        "date" => "ein Datum als JJJJ-MM-TT; .datum(\"pfad\") liefert es so",
        "dateTime" => "Datum und Uhrzeit als JJJJ-MM-TTThh:mm:ss; eingang.eingangszeitpunkt liefert es so",
        "time" => "eine Uhrzeit als hh:mm:ss",
        "gYear" => "ein Jahr als JJJJ",
        "gYearMonth" => "Jahr und Monat als JJJJ-MM",
        "boolean" => "true oder false; .wahr(\"pfad\") liefert es so",
        "decimal" | "double" | "float" => "eine Zahl mit Dezimalpunkt; .zahl(\"pfad\") liefert sie so",
        "integer" | "int" | "long" | "short" | "byte" => "eine ganze Zahl",
        "nonNegativeInteger" | "unsignedInt" | "unsignedLong" | "unsignedShort" | "unsignedByte" => {
            "eine ganze Zahl ab 0"
        }
        "positiveInteger" => "eine ganze Zahl ab 1",
        "base64Binary" => "Base64",
        "hexBinary" => "Hexadezimalziffern",
        "anyURI" => "eine Adresse (URI) ohne Leerzeichen",
        "ID" | "NCName" => {
            "ein Name ohne Leerzeichen und Doppelpunkt, der mit einem Buchstaben oder _ beginnt"
        }
        _ => return None,
    };
    Some(format!("Erwartet wird {form}."))
}

/// What to do about a value that is not among those allowed: `set` as libxml2 lists them, `'a', 'b'`.
pub(crate) fn for_enumeration(set: &str, value: &str) -> Option<String> {
    let allowed: Vec<&str> = set.split('\'').skip(1).step_by(2).collect();
    if allowed.is_empty() {
        return None;
    }
    let near = similar::near(value, allowed.iter().copied());
    let question = similar::question(&near).map(|question| format!("{question} ")).unwrap_or_default();
    let shown = allowed.iter().take(VALUES).copied().collect::<Vec<_>>().join(", ");
    let more = if allowed.len() > VALUES { " …" } else { "" };
    Some(format!("{question}Erlaubt: {shown}{more}"))
}

/// Characters of a value that occur nowhere in a pattern (XML Schema 1.0 part 2, appendix F), so that no way through it
/// can take them. Empty where the pattern has classes that are not spelt out.
fn offending(pattern: &str, value: &str) -> Vec<char> {
    let Some(ranges) = ranges(pattern) else { return Vec::new() };
    let mut found: Vec<char> = Vec::new();
    for c in value.chars() {
        let known = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
        if !known && !found.contains(&c) && found.len() < CHARACTERS {
            found.push(c);
        }
    }
    found
}

/// Every character that a pattern spells out, as ranges. `None` for negated and named classes.
fn ranges(pattern: &str) -> Option<Vec<(char, char)>> {
    let mut ranges = Vec::new();
    let mut chars = pattern.chars().peekable();
    let mut inside = false;
    let mut counting = false;
    while let Some(c) = chars.next() {
        let c = match c {
            '[' if !inside => {
                inside = true;
                if chars.peek() == Some(&'^') {
                    return None;
                }
                continue;
            }
            // Subtraction of one class from another.
            '[' => return None,
            ']' if inside => {
                inside = false;
                continue;
            }
            '{' if !inside => {
                counting = true;
                continue;
            }
            '}' if counting => {
                counting = false;
                continue;
            }
            _ if counting => continue,
            '.' if !inside => return None,
            '(' | ')' | '|' | '*' | '+' | '?' if !inside => continue,
            '\\' => match chars.next()? {
                'd' => {
                    ranges.push(('0', '9'));
                    continue;
                }
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                's' => {
                    ranges.extend([(' ', ' '), ('\t', '\n'), ('\r', '\r')]);
                    continue;
                }
                'p' | 'P' | 'i' | 'I' | 'c' | 'C' | 'w' | 'W' | 'D' | 'S' => return None,
                escaped => escaped,
            },
            c => c,
        };
        if inside && chars.peek() == Some(&'-') {
            let mut ahead = chars.clone();
            ahead.next();
            match ahead.next() {
                Some(']') | None => ranges.push((c, c)),
                Some('\\') => {
                    ranges.push((c, ahead.next()?));
                    chars = ahead;
                }
                Some(to) => {
                    ranges.push((c, to));
                    chars = ahead;
                }
            }
        } else {
            ranges.push((c, c));
        }
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offending_character_is_named() {
        assert_eq!(offending("[ -~ä-ü]*", "Süd – 🏠 –"), ['–', '🏠']);
        assert_eq!(offending("([a-z]|A\\-B)*", "aB-x"), []);
        assert_eq!(offending("[0-9]{4}-[0-9]{2}", "2026/11"), ['/']);
        assert_eq!(offending("\\p{L}*", "1"), []);
        assert_eq!(offending("[^a]*", "a"), []);
        assert_eq!(offending("[\\-a-c!]+", "-!d"), ['d']);
        assert_eq!(for_pattern("[1-5]", "11").as_deref(), Some("Erwartet wird die Form [1-5]"));
        let long = format!("[{}]*", ('a'..='z').flat_map(|c| [c, '-', c]).collect::<String>());
        assert!(for_pattern(&long, "aX").unwrap().contains("„X“ (U+0058)"));
        assert_eq!(character('\u{2}'), "U+0002");
    }

    #[test]
    fn allowed_values_are_listed_and_the_near_one_first() {
        let hint = for_enumeration("'alt', 'neu', 'anders'", "nue");
        assert_eq!(hint.as_deref(), Some("Erlaubt: alt, neu, anders"));
        let hint = for_enumeration("'Anschrift', 'Postfach'", "Anschrfit").unwrap();
        assert!(hint.starts_with("Meinten Sie „Anschrift“?"), "{hint}");
    }
}
