// SPDX-License-Identifier: EUPL-1.2
//! What XSD does not check, in one pass over the bytes that the writer made: codes against their lists, versions
//! of lists, the head's message type and Kennungen, empty elements. The path table says which element a tag is,
//! so no name is looked at here. Foreign XML does not come here.

use std::{borrow::Cow, collections::BTreeMap};

use kop_core::{ContentHash, Diagnostic, Severity};

use crate::{
    codelist::{CodeList, Lists, Validity},
    known::{Memory, Shelf, other_column, unnamed},
    paths::{NONE, Paths, Row, target},
    plan::{Content, Plan, short_name},
};

/// Problems reported at most.
const MAX_PROBLEMS: usize = 50;
/// The list of prefixes of the Deutsches Verwaltungsdiensteverzeichnis.
const DVDV_PREFIXES: &str = "urn:xoev-de:bund:bmi:bit:codeliste:dvdv.praefix";

/// The value of a code of some list.
const CODE: u8 = 1;
/// Holds a code that libxml2 cannot check.
const LISTED: u8 = 1 << 1;
/// Has a code list, enumerated or not.
const CODED: u8 = 1 << 2;
/// Nachrichtentyp.
const MESSAGE_TYPE: u8 = 1 << 3;
const DIRECTORY: u8 = 1 << 4;
const KENNUNG: u8 = 1 << 5;
/// Sender or receiver in a head.
const PARTY: u8 = 1 << 6;

/// What the checks need of one message, and the lists found so far.
#[derive(Debug)]
pub(crate) struct Checks {
    /// By number of the plan's element.
    flags: Vec<u8>,
    memory: Memory,
}

impl Checks {
    pub(crate) fn new(plan: &Plan) -> Self {
        let flags = plan.elements.iter().map(|element| {
            let typ = &plan.types[element.typ as usize];
            let is = |name: &str| element.name.eq_ignore_ascii_case(name);
            let code = typ.slot("code").map(|slot| {
                let code = typ.slots[slot as usize].element;
                &plan.types[plan.elements[code as usize].typ as usize]
            });
            let coded = typ.list.is_some()
                || typ.attributes.iter().any(|at| matches!(&*at.name, "listURI" | "listVersionID"));
            let coded = coded && (code.is_some() || typ.content == Content::Simple);
            let enumerated = code.unwrap_or(typ).coding.enumerated;
            let mut flags = 0;
            for (flag, set) in [
                (CODE, is("code")),
                (CODED, coded),
                (LISTED, coded && !enumerated),
                (MESSAGE_TYPE, is("nachrichtentyp")),
                (DIRECTORY, is("verzeichnisdienst")),
                (KENNUNG, is("kennung")),
                (PARTY, is("leser") || is("autor")),
            ] {
                if set {
                    flags |= flag;
                }
            }
            flags
        });
        Self { flags: flags.collect(), memory: Memory::default() }
    }
}

/// What a pass is made with.
pub(crate) struct Job<'a> {
    pub(crate) checks: &'a Checks,
    pub(crate) lists: &'a Lists,
    pub(crate) package: &'a ContentHash,
    /// Number that the root's name ends with.
    pub(crate) number: Option<&'a str>,
    pub(crate) pins: &'a BTreeMap<String, String>,
    /// ISO date.
    pub(crate) today: &'a str,
}

/// Checks a written document. Remarks do not stop the message.
pub(crate) fn check(bytes: &[u8], paths: &Paths, job: &Job<'_>) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let mut pass = Pass {
        job,
        plan: &paths.plan,
        rows: &paths.rows,
        shelf: job.checks.memory.shelf(job.lists, job.package),
        coded: None,
        dvdv: NONE,
        problems: Vec::new(),
        remarks: Vec::new(),
    };
    pass.run(bytes);
    let Pass { shelf, problems, remarks, .. } = pass;
    job.checks.memory.keep(shelf);
    if problems.is_empty() { Ok(remarks) } else { Err(problems) }
}

/// The element with a code list that is open.
struct Coded<'a> {
    row: u32,
    urn: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
}

