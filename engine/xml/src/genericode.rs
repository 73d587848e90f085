// SPDX-License-Identifier: EUPL-1.2
//! Reads a code list in OASIS genericode 1.0, with the annotations of the XÖV Codelistenhandbuch (1.0 to 1.2), in
//! one pass with quick-xml. Foreign files: DOCTYPE, entities, sizes, rows, columns and depth are bounded. Knows
//! nothing of packages or messages.

use std::collections::HashMap;

use kop_core::ContentHash;
use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event},
};

use crate::{
    codelist::{CodeList, ListInfo, Row, Validity},
    licence,
    xsd::{MAX_FILE, local_name},
};

const NAMESPACE: &str = "docs.oasis-open.org/codelist/ns/genericode/";
const MAX_DEPTH: usize = 32;
const MAX_COLUMNS: usize = 100;
const MAX_ROWS: usize = 200_000;
const MAX_CODE: usize = 256;
const MAX_NAME: usize = 400;
/// As much of a file as is looked at to tell a code list from other XML.
pub(crate) const SNIFF: usize = 4 << 10;

/// Whether a file that begins like this is a genericode list.
pub(crate) fn is_list(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&head[..head.len().min(SNIFF)]);
    let root = head.find("CodeList ").or_else(|| head.find("CodeList>"));
    root.is_some_and(|at| {
        matches!(head[..at].chars().next_back(), Some('<' | ':')) && head[at..].contains(NAMESPACE)
    })
}

/// Why a file is not taken in.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Hostile or broken.
    Broken(String),
    /// Well-formed, but of a shape that codes cannot be looked up in.
    Unusable(String),
}

fn broken(reason: impl Into<String>) -> Refusal {
    Refusal::Broken(reason.into())
}

