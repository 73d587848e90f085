// SPDX-License-Identifier: EUPL-1.2
//! The page of `/metrics` in Prometheus' text format, version 0.0.4. Labels are names from the configuration and
//! causes without values; how many there can be is bounded.

use std::{collections::BTreeMap, fmt::Write as _};

use kop_core::{Zeitpunkt, codes, diagnostic::Class};
use kop_flow::{ENGINE_VERSION, ScannerState, metrics::BUCKETS, metrics::Histogram};
use kop_store::Gauges;

use crate::operation::Operation;

/// A page being written; each name is described once.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Self {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text: String = text.chars().filter(|c| !c.is_control()).take(160).collect();
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, "gauge", help).sample(name, &[], value);
    }
}

/// The whole page.
pub(crate) fn page(operation: &Operation, gauges: &Gauges) -> String {
    let now = operation.engine.now();
    let mut page = Page::default();
    page.family("kop_build_info", "gauge", "Version of the engine.").sample(
        "kop_build_info",
        &[("version", ENGINE_VERSION)],
        1,
    );
    page.gauge("kop_tenants", "Tenants that are loaded.", operation.engine.tenants().all().len());
    open(&mut page, gauges, now);
    causes(&mut page, gauges, now);
    steps(&mut page, operation);
    traces(&mut page, operation);
    machine(&mut page, operation, now);
    page.0
}

fn age(since: Zeitpunkt, now: Zeitpunkt) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

/// What is under way, and for how long.
fn open(page: &mut Page, gauges: &Gauges, now: Zeitpunkt) {
    page.family("kop_submissions_unprocessed", "gauge", "Submissions that wait to be processed.");
    for one in &gauges.submissions {
        page.sample("kop_submissions_unprocessed", &[("mandant", one.tenant.as_str())], one.count);
    }
    page.family("kop_oldest_unprocessed_seconds", "gauge", "Age of the oldest submission that waits.");
    for one in &gauges.submissions {
        let labels = [("mandant", one.tenant.as_str())];
        page.sample("kop_oldest_unprocessed_seconds", &labels, age(one.oldest, now));
    }
    page.family("kop_deliveries", "gauge", "Deliveries that are not done, by state.");
    let mut oldest: BTreeMap<(&str, &str), Zeitpunkt> = BTreeMap::new();
    for one in &gauges.deliveries {
        let lane = (one.tenant.as_str(), one.lane.as_str());
        let labels = [("mandant", lane.0), ("empfaenger", lane.1), ("zustand", one.state.as_str())];
        page.sample("kop_deliveries", &labels, one.count);
        oldest.entry(lane).and_modify(|at| *at = one.oldest.min(*at)).or_insert(one.oldest);
    }
    page.family(
        "kop_oldest_undelivered_seconds",
        "gauge",
        "Age of the oldest message that its receiver has not.",
    );
    for ((tenant, lane), since) in &oldest {
        let labels = [("mandant", *tenant), ("empfaenger", *lane)];
        page.sample("kop_oldest_undelivered_seconds", &labels, age(*since, now));
    }
    page.family(
        "kop_stuck_since_timestamp_seconds",
        "gauge",
        "When the oldest undelivered message was made.",
    );
    for ((tenant, lane), since) in &oldest {
        let labels = [("mandant", *tenant), ("empfaenger", *lane)];
        page.sample("kop_stuck_since_timestamp_seconds", &labels, since.as_second());
    }
}

/// Klärungsfälle by cause; what is beyond the bound is one cause.
fn causes(page: &mut Page, gauges: &Gauges, now: Zeitpunkt) {
    page.family("kop_work_items", "gauge", "Open Klaerungsfaelle by class and cause.");
    let mut told = 0;
    for one in &gauges.work_items {
        told += one.count;
        let labels = [
            ("mandant", one.tenant.as_str()),
            ("klasse", class(&one.fingerprint)),
            ("ursache", &one.fingerprint),
        ];
        page.sample("kop_work_items", &labels, one.count);
    }
    if gauges.open_work_items > told {
        let labels = [("mandant", ""), ("klasse", ""), ("ursache", "andere")];
        page.sample("kop_work_items", &labels, gauges.open_work_items - told);
    }
    if let Some(oldest) = gauges.work_items.iter().map(|one| one.oldest).min() {
        page.gauge("kop_oldest_work_item_seconds", "Age of the oldest open Klaerungsfall.", age(oldest, now));
    }
}

