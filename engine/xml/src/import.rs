// SPDX-License-Identifier: EUPL-1.2
//! Turns a folder or archive of schema files into a package: chooses among variants, settles references with
//! libraries imported earlier, finds standard, version and messages, and compiles everything once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kop_core::{ContentHash, Diagnostic, Severity};

use crate::{
    codelist::CodeList,
    files::{Files, Missing, file_name},
    genericode::{self, Refusal},
    model::{Kind, Model, TypeRef},
    package::{self, MessageInfo, Package, PackageInfo, RuleFile},
    plan,
    service::{self, ServiceInfo},
};

/// Most service descriptions of one package.
const MAX_SERVICES: usize = 500;
/// Most code lists of one package.
const MAX_LISTS: usize = 2_000;

/// What an import brought.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportReport {
    /// The package.
    pub package: PackageInfo,
    /// False when the very same package was there already.
    pub new: bool,
    /// Documents taken from packages imported earlier: path here, standard it came from.
    pub borrowed: Vec<(String, String)>,
    /// Worth knowing: variants left aside, lists that cannot be used, rules that are not run.
    pub hints: Vec<Diagnostic>,
}

/// Of several folders with the same files keeps the one that needs the least from outside (XRepository archives
/// carry `xsd` with absolute and `xsd_dev` with relative imports). Returns the folders left aside.
pub(crate) fn choose_variant(contents: &mut BTreeMap<String, Arc<[u8]>>) -> Vec<String> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in contents.keys() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        folders.entry(folder.to_owned()).or_default().insert(name.to_owned());
    }
    let needs = |folder: &str| {
        let inside = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder) == folder;
        let own = contents
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(path, bytes)| (path.clone(), bytes.clone()));
        Files::new(own.collect()).settle().map_or(usize::MAX, |missing| missing.len())
    };
    let names: Vec<&String> = folders.keys().collect();
    let mut dropped: Vec<String> = Vec::new();
    for (number, one) in names.iter().enumerate() {
        for other in &names[number + 1..] {
            if dropped.contains(one) || dropped.contains(other) {
                continue;
            }
            let common = folders[*one].intersection(&folders[*other]).count();
            if common * 2 >= folders[*one].len().min(folders[*other].len()) {
                dropped.push(if needs(other) < needs(one) { (*one).clone() } else { (*other).clone() });
            }
        }
    }
    contents.retain(|path, _| {
        !dropped.iter().any(|folder| path.rsplit_once('/').map_or("", |(f, _)| f) == folder)
    });
    dropped
}