struct Pass<'a> {
    job: &'a Job<'a>,
    plan: &'a Plan,
    rows: &'a [Row],
    shelf: Shelf<'a>,
    coded: Option<Coded<'a>>,
    /// Sender or receiver that is entered in the DVDV.
    dvdv: u32,
    problems: Vec<Diagnostic>,
    remarks: Vec<Diagnostic>,
}

impl<'a> Pass<'a> {
    fn run(&mut self, bytes: &'a [u8]) {
        let find = |from: usize, wanted: u8| position(bytes, from, wanted);
        let mut row = 0;
        let mut here = 0;
        while let Some(open) = find(here, b'<') {
            here = open + 2;
            if matches!(bytes.get(open + 1), None | Some(b'/' | b'?' | b'!')) {
                continue;
            }
            // the writer escapes `>` in attributes
            let Some(close) = find(here, b'>') else { return };
            let Some(of) = self.rows.get(row as usize) else { return };
            let flags = self.job.checks.flags[of.element as usize];
            if flags & (CODED | MESSAGE_TYPE | DIRECTORY) != 0 {
                self.open_coded(row, flags, &bytes[open..close]);
            }
            here = close + 1;
            if bytes[close - 1] == b'/' {
                self.closed(row, &bytes[open..close]);
            } else {
                let Some(end) = find(here, b'<') else { return };
                if bytes.get(end + 1) == Some(&b'/') {
                    self.leaf(row, flags, &bytes[here..end]);
                }
                here = end;
            }
            row += 1;
        }
    }

    fn flags(&self, row: u32) -> u8 {
        self.rows.get(row as usize).map_or(0, |row| self.job.checks.flags[row.element as usize])
    }

    fn parent(&self, row: u32) -> u32 {
        self.rows.get(row as usize).map_or(NONE, |row| row.parent)
    }

    fn target(&self, row: u32) -> String {
        target(self.plan, self.rows, row)
    }

    fn open_coded(&mut self, row: u32, flags: u8, tag: &'a [u8]) {
        let typ = &self.plan.types[self.plan.elements[self.rows[row as usize].element as usize].typ as usize];
        let mut coded = Coded { row, urn: None, version: None };
        if flags & CODED != 0 {
            for (name, value) in attributes(tag) {
                match name {
                    b"listURI" => coded.urn = Some(value),
                    b"listVersionID" => coded.version = Some(value),
                    _ => {}
                }
            }
            if coded.urn.is_none() {
                let named = typ.list.as_ref().filter(|list| !list.suggested);
                coded.urn = named.map(|list| Cow::Borrowed(&*list.urn));
            }
            if coded.version.is_none() {
                coded.version = typ.coding.version.as_deref().map(Cow::Borrowed);
            }
            if let (Some(urn), Some(version)) = (&coded.urn, &coded.version)
                && !self.job.pins.is_empty()
            {
                let pins = self.job.pins;
                let pinned = pins.get(&**urn).or_else(|| pins.get(short_name(urn)));
                if let Some(pinned) = pinned.filter(|pinned| **pinned != **version) {
                    let by_schema =
                        typ.attributes.iter().any(|at| &*at.name == "listVersionID" && at.fixed.is_some());
                    self.other_version(row, urn, version, pinned, by_schema);
                }
            }
        }
        self.coded = Some(coded);
    }

    /// An element without content: fine where there can be none, where it is said to be nil, and where children
    /// may all be left out.
    fn closed(&mut self, row: u32, tag: &[u8]) {
        let typ = self.plan.elements[self.rows[row as usize].element as usize].typ;
        let text = self.plan.types[typ as usize].content == Content::Simple;
        if text && attributes(tag).all(|(name, _)| name != b"xsi:nil") {
            self.empty(row);
        }
    }

    fn empty(&mut self, row: u32) {
        let problem = Diagnostic::new(
            "KOP-X056",
            "Das Element ist leer oder enthält nur Leerzeichen.",
            "The element is empty or holds only white space.",
        );
        self.problem(problem.with_target(self.target(row)));
    }