/// The class of a cause, from its code's page.
pub(crate) fn class(fingerprint: &str) -> &'static str {
    match codes::page(fingerprint.split('|').next().unwrap_or_default()).map(|page| page.class) {
        Some(Class::Fachlich) => "fachlich",
        Some(Class::Zuordnung) => "zuordnung",
        Some(Class::Struktur) => "struktur",
        Some(Class::Technisch) | None => "technisch",
    }
}

fn steps(page: &mut Page, operation: &Operation) {
    let metrics = operation.engine.metrics();
    page.family("kop_attempts_total", "counter", "Attempts to deliver by how they ended, since the start.");
    for (outcome, count) in metrics.outcomes() {
        page.sample("kop_attempts_total", &[("ausgang", outcome)], count);
    }
    page.family("kop_source_payloads_total", "counter", "What pull sources brought, since the start.");
    for ((tenant, source, seen), count) in metrics.sources() {
        let labels = [("mandant", tenant.as_str()), ("quelle", &source), ("ergebnis", seen.as_str())];
        page.sample("kop_source_payloads_total", &labels, count);
    }
    page.family("kop_step_seconds", "histogram", "How long the steps of a message take.");
    for (step, histogram) in [
        ("annahme", &metrics.accept),
        ("virenpruefung", &metrics.scan),
        ("zuordnung", &metrics.map),
        ("pruefung", &metrics.validate),
        ("zustellung", &metrics.deliver),
    ] {
        durations(page, step, histogram);
    }
}

/// What became of the spans of traces, where there are any.
fn traces(page: &mut Page, operation: &Operation) {
    let Some(spans) = operation.engine.span_numbers() else { return };
    page.family("kop_spans_exported_total", "counter", "Spans that the collector took, since the start.");
    page.sample("kop_spans_exported_total", &[], spans.exported);
    page.family("kop_spans_dropped_total", "counter", "Spans that were dropped, by reason, since the start.");
    for (reason, count) in
        [("kein_platz", spans.no_room), ("nicht_erreicht", spans.not_reached), ("abgelehnt", spans.refused)]
    {
        page.sample("kop_spans_dropped_total", &[("grund", reason)], count);
    }
}

fn durations(page: &mut Page, step: &str, histogram: &Histogram) {
    let (buckets, count, sum) = histogram.read();
    for (bound, below) in BUCKETS.iter().zip(buckets) {
        page.sample("kop_step_seconds_bucket", &[("schritt", step), ("le", &bound.to_string())], below);
    }
    page.sample("kop_step_seconds_bucket", &[("schritt", step), ("le", "+Inf")], count);
    page.sample("kop_step_seconds_sum", &[("schritt", step)], sum);
    page.sample("kop_step_seconds_count", &[("schritt", step)], count);
}

fn machine(page: &mut Page, operation: &Operation, now: Zeitpunkt) {
    let (seen, closed) = operation.gate.state();
    page.gauge(
        "kop_backlog",
        "Submissions and deliveries that are not done, counted up to the limit.",
        seen.backlog,
    );
    page.family("kop_intake_closed", "gauge", "1 while senders are asked to come later.");
    page.sample("kop_intake_closed", &[("grund", "rueckstau")], u8::from(closed.backlog));
    page.sample("kop_intake_closed", &[("grund", "platte")], u8::from(closed.disk));
    page.gauge("kop_disk_free_bytes", "Free space of the data folder's disk.", seen.free);
    page.gauge("kop_disk_size_bytes", "Size of the data folder's disk.", seen.total);
    if let Some(resident) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Resident memory of the process.", resident);
    }
    match operation.engine.scanner_state() {
        ScannerState::NotSetUp => {}
        ScannerState::Up => page.gauge("kop_scanner_up", "1 when the virus scanner answered last.", 1),
        ScannerState::Down { .. } => {
            page.gauge("kop_scanner_up", "1 when the virus scanner answered last.", 0);
        }
    }
    page.family("kop_expiry_days", "gauge", "Days until a certificate or key of a receiver runs out.");
    for (tenant, receiver, expiry) in operation.engine.expiries() {
        let labels = [("mandant", tenant.as_str()), ("empfaenger", &receiver), ("was", &expiry.what)];
        let days = expiry.at.duration_since(now).as_secs_f64() / 86_400.0;
        page.sample("kop_expiry_days", &labels, format!("{days:.2}"));
    }
}

/// Linux tells it in pages (proc(5)).
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.sample("a", &[("b", "x\"} 1\nevil \\ 2")], 3);
        assert_eq!(page.0, "a{b=\"x\\\"} 1evil \\\\ 2\"} 3\n");
        assert_eq!(class("KOP-F040|||"), "fachlich");
        assert_eq!(class("unbekannt"), "technisch");
    }
}
