// SPDX-License-Identifier: EUPL-1.2
//! Text files of the configuration with their places: reads them within bounds, parses TOML into types and
//! finds the line and column of a setting by its path.

use std::{fs::File, io::Read, ops::Range, path::Path};

use kop_core::{Diagnostic, diagnostic::Place};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use crate::german::{english, german};

/// A TOML file in memory.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Name as diagnostics say it.
    pub name: String,
    /// The text.
    pub text: String,
}

impl SourceFile {
    /// A file under the name that diagnostics say.
    pub(crate) fn new(name: impl Into<String>, text: String) -> Self {
        Self { name: name.into(), text }
    }

    /// Reads the file into a type.
    ///
    /// # Errors
    /// KOP-K002 with the place: not TOML, or a setting is unknown, missing or of the wrong form.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        toml::from_str(&self.text).map_err(|error| {
            let message = error.message();
            let mut place = self.at(&error.span().unwrap_or(0..0));
            if message.contains("literal secret") {
                place.snippet = None;
            }
            Diagnostic::new(
                "KOP-K002",
                format!("{}: {}.", self.name, german(message)),
                format!("{}: {}.", self.name, english(message)),
            )
            .with_place(place)
        })
    }

    /// The place of a run of bytes.
    pub(crate) fn at(&self, span: &Range<usize>) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let snippet: String =
            self.text[line_start..].lines().next().unwrap_or_default().chars().take(200).collect();
        Place {
            file: self.name.clone(),
            line: count(before.bytes().filter(|&b| b == b'\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
            snippet: Some(snippet),
        }
    }

    /// The place of a setting by the keys that lead to it; numbers count entries of a list from 0. Where the
    /// setting itself is not written, the place of the nearest one above it.
    pub(crate) fn place(&self, keys: &[&str]) -> Place {
        let Ok(root) = DeTable::parse(&self.text) else { return self.at(&(0..0)) };
        let mut span = 0..0;
        let mut table = Some(root.get_ref());
        let mut list: Option<&[toml::Spanned<DeValue<'_>>]> = None;
        for key in keys {
            let next = if let Some(table) = table {
                table.iter().find(|(name, _)| name.get_ref().as_ref() == *key).map(|(name, value)| {
                    span = name.span();
                    value.get_ref()
                })
            } else if let Some(list) = list {
                key.parse::<usize>().ok().and_then(|n| list.get(n)).map(|value| {
                    span = value.span();
                    value.get_ref()
                })
            } else {
                None
            };
            let Some(value) = next else { break };
            table = value.as_table();
            list = value.as_array().map(|array| array.iter().as_slice());
        }
        self.at(&span)
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Reads a UTF-8 text file of at most `most` bytes; `name` is what diagnostics say.
///
/// # Errors
/// KOP-K001: the file is not there, not readable, too large or not UTF-8.
pub(crate) fn read_bounded(path: &Path, name: &str, most: u64) -> Result<String, Diagnostic> {
    let problem = |de: &str, en: &str, detail: String| {
        Diagnostic::new("KOP-K001", format!("Die Datei {name} {de}."), format!("The file {name} {en}."))
            .with_detail(detail)
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| problem("ist nicht lesbar", "cannot be read", error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(problem("ist zu groß", "is too large", format!("more than {most} bytes")));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes)
        .map_err(|error| problem("ist kein UTF-8-Text", "is not UTF-8 text", error.utf8_error().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_their_path() {
        let text = "name = \"ä\"\n[[route]]\nname = \"a\"\n[[route]]\nname = \"b\"\n  [[route.ziel]]\n  zuordnung = \"x\"\n";
        let source = SourceFile::new("mandant.toml", text.into());
        let place = source.place(&["route", "1", "ziel", "0", "zuordnung"]);
        assert_eq!((place.line, place.column), (7, 3));
        assert_eq!(place.snippet.as_deref(), Some("  zuordnung = \"x\""));
        // What is not written is shown at the nearest setting above it.
        assert_eq!(source.place(&["route", "1", "wenn"]).line, 4);
    }
}
