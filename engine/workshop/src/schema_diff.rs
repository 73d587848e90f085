// SPDX-License-Identifier: EUPL-1.2
//! What changed between two versions of a standard, seen by whoever writes a mapping: one line per change, said once
//! for all messages that share the changed type.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use kop_core::{Diagnostic, similar};
use kop_mapping::KeyPositions;
use kop_xml::{AttributeFacts, ChildFacts, Inventory, MessageInfo, Package, TypeFacts};
use serde::Serialize;

/// Deepest element that is compared when only a mapping's elements are.
const MAX_DEPTH: usize = 40;
/// Names or codes that one line lists.
const SHOWN: usize = 8;

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The element or attribute is gone.
    Weg,
    /// Gone here, and beside it there is a new one much like it.
    Umbenannt,
    /// A new one that must be there.
    NeuPflicht,
    /// It must be there now.
    JetztPflicht,
    /// It may be left out now.
    JetztFreiwillig,
    /// How often it may occur.
    Haeufigkeit,
    /// Another type.
    Typ,
    /// The bounds of its text: length, pattern, range.
    Facetten,
    /// Values that the schema enumerates.
    Werte,
    /// Another code list or version of it.
    Codeliste,
    /// The value that the schema fixes.
    FesterWert,
    /// The name space.
    Namensraum,
    /// A new one that may be left out.
    Neu,
}

impl ChangeKind {
    /// German words for a line.
    pub fn german(self) -> &'static str {
        match self {
            Self::Weg => "entfällt",
            Self::Umbenannt => "entfällt, ähnlich ist",
            Self::NeuPflicht => "neu, Pflicht",
            Self::JetztPflicht => "jetzt Pflicht",
            Self::JetztFreiwillig => "jetzt freiwillig",
            Self::Haeufigkeit => "Häufigkeit",
            Self::Typ => "anderer Typ",
            Self::Facetten => "andere Grenzen",
            Self::Werte => "andere Werte",
            Self::Codeliste => "andere Codeliste",
            Self::FesterWert => "anderer fester Wert",
            Self::Namensraum => "anderer Namensraum",
            Self::Neu => "neu, freiwillig",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What kind.
    #[serde(rename = "art")]
    pub kind: ChangeKind,
    /// Where, as keys of a mapping's result; of several places the one nearest the root.
    #[serde(rename = "pfad")]
    pub path: String,
    /// The named type that it belongs to, where there is one.
    #[serde(rename = "typ", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How it was.
    #[serde(rename = "vorher", skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// How it is.
    #[serde(rename = "nachher", skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// A change with the messages that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// The change; its path is of the first message.
    #[serde(flatten)]
    pub change: Change,
    /// Root elements of the messages.
    #[serde(rename = "nachrichten")]
    pub messages: Vec<String>,
}

/// All changes between two packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PackageDiff {
    /// Root elements that are gone.
    #[serde(rename = "weg")]
    pub gone: Vec<String>,
    /// New root elements.
    #[serde(rename = "neu")]
    pub new: Vec<String>,
    /// Root elements with another name: of the same number, else much alike.
    #[serde(rename = "umbenannt")]
    pub renamed: Vec<(String, String)>,
    /// Messages compared.
    #[serde(rename = "verglichen")]
    pub compared: Vec<String>,
    /// Name spaces of elements: before, after.
    #[serde(rename = "namensraeume")]
    pub namespaces: Vec<(String, String)>,
    /// Changes within messages, those of most messages first.
    #[serde(rename = "aenderungen")]
    pub changes: Vec<Shared>,
}

