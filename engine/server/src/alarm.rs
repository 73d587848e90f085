// SPDX-License-Identifier: EUPL-1.2
//! Mails to operators, since numbers alone reach nobody: one mail for all that is new, one per cause and day.
//! What was told is kept in a file of the data folder, so that a restart does not tell everything again.
//! Sentences are plain German, made of configured names, codes and counts; nothing of an application is in them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kop_connector_api::Mailbox;
use kop_core::{Zeitpunkt, codes, diagnostic::Lang};
use kop_flow::ScannerState;
use kop_store::Gauges;
use kop_tenant::AlarmDatei;
use tokio_util::sync::CancellationToken;

use crate::operation::Operation;

/// What was told, below the data folder.
const TOLD_FILE: &str = "alarm.json";

/// Lines of one mail.
const MOST_LINES: usize = 40;

/// What is wrong now: cause → sentence.
type Causes = BTreeMap<String, String>;

/// What was told: cause → when.
type Told = BTreeMap<String, Zeitpunkt>;

/// Watches and tells.
pub struct Alarms {
    operation: Arc<Operation>,
    mailbox: Arc<dyn Mailbox>,
    settings: AlarmDatei,
    file: PathBuf,
    told: Told,
}

impl Alarms {
    /// Knows what an earlier process told.
    pub fn new(
        operation: Arc<Operation>,
        mailbox: Arc<dyn Mailbox>,
        settings: AlarmDatei,
        data_dir: &Path,
    ) -> Self {
        let file = data_dir.join(TOLD_FILE);
        // A file that cannot be read means that things are told once more, which is the safe mistake.
        let told = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { operation, mailbox, settings, file, told: told.unwrap_or_default() }
    }

    /// Looks and tells until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.round().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(self.settings.alle_sekunden)) => {}
            }
        }
    }

    async fn round(&mut self) {
        let now = self.operation.engine.now();
        let scanner = self.operation.engine.ask_scanner().await;
        let gauges = match self.operation.gauges().await {
            Ok(gauges) => gauges,
            Err(error) => {
                tracing::error!(%error, "The numbers for alarms cannot be had.");
                return;
            }
        };
        let mut causes = of_gauges(&gauges, &self.settings, now);
        self.of_machine(&scanner, now, &mut causes);
        let remind = Duration::from_secs(self.settings.erinnern_stunden * 3600);
        let due = due(&self.told, &causes, remind, now);
        if due.is_empty() {
            return;
        }
        let (subject, text) = mail(&causes, &due);
        if let Err(problem) = self.mailbox.send(&subject, &text).await {
            tracing::error!(%problem, detail = problem.detail, "The alarm could not be sent; it is tried again.");
            return;
        }
        tracing::info!(causes = due.len(), "Operators were told.");
        self.told.retain(|_, at| now.duration_since(*at).unsigned_abs() < remind);
        self.told.extend(due.into_iter().map(|cause| (cause, now)));
        if let Err(error) = keep(&self.file, &self.told) {
            tracing::warn!(%error, "What was told could not be kept; a restart tells it again.");
        }
    }

    fn of_machine(&self, scanner: &ScannerState, now: Zeitpunkt, causes: &mut Causes) {
        if let ScannerState::Down { since, problem } = scanner {
            causes.insert(
                "virenpruefung".into(),
                format!(
                    "{} Anträge warten, nichts geht hinaus. Seit {}. ({})",
                    problem.de,
                    moment(*since),
                    problem.code
                ),
            );
        }
        let (seen, closed) = self.operation.gate.state();
        if closed.disk {
            let free = seen.free / 1_000_000;
            causes.insert(
                "platte".into(),
                format!("Der Datenträger ist fast voll (noch {free} MB frei); es werden keine Anträge angenommen. (KOP-S008)"),
            );
        }
        if closed.backlog {
            causes.insert(
                "rueckstau".into(),
                "Zu viele Eingänge und Zustellungen sind unerledigt; es werden keine Anträge angenommen. (KOP-S008)".into(),
            );
        }
        for (tenant, receiver, expiry) in self.operation.engine.expiries() {
            let days = expiry.at.duration_since(now).as_secs() / 86_400;
            if days < i64::from(self.settings.zertifikat_tage) {
                causes.insert(
                    format!("ablauf|{tenant}|{receiver}|{}", expiry.what),
                    format!(
                        "Mandant {tenant}, Empfänger {receiver}: {} läuft am {} ab.",
                        expiry.what,
                        moment(expiry.at)
                    ),
                );
            }
        }
    }
}

