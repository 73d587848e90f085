// SPDX-License-Identifier: EUPL-1.2
//! Tables of a mapping: `;`-separated text with a header row; the first column is the key.

use std::collections::{BTreeMap, HashMap};

use kop_core::{Diagnostic, diagnostic::Place};
use rhai::ImmutableString;

use crate::bounds::{TABLE_BYTES, TABLE_COLUMNS, TABLE_ROWS};

/// The tables of one mapping by name.
#[derive(Clone, Debug, Default)]
pub struct Tables(BTreeMap<String, Table>);

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Where it came from, for messages; the last overlay's file wins.
    pub file: String,
    columns: Vec<String>,
    rows: HashMap<String, Vec<ImmutableString>>,
}

/// Why a look-up found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Table,
    Column,
    Key,
}

impl Tables {
    /// No tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one table and adds it under `name`, in place of one that had this name. `file` is what
    /// diagnostics say. Bounded: 4 MiB, 100 000 rows, 64 columns. Errors: KOP-M011 with line.
    pub fn parse_csv(&mut self, name: &str, file: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
        let table = Table::parse(file, text)?;
        self.0.insert(name.to_owned(), table);
        Ok(())
    }

    /// Lays the rows of other tables over these, key by key; columns go by their names. A cell that the
    /// overlay does not have stays empty in a new row and as it is in an old one.
    pub fn overlay(&mut self, over: &Tables) {
        for (name, layer) in &over.0 {
            match self.0.get_mut(name) {
                Some(table) => table.overlay(layer),
                None => {
                    self.0.insert(name.clone(), layer.clone());
                }
            }
        }
    }

    /// The table of that name.
    pub fn get(&self, name: &str) -> Option<&Table> {
        self.0.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn look_up(
        &self,
        name: &str,
        key: &str,
        column: Option<&str>,
    ) -> Result<&ImmutableString, Missing> {
        let table = self.0.get(name).ok_or(Missing::Table)?;
        let at = match column {
            Some(column) => table.columns.iter().position(|c| c == column).ok_or(Missing::Column)?,
            // A table of one column is a list of allowed keys: the key stands for itself.
            None => 1.min(table.columns.len().saturating_sub(1)),
        };
        table.rows.get(key.trim()).and_then(|row| row.get(at)).ok_or(Missing::Key)
    }
}

impl Table {
    /// Names of the columns, the key's first.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A key whose row says something else than the row of `key`: what the citizen could have chosen instead.
    pub fn other_key(&self, key: &str) -> Option<&str> {
        let own = self.rows.get(key)?;
        let mut others: Vec<_> = self.rows.iter().filter(|(other, _)| other.as_str() != key).collect();
        others.sort_unstable_by_key(|(other, _)| other.as_str());
        let told_apart = others.iter().find(|(_, row)| row.iter().skip(1).ne(own.iter().skip(1)));
        told_apart.or(others.first()).map(|(other, _)| other.as_str())
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.rows.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let problem = |line: u64, de: &str, en: &str| {
            Diagnostic::new(
                "KOP-M011",
                format!("Die Tabelle ist nicht lesbar: {de}"),
                format!("The table is not readable: {en}"),
            )
            .with_place(Place {
                file: file.to_owned(),
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: 0,
                snippet: None,
            })
        };
        if text.len() > TABLE_BYTES {
            return Err(vec![problem(1, "Sie ist größer als 4 MiB.", "it is larger than 4 MiB")]);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(b';')
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut table = Self { file: file.to_owned(), ..Self::default() };
        let mut problems = Vec::new();
        let mut record = csv::StringRecord::new();
        loop {
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    problems.push(problem(
                        reader.position().line(),
                        "Die Zeile ist fehlerhaft.",
                        "malformed row",
                    ));
                    break;
                }
            }
            let line = record.position().map_or(0, csv::Position::line);
            if table.columns.is_empty() {
                table.columns = record.iter().map(|cell| cell.trim().to_owned()).collect();
                let mut names: Vec<&String> = table.columns.iter().collect();
                names.sort_unstable();
                names.dedup();
                if names.len() < table.columns.len() || table.columns.iter().any(String::is_empty) {
                    problems.push(problem(
                        line,
                        "Jede Spalte braucht einen eigenen Namen.",
                        "each column needs a name of its own",
                    ));
                }
                if table.columns.len() > TABLE_COLUMNS {
                    problems.push(problem(line, "Sie hat mehr als 64 Spalten.", "more than 64 columns"));
                }
                continue;
            }
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if record.len() > table.columns.len() {
                problems.push(problem(
                    line,
                    "Die Zeile hat mehr Zellen als die Kopfzeile.",
                    "more cells than the header row",
                ));
            }
            let key = record.get(0).unwrap_or_default().trim();
            if key.is_empty() {
                problems.push(problem(
                    line,
                    "Der Schlüssel in der ersten Spalte fehlt.",
                    "the key in the first column is missing",
                ));
            }
            let mut row: Vec<ImmutableString> = record.iter().map(|cell| cell.trim().into()).collect();
            row.resize(table.columns.len(), ImmutableString::new());
            if table.rows.insert(key.to_owned(), row).is_some() {
                problems.push(problem(line, "Der Schlüssel kommt zweimal vor.", "the key occurs twice"));
            }
            if table.rows.len() > TABLE_ROWS {
                problems.push(problem(line, "Sie hat mehr als 100 000 Zeilen.", "more than 100,000 rows"));
            }
            if problems.len() >= 20 || table.rows.len() > TABLE_ROWS {
                break;
            }
        }
        if table.columns.is_empty() {
            problems.push(problem(1, "Die Kopfzeile fehlt.", "the header row is missing"));
        }
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }

