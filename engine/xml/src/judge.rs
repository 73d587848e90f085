// SPDX-License-Identifier: EUPL-1.2
//! Turns libxml2's violations into diagnostics: German and English by error number, the target path, the value
//! masked. libxml2's own words are kept only where they hold no value.

use kop_core::Diagnostic;

use crate::{
    advice,
    libxml2::{Unreadable, Violation},
    paths::Paths,
    xsd::local_name,
};

/// Most characters of a detail.
const MAX_DETAIL: usize = 240;

pub(crate) fn unreadable(why: &Unreadable) -> Diagnostic {
    match why {
        Unreadable::Doctype => Diagnostic::new(
            "KOP-X026",
            "Das Dokument enthält eine Dokumenttyp-Angabe (DOCTYPE); das wird nicht angenommen.",
            "The document has a document type declaration (DOCTYPE), which is refused.",
        ),
        Unreadable::Malformed(line) => Diagnostic::new(
            "KOP-X026",
            format!("Das Dokument ist kein wohlgeformtes XML (Zeile {line})."),
            format!("The document is not well-formed XML (line {line})."),
        ),
        Unreadable::Internal => Diagnostic::new(
            "KOP-X026",
            "Das Dokument konnte nicht geprüft werden, vermutlich ist es zu groß.",
            "The document could not be validated, it is probably too large.",
        ),
    }
}

/// All violations, in document order; what only repeats the one before it is left out.
pub(crate) fn violations(found: &[Violation], paths: Option<&Paths>) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    let mut last: Option<&Violation> = None;
    for violation in found {
        // a broken facet is followed by "not a valid value of type" for the same node
        let echo = violation.code == 1824
            && last.is_some_and(|last| {
                (1829..=1840).contains(&last.code)
                    && last.steps == violation.steps
                    && last.attribute == violation.attribute
            });
        if !echo {
            all.push(diagnostic(violation, paths));
        }
        last = Some(violation);
    }
    all
}

fn diagnostic(violation: &Violation, paths: Option<&Paths>) -> Diagnostic {
    let mapped = paths.and_then(|paths| paths.target_at(&violation.steps));
    let mut target = mapped.unwrap_or_else(|| violation.path.clone());
    let message = violation.message.trim();
    // values are quoted too: only look where none can be
    let names_only = matches!(violation.code, 1845 | 1866..=1868 | 1871);
    let head = if names_only { message } else { message.split(": ").next().unwrap_or_default() };
    let named = between(head, "attribute '", "'");
    let attribute = violation.attribute.as_deref().or(named);
    if let Some(attribute) = attribute {
        let slash = if target.is_empty() { "" } else { "/" };
        target = format!("{target}{slash}@{}", local_name(attribute));
    }
    let expected = between(message, "Expected is", ")")
        .filter(|_| violation.code == 1871)
        .map(|names| names.trim_start_matches([' ', '(']).trim());
    let expected = expected.map(|names| {
        let names = names.trim_start_matches("one of").trim_start_matches([' ', '(']);
        names.split(", ").map(|name| local_name(name.trim())).collect::<Vec<_>>().join(", ")
    });
    let (code, de, en): (&str, String, String) = match violation.code {
        1824 | 1825 | 1826 | 1839 => (
            "KOP-X020",
            "Der Wert hat nicht die Form, die der Standard verlangt.".into(),
            "The value does not have the form that the standard demands.".into(),
        ),
        1840 => (
            "KOP-X021",
            "Der Code steht nicht in der Liste, die das Schema vorgibt.".into(),
            "The code is not in the list that the schema prescribes.".into(),
        ),
        1829..=1838 => {
            let (de, en) = bound(violation.code);
            ("KOP-X022", format!("Der Wert ist {de}."), format!("The value is {en}."))
        }
        1871 if message.contains("Missing child") => {
            if let Some(names) = expected.as_deref().filter(|names| !names.contains(',')) {
                let slash = if target.is_empty() { "" } else { "/" };
                target = format!("{target}{slash}{names}");
            }
            ("KOP-X023", "Hier fehlt ein Element.".into(), "An element is missing here.".into())
        }
        1871 => (
            "KOP-X023",
            "Dieses Element ist hier nicht vorgesehen.".into(),
            "This element is not expected here.".into(),
        ),
        1868 => ("KOP-X024", "Ein Pflichtattribut fehlt.".into(), "A mandatory attribute is missing.".into()),
        1866 | 1867 => {
            ("KOP-X024", "Dieses Attribut ist nicht erlaubt.".into(), "This attribute is not allowed.".into())
        }
        1857 | 1858 | 1864 => (
            "KOP-X025",
            "Der Wert weicht von dem ab, den das Schema fest vorgibt.".into(),
            "The value differs from the one that the schema fixes.".into(),
        ),
        1845 => (
            "KOP-X023",
            "Dieses Wurzelelement kennt das Schema nicht.".into(),
            "The schema does not know this root element.".into(),
        ),
        1841..=1843 => (
            "KOP-X023",
            "Hier steht Text, wo Unterelemente stehen müssen, oder umgekehrt.".into(),
            "There is text where child elements belong, or the other way round.".into(),
        ),
        _ => (
            "KOP-X027",
            "Die Nachricht verletzt eine Regel des Schemas.".into(),
            "The message breaks a rule of the schema.".into(),
        ),
    };
    let mut problem = Diagnostic::new(code, de, en);
    if !target.is_empty() {
        problem = problem.with_target(target);
    }
    if let Some(names) = expected {
        problem = problem.with_hint(format!("Erwartet: {}", shorten(&names)));
    }
    let broken = rule(violation.code, message);
    let place = paths.and_then(|paths| paths.type_at(&violation.steps));
    let rule = match (broken, place) {
        (Some(broken), Some(place)) => Some(format!("{broken} ({place})")),
        (broken, place) => broken.or(place),
    };
    if let Some(rule) = rule {
        problem = problem.with_rule(rule);
    }
    let value = violation.value.as_deref().filter(|value| !value.trim().is_empty());
    if problem.hint.is_none() {
        problem.hint = advice(violation.code, message, value.unwrap_or_default());
    }
    if let Some(value) = value.filter(|_| !matches!(violation.code, 1866..=1868 | 1871)) {
        problem = problem.with_value(value);
    }
    if names_only {
        problem = problem.with_detail(shorten(message));
    }
    problem
}

