// SPDX-License-Identifier: EUPL-1.2
//! A receiver that speaks HTTP: it gets the same bytes under the same key at every attempt, and its failures are
//! tried again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use kop_tests::{Error, Instance, wait_until};

use crate::{CONFIG, send_bauantrag};

type Requests = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Refuses the first attempt as an overloaded server does, takes every other one.
async fn take_in(State(requests): State<Requests>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    requests.push((headers, body));
    if requests.len() == 1 {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response();
    }
    (StatusCode::CREATED, [(header::LOCATION, "/vorgaenge/4711")]).into_response()
}

#[tokio::test]
async fn an_http_receiver_gets_the_same_bytes_until_it_takes_them() -> Result<(), Error> {
    let requests = Requests::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/annahme", post(take_in)).with_state(requests.clone());
    let receiver = tokio::spawn(async move { axum::serve(listener, app).await });

    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
            &format!(
                "art = \"http\"\nurl = \"http://{address}/annahme\"\n\
                 anmeldung = {{ art = \"bearer\", token = \"env:KOP_TEST_TOKEN\" }}\n\
                 [empfaenger.bauaufsicht.wiederholung]\nerste_pause_s = 1\nlaengste_pause_s = 1"
            ),
        )
    })?;
    let server = instance.serve_with(&[("KOP_TEST_TOKEN", "geheim-4711"), ("KOP_LOG", "trace")]).await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    receiver.abort();

    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(requests.len(), 2);
    let (first, second) = (&requests[0], &requests[1]);
    assert_eq!(first.0["idempotency-key"], second.0["idempotency-key"]);
    assert_eq!(first.0["authorization"], "Bearer geheim-4711");
    assert_eq!(first.1, second.1, "the second attempt sends the stored bytes");
    let body = String::from_utf8_lossy(&first.1).into_owned();
    assert!(body.contains("name=\"nachricht\"") && body.contains("baugenehmigung.antrag.0200"), "{body}");
    assert_eq!(body.matches("name=\"anlage\"").count(), 3, "PDF and two Bauvorlagen");

    let shown = instance.kop_json(&["messages", "show", "MUST-2026-000001"])?;
    let deliveries = shown["zustellungen"].as_array().ok_or("Zustellungen")?;
    let delivery = deliveries.iter().find(|one| one["lane"] == "bauaufsicht").ok_or("bauaufsicht")?;
    assert_eq!(delivery["attempts"], 2, "{delivery:#}");
    assert_eq!(delivery["receipt"]["reference"], "/vorgaenge/4711", "{delivery:#}");
    assert!(!server.printed().contains("geheim-4711"));
    assert!(!shown.to_string().contains("geheim-4711"));
    Ok(())
}

#[tokio::test]
async fn a_changed_configuration_is_taken_over_and_a_broken_one_is_not() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    instance
        .edit(CONFIG, |text| text.replace("empfaenger = [\"bauaufsicht\"]", "empfaenger = [\"niemand\"]"))?;
    server.reload()?;
    wait_until("die fehlerhafte Fassung ist gemeldet", Duration::from_secs(20), || {
        Ok(server.printed().contains("Not reloaded").then_some(()))
    })
    .await?;
    // The door is still open, and the old version still delivers.
    send_bauantrag(&server, str::to_owned).await?;
    assert_eq!(instance.settled(1).await?[0]["zustand"], "zugestellt");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);

    instance
        .edit(CONFIG, |text| text.replace("empfaenger = [\"niemand\"]", "empfaenger = [\"strassenbau\"]"))?;
    server.reload()?;
    wait_until("die neue Fassung ist übernommen", Duration::from_secs(20), || {
        Ok(server.printed().contains("broken=0").then_some(()))
    })
    .await?;
    send_bauantrag(&server, |form| form.replace("c1f0b7d4-52c8", "c1f0b7d4-0000")).await?;
    instance.settled(2).await?;
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    assert_eq!(instance.delivered("strassenbau")?.len(), 1);
    Ok(())
}