/// Reads a list. Reasons are plain words without content of the file.
pub(crate) fn read(bytes: &[u8]) -> Result<CodeList, Refusal> {
    if bytes.len() > MAX_FILE {
        return Err(broken(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| broken("not UTF-8"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut list = Builder::default();
    let mut open: Vec<String> = Vec::new();
    let mut content = String::new();
    loop {
        match reader.read_event().map_err(|error| broken(format!("not well-formed: {error}")))? {
            Event::Start(tag) => {
                list.start(&tag, &mut open)?;
                content.clear();
            }
            Event::Empty(tag) => {
                list.start(&tag, &mut open)?;
                list.end(&open, "")?;
                open.pop();
            }
            Event::End(_) => {
                list.end(&open, content.trim())?;
                content.clear();
                open.pop();
            }
            Event::Text(text) => content.push_str(&text.xml10_content()),
            Event::CData(text) => content.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                content.push(resolve(&reference).ok_or_else(|| broken("refers to an entity"))?);
            }
            Event::DocType(_) => return Err(broken("has a DOCTYPE")),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !open.is_empty() {
        return Err(broken("ends in the middle of an element"));
    }
    list.finish()
}

fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    }
}

#[derive(Default)]
struct Column {
    id: String,
    names: Vec<String>,
    optional: bool,
}

#[derive(Default)]
struct Key {
    columns: Vec<String>,
    /// Marked as the column that messages carry.
    recommended: bool,
    /// Marked as the column that people read.
    reading: bool,
}

/// What has been read so far.
#[derive(Default)]
struct Builder {
    short_name: String,
    long_name: String,
    version: String,
    urn: String,
    version_urn: String,
    valid_from: Option<String>,
    valid_to: Option<String>,
    licence: Option<String>,
    columns: Vec<Column>,
    by_id: HashMap<String, usize>,
    keys: Vec<Key>,
    /// Code and display column, chosen when the rows begin.
    chosen: Option<(usize, Option<usize>)>,
    /// Columns that say from when and until when a code counts, and what comes after it.
    times: Validity<usize>,
    cell: usize,
    next_cell: usize,
    code: Option<String>,
    display: String,
    validity: Validity<String>,
    rows: Vec<Row>,
}

impl Builder {
    fn start(&mut self, tag: &BytesStart<'_>, open: &mut Vec<String>) -> Result<(), Refusal> {
        if open.len() >= MAX_DEPTH {
            return Err(broken(format!("nested deeper than {MAX_DEPTH}")));
        }
        let raw = tag.name();
        let name = local_name(raw.as_ref());
        if open.is_empty() && name != "CodeList" {
            return Err(broken("is not a genericode list"));
        }
        open.push(name.to_owned());
        let attribute = |wanted: &str| -> Result<Option<String>, Refusal> {
            for attribute in tag.attributes() {
                let attribute = attribute.map_err(|error| broken(format!("not well-formed: {error}")))?;
                if attribute.key.as_ref() == wanted {
                    let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                    let value = value.map_err(|error| broken(format!("not well-formed: {error}")))?;
                    return Ok(Some(value.into_owned()));
                }
            }
            Ok(None)
        };
        let path: Vec<&str> = open.iter().map(String::as_str).collect();
        match path[..] {
            ["CodeList", "ColumnSet", "Column"] => {
                if self.columns.len() >= MAX_COLUMNS {
                    return Err(broken(format!("more than {MAX_COLUMNS} columns")));
                }
                let id = attribute("Id")?.ok_or_else(|| broken("has a column without Id"))?;
                if self.by_id.insert(id.clone(), self.columns.len()).is_some() {
                    return Err(broken("has two columns with one Id"));
                }
                let optional = attribute("Use")?.as_deref() == Some("optional");
                self.columns.push(Column { id, names: Vec::new(), optional });
            }
            ["CodeList", "ColumnSet", "Key"] => {
                if self.keys.len() >= MAX_COLUMNS {
                    return Err(broken(format!("more than {MAX_COLUMNS} keys")));
                }
                self.keys.push(Key::default());
            }
            ["CodeList", "ColumnSet", "Key", "ColumnRef"] => {
                if let (Some(key), Some(column)) = (self.keys.last_mut(), attribute("Ref")?) {
                    if key.columns.len() >= MAX_COLUMNS {
                        return Err(broken(format!("a key of more than {MAX_COLUMNS} columns")));
                    }
                    key.columns.push(column);
                }
            }
            ["CodeList", "ColumnSet", "Key", "Annotation", "AppInfo", mark] => {
                let Some(key) = self.keys.last_mut() else { return Ok(()) };
                match mark {
                    "recommendedKeyColumn" | "empfohleneCodeSpalte" | "xoev-code" => key.recommended = true,
                    "xoev-codename" => key.reading = true,
                    _ => {}
                }
            }
            ["CodeList", "SimpleCodeList", "Row"] => {
                if self.rows.len() >= MAX_ROWS {
                    return Err(broken(format!("more than {MAX_ROWS} rows")));
                }
                if self.chosen.is_none() {
                    self.chosen = Some(self.choose()?);
                    self.times = self.times();
                }
                (self.next_cell, self.code) = (0, None);
                self.display.clear();
                self.validity = Validity::default();
            }
            ["CodeList", "SimpleCodeList", "Row", "Value"] => {
                self.cell = match attribute("ColumnRef")? {
                    Some(id) => *self.by_id.get(&id).ok_or_else(|| broken("a value names no column"))?,
                    None => self.next_cell,
                };
                self.next_cell = self.cell + 1;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, open: &[String], content: &str) -> Result<(), Refusal> {
        let path: Vec<&str> = open.iter().map(String::as_str).collect();
        let text = || shorten(content);
        match path[..] {
            ["CodeList", "Identification", field] => {
                let place = match field {
                    "ShortName" => &mut self.short_name,
                    "LongName" => &mut self.long_name,
                    "Version" => &mut self.version,
                    "CanonicalUri" => &mut self.urn,
                    "CanonicalVersionUri" => &mut self.version_urn,
                    _ => return Ok(()),
                };
                if place.is_empty() {
                    *place = text();
                }
            }
            ["CodeList", "Annotation", _, field] => match field.to_ascii_lowercase().as_str() {
                "validfrom" | "datumgueltigkeitab" => self.valid_from = day(content),
                "validto" | "validuntil" | "datumgueltigkeitbis" => self.valid_to = day(content),
                name if licence::is_element(name) && !content.is_empty() => self.licence = Some(text()),
                _ => {}
            },
            ["CodeList", "ColumnSet", "Column", "ShortName" | "LongName"] => {
                if let Some(column) = self.columns.last_mut().filter(|column| column.names.len() < 4) {
                    column.names.push(text());
                }
            }
            ["CodeList", "SimpleCodeList", "Row", "Value", "SimpleValue"] => {
                let (code, display) = self.chosen.unwrap_or_default();
                if self.cell == code {
                    let value = collapse(content);
                    if value.chars().count() > MAX_CODE {
                        return Err(broken(format!("a code longer than {MAX_CODE} characters")));
                    }
                    self.code = Some(value);
                } else if Some(self.cell) == display {
                    self.display = text();
                }
                let here = |column: Option<usize>| column == Some(self.cell);
                if here(self.times.from) {
                    self.validity.from = day(content);
                } else if here(self.times.to) {
                    self.validity.to = day(content);
                } else if here(self.times.next) {
                    self.validity.next = Some(text()).filter(|next| !next.is_empty());
                }
            }
            ["CodeList", "SimpleCodeList", "Row"] => {
                if let Some(code) = self.code.take().filter(|code| !code.is_empty()) {
                    let name = std::mem::take(&mut self.display);
                    self.rows.push(Row { code, name, validity: std::mem::take(&mut self.validity) });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Code and display column.
    fn choose(&self) -> Result<(usize, Option<usize>), Refusal> {
        let single = || self.keys.iter().filter(|key| key.columns.len() == 1);
        let key = single().find(|key| key.recommended).or_else(|| single().find(|key| !key.reading));
        let code = match key {
            Some(key) => self.by_id.get(&key.columns[0]).copied(),
            None if self.keys.is_empty() => {
                let is_code = |column: &Column| column.id.eq_ignore_ascii_case("code");
                self.columns.iter().position(is_code)
            }
            None => None,
        };
        let code = code.ok_or_else(|| Refusal::Unusable("has no single key column".to_owned()))?;
        let others = || self.columns.iter().enumerate().filter(|(number, _)| *number != code);
        let reading = single().find(|key| key.reading).map(|key| &key.columns[0]);
        let speaks = |text: &String| {
            let text = text.to_lowercase();
            ["beschreibung", "bezeichnung", "description", "name"].iter().any(|word| text.contains(word))
        };
        let speaking = |column: &Column| speaks(&column.id) || column.names.iter().any(speaks);
        let display = others()
            .find(|(_, column)| reading == Some(&column.id))
            .or_else(|| others().find(|(_, column)| speaking(column)))
            .or_else(|| others().find(|(_, column)| !column.optional))
            .or_else(|| others().next());
        Ok((code, display.map(|(number, _)| number)))
    }

    /// Columns of validity, by their usual names. Columns about the thing that a code stands for (when a state came
    /// to be and ceased, in the list of states) are none of them: born in the Soviet Union is no mistake.
    fn times(&self) -> Validity<usize> {
        let named = |names: &[&str]| {
            self.columns.iter().position(|column| {
                let all = std::iter::once(&column.id).chain(&column.names);
                all.map(|name| plain(name)).any(|name| names.contains(&name.as_str()))
            })
        };
        Validity {
            from: named(&[
                "gueltigab",
                "gueltigvon",
                "gueltigkeitab",
                "gueltigkeitvon",
                "gueltigkeitsbeginn",
                "validfrom",
            ]),
            to: named(&["gueltigbis", "gueltigkeitbis", "gueltigkeitsende", "validto", "validuntil"]),
            next: named(&["kuenftigzuverwendendecodes", "nachfolger", "nachfolgecode"]),
        }
    }

    fn finish(self) -> Result<CodeList, Refusal> {
        let Some((code, display)) = self.chosen else {
            return Err(Refusal::Unusable("has no rows".to_owned()));
        };
        let version = if self.version.is_empty() {
            self.version_urn.rsplit_once('_').map(|(_, version)| version.to_owned()).unwrap_or_default()
        } else {
            self.version
        };
        if self.urn.is_empty() || version.is_empty() || self.urn.contains(char::is_whitespace) {
            return Err(Refusal::Unusable("names no CanonicalUri or Version".to_owned()));
        }
        let name = if self.long_name.is_empty() { self.short_name } else { self.long_name };
        let info = ListInfo {
            urn: self.urn,
            version,
            name,
            key_column: self.columns[code].id.clone(),
            display_column: display.map(|number| self.columns[number].id.clone()),
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            licence: self.licence,
            codes: 0,
            hash: ContentHash::of(b""),
            values: ContentHash::of(b""),
        };
        Ok(CodeList::new(info, self.rows))
    }
}

/// White space as `xs:token` has it.
fn collapse(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str) -> String {
    let text = collapse(text);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    text
}

/// A name without what writers vary: case, umlauts, signs.
fn plain(name: &str) -> String {
    let name = name.to_lowercase().replace('ü', "ue");
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// An ISO date, also when a time follows, or a German one; anything else is no date.
fn day(text: &str) -> Option<String> {
    if let [day, month, year] = text.trim().split('.').collect::<Vec<_>>()[..]
        && (day.len(), month.len(), year.len()) == (2, 2, 4)
        && [day, month, year].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Some(format!("{year}-{month}-{day}"));
    }
    let day = text.get(..10)?;
    let form = day.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    form.then(|| day.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(inner: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/"
            xmlns:x="http://xoev.de/schemata/genericode/4"><Annotation><Description>
            <x:validFrom>2020-01-01</x:validFrom><x:validTo>2024-12-31T00:00:00</x:validTo><x:lizenz>dl-de/by-2-0</x:lizenz></Description></Annotation>
            <Identification><ShortName>farben</ShortName><LongName>Farben</LongName><Version>2.0</Version>
            <CanonicalUri>urn:x:codeliste:farben</CanonicalUri></Identification>{inner}</gc:CodeList>"#
        )
    }

    const COLUMNS: &str = r#"<ColumnSet><Column Id="nr" Use="optional"><ShortName>nr</ShortName></Column>
        <Column Id="schluessel"><ShortName>s</ShortName></Column><Column Id="b"><LongName>Bezeichnung</LongName></Column>
        <Key Id="a"><ColumnRef Ref="nr"/></Key><Key Id="k"><Annotation><AppInfo><x:recommendedKeyColumn/></AppInfo>
        </Annotation><ColumnRef Ref="schluessel"/></Key></ColumnSet>"#;

    fn refused(text: &str) -> String {
        match read(text.as_bytes()) {
            Err(Refusal::Broken(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_marked_column_is_the_code() {
        let rows = r#"<SimpleCodeList><Row><Value><SimpleValue>1</SimpleValue></Value>
            <Value><SimpleValue> A&amp;B </SimpleValue></Value><Value><SimpleValue>Rot
            und  blau</SimpleValue></Value></Row><Row><Value ColumnRef="b"><SimpleValue>ohne Code</SimpleValue></Value>
            </Row><Row><Value ColumnRef="schluessel"><SimpleValue/></Value></Row></SimpleCodeList>"#;
        let found = read(list(&format!("{COLUMNS}{rows}")).as_bytes()).unwrap();
        assert_eq!((found.info.urn.as_str(), found.info.version.as_str()), ("urn:x:codeliste:farben", "2.0"));
        assert_eq!(
            (found.info.key_column.as_str(), found.info.display_column.as_deref()),
            ("schluessel", Some("b"))
        );
        assert_eq!(found.info.valid_from.as_deref(), Some("2020-01-01"));
        assert_eq!(found.info.licence.as_deref(), Some("dl-de/by-2-0"));
        assert_eq!(found.info.valid_to.as_deref(), Some("2024-12-31"));
        assert_eq!(found.bytes(), "A&B\tRot und blau\n".as_bytes());
    }

    #[test]
    fn columns_of_validity_are_read_in_both_ways_of_writing_days() {
        let column = |id: &str| format!("<Column Id=\"{id}\" Use=\"optional\"/>");
        let extra =
            ["gültig-ab", "gueltigBis", "kuenftigZuVerwendendeCodes", "Existenz-bis"].map(column).concat();
        let row = |code: &str, cells: &[(&str, &str)]| {
            let cell = |(column, text): &(&str, &str)| {
                format!("<Value ColumnRef=\"{column}\"><SimpleValue>{text}</SimpleValue></Value>")
            };
            let cells: String = cells.iter().map(cell).collect();
            format!("<Row>{}{cells}</Row>", cell(&("schluessel", code)))
        };
        let rows = [
            row("1", &[("gueltigBis", "30.06.2021"), ("kuenftigZuVerwendendeCodes", "2")]),
            row("2", &[("gültig-ab", "2021-07-01T00:00:00"), ("gueltigBis", "unbefristet")]),
            row("3", &[("Existenz-bis", "1992-04-26")]),
        ];
        let columns = COLUMNS.replace("<Key Id=\"a\">", &format!("{extra}<Key Id=\"a\">"));
        let text = list(&format!("{columns}<SimpleCodeList>{}</SimpleCodeList>", rows.concat()));
        let found = read(text.as_bytes()).unwrap();
        let day = |from, to, next| Some(Validity { from, to, next });
        assert_eq!(found.find("1"), day(None, Some("2021-06-30"), Some("2")));
        assert_eq!(found.find("2"), day(Some("2021-07-01"), None, None));
        assert_eq!(found.find("3"), day(None, None, None));
    }

    #[test]
    fn hostile_lists_are_refused_with_a_reason() {
        let whole = |rows: &str| list(&format!("{COLUMNS}<SimpleCodeList>{rows}</SimpleCodeList>"));
        let row = r#"<Row><Value ColumnRef="schluessel"><SimpleValue>x</SimpleValue></Value></Row>"#;
        assert!(read(whole(row).as_bytes()).is_ok());
        assert!(refused(&format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", whole(row))).contains("DOCTYPE"));
        assert!(refused(&whole(&row.replace('x', "&bombe;"))).contains("entity"));
        assert!(refused(&whole(&row.replace("schluessel", "fremd"))).contains("no column"));
        assert!(refused(&whole(&row.replace(">x<", &format!(">{}<", "x".repeat(300))))).contains("longer"));
        assert!(refused(&whole(&row.repeat(MAX_ROWS + 1))).contains("rows"));
        assert!(refused(&whole(&"<a>".repeat(50))).contains("deeper"));
        assert!(refused(&whole("<Row>")).contains("well-formed"));
        assert!(refused("<a/>").contains("not a genericode"));
        let columns: String =
            (0..=MAX_COLUMNS).map(|n| ["<Column Id=\"", &n.to_string(), "\"/>"].concat()).collect();
        assert!(refused(&list(&format!("<ColumnSet>{columns}</ColumnSet>"))).contains("columns"));
        let twice = "<ColumnSet><Column Id=\"a\"/><Column Id=\"a\"/></ColumnSet>";
        assert!(refused(&list(twice)).contains("one Id"));
    }

    #[test]
    fn lists_without_a_single_key_cannot_be_used() {
        let both = COLUMNS.replace("<ColumnRef Ref=\"", "<ColumnRef Ref=\"b\"/><ColumnRef Ref=\"");
        let text = list(&format!("{both}<SimpleCodeList><Row/></SimpleCodeList>"));
        assert!(matches!(read(text.as_bytes()), Err(Refusal::Unusable(_))));
        assert!(matches!(read(list(COLUMNS).as_bytes()), Err(Refusal::Unusable(_))));
    }

    #[test]
    fn lists_are_told_from_other_xml() {
        assert!(is_list(list("").as_bytes()));
        assert!(!is_list(b"<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'/>"));
        assert!(!is_list(
            b"<gc:CodeListSet xmlns:gc='http://docs.oasis-open.org/codelist/ns/genericode/1.0/'/>"
        ));
    }
}
