// SPDX-License-Identifier: EUPL-1.2
//! Bad input: a clear German answer in the vendor's own format, without internals, and the service goes on.

use std::time::Duration;

use kop_tests::{Error, Instance, Server, inputs};
use reqwest::header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{CONFIG, DEPOSIT, send_bauantrag, send_mtom};

const MULTIPART: &str = "multipart/form-data; boundary=xx";
const SOAP: &str = "text/xml; charset=utf-8";

struct Bad {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    body: String,
    user: Option<(&'static str, &'static str)>,
    /// The expected status, and a word that the answer has to say.
    status: u16,
    says: &'static str,
}

fn form(part: &str) -> String {
    format!("--xx\r\nContent-Disposition: form-data; name=\"formData\"\r\n\r\n{part}\r\n--xx--\r\n")
}

fn soap(inner: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inner}</s:Body></s:Envelope>"
    )
}

/// A deposit whose XML-Daten are `xml`.
fn depositing(xml: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    soap(&format!(
        "<d:deposit xmlns:d=\"http://xmlns.cit.de/intelliform/2009/webservices/backend\"><data><attachments>\
         <content>{}</content><contentType>text/xml</contentType><id>myForm-xml</id><name>XML-Daten.xml</name>\
         </attachments></data></d:deposit>",
        STANDARD.encode(xml)
    ))
}

fn cases() -> Vec<Bad> {
    const AFM: Option<(&str, &str)> = Some((kop_tests::forms::AFM_BENUTZER, kop_tests::forms::AFM_PASSWORT));
    let post = |name, path, content_type, body: String, user, status, says| Bad {
        name,
        path,
        content_type,
        body,
        user,
        status,
        says,
    };
    let json = |name, body: String, status, says| {
        post(name, "/musterstadt/antrag", MULTIPART, body, None, status, says)
    };
    let xml = |name, body: String, says| post(name, DEPOSIT, SOAP, body, AFM, 500, says);
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]><a>&c;</a>";
    let external = "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>";
    let nested = |n: usize| format!("{}x{}", "<a>".repeat(n), "</a>".repeat(n));
    vec![
        json("no multipart at all", "hallo".into(), 400, "KOP-E"),
        json("cut off", form("{}")[..60].to_owned(), 400, "KOP-E"),
        json(
            "no formData",
            "--xx\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--xx--\r\n".into(),
            400,
            "formData",
        ),
        json("formData is no JSON", form("{\"control\": "), 400, "KOP-E"),
        json("formData is something else", form("[1, 2]"), 400, "KOP-E"),
        json("deep JSON", form(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), 400, "KOP-E"),
        json("huge formData", form(&format!("{{\"x\": \"{}\"}}", "a".repeat(40 << 20))), 413, "KOP-E"),
        post(
            "another content type",
            "/musterstadt/antrag",
            "application/json",
            "{}".into(),
            None,
            400,
            "KOP-E003",
        ),
        post("unknown tenant", "/nirgendwo/antrag", MULTIPART, form("{}"), None, 404, "KOP-F004"),
        post("unknown tenant, SOAP", "/nirgendwo/deposit", SOAP, soap(""), AFM, 500, "KOP-F004"),
        post("no credentials", DEPOSIT, SOAP, depositing("<a/>"), None, 401, "KOP-E007"),
        post("wrong password", DEPOSIT, SOAP, depositing("<a/>"), Some(("afm", "falsch")), 401, "KOP-E008"),
        xml("no XML", "hallo".into(), "KOP-E"),
        xml("cut-off envelope", depositing("<a/>")[..200].to_owned(), "KOP-E"),
        xml("another operation", soap("<x/>"), "KOP-E"),
        xml("DOCTYPE in the envelope", format!("{external}{}", soap("")), "KOP-E"),
        xml("entity bomb in XML-Daten", depositing(bomb), "KOP-E"),
        xml("external entity in XML-Daten", depositing(external), "KOP-E"),
        xml("deep nesting in XML-Daten", depositing(&nested(50_000)), "KOP-E"),
        xml("deep nesting in the envelope", soap(&nested(50_000)), "KOP-E"),
        xml(
            "no data part",
            depositing("<a/>").replace("myForm-xml", "bild").replace("XML-Daten.xml", "bild.png"),
            "KOP-E",
        ),
        xml("broken base64", depositing("<a/>").replace("<content>", "<content>%%%"), "KOP-E"),
    ]
}

async fn post(server: &Server, bad: Bad) -> Result<(u16, String, String), Error> {
    let mut request = server
        .client()
        .post(format!("{}{}", server.base(), bad.path))
        .timeout(Duration::from_secs(20))
        .header(header::CONTENT_TYPE, bad.content_type)
        .body(bad.body);
    if let Some((user, password)) = bad.user {
        request = request.basic_auth(user, Some(password));
    }
    let answer = request.send().await?;
    let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    Ok((answer.status().as_u16(), content_type.to_owned(), answer.text().await?))
}

