// SPDX-License-Identifier: EUPL-1.2
//! A receiver that does not answer: its lane pauses and keeps its order, the others go on, a person is told, and
//! everything arrives once it is back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use kop_tests::{Error, Instance, wait_until};

use crate::{CONFIG, send_bauantrag};

const APPLICATIONS: usize = 6;

/// A receiver that is down until told otherwise, and remembers which deliveries it saw and which it took.
#[derive(Default)]
struct Receiver {
    up: AtomicBool,
    seen: Mutex<Vec<String>>,
    taken: Mutex<Vec<String>>,
}

impl Receiver {
    fn list(of: &Mutex<Vec<String>>) -> Vec<String> {
        of.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take_in(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, _: Bytes) -> StatusCode {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    receiver.seen.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
    if !receiver.up.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    receiver.taken.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    StatusCode::CREATED
}

#[tokio::test]
async fn a_lane_pauses_alone_keeps_its_order_and_tells_a_person() -> Result<(), Error> {
    let receiver = Arc::new(Receiver::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/annahme", post(take_in)).with_state(receiver.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
            &format!(
                "art = \"http\"\nurl = \"http://{address}/annahme\"\nwiederholbar = true\n\
                 [empfaenger.bauaufsicht.wiederholung]\nerste_pause_s = 1\nlaengste_pause_s = 1\nmelden_nach_s = 3\n\
                 [empfaenger.bauaufsicht.bahn]\nreihenfolge = \"empfaenger\"\n\
                 unterbrechung = {{ nach_fehlern = 2, erste_pause_s = 4, laengste_pause_s = 4 }}"
            ),
        )
    })?;
    let server = instance.serve().await?;
    for number in 0..APPLICATIONS {
        send_bauantrag(&server, |form| {
            form.replace(
                "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521",
                &format!("c1f0b7d4-0000-0000-0000-{number:012}"),
            )
        })
        .await?;
    }
    let others = wait_until("Die anderen gehen weiter", Duration::from_secs(20), || {
        Ok((instance.delivered("dms")?.len() == APPLICATIONS).then_some(()))
    });
    others.await?;
    let first = "MUST-2026-000001";
    wait_until("Jemand erfährt davon", Duration::from_secs(20), || {
        let shown = instance.kop_json(&["messages", "show", first])?;
        let told = shown["klaerungsfaelle"].as_array().into_iter().flatten();
        Ok(told.into_iter().any(|item| item["diagnostics"][0]["code"] == "KOP-F022").then_some(()))
    })
    .await?;
    let said = |number: &str| -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&instance.kop(&["messages", "show", number])?.stdout).into_owned())
    };
    assert!(said("MUST-2026-000002")?.contains("wartet, bis frühere Sendungen zugestellt sind"));
    wait_until("Die Bahn pausiert", Duration::from_secs(20), || {
        Ok(said(first)?.contains("der Empfänger antwortet nicht, nächste Probe").then_some(()))
    })
    .await?;
    let seen = Receiver::list(&receiver.seen);
    assert!(
        seen.iter().all(|key| *key == seen[0]),
        "only the first is tried while it has not arrived: {seen:?}"
    );
    assert!(seen.len() < 10, "a lane that pauses leaves its receiver alone: {seen:?}");

    receiver.up.store(true, Ordering::Relaxed);
    let rows = instance.settled(APPLICATIONS).await?;
    serving.abort();
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "told or not, all is settled: {rows:#?}");
    let mut expected = Vec::new();
    for number in 1..=APPLICATIONS {
        let shown = instance.kop_json(&["messages", "show", &format!("MUST-2026-{number:06}")])?;
        let delivery = shown["zustellungen"].as_array().into_iter().flatten();
        let delivery =
            delivery.into_iter().find(|one| one["lane"] == "bauaufsicht").ok_or("keine Zustellung")?;
        expected.push(delivery["delivery_id"].as_str().unwrap_or_default().to_owned());
    }
    let taken = Receiver::list(&receiver.taken);
    assert_eq!(taken, expected, "in the order of the applications");
    Ok(())
}
