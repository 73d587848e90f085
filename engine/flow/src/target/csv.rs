// SPDX-License-Identifier: EUPL-1.2
//! A Fachverfahren's CSV (RFC 4180 with the separator of the manifest): one line per map of the script.

use kop_core::{Diagnostic, Tree, similar};

use crate::lineage::ROW;

/// What the manifest says of the file.
#[derive(Clone, Copy, Debug)]
pub struct CsvFormat<'a> {
    /// Columns in order; the header line.
    pub columns: &'a [String],
    /// Separator.
    pub separator: char,
    /// `utf-8` or `windows-1252`.
    pub charset: &'a str,
}

/// The file with a header line and CRLF line ends.
///
/// # Errors
/// A key that is no column, a value that is no plain value, a character that the character set lacks.
pub fn render(tree: &Tree, format: CsvFormat<'_>) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let rows: Vec<&Tree> = match tree {
        Tree::List(rows) => rows.iter().collect(),
        row => vec![row],
    };
    let mut problems = Vec::new();
    let mut out = csv::WriterBuilder::new()
        .delimiter(u8::try_from(format.separator).unwrap_or(b';'))
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let failed = |_| vec![write_failed()];
    out.write_record(format.columns).map_err(failed)?;
    for (n, row) in rows.iter().enumerate() {
        let at = |column: &str| match tree {
            Tree::List(_) => format!("{ROW}[{}]/{column}", n + 1),
            _ => column.to_owned(),
        };
        let Tree::Map(entries) = row else {
            problems.push(wrong_shape(&at("")));
            continue;
        };
        for (key, _) in entries {
            if !format.columns.iter().any(|column| **column == **key) {
                problems.push(unknown_column(key, format.columns).with_target(at(key)));
            }
        }
        let mut record = Vec::with_capacity(format.columns.len());
        for column in format.columns {
            record.push(match row.get(column) {
                None | Some(Tree::Nothing) => String::new(),
                Some(Tree::Text(text)) => {
                    if let Some(problem) = not_in_charset(text, format.charset) {
                        problems.push(problem.with_target(at(column)).with_value(text));
                    }
                    harmless(text)
                }
                Some(Tree::Bool(value)) => if *value { "ja" } else { "nein" }.to_owned(),
                Some(Tree::Int(value)) => value.to_string(),
                Some(_) => {
                    problems.push(wrong_shape(&at(column)));
                    String::new()
                }
            });
        }
        out.write_record(&record).map_err(failed)?;
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let text = out.into_inner().map_err(|_| vec![write_failed()])?;
    encode(text, format.charset)
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front; numbers and telephone
/// numbers with a sign stay as they are.
fn harmless(text: &str) -> String {
    let formula = text.starts_with(['=', '@', '\t', '\r'])
        || (text.starts_with(['+', '-'])
            && !text.chars().skip(1).all(|c| c.is_ascii_digit() || " .,/-()".contains(c)));
    if formula { format!("'{text}") } else { text.to_owned() }
}

fn encode(text: Vec<u8>, charset: &str) -> Result<Vec<u8>, Vec<Diagnostic>> {
    if charset.eq_ignore_ascii_case("utf-8") {
        return Ok(text);
    }
    let text = String::from_utf8(text).map_err(|_| vec![write_failed()])?;
    // Only the header line can still hold a character that the set lacks.
    if let Some(problem) = not_in_charset(&text, charset) {
        return Err(vec![problem]);
    }
    Ok(encoding_rs::WINDOWS_1252.encode(&text).0.into_owned())
}

fn not_in_charset(text: &str, charset: &str) -> Option<Diagnostic> {
    if text.is_ascii() || charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let offending = text.chars().find(|c| encoding_rs::WINDOWS_1252.encode(c.encode_utf8(&mut [0; 4])).2)?;
    Some(
        Diagnostic::new(
            "KOP-F011",
            format!("Das Zeichen „{offending}“ gibt es im Zeichensatz {charset} nicht, den das Fachverfahren verlangt."),
            format!("The character \"{offending}\" does not exist in {charset}, which the receiver demands."),
        )
        .with_hint("In mapping.toml zeichensatz = \"utf-8\" setzen, wenn das Fachverfahren es annimmt; sonst die Angabe mit der antragstellenden Person in eine Schreibweise ohne dieses Zeichen bringen."),
    )
}

fn unknown_column(key: &str, columns: &[String]) -> Diagnostic {
    let mut problem = Diagnostic::new(
        "KOP-F012",
        format!("Die Zuordnung liefert „{key}“, aber mapping.toml nennt keine solche Spalte."),
        format!("The mapping returns \"{key}\", but mapping.toml names no such column."),
    );
    problem.hint = similar::question(&similar::near(key, columns.iter().map(String::as_str)));
    problem
}

fn wrong_shape(target: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F013",
        "Für CSV muss die Zuordnung eine Map oder eine Liste von Maps mit einfachen Werten liefern.",
        "For CSV the mapping must return a map or a list of maps with plain values.",
    )
    .with_target(target)
}

fn write_failed() -> Diagnostic {
    Diagnostic::new(
        "KOP-F013",
        "Die CSV-Datei konnte nicht erzeugt werden.",
        "The CSV file could not be made.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<String> {
        vec!["Name".into(), "Betrag".into()]
    }

    #[test]
    fn columns_stand_in_the_manifests_order_and_formulas_are_defused() {
        let columns = columns();
        let format = CsvFormat { columns: &columns, separator: ';', charset: "windows-1252" };
        let tree = Tree::List(vec![
            Tree::map([("Betrag", Tree::text("-1,10")), ("Name", Tree::text("Jörg; \"Bello\""))]),
            Tree::map([("Name", Tree::text("=1+1"))]),
        ]);
        let bytes = render(&tree, format).unwrap();
        assert_eq!(bytes, b"Name;Betrag\r\n\"J\xf6rg; \"\"Bello\"\"\";-1,10\r\n'=1+1;\r\n");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let columns = columns();
        let format = CsvFormat { columns: &columns, separator: ';', charset: "windows-1252" };
        let code = |tree| render(&tree, format).unwrap_err()[0].code.clone();
        assert_eq!(code(Tree::map([("Nme", Tree::text("x"))])), "KOP-F012");
        assert_eq!(code(Tree::map([("Name", Tree::text("Łódź"))])), "KOP-F011");
        assert_eq!(code(Tree::text("x")), "KOP-F013");
    }
}