    fn leaf(&mut self, row: u32, flags: u8, text: &'a [u8]) {
        let text = text.trim_ascii();
        if text.is_empty() {
            return self.empty(row);
        }
        let own = flags & LISTED != 0 && flags & CODE == 0;
        if flags & (CODE | KENNUNG) == 0 && !own {
            return;
        }
        let value = unescaped(text);
        let parent = self.parent(row);
        if flags & KENNUNG != 0 {
            if self.flags(parent) & PARTY != 0 && self.parent(self.parent(parent)) == 0 && self.dvdv == parent
            {
                self.kennung(row, &value);
            }
            return;
        }
        let holder = if own { row } else { parent };
        let Some(coded) = self.coded.take_if(|coded| coded.row == holder) else { return };
        let outer = self.flags(holder);
        if outer & MESSAGE_TYPE != 0 && self.in_head(holder) {
            self.message_type(row, &value);
        }
        if outer & DIRECTORY != 0 && &*value == "DVDV" {
            self.dvdv = self.parent(holder);
        }
        if outer & LISTED != 0 {
            self.code(row, &coded, &value);
        }
    }

    /// Whether an element tells of the message itself and not of one that it refers to: it lies in the head, at
    /// most one level down.
    fn in_head(&self, row: u32) -> bool {
        let up = self.parent(row);
        let head = if self.parent(up) == 0 { up } else { self.parent(up) };
        let Some(found) = self.rows.get(head as usize).filter(|found| found.parent == 0) else {
            return false;
        };
        let name = |number: u32| self.plan.elements[number as usize].name.to_ascii_lowercase();
        name(found.element).contains("kopf")
            && self.rows.get(up as usize).is_some_and(|up| !name(up.element).contains("bezug"))
    }

    fn message_type(&mut self, row: u32, value: &str) {
        let Some(number) = self.job.number.filter(|number| *number != value) else { return };
        let problem = Diagnostic::new(
            "KOP-X054",
            "Der Nachrichtentyp im Kopf gehört zu einer anderen Nachricht.",
            "The message type in the head belongs to another message.",
        );
        let root = &self.plan.elements[self.plan.root as usize].name;
        self.problem(
            problem
                .with_target(self.target(row))
                .with_value(value)
                .with_hint(format!("Zu {root} gehört der Nachrichtentyp {number}.")),
        );
    }

    fn kennung(&mut self, row: u32, value: &str) {
        let prefixes = self.shelf.place(DVDV_PREFIXES, "");
        let prefixes = self.shelf.answer(prefixes).as_ref().ok().cloned();
        let (prefix, rest) = value.split_once(':').unwrap_or((value, ""));
        let listed = prefixes.as_ref().map(|list| list.find(prefix).is_some());
        let three = prefix.chars().count() == 3 && prefix.chars().all(char::is_lowercase);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let form = (three || listed == Some(true)) && !rest.is_empty() && rest.chars().all(plain);
        if !form {
            let problem = Diagnostic::new(
                "KOP-X055",
                "Die Kennung hat nicht die Form, die das DVDV verlangt.",
                "The Kennung does not have the form that the DVDV demands.",
            );
            let hint = "Präfix, Doppelpunkt, Schlüssel, z. B. „bab:01056039“. \
                        Kennungen stehen in mandant.toml bei [absender] und [empfaenger].";
            self.problem(problem.with_target(self.target(row)).with_value(value).with_hint(hint));
        } else if let (Some(false), Some(list)) = (listed, prefixes) {
            let (version, near) = (list.info.version.clone(), proposal(&list, prefix));
            let problem = Diagnostic::new(
                "KOP-X055",
                format!("Das Präfix der Kennung steht nicht in der Liste des DVDV (Version {version})."),
                format!("The prefix of the Kennung is not in the list of the DVDV (version {version})."),
            )
            .with_severity(Severity::Warnung)
            .with_target(self.target(row))
            .with_value(value);
            self.remarks.push(match near {
                Some(near) => problem.with_hint(near),
                None => problem,
            });
        }
    }

