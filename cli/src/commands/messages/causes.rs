// SPDX-License-Identifier: EUPL-1.2
//! `kop messages causes`: open Klärungsfälle by what caused them, and trying all of one cause again.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use kop_core::{ContentHash, TenantId, Zeitpunkt, diagnostic::Lang};
use kop_store::{RetryTarget, Store, StoreError, WorkItemGroup};

use super::{local, person, pick};
use crate::problems;

/// Causes that are looked at; an instance with more has one cause behind them.
const CAUSES: u32 = 1000;
/// Klärungsfälle of a cause that are tried again between two lines of progress.
const BATCH: u32 = 100;
/// What could not be tried again is listed up to this many.
const LISTED: usize = 20;

/// Lists the causes, the most frequent first.
pub(super) async fn list(
    store: &dyn Store,
    tenant: Option<&TenantId>,
    limit: u32,
    now: Zeitpunkt,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let groups = match store.work_item_groups(tenant, limit).await {
        Ok(groups) => groups,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    if json {
        let rows: Vec<_> = groups.iter().map(as_json).collect();
        writeln!(out, "{:#}", serde_json::Value::Array(rows))?;
        return Ok(ExitCode::SUCCESS);
    }
    if groups.is_empty() {
        writeln!(io::stderr(), "{}", pick(lang, "Keine offenen Klärungsfälle.", "No open work items."))?;
    }
    for (n, group) in groups.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        paragraph(group, now, lang, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a person types for a cause: the beginning of the fingerprint's hash.
fn short(fingerprint: &str) -> String {
    ContentHash::of(fingerprint.as_bytes()).short()
}

fn as_json(group: &WorkItemGroup) -> serde_json::Value {
    let first = group.sample.diagnostics.first();
    let origins: Vec<_> = group
        .origins
        .iter()
        .map(|one| {
            serde_json::json!({
                "weg": one.origin.route, "empfaenger": one.origin.receiver, "zuordnung": one.origin.mapping,
                "version": one.origin.mapping_version, "zuordnungHash": one.origin.mapping_hash,
                "anzahl": one.count, "seit": one.oldest,
            })
        })
        .collect();
    serde_json::json!({
        "ursache": short(&group.fingerprint), "fingerabdruck": group.fingerprint, "mandant": group.tenant,
        "anzahl": group.count, "klasse": group.sample.class, "code": first.map(|problem| &problem.code),
        "satz": first.map(|problem| &problem.de), "aeltester": group.oldest, "neuester": group.newest,
        "beispiel": group.sample.submission_id, "herkunft": origins,
    })
}

fn paragraph(group: &WorkItemGroup, now: Zeitpunkt, lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let since = group.origins.first().map(|oldest| {
        let hash = oldest.origin.mapping_hash.short();
        let name = &oldest.origin.mapping;
        match (lang, &oldest.origin.mapping_version) {
            (Lang::De, Some(version)) => format!(", seit Version {version} von {name} ({hash})"),
            (Lang::De, None) => format!(", seit {name} im Stand {hash}"),
            (Lang::En, Some(version)) => format!(", since version {version} of {name} ({hash})"),
            (Lang::En, None) => format!(", since {name} as of {hash}"),
        }
    });
    let count = match (lang, group.count) {
        (Lang::De, 1) => "1 Klärungsfall".to_owned(),
        (Lang::De, n) => format!("{n} Klärungsfälle, dieselbe Ursache"),
        (Lang::En, 1) => "1 work item".to_owned(),
        (Lang::En, n) => format!("{n} work items, the same cause"),
    };
    writeln!(out, "{}  {count}{}", short(&group.fingerprint), since.unwrap_or_default())?;
    if let Some(problem) = group.sample.diagnostics.first() {
        write!(out, "{}", problems::paragraph(problem, lang, "  ", false))?;
    }
    let (tenant, oldest) = (pick(lang, "Mandant", "tenant"), pick(lang, "ältester", "oldest"));
    writeln!(
        out,
        "  {tenant} {} · {oldest} {} ({})",
        group.tenant,
        age(group.oldest, now, lang),
        local(group.oldest)
    )?;
    // A cause that lives in many states of a mapping names each route and receiver once.
    let ways: BTreeSet<_> =
        group.origins.iter().map(|one| (&one.origin.route, &one.origin.receiver)).collect();
    if !ways.is_empty() {
        let ways: Vec<_> =
            ways.into_iter().map(|(route, receiver)| format!("{route} → {receiver}")).collect();
        writeln!(out, "  {}: {}", pick(lang, "betroffen", "affected"), ways.join(", "))?;
    }
    Ok(())
}

/// How long ago, in the largest unit that gives two or more.
fn age(then: Zeitpunkt, now: Zeitpunkt, lang: Lang) -> String {
    let minutes = now.duration_since(then).as_secs().max(0) / 60;
    let (n, de, en) = match minutes {
        0..120 => (minutes, "Minuten", "minutes"),
        120..2880 => (minutes / 60, "Stunden", "hours"),
        _ => (minutes / 1440, "Tagen", "days"),
    };
    match (lang, minutes) {
        (Lang::De, 0) => "eben".to_owned(),
        (Lang::En, 0) => "just now".to_owned(),
        (Lang::De, 1) => "vor 1 Minute".to_owned(),
        (Lang::En, 1) => "1 minute ago".to_owned(),
        (Lang::De, _) => format!("vor {n} {de}"),
        (Lang::En, _) => format!("{n} {en} ago"),
    }
}

/// What retrying a cause came to.
#[derive(Default)]
struct Tried {
    done: u64,
    /// Vorgangsnummer and why not.
    refused: Vec<(String, String)>,
}

/// Tries everything of one cause again, in batches. Exit code 1 when something could not be, 2 when there is no
/// such cause.
pub(super) async fn retry(
    store: &dyn Store,
    tenant: Option<&TenantId>,
    cause: &str,
    now: Zeitpunkt,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let groups = match store.work_item_groups(tenant, CAUSES).await {
        Ok(groups) => groups,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let meant = |group: &&WorkItemGroup| {
        group.fingerprint == cause || (cause.len() >= 4 && short(&group.fingerprint).starts_with(cause))
    };
    let groups: Vec<_> = groups.iter().filter(meant).collect();
    let fingerprints: BTreeSet<_> = groups.iter().map(|group| &group.fingerprint).collect();
    if fingerprints.len() != 1 {
        let sentence = if fingerprints.is_empty() {
            pick(lang, "Diese Ursache hat keine offenen Klärungsfälle.", "This cause has no open work items.")
        } else {
            pick(lang, "Mehrere Ursachen beginnen so.", "Several causes begin like this.")
        };
        writeln!(io::stderr(), "{sentence}")?;
        return Ok(ExitCode::from(2));
    }
    let mut tried = Tried::default();
    for group in groups {
        if let Err(error) = retry_group(store, group, &mut tried, now, lang).await? {
            return problems::print(&[error.diagnostic()], lang, json, out);
        }
    }
    if json {
        let refused: Vec<_> = tried
            .refused
            .iter()
            .map(|(number, why)| serde_json::json!({ "vorgangsnummer": number, "grund": why }))
            .collect();
        writeln!(out, "{:#}", serde_json::json!({ "angestossen": tried.done, "nicht": refused }))?;
    } else {
        let done = pick(lang, "neu angestoßen", "tried again");
        writeln!(out, "{} {done}", tried.done)?;
        for (number, why) in tried.refused.iter().take(LISTED) {
            writeln!(out, "  {number}: {why}")?;
        }
        if tried.refused.len() > LISTED {
            writeln!(out, "  … +{}", tried.refused.len() - LISTED)?;
        }
    }
    Ok(if tried.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One tenant's part of a cause. What is tried again is no longer open; what is refused stays and is passed over.
async fn retry_group(
    store: &dyn Store,
    group: &WorkItemGroup,
    tried: &mut Tried,
    now: Zeitpunkt,
    lang: Lang,
) -> io::Result<Result<(), StoreError>> {
    let mut seen = BTreeSet::new();
    let mut stuck = 0_u32;
    loop {
        let open =
            store.open_work_items(Some(&group.tenant), Some(&group.fingerprint), stuck.saturating_add(BATCH));
        let open = match open.await {
            Ok(open) => open,
            Err(error) => return Ok(Err(error)),
        };
        let fresh: Vec<_> = open.into_iter().filter(|item| seen.insert(item.work_item_id)).collect();
        if fresh.is_empty() {
            return Ok(Ok(()));
        }
        let mut targets = BTreeSet::new();
        for item in fresh {
            // One submission can have several Klärungsfälle of one cause; it is tried once.
            let (key, target) = match item.delivery_id {
                Some(delivery) => (delivery.to_string(), RetryTarget::Delivery(delivery)),
                None => (item.submission_id.to_string(), RetryTarget::Submission(item.submission_id)),
            };
            if !targets.insert(key) {
                continue;
            }
            match store.retry(&group.tenant, target, &person(), now).await {
                Ok(()) => tried.done += 1,
                Err(StoreError::NotPossible(state)) => {
                    stuck += 1;
                    let number = match store.submission(&group.tenant, item.submission_id).await {
                        Ok(detail) => detail.submission.summary.vorgangsnummer,
                        Err(_) => item.submission_id.to_string(),
                    };
                    let why = match lang {
                        Lang::De => format!("im Zustand „{state}“ nicht möglich"),
                        Lang::En => format!("not possible in state \"{state}\""),
                    };
                    tried.refused.push((number, why));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let of = pick(lang, "von", "of");
        writeln!(io::stderr(), "{} {of} {} …", tried.done, group.count)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_a_unit_that_a_person_would_choose() {
        let now: Zeitpunkt = "2026-11-24T12:00:00Z".parse().unwrap();
        for (then, said) in [
            ("2026-11-24T11:59:30Z", "eben"),
            ("2026-11-24T11:59:00Z", "vor 1 Minute"),
            ("2026-11-24T10:01:00Z", "vor 119 Minuten"),
            ("2026-11-22T12:01:00Z", "vor 47 Stunden"),
            ("2026-11-21T12:00:00Z", "vor 3 Tagen"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now, Lang::De), said);
        }
    }
}
