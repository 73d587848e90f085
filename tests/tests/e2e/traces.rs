// SPDX-License-Identifier: EUPL-1.2
//! Traces: one per application, from intake to receipt, over retries, restarts and processes; nothing of the
//! application in them; and a collector that is away, silent or rude costs spans and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use kop_store::testkit::TestPostgres;
use kop_tests::{Error, Instance, inputs, wait_until};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{CONFIG, send_bauantrag};

const LIMIT: Duration = Duration::from_secs(40);

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Collector {
    /// Starts one and points the instance at it.
    async fn of(instance: &Instance) -> Result<Self, Error> {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new().route("/v1/traces", post(collect)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        point(instance, &format!("http://{address}/v1/traces"), "")?;
        Ok(collector)
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, body)| body.clone()).collect()
    }

    fn spans(&self) -> Result<Vec<Span>, Error> {
        let mut spans = Vec::new();
        for body in self.bodies() {
            let whole: Value = serde_json::from_slice(&body)?;
            for resource in whole["resourceSpans"].as_array().into_iter().flatten() {
                let process = attributes(&resource["resource"]);
                assert_eq!(process["service.name"], "kop");
                let instance = process["service.instance.id"].clone();
                for span in resource["scopeSpans"][0]["spans"].as_array().into_iter().flatten() {
                    spans.push(Span { instance: instance.clone(), says: attributes(span), is: span.clone() });
                }
            }
        }
        Ok(spans)
    }

    /// Waits for spans that satisfy a condition; all that came.
    async fn wait(&self, what: &str, wanted: impl Fn(&[Span]) -> bool) -> Result<Vec<Span>, Error> {
        let waited = wait_until(what, LIMIT, || Ok(Some(self.spans()?).filter(|spans| wanted(spans)))).await;
        waited.map_err(|error| format!("{error}: {:#?}", self.spans()).into())
    }
}

async fn collect(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    collector.0.lock().unwrap_or_else(PoisonError::into_inner).push((headers, body));
    ([(header::CONTENT_TYPE, "application/json")], "{}")
}

fn point(instance: &Instance, url: &str, more: &str) -> Result<(), Error> {
    instance.edit("kop.toml", |text| format!("{text}\n[spuren]\nurl = \"{url}\"\n{more}"))
}

/// A span as it came, and its attributes.
struct Span {
    instance: String,
    says: BTreeMap<String, String>,
    is: Value,
}

impl Span {
    fn text(&self, key: &str) -> &str {
        self.is[key].as_str().unwrap_or_default()
    }

    fn said(&self, key: &str) -> &str {
        self.says.get(key).map_or("", String::as_str)
    }

    fn named(&self, name: &str) -> bool {
        self.text("name") == name
    }

    fn time(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or_default()
    }

    fn start(&self) -> u64 {
        self.time("startTimeUnixNano")
    }

    fn end(&self) -> u64 {
        self.time("endTimeUnixNano")
    }

    fn error(&self) -> Option<&str> {
        (self.is["status"]["code"] == 2).then(|| self.is["status"]["message"].as_str().unwrap_or_default())
    }
}

impl std::fmt::Debug for Span {
    /// One line, so that a test that fails shows a trace and not a wall.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (id, parent, name) = (self.text("spanId"), self.text("parentSpanId"), self.text("name"));
        write!(f, "{parent}/{id} {name} {:?} {:?}", self.error(), self.says)
    }
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let value = |value: &Value| match value.as_object().and_then(|one| one.values().next()) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    let attributes = of["attributes"].as_array().into_iter().flatten();
    attributes.map(|one| (one["key"].as_str().unwrap_or_default().to_owned(), value(&one["value"]))).collect()
}

/// One trace with this id: one first span, every other one below another, none before the one above it or outside of
/// the test's time, none twice.
fn is_a_tree(spans: &[Span], submission: &str, since: u64) {
    let trace = submission.replace('-', "");
    let ids: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.text("spanId"), span)).collect();
    assert_eq!(ids.len(), spans.len(), "no span twice: {spans:#?}");
    let roots: Vec<_> = spans.iter().filter(|span| span.is.get("parentSpanId").is_none()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert!(roots[0].named("annahme"));
    for span in spans {
        assert_eq!(span.text("traceId"), trace);
        assert!(since <= span.start() && span.start() <= span.end() && span.end() <= now(), "{span:#?}");
        if let Some(parent) = span.is["parentSpanId"].as_str() {
            let parent = ids.get(parent).unwrap_or_else(|| panic!("its parent is there: {span:#?}"));
            assert!(parent.start() <= span.start(), "{parent:#?} {span:#?}");
        }
    }
    // Whoever follows the parents comes to the first one.
    for span in spans {
        let mut at = span;
        for _ in 0..8 {
            if let Some(parent) = at.is["parentSpanId"].as_str() {
                at = ids[parent];
            }
        }
        assert!(std::ptr::eq(at, roots[0]), "{span:#?}");
    }
}