    fn code(&mut self, row: u32, coded: &Coded<'_>, value: &str) {
        let (Some(urn), Some(version)) = (&coded.urn, &coded.version) else {
            return self.remark(row, unnamed(coded.urn.as_deref()));
        };
        let place = self.shelf.place(urn, version);
        let first = self.shelf.first_use(place);
        let list = match self.shelf.answer(place) {
            Ok(list) => list.clone(),
            Err(remark) if first => {
                let remark = (**remark).clone();
                return self.remark(row, remark);
            }
            Err(_) => return,
        };
        let holder = if self.flags(row) & CODE != 0 { self.parent(row) } else { row };
        let typ =
            &self.plan.types[self.plan.elements[self.rows[holder as usize].element as usize].typ as usize];
        let column = typ.coding.column.as_deref();
        if let Some(column) = column.filter(|column| !column.eq_ignore_ascii_case(&list.info.key_column))
            && column != "code"
        {
            if first {
                self.remark(row, other_column(&list, column));
            }
            return;
        }
        if first {
            self.validity(row, &list);
        }
        if let Some(validity) = list.find(value) {
            return self.code_validity(row, &list, value, &validity);
        }
        let short = short_name(urn);
        let problem = Diagnostic::new(
            "KOP-X050",
            format!("Der Code steht nicht in der Codeliste „{short}“ Version {version}."),
            format!("The code is not in the code list \"{short}\" version {version}."),
        )
        .with_target(self.target(row))
        .with_rule(format!("Codeliste {urn} {version}"))
        .with_value(value);
        self.problem(match proposal(&list, value) {
            Some(near) => problem.with_hint(near),
            None => {
                problem.with_hint(format!("Die Liste „{}“ hat {} Codes.", list.info.name, list.info.codes))
            }
        });
    }

    fn validity(&mut self, row: u32, list: &CodeList) {
        let (info, today) = (&list.info, self.job.today);
        let ended = info.valid_to.as_deref().filter(|day| *day < today);
        let begins = info.valid_from.as_deref().filter(|day| *day > today);
        let (de, en) = match (ended, begins) {
            (Some(day), _) => (format!("galt bis {day}"), format!("was valid until {day}")),
            (None, Some(day)) => (format!("gilt erst ab {day}"), format!("is valid only from {day}")),
            (None, None) => return,
        };
        let short = short_name(&info.urn);
        let remark = Diagnostic::new(
            "KOP-X052",
            format!("Die Codeliste „{short}“ Version {} {de}.", info.version),
            format!("The code list \"{short}\" version {} {en}.", info.version),
        );
        let hint = "Mit dem Empfänger klären, welche Version gilt, und sie in mapping.toml bei codelisten eintragen.";
        self.remarks.push(remark.with_target(self.target(row)).with_hint(hint));
    }

    fn code_validity(&mut self, row: u32, list: &CodeList, value: &str, validity: &Validity<&str>) {
        let today = self.job.today;
        let ended = validity.to.filter(|day| *day < today);
        let begins = validity.from.filter(|day| *day > today);
        let (de, en) = match (ended, begins) {
            (Some(day), _) => (format!("galt nur bis {day}"), format!("was valid until {day} only")),
            (None, Some(day)) => (format!("gilt erst ab {day}"), format!("is valid only from {day}")),
            (None, None) => return,
        };
        if self.remarks.len() >= MAX_PROBLEMS {
            return;
        }
        let (short, version) = (short_name(&list.info.urn), &list.info.version);
        let hint = match validity.next {
            Some(next) => format!("Die Liste nennt als Nachfolger: {next}"),
            None => {
                "Einen Code nehmen, der am Tag der Nachricht gilt; gilt der Wert fort, den Empfänger fragen."
                    .to_owned()
            }
        };
        let remark = Diagnostic::new(
            "KOP-X061",
            format!("Der Code {de} (Codeliste „{short}“ Version {version})."),
            format!("The code {en} (code list \"{short}\" version {version})."),
        );
        self.remarks.push(
            remark
                .with_target(self.target(row))
                .with_rule(format!("Codeliste {} {version}", list.info.urn))
                .with_value(value)
                .with_hint(hint),
        );
    }

