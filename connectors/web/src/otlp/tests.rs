// SPDX-License-Identifier: EUPL-1.2
//! Collectors that are kind, busy, dumb, silent, lying or away: what becomes of spans, and that nobody waits.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kop_connector_api::{SpanNumbers, Traces};
use kop_core::{
    FixedClock, Span, SubmissionId,
    trace::{Fact, SpanId, SpanKind, TraceId},
};
use serde_json::{Value, json};

use super::{Exporter, Resource, TracePlan, export::Patience, open};
use crate::tests::receiver::{Manner, Receiver, Request, answer};

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(20);

const QUICK: Patience = Patience {
    gather: Duration::from_millis(100),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(1500),
    keep: Duration::from_secs(5),
    flush: Duration::from_secs(2),
};

fn span(number: u32) -> Span {
    let at = "2026-03-01T10:00:00Z".parse().unwrap();
    Span {
        trace: TraceId::of(SubmissionId("0190f3a2-7c1e-7d4b-8a55-0123456789ab".parse().unwrap())),
        id: SpanId::of("versuch", &[&number.to_be_bytes()]),
        parent: None,
        name: "senden",
        kind: SpanKind::Client,
        start: at,
        end: at,
        facts: vec![Fact::Number(number)],
        error: None,
    }
}

fn to(url: &str, more: &Value) -> (Arc<dyn Traces>, Exporter) {
    let mut settings = json!({"url": url, "zeitlimit_sekunden": 1});
    settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let resource = Resource { name: "kop", version: "1", instance: "a".into() };
    let clock = Arc::new(FixedClock::at("2026-03-01T10:00:00Z".parse().unwrap()));
    let plan = TracePlan::read(&settings).unwrap();
    let (traces, mut exporter) = open(plan, Path::new("."), resource, clock).unwrap();
    exporter.patience = QUICK;
    (traces, exporter)
}

