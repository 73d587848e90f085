// SPDX-License-Identifier: EUPL-1.2
//! What authors of mappings are told: coverage of their tests, lineage of one message, what another version of a
//! standard changes, and a form that is no longer the one that was tested.

use std::{fs, path::Path};

use kop_tests::{Error, Instance, shared, workspace};
use serde_json::Value;

use crate::send_bauantrag;

fn mapping(name: &str) -> String {
    workspace().join("mappings").join(name).display().to_string()
}

/// The entry of a list whose member says so.
fn entry<'v>(value: &'v Value, list: &str, member: &str, wanted: &str) -> Result<&'v Value, Error> {
    let found = value[list].as_array().into_iter().flatten().find(|one| one[member] == wanted);
    found.ok_or_else(|| format!("{list}: {wanted} fehlt").into())
}

fn holds(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|one| one == wanted)
}

#[test]
fn coverage_says_where_each_element_comes_from() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let report = instance.kop_json(&["map", "coverage", &mapping("bauantrag-xbau")])?;
    let organisation = "bauvorhaben/beteiligte/entwurfsverfasser/personendaten/organisation/name/name";
    for (path, origin) in [
        ("antragsteller/natuerlichePerson/name/familienname/name", "feld"),
        ("bauvorhaben/gegenstand/artDerMassnahme/code", "feld"),
        ("referenzAntragsservice/referenzAntragsservice", "eingang"),
        ("anlagen/anlage/anhangOderVerlinkung/anhang/dateiname", "eingang"),
        ("bauvorhaben/verortung/baugrundstueck/grundstueck/flurstueck/bundesland/code", "parameter"),
        ("anlagen/anlage/versionsnummer", "fest"),
        ("nachrichtenkopf.g2g/identifikation.nachricht/nachrichtenUUID", "engine"),
        // No case has a firm that designs.
        (organisation, "nur-im-skript"),
    ] {
        assert_eq!(entry(&report, "elemente", "pfad", path)?["herkunft"], origin, "{path}");
    }
    let required = report["elemente"].as_array().into_iter().flatten().filter(|one| one["pflicht"] == true);
    let lacking: Vec<_> = required.filter(|one| one["faelle"] == 0).collect();
    assert!(lacking.is_empty(), "{lacking:#?}");
    let name = entry(&report, "elemente", "pfad", "antragsteller/natuerlichePerson/name/familienname/name")?;
    assert!(holds(&name["felder"], "antragsteller/pers_nachname"), "{name:#}");
    assert!(name["stelle"]["line"].is_u64() && name["pflicht"].is_boolean(), "{name:#}");
    let unread = entry(&report, "felder", "pfad", "Erklärungen/check_datenschutz")?;
    assert_eq!((&unread["gelesen"], &unread["label"]), (&false.into(), &"Datenschutz akzeptiert".into()));
    Ok(())
}

#[test]
fn another_payload_covers_more_rows_and_fields() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let hundesteuer = mapping("hundesteuer-csv");
    let before = instance.kop_json(&["map", "coverage", &hundesteuer])?;
    let rows =
        |report: &Value| entry(report, "tabellen", "name", "gefaehrliche_rassen").map(|t| t["nie"].clone());
    assert!(holds(&rows(&before)?, "Bullterrier") && holds(&rows(&before)?, "Pitbull-Terrier"));
    assert!(holds(&entry(&before, "felder", "pfad", "hund/rasse")?["ziele"], "zeile/Rasse"));

    let payload = Path::new(&hundesteuer).join("tests/ozg-cloud-zwei-hunde/payload.json");
    let text = fs::read_to_string(payload)?;
    let changed = text.replace("Mischling", "Bullterrier").replace("\"kont_email\"", "\"kont_email_neu\"");
    assert_ne!(text, changed);
    let file = instance.folder().join("neu.json");
    fs::write(&file, changed)?;
    let after = instance.kop_json(&["map", "coverage", &hundesteuer, &file.display().to_string()])?;
    assert!(!holds(&rows(&after)?, "Bullterrier") && holds(&rows(&after)?, "Pitbull-Terrier"));
    let new = entry(&after, "felder", "pfad", "antragsteller/kont_email_neu")?;
    assert_eq!((&new["gelesen"], &new["antraege"]), (&false.into(), &1.into()));
    let table = instance.kop(&["map", "coverage", &hundesteuer, &file.display().to_string()])?;
    let said = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.status.success() && said.contains("nie gelesen: antragsteller/kont_email_neu"), "{said}");
    Ok(())
}

