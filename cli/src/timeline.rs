// SPDX-License-Identifier: EUPL-1.2
//! A line of the timeline as a sentence.

use kop_core::{SettleAt, diagnostic::Lang, settle::source_of_lane};
use kop_store::{EventRecord, SubmissionDetail, steps::event};

/// The sentence of an event.
pub(crate) fn sentence(line: &EventRecord, detail: &SubmissionDetail, lang: Lang) -> String {
    let param = |name: &str| match &line.params[name] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let message = line.message_id.and_then(|id| detail.messages.iter().find(|one| one.message_id == id));
    let receiver = message.map(|message| receiver(&message.receiver, lang)).unwrap_or_default();
    let (de, en) = match line.kind.as_str() {
        event::EINGEGANGEN => {
            (format!("eingegangen über {}", param("quelle")), format!("received from {}", param("quelle")))
        }
        event::ERNEUT_EINGEGANGEN => {
            ("noch einmal gesendet; dieselbe Antwort gegeben".into(), "sent again; same answer given".into())
        }
        event::VERARBEITET => (
            format!("verarbeitet, Sendungen: {}", param("nachrichten")),
            format!("processed, messages: {}", param("nachrichten")),
        ),
        event::ZURUECKGESTELLT => ("zurückgestellt".into(), "put off".into()),
        event::KLAERUNG => {
            (format!("Klärungsfall: {}", param("code")), format!("work item: {}", param("code")))
        }
        event::KLAERUNG_BEENDET => ("Klärungsfall geschlossen".into(), "work item closed".into()),
        event::NACHRICHT => (
            format!("Sendung für {} erzeugt mit {}", param("empfaenger"), param("zuordnung")),
            format!("message for {} made with {}", param("empfaenger"), param("zuordnung")),
        ),
        event::QUITTUNG => {
            let when = |lang| moment(&param("wenn"), lang);
            (
                format!("{receiver}: vorgesehen, sobald {}", when(Lang::De)),
                format!("{receiver}: to come once {}", when(Lang::En)),
            )
        }
        event::QUITTUNG_FAELLIG => (format!("{receiver}: jetzt fällig"), format!("{receiver}: due now")),
        event::HINWEIS => {
            let said = |lang: &str| {
                let all = line.params["hinweise"].as_array().into_iter().flatten();
                let all: Vec<&str> = all.filter_map(|one| one[lang].as_str()).collect();
                format!("{receiver}: {}", all.join(" "))
            };
            (said("de"), said("en"))
        }
        event::VERSUCH => (
            format!("{receiver}: Versuch {} begonnen", param("versuch")),
            format!("{receiver}: attempt {} started", param("versuch")),
        ),
        event::ZUGESTELLT => (format!("{receiver}: zugestellt"), format!("{receiver}: delivered")),
        event::NACHVERFOLGT => (
            format!("{receiver}: übergeben, wird nachverfolgt"),
            format!("{receiver}: handed over, followed up"),
        ),
        event::WIEDERHOLUNG => (
            format!("{receiver}: nicht gelungen ({}), nächster Versuch folgt", param("code")),
            format!("{receiver}: failed ({}), will be tried again", param("code")),
        ),
        event::ABGEWIESEN => (
            format!("{receiver}: abgewiesen ({})", param("code")),
            format!("{receiver}: refused ({})", param("code")),
        ),
        event::AUFGEGEBEN => (
            format!("{receiver}: aufgegeben ({})", param("code")),
            format!("{receiver}: given up ({})", param("code")),
        ),
        event::UNKLAR => (
            format!("{receiver}: unklar, ob angekommen ({})", param("code")),
            format!("{receiver}: not known whether it arrived ({})", param("code")),
        ),
        event::VERZOEGERT => (
            format!("{receiver}: dauert lange, Klärungsfall eröffnet; es wird weiter versucht"),
            format!("{receiver}: takes long, work item opened; attempts go on"),
        ),
        event::INHALTE_GELOESCHT => (
            format!("Inhalte gelöscht: Frist von {} Tagen vorbei", param("tage")),
            format!("contents deleted: period of {} days is over", param("tage")),
        ),
        event::EINGESEHEN => (
            format!("Angaben unverdeckt angesehen von {}", param("von")),
            format!("values seen unmasked by {}", param("von")),
        ),
        event::ERSETZT => (
            format!(
                "{receiver}: durch eine neue Sendung ersetzt ({}), {}: {}",
                match param("version").as_str() {
                    "entwurf" => "Entwurf".to_owned(),
                    version => format!("{version} Version"),
                },
                param("von"),
                param("grund")
            ),
            format!(
                "{receiver}: replaced by a new message (version: {}), {}: {}",
                param("version"),
                param("von"),
                param("grund")
            ),
        ),
        event::KORRIGIERT => {
            let fields = line.params["felder"].as_array().into_iter().flatten();
            let fields = fields.filter_map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
            (
                format!("korrigiert von {}: {fields}", param("von")),
                format!("corrected by {}: {fields}", param("von")),
            )
        }
        event::VIRENPRUEFUNG => scan(line),
        event::FREIGEGEBEN => (
            format!("nicht prüfbare Dateien freigegeben von {}: {}", param("von"), param("grund")),
            format!("files that cannot be scanned released by {}: {}", param("von"), param("grund")),
        ),
        event::NEU_ANGESTOSSEN => {
            (format!("neu angestoßen von {}", param("von")), format!("tried again by {}", param("von")))
        }
        other => (other.to_owned(), other.to_owned()),
    };
    match lang {
        Lang::De => de,
        Lang::En => en,
    }
}

/// A receiver as people read it; telling a source that it may let go is one of its own kind.
pub(crate) fn receiver(name: &str, lang: Lang) -> String {
    match (source_of_lane(name), lang) {
        (Some(source), Lang::De) => format!("Quittung an Quelle „{source}“"),
        (Some(source), Lang::En) => format!("acknowledgement to source \"{source}\""),
        (None, _) => name.to_owned(),
    }
}

/// What a settlement waits for.
pub(crate) fn moment(when: &str, lang: Lang) -> &'static str {
    let (de, en) = match when.parse().unwrap_or_default() {
        SettleAt::Gespeichert => ("der Antrag gespeichert ist", "the application is stored"),
        SettleAt::Geprueft => ("alle Sendungen gültig erzeugt sind", "all messages are made and valid"),
        SettleAt::Zugestellt => ("alle Sendungen zugestellt sind", "all messages are delivered"),
        SettleAt::Quittiert => ("alle Empfänger den Empfang bestätigt haben", "all receivers have confirmed"),
    };
    match lang {
        Lang::De => de,
        Lang::En => en,
    }
}

/// What the virus scanner said.
fn scan(line: &EventRecord) -> (String, String) {
    if let Some(code) = line.params["code"].as_str() {
        return (
            format!("Virenprüfung nicht möglich ({code}); es geht nichts hinaus"),
            format!("virus scan not possible ({code}); nothing leaves"),
        );
    }
    let number = |name: &str| line.params[name].as_u64().unwrap_or_default();
    let blind = line.params["nicht_pruefbar"].as_array().map_or(0, Vec::len);
    let (files, found, released) = (number("dateien"), number("funde"), number("freigegeben"));
    let version = line.params["version"].as_str().unwrap_or_default();
    (
        format!(
            "Virenprüfung ({version}): Dateien: {files}, Funde: {found}, nicht prüfbar: {blind}, freigegeben: {released}"
        ),
        format!(
            "virus scan ({version}): files: {files}, found: {found}, not scannable: {blind}, released: {released}"
        ),
    )
}