/// Waits until the numbers are as wanted.
async fn until(traces: &Arc<dyn Traces>, wanted: impl Fn(SpanNumbers) -> bool) -> SpanNumbers {
    let begun = Instant::now();
    loop {
        let numbers = traces.numbers();
        if wanted(numbers) {
            return numbers;
        }
        assert!(begun.elapsed() < LIMIT, "{numbers:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn closing(status: &str, headers: &str, body: &str) -> Manner {
    Manner::Answers(answer(status, &format!("Connection: close\r\n{headers}"), body))
}

fn numbers_in(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone();
    spans.iter().map(|span| span["attributes"][0]["value"]["intValue"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn spans_of_a_moment_go_in_one_request_with_its_credentials() {
    let collector = Receiver::start(&[closing("200 OK", "", "{}")]).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "geheim-4711\n").unwrap();
    let login = json!({"art": "bearer", "token": format!("file:{}", token.display())});
    let (traces, exporter) =
        to(&collector.url, &json!({"kopfzeilen": {"X-Scope-OrgID": "stadt"}, "anmeldung": login}));
    let exporting = exporter.start();
    (1..=3).for_each(|number| traces.record(span(number)));
    until(&traces, |numbers| numbers.exported == 3).await;
    // What comes later goes later, and what waits at the end goes at once.
    (4..=5).for_each(|number| traces.record(span(number)));
    exporting.finish().await;
    assert_eq!(traces.numbers(), SpanNumbers { exported: 5, ..SpanNumbers::default() });
    let requests = collector.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(numbers_in(&requests[0]), ["1", "2", "3"]);
    assert_eq!(numbers_in(&requests[1]), ["4", "5"]);
    assert_eq!(requests[0].line, "POST /eingang HTTP/1.1");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(requests[0].header("x-scope-orgid"), Some("stadt"));
    assert_eq!(requests[0].header("authorization"), Some("Bearer geheim-4711"));
}

#[test]
fn a_secret_that_is_not_there_is_told_at_the_start() {
    let settings = json!({
        "url": "http://127.0.0.1:4318/v1/traces", "anmeldung": {"art": "bearer", "token": "env:KOP_GIBT_ES_NICHT"}
    });
    let resource = Resource { name: "kop", version: "1", instance: "a".into() };
    let clock = Arc::new(FixedClock::at("2026-03-01T10:00:00Z".parse().unwrap()));
    let opened = open(TracePlan::read(&settings).unwrap(), Path::new("."), resource, clock);
    assert_eq!(opened.err().map(|problem| problem.code).as_deref(), Some("KOP-S030"));
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_when_it_wishes() {
    for status in
        ["429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"]
    {
        let busy = closing(status, "Retry-After: 1\r\n", "");
        let collector = Receiver::start(&[busy, closing("200 OK", "", "{}")]).await;
        let (traces, exporter) = to(&collector.url, &json!({}));
        let begun = Instant::now();
        let exporting = exporter.start();
        traces.record(span(1));
        until(&traces, |numbers| numbers.exported == 1).await;
        assert!(begun.elapsed() >= Duration::from_secs(1), "{status}: {:?}", begun.elapsed());
        let requests = collector.requests();
        assert_eq!(requests.len(), 2, "{status}");
        assert_eq!(requests[0].body, requests[1].body);
        exporting.finish().await;
    }
    // A wish for an hour is cut.
    let busy = closing("503 Service Unavailable", "Retry-After: 3600\r\n", "");
    let collector = Receiver::start(&[busy, closing("200 OK", "", "{}")]).await;
    let (traces, exporter) = to(&collector.url, &json!({}));
    let _exporting = exporter.start();
    traces.record(span(1));
    until(&traces, |numbers| numbers.exported == 1).await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let statuses =
        ["400 Bad Request", "401 Unauthorized", "404 Not Found", "413 Content Too Large", "500 Internal"];
    for status in statuses.into_iter().chain(["307 Temporary Redirect"]) {
        let collector =
            Receiver::start(&[closing(status, "Location: /anderswo\r\nRetry-After: 0\r\n", "\u{1b}[31m")])
                .await;
        let (traces, exporter) = to(&collector.url, &json!({}));
        let exporting = exporter.start();
        traces.record(span(1));
        traces.record(span(2));
        until(&traces, |numbers| numbers.refused == 2).await;
        exporting.finish().await;
        assert_eq!(collector.requests().len(), 1, "{status}");
        assert_eq!(traces.numbers(), SpanNumbers { refused: 2, ..SpanNumbers::default() });
    }
}

#[tokio::test]
async fn what_is_taken_in_part_is_counted_and_not_sent_again() {
    let part = |rejected: &str| {
        closing("200 OK", "", &format!(r#"{{"partialSuccess":{{"rejectedSpans":"{rejected}"}}}}"#))
    };
    // The second answer claims more than was sent.
    let collector = Receiver::start(&[part("1"), part("18446744073709551615")]).await;
    let (traces, exporter) = to(&collector.url, &json!({}));
    let exporting = exporter.start();
    (1..=3).for_each(|number| traces.record(span(number)));
    until(&traces, |numbers| numbers.exported == 2 && numbers.refused == 1).await;
    traces.record(span(4));
    until(&traces, |numbers| numbers.refused == 2).await;
    exporting.finish().await;
    assert_eq!(collector.requests().len(), 2);
    assert_eq!(traces.numbers(), SpanNumbers { exported: 2, refused: 2, ..SpanNumbers::default() });
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_after_a_while() {
    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (traces, mut exporter) = to(&format!("http://127.0.0.1:{port}/v1/traces"), &json!({}));
    exporter.patience.keep = Duration::from_millis(200);
    let exporting = exporter.start();
    traces.record(span(1));
    until(&traces, |numbers| numbers.not_reached == 1).await;
    traces.record(span(2));
    exporting.finish().await;
    assert_eq!(traces.numbers(), SpanNumbers { not_reached: 2, ..SpanNumbers::default() });
}

#[tokio::test]
async fn nobody_waits_for_a_collector_that_is_silent() {
    for manner in [Manner::KeepsSilent, Manner::Sleeps, Manner::HangsUp] {
        let collector = Receiver::start(&[manner]).await;
        let (traces, exporter) = to(&collector.url, &json!({"warteschlange": 10}));
        let exporting = exporter.start();
        let begun = Instant::now();
        for number in 0..10_000 {
            traces.record(span(number));
        }
        // Ten thousand without a single wait: the collector alone would take a second for one.
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        // All of them at once on one thread, so that the exporter saw none: ten fit.
        assert_eq!(traces.numbers().no_room, 9_990);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        exporting.finish().await;
        assert!(begun.elapsed() < QUICK.flush + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(traces.numbers().exported, 0);
    }
}

#[tokio::test]
async fn a_request_without_an_answer_ends() {
    for manner in [Manner::KeepsSilent, Manner::Sleeps] {
        let collector = Receiver::start(&[manner]).await;
        let (traces, mut exporter) = to(&collector.url, &json!({}));
        exporter.patience.keep = Duration::from_millis(100);
        let begun = Instant::now();
        let _exporting = exporter.start();
        traces.record(span(1));
        until(&traces, |numbers| numbers.not_reached == 1).await;
        // Its own limit is a second; the collector would hold the connection for twenty.
        assert!(begun.elapsed() < LIMIT / 2, "{:?}", begun.elapsed());
    }
}