/// What the store's numbers say.
fn of_gauges(gauges: &Gauges, settings: &AlarmDatei, now: Zeitpunkt) -> Causes {
    let mut causes = Causes::new();
    for one in &gauges.work_items {
        let code = one.fingerprint.split('|').next().unwrap_or_default();
        let title = codes::page(code).and_then(|page| page.text(Lang::De).lines().next()).unwrap_or_default();
        causes.insert(
            format!("klaerung|{}|{}", one.tenant, one.fingerprint),
            format!(
                "Mandant {}: {} mit derselben Ursache, {code}: {title} Der älteste ist vom {}.",
                one.tenant,
                counted(one.count, "Klärungsfall", "Klärungsfälle"),
                moment(one.oldest)
            ),
        );
    }
    let limit = Duration::from_secs(settings.aelter_als_minuten * 60);
    let old = |since: Zeitpunkt| since < now && now.duration_since(since).unsigned_abs() > limit;
    for one in gauges.submissions.iter().filter(|one| old(one.oldest)) {
        causes.insert(
            format!("unverarbeitet|{}", one.tenant),
            format!(
                "Mandant {}: {} noch nicht verarbeitet, der älteste vom {}.",
                one.tenant,
                counted(one.count, "Eingang ist", "Eingänge sind"),
                moment(one.oldest)
            ),
        );
    }
    for one in gauges.deliveries.iter().filter(|one| old(one.oldest)) {
        causes.insert(
            format!("unzugestellt|{}|{}", one.tenant, one.lane),
            format!(
                "Mandant {}, Empfänger {}: {} noch nicht zugestellt, die älteste vom {}.",
                one.tenant,
                one.lane,
                counted(one.count, "Sendung ist", "Sendungen sind"),
                moment(one.oldest)
            ),
        );
    }
    causes
}

/// Causes that were not told within the time after which they are told again. One that came, went and came again
/// is told once all the same.
fn due(told: &Told, causes: &Causes, remind: Duration, now: Zeitpunkt) -> Vec<String> {
    let silent =
        |cause: &&String| told.get(*cause).is_none_or(|at| now.duration_since(*at).unsigned_abs() >= remind);
    causes.keys().filter(silent).cloned().collect()
}

fn mail(causes: &Causes, due: &[String]) -> (String, String) {
    let subject = format!("KOP engine: {}", counted(due.len() as u64, "Meldung", "Meldungen"));
    let mut text = String::from("Die KOP engine meldet:\n\n");
    for cause in due.iter().take(MOST_LINES) {
        let _ = writeln!(text, "- {}", causes[cause]);
    }
    if due.len() > MOST_LINES {
        let _ = writeln!(text, "- … und {} weitere.", due.len() - MOST_LINES);
    }
    let open = causes.len() - due.len();
    if open > 0 {
        let _ = writeln!(text, "\nSchon gemeldet und noch offen: {open}.");
    }
    text.push_str(
        "\nEinzelheiten: kop messages list --klaerung, kop explain <Code>, /readyz und /metrics.\n\
         Diese Mail enthält keine Angaben aus Anträgen. An Offenes wird einmal am Tag erinnert.\n",
    );
    (subject, text)
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A moment as people in Germany read it.
fn moment(at: Zeitpunkt) -> String {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    at.to_zoned(zone).strftime("%d.%m.%Y, %H:%M Uhr").to_string()
}

/// Written beside and moved over, so that a crash leaves one whole file.
fn keep(file: &Path, told: &Told) -> std::io::Result<()> {
    let beside = file.with_extension("json.neu");
    std::fs::write(&beside, serde_json::to_vec(told)?)?;
    std::fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use kop_store::OpenCause;

    use super::*;

    fn at(seconds: i64) -> Zeitpunkt {
        Zeitpunkt::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn causes(names: &[&str]) -> Causes {
        names.iter().map(|name| ((*name).to_owned(), format!("Satz {name}"))).collect()
    }

    #[test]
    fn each_cause_is_told_once_a_day_and_all_in_one_mail() {
        let day = Duration::from_secs(86_400);
        let mut told = Told::new();
        let first = due(&told, &causes(&["a", "b"]), day, at(0));
        assert_eq!(first, ["a", "b"]);
        let (subject, text) = mail(&causes(&["a", "b"]), &first);
        assert!(subject.ends_with("2 Meldungen") && text.contains("- Satz a\n- Satz b\n"), "{text}");
        told.extend(first.into_iter().map(|cause| (cause, at(0))));
        assert_eq!(due(&told, &causes(&["a", "b", "c"]), day, at(60)), ["c"]);
        assert!(due(&told, &causes(&["a"]), day, at(86_399)).is_empty());
        assert_eq!(due(&told, &causes(&["a"]), day, at(86_400)), ["a"]);
        let many: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
        let all = many.iter().map(|name| (name.clone(), "x".to_owned())).collect();
        assert!(mail(&all, &many).1.contains("… und 60 weitere"));
    }

    #[test]
    fn sentences_hold_codes_and_counts_alone() {
        let settings: AlarmDatei = serde_json::from_value(serde_json::json!({
            "server": "localhost:25", "von": "kop@example.org", "an": ["it@example.org"]
        }))
        .unwrap();
        let tenant: kop_core::TenantId = "nord".parse().unwrap();
        let cause =
            OpenCause { tenant, fingerprint: "KOP-F040|x.rhai:3|a/b|c".into(), count: 2, oldest: at(0) };
        let gauges = Gauges { work_items: vec![cause], open_work_items: 2, ..Gauges::default() };
        let causes = of_gauges(&gauges, &settings, at(10));
        assert_eq!(
            causes.values().next().unwrap(),
            "Mandant nord: 2 Klärungsfälle mit derselben Ursache, KOP-F040: In einer Datei des Antrags wurde \
             Schadsoftware gefunden. Der älteste ist vom 21.09.2026, 16:13 Uhr."
        );
    }
}
