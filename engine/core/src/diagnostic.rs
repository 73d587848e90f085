// SPDX-License-Identifier: EUPL-1.2
//! One problem as one value: the terminal, JSON, the vendors' error formats and a later screen all show it
//! from here. Texts come in German and English; values are masked unless a person asked to see them.

use serde::{Deserialize, Serialize};

use crate::{codes, mask::mask};

/// Language of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// German.
    #[default]
    De,
    /// English.
    En,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Hinweis,
    /// Goes on, but someone should look.
    Warnung,
    /// Does not go on.
    Fehler,
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The application's data: ask the applicant or the clerk (fachlicher Fehler).
    Fachlich,
    /// The mapping or its tables: the integration engineer (Zuordnungsfehler).
    Zuordnung,
    /// Payload, schema or message do not have the agreed shape (Strukturfehler).
    Struktur,
    /// Network, disk, credentials, configuration: whoever runs the engine (technischer Fehler).
    Technisch,
}

impl Class {
    /// The field's German term.
    pub fn german(self) -> &'static str {
        match self {
            Self::Fachlich => "fachlicher Fehler",
            Self::Zuordnung => "Zuordnungsfehler",
            Self::Struktur => "Strukturfehler",
            Self::Technisch => "technischer Fehler",
        }
    }
}

/// A field of the form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldRef {
    /// Path, as in [`crate::path`].
    pub path: String,
    /// What the citizen saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A place in a text file: script, table, configuration or schema. Line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// File, relative to the mapping, tenant or package folder.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1; 0 when only the line is known.
    #[serde(default)]
    pub column: u32,
    /// The line's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Stable code, e.g. `KOP-M012`; `kop explain` prints its page.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who can mend it.
    pub class: Class,
    /// One German sentence for the person who looks at it.
    pub de: String,
    /// The same in English.
    pub en: String,
    /// Form field that the value came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldRef>,
    /// Where in the script, table or configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Element of the message, as a path without prefixes: `antragsteller/natuerlichePerson/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The rule that was broken and where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How to mend it, in German.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The value, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value as it is: never serialised, never logged; only for a person who asked.
    #[serde(skip)]
    pub revealed: Option<String>,
    /// What a library or the other side said, in its own words and without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Diagnostic {
    /// A problem with its code's class; `de` and `en` must not hold values from an application.
    ///
    /// # Panics
    /// In debug builds, when the code has no page: a code without an explanation is a mistake of ours.
    pub fn new(code: &str, de: impl Into<String>, en: impl Into<String>) -> Self {
        let page = codes::page(code);
        debug_assert!(page.is_some(), "diagnostic code {code} has no page");
        Self {
            code: code.to_owned(),
            severity: page.map_or(Severity::Fehler, |page| page.severity),
            class: page.map_or(Class::Technisch, |page| page.class),
            de: de.into(),
            en: en.into(),
            field: None,
            place: None,
            target: None,
            rule: None,
            hint: None,
            value: None,
            revealed: None,
            detail: None,
        }
    }

    /// Names the form field.
    #[must_use]
    pub fn with_field(mut self, path: impl Into<String>, label: Option<String>) -> Self {
        self.field = Some(FieldRef { path: path.into(), label });
        self
    }

    /// Names the place in a text file.
    #[must_use]
    pub fn with_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Names the element of the message.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Names the rule.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Says how to mend it, in German.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Attaches the value: masked for everyone, as it is only for whoever asked to see it.
    #[must_use]
    pub fn with_value(mut self, value: &str) -> Self {
        self.value = Some(mask(value));
        self.revealed = Some(value.to_owned());
        self
    }

    /// Attaches the words of a library or of the other side.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Changes the severity that the code's page gives.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The sentence in one language.
    pub fn text(&self, lang: Lang) -> &str {
        match lang {
            Lang::De => &self.de,
            Lang::En => &self.en,
        }
    }

    /// What makes two problems "the same cause": code, place and target, but no values. Field repeats are
    /// one cause, so the numbers of repeats are left out.
    pub fn fingerprint(&self) -> String {
        let strip = |path: &str| {
            let mut out = String::new();
            let mut inside = false;
            for c in path.chars() {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    c if !inside => out.push(c),
                    _ => {}
                }
            }
            out
        };
        let place = self.place.as_ref().map(|p| format!("{}:{}", p.file, p.line)).unwrap_or_default();
        let target = self.target.as_deref().map(strip).unwrap_or_default();
        let field = self.field.as_ref().map(|f| strip(&f.path)).unwrap_or_default();
        format!("{}|{place}|{target}|{field}", self.code)
    }
}

impl std::fmt::Display for Diagnostic {
    /// One line for logs: no values, no labels' contents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.en)?;
        if let Some(place) = &self.place {
            write!(f, " ({}:{}:{})", place.file, place.line, place.column)?;
        }
        if let Some(target) = &self.target {
            write!(f, " [{target}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_leave_unmasked() {
        let problem = Diagnostic::new("KOP-M002", "Pflichtfeld fehlt.", "Required field is missing.")
            .with_value("Erika Mustermann")
            .with_target("antragsteller[2]/name");
        let json = serde_json::to_string(&problem).unwrap();
        assert!(!json.contains("Erika") && json.contains("Xxxxx Xxxxxxxxxx"), "{json}");
        assert!(!problem.to_string().contains("Erika"));
    }

    #[test]
    fn repeats_are_one_cause() {
        let at = |n: usize| {
            Diagnostic::new("KOP-M002", "", "")
                .with_target(format!("a[{n}]/b"))
                .with_value(&n.to_string())
                .fingerprint()
        };
        assert_eq!(at(1), at(2));
    }
}