    fn other_version(&mut self, row: u32, urn: &str, version: &str, pinned: &str, by_schema: bool) {
        let short = short_name(urn);
        let problem = Diagnostic::new(
            "KOP-X053",
            format!(
                "mapping.toml legt die Codeliste „{short}“ auf Version {pinned} fest, die Nachricht nennt {version}."
            ),
            format!("mapping.toml pins the code list \"{short}\" to version {pinned}, the message names {version}."),
        )
        .with_target(format!("{}/@listVersionID", self.target(row)));
        if !by_schema {
            let hint = "Entweder den Eintrag in codelisten ändern oder @listVersionID aus dem Skript nehmen.";
            return self.problem(problem.with_hint(hint));
        }
        let hint = format!(
            "Das Schema gibt Version {version} vor; den Eintrag in codelisten entfernen oder angleichen."
        );
        let problem = problem.with_severity(Severity::Warnung).with_hint(hint);
        if self.remarks.iter().all(|remark| remark.de != problem.de) {
            self.remarks.push(problem);
        }
    }

    /// Says once what is to be said about an element, and about others like it.
    fn remark(&mut self, row: u32, remark: Diagnostic) {
        if self.remarks.len() < MAX_PROBLEMS && self.remarks.iter().all(|known| known.de != remark.de) {
            self.remarks.push(remark.with_target(self.target(row)));
        }
    }

    fn problem(&mut self, problem: Diagnostic) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// "Meinten Sie …?" with codes near a wrong one.
fn proposal(list: &CodeList, wrong: &str) -> Option<String> {
    let near: Vec<String> = list
        .near(wrong)
        .into_iter()
        .map(|(code, name)| {
            let short: String = name.chars().take(60).collect();
            if short.is_empty() { format!("„{code}“") } else { format!("„{code}“ ({short})") }
        })
        .collect();
    (!near.is_empty()).then(|| format!("Meinten Sie {}?", near.join(" oder ")))
}

/// The next place of a byte, eight bytes at a time: this search is most of what the pass does.
fn position(bytes: &[u8], from: usize, wanted: u8) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = LOW << 7;
    let rest = bytes.get(from..)?;
    let (eights, tail) = rest.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        // zero where the byte is the wanted one; the lowest mark is exact
        let differs = u64::from_le_bytes(*eight) ^ (LOW * u64::from(wanted));
        let marks = differs.wrapping_sub(LOW) & !differs & HIGH;
        if marks != 0 {
            return Some(from + number * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    let at = tail.iter().position(|byte| *byte == wanted)?;
    Some(from + eights.len() * 8 + at)
}

/// Attributes of a start tag that the writer made: always `name="value"`.
fn attributes(tag: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, str>)> {
    let mut rest = tag;
    std::iter::from_fn(move || {
        let blank = rest.iter().position(|byte| *byte == b' ')?;
        let begin = &rest[blank + 1..];
        let equals = begin.iter().position(|byte| *byte == b'=')?;
        let value = begin.get(equals + 2..)?;
        let end = value.iter().position(|byte| *byte == b'"')?;
        rest = &value[end..];
        Some((&begin[..equals], unescaped(&value[..end])))
    })
}

fn unescaped(text: &[u8]) -> Cow<'_, str> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    quick_xml::escape::unescape(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::{attributes, position};

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        let text = "=;<:=\u{bc}ä<aaaaaaaaaaaaaaaa>  <".as_bytes();
        for wanted in *b"<>= a;" {
            for from in 0..=text.len() {
                let plain = text[from..].iter().position(|byte| *byte == wanted).map(|at| from + at);
                assert_eq!(position(text, from, wanted), plain, "{wanted} from {from}");
            }
        }
        assert_eq!(position(text, text.len() + 1, b'<'), None);
    }

    #[test]
    fn attributes_are_taken_apart() {
        let tag = br#"<a:b listURI="urn:x y=&quot;" xsi:type="t" leer=""#;
        let found: Vec<_> =
            attributes(tag).map(|(name, value)| (name.to_vec(), value.into_owned())).collect();
        assert_eq!(found[0], (b"listURI".to_vec(), "urn:x y=\"".to_owned()));
        assert_eq!((found.len(), found[1].1.as_str()), (2, "t"));
        assert_eq!(attributes(b"<a").count(), 0);
    }
}