#[tokio::test]
async fn each_is_answered_in_the_vendors_format_and_nothing_is_half_stored() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    let mut wrong = Vec::new();
    for bad in cases() {
        let (name, status, says, is_soap) = (bad.name, bad.status, bad.says, bad.content_type == SOAP);
        let (got, content_type, body) = post(&server, bad).await?;
        let format = if is_soap {
            content_type.starts_with("text/xml")
                && ["ApplicationFault", "faultId", "userMessage"].iter().all(|word| body.contains(word))
        } else {
            content_type.starts_with("application/json") && body.contains("\"meldung\"")
        };
        let internals = ["/etc/", "root:", ".rs:", "panicked", "quick_xml", "serde", "tokio", "sqlite"];
        let leaks = internals.iter().any(|word| body.contains(word));
        if got != status || !body.contains(says) || !format || leaks {
            wrong
                .push(format!("{name}: {got} {content_type} {}", body.chars().take(400).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(instance.kop_json(&["messages", "list"])?.as_array().map(Vec::len), Some(0));
    // The same service still does its work.
    send_bauantrag(&server, str::to_owned).await?;
    let (status, body) = send_mtom(&server, &inputs::deposit()?).await?;
    assert_eq!(status, 200, "{body}");
    assert_eq!(instance.settled(2).await?.len(), 2);
    Ok(())
}

/// Reads one answer whose length is given.
async fn answer_on(stream: &mut TcpStream) -> Result<String, Error> {
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|length| length.trim().to_owned())
            });
            if body.len() >= length.ok_or("content-length")?.parse()? {
                return Ok(text);
            }
        }
        match tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await?? {
            0 => return Err(format!("the connection ended after: {text}").into()),
            n => got.extend_from_slice(&piece[..n]),
        }
    }
}

/// A sender that has its answer only after its last byte reads it all the same, and may use the connection again.
/// One that asks first sends nothing.
#[tokio::test]
async fn a_refusal_is_read_by_whoever_is_still_sending() -> Result<(), Error> {
    const BODY: usize = 8 << 20;
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    let address = server.base().trim_start_matches("http://");
    let head = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {SOAP}\r\nContent-Length: {BODY}\r\n{more}\r\n"
        )
    };
    let mut stream = TcpStream::connect(address).await?;
    // Refused before its first byte, and in the midst of it.
    for (path, status, says) in [
        ("/musterstadt/nirgendwo", 404, "not found"),
        ("/nirgendwo/deposit", 500, "KOP-F004"),
        (DEPOSIT, 500, "KOP-E"),
    ] {
        stream.write_all(head(path, "").as_bytes()).await?;
        stream.write_all(&vec![b'x'; BODY]).await?;
        let answer = answer_on(&mut stream).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(says), "{answer}");
    }
    stream.write_all(head("/nirgendwo/deposit", "Expect: 100-continue\r\n").as_bytes()).await?;
    let answer = answer_on(&mut stream).await?;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("connection: close"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_mtom_message_that_lacks_its_file_or_its_end_is_refused() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    let (envelope, files) = inputs::as_mtom(&inputs::deposit()?)?;
    let files: Vec<_> = files.iter().map(|(id, file)| (id.as_str(), file.clone())).collect();
    let missing = server.post_deposit_mtom(DEPOSIT, &envelope, &files[..1]).await?;
    assert_eq!(missing.status().as_u16(), 500);
    let body = missing.text().await?;
    assert!(body.contains("ApplicationFault") && body.contains("KOP-E"), "{body}");
    assert_eq!(instance.kop_json(&["messages", "list"])?.as_array().map(Vec::len), Some(0));
    Ok(())
}

/// What was taken in stays, with its reason in words that a clerk understands.
#[tokio::test]
async fn an_application_that_cannot_be_mapped_is_kept_and_explained() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    send_bauantrag(&server, |form| form.replace("\"Thomsen-Yıldız\"", "\"\"")).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for word in ["KOP-M002", "pers_nachname", "xbau.rhai", "Nachname"] {
        assert!(shown.contains(word), "{word} fehlt in:\n{shown}");
    }
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 0);
    // The message whose data were complete is not held up.
    assert_eq!(instance.delivered("dms")?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_invalid_message_never_leaves() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    // An own mapping of the tenant, with a mistake that only the schema shows.
    instance.own_mapping("bauantrag-xbau", spoil)?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("KOP-X0"), "{shown}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 0);
    assert!(std::fs::read_to_string(instance.folder().join(CONFIG))?.contains("bauantrag-xbau"));
    Ok(())
}

/// A word where the schema wants a number.
fn spoil(script: &str) -> String {
    script.replace("vorhaben.zahl(\"anzahl_gebaeude\") ?? \"1\"", "\"einige\"")
}
