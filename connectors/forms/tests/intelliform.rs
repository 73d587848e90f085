// SPDX-License-Identifier: EUPL-1.2
//! intelliForm deposits from request to internal document, with an inbox in memory.

mod support;

use std::{
    fmt::Write,
    sync::{Arc, atomic::Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use kop_connector_api::{Adapter, HttpIntake, Refusal, RefusalKind};
use kop_core::{Diagnostic, FeldTyp, FixedClock, Inhalt, eingang::Vertrauensniveau};
use kop_forms::intelliform::{IntelliformAdapter, IntelliformIntake};
use serde_json::json;
use sha1::{Digest, Sha1};
use support::{
    Attached, Call, FakeInbox, MTOM, NOW, attached, attachments_of, envelope, long_body, mtom_deposit,
    plain_deposit, sample, text, wert,
};

const XML: &str = "text/xml; charset=utf-8";

fn intake() -> IntelliformIntake {
    IntelliformIntake::new(Arc::new(FixedClock::at(NOW.parse().unwrap())))
}

fn stored(response: &kop_connector_api::IntakeResponse) {
    assert_eq!(response.status(), StatusCode::OK, "{}", text(response));
    assert!(text(response).contains("depositResponse"), "{}", text(response));
}

#[tokio::test]
async fn base64_and_mtom_give_the_same_bauantrag() {
    let inbox = FakeInbox::new(IntelliformAdapter);
    let files = attachments_of("bauantrag");
    let plain = plain_deposit("v-1", "", &files);
    for piece in [1, 5, 77, 4096, usize::MAX] {
        stored(&Call::post(XML, "").pieces(plain.clone(), piece).send(&intake(), &inbox).await);
    }
    for (piece, cid) in [(1, "a"), (13, "b"), (usize::MAX, "c")] {
        let (content_type, body) = mtom_deposit("v-1", "", &files, cid);
        stored(&Call::post(&content_type, "").pieces(body, piece).send(&intake(), &inbox).await);
    }
    let all = inbox.accepted.lock().unwrap();
    for (other, normalised) in all.iter() {
        assert_eq!(other.envelope, all[0].0.envelope, "neither encoding nor Content-IDs make a difference");
        assert_eq!(normalised, &all[0].1);
        let keys = |intake: &kop_connector_api::Intake| {
            intake.parts.iter().map(|part| (part.key.clone(), part.blob)).collect::<Vec<_>>()
        };
        assert_eq!(keys(other), keys(&all[0].0));
    }
    let (taken, read) = &all[0];
    assert!(taken.envelope.len() < 5_000);
    assert_eq!(taken.parts.iter().filter(|part| part.inline.is_some()).count(), 2);
    for (part, sent) in taken.parts.iter().zip(&files) {
        assert_eq!(inbox.bytes(&part.blob), sent.content);
        assert_eq!(part.file_name.as_deref(), Some(sent.name.as_str()));
    }

    assert_eq!(read.vendor_id.as_deref(), Some("v-1"), "the envelope's id, not the inner one");
    assert_eq!(read.extra["t:id"], "20261120091500000001");
    assert_eq!(read.extra["for-routing-target"], "kop");
    assert_eq!(read.form_id.as_deref(), Some("test/formular"));
    assert_eq!(read.services, ["99012012001000"]);
    assert_eq!(read.authority.organisationseinheit.as_deref(), Some("197008"));
    assert_eq!(read.applicant.as_ref().unwrap().geburtsort.as_deref(), Some("Musterhafen"));
    let account = read.account.as_ref().unwrap();
    assert_eq!(
        (account.art.as_str(), account.vertrauensniveau),
        ("BAYERN_ID", Vertrauensniveau::Substanziell)
    );
    assert_eq!(account.postfach_id.as_deref(), Some("AAAAtestPostkorbA"));

    let art = wert(&read.fields, "vorhaben/art");
    assert_eq!((art.text.as_str(), art.anzeige.as_deref()), ("1", Some("Neubau")));
    let kosten = wert(&read.fields, "vorhaben/baukosten");
    assert_eq!(
        (kosten.text.as_str(), kosten.typ, kosten.einheit.as_deref()),
        ("284500.50", FeldTyp::Zahl, Some("EUR"))
    );
    assert_eq!(wert(&read.fields, "vorhaben/wohnflaeche").einheit.as_deref(), Some("m²"));
    assert_eq!(wert(&read.fields, "vorhaben/baubeginn").typ, FeldTyp::Datum);
    assert_eq!(
        wert(&read.fields, "grundstueck/flurstueck[2]/gemarkungsnummer").anzeige.as_deref(),
        Some("Musterkoog")
    );
    assert_eq!(wert(&read.fields, "grundstueck/flurstueck[2]/nenner").text, "");
    assert_eq!(wert(&read.fields, "entwurfsverfasser[1]/kammernummer").text, "SH-04711");
    assert!(matches!(
        &read.fields.iter().find(|field| field.name == "entwurfsverfasser").unwrap().inhalt,
        Inhalt::Wiederholungen(entries) if entries.len() == 1
    ));
    let names: Vec<_> = read.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names[2..6], ["bauherr", "vorhaben", "grundstueck", "entwurfsverfasser"], "the form's order");
    let json = serde_json::to_string(&read.fields).unwrap();
    assert!(!json.contains("intern_pruefung"), "hidden fields are no part of the declaration");
    assert_eq!(wert(&read.fields, "bauvorlagen[2]/file").anlage, Some(1));
    assert_eq!(read.attachments[1].name, "Grundriss EG.pdf");
    assert_eq!(
        read.representations.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        ["XML-Daten.xml", "XML-Datensatz (Rohform).xml", "Antrag.pdf"]
    );
    assert_eq!((read.consents[0].name.as_str(), read.consents[0].erteilt), ("datenschutz1", true));
    assert!(read.remarks.is_empty(), "{:?}", read.remarks);
}

#[tokio::test]
async fn the_other_forms_are_read() {
    let inbox = FakeInbox::new(IntelliformAdapter);
    for form in ["sondernutzung", "hundesteuer"] {
        let deposit = plain_deposit(form, "", &attachments_of(form));
        let call = Call::post(XML, deposit).header("soapaction", "\"http://example.org/deposit\"");
        stored(&call.send(&intake(), &inbox).await);
    }
    let all = inbox.accepted.lock().unwrap();
    let (sondernutzung, hund) = (&all[0].1, &all[1].1);
    assert_eq!(wert(&sondernutzung.fields, "verkehrsmittel[2]/verkehrsmittel").text, "bus");
    assert_eq!(wert(&sondernutzung.fields, "nutzung/art").anzeige.as_deref(), Some("Gerüst"));
    assert_eq!(sondernutzung.account.as_ref().unwrap().art, "BUNDID");
    assert_eq!(hund.account, None, "nobody was logged in");
    assert_eq!(hund.applicant.as_ref().unwrap().nachname.as_deref(), Some("Beispielsen"));
    assert_eq!(wert(&hund.fields, "hund[1]/rufname").text, "Käpt'n \"Blaubär\"");
    assert_eq!(wert(&hund.fields, "steuerbetrag").text, "090.00");
}

#[tokio::test]
async fn the_vendors_sample_is_read() {
    let Some(deposit) = sample("intelliform/deposit-request.anonymised.xml") else { return };
    let inbox = FakeInbox::new(IntelliformAdapter);
    stored(&Call::post(XML, deposit).send(&intake(), &inbox).await);
    let (_, read) = inbox.last();
    assert_eq!(read.vendor_id.as_deref(), Some("20230704500810793423"));
    let browser = wert(&read.fields, "browser");
    assert_eq!((browser.text.as_str(), browser.anzeige.as_deref()), ("2", Some("Edge")));
    assert_eq!(read.account.unwrap().vertrauensniveau, Vertrauensniveau::Niedrig);
    assert_eq!(read.consents.len(), 2);
    // The sample names an upload and leaves it out.
    assert_eq!(read.remarks.iter().map(|remark| remark.code.as_str()).collect::<Vec<_>>(), ["KOP-E033"]);
    assert_eq!((read.attachments.len(), read.representations.len()), (0, 2));
}

#[tokio::test]
async fn one_data_document_is_enough_and_none_is_refused() {
    let inbox = FakeInbox::new(IntelliformAdapter);
    let both = attachments_of("hundesteuer");
    stored(&Call::post(XML, plain_deposit("1", "", &both[..1])).send(&intake(), &inbox).await);
    assert_eq!(wert(&inbox.last().1.fields, "hund/rasse").anzeige, None);
    assert_eq!(wert(&inbox.last().1.fields, "hund/gefaehrlich").typ, FeldTyp::Wahrheit);
    stored(&Call::post(XML, plain_deposit("2", "", &both[1..2])).send(&intake(), &inbox).await);
    assert_eq!(wert(&inbox.last().1.fields, "hund/rasse").anzeige.as_deref(), Some("Border Terrier"));
    let broken = [both[0].clone(), attached("myForm-xml", "Rohform.xml", "text/xml", *b"<myForm><a>")];
    stored(&Call::post(XML, plain_deposit("3", "", &broken)).send(&intake(), &inbox).await);
    assert_eq!(inbox.last().1.remarks[0].code, "KOP-E032");

    // An upload that only bears the name of the data document is an upload.
    let upload = attached("assistants.1", "XML-Daten.xml", "text/xml", *b"<myForm><a>falsch</a></myForm>");
    for (files, code) in [
        (&both[2..], "KOP-E030"),
        (&[][..], "KOP-E030"),
        (&[upload][..], "KOP-E030"),
        (
            &[attached(
                "myForm-xml",
                "XML-Daten.xml",
                "text/xml",
                *b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            )][..],
            "KOP-E031",
        ),
        (&[attached("myForm-xml", "XML-Daten.xml", "text/xml", "<a>".repeat(100_000))][..], "KOP-E031"),
    ] {
        refused(Call::post(XML, plain_deposit("4", "", files)), &intake(), &inbox, code, 500).await;
    }
}

/// Sends a call that must fail, and checks the fault.
async fn refused(call: Call, intake: &IntelliformIntake, inbox: &Arc<FakeInbox>, code: &str, status: u16) {
    let before = inbox.count();
    let response = call.send(intake, inbox).await;
    check_fault(&response, code, status);
    assert_eq!(inbox.count(), before);
}

fn check_fault(response: &kop_connector_api::IntakeResponse, code: &str, status: u16) {
    let body = text(response);
    assert!(body.contains(&format!("<faultId>{code}-")), "expected {code}: {body}");
    assert_eq!(response.status().as_u16(), status, "{body}");
    assert!(body.contains("<userMessage>Ihr Antrag konnte"), "{body}");
    let fault = body.find("<S:Fault").unwrap();
    for child in [
        "<faultcode>",
        "<faultstring>",
        "<detail><b:ApplicationFault xmlns:b=\"http://xmlns.cit.de/intelliform/2009/webservices/backend\">",
    ] {
        assert!(body[fault..].contains(child), "{child} in {body}");
    }
}

#[tokio::test]
async fn bad_requests_are_faults_and_store_nothing() {
    let inbox = FakeInbox::new(IntelliformAdapter);
    let files = attachments_of("hundesteuer");
    let good = plain_deposit("v", "", &files);
    let content = |inner: &'static str| envelope("v", "", &files[..1], |_, _| inner.to_owned());
    let xop = |href: &str| {
        envelope("v", "", &files[..1], |_, _| {
            format!("<i:Include xmlns:i=\"http://www.w3.org/2004/08/xop/include\" href=\"{href}\"/>")
        })
    };
    let (_, mtom) = mtom_deposit("v", "", &files, "x");
    let mtom_text = String::from_utf8(mtom.clone()).unwrap();
    let root_only = |envelope: &str| {
        format!(
            "--uuid:grenze\r\nContent-ID: <root@kop.example>\r\nContent-Type: application/xop+xml\r\n\r\n{envelope}\r\n--uuid:grenze--"
        )
    };
    let bomb = "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>";
    let utf16: Vec<u8> = format!("\u{feff}{good}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut invalid = good.clone().into_bytes();
    let at = good.find("Musterstadt").unwrap();
    invalid[at] = 0xFF;
    let strange = |header: &str| plain_deposit("v", header, &files);
    let crowd = {
        let mut body = root_only(&good);
        body.truncate(body.len() - 2);
        for n in 0..1_100 {
            write!(body, "\r\nContent-ID: <n{n}>\r\n\r\n\r\n--uuid:grenze").unwrap();
        }
        body + "--"
    };
    let body_of = |operation: &str| {
        format!(
            "<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/'><S:Body>{operation}</S:Body></S:Envelope>"
        )
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (XML, good.as_bytes()[..good.len() / 2].to_vec(), "KOP-E002"),
        (XML, Vec::new(), "KOP-E002"),
        ("application/json", good.clone().into(), "KOP-E003"),
        ("multipart/related", mtom.clone(), "KOP-E003"),
        (MTOM, mtom[..mtom.len() - 40].to_vec(), "KOP-E004"),
        (MTOM, good.clone().into(), "KOP-E004"),
        (MTOM, crowd.into(), "KOP-E005"),
        (XML, "kein XML".into(), "KOP-E020"),
        (XML, "<a/>".into(), "KOP-E020"),
        (XML, "<a>".repeat(100_000).into(), "KOP-E020"),
        (XML, good.replace("<client>test", "<client><a>".repeat(80).as_str()).into(), "KOP-E020"),
        (XML, format!("<!DOCTYPE a SYSTEM 'file:///etc/passwd'>{}", body_of("")).into(), "KOP-E021"),
        (XML, good.replacen("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", bomb, 1).into(), "KOP-E021"),
        (XML, good.replace("<client>test", "<client>&xxe;").into(), "KOP-E021"),
        ("text/xml; charset=iso-8859-1", good.clone().into(), "KOP-E022"),
        (XML, good.replacen("UTF-8", "ISO-8859-1", 1).into(), "KOP-E022"),
        (XML, utf16, "KOP-E022"),
        (XML, invalid, "KOP-E022"),
        (XML, content("%%%").into(), "KOP-E023"),
        (XML, content("QUJDQ").into(), "KOP-E023"),
        (XML, content("QQ==QQ==").into(), "KOP-E023"),
        (XML, xop("cid:nirgends").into(), "KOP-E024"),
        (XML, xop("http://example.org/datei").into(), "KOP-E024"),
        (MTOM, root_only(&xop("cid:nirgends")).into(), "KOP-E024"),
        (MTOM, mtom_text.replace("<x1@kop.example>", "<x0@kop.example>").into(), "KOP-E024"),
        (
            XML,
            body_of("<b:prefill xmlns:b='http://xmlns.cit.de/intelliform/2009/webservices/backend'/>").into(),
            "KOP-E025",
        ),
        (
            XML,
            body_of("<b:loesche xmlns:b='http://xmlns.cit.de/intelliform/2009/webservices/backend'/>").into(),
            "KOP-E025",
        ),
        (
            XML,
            good.replace("schemas.xmlsoap.org/soap/envelope/", "www.w3.org/2003/05/soap-envelope").into(),
            "KOP-E026",
        ),
        ("application/soap+xml", good.clone().into(), "KOP-E026"),
        (
            XML,
            strange("<soap:Header><q:x xmlns:q='urn:q' soap:mustUnderstand='1'/></soap:Header>").into(),
            "KOP-E026",
        ),
    ];
    for (content_type, body, code) in cases {
        refused(Call::post(content_type, body), &intake(), &inbox, code, 500).await;
    }
    let small = Call::post(XML, plain_deposit("v", "", &[attached("x", "x.bin", "a/b", vec![0; 1_200_000])]))
        .settings(json!({"max_groesse_mb": 1}));
    refused(small, &intake(), &inbox, "KOP-E001", 500).await;
}

fn digest_header(user: &str, password: &str, nonce: &[u8], created: &str) -> String {
    let digest = Sha1::new().chain_update(nonce).chain_update(created).chain_update(password).finalize();
    token(
        user,
        "PasswordDigest",
        &STANDARD.encode(digest),
        &format!(
            "<w:Nonce>{}</w:Nonce><u:Created xmlns:u='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'>{created}</u:Created>",
            STANDARD.encode(nonce)
        ),
    )
}

fn token(user: &str, kind: &str, password: &str, rest: &str) -> String {
    format!(
        "<soap:Header><w:Security soap:mustUnderstand='1' xmlns:w='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>\
         <w:UsernameToken><w:Username>{user}</w:Username><w:Password Type='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#{kind}'>{password}</w:Password>{rest}\
         </w:UsernameToken></w:Security></soap:Header>"
    )
}

#[tokio::test]
async fn logins_are_checked_before_anything_is_stored() {
    let secret = std::env::temp_dir().join(format!("kop-forms-{}", std::process::id()));
    std::fs::write(&secret, "geheim&ß\n").unwrap();
    let settings = json!({"benutzer": "afm", "passwort": format!("file:{}", secret.display())});
    let inbox = FakeInbox::new(IntelliformAdapter);
    let intake = intake();
    let files: Vec<Attached> = attachments_of("hundesteuer");
    let with = |header: &str| Call::post(XML, plain_deposit("v", header, &files)).settings(settings.clone());
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:geheim&ß")));

    let right = digest_header("afm", "geheim&ß", b"nonce-1", "2026-11-24T09:58:00Z");
    stored(&with(&right).send(&intake, &inbox).await);
    stored(&with(&token("afm", "PasswordText", "geheim&amp;ß", "")).send(&intake, &inbox).await);
    stored(&with("").header("authorization", basic("afm")).send(&intake, &inbox).await);
    let (content_type, body) =
        mtom_deposit("v", &digest_header("afm", "geheim&ß", b"nonce-2", NOW), &files, "x");
    stored(&Call::post(&content_type, body).settings(settings.clone()).send(&intake, &inbox).await);
    let kept = String::from_utf8(inbox.last().0.envelope.to_vec()).unwrap();
    assert!(!kept.contains("UsernameToken"), "credentials are not kept: {kept}");

    let blobs = inbox.written.load(Ordering::Relaxed);
    for (header, code, status) in [
        (right.as_str(), "KOP-E027", 500), // replayed
        (&digest_header("afm", "falsch", b"nonce-3", NOW), "KOP-E008", 500),
        (&digest_header("fremd", "geheim&ß", b"nonce-4", NOW), "KOP-E008", 500),
        (&digest_header("afm", "geheim&ß", b"nonce-5", "2026-11-24T09:54:59Z"), "KOP-E027", 500),
        (&digest_header("afm", "geheim&ß", b"nonce-6", "2026-11-24T10:05:01Z"), "KOP-E027", 500),
        (&digest_header("afm", "geheim&ß", b"nonce-7", "gestern"), "KOP-E027", 500),
        (&token("afm", "PasswordDigest", "x", ""), "KOP-E027", 500),
        (&token("afm", "PasswordText", "falsch", ""), "KOP-E008", 500),
        (&token("afm", "Unbekannt", "geheim&amp;ß", ""), "KOP-E008", 500),
        ("", "KOP-E007", 401),
        ("<soap:Header/>", "KOP-E007", 401),
    ] {
        refused(with(header), &intake, &inbox, code, status).await;
    }
    refused(with(&right).header("authorization", basic("fremd")), &intake, &inbox, "KOP-E008", 401).await;
    assert_eq!(inbox.written.load(Ordering::Relaxed), blobs, "nothing was written for strangers");
    std::fs::remove_file(&secret).unwrap();
    let unset = with(&right).settings(json!({"benutzer": "afm", "passwort": "env:KOP_GIBT_ES_NICHT"}));
    refused(unset, &intake, &inbox, "KOP-E009", 500).await;
}

#[tokio::test]
async fn two_hundred_megabytes_pass_in_both_encodings_with_little_memory() {
    let mut files = attachments_of("hundesteuer");
    files.push(attached("assistants.G", "gross.bin", "application/octet-stream", *b"MITTE"));
    let split = |whole: &[u8], mark: &[u8]| {
        let at = whole.windows(mark.len()).position(|window| window == mark).unwrap();
        (whole[..at].to_vec(), whole[at + mark.len()..].to_vec())
    };
    for mtom in [false, true] {
        let inbox = FakeInbox::counting(IntelliformAdapter);
        let (content_type, (begin, end), piece, ratio) = if mtom {
            let (content_type, body) = mtom_deposit("v", "", &files, "x");
            (content_type, split(&body, b"MITTE"), b"y\r\n--uuid:".repeat(50_000), (1, 1))
        } else {
            let body = plain_deposit("v", "", &files).into_bytes();
            let mark = STANDARD.encode("MITTE");
            (
                XML.to_owned(),
                split(&body, mark.as_bytes()),
                b"QUJDREVGR0hJSktM\r\n".repeat(20_000),
                (16 * 3, 18 * 4),
            )
        };
        let total = if mtom { 200_000_000 } else { 300_000_000 };
        let (body, peak) = long_body(&inbox, begin, Bytes::from(piece), total, end, ratio);
        let mut call = Call::post(&content_type, "");
        call.body = body;
        stored(&call.send(&intake(), &inbox).await);
        assert!(inbox.written.load(Ordering::Relaxed) > 199_000_000);
        let peak = peak.load(Ordering::Relaxed);
        assert!(peak < 2_000_000, "{peak} bytes were on the way at once");
        assert!(
            inbox
                .last()
                .0
                .parts
                .iter()
                .all(|part| part.inline.as_ref().is_none_or(|kept| kept.len() < 10_000))
        );
    }
}

#[tokio::test]
async fn the_description_names_the_senders_address() {
    let inbox = FakeInbox::new(IntelliformAdapter);
    let mut call = Call::post("", "");
    call.method = "GET";
    call.query = "?wsdl";
    let response = call.send(&intake(), &inbox).await;
    assert_eq!(response.status(), StatusCode::OK);
    let wsdl = text(&response);
    assert!(
        wsdl.contains("location=\"https://kop.example/musterstadt/deposit\"")
            && !wsdl.contains("HashPassword")
    );
    assert!(wsdl.contains("name=\"depositData\"") && wsdl.contains("x:base64Binary"));
}

#[test]
fn refusals_of_the_server_are_faults_too() {
    let problem = Diagnostic::new("KOP-E001", "Zu <groß>.", "Too large.");
    let response = intake().refuse(&Refusal::new(RefusalKind::Busy, problem));
    check_fault(&response, "KOP-E001", 500);
    assert!(
        text(&response).contains("<faultcode>S:Server</faultcode>")
            && text(&response).contains("Zu &lt;groß&gt;.")
    );
    assert_eq!(intake().check(&json!({"benutzer": "x"})).len(), 1);
    assert_eq!(IntelliformAdapter.source(), "intelliform");
}
