// SPDX-License-Identifier: EUPL-1.2
//! Compares what senders were answered, what the program says, and what receivers have. Every line of `wrong` is a
//! broken promise.

use std::collections::{BTreeMap, BTreeSet};

use kop_tests::{Error, Instance};
use serde_json::Value;

use super::{
    FOLDERS, ONCE, ORDERED, REPEATABLE,
    driver::Answers,
    recorder::{Request, Verdict},
};

/// A stored file is missing or not what was stored, as the store and as connectors say it.
const DAMAGED: [&str; 2] = ["KOP-S004", "KOP-Z005"];

#[derive(Default)]
pub(crate) struct Ledger {
    /// Submission × receiver.
    pub(crate) expected: usize,
    pub(crate) delivered: usize,
    pub(crate) work_items: usize,
    pub(crate) lost: usize,
    /// Attempts to send.
    pub(crate) attempts: usize,
    /// Attempts after the first.
    pub(crate) resent: usize,
    /// Sendings that a receiver took more than once, as it said it can bear.
    pub(crate) doubled: usize,
    /// Attempts that a crash left without an end.
    pub(crate) interrupted: usize,
    pub(crate) wrong: Vec<String>,
}

/// One attempt as the program shows it.
struct Attempt<'a> {
    started: i128,
    outcome: &'a str,
}

impl Ledger {
    pub(crate) fn balance(
        &mut self,
        instance: &Instance,
        answers: &Answers,
        shown: &[Value],
        requests: &[Request],
    ) -> Result<(), Error> {
        self.answered(answers, shown);
        self.in_order(shown, requests)?;
        let mut by_key: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
        for request in requests {
            by_key.entry(&request.key).or_default().push(request);
        }
        for (key, all) in &by_key {
            if all.iter().any(|request| request.hash != all[0].hash || request.receiver != all[0].receiver) {
                self.wrong.push(format!("{key}: andere Bytes unter derselben Kennung"));
            }
        }
        let mut folders = BTreeMap::new();
        for receiver in FOLDERS {
            let names: Vec<String> = instance
                .delivered(receiver)?
                .iter()
                .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
                .collect();
            if names.len() > shown.len() {
                self.wrong.push(format!("{receiver}: {} Ordner für {} Eingänge", names.len(), shown.len()));
            }
            folders.insert(receiver, names);
        }
        for one in shown {
            self.undamaged(one);
            for receiver in [REPEATABLE, ONCE, ORDERED].into_iter().chain(FOLDERS) {
                self.expected += 1;
                self.receiver(one, receiver, &mut by_key, &folders)?;
            }
        }
        for key in by_key.keys() {
            self.wrong.push(format!("{key}: beim Empfänger, aber keine Zustellung dazu"));
        }
        if self.expected != self.delivered + self.work_items {
            self.wrong.push(format!(
                "{} angenommen ≠ {} zugestellt + {} Klärungsfälle",
                self.expected, self.delivered, self.work_items
            ));
        }
        Ok(())
    }

    /// Every answer holds: one submission, one number, told at every repetition.
    fn answered(&mut self, answers: &Answers, shown: &[Value]) {
        let mut stored: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in shown {
            let id = one["eingang"]["vendor_id"].as_str().unwrap_or_default();
            stored.entry(id).or_default().push(one["eingang"]["vorgangsnummer"].as_str().unwrap_or_default());
        }
        for (id, numbers) in answers {
            match stored.remove(id.as_str()).as_deref() {
                None => {
                    self.lost += 1;
                    self.wrong.push(format!("{id}: verloren, beantwortet mit {numbers:?}"));
                }
                Some([number]) if numbers.iter().all(|answered| answered == number) => {}
                Some(kept) => {
                    self.wrong
                        .push(format!("{id}: andere Vorgangsnummer: {numbers:?} beantwortet, {kept:?} da"));
                }
            }
        }
        for id in stored.keys() {
            self.wrong.push(format!("{id}: gespeichert, aber nie gesendet"));
        }
    }

    /// What an ordered lane sent, repetitions included, came in the order in which the applications had come: nothing
    /// is sent once something later was.
    fn in_order(&mut self, shown: &[Value], requests: &[Request]) -> Result<(), Error> {
        let mut places = BTreeMap::new();
        for one in shown {
            let head = &one["eingang"];
            let place = (micros(&head["received_at"])?, head["submission_id"].as_str().unwrap_or_default());
            let deliveries = one["zustellungen"].as_array().into_iter().flatten();
            for delivery in deliveries.filter(|delivery| delivery["lane"] == ORDERED) {
                places.insert(delivery["delivery_id"].as_str().unwrap_or_default(), place);
            }
        }
        let mut latest = None;
        for request in requests.iter().filter(|request| request.receiver == ORDERED) {
            // One that no delivery belongs to is told elsewhere.
            let Some(place) = places.get(request.key.as_str()) else { continue };
            if latest.is_some_and(|latest| latest > place) {
                self.wrong.push(format!("{}: in der geordneten Bahn überholt", request.key));
            }
            latest = latest.max(Some(place));
        }
        Ok(())
    }