#[allow(clippy::disallowed_methods)] // the machine's time is what the program says
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// Every text of the application's values and labels, and its files' names.
fn secrets(form_data: &str) -> Result<BTreeSet<String>, Error> {
    fn texts(value: &Value, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(entries) => entries.values().for_each(|value| texts(value, out)),
            Value::Array(items) => items.iter().for_each(|value| texts(value, out)),
            Value::String(text) => {
                out.insert(text.clone());
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    texts(&serde_json::from_str(form_data)?, &mut found);
    let application = inputs::bauantrag()?;
    found.extend(application.attachments.into_iter().chain(application.representation).map(|file| file.name));
    // A word of few letters is found anywhere.
    found.retain(|text| text.chars().count() > 4);
    assert!(found.len() > 60, "{}", found.len());
    for personal in ["Mareike", "Thomsen-Yıldız", "Deichstraße"] {
        assert!(found.contains(personal));
    }
    Ok(found)
}

/// No byte that went out is one of the application's: no text of it anywhere, and no short number, which ids and times
/// may hold by chance, as a value.
fn holds_nothing_of_the_application(collector: &Collector) -> Result<(), Error> {
    let secrets = secrets(&inputs::bauantrag()?.form_data)?;
    // The form's id is the beginning of a mapping's name.
    let by_chance = |text: &&String| {
        *text == "bauantrag" || text.len() < 12 && text.chars().all(|c| c.is_ascii_hexdigit())
    };
    for body in collector.bodies() {
        let text = String::from_utf8_lossy(&body).into_owned();
        for secret in secrets.iter().filter(|text| !by_chance(text)) {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    for span in collector.spans()? {
        assert!(span.says.values().all(|value| !secrets.contains(value)), "{span:#?}");
    }
    Ok(())
}

/// Refuses the first attempt, never answers the second, takes every other one.
async fn take_in(State(count): State<Arc<Mutex<u32>>>, whole: Bytes) -> impl IntoResponse {
    assert!(!whole.is_empty());
    let number = {
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        *count
    };
    match number {
        1 => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response(),
        2 => std::future::pending().await,
        _ => (StatusCode::CREATED, "Mareike Thomsen-Yıldız").into_response(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_intake_to_receipt_over_a_retry_and_a_restart() -> Result<(), Error> {
    let since = now();
    let attempts = Arc::new(Mutex::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/annahme", post(take_in)).with_state(attempts.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
            &format!(
                "art = \"http\"\nurl = \"http://{address}/annahme\"\nwiederholbar = true\n\
                 [empfaenger.bauaufsicht.wiederholung]\nerste_pause_s = 1\nlaengste_pause_s = 1"
            ),
        )
    })?;
    let collector = Collector::of(&instance).await?;
    let mut server = instance.serve().await?;
    let answer = send_bauantrag(&server, str::to_owned).await?;
    let failed = |spans: &[Span]| spans.iter().any(|span| span.named("senden") && span.error().is_some());
    let receipt = |spans: &[Span]| spans.iter().filter(|span| span.named("quittung")).count();
    collector.wait("der erste Versuch ist gescheitert", |spans| failed(spans) && receipt(spans) == 1).await?;
    wait_until("der zweite Versuch läuft", LIMIT, || {
        Ok((*attempts.lock().unwrap_or_else(PoisonError::into_inner) == 2).then_some(()))
    })
    .await?;
    server.kill()?;
    let mut server = instance.serve().await?;
    collector.wait("beide Quittungen", |spans| receipt(spans) == 2).await?;
    // The same application once more: answered like the first one, and told in its trace.
    assert_eq!(send_bauantrag(&server, str::to_owned).await?, answer);
    let repeated = |span: &Span| span.named("annahme") && span.said("kop.wiederholt") == "true";
    let spans = collector.wait("die Wiederholung", |spans| spans.iter().any(repeated)).await?;

    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    let id = rows[0]["id"].as_str().ok_or("id")?;
    is_a_tree(&spans, id, since);
    let of = |name: &str| spans.iter().filter(|span| span.named(name)).collect::<Vec<_>>();
    assert_eq!((of("annahme").len(), of("verarbeitung").len(), of("sendung").len()), (2, 1, 2), "{spans:#?}");
    assert_eq!((of("zuordnung").len(), of("pruefung").len()), (2, 2));
    assert_eq!(of("verarbeitung")[0].said("kop.ausgang"), "verarbeitet");
    assert!(of("sendung").iter().all(|span| span.said("kop.mandant") == "musterstadt"));

    let mut sent: Vec<_> =
        of("senden").into_iter().filter(|span| span.said("kop.empfaenger") == "bauaufsicht").collect();
    sent.sort_by_key(|span| span.said("kop.versuch.nummer").to_owned());
    let told: Vec<_> = sent
        .iter()
        .map(|span| {
            (
                span.said("kop.versuch.nummer"),
                span.said("kop.ausgang"),
                span.error(),
                span.is["kind"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("1", "wiederholung", Some("KOP-Z013"), Some(3)),
            ("2", "unklar", Some("KOP-F018"), Some(3)),
            ("3", "zugestellt", None, Some(3))
        ]
    );
    assert_eq!(sent[1].said("kop.unterbrochen"), "true");
    assert!(sent.iter().all(|span| span.said("kop.zustellart") == "http"));
    assert_eq!(sent.iter().map(|span| span.text("parentSpanId")).collect::<BTreeSet<_>>().len(), 1);
    let end =
        of("quittung").into_iter().find(|span| span.said("kop.stufe") == "empfangen").ok_or("Quittung")?;
    assert_eq!(end.text("parentSpanId"), sent[2].text("spanId"));
    // Two processes took part, and the spans of both are in the one tree.
    assert_ne!(sent[0].instance, sent[1].instance);

    server.stop().await?;
    let bodies = collector.bodies();
    holds_nothing_of_the_application(&collector)?;
    for (headers, _) in collector.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        assert_eq!(headers["content-type"], "application/json");
    }
    assert_eq!(kop_tests::otlp(&bodies)?, Vec::<String>::new());
    Ok(())
}

// The commands block one thread, while the collector answers on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn klaerungsfaelle_and_acts_of_persons_are_told_by_codes_alone() -> Result<(), Error> {
    let since = now();
    let instance = Instance::of_example("musterstadt")?;
    let collector = Collector::of(&instance).await?;
    // One command each: what it did is told before it ends.
    instance.submit_bauantrag(|form| form.replace("\"Thomsen-Yıldız\"", "\"\""))?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let spans = collector.spans()?;
    is_a_tree(&spans, rows[0]["id"].as_str().ok_or("id")?, since);
    let run = spans.iter().find(|span| span.named("verarbeitung")).ok_or("Verarbeitung")?;
    assert_eq!((run.error(), run.said("kop.klaerungsfall")), (Some("KOP-M002"), "true"), "{run:#?}");
    assert_eq!(run.said("error.type"), "KOP-M002");
    let failed: Vec<_> =
        spans.iter().filter(|span| span.named("sendung") && span.error().is_some()).collect();
    assert_eq!(failed.len(), 1, "{spans:#?}");
    assert_eq!(failed[0].said("kop.empfaenger"), "bauaufsicht");
    let codes: Vec<&str> = spans.iter().filter_map(Span::error).collect();
    assert!(codes.iter().all(|code| code.len() == "KOP-M002".len() && code.starts_with("KOP-")), "{codes:?}");
    holds_nothing_of_the_application(&collector)?;

    // A person has another message made; the service delivers it later.
    instance.submit_bauantrag(|form| form.replace("c1f0b7d4-52c8", "c1f0b7d4-0000"))?;
    let rows = instance.settled(2).await?;
    let id = rows[0]["id"].as_str().ok_or("id")?.to_owned();
    let mut sent = rows[0]["sendungen"].as_array().into_iter().flatten();
    let message = sent.find(|one| one["empfaenger"] == "bauaufsicht").and_then(|one| one["id"].as_str());
    let message = message.ok_or("die Sendung an die Bauaufsicht")?.to_owned();
    let remap = ["messages", "remap", &message, "--version", "aktuelle", "--senden", "--trotzdem"];
    let output = instance.kop(&[&remap[..], &["--grund", "Mareike Thomsen-Yıldız bat darum"]].concat())?;
    assert!(output.status.success(), "{output:?}");
    let mut server = instance.serve().await?;
    instance.settled(2).await?;
    // Orderly stopped before the moment is over in which spans are gathered: what waits goes out all the same.
    server.stop().await?;
    let trace = id.replace('-', "");
    let spans: Vec<Span> =
        collector.spans()?.into_iter().filter(|span| span.text("traceId") == trace).collect();
    is_a_tree(&spans, &id, since);
    let instead =
        spans.iter().find(|span| span.says.contains_key("kop.ersetzt")).ok_or("die neue Sendung")?;
    assert_eq!(instead.said("kop.ersetzt"), message);
    let below = |parent: &str| spans.iter().filter(|span| span.text("parentSpanId") == parent).count();
    assert_eq!(below(instead.text("spanId")), 3, "script, writing and one attempt: {spans:#?}");
    holds_nothing_of_the_application(&collector)?;
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_or_silent_costs_spans_and_nothing_else() -> Result<(), Error> {
    // One refuses connections, one takes them and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    for address in ["127.0.0.1:9".to_owned(), silent.local_addr()?.to_string()] {
        let instance = Instance::of_example("musterstadt")?;
        point(&instance, &format!("http://{address}/v1/traces"), "warteschlange = 8\n")?;
        let mut server = instance.serve().await?;
        let begun = Instant::now();
        let (mut count, mut dropped, mut numbers) = (0, 0, String::new());
        while dropped == 0 {
            assert!(begun.elapsed() < LIMIT, "{numbers}");
            send_bauantrag(&server, |form| form.replace("c1f0b7d4", &format!("{count:08x}"))).await?;
            count += 1;
            let rows = instance.settled(count).await?;
            assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
            numbers = server.ask("/metrics").await?.1;
            let full = "kop_spans_dropped_total{grund=\"kein_platz\"} ";
            dropped = numbers
                .lines()
                .find_map(|line| line.strip_prefix(full)?.parse::<u64>().ok())
                .ok_or("kop_spans_dropped_total")?;
        }
        assert_eq!(instance.delivered("bauaufsicht")?.len(), count);
        assert!(numbers.contains("kop_spans_exported_total 0\n"), "{numbers}");
        assert_eq!(server.ask("/readyz").await?.0, 200);
        let begun = Instant::now();
        server.stop().await?;
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        let told = server.printed().matches("Traces do not reach their collector").count();
        assert!(told <= 1, "told once, not at every try: {told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_in_and_whoever_works_add_to_one_trace() -> Result<(), Error> {
    let since = now();
    let Some(postgres) = TestPostgres::start() else { return Ok(()) };
    let instance = Instance::of_example("musterstadt")?.with_database(&postgres.database("kop"), None)?;
    let collector = Collector::of(&instance).await?;
    let intake = instance.serve_as("eingang", &[]).await?;
    let _worker = instance.serve_as("arbeit", &[]).await?;
    send_bauantrag(&intake, str::to_owned).await?;
    let whole = |spans: &[Span]| {
        spans.iter().filter(|span| span.named("quittung")).count() == 2
            && spans.iter().any(|span| span.named("annahme"))
    };
    let spans = collector.wait("die ganze Spur", whole).await?;
    let rows = instance.settled(1).await?;
    is_a_tree(&spans, rows[0]["id"].as_str().ok_or("id")?, since);
    let of = |named: bool| -> BTreeSet<&str> {
        let spans = spans.iter().filter(|span| span.named("annahme") == named);
        spans.map(|span| span.instance.as_str()).collect()
    };
    assert_eq!((of(true).len(), of(false).len()), (1, 1), "{spans:#?}");
    assert!(of(true).is_disjoint(&of(false)));
    Ok(())
}

#[tokio::test]
async fn mistakes_in_the_settings_are_told_with_their_place() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let before = fs::read_to_string(instance.folder().join("kop.toml"))?;
    for (section, said) in [
        ("url = \"http://127.0.0.1:4318\"\n", "/v1/traces"),
        ("url = \"http://sammler.example/v1/traces\"\n", "unverschluesselt"),
        ("url = \"http://127.0.0.1:4318/v1/traces\"\nheader = \"x\"\n", "„header“ gibt es nicht"),
    ] {
        fs::write(instance.folder().join("kop.toml"), format!("{before}\n[spuren]\n{section}"))?;
        let output = instance.kop(&["check", "--lang", "de"])?;
        let told =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{told}");
        assert!(told.contains(said) && told.contains("KOP-K006") && told.contains("kop.toml"), "{told}");
    }
    Ok(())
}
