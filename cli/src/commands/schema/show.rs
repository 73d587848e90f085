// SPDX-License-Identifier: EUPL-1.2
//! `kop schema show`: a message as a tree, or what a package holds; and who may send what to whom.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use kop_core::diagnostic::Lang;
use kop_xml::{MessageSchema, Package, PackageInfo, PartyInfo, SchemaStore, ServiceInfo};

use super::{line, missing, pick, title};
use crate::problems;

/// Shows `standard/version/root` or `standard/version`.
pub(super) fn run(
    store: &SchemaStore,
    wanted: &str,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let parts: Vec<&str> = wanted.splitn(3, '/').collect();
    let (standard, version, root) = match parts.as_slice() {
        [standard, version] => (standard, version, None),
        [standard, version, root] => (standard, version, Some(root)),
        _ => {
            let form = pick(
                lang,
                "Eine Nachricht heißt <standard>/<version>/<wurzelelement>, z. B. xdomea/3.1.0/Abgabe.Abgabe.0401, \
                 ein Paket <standard>/<version>.",
                "A message is named <standard>/<version>/<root>, e.g. xdomea/3.1.0/Abgabe.Abgabe.0401, \
                 a package <standard>/<version>.",
            );
            writeln!(io::stderr(), "{form}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let Some(package) = store.find(standard, version) else {
        return problems::print(&[missing(standard, version)], lang, json, out);
    };
    match root.map(|root| package.message(root)) {
        None => show_package(&store.services(), &package, lang, json, out)?,
        Some(Ok(schema)) => show_message(&store.services(), &schema, lang, json, out)?,
        Some(Err(problem)) => return problems::print(&[problem], lang, json, out),
    }
    Ok(ExitCode::SUCCESS)
}

fn show_message(
    services: &[ServiceInfo],
    schema: &MessageSchema,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let uses = uses(services, schema);
    if json {
        let services: Vec<_> = uses
            .iter()
            .map(|(way, service, operation)| {
                serde_json::json!({
                    "service": service.name, "operation": operation.name, "way": way.word(),
                    "senders": service.senders, "receivers": service.receivers,
                    "exchange": operation.exchange, "signature_level": operation.signature_level,
                })
            })
            .collect();
        let value = serde_json::json!({
            "root": schema.root(), "number": schema.number(), "namespace": schema.namespace(),
            "entry": schema.entry_document(), "package": schema.package_hash(), "outline": schema.outline(),
            "services": services,
        });
        return writeln!(out, "{value:#}");
    }
    write!(out, "{}", schema.outline())?;
    if !uses.is_empty() {
        writeln!(out, "\n{}", pick(lang, "Dienste im DVDV:", "Services in the DVDV:"))?;
    }
    for (way, service, operation) in uses {
        let signature = operation
            .signature_level
            .as_ref()
            .map(|level| format!(", {} {level}", pick(lang, "Signatur", "signature")));
        writeln!(
            out,
            "  {}: {}, {}{}",
            service.name,
            way.words(lang),
            ends(service, lang),
            signature.unwrap_or_default()
        )?;
    }
    Ok(())
}

fn show_package(
    all: &[ServiceInfo],
    package: &Package,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    // service descriptions also come in an archive of their own
    let mut info: PackageInfo = package.info().clone();
    let own = |service: &&ServiceInfo| {
        let mut messages = info.messages.iter();
        messages.any(|message| service.speaks(&message.namespace) && service.mentions(&message.root))
    };
    let services: Vec<ServiceInfo> = all.iter().filter(own).cloned().collect();
    info.services = services;
    let info = &info;
    if json {
        return writeln!(out, "{:#}", serde_json::json!(info));
    }
    writeln!(out, "{}", title(info))?;
    line(info, lang, out)?;
    licences(info, lang, out)?;
    if !info.messages.is_empty() {
        writeln!(out, "{}", pick(lang, "Nachrichten:", "Messages:"))?;
    }
    for message in &info.messages {
        writeln!(out, "  {}", message.root)?;
    }
    if !info.services.is_empty() {
        writeln!(out, "{}", pick(lang, "Dienste im DVDV:", "Services in the DVDV:"))?;
    }
    for service in &info.services {
        writeln!(out, "  {}: {}", service.name, ends(service, lang))?;
        for operation in &service.operations {
            let roots = [
                (Way::In, &operation.takes),
                (Way::Answer, &operation.answers),
                (Way::Fault, &operation.faults),
            ];
            for (way, roots) in roots.into_iter().filter(|(_, roots)| !roots.is_empty()) {
                writeln!(out, "    {}: {}", way.words(lang), roots.join(", "))?;
            }
        }
    }
    Ok(())
}

/// Under what terms the package may be used, or that it does not say.
fn licences(info: &PackageInfo, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let word = pick(lang, "Lizenz", "licence");
    for licence in &info.licences {
        let mut lines = licence.text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first: String = lines.next().unwrap_or_default().chars().take(120).collect();
        let more = if lines.next().is_some() { " …" } else { "" };
        let source = licence.sources.first().map(String::as_str).unwrap_or_default();
        let others = licence.places - 1;
        let others = if others > 0 {
            format!(" {} {others}", pick(lang, "und weitere:", "and more:"))
        } else {
            String::new()
        };
        writeln!(out, "  {word}: {first}{more} ({source}{others})")?;
    }
    let whole = info.licences.iter().any(|licence| licence.whole);
    if info.licences.is_empty() {
        writeln!(out, "  {word}: {}", pick(lang, "nicht angegeben", "not stated"))?;
    } else if !whole && info.unlicensed > 0 {
        let words = pick(lang, "nicht angegeben in Schemadokumenten:", "not stated in schema documents:");
        writeln!(out, "  {word}: {words} {}/{}", info.unlicensed, info.files)?;
    }
    Ok(())
}

/// How a service uses a message.
#[derive(Clone, Copy)]
enum Way {
    In,
    Answer,
    Fault,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::In => "takes",
            Self::Answer => "answers",
            Self::Fault => "faults",
        }
    }

    fn words(self, lang: Lang) -> &'static str {
        match self {
            Self::In => pick(lang, "nimmt an", "takes"),
            Self::Answer => pick(lang, "antwortet mit", "answers with"),
            Self::Fault => pick(lang, "meldet Fehler mit", "tells failures with"),
        }
    }
}

/// Services that take, answer or fail with a message.
fn uses<'s>(
    services: &'s [ServiceInfo],
    schema: &MessageSchema,
) -> Vec<(Way, &'s ServiceInfo, &'s kop_xml::OperationInfo)> {
    let mut found = Vec::new();
    for service in services.iter().filter(|service| service.speaks(schema.namespace())) {
        for operation in &service.operations {
            let has = |roots: &[String]| roots.iter().any(|root| root == schema.root());
            let ways = [
                (Way::In, &operation.takes),
                (Way::Answer, &operation.answers),
                (Way::Fault, &operation.faults),
            ];
            found.extend(
                ways.into_iter().filter(|(_, roots)| has(roots)).map(|(way, _)| (way, service, operation)),
            );
        }
    }
    found
}

/// `Bauportal (bap) → Bauaufsichtsbehörde (bab)`.
fn ends(service: &ServiceInfo, lang: Lang) -> String {
    let party = |party: &PartyInfo| {
        let names = if party.categories.is_empty() {
            pick(lang, "nicht genannt", "not named").to_owned()
        } else {
            party.categories.join(", ")
        };
        if party.prefixes.is_empty() { names } else { format!("{names} ({})", party.prefixes.join(", ")) }
    };
    format!("{} → {}", party(&service.senders), party(&service.receivers))
}