#[test]
fn lineage_goes_from_field_over_line_to_element_and_masks() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let bauantrag = mapping("bauantrag-xbau");
    let payload = format!("{bauantrag}/tests/ozg-cloud-einfamilienhaus/payload.json");
    let args = ["map", "lineage", &bauantrag, &payload, "--feld", "vorhaben/bezeichnung"];
    let traced = instance.kop_json(&args)?;
    let links = traced["verbindungen"].as_array().ok_or("Verbindungen")?;
    let [link] = links.as_slice() else { return Err(format!("{traced:#}").into()) };
    assert_eq!(link["ziel"], "bauvorhaben/bezeichnungDesBauvorhabens");
    assert_eq!((&link["wirkung"], &link["ausgefuellt"]), (&"wert".into(), &true.into()));
    let script = fs::read_to_string(Path::new(&bauantrag).join("mapping.rhai"))?;
    let line =
        script.lines().position(|line| line.contains("vorhaben.pflicht(\"bezeichnung\")")).ok_or("Zeile")?;
    assert_eq!(link["gelesen"]["line"], line + 1);
    assert_eq!(link["geschrieben"]["line"], line + 1);

    let value = |args: &[&str]| -> Result<String, Error> {
        let value = instance.kop_json(args)?["verbindungen"][0]["wert"].clone();
        Ok(value.as_str().ok_or("der Wert")?.to_owned())
    };
    let masked = value(&args)?;
    let revealed = value(&[&args[..], &["--reveal"]].concat())?;
    assert!(fs::read_to_string(&payload)?.contains(&revealed), "{revealed}");
    assert!(masked != revealed && !masked.contains(&revealed), "{masked}");

    let back =
        instance.kop_json(&["map", "lineage", &bauantrag, &payload, "--ziel", "referenzAntragsservice"])?;
    assert_eq!(back["verbindungen"], Value::Array(Vec::new()));
    assert_eq!(back["ohneFeld"][0]["ziel"], "referenzAntragsservice/referenzAntragsservice");
    Ok(())
}

#[tokio::test]
async fn a_form_that_changed_after_the_tests_is_said_and_goes_out() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    instance.settled(1).await?;
    send_bauantrag(&server, |form| {
        form.replace("c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521", "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e522")
            .replace("\"name\": \"beschreibung\"", "\"name\": \"bemerkungen\"")
    })
    .await?;
    let rows = instance.settled(2).await?;
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    drop(server);
    let shown = |number: &str| -> Result<String, Error> {
        let shown = instance.kop(&["messages", "show", number])?;
        Ok(String::from_utf8_lossy(&shown.stdout).into_owned())
    };
    let (same, changed) = (shown("MUST-2026-000001")?, shown("MUST-2026-000002")?);
    for code in ["KOP-F020", "KOP-F021"] {
        assert!(!same.contains(code), "{same}");
    }
    for said in [
        "unbekannt waren: vorhaben/bemerkungen („Weitere Angaben“)",
        "die die Zuordnung liest: vorhaben/beschreibung („Weitere Angaben“)",
    ] {
        assert!(!same.contains(said) && changed.contains(said), "{changed}");
    }
    assert!(!changed.contains("Wirtschaftsweg"), "{changed}");
    Ok(())
}

const SCHEMA: &str = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:beispiel:1.0"
  targetNamespace="urn:beispiel:1.0" version="1.0" elementFormDefault="qualified">
  <xs:element name="meldung.0100"><xs:complexType><xs:sequence>
    <xs:element name="familienname" type="Name"/><xs:element name="ort" type="xs:string" minOccurs="0"/>
  </xs:sequence><xs:attribute name="standard" use="required" fixed="Beispiel"/>
  <xs:attribute name="version" use="required" fixed="1.0"/></xs:complexType></xs:element>
  <xs:simpleType name="Name"><xs:restriction base="xs:string"><xs:maxLength value="40"/></xs:restriction></xs:simpleType>
