// SPDX-License-Identifier: EUPL-1.2
//! Against a real clamd with signatures of our own, a real c-icap in front of it, and doubles that misbehave.

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use kop_connector_api::{BlobRead, Scanner, ScannerKind, Verdict};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{ClamdKind, IcapKind};

/// The EICAR test text, put together here so that no scanner stumbles over this file.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// A program of the test, ended by its pid.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _already_gone = self.0.wait();
    }
}

/// A clamd that knows the EICAR text and nothing else; `None` where it is not installed.
fn clamd(folder: &Path) -> Option<Running> {
    let program = ["/usr/sbin/clamd", "/usr/bin/clamd"].into_iter().find(|path| Path::new(path).is_file());
    let Some(program) = program else {
        assert!(std::env::var_os("KOP_REQUIRE_SHARED").is_none(), "clamav-daemon fehlt");
        eprintln!("ÜBERSPRUNGEN: clamav-daemon fehlt");
        return None;
    };
    fs::create_dir(folder.join("db")).unwrap();
    let hex = eicar().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    fs::write(folder.join("db/eigen.ndb"), format!("Kop.Test.Eicar:0:0:{hex}\n")).unwrap();
    let config = format!(
        "LocalSocket {0}/clamd.ctl\nDatabaseDirectory {0}/db\nTemporaryDirectory {0}\nForeground yes\n\
         StreamMaxLength 1M\nAlertEncrypted yes\nAlertExceedsMax yes\nMaxFiles 3\n",
        folder.display()
    );
    fs::write(folder.join("clamd.conf"), config).unwrap();
    let child = Command::new(program)
        .arg("-c")
        .arg(folder.join("clamd.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    let until = Instant::now() + Duration::from_secs(30);
    while !folder.join("clamd.ctl").exists() {
        assert!(Instant::now() < until, "clamd startet nicht");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(running)
}

fn clamd_scanner(folder: &Path, more: &Value) -> Arc<dyn Scanner> {
    let mut settings = json!({ "socket": "clamd.ctl" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(ClamdKind.check(&settings), []);
    ClamdKind.build(&settings, folder).unwrap()
}

async fn scan(scanner: &Arc<dyn Scanner>, content: &[u8]) -> Result<Verdict, String> {
    let read: BlobRead = Box::pin(Cursor::new(content.to_vec()));
    scanner.scan(read, content.len() as u64).await.map_err(|problem| problem.code)
}

fn zip(names: &[&str], content: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The bit of an entry that says "encrypted" (APPNOTE.TXT section 4.4.4), in both of its headers.
fn encrypted(mut archive: Vec<u8>) -> Vec<u8> {
    for (mark, at) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let found = archive.windows(4).position(|four| four == mark).unwrap();
        archive[found + at] |= 1;
    }
    archive
}

#[tokio::test(flavor = "multi_thread")]
async fn clamd_tells_clean_found_and_not_to_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let Some(running) = clamd(folder.path()) else { return };
    let scanner = clamd_scanner(folder.path(), &json!({}));
    assert!(scanner.version().await.unwrap().starts_with("ClamAV "));
    assert_eq!(scan(&scanner, b"").await, Ok(Verdict::Clean));
    assert_eq!(scan(&scanner, &vec![b'a'; 300_000]).await, Ok(Verdict::Clean));
    let found = Ok(Verdict::Found("Kop.Test.Eicar.UNOFFICIAL".to_owned()));
    assert_eq!(scan(&scanner, &eicar()).await, found);
    assert_eq!(scan(&scanner, &zip(&["a.txt"], &eicar())).await, found, "in a container");
    let locked = scan(&scanner, &encrypted(zip(&["a.txt"], b"geheim"))).await;
    assert_eq!(locked, Ok(Verdict::Unscannable("Heuristics.Encrypted.Zip".to_owned())));
    let many = scan(&scanner, &zip(&["a", "b", "c", "d", "e"], b"viele")).await;
    assert!(matches!(&many, Ok(Verdict::Unscannable(why)) if why.contains("Limits.Exceeded")), "{many:?}");
    // Larger than clamd takes: told by clamd half-way, or by our own bound before anything is sent.
    let large = vec![b'a'; 4_000_000];
    assert_eq!(scan(&scanner, &large).await, Ok(Verdict::Unscannable("StreamMaxLength".to_owned())));
    let bounded = clamd_scanner(folder.path(), &json!({ "groesste_datei_mb": 1 }));
    assert_eq!(scan(&bounded, &large).await, Ok(Verdict::Unscannable("groesste_datei_mb".to_owned())));
    drop(running);
    assert_eq!(scan(&scanner, b"x").await, Err("KOP-F043".to_owned()), "gone is not clean");
    assert_eq!(scanner.version().await.unwrap_err().code, "KOP-F043");
}

#[tokio::test(flavor = "multi_thread")]
async fn c_icap_with_clamd_behind_it_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_clamd) = clamd(folder.path()) else { return };
    let modules = "/usr/lib/x86_64-linux-gnu/c_icap";
    if !Path::new(modules).join("virus_scan.so").is_file() || !Path::new("/usr/bin/c-icap").is_file() {
        assert!(std::env::var_os("KOP_REQUIRE_SHARED").is_none(), "c-icap fehlt");
        return eprintln!("ÜBERSPRUNGEN: c-icap fehlt");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "PidFile {0}/icap.pid\nCommandsSocket {0}/icap.ctl\nPort 127.0.0.1:{port}\nTmpDir {0}\nStartServers 1\n\
         MaxServers 1\nThreadsPerChild 4\nModulesDir {modules}\nServicesDir {modules}\n\
         TemplateDir /usr/share/c_icap/templates/\nTemplateDefaultLanguage en\nLoadMagicFile /etc/c-icap/c-icap.magic\n\
         ServerLog {0}/icap.log\nAccessLog {0}/access.log\nModule common clamd_mod.so\n\
         clamd_mod.ClamdSocket {0}/clamd.ctl\nService antivirus_module virus_scan.so\n\
         virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE DOCUMENT\n\
         virus_scan.MaxObjectSize 5M\nvirus_scan.DefaultEngine clamd\n",
        folder.path().display()
    );
    fs::write(folder.path().join("icap.conf"), config).unwrap();
    let child = Command::new("/usr/bin/c-icap")
        .args(["-N", "-f"])
        .arg(folder.path().join("icap.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let icap = Running(child);
    let settings = json!({ "url": format!("icap://127.0.0.1:{port}/virus_scan"), "zeitlimit_sekunden": 10 });
    assert_eq!(IcapKind.check(&settings), []);
    let scanner = IcapKind.build(&settings, folder.path()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let version = loop {
        match scanner.version().await {
            Ok(version) => break version,
            Err(problem) => assert!(Instant::now() < until, "c-icap: {problem}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(version.contains(' '), "{version}");
    assert_eq!(scan(&scanner, b"nichts dabei\n").await, Ok(Verdict::Clean));
    assert_eq!(scan(&scanner, &vec![b'a'; 3_000_000]).await.map(|_| ()), Ok(()));
    let found = scan(&scanner, &eicar()).await;
    assert!(matches!(&found, Ok(Verdict::Found(name)) if name.contains("Eicar")), "{found:?}");
    let locked = scan(&scanner, &encrypted(zip(&["a.txt"], b"geheim"))).await;
    assert!(matches!(&locked, Ok(Verdict::Unscannable(why)) if why.contains("Encrypted")), "{locked:?}");
    // c-icap leaves its children alone when it is killed; it ends them itself when it is asked to.
    let _asked = Command::new("kill").arg(icap.0.id().to_string()).status();
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Answers every connection with fixed bytes after it has read something, or never.
async fn double(says: Option<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let mut bytes = vec![0; 100_000];
                let mut seen = Vec::new();
                while !seen.ends_with(b"0\r\n\r\n") && !seen.ends_with(&[0; 4]) {
                    match stream.read(&mut bytes).await {
                        Ok(n) if n > 0 => seen.extend_from_slice(&bytes[..n]),
                        _ => return,
                    }
                }
                match says {
                    Some(says) => drop(stream.write_all(says.as_bytes()).await),
                    None => tokio::time::sleep(Duration::from_secs(60)).await,
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn only_a_clear_word_is_a_verdict() {
    let icap = |port: u16| {
        let settings = json!({ "url": format!("icap://127.0.0.1:{port}/x"), "zeitlimit_sekunden": 1 });
        IcapKind.build(&settings, Path::new(".")).unwrap()
    };
    let down = Err("KOP-F043".to_owned());
    let same = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    for (says, expected) in [
        (Some("ICAP/1.0 204 No Content\r\n\r\n"), Ok(Verdict::Clean)),
        (Some(same), Ok(Verdict::Clean)),
        (
            Some(
                "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n2\r\nax\r\n0\r\n\r\n",
            ),
            Ok(Verdict::Found("unbenannt".to_owned())),
        ),
        (
            Some("ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Boese;\r\n\r\n"),
            Ok(Verdict::Found("Boese".to_owned())),
        ),
        (Some("ICAP/1.0 500 Server error\r\n\r\n"), down.clone()),
        (Some("HTTP/1.1 200 OK\r\n\r\n"), down.clone()),
        (Some(""), down.clone()),
        (None, down.clone()),
    ] {
        assert_eq!(scan(&icap(double(says).await), b"ab").await, expected, "{says:?}");
    }
    for (says, expected) in [
        (Some("stream: OK\0"), Ok(Verdict::Clean)),
        (Some("stream: Boese FOUND\0"), Ok(Verdict::Found("Boese".to_owned()))),
        (
            Some("INSTREAM size limit exceeded. ERROR\0"),
            Ok(Verdict::Unscannable("StreamMaxLength".to_owned())),
        ),
        (Some("stream: Can't allocate memory ERROR\0"), down.clone()),
        (Some("\0"), down.clone()),
        (None, down.clone()),
    ] {
        let port = double(says).await;
        let settings = json!({ "adresse": format!("127.0.0.1:{port}"), "zeitlimit_sekunden": 1 });
        let scanner = ClamdKind.build(&settings, Path::new(".")).unwrap();
        assert_eq!(scan(&scanner, b"ab").await, expected, "{says:?}");
    }
}

#[test]
fn settings_are_checked() {
    for (settings, path) in [
        (json!({}), "socket"),
        (json!({ "socket": "a", "adresse": "b:1" }), "socket"),
        (json!({ "adresse": "ohne-port" }), "adresse"),
        (json!({ "socket": "a", "zeitlimit_sekunden": 0 }), "zeitlimit_sekunden"),
        (json!({ "socket": "a", "groesste_datei_mb": 0 }), "groesste_datei_mb"),
        (json!({ "socket": "a", "unbekannt": 1 }), ""),
    ] {
        assert_eq!(ClamdKind.check(&settings)[0].path, path, "{settings}");
    }
    for bad in ["", "http://a/b", "icap://a", "icap://a/", "icap://a b/c", "icap://ich@a/b", "icap://a:0/b"] {
        assert_eq!(IcapKind.check(&json!({ "url": bad }))[0].path, "url", "{bad}");
    }
    assert!(IcapKind.check(&json!({ "url": "icap://scanner.example/srv" })).is_empty());
}
