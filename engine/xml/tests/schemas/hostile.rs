// SPDX-License-Identifier: EUPL-1.2
//! Packages and documents that mean harm are refused, each with its reason.

use std::{io::Write, path::Path};

use kop_xml::SchemaStore;
use zip::{ZipWriter, write::SimpleFileOptions};

const GOOD: &str = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:p" version="1">
    <xs:annotation><xs:appinfo><standard><nameTechnisch>Probe</nameTechnisch></standard></xs:appinfo></xs:annotation>
    <xs:element name="x.0001" type="xs:string"/></xs:schema>"#;

fn import(path: &Path) -> Result<(), Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let store = SchemaStore::open(folder.path(), None).unwrap();
    let outcome = store.import(path);
    match outcome {
        Ok(report) => {
            assert_eq!((report.package.standard.as_str(), report.package.version.as_str()), ("probe", "1"));
            Ok(())
        }
        Err(problems) => {
            assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing may stay behind");
            Err(problems
                .iter()
                .map(|p| format!("{} {} {}", p.code, p.de, p.detail.as_deref().unwrap_or("")))
                .collect())
        }
    }
}

fn zipped(entries: &[(&str, &[u8])]) -> Result<(), Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ZipWriter::new(file.reopen().unwrap());
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap();
    import(file.path())
}

fn in_folder(name: &str, text: &str) -> Result<(), Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gut.xsd"), GOOD).unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    import(folder.path())
}

fn reason(outcome: Result<(), Vec<String>>) -> String {
    outcome.unwrap_err().join("; ")
}

#[test]
fn archives_that_reach_out_or_swell_are_refused() {
    assert_eq!(zipped(&[("xsd/gut.xsd", GOOD.as_bytes()), ("liesmich.txt", b"x")]), Ok(()));
    for name in ["../gut.xsd", "/etc/gut.xsd", "a/../../gut.xsd", "C:\\gut.xsd", "a//b.xsd"] {
        let why = reason(zipped(&[(name, GOOD.as_bytes())]));
        assert!(why.contains("KOP-X040") && why.contains("Pfad"), "{name}: {why}");
    }
    let bomb = vec![b' '; 12 << 20];
    assert!(
        reason(zipped(&[("gut.xsd", GOOD.as_bytes()), ("bombe.xsd", &bomb)])).contains("unverhältnismäßig")
    );
    let many: Vec<(String, &[u8])> =
        (0..5_001).map(|number| (format!("{number}.xsd"), b"".as_slice())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert!(reason(zipped(&many)).contains("zu viele Dateien"));
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ZipWriter::new(file.reopen().unwrap());
    writer.add_symlink("gut.xsd", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    assert!(reason(import(file.path())).contains("Verknüpfung"));
    std::fs::write(file.path(), b"PK\x03\x04 kaputt").unwrap();
    assert!(reason(import(file.path())).contains("kein lesbares ZIP"));
    assert!(reason(import(Path::new("gibt/es/nicht.zip"))).contains("KOP-X048"));
}

#[cfg(unix)]
#[test]
fn links_in_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("gut.xsd")).unwrap();
    assert!(reason(import(folder.path())).contains("Verknüpfung"));
}

#[test]
fn schemas_with_entities_or_foreign_addresses_are_refused() {
    let schema = |head: &str, inner: &str| {
        format!(
            r#"{head}<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:q">{inner}</xs:schema>"#
        )
    };
    assert_eq!(in_folder("q.xsd", &schema("", "")), Ok(()));
    let xxe = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>";
    assert!(reason(in_folder("q.xsd", &schema(xxe, ""))).contains("DOCTYPE"));
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>";
    assert!(
        reason(in_folder("q.xsd", &schema(bomb, "<xs:annotation>&b;</xs:annotation>"))).contains("KOP-X041")
    );
    for address in ["http://127.0.0.1:9/q.xsd", "file:///etc/passwd", "../../../../../../../etc/passwd"] {
        let import = format!(r#"<xs:import namespace="urn:r" schemaLocation="{address}"/>"#);
        let why = reason(in_folder("q.xsd", &schema("", &import)));
        assert!(why.contains("KOP-X042") && why.contains(address), "{why}");
    }
    let broken = GOOD.replace("xs:string", "xs:gibtEsNicht");
    assert!(reason(in_folder("gut.xsd", &broken)).contains("KOP-X043"));
}

#[test]
fn documents_with_a_doctype_or_broken_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gut.xsd"), GOOD).unwrap();
    let target = tempfile::tempdir().unwrap();
    let store = SchemaStore::open(target.path(), None).unwrap();
    store.import(folder.path()).unwrap();
    let message = store.find("PROBE", "1").unwrap().message("0001").unwrap();
    let code =
        |xml: &str| message.validate(xml.as_bytes(), None).map_err(|problems| problems[0].code.clone());
    assert_eq!(code(r#"<x.0001 xmlns="urn:p">a</x.0001>"#), Ok(()));
    let bad = "KOP-X026".to_owned();
    let laugh = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x.0001 xmlns="urn:p">&b;</x.0001>"#;
    assert_eq!(code(laugh), Err(bad.clone()));
    assert_eq!(code(&laugh.replace("<!DOCTYPE", "<!-- <a> --><!DOCTYPE")), Err(bad.clone()));
    assert_eq!(code(r#"<x.0001 xmlns="urn:p">a"#), Err(bad.clone()));
    assert_eq!(code(""), Err(bad.clone()));
    assert_eq!(code(&"<a>".repeat(100_000)), Err(bad));
}
