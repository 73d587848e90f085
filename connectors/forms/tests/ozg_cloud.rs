// SPDX-License-Identifier: EUPL-1.2
//! OZG-Cloud form-data from request to internal document, with an inbox in memory.

mod support;

use std::{fmt::Write, sync::atomic::Ordering};

use bytes::Bytes;
use http::StatusCode;
use kop_connector_api::HttpIntake;
use kop_core::{FeldTyp, Inhalt, eingang::Vertrauensniveau};
use kop_forms::ozg_cloud::{OzgCloudAdapter, OzgCloudIntake, PackedFile, pack};
use serde_json::{Value, json};
use support::{Call, FakeInbox, fixture, long_body, sample, text, wert};

fn file(field: &str, name: &str, content: &'static [u8]) -> PackedFile {
    PackedFile {
        field: field.into(),
        name: name.into(),
        content_type: "application/pdf".into(),
        content: Bytes::from_static(content),
    }
}

/// More than a megabyte.
static BIG: &[u8] = &[0; 1_500_000];

fn answer(response: &kop_connector_api::IntakeResponse) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn a_bauantrag_arrives_whole_whatever_the_pieces() {
    let inbox = FakeInbox::new(OzgCloudAdapter);
    let (content_type, body) = pack(
        &fixture("bauantrag/ozg-cloud/payload.json"),
        &[
            file("representation", "Antrag.pdf", b"%PDF-1.7 Antrag"),
            file("attachment", "Lageplan_Blatt_1_pdf", b"%PDF-1.7 \r\n--kop Lageplan"),
            file("attachment", "../../Grundriss EG.pdf", b""),
        ],
    );
    let mut first = None;
    for piece in [1, 2, 3, 7, 64, 1000, usize::MAX] {
        let call = Call::post(&content_type, "").pieces(body.clone(), piece);
        let response = call.send(&OzgCloudIntake::new(), &inbox).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        assert_eq!(
            answer(&response),
            json!({"transactionId": "7f1d6a52-3a0f-4e0e-9f0b-5d1c6c1f0a11", "vorgang": {
                "vorgangId": answer(&response)["vorgang"]["vorgangId"], "vorgangNummer": "KOP-2026-000001",
                "status": "NEU", "statusSince": "2026-11-24T10:00:00Z"}})
        );
        let (intake, normalised) = inbox.last();
        let again = (text(&response).to_owned(), normalised);
        assert_eq!(first.get_or_insert(again.clone()), &again, "pieces of {piece}");
        assert_eq!(inbox.bytes(&intake.parts[1].blob), &b"%PDF-1.7 \r\n--kop Lageplan"[..]);
    }

    let (_, read) = inbox.last();
    assert_eq!(read.form_id.as_deref(), Some("bauantrag"));
    assert_eq!(read.services, ["99012012001000"]);
    assert_eq!(read.authority.organisationseinheit.as_deref(), Some("197008"));
    assert_eq!(read.extra["kuenftigesMerkmal"], r#"{"version":2}"#);
    let account = read.account.unwrap();
    assert_eq!(account.vertrauensniveau, Vertrauensniveau::Substanziell);
    assert_eq!(account.vertrauensniveau_roh.as_deref(), Some("STORK-QAA-Level-3"));
    let applicant = read.applicant.unwrap();
    assert_eq!(applicant.nachname.as_deref(), Some("Petersen-Öztürk"));
    assert_eq!(applicant.hausnummer.as_deref(), Some("12a"));

    let kosten = wert(&read.fields, "vorhaben/baukosten");
    assert_eq!((kosten.text.as_str(), kosten.typ), ("284500.50", FeldTyp::Zahl));
    assert_eq!(wert(&read.fields, "vorhaben/denkmal").typ, FeldTyp::Wahrheit);
    assert_eq!(wert(&read.fields, "antragsteller/pers_geburtsdatum").typ, FeldTyp::Datum);
    assert_eq!(wert(&read.fields, "grundstueck/flurstueck[2]/zaehler").text, "13");
    assert_eq!(wert(&read.fields, "grundstueck/Flurstückskennzeichen.1").text, "011056-003-00012/004");
    assert_eq!(wert(&read.fields, "Erklärungen/bemerkung").text, "");
    assert_eq!(wert(&read.fields, "vorhaben/lageplan").anlage, Some(0));
    assert_eq!(read.consents.len(), 1);
    assert_eq!(read.representations.len(), 1);
    assert_eq!(read.attachments[1].sicherer_name(), "Grundriss EG.pdf");
}

#[tokio::test]
async fn all_fixtures_and_the_vendors_sample_are_read() {
    let mut payloads: Vec<Vec<u8>> = ["bauantrag", "sondernutzung", "hundesteuer"]
        .map(|form| fixture(&format!("{form}/ozg-cloud/payload.json")))
        .into();
    payloads.extend(sample("ozg-cloud-form-data/formDataTest.anonymised.json"));
    let inbox = FakeInbox::new(OzgCloudAdapter);
    for payload in payloads {
        let (content_type, body) = pack(&payload, &[]);
        let response = Call::post(&content_type, body).send(&OzgCloudIntake::new(), &inbox).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
        let (_, read) = inbox.last();
        assert!(read.remarks.is_empty() && read.applicant.is_some(), "{:?}", read.remarks);
    }
    let all = inbox.accepted.lock().unwrap();
    assert_eq!(all[1].1.authority.organisationseinheit.as_deref(), Some("197113"));
    assert_eq!(
        all[1].1.applicant.as_ref().unwrap().firma.as_deref(),
        Some("Gerüstbau Nørgaard & Söhne GmbH")
    );
    assert!(!all[1].1.consents[0].erteilt);
    assert_eq!(wert(&all[2].1.fields, "hund/chipnummer").text, "276098106123456");
    if let Some((_, sample)) = all.get(3) {
        let applicant = sample.applicant.as_ref().unwrap();
        assert_eq!(applicant.nachname.as_deref(), Some("Simpson"));
        assert_eq!(applicant.ort.as_deref(), Some("TÖNNING"));
    }
}

#[tokio::test]
async fn a_part_without_file_name_or_type_and_a_flipped_type_are_fine() {
    let inbox = FakeInbox::new(OzgCloudAdapter);
    let body = "--x\r\nContent-Disposition: form-data; name=\"attachment\"; filename=\"a.xml\"\r\n\r\n<a/>\r\n\
                --x\r\nContent-Disposition: form-data; name=\"formData\"\r\n\r\n\
                \u{feff}{\"formData\":[{\"name\":\"n\",\"numberValue\":\"Keine Angabe\"},{\"name\":\"z\",\"stringValue\":null,\
                \"numberValue\":1.10},{\"name\":\"g\",\"formItems\":[],\"neu\":{}}],\"neu\":[1]}\r\n--x--";
    let response =
        Call::post("multipart/form-data;boundary=x", body).send(&OzgCloudIntake::new(), &inbox).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
    let (_, read) = inbox.last();
    assert_eq!(wert(&read.fields, "n").text, "Keine Angabe");
    assert_eq!(wert(&read.fields, "z").text, "1.10");
    assert!(matches!(read.fields[2].inhalt, Inhalt::Felder(_)));
    assert_eq!(read.remarks[0].code, "KOP-E014");
    assert!(answer(&response)["transactionId"].is_string());
}

#[tokio::test]
async fn bad_requests_are_told_in_german_and_store_nothing() {
    let inbox = FakeInbox::new(OzgCloudAdapter);
    let (content_type, good) =
        pack(&fixture("hundesteuer/ozg-cloud/payload.json"), &[file("attachment", "a.pdf", b"a")]);
    let json = |text: &str| pack(text.as_bytes(), &[]).1;
    let mut crowd = String::new();
    for _ in 0..1_100 {
        write!(crowd, "--kop-antrag\r\nContent-Disposition: form-data; name=\"attachment\"\r\n\r\n\r\n")
            .unwrap();
    }
    let twice = String::from_utf8(good.clone()).unwrap().replace("name=\"attachment\"", "name=\"formData\"");
    let none = String::from_utf8(good.clone()).unwrap().replace("name=\"formData\"", "name=\"data\"");
    let endless_header = format!("--kop-antrag\r\nX: {}", "x".repeat(2_000_000));
    let no_boundary = "x".repeat(2_000_000);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (&content_type, good[..good.len() - 30].to_vec(), 400, "KOP-E004"),
        (&content_type, Vec::new(), 400, "KOP-E004"),
        (&content_type, endless_header.into_bytes(), 400, "KOP-E004"),
        (&content_type, no_boundary.into_bytes(), 400, "KOP-E004"),
        ("multipart/form-data", good.clone(), 400, "KOP-E003"),
        ("application/json", good.clone(), 400, "KOP-E003"),
        (&content_type, crowd.into_bytes(), 413, "KOP-E005"),
        (&content_type, none.into_bytes(), 400, "KOP-E010"),
        (&content_type, twice.into_bytes(), 400, "KOP-E011"),
        (&content_type, json("{\"formData\":"), 400, "KOP-E012"),
        (&content_type, json("[]"), 400, "KOP-E012"),
        (&content_type, json("{\"control\":{}}"), 400, "KOP-E012"),
        (&content_type, json("{\"formData\":[{\"label\":\"ohne Namen\"}]}"), 400, "KOP-E012"),
        (&content_type, pack(b"{\"formData\":[{\"name\":\"\xff\"}]}", &[]).1, 400, "KOP-E012"),
        (&content_type, json(&"[".repeat(100_000)), 400, "KOP-E013"),
        (&content_type, json(&" ".repeat(17_000_000)), 413, "KOP-E013"),
    ];
    for (content_type, body, status, code) in cases {
        let response = Call::post(content_type, body).send(&OzgCloudIntake::new(), &inbox).await;
        let body = answer(&response);
        assert_eq!((response.status().as_u16(), body["fehler"]["code"].as_str().unwrap()), (status, code));
        assert!(body["fehler"]["meldung"].as_str().unwrap().ends_with('.'), "{body}");
    }
    let small = Call::post(&content_type, pack(b"{}", &[file("attachment", "a", BIG)]).1)
        .settings(json!({"max_groesse_mb": 1}));
    let response = small.send(&OzgCloudIntake::new(), &inbox).await;
    assert_eq!(
        (response.status().as_u16(), answer(&response)["fehler"]["code"].as_str().unwrap()),
        (400, "KOP-E012")
    );
    let form = fixture("hundesteuer/ozg-cloud/payload.json");
    let large = Call::post(&content_type, pack(&form, &[file("attachment", "a", BIG)]).1)
        .settings(json!({"max_groesse_mb": 1}));
    let response = large.send(&OzgCloudIntake::new(), &inbox).await;
    assert_eq!(
        (response.status().as_u16(), answer(&response)["fehler"]["code"].as_str().unwrap()),
        (413, "KOP-E001")
    );
    let mut get = Call::post(&content_type, "");
    get.method = "GET";
    assert_eq!(get.send(&OzgCloudIntake::new(), &inbox).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(inbox.count(), 0);
}

#[tokio::test]
async fn two_hundred_megabytes_pass_with_little_memory() {
    let inbox = FakeInbox::counting(OzgCloudAdapter);
    let (content_type, packed) =
        pack(&fixture("hundesteuer/ozg-cloud/payload.json"), &[file("attachment", "gross.bin", b"MITTE")]);
    let middle = packed.windows(5).position(|window| window == b"MITTE").unwrap();
    let (begin, end) = (packed[..middle].to_vec(), packed[middle + 5..].to_vec());
    let piece = Bytes::from(b"x\r\n--kop-".repeat(50_000));
    let (body, peak) = long_body(&inbox, begin, piece, 200_000_000, end, (1, 1));
    let mut call = Call::post(&content_type, "");
    call.body = body;
    let response = call.send(&OzgCloudIntake::new(), &inbox).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
    assert!(inbox.written.load(Ordering::Relaxed) > 199_000_000);
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak < 2_000_000, "{peak} bytes were on the way at once");
}

#[test]
fn settings_are_checked() {
    let intake = OzgCloudIntake::new();
    assert!(intake.check(&json!({})).is_empty());
    assert!(
        intake.check(&json!({"benutzer": "afm", "passwort": "env:KOP_X", "max_groesse_mb": 10})).is_empty()
    );
    for bad in [
        json!({"max_grosse_mb": 1}),
        json!({"max_groesse_mb": 0}),
        json!({"max_formulardaten_mb": 65}),
        json!({"benutzer": "afm"}),
        json!({"benutzer": "a:b", "passwort": "env:X"}),
        json!({"benutzer": "afm", "passwort": "hunter2"}),
    ] {
        let problems = intake.check(&bad);
        assert_eq!(problems.len(), 1, "{bad}");
        assert!(!problems[0].de.contains("hunter2"));
    }
    assert_eq!(intake.schema().as_value()["additionalProperties"], json!(false));
}