    /// No file that a row names is missing; nobody would be helped by a Klärungsfall about it.
    fn undamaged(&mut self, shown: &Value) {
        let number = shown["eingang"]["vorgangsnummer"].as_str().unwrap_or_default();
        for list in ["versuche", "klaerungsfaelle"] {
            let text = shown[list].to_string();
            if DAMAGED.iter().any(|code| text.contains(code)) {
                self.wrong.push(format!("{number}: eine gespeicherte Datei ist beschädigt ({list})"));
            }
        }
    }

    /// One submission, one receiver.
    fn receiver(
        &mut self,
        shown: &Value,
        receiver: &str,
        by_key: &mut BTreeMap<&str, Vec<&Request>>,
        folders: &BTreeMap<&str, Vec<String>>,
    ) -> Result<(), Error> {
        let number = shown["eingang"]["vorgangsnummer"].as_str().unwrap_or_default();
        let what = format!("{number} → {receiver}");
        let list = |name: &str| shown[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let open = |item: &&Value| item["closed_at"].is_null();
        let deliveries: Vec<_> = list("zustellungen").iter().filter(|d| d["lane"] == receiver).collect();
        let [delivery] = deliveries.as_slice() else {
            let unprocessed =
                list("klaerungsfaelle").iter().filter(open).any(|item| item["message_id"].is_null());
            if deliveries.is_empty() && shown["eingang"]["state"] == "klaerung" && unprocessed {
                self.work_items += 1;
            } else {
                self.lost += usize::from(deliveries.is_empty());
                self.wrong.push(format!("{what}: {} Zustellungen", deliveries.len()));
            }
            return Ok(());
        };
        let id = delivery["delivery_id"].as_str().unwrap_or_default();
        let attempts = list("versuche")
            .iter()
            .filter(|attempt| attempt["delivery_id"] == id && attempt["kind"] == "senden")
            .map(|attempt| {
                self.interrupted += usize::from(attempt["problem"]["code"] == "KOP-F018");
                Ok(Attempt {
                    started: micros(&attempt["started_at"])?,
                    outcome: attempt["outcome"].as_str().unwrap_or("offen"),
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        self.attempts += attempts.len();
        self.resent += attempts.len().saturating_sub(1);
        let delivered = delivery["state"] == "zugestellt";
        if delivered {
            self.delivered += 1;
        } else if list("klaerungsfaelle").iter().filter(open).any(|item| item["delivery_id"] == id) {
            self.work_items += 1;
        } else {
            self.wrong.push(format!("{what}: {} ohne Klärungsfall", delivery["state"]));
        }
        if let Some(names) = folders.get(receiver) {
            let there = names.iter().filter(|name| name.contains(number)).count();
            if there > 1 || (delivered && there == 0) {
                self.wrong.push(format!("{what}: {} im Ordner {there}-mal", delivery["state"]));
            }
        } else {
            let requests = by_key.remove(id).unwrap_or_default();
            self.exchange(&what, receiver, delivered, &attempts, &requests);
        }
        Ok(())
    }

    /// What came over HTTP for one delivery, beside the attempts that were recorded.
    fn exchange(
        &mut self,
        what: &str,
        receiver: &str,
        delivered: bool,
        attempts: &[Attempt<'_>],
        requests: &[&Request],
    ) {
        let taken = requests.iter().filter(|request| request.verdict != Verdict::Failed).count();
        if delivered && taken == 0 {
            self.wrong.push(format!("{what}: zugestellt, aber der Empfänger hat nichts"));
        }
        if taken > 1 {
            self.doubled += 1;
            if receiver == ONCE {
                self.wrong.push(format!("{what}: {taken}-mal angenommen, obwohl nicht wiederholbar"));
            }
        }
        let mut used = BTreeSet::new();
        for (place, request) in requests.iter().enumerate() {
            // The attempt that was under way when the request came.
            let Some(number) = attempts.iter().rposition(|attempt| attempt.started <= request.at) else {
                self.wrong.push(format!("{what}: gesendet, bevor ein Versuch festgehalten war"));
                continue;
            };
            if !used.insert(number) {
                self.wrong.push(format!("{what}: zweimal gesendet in einem Versuch"));
            }
            let outcome = attempts[number].outcome;
            let last = place + 1 == requests.len();
            let allowed = match request.verdict {
                // A crash between the answer and its record leaves "unklar".
                Verdict::Taken | Verdict::TakenHalf => outcome == "zugestellt" || outcome == "unklar",
                Verdict::TakenLate | Verdict::TakenSilently => outcome == "unklar",
                Verdict::Failed => outcome == "wiederholung" || outcome == "unklar",
            };
            if !allowed {
                self.wrong.push(format!("{what}: {:?} ist als {outcome} festgehalten", request.verdict));
            }
            if outcome == "zugestellt" && !last {
                self.wrong.push(format!("{what}: gesendet nach der Quittung"));
            }
            if receiver == ONCE && outcome == "unklar" && !last {
                self.wrong
                    .push(format!("{what}: wiederholt nach unklarem Ausgang, obwohl nicht wiederholbar"));
            }
        }
    }
}

/// Microseconds since 1970 of a moment in RFC 3339.
fn micros(value: &Value) -> Result<i128, Error> {
    let text = value.as_str().ok_or("kein Zeitpunkt")?;
    Ok(text.parse::<jiff::Timestamp>()?.as_microsecond().into())
}