/// Compares two packages; `root` limits it to one message (its name or number in the first), `keys` to the elements
/// that a mapping's script writes.
///
/// # Errors
/// The message is not in the first package, or a schema is not whole.
pub fn compare(
    before: &Package,
    after: &Package,
    root: Option<&str>,
    keys: Option<&KeyPositions>,
) -> Result<PackageDiff, Diagnostic> {
    let wanted: Vec<&str> = root.into_iter().collect();
    let old = before.inventories(&wanted)?;
    let mut diff = PackageDiff::default();
    let mut pairs = Vec::new();
    for message in &old {
        match partner(message, &after.info().messages) {
            Some(other) => pairs.push((message, other.root.as_str())),
            None => diff.gone.push(message.root.clone()),
        }
    }
    if root.is_none() {
        let taken: HashSet<&str> = pairs.iter().map(|(_, other)| *other).collect();
        let all = after.info().messages.iter().map(|message| message.root.as_str());
        diff.new = all.filter(|name| !taken.contains(name)).map(str::to_owned).collect();
    }
    let names: Vec<&str> = pairs.iter().map(|(_, other)| *other).collect();
    let new = if names.is_empty() { Vec::new() } else { after.inventories(&names)? };
    let mut shared: Vec<Shared> = Vec::new();
    let mut spaces = BTreeSet::new();
    let written = keys.map(Written::of);
    for ((message, other), now) in pairs.iter().zip(&new) {
        diff.compared.push(message.root.clone());
        if message.root != *other {
            diff.renamed.push((message.root.clone(), (*other).to_owned()));
        }
        if message.namespace != now.namespace {
            spaces.insert((message.namespace.clone(), now.namespace.clone()));
        }
        for change in changes(message, now, written.as_ref()) {
            if change.kind == ChangeKind::Namensraum {
                spaces.insert((change.before, change.after));
                continue;
            }
            let known = shared.iter_mut().find(|known| same(&known.change, &change));
            match known {
                Some(known) => known.messages.push(message.root.clone()),
                None => shared.push(Shared { change, messages: vec![message.root.clone()] }),
            }
        }
    }
    shared.sort_by(|a, b| {
        let key = |one: &Shared| (std::cmp::Reverse(one.messages.len()), one.messages.clone());
        (key(a), a.change.kind, &a.change.path).cmp(&(key(b), b.change.kind, &b.change.path))
    });
    diff.changes = shared;
    diff.namespaces = spaces.into_iter().collect();
    Ok(diff)
}

/// The message of the other version: of the same name, else of the same number, else of a name much like it.
fn partner<'m>(message: &Inventory, others: &'m [MessageInfo]) -> Option<&'m MessageInfo> {
    let by_name = || others.iter().find(|other| other.root == message.root);
    let by_number = || {
        message.number.as_ref()?;
        others.iter().find(|other| other.number == message.number)
    };
    by_name().or_else(by_number)
}

/// Whether two changes are one: the same in the same named type, else at the same place.
fn same(a: &Change, b: &Change) -> bool {
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    (a.kind, &a.owner, &a.before, &a.after) == (b.kind, &b.owner, &b.before, &b.after)
        && if a.owner.is_some() { last(&a.path) == last(&b.path) } else { a.path == b.path }
}

/// The elements that a script writes.
struct Written(BTreeSet<String>);

impl Written {
    fn of(keys: &KeyPositions) -> Self {
        let mut all = BTreeSet::new();
        for (path, _) in keys.iter() {
            let path = path.strip_suffix("/$").unwrap_or(path);
            let mut upto = String::new();
            for step in path.split('/') {
                if !upto.is_empty() {
                    upto.push('/');
                }
                upto.push_str(step);
                all.insert(upto.clone());
            }
        }
        Self(all)
    }
}

/// All changes of one message. Each pair of types is looked at once, at the place nearest the root; of a mapping's
/// elements each is looked at.
fn changes(before: &Inventory, after: &Inventory, only: Option<&Written>) -> Vec<Change> {
    let mut walk = Walk { before, after, only, found: Vec::new() };
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([(before.start, after.start, String::new())]);
    while let Some((old, new, path)) = waiting.pop_front() {
        let again = !seen.insert((old, new));
        if (again && only.is_none()) || path.split('/').count() > MAX_DEPTH {
            continue;
        }
        let (old, new) = (&before.types[old], &after.types[new]);
        for (old, new, step) in walk.types(old, new, &path) {
            let below = join(&path, &step);
            if walk.concerns(&below) {
                waiting.push_back((old, new, below));
            }
        }
    }
    walk.found
}

struct Walk<'a> {
    before: &'a Inventory,
    after: &'a Inventory,
    only: Option<&'a Written>,
    found: Vec<Change>,
}