/// How to mend a value, from the rule that the message quotes.
fn advice(code: i32, message: &str, value: &str) -> Option<String> {
    match code {
        1839 => {
            let (_, pattern) = message.rsplit_once("pattern '")?;
            advice::for_pattern(pattern.trim_end_matches(['.', '\'', '\n']), value)
        }
        1840 => advice::for_enumeration(message.rsplit_once('{')?.1, value),
        1824..=1826 => {
            let (_, typ) = message.rsplit_once("type '")?;
            advice::for_type(local_name(typ.trim_end_matches(['.', '\'', '\n'])))
        }
        1829..=1838 => {
            let (_, limit) = message.rsplit_once("of '")?;
            Some(format!("Grenze: {}", shorten(limit.trim_end_matches(['.', '\'', '\n']))))
        }
        _ => None,
    }
}

/// The facet or type that a message quotes; never the value, which libxml2 quotes first.
fn rule(code: i32, message: &str) -> Option<String> {
    if let Some(facet) = between(message, "[facet '", "']").filter(|_| (1829..=1840).contains(&code)) {
        let limit = message.rsplit_once(if facet == "pattern" { "pattern '" } else { "of '" });
        let limit = limit.map(|(_, rest)| rest.trim_end_matches(['.', '\'', '\n']));
        return Some(match (facet, limit) {
            ("enumeration", _) | (_, None) => facet.to_owned(),
            // braces in a pattern are counts, not name spaces
            ("pattern", Some(limit)) => format!("pattern {}", one_line(limit)),
            (facet, Some(limit)) => shorten(&format!("{facet} {limit}")),
        });
    }
    let (_, typ) = message.rsplit_once("type '").filter(|_| (1824..=1826).contains(&code))?;
    Some(format!("Typ {}", shorten(local_name(typ.trim_end_matches(['.', '\'', '\n'])))))
}

fn bound(code: i32) -> (&'static str, &'static str) {
    match code {
        1831 => ("zu kurz", "too short"),
        1832 => ("zu lang", "too long"),
        1833 | 1835 => ("zu klein", "too small"),
        1834 | 1836 => ("zu groß", "too large"),
        1837 | 1838 => ("eine Zahl mit zu vielen Stellen", "a number with too many digits"),
        _ => ("zu lang oder zu kurz", "too long or too short"),
    }
}

fn between<'m>(text: &'m str, before: &str, after: &str) -> Option<&'m str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// One line of bounded length.
fn one_line(text: &str) -> String {
    let line: String = text.chars().take(MAX_DETAIL).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_DETAIL).is_some() { format!("{line}…") } else { line }
}

/// One line, of bounded length, without name spaces in braces.
fn shorten(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '{' => inside = true,
            '}' if inside => inside = false,
            _ if inside => {}
            '\n' | '\r' | '\t' => out.push(' '),
            c => out.push(c),
        }
        if out.len() > MAX_DETAIL {
            out.push('…');
            break;
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32, message: &str, value: Option<&str>) -> Diagnostic {
        let violation = Violation {
            code,
            message: message.to_owned(),
            steps: vec![0],
            path: "a/b".to_owned(),
            attribute: None,
            value: value.map(str::to_owned),
        };
        violations(&[violation], None).remove(0)
    }

    #[test]
    fn values_stay_out_of_words_even_over_line_breaks() {
        let message = "Element '{urn:x}b': [facet 'pattern'] The value 'Erika' is not accepted by the pattern '[ -~]\n|x*'.\n";
        let problem = of(1839, message, Some("Erika"));
        let json = serde_json::to_string(&problem).unwrap();
        assert!(!json.contains("Erika"), "{json}");
        assert_eq!(problem.rule.as_deref(), Some("pattern [ -~] |x*"));
        assert_eq!((problem.code.as_str(), problem.target.as_deref()), ("KOP-X020", Some("a/b")));
        assert_eq!(problem.revealed.as_deref(), Some("Erika"));
    }

    #[test]
    fn a_missing_child_is_the_target() {
        let problem = of(1871, "Element 'b': Missing child element(s). Expected is ( {urn:x}code ).\n", None);
        assert_eq!(problem.target.as_deref(), Some("a/b/code"));
        let problem =
            of(1871, "Element 'b': Missing child element(s). Expected is one of ( {urn:x}c, d ).\n", None);
        assert_eq!(
            (problem.target.as_deref(), problem.hint.as_deref()),
            (Some("a/b"), Some("Erwartet: c, d"))
        );
    }
}