/// Checks that every document can be read.
pub(crate) fn read_all(files: &Files) -> Result<(), Vec<Diagnostic>> {
    let problems: Vec<Diagnostic> = files
        .paths()
        .filter_map(|path| files.document(path).err())
        .take(20)
        .map(|reason| {
            Diagnostic::new(
                "KOP-X041",
                "Eine Schemadatei ist nicht zulässig.",
                "A schema file is not allowed.",
            )
            .with_detail(reason)
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Answers open references with documents of other packages, libraries first. Returns what was borrowed.
pub(crate) fn borrow(
    files: &mut Files,
    others: &[Arc<Package>],
) -> Result<Vec<(String, String)>, Vec<Diagnostic>> {
    let mut lenders: Vec<&Arc<Package>> = others.iter().filter(|package| !package.info.profile).collect();
    lenders.sort_by_key(|package| (!package.info.library, std::cmp::Reverse(package.sequence)));
    let mut borrowed = Vec::new();
    loop {
        let missing = files.settle().map_err(|reason| vec![incomplete(reason)])?;
        if missing.is_empty() {
            return Ok(borrowed);
        }
        let before = borrowed.len();
        let mut open = Vec::new();
        for want in missing {
            match lenders.iter().find_map(|lender| lend(lender, &want)) {
                Some((bytes, standard)) => {
                    let name = want.file_name();
                    let plain = format!("bibliothek/{name}");
                    let same = files.bytes(&plain).is_none_or(|known| *known == bytes);
                    let path = if same { plain } else { format!("bibliothek/{}/{name}", borrowed.len()) };
                    files.add(path.clone(), bytes);
                    files.bind(want.address.clone(), path.clone());
                    borrowed.push((path, standard));
                }
                None => open.push(want),
            }
        }
        if borrowed.len() == before || borrowed.len() > 500 {
            return Err(open.iter().take(20).map(not_there).collect());
        }
    }
}

fn lend(lender: &Package, want: &Missing) -> Option<(Arc<[u8]>, String)> {
    if !lender.info.namespaces.contains(&want.namespace) {
        return None;
    }
    let files = lender.files().ok()?;
    let path = files.paths().find(|path| {
        let fits = file_name(path) == want.file_name();
        fits && files.document(path).is_ok_and(|document| document.target() == want.namespace)
    })?;
    Some((
        files.bytes(path)?.clone(),
        format!("{} {}", lender.info.standard, lender.info.version).trim().to_owned(),
    ))
}

fn not_there(want: &Missing) -> Diagnostic {
    let location: String = want.location.chars().take(200).collect();
    Diagnostic::new(
        "KOP-X042",
        "Dem Paket fehlt eine Schemadatei, auf die es verweist.",
        "The package lacks a schema file that it refers to.",
    )
    .with_detail(format!("{} → {location} (Namensraum {})", want.from, want.namespace))
    .with_hint(format!(
        "Zuerst das Paket mit {} einspielen: kop schema import <Archiv oder Ordner>",
        want.file_name()
    ))
}

fn incomplete(reason: String) -> Diagnostic {
    Diagnostic::new("KOP-X041", "Eine Schemadatei ist nicht zulässig.", "A schema file is not allowed.")
        .with_detail(reason)
}

/// Reads the code lists of a package. What is hostile or broken fails the import; a list of a shape that codes
/// cannot be looked up in becomes a hint.
pub(crate) fn read_lists(
    contents: &BTreeMap<String, Arc<[u8]>>,
    hints: &mut Vec<Diagnostic>,
) -> Result<Vec<CodeList>, Vec<Diagnostic>> {
    let refused = |path: &str, reason: &str| {
        Diagnostic::new("KOP-X058", "Eine Codeliste ist nicht zulässig.", "A code list is not allowed.")
            .with_detail(format!("{path}: {reason}"))
    };
    if contents.len() > MAX_LISTS {
        return Err(vec![refused("", "more than 2000 lists")]);
    }
    let mut lists: Vec<CodeList> = Vec::new();
    let mut problems = Vec::new();
    for (path, bytes) in contents {
        match genericode::read(bytes) {
            Ok(list) => {
                let same = |known: &&CodeList| {
                    known.info.urn == list.info.urn && known.info.version == list.info.version
                };
                match lists.iter().find(same) {
                    Some(known) if known.info.values != list.info.values => problems.push(refused(
                        path,
                        "a list of the same URN and version with another content is in the package",
                    )),
                    Some(_) => {}
                    None => lists.push(list),
                }
            }
            Err(Refusal::Broken(reason)) => problems.push(refused(path, &reason)),
            Err(Refusal::Unusable(reason)) => hints.push(
                Diagnostic::new(
                    "KOP-X058",
                    "Eine Codeliste ist nicht verwendbar und wurde ausgelassen.",
                    "A code list cannot be used and was left out.",
                )
                .with_severity(Severity::Warnung)
                .with_detail(format!("{path}: {reason}")),
            ),
        }
        if problems.len() >= 20 {
            break;
        }
    }
    lists.sort_by(|a, b| (&a.info.urn, &a.info.version).cmp(&(&b.info.urn, &b.info.version)));
    if problems.is_empty() { Ok(lists) } else { Err(problems) }
}

/// Records the Schematron files of a package, and says that they are not run.
pub(crate) fn read_rules(
    contents: &BTreeMap<String, Arc<[u8]>>,
    hints: &mut Vec<Diagnostic>,
) -> Vec<RuleFile> {
    let rules: Vec<RuleFile> = contents
        .iter()
        .map(|(path, bytes)| RuleFile {
            path: path.clone(),
            binding: binding(bytes),
            hash: ContentHash::of(bytes),
        })
        .collect();
    if !rules.is_empty() {
        let named = rules.iter().take(10).map(|rule| format!("{} ({})", rule.path, rule.binding));
        hints.push(
            Diagnostic::new(
                "KOP-X057",
                "Das Paket enthält Schematron-Regeln; sie werden im Betrieb nicht ausgeführt.",
                "The package holds Schematron rules; they are not run at run time.",
            )
            .with_detail(named.collect::<Vec<_>>().join(", ")),
        );
    }
    rules
}

/// Reads the service descriptions of a package. One that cannot be read becomes a hint: the schemas do without it.
pub(crate) fn read_services(
    contents: &BTreeMap<String, Arc<[u8]>>,
    hints: &mut Vec<Diagnostic>,
) -> Vec<ServiceInfo> {
    let mut services = Vec::new();
    let mut unread = Vec::new();
    for (path, bytes) in contents.iter().take(MAX_SERVICES) {
        match service::read(path, bytes) {
            Ok(service) => services.push(service),
            Err(reason) => unread.push(format!("{path}: {reason}")),
        }
    }
    if contents.len() > MAX_SERVICES {
        unread.push(format!("more than {MAX_SERVICES} descriptions"));
    }
    services.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
    service::complete(&mut services);
    hints.extend(unread.iter().take(20).map(|reason| {
        Diagnostic::new(
            "KOP-X060",
            "Eine Dienstbeschreibung (WSDL) ist nicht lesbar und wurde ausgelassen.",
            "A service description (WSDL) cannot be read and was left out.",
        )
        .with_severity(Severity::Warnung)
        .with_detail(reason)
    }));
    services
}

/// `queryBinding` of a Schematron file, as far as it is a plain word.
fn binding(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(8 << 10)]);
    let named = head.split_once("queryBinding=").map(|(_, rest)| rest.trim_start_matches(['"', '\'']));
    let word: String =
        named.unwrap_or_default().chars().take_while(char::is_ascii_alphanumeric).take(20).collect();
    if word.is_empty() { "xslt".to_owned() } else { word }
}

/// Standard, version and messages of a set of files; `name` is that of its folder or archive. With `named` the
/// folder's name (`<standard>-<version>`) decides: a shipped profile.
pub(crate) fn describe(files: &Files, name: &str, named: bool) -> Result<PackageInfo, Vec<Diagnostic>> {
    let fail = |reason: String| vec![incomplete(reason)];
    let mut namespaces = BTreeSet::new();
    let mut roots: Vec<(String, String, MessageInfo)> = Vec::new();
    for path in files.paths() {
        let document = files.document(path).map_err(fail)?;
        let target = document.target();
        if !target.is_empty() {
            namespaces.insert(target.to_owned());
        }
        let numbered: Vec<(&str, &str)> = document
            .children(0)
            .filter(|(_, node)| &*node.name == "element" && node.attr("abstract") != Some("true"))
            .filter_map(|(_, node)| node.attr("name"))
            .filter_map(|name| Some((name, number(name)?)))
            .collect();
        if numbered.is_empty() {
            continue;
        }
        let model = Model::build(files, path).map_err(fail)?;
        let text = |path: &[&str]| document.annotation(0, path);
        for (root, number) in numbered {
            let fixed = |attribute: &str| fixed_attribute(&model, target, root, attribute);
            let standard =
                fixed("standard").or_else(|| Some(text(&["appinfo", "standard", "nameTechnisch"])?.into()));
            let version = fixed("version")
                .or_else(|| Some(text(&["appinfo", "versionStandard", "version"])?.into()))
                .or_else(|| Some(document.root().attr("version")?.into()));
            let info = MessageInfo {
                root: root.to_owned(),
                namespace: target.to_owned(),
                number: Some(number.to_owned()),
                entry: path.to_owned(),
            };
            roots.push((standard.unwrap_or_default().to_lowercase(), version.unwrap_or_default(), info));
        }
    }
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (standard, version, _) in &roots {
        *counts.entry((standard.clone(), version.clone())).or_default() += 1;
    }
    let main = counts.into_iter().max_by_key(|(_, count)| *count).map(|(main, _)| main);
    let library = main.is_none();
    let (standard, version, messages) = match (main, name.rsplit_once('-')) {
        (Some(_), Some((standard, version))) if named => {
            (standard.to_owned(), version.to_owned(), roots.into_iter().map(|(_, _, info)| info).collect())
        }
        (Some((standard, version)), _) => {
            let own = roots.into_iter().filter(|(s, v, _)| *s == standard && *v == version);
            let own: Vec<MessageInfo> = own.map(|(_, _, info)| info).collect();
            (standard, version, own)
        }
        (None, _) => (plain_name(name), String::new(), Vec::new()),
    };
    if !library && (standard.is_empty() || version.is_empty()) {
        return Err(vec![Diagnostic::new(
            "KOP-X044",
            "Standard und Version des Pakets sind nicht erkennbar.",
            "The package's standard and version cannot be told.",
        )]);
    }
    let mut messages = messages;
    messages.sort_by(|a, b| a.root.cmp(&b.root));
    messages.dedup_by(|a, b| a.root == b.root);
    Ok(PackageInfo {
        hash: files.hash(),
        standard,
        version,
        profile: named,
        library,
        files: files.len(),
        unlicensed: 0,
        namespaces: namespaces.into_iter().collect(),
        messages,
        lists: Vec::new(),
        rules: Vec::new(),
        services: Vec::new(),
        licences: Vec::new(),
    })
}

/// The number at the end of a message's name.
fn number(root: &str) -> Option<&str> {
    let (_, number) = root.rsplit_once('.')?;
    ((3..=8).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '-' };
    name.to_lowercase().chars().take(60).map(plain).collect()
}

fn fixed_attribute(model: &Model, namespace: &str, root: &str, attribute: &str) -> Option<String> {
    let at = model.global(Kind::Element, namespace, root)?;
    let typ: TypeRef = model.element_type(at)?;
    let found = model.resolve(&typ).attributes.into_iter().find(|found| &*found.name == attribute)?;
    found.fixed.map(String::from)
}

/// Compiles every message's plan and every entry document once, so that a bad package fails now.
pub(crate) fn prove(files: &Arc<Files>, info: &PackageInfo) -> Result<(), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let entries: BTreeSet<&str> = info.messages.iter().map(|message| message.entry.as_str()).collect();
    for entry in entries {
        let failed = |why: String| {
            let (de, en) =
                ("Das Schema einer Nachricht ist unvollständig.", "A message's schema is incomplete.");
            Diagnostic::new("KOP-X043", de, en).with_detail(format!("{entry}: {why}"))
        };
        match Model::build(files, entry) {
            Err(why) => problems.push(failed(why)),
            Ok(model) => {
                for message in info.messages.iter().filter(|message| message.entry == entry) {
                    problems
                        .extend(plan::compile(&model, &message.namespace, &message.root).err().map(failed));
                }
            }
        }
        problems.extend(package::compile(files, entry).err());
        if problems.len() > 10 {
            break;
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