    fn overlay(&mut self, over: &Table) {
        self.file.clone_from(&over.file);
        let places: Vec<usize> = over
            .columns
            .iter()
            .enumerate()
            .map(|(n, column)| {
                // Keys meet keys, whatever the column is called.
                if n == 0 {
                    return 0;
                }
                self.columns.iter().skip(1).position(|c| c == column).map_or_else(
                    || {
                        self.columns.push(column.clone());
                        self.columns.len() - 1
                    },
                    |at| at + 1,
                )
            })
            .collect();
        let width = self.columns.len();
        for row in self.rows.values_mut() {
            row.resize(width, ImmutableString::new());
        }
        for (key, cells) in &over.rows {
            let row = self.rows.entry(key.clone()).or_insert_with(|| vec![ImmutableString::new(); width]);
            for (&at, cell) in places.iter().zip(cells) {
                row[at] = cell.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Tables {
        let mut tables = Tables::new();
        tables.parse_csv("t", "tabellen/t.csv", text).unwrap();
        tables
    }

    #[test]
    fn rows_are_laid_over_by_key_and_columns_by_name() {
        let mut base = tables("schluessel;wert;text\n1;a;Alpha\n2;b;\"Be;ta\"\n");
        base.overlay(&tables("schluessel;text\n2;Bravo\n3;Charlie\n"));
        assert_eq!(base.look_up("t", "2", None).unwrap(), "b");
        assert_eq!(base.look_up("t", "2", Some("text")).unwrap(), "Bravo");
        assert_eq!(base.look_up("t", "3", Some("text")).unwrap(), "Charlie");
        assert_eq!(base.look_up("t", "9", None), Err(Missing::Key));
        assert_eq!(base.look_up("t", "1", Some("x")), Err(Missing::Column));
        assert_eq!(base.look_up("u", "1", None), Err(Missing::Table));
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        let problems = Tables::new().parse_csv("t", "tabellen/t.csv", "a;b\n1;x\n1;y;z\n;q\n").unwrap_err();
        let lines: Vec<u32> = problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
        assert_eq!(lines, [3, 3, 4]);
        assert!(Tables::new().parse_csv("t", "t.csv", "").is_err());
    }
}
