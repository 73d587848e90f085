// SPDX-License-Identifier: EUPL-1.2
//! A 200 MB attachment in both encodings. The service never holds it: its peak memory stays below 150 MB.

use std::{env, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kop_tests::{Error, Instance, Server, forms, inputs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{DEPOSIT, send_bauantrag};

const SIZE: u64 = 200 * 1000 * 1000;
const MOST_KIB: u64 = 150 * 1000 * 1000 / 1024;
/// A multiple of 3, so that its base64 can be repeated.
const CHUNK: u64 = 48_000;

/// Peak resident memory of a process in KiB, as the kernel counts it.
fn peak(server: &Server) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("VmHWM")?.parse()?)
}

/// Posts `before`, then `chunk` `times` times, then `after`, without ever holding it all.
async fn post(
    server: &Server,
    path: &str,
    headers: &str,
    before: &[u8],
    chunk: &[u8],
    times: u64,
    after: &[u8],
) -> Result<String, Error> {
    let address = server.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let length = before.len() as u64 + chunk.len() as u64 * times + after.len() as u64;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(before).await?;
    for _ in 0..times {
        stream.write_all(chunk).await?;
    }
    stream.write_all(after).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The sizes of all files below a folder.
fn sizes(folder: &Path) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(sizes(&entry.path())?);
        } else {
            found.push(entry.metadata()?.len());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_large_attachment_passes_in_every_encoding_without_filling_the_memory() -> Result<(), Error> {
    let mut instance = Instance::of_example("musterstadt")?;
    // Hashing and compressing without optimisation takes minutes; memory is what counts here.
    if let Some(release) = env::var_os("KOP_BIN_RELEASE") {
        instance = instance.with_binary(release.into());
    }
    let server = instance.serve().await?;
    // Warm, so that what is measured is the attachment alone.
    send_bauantrag(&server, str::to_owned).await?;
    let chunk: Vec<u8> = (0..=250_u8).cycle().take(usize::try_from(CHUNK)?).collect();
    let times = SIZE.div_ceil(CHUNK);

    // OZG-Cloud multipart.
    let form = inputs::bauantrag()?.form_data.replace("c1f0b7d4-52c8", "c1f0b7d4-1111");
    let before = format!(
        "--xx\r\nContent-Disposition: form-data; name=\"formData\"\r\n\r\n{form}\r\n--xx\r\nContent-Disposition: \
         form-data; name=\"attachment\"; filename=\"Plan.tif\"\r\nContent-Type: image/tiff\r\n\r\n"
    );
    let headers = "Content-Type: multipart/form-data; boundary=xx\r\n";
    let answer =
        post(&server, "/musterstadt/antrag", headers, before.as_bytes(), &chunk, times, b"\r\n--xx--\r\n")
            .await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // intelliForm, MTOM: one more file beside those of the example.
    let basic = STANDARD.encode(format!("{}:{}", forms::AFM_BENUTZER, forms::AFM_PASSWORT));
    let more = |content: &str| {
        format!(
            "<attachments><content>{content}</content><contentType>image/tiff</contentType><id>plan</id>\
             <name>Plan.tif</name></attachments></data>"
        )
    };
    let include = "<x:Include xmlns:x=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:plan@kop\"/>";
    let deposit = inputs::deposit()?;
    let envelope = deposit.replacen("</data>", &more(include), 1);
    let before = format!(
        "--xx\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"text/xml\"\r\nContent-ID: <root@kop>\r\n\r\n\
         {envelope}\r\n--xx\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: binary\r\nContent-ID: \
         <plan@kop>\r\n\r\n"
    );
    let headers = format!(
        "Authorization: Basic {basic}\r\nSOAPAction: \"\"\r\nContent-Type: multipart/related; boundary=xx; \
         type=\"application/xop+xml\"; start=\"<root@kop>\"; start-info=\"text/xml\"\r\n"
    );
    let answer =
        post(&server, DEPOSIT, &headers, before.as_bytes(), &chunk, times, b"\r\n--xx--\r\n").await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // intelliForm, base64 in the envelope. The content differs: the same one would be the same application again,
    // whatever its encoding.
    let envelope = deposit.replacen("</data>", &more("@@"), 1);
    let (before, after) = envelope.split_once("@@").ok_or("die Stelle des Inhalts")?;
    let encoded = STANDARD.encode(chunk.iter().rev().copied().collect::<Vec<u8>>());
    let headers = format!(
        "Authorization: Basic {basic}\r\nSOAPAction: \"\"\r\nContent-Type: text/xml; charset=utf-8\r\n"
    );
    let answer =
        post(&server, DEPOSIT, &headers, before.as_bytes(), encoded.as_bytes(), times, after.as_bytes())
            .await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    instance.settled(4).await?;
    for receiver in ["bauaufsicht", "strassenbau"] {
        let mut largest = 0;
        for sendung in instance.delivered(receiver)? {
            largest = largest.max(sizes(&sendung)?.into_iter().max().unwrap_or_default());
        }
        assert_eq!(largest, times * CHUNK, "{receiver}");
    }
    // The last one waits for a person, since its id is known with another content; its file is there, whole.
    let stored = sizes(&instance.folder().join("daten/blobs"))?;
    assert_eq!(stored.into_iter().filter(|size| *size == times * CHUNK).count(), 2);
    let peak = peak(&server)?;
    assert!(peak <= MOST_KIB, "{peak} KiB");
    Ok(())
}