impl Walk<'_> {
    fn concerns(&self, path: &str) -> bool {
        self.only.is_none_or(|written| written.0.contains(path))
    }

    fn add(
        &mut self,
        kind: ChangeKind,
        path: String,
        owner: &TypeFacts,
        before: impl Into<String>,
        after: impl Into<String>,
    ) {
        // What is new and must be there concerns whoever writes its parent; what is new and may be left out does not.
        let concerned = match kind {
            ChangeKind::NeuPflicht => path.rsplit_once('/').is_none_or(|(parent, _)| self.concerns(parent)),
            _ => self.concerns(&path),
        };
        if concerned {
            let (before, after) = (before.into(), after.into());
            self.found.push(Change { kind, path, owner: owner.name.clone(), before, after });
        }
    }

    /// Compares two types and gives the pairs of types below them with the step that leads there.
    fn types(&mut self, old: &TypeFacts, new: &TypeFacts, path: &str) -> Vec<(usize, usize, String)> {
        let here = |path: &str| if path.is_empty() { "(Nachricht)".to_owned() } else { path.to_owned() };
        if old.name != new.name && old.name.is_some() && new.name.is_some() && !path.is_empty() {
            let name = |one: &TypeFacts| one.name.clone().unwrap_or_default();
            self.add(ChangeKind::Typ, here(path), new, name(old), name(new));
        }
        let list = |one: &TypeFacts| {
            one.list.as_ref().map(|list| match &list.version {
                Some(version) => format!("{} Version {version}", list.urn),
                None => list.urn.clone(),
            })
        };
        // The text below a code names the same list again.
        let said = path.ends_with("/code") && old.text.is_some();
        if old.list != new.list && !said {
            let none = || "keine".to_owned();
            let (before, after) = (list(old).unwrap_or_else(none), list(new).unwrap_or_else(none));
            self.add(ChangeKind::Codeliste, here(path), new, before, after);
        }
        self.texts(old, new, &here(path));
        self.attributes(old, new, path);
        let mut below = self.children(old, new, path);
        for (name, number) in &old.derived {
            match new.derived.iter().find(|(other, _)| other == name) {
                Some((_, other)) => below.push((*number, *other, String::new())),
                None => {
                    self.add(ChangeKind::Weg, join(path, "@xsi:type"), new, name.clone(), "");
                }
            }
        }
        below
    }

    fn texts(&mut self, old: &TypeFacts, new: &TypeFacts, path: &str) {
        let (Some(before), Some(after)) = (&old.text, &new.text) else {
            if old.text.is_some() != new.text.is_some() {
                let word = |one: &TypeFacts| if one.text.is_some() { "Text" } else { "Unterelemente" };
                self.add(ChangeKind::Typ, path.to_owned(), new, word(old), word(new));
            }
            return;
        };
        if before.base != after.base {
            self.add(ChangeKind::Typ, path.to_owned(), new, before.base.clone(), after.base.clone());
        }
        let (mut was, mut is) = (Vec::new(), Vec::new());
        let names: BTreeSet<&String> = before.facets.keys().chain(after.facets.keys()).collect();
        for name in names {
            let (left, right) = (before.facets.get(name), after.facets.get(name));
            if left != right {
                was.extend(left.map(|value| format!("{name} {value}")));
                is.extend(right.map(|value| format!("{name} {value}")));
            }
        }
        if !was.is_empty() || !is.is_empty() {
            let said = |parts: Vec<String>| {
                if parts.is_empty() { "keine".to_owned() } else { parts.join(", ") }
            };
            self.add(ChangeKind::Facetten, path.to_owned(), new, said(was), said(is));
        }
        let missing = |from: &[String], of: &[String]| -> Vec<String> {
            of.iter().filter(|code| !from.contains(code)).cloned().collect()
        };
        let (gone, added) = (missing(&after.codes, &before.codes), missing(&before.codes, &after.codes));
        if !gone.is_empty() || !added.is_empty() {
            let said = |word: &str, codes: &[String]| {
                if codes.is_empty() { String::new() } else { format!("{word} {}", listed(codes)) }
            };
            let (gone, added) = (said("entfällt:", &gone), said("neu:", &added));
            self.add(ChangeKind::Werte, path.to_owned(), new, gone, added);
        }
    }

    fn attributes(&mut self, old: &TypeFacts, new: &TypeFacts, path: &str) {
        let at = |one: &AttributeFacts| join(path, &format!("@{}", one.name));
        for left in &old.attributes {
            let Some(right) = new.attributes.iter().find(|other| other.name == left.name) else {
                self.add(ChangeKind::Weg, at(left), new, "", "");
                continue;
            };
            if left.required != right.required {
                let kind =
                    if right.required { ChangeKind::JetztPflicht } else { ChangeKind::JetztFreiwillig };
                self.add(kind, at(left), new, "", "");
            }
            // A list and its version are said with the list.
            let listed = matches!(left.name.as_str(), "listURI" | "listVersionID");
            if left.fixed != right.fixed && !listed {
                let value = |one: &AttributeFacts| one.fixed.clone().unwrap_or_else(|| "frei".to_owned());
                self.add(ChangeKind::FesterWert, at(left), new, value(left), value(right));
            }
            if left.type_name != right.type_name {
                self.add(ChangeKind::Typ, at(left), new, left.type_name.clone(), right.type_name.clone());
            }
        }
        for right in &new.attributes {
            if old.attributes.iter().all(|left| left.name != right.name) {
                let required = right.required && right.fixed.is_none();
                let kind = if required { ChangeKind::NeuPflicht } else { ChangeKind::Neu };
                self.add(kind, at(right), new, "", "");
            }
        }
    }

    fn children(&mut self, old: &TypeFacts, new: &TypeFacts, path: &str) -> Vec<(usize, usize, String)> {
        let mut below = Vec::new();
        let mut added: Vec<&ChildFacts> = new
            .children
            .iter()
            .filter(|right| old.children.iter().all(|left| left.name != right.name))
            .collect();
        for left in &old.children {
            let at = join(path, &left.name);
            let Some(right) = new.children.iter().find(|right| right.name == left.name) else {
                match self.renamed(left, &added) {
                    Some(right) => {
                        added.retain(|other| other.name != right.name);
                        let now = format!("{} ({})", right.name, times(right));
                        self.add(ChangeKind::Umbenannt, at, new, left.name.clone(), now);
                    }
                    None => self.add(ChangeKind::Weg, at, new, "", ""),
                }
                continue;
            };
            if left.namespace != right.namespace {
                self.add(
                    ChangeKind::Namensraum,
                    at.clone(),
                    new,
                    left.namespace.clone(),
                    right.namespace.clone(),
                );
            }
            if (left.min, left.max) != (right.min, right.max) {
                let kind = match (left.min > 0, right.min > 0) {
                    (false, true) => ChangeKind::JetztPflicht,
                    (true, false) => ChangeKind::JetztFreiwillig,
                    _ => ChangeKind::Haeufigkeit,
                };
                self.add(kind, at.clone(), new, times(left), times(right));
            }
            if left.fixed != right.fixed {
                let value = |one: &ChildFacts| one.fixed.clone().unwrap_or_else(|| "frei".to_owned());
                self.add(ChangeKind::FesterWert, at, new, value(left), value(right));
            }
            below.push((left.typ, right.typ, left.name.clone()));
        }
        for right in added {
            let kind = if right.min > 0 { ChangeKind::NeuPflicht } else { ChangeKind::Neu };
            self.add(kind, join(path, &right.name), new, "", times(right));
        }
        below
    }

    /// The new element beside a gone one that is probably the same: a name much like it, or the same named type where
    /// only one of the new ones has it.
    fn renamed<'c>(&self, gone: &ChildFacts, added: &[&'c ChildFacts]) -> Option<&'c ChildFacts> {
        if let Some(name) = similar::near(&gone.name, added.iter().map(|one| one.name.as_str())).first() {
            return added.iter().copied().find(|one| one.name == *name);
        }
        let typ = self.before.types[gone.typ].name.as_ref()?;
        let of_type = |one: &&&ChildFacts| {
            let other = &self.after.types[one.typ];
            other.name.as_ref() == Some(typ) && !other.children.is_empty()
        };
        let mut fitting = added.iter().filter(of_type);
        fitting.next().filter(|_| fitting.next().is_none()).copied()
    }
}

