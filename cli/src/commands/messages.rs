// SPDX-License-Identifier: EUPL-1.2
//! `kop messages`: what came in, what became of it, and trying again. Values from applications are masked;
//! `--reveal` shows them and is logged.

mod causes;
mod correct;
mod remap;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Subcommand;
use kop_core::{
    Eingang, Feld, Inhalt, TenantId, Zeitpunkt, diagnostic::Lang, mask::mask, settle::source_of_lane,
};
use kop_store::{
    AccessEntry, DeliveryRecord, DeliveryState, Found, FoundId, LaneRecord, RetryTarget, Store,
    SubmissionDetail, SubmissionFilter, SubmissionState,
};

mod release;

use crate::{data::Data, keys::InstanceKeys, machine::MachineClock, problems, timeline};

/// What to do with messages.
#[derive(Subcommand)]
pub(crate) enum MessagesCommand {
    /// Zählt Eingänge auf, die neuesten zuerst, mit ihrem Stand
    #[command(
        after_help = "Beispiele:\n  kop messages list\n  kop messages list --mandant musterstadt --klaerung"
    )]
    List {
        /// Nur dieser Mandant
        #[arg(long)]
        mandant: Option<String>,
        /// Nur Eingänge, um die sich jemand kümmern muss
        #[arg(long)]
        klaerung: bool,
        /// Höchstens so viele
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        anzahl: u32,
    },
    /// Zeigt einen Eingang: Verlauf, Sendungen, Probleme, Angaben (verdeckt)
    #[command(
        after_help = "Beispiele:\n  kop messages show MUST-2026-000017\n  kop messages show 0190f3 --reveal"
    )]
    Show {
        /// Vorgangsnummer, Nummer des Eingangs, der Sendung oder der Zustellung; der Anfang genügt
        nummer: String,
        /// Angaben aus dem Antrag unverdeckt zeigen; das wird mit dem Namen der Person protokolliert
        #[arg(long)]
        reveal: bool,
    },
    /// Zählt offene Klärungsfälle nach ihrer Ursache auf, die häufigste zuerst
    #[command(
        after_help = "Beispiele:\n  kop messages causes\n  kop messages causes --mandant musterstadt --json"
    )]
    Causes {
        /// Nur dieser Mandant
        #[arg(long)]
        mandant: Option<TenantId>,
        /// Höchstens so viele Ursachen
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        anzahl: u32,
    },
    /// Bildet Sendungen noch einmal ab und zeigt, was sich unterscheidet; gesendet wird nur mit --senden und Grund
    #[command(
        disable_version_flag = true,
        after_help = "Beispiele:\n  kop messages remap MUST-2026-000017 --version aktuelle\n  kop messages remap 0190f3 --version entwurf --entwurf entwuerfe/bauantrag-xbau\n  kop messages remap 0190f3 --version aktuelle --senden --grund \"Tabelle Bezirke berichtigt\""
    )]
    Remap(remap::RemapArgs),
    /// Legt einen anderen Wert über eine Angabe des Antrags, mit Grund und Namen; der Antrag bleibt, wie er kam
    #[command(
        after_help = "Beispiel:\n  kop messages correct MUST-2026-000017 hund/wurfdatum=2024-02-29 --grund \"Anruf vom 3.3.\" --von \"E. Muster\""
    )]
    Correct(correct::CorrectArgs),
    /// Stößt einen Eingang, eine Zustellung oder alles von einer Ursache neu an; gesendet werden dieselben Bytes
    #[command(
        after_help = "Beispiele:\n  kop messages retry MUST-2026-000017\n  kop messages retry --cause 3f9a21c0"
    )]
    Retry {
        /// Vorgangsnummer oder Nummer, wie bei „show“
        #[arg(required_unless_present = "cause", conflicts_with = "cause")]
        nummer: Option<String>,
        /// Alles von dieser Ursache: ihre Kennung aus „causes“, der Anfang genügt
        #[arg(long, value_name = "KENNUNG")]
        cause: Option<String>,
        /// Mit --cause: nur dieser Mandant
        #[arg(long, requires = "cause")]
        mandant: Option<TenantId>,
    },
    /// Gibt Dateien frei, in die die Virenprüfung nicht hineinsehen kann, und stößt den Eingang neu an
    #[command(
        after_help = "Funde werden nie freigegeben.\n\nBeispiel:\n  kop messages release MUST-2026-000017 --grund \"Passwort telefonisch erhalten, auf Einzelplatz geprüft\""
    )]
    Release {
        /// Vorgangsnummer oder Nummer, wie bei „show“
        nummer: String,
        /// Warum die Dateien ungeprüft hinausgehen dürfen; steht mit dem Namen der Person im Verlauf
        #[arg(long)]
        grund: String,
    },
}

