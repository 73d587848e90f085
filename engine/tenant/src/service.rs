// SPDX-License-Identifier: EUPL-1.2
//! Whether a receiver's DVDV service takes the messages that routes send it, by the service descriptions of the
//! imported packages. Warnings only: a later import must not hold up a tenant that worked.

use std::{collections::BTreeMap, sync::Arc};

use kop_core::{Diagnostic, diagnostic::Severity, similar};
use kop_xml::ServiceInfo;

use crate::{check::Check, generation::LoadedMapping, manifest::Target};

/// Most services that a hint names.
const MAX_NAMED: usize = 6;

/// Checks every receiver's service, and every message that goes to it.
pub(crate) fn services(mappings: &BTreeMap<String, Arc<LoadedMapping>>, check: &mut Check<'_>) {
    let (read, services) = (check.read, check.ctx.services);
    for (key, receiver) in &read.empfaenger {
        let Some(name) = &receiver.dienst else { continue };
        let keys = ["empfaenger", key, "dienst"];
        let Some(service) = services.iter().find(|service| service.name == *name) else {
            unknown(name, services, &keys, check);
            continue;
        };
        prefix(
            &service.receivers.prefixes,
            receiver.kennung.as_deref(),
            &["empfaenger", key],
            service,
            check,
        );
        for (n, route) in read.route.iter().enumerate() {
            for (m, target) in route.ziel.iter().enumerate() {
                let mapping = mappings.get(&target.zuordnung);
                let Some(mapping) = mapping.filter(|_| target.empfaenger.contains(key)) else { continue };
                let Target::Xoev { standard, version, root } = &mapping.manifest.ziel else { continue };
                let Some(namespace) = (check.ctx.message_namespace)(standard, version, root) else {
                    continue;
                };
                let keys = ["route", &n.to_string(), "ziel", &m.to_string(), "empfaenger"];
                if !service.takes(&namespace, root) {
                    let taking =
                        services.iter().filter(|service| service.takes(&namespace, root)).collect::<Vec<_>>();
                    let message = format!("{standard} {version} {root}");
                    let problem = refused(key, service, &message, &taking);
                    check.warnings.push(problem.with_place(check.file.place(&keys)));
                }
                let sender = target.absender.as_ref().or(mapping.manifest.kopf.autor.as_ref());
                if let Some((key, sender)) = sender.and_then(|key| Some((key, read.absender.get(key)?))) {
                    let prefixes = &service.senders.prefixes;
                    prefix(prefixes, sender.kennung.as_deref(), &["absender", key], service, check);
                }
            }
        }
    }
}

fn unknown(name: &str, services: &[ServiceInfo], keys: &[&str], check: &mut Check<'_>) {
    let near = similar::near(name, services.iter().map(|service| service.name.as_str()));
    let hint = similar::question(&near).unwrap_or_else(|| {
        "Dienstbeschreibungen liegen dem offiziellen Paket des Standards bei: kop schema import <Archiv oder Ordner>."
            .to_owned()
    });
    let problem = Diagnostic::new(
        "KOP-K019",
        format!("Den Dienst „{name}“ beschreibt kein geladenes Schemapaket."),
        format!("No imported schema package describes the service \"{name}\"."),
    );
    check
        .warnings
        .push(problem.with_severity(Severity::Warnung).with_place(check.file.place(keys)).with_hint(hint));
}

fn refused(key: &str, service: &ServiceInfo, message: &str, taking: &[&ServiceInfo]) -> Diagnostic {
    let name = &service.name;
    let names: Vec<&str> = taking.iter().map(|service| service.name.as_str()).collect();
    let more = if names.len() > MAX_NAMED { " …" } else { "" };
    let hint = if names.is_empty() {
        "Kein geladenes Paket beschreibt einen Dienst, der diese Nachricht annimmt.".to_owned()
    } else {
        format!("Angenommen wird sie von: {}{more}", names[..names.len().min(MAX_NAMED)].join(", "))
    };
    Diagnostic::new(
        "KOP-K018",
        format!("Der Dienst „{name}“ des Empfängers „{key}“ nimmt {message} nicht an."),
        format!("The service \"{name}\" of the receiver \"{key}\" does not take {message}."),
    )
    .with_severity(Severity::Warnung)
    .with_hint(hint)
}

/// A Kennung must have one of the prefixes that the service names; said once for each Kennung and service.
fn prefix(
    prefixes: &[String],
    kennung: Option<&str>,
    at: &[&str; 2],
    service: &ServiceInfo,
    check: &mut Check<'_>,
) {
    let own = kennung.and_then(|kennung| kennung.split_once(':')).map(|(prefix, _)| prefix);
    let Some(own) = own.filter(|own| !prefixes.is_empty() && prefixes.iter().all(|known| known != own))
    else {
        return;
    };
    let name = &service.name;
    let problem = Diagnostic::new(
        "KOP-K020",
        format!("Zum Dienst „{name}“ passt keine Kennung mit dem Präfix „{own}“."),
        format!("A Kennung with the prefix \"{own}\" does not fit the service \"{name}\"."),
    )
    .with_severity(Severity::Warnung)
    .with_place(check.file.place(&[at[0], at[1], "kennung"]))
    .with_hint(format!("Vorgesehen: {}", prefixes.join(", ")));
    if !check.warnings.contains(&problem) {
        check.warnings.push(problem);
    }
}