/// `0..1`, `1`, `1..n`; a branch of a choice says so.
fn times(child: &ChildFacts) -> String {
    let number = match (child.min, child.max) {
        (1, 1) => "1".to_owned(),
        (min, u32::MAX) => format!("{min}..n"),
        (min, max) => format!("{min}..{max}"),
    };
    if child.choice { format!("{number}, zur Auswahl") } else { number }
}

fn listed(codes: &[String]) -> String {
    let text = codes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if codes.len() > SHOWN { format!("{text} und {} weitere", codes.len() - SHOWN) } else { text }
}

fn join(path: &str, step: &str) -> String {
    match (path.is_empty(), step.is_empty()) {
        (true, _) => step.to_owned(),
        (_, true) => path.to_owned(),
        _ => format!("{path}/{step}"),
    }
}

/// Changes by the messages that they are in: messages, changes; those of most messages first.
pub fn by_messages(diff: &PackageDiff) -> Vec<(&[String], Vec<&Change>)> {
    let mut groups: Vec<(&[String], Vec<&Change>)> = Vec::new();
    let mut at: BTreeMap<&[String], usize> = BTreeMap::new();
    for shared in &diff.changes {
        let place = *at.entry(&shared.messages).or_insert_with(|| {
            groups.push((&shared.messages, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(&shared.change);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use kop_xml::SchemaStore;

    use super::*;

    const OLD: &str = r#"<xs:element name="antrag.0100" type="Antrag"/>
        <xs:element name="alt.0101" type="Antrag"/>
        <xs:complexType name="Antrag"><xs:sequence>
          <xs:element name="person" type="Person" maxOccurs="unbounded"/>
          <xs:element name="bemerkung" type="xs:string" minOccurs="0"/>
          <xs:element name="art" type="Art"/>
        </xs:sequence><xs:attribute name="standard" use="required" fixed="Beispiel"/>
        <xs:attribute name="version" use="required" fixed="1.0"/></xs:complexType>
        <xs:complexType name="Person"><xs:sequence>
          <xs:element name="familienname" type="Kurz"/><xs:element name="vorname" type="Kurz" minOccurs="0"/>
          <xs:element name="person" type="Person" minOccurs="0"/></xs:sequence></xs:complexType>
        <xs:simpleType name="Kurz"><xs:restriction base="xs:string"><xs:maxLength value="40"/></xs:restriction></xs:simpleType>
        <xs:simpleType name="Art"><xs:restriction base="xs:token"><xs:enumeration value="A"/>
          <xs:enumeration value="B"/></xs:restriction></xs:simpleType>"#;

    fn package(schema: &str, version: &str) -> (tempfile::TempDir, Arc<Package>) {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("quelle");
        fs::create_dir_all(&source).unwrap();
        let text = format!(
            r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t:{version}"
            targetNamespace="urn:t:{version}" version="{version}" elementFormDefault="qualified">{schema}</xs:schema>"#
        );
        fs::write(source.join("t.xsd"), text).unwrap();
        let store = SchemaStore::open(&folder.path().join("pakete"), None).unwrap();
        let hash = store.import(&source).unwrap().package.hash;
        (folder, store.by_hash(&hash).unwrap())
    }

    fn said(diff: &PackageDiff) -> Vec<String> {
        diff.changes
            .iter()
            .map(|one| {
                let change = &one.change;
                format!(
                    "{} {:?} {}>{} x{}",
                    change.path,
                    change.kind,
                    change.before,
                    change.after,
                    one.messages.len()
                )
            })
            .collect()
    }

    #[test]
    fn each_change_is_said_once_with_all_its_messages() {
        let new = OLD
            .replace("alt.0101", "neuerName.0101")
            .replace(r#"name="familienname" type"#, r#"name="familiennamen" type"#)
            .replace(r#"maxOccurs="unbounded""#, r#"maxOccurs="3""#)
            .replace(
                r#"name="bemerkung" type="xs:string" minOccurs="0""#,
                r#"name="bemerkung" type="xs:string""#,
            )
            .replace(r#"maxLength value="40""#, r#"maxLength value="30""#)
            .replace(r#"<xs:enumeration value="B"/>"#, r#"<xs:enumeration value="C"/>"#)
            .replace(r#"fixed="1.0""#, r#"fixed="2.0""#);
        let ((_old, before), (_new, after)) = (package(OLD, "1.0"), package(&new, "2.0"));
        let diff = compare(&before, &after, None, None).unwrap();
        assert_eq!(diff.renamed, [("alt.0101".to_owned(), "neuerName.0101".to_owned())]);
        assert_eq!(diff.namespaces, [("urn:t:1.0".to_owned(), "urn:t:2.0".to_owned())]);
        assert_eq!(
            said(&diff),
            [
                "person/familienname Umbenannt familienname>familiennamen (1) x2",
                "bemerkung JetztPflicht 0..1>1 x2",
                "person Haeufigkeit 1..n>1..3 x2",
                "person/vorname Facetten maxLength 40>maxLength 30 x2",
                "art Werte entfällt: B>neu: C x2",
                "@version FesterWert 1.0>2.0 x2",
            ]
        );
        let none = compare(&before, &before, None, None).unwrap();
        assert_eq!((none.changes.len(), none.gone.len(), none.new.len()), (0, 0, 0));
    }
}