/// How to show.
pub(crate) struct Showing<'a> {
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) reveal: bool,
    pub(crate) lang: Lang,
    pub(crate) json: bool,
}

/// Runs one of the commands.
pub(crate) fn run(
    command: &MessagesCommand,
    folder: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    if let MessagesCommand::Remap(args) = command {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(remap::run(args, folder, lang, json, out));
    }
    let config = match kop_tenant::InstanceConfig::load(folder) {
        Ok(config) => config,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let now = kop_core::Clock::now(&MachineClock);
    runtime.block_on(async {
        let data = match Data::attach(&config, InstanceKeys::new(&config.tenants_dir)).await {
            Ok(Some(data)) => data,
            Ok(None) => {
                if json {
                    writeln!(out, "[]")?;
                }
                let none = pick(lang, "Noch nichts eingegangen.", "Nothing has come in yet.");
                writeln!(io::stderr(), "{none}")?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(found) => return problems::print(&found, lang, json, out),
        };
        match command {
            MessagesCommand::List { mandant, klaerung, anzahl } => {
                let filter = SubmissionFilter {
                    tenant: match mandant.as_deref().map(str::parse::<TenantId>).transpose() {
                        Ok(tenant) => tenant,
                        Err(error) => {
                            writeln!(io::stderr(), "{error}")?;
                            return Ok(ExitCode::from(2));
                        }
                    },
                    limit: *anzahl,
                    ..SubmissionFilter::default()
                };
                list(&*data.store, filter, *klaerung, lang, json, out).await
            }
            MessagesCommand::Show { nummer, reveal } => {
                let showing = Showing { tenant: None, reveal: *reveal, lang, json };
                show(&*data.store, nummer, &showing, now, out).await
            }
            MessagesCommand::Causes { mandant, anzahl } => {
                causes::list(&*data.store, mandant.as_ref(), *anzahl, now, lang, json, out).await
            }
            // Needs the whole instance, and is gone already.
            MessagesCommand::Remap(_) => Ok(ExitCode::SUCCESS),
            MessagesCommand::Correct(args) => correct::run(&*data.store, args, now, lang, json, out).await,
            MessagesCommand::Retry { cause: Some(cause), mandant, .. } => {
                let exit = causes::retry(&*data.store, mandant.as_ref(), cause, now, lang, json, out).await?;
                if json || exit == ExitCode::from(2) {
                    return Ok(exit);
                }
                say_who(data.somebody_works(&config).await, lang, out)?;
                Ok(exit)
            }
            MessagesCommand::Retry { nummer, .. } => {
                let nummer = nummer.as_deref().unwrap_or_default();
                let exit = retry(&*data.store, nummer, lang, json, now, out).await?;
                if exit == ExitCode::SUCCESS {
                    say_who(data.somebody_works(&config).await, lang, out)
                } else {
                    Ok(exit)
                }
            }
            MessagesCommand::Release { nummer, grund } => {
                let exit = release::run(&*data.store, nummer, grund, lang, now, out).await?;
                if exit == ExitCode::SUCCESS {
                    say_who(data.somebody_works(&config).await, lang, out)
                } else {
                    Ok(exit)
                }
            }
        }
    })
}

async fn list(
    store: &dyn Store,
    filter: SubmissionFilter,
    only_work_items: bool,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let page = match store.submissions(filter).await {
        Ok(page) => page,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let mut rows = Vec::new();
    for summary in page.items {
        let Ok(detail) = store.submission(&summary.tenant, summary.submission_id).await else { continue };
        let state = overall(&detail);
        if only_work_items && state != "klaerungsfall" {
            continue;
        }
        if !json {
            writeln!(
                out,
                "{}  {:<15} {}  {:<14} {}",
                summary.vorgangsnummer,
                state,
                local(summary.received_at),
                summary.tenant,
                summary.form_name.as_deref().or(summary.form_id.as_deref()).unwrap_or("–"),
            )?;
        }
        let messages: Vec<_> = detail
            .messages
            .iter()
            .map(|message| {
                let mut row = serde_json::json!({
                    "id": message.message_id, "empfaenger": message.receiver, "zuordnung": message.mapping,
                    "zustand": message.state,
                });
                if let Some(source) = source_of_lane(&message.receiver) {
                    row["quittung_an"] = source.into();
                }
                row
            })
            .collect();
        rows.push(serde_json::json!({
            "id": summary.submission_id, "vorgangsnummer": summary.vorgangsnummer, "mandant": summary.tenant,
            "quelle": summary.source, "formular": summary.form_id, "eingegangen": summary.received_at,
            "zustand": state, "sendungen": messages,
        }));
    }
    if json {
        writeln!(out, "{:#}", serde_json::Value::Array(rows))?;
    } else if rows.is_empty() {
        writeln!(io::stderr(), "{}", pick(lang, "Nichts gefunden.", "Nothing found."))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One word for where a submission stands, the most urgent first.
fn overall(detail: &SubmissionDetail) -> &'static str {
    // What was replaced is over; the message in its place counts. Telling the source is no part of it.
    let states = || {
        let of_messages = detail.deliveries.iter().filter(|delivery| delivery.settles.is_none());
        let states = of_messages.map(|delivery| delivery.state);
        states.filter(|state| *state != DeliveryState::Ersetzt)
    };
    if states().any(|state| state == DeliveryState::Abgewiesen) {
        "abgewiesen"
    } else if detail.work_items.iter().any(|item| item.closed_at.is_none()) {
        "klaerungsfall"
    } else if detail.submission.summary.state == SubmissionState::Eingegangen {
        "eingegangen"
    } else if states().all(|state| state == DeliveryState::Zugestellt) {
        "zugestellt"
    } else {
        "unterwegs"
    }
}

/// Shows one submission. Exit code 2 when there is no such number, or several.
pub(crate) async fn show(
    store: &dyn Store,
    number: &str,
    showing: &Showing<'_>,
    now: Zeitpunkt,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let Showing { lang, json, reveal, tenant } = *showing;
    let Some(found) = one(store, tenant, number, lang).await? else { return Ok(ExitCode::from(2)) };
    if reveal {
        let entry = AccessEntry {
            tenant: found.tenant.clone(),
            who: person(),
            what: "reveal".into(),
            submission_id: Some(found.submission_id),
        };
        // Without the entry nothing is shown.
        if let Err(error) = store.log_access(entry, now).await {
            return problems::print(&[error.diagnostic()], lang, json, out);
        }
    }
    let detail = match store.submission(&found.tenant, found.submission_id).await {
        Ok(detail) => detail,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let document: Option<Eingang> = serde_json::from_slice(&detail.submission.document).ok();
    if json {
        let document = document.map(|mut document| {
            if !reveal {
                mask_fields(&mut document.form_data);
            }
            if reveal {
                serde_json::json!(document)
            } else {
                serde_json::json!({ "formData": document.form_data })
            }
        });
        let mut corrections = detail.corrections.clone();
        for one in corrections.iter_mut().filter(|_| !reveal) {
            one.before = one.before.as_deref().map(mask);
            one.after = mask(&one.after);
        }
        let value = serde_json::json!({
            "korrekturen": corrections, "eingang": detail.submission.summary, "zustand": overall(&detail), "dokument": document,
            "sendungen": detail.messages, "zustellungen": detail.deliveries, "versuche": detail.attempts,
            "klaerungsfaelle": detail.work_items, "verlauf": detail.events,
        });
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let summary = &detail.submission.summary;
    let form = summary.form_name.as_deref().or(summary.form_id.as_deref()).unwrap_or("–");
    writeln!(out, "{} · {form} · {} · {}", summary.vorgangsnummer, summary.tenant, overall(&detail))?;
    if let Some(at) = summary.content_deleted_at {
        writeln!(out, "{} {}", pick(lang, "Inhalte gelöscht am", "Contents deleted at"), local(at))?;
    }
    writeln!(out, "\n{}", pick(lang, "Verlauf", "Timeline"))?;
    for event in &detail.events {
        writeln!(out, "  {}  {}", local(event.at), timeline::sentence(event, &detail, lang))?;
    }
    let lanes = match store.lanes(Some(&found.tenant)).await {
        Ok(lanes) => lanes,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    for message in &detail.messages {
        writeln!(
            out,
            "\n{} {} → {} ({})",
            pick(lang, "Sendung", "Message"),
            &message.message_id.to_string()[..13],
            timeline::receiver(&message.receiver, lang),
            message.state
        )?;
        let made = source_of_lane(&message.receiver).is_none();
        if made {
            writeln!(
                out,
                "  {} {} {}",
                pick(lang, "Zuordnung", "mapping"),
                message.mapping,
                message.mapping_hash.short()
            )?;
        }
        let delivery = detail.deliveries.iter().find(|delivery| delivery.message_id == message.message_id);
        if let Some(reason) = delivery.and_then(|delivery| waiting(delivery, &lanes, lang, now)) {
            writeln!(out, "  {reason}")?;
        }
        if let Some(earlier) = message.ersetzt {
            let instead = pick(lang, "ersetzt die Sendung", "replaces the message");
            writeln!(out, "  {instead} {}", &earlier.to_string()[..13])?;
        }
        let there = made && summary.content_deleted_at.is_none();
        for part in std::iter::once(&message.main).chain(&message.parts).filter(|_| there) {
            writeln!(out, "  {} ({}, {} Bytes)", part.name, part.content_type, part.blob.size)?;
        }
    }
    let open: Vec<_> = detail.work_items.iter().filter(|item| item.closed_at.is_none()).collect();
    if !open.is_empty() {
        writeln!(out, "\n{}", pick(lang, "Zu klären", "To be settled"))?;
        for problem in open.iter().flat_map(|item| &item.diagnostics) {
            write!(out, "{}", problems::paragraph(problem, lang, "  ", reveal))?;
        }
    }
    if !detail.corrections.is_empty() {
        writeln!(out, "\n{}", pick(lang, "Korrekturen", "Corrections"))?;
    }
    for one in &detail.corrections {
        let shown = |value: &str| if reveal { value.to_owned() } else { mask(value) };
        let before = one.before.as_deref().map_or_else(|| "–".to_owned(), shown);
        writeln!(
            out,
            "  {}: {before} → {}  {} {}: {}",
            one.path,
            shown(&one.after),
            local(one.at),
            one.who,
            one.reason
        )?;
    }
    if let Some(document) = document {
        let heading = match (lang, reveal) {
            (Lang::De, false) => "Angaben (verdeckt; --reveal zeigt sie und wird protokolliert)",
            (Lang::De, true) => "Angaben",
            (Lang::En, false) => "Fields (masked; --reveal shows them and is logged)",
            (Lang::En, true) => "Fields",
        };
        writeln!(out, "\n{heading}")?;
        fields(&document.form_data, "", reveal, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a delivery does not go out right now.
fn waiting(delivery: &DeliveryRecord, lanes: &[LaneRecord], lang: Lang, now: Zeitpunkt) -> Option<String> {
    if let Some(settles) = delivery.settles.filter(|settles| settles.waits) {
        let latest = delivery.next_try_at.map(local);
        let when = timeline::moment(settles.when.as_str(), lang);
        return Some(match (lang, latest) {
            (Lang::De, None) => format!("wartet, bis {when}"),
            (Lang::De, Some(latest)) => format!("wartet, bis {when}, längstens bis {latest}"),
            (Lang::En, None) => format!("waits until {when}"),
            (Lang::En, Some(latest)) => format!("waits until {when}, at the longest until {latest}"),
        });
    }
    let next = delivery.next_try_at.filter(|_| delivery.state != DeliveryState::Laufend)?;
    if delivery.queued {
        let (de, en) =
            ("wartet, bis frühere Sendungen zugestellt sind", "waits until earlier messages are delivered");
        return Some(pick(lang, de, en).to_owned());
    }
    let lane = lanes.iter().find(|lane| lane.lane == delivery.lane);
    if let Some(until) = lane.and_then(|lane| lane.paused_until).filter(|until| *until > now) {
        let at = local(until);
        return Some(match lang {
            Lang::De => format!("wartet; der Empfänger antwortet nicht, nächste Probe {at}"),
            Lang::En => format!("waits; the receiver does not answer, tried again {at}"),
        });
    }
    let at = local(next);
    (next > now).then(|| match lang {
        Lang::De => format!("nächster Versuch {at}"),
        Lang::En => format!("next attempt {at}"),
    })
}

fn fields(list: &[Feld], path: &str, reveal: bool, out: &mut impl Write) -> io::Result<()> {
    for feld in list {
        let here = if path.is_empty() { feld.name.clone() } else { format!("{path}/{}", feld.name) };
        match &feld.inhalt {
            Inhalt::Wert(wert) if wert.text.is_empty() => {}
            Inhalt::Wert(wert) => {
                let shown = if reveal { wert.text.clone() } else { mask(&wert.text) };
                writeln!(out, "  {here}: {shown}")?;
            }
            Inhalt::Felder(below) => fields(below, &here, reveal, out)?,
            Inhalt::Wiederholungen(repeats) => {
                for (n, below) in repeats.iter().enumerate() {
                    fields(below, &format!("{here}[{}]", n + 1), reveal, out)?;
                }
            }
        }
    }
    Ok(())
}

fn mask_fields(list: &mut [Feld]) {
    for feld in list {
        match &mut feld.inhalt {
            Inhalt::Wert(wert) => {
                wert.text = mask(&wert.text);
                wert.anzeige = wert.anzeige.as_deref().map(mask);
            }
            Inhalt::Felder(below) => mask_fields(below),
            Inhalt::Wiederholungen(repeats) => repeats.iter_mut().for_each(|below| mask_fields(below)),
        }
    }
}

async fn retry(
    store: &dyn Store,
    number: &str,
    lang: Lang,
    json: bool,
    now: Zeitpunkt,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let Some(found) = one(store, None, number, lang).await? else { return Ok(ExitCode::from(2)) };
    let detail = match store.submission(&found.tenant, found.submission_id).await {
        Ok(detail) => detail,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let over =
        |state| matches!(state, DeliveryState::Zugestellt | DeliveryState::Laufend | DeliveryState::Ersetzt);
    let waits = |state| !over(state);
    let targets: Vec<RetryTarget> = match found.id {
        FoundId::Delivery(delivery) => vec![RetryTarget::Delivery(delivery)],
        FoundId::Message(message) => detail
            .deliveries
            .iter()
            .filter(|delivery| delivery.message_id == message)
            .map(|delivery| RetryTarget::Delivery(delivery.delivery_id))
            .collect(),
        FoundId::Submission(id) => {
            let unclear = detail.submission.summary.state == SubmissionState::Klaerung;
            // What waits to tell the source goes on waiting, unless it is named itself.
            let meant = |one: &&DeliveryRecord| waits(one.state) && !one.settles.is_some_and(|one| one.waits);
            let waiting = detail.deliveries.iter().filter(meant);
            let deliveries = waiting.map(|delivery| RetryTarget::Delivery(delivery.delivery_id));
            unclear.then_some(RetryTarget::Submission(id)).into_iter().chain(deliveries).collect()
        }
    };
    if targets.is_empty() {
        writeln!(
            io::stderr(),
            "{}",
            pick(lang, "Es ist schon alles zugestellt.", "Everything is delivered already.")
        )?;
        return Ok(ExitCode::from(2));
    }
    for target in targets {
        if let Err(error) = store.retry(&found.tenant, target, &person(), now).await {
            return problems::print(&[error.diagnostic()], lang, json, out);
        }
    }
    writeln!(out, "{} {}", found.vorgangsnummer, pick(lang, "neu angestoßen", "is tried again"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says who carries a retry out: the running service, or the next one.
fn say_who(running: bool, lang: Lang, out: &mut impl Write) -> io::Result<ExitCode> {
    let sentence = if running {
        pick(lang, "Der laufende Dienst übernimmt.", "The running service takes over.")
    } else {
        pick(
            lang,
            "Es läuft kein Dienst; „kop serve“ führt es aus.",
            "No service is running; `kop serve` carries it out.",
        )
    };
    writeln!(out, "{sentence}")?;
    Ok(ExitCode::SUCCESS)
}

/// What a number stands for; says so when it is nothing or several things.
async fn one(
    store: &dyn Store,
    tenant: Option<&TenantId>,
    number: &str,
    lang: Lang,
) -> io::Result<Option<Found>> {
    let found = match store.resolve(tenant, number).await {
        Ok(found) => found,
        Err(error) => {
            writeln!(io::stderr(), "{}", error.diagnostic().text(lang))?;
            return Ok(None);
        }
    };
    match found.as_slice() {
        [one] => Ok(Some(one.clone())),
        [] => {
            let none = pick(lang, "Diese Nummer gibt es nicht.", "There is no such number.");
            writeln!(io::stderr(), "{none}")?;
            Ok(None)
        }
        several => {
            let many = pick(lang, "Mehrere passen:", "Several fit:");
            writeln!(io::stderr(), "{many}")?;
            for one in several {
                writeln!(io::stderr(), "  {}  {}  {}", one.vorgangsnummer, one.tenant, one.submission_id)?;
            }
            Ok(None)
        }
    }
}

/// Who is at the terminal, as the system knows them.
fn person() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unbekannt".into())
}

pub(crate) fn local(at: Zeitpunkt) -> String {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    at.to_zoned(zone).strftime("%d.%m.%Y %H:%M:%S").to_string()
}

pub(crate) fn pick(lang: Lang, german: &'static str, english: &'static str) -> &'static str {
    match lang {
        Lang::De => german,
        Lang::En => english,
    }
}