</xs:schema>"#;

#[test]
fn versions_of_a_standard_are_compared_for_authors() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let newer = SCHEMA
        .replace("1.0\"", "2.0\"")
        .replace("value=\"40\"", "value=\"30\"")
        .replace("name=\"ort\" type=\"xs:string\" minOccurs=\"0\"", "name=\"ort\" type=\"xs:string\"");
    for (version, schema) in [("1.0", SCHEMA), ("2.0", newer.as_str())] {
        let folder = instance.folder().join(format!("beispiel-{version}"));
        fs::create_dir(&folder)?;
        fs::write(folder.join("beispiel.xsd"), schema)?;
        let imported = instance.kop(&["schema", "import", &folder.display().to_string()])?;
        assert!(imported.status.success(), "{imported:?}");
    }
    let (old, new) = ("beispiel/1.0", "beispiel/2.0");
    let diff = instance.kop_json(&["schema", "diff", old, new])?;
    let name = entry(&diff, "aenderungen", "pfad", "familienname")?;
    assert_eq!((&name["art"], &name["nachher"]), (&"facetten".into(), &"maxLength 30".into()));
    assert_eq!(entry(&diff, "aenderungen", "pfad", "ort")?["art"], "jetzt-pflicht");
    assert_eq!(diff["namensraeume"][0][1], "urn:beispiel:2.0");
    assert_eq!(entry(&diff, "aenderungen", "pfad", "@version")?["nachher"], "2.0");
    assert_eq!(diff["aenderungen"].as_array().map(Vec::len), Some(3), "{diff:#}");
    let said = instance.kop(&["schema", "diff", old, new, "--nachricht", "0100"])?;
    assert!(String::from_utf8_lossy(&said.stdout).contains("ort  jetzt Pflicht: 0..1 → 1"), "{said:?}");
    Ok(())
}

#[test]
fn a_mapping_is_told_what_the_next_xbau_asks_of_it() -> Result<(), Error> {
    let Some(shared) = shared() else { return Ok(()) };
    let instance = Instance::of_example("musterstadt")?;
    let packages = ["xbau-2.5", "xbau-2.6"].map(|name| shared.join("xoev").join(name).display().to_string());
    let imported = instance.kop(&["schema", "import", &packages[0], &packages[1]])?;
    assert!(imported.status.success(), "{imported:?}");
    let bauantrag = mapping("bauantrag-xbau");
    let args = ["schema", "diff", "xbau-hochbau/2.5", "xbau-hochbau/2.6"];
    let all = instance.kop_json(&args)?;
    assert_eq!(all["neu"].as_array().map(Vec::len), Some(12));
    let own = instance.kop_json(&[&args[..], &["--zuordnung", &bauantrag]].concat())?;
    let changes = own["aenderungen"].as_array().ok_or("Änderungen")?;
    assert!(changes.len() < all["aenderungen"].as_array().map_or(0, Vec::len));
    let name = "anlagen/anlage/anhangOderVerlinkung/anhang/dateiname";
    let change = entry(&own, "aenderungen", "pfad", name)?;
    assert_eq!((&change["art"], &change["nachher"]), (&"typ".into(), &"Dateiname".into()));
    assert_eq!(change["stelle"]["file"], "_gemeinsam/xbau.rhai");
    // The official schema enumerates codes, the shipped profile does not.
    let report = instance.kop_json(&["map", "coverage", &bauantrag])?;
    let code = entry(&report, "codes", "pfad", "bauvorhaben/gegenstand/artDerMassnahme/code")?;
    let (made, never) = (code["erzeugt"].as_array(), code["nie"].as_array());
    assert!(made.is_some_and(|made| !made.is_empty()) && never.is_some_and(|never| !never.is_empty()));
    Ok(())
}
