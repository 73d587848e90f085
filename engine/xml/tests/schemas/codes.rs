// SPDX-License-Identifier: EUPL-1.2
//! What XSD does not check: codes against their lists, versions, the head, empty elements. With the shipped
//! profiles and invented lists; the official lists where they are there.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kop_core::{Diagnostic, Severity};
use kop_xml::{MessageSchema, SchemaStore, WriteOptions};
use serde_json::{Value, json};

use crate::common::{KERNMODUL, XBAU, abgabe, bauantrag, official, options, shared, tree, xbau_options};

const TODAY: &str = "2026-11-24";
const ANLAGEN: &str = "urn:xoev-de:xbau:codeliste:anlagen";

struct Shop {
    folder: tempfile::TempDir,
    store: SchemaStore,
}

/// A store with the shipped profiles and nothing else.
fn shop() -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let profiles = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xoev-schemas"));
    let store = SchemaStore::open(&folder.path().join("schemata"), Some(profiles)).unwrap();
    Shop { folder, store }
}

/// A genericode file; with `extra` in the list's annotation.
fn genericode(urn: &str, version: &str, extra: &str, codes: &[(&str, &str)]) -> String {
    let rows: String = codes
        .iter()
        .map(|(code, name)| {
            let value = |column: &str, text: &str| {
                format!("<Value ColumnRef=\"{column}\"><SimpleValue>{text}</SimpleValue></Value>")
            };
            ["<Row>", &value("code", code), &value("name", name), "</Row>"].concat()
        })
        .collect();
    format!(
        "<gc:CodeList xmlns:gc=\"http://docs.oasis-open.org/codelist/ns/genericode/1.0/\">\
         <Annotation><Description>{extra}</Description></Annotation><Identification><ShortName>liste</ShortName>\
         <LongName>Erfundene Liste</LongName><Version>{version}</Version><CanonicalUri>{urn}</CanonicalUri>\
         </Identification><ColumnSet><Column Id=\"code\"/><Column Id=\"name\"/><Key Id=\"k\"><ColumnRef Ref=\"code\"/>\
         </Key></ColumnSet><SimpleCodeList>{rows}</SimpleCodeList></gc:CodeList>"
    )
}

impl Shop {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn list(&self, name: &str, urn: &str, version: &str, codes: &[(&str, &str)]) -> Vec<Diagnostic> {
        let path = self.file(name, &genericode(urn, version, "", codes));
        self.store.import(&path).unwrap_or_else(|problems| panic!("{problems:#?}")).hints
    }

    fn bauantrag(&self) -> Arc<MessageSchema> {
        self.store.find("xbau-hochbau", "2.6").unwrap().message("baugenehmigung.antrag.0200").unwrap()
    }
}

fn checked(
    schema: &MessageSchema,
    value: &Value,
    options: &WriteOptions,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let written = schema.write(&tree(value), options).unwrap_or_else(|problems| panic!("{problems:#?}"));
    schema.validate(&written.bytes, Some(&written.paths)).unwrap_or_else(|problems| panic!("{problems:#?}"));
    schema.check(&written, options, TODAY)
}

/// The Bauantrag as the profile wants it.
pub(crate) fn antrag() -> Value {
    let mut value = bauantrag();
    for anlage in value["anlagen/anlage"].as_array_mut().unwrap() {
        anlage["anlageart/code"] = json!("0102");
        anlage["mimeType/@listURI"] = json!("urn:xoev-de:xbau:codeliste:xbau-mimetypes");
    }
    value
}

/// Code and target of each.
fn short(found: &[Diagnostic]) -> Vec<(&str, &str)> {
    found.iter().map(|one| (one.code.as_str(), one.target.as_deref().unwrap_or_default())).collect()
}

fn about<'d>(found: &'d [Diagnostic], word: &str) -> Vec<&'d Diagnostic> {
    found.iter().filter(|one| one.de.contains(word)).collect()
}

#[test]
fn a_code_that_is_not_in_its_list_is_refused_where_it_stands() {
    let shop = shop();
    let schema = shop.bauantrag();
    let remarks = checked(&schema, &antrag(), &xbau_options()).unwrap();
    // both attachments have the same list: said once, as a warning with version, and nothing is refused
    let missing = about(&remarks, "„anlagen“ Version 3.0 liegt nicht vor: nicht geprüft");
    assert_eq!(missing.len(), 1, "{remarks:#?}");
    assert_eq!((missing[0].code.as_str(), missing[0].severity), ("KOP-X051", Severity::Warnung));
    assert_eq!(missing[0].target.as_deref(), Some("anlagen/anlage[1]/anlageart/code"));

    shop.list(
        "a.xml",
        ANLAGEN,
        "3.0",
        &[("0101", "Bauzeichnung"), ("0100", "Lageplan"), ("9999", "Sonstiges")],
    );
    let found = checked(&schema, &antrag(), &xbau_options()).unwrap_err();
    let wrong: Vec<&Diagnostic> = found.iter().filter(|one| one.severity == Severity::Fehler).collect();
    assert_eq!(wrong.len(), 2, "{found:#?}");
    let second = wrong[1];
    assert_eq!(
        (second.code.as_str(), second.target.as_deref()),
        ("KOP-X050", Some("anlagen/anlage[2]/anlageart/code"))
    );
    assert_eq!(second.rule.as_deref(), Some("Codeliste urn:xoev-de:xbau:codeliste:anlagen 3.0"));
    assert_eq!(second.hint.as_deref(), Some("Meinten Sie „0100“ (Lageplan) oder „0101“ (Bauzeichnung)?"));
    assert_eq!((second.value.as_deref(), second.revealed.as_deref()), (Some("9999"), Some("0102")));
    assert!(about(&found, "„anlagen“ Version 3.0 liegt nicht vor").is_empty());

    let mut right = antrag();
    for anlage in right["anlagen/anlage"].as_array_mut().unwrap() {
        anlage["anlageart/code"] = json!("0100");
    }
    checked(&schema, &right, &xbau_options()).unwrap();
    // the same after the store was opened anew
    let profiles = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xoev-schemas"));
    let again = SchemaStore::open(&shop.folder.path().join("schemata"), Some(profiles)).unwrap();
    let schema = again.find("xbau-hochbau", "2.6").unwrap().message("0200").unwrap();
    assert_eq!(checked(&schema, &antrag(), &xbau_options()).unwrap_err(), found);
    checked(&schema, &right, &xbau_options()).unwrap();
}

#[test]
fn another_version_and_an_ended_one_are_told() {
    let shop = shop();
    let schema = shop.bauantrag();
    shop.list("alt.xml", ANLAGEN, "2.0", &[("0102", "Lageplan")]);
    let remarks = checked(&schema, &antrag(), &xbau_options()).unwrap();
    assert_eq!(about(&remarks, "„anlagen“")[0].hint.as_deref(), Some("Vorhanden: 2.0."));

    let ended =
        genericode(ANLAGEN, "3.0", "<x:validTo xmlns:x=\"urn:x\">2025-12-31</x:validTo>", &[("0102", "L")]);
    shop.store.import(&shop.file("neu.xml", &ended)).unwrap();
    let remarks = checked(&schema, &antrag(), &xbau_options()).unwrap();
    let told = about(&remarks, "galt bis 2025-12-31");
    assert_eq!((told.len(), told[0].code.as_str()), (1, "KOP-X052"));

    // the tree names a version of its own against the pin
    let mut tree = antrag();
    tree["anlagen/anlage"][1]["anlageart/@listVersionID"] = json!("2.0");
    let found = checked(&schema, &tree, &xbau_options()).unwrap_err();
    assert_eq!(short(&found)[0], ("KOP-X053", "anlagen/anlage[2]/anlageart/@listVersionID"));
}

#[test]
fn packages_do_not_stand_in_for_each_other() {
    let shop = shop();
    let schema = shop.bauantrag();
    let package = |name: &str, code: &str| {
        let xsd = format!(
            "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"urn:{name}\"><xs:element name=\"{name}\"/></xs:schema>"
        );
        shop.file(&format!("{name}/a.xsd"), &xsd);
        shop.file(&format!("{name}/codelists/l.xml"), &genericode(ANLAGEN, "3.0", "", &[(code, "x")]));
        shop.store.import(&shop.folder.path().join(name)).unwrap()
    };
    // the only one there serves all
    assert_eq!(package("eins", "77").package.lists[0].urn, ANLAGEN);
    assert!(checked(&schema, &antrag(), &xbau_options()).is_err());
    // two that differ serve none but their own
    let hints = package("zwei", "0102").hints;
    assert!(hints.iter().any(|hint| hint.code == "KOP-X059"), "{hints:?}");
    let remarks = checked(&schema, &antrag(), &xbau_options()).unwrap();
    assert_eq!(about(&remarks, "„anlagen“ Version 3.0 liegt nicht vor").len(), 1);
    // one that was imported for all decides
    shop.list("alle.xml", ANLAGEN, "3.0", &[("0102", "Lageplan")]);
    let remarks = checked(&schema, &antrag(), &xbau_options()).unwrap();
    assert!(about(&remarks, "„anlagen“").is_empty(), "{remarks:#?}");
}

#[test]
fn a_changed_list_is_reported_and_not_used() {
    let shop = shop();
    shop.list("a.xml", ANLAGEN, "3.0", &[("0102", "Lageplan")]);
    let info = shop.store.list().into_iter().find(|info| info.files == 0).unwrap();
    let place = shop.folder.path().join("schemata").join(info.hash.to_string()).join("codelisten");
    fs::write(place.join(info.lists[0].hash.to_string()), "02\tanders\n").unwrap();
    let remarks = checked(&shop.bauantrag(), &antrag(), &xbau_options()).unwrap();
    assert!(about(&remarks, "„anlagen“")[0].hint.as_deref().unwrap().contains("beschädigt"));
}

#[test]
fn head_and_empty_elements_are_looked_at() {
    let shop = shop();
    let schema = shop.store.find("xdomea", "3.1.0").unwrap().message("0401").unwrap();
    let pins = options(&[("dateiformat", "1.0"), ("erreichbarkeit", "3")]);
    let mut value = abgabe();
    value["Kopf"]["Importbestaetigung"] = Value::Null;
    value["Kopf"]["Nachrichtentyp/code"] = json!("0605");
    value["Kopf"]["Absender"] = json!({"Institution/Name": "Gemeinde Musterdorf"});
    let mut written = schema.write(&tree(&value), &pins).unwrap();
    let text = String::from_utf8(written.bytes).unwrap();
    // the writer leaves out what is blank; what goes out is checked all the same
    written.bytes = text.replace("Gemeinde Musterdorf", "  ").into_bytes();
    let found = schema.check(&written, &pins, TODAY).unwrap_err();
    let found: Vec<_> = short(&found).into_iter().take(2).collect();
    assert_eq!(
        found,
        [("KOP-X054", "Kopf/Nachrichtentyp/code"), ("KOP-X056", "Kopf/Absender/Institution/Name")]
    );
}

#[test]
fn a_prefix_that_the_dvdv_does_not_list_is_a_warning() {
    let shop = shop();
    let schema = shop.bauantrag();
    let mut value = antrag();
    value["nachrichtenkopf.g2g"]["leser"]["kennung"] = json!("bax:01056039");
    let prefixes =
        |found: &[Diagnostic]| found.iter().filter(|one| one.code == "KOP-X055").cloned().collect::<Vec<_>>();
    assert!(prefixes(&checked(&schema, &value, &xbau_options()).unwrap()).is_empty());
    let urn = "urn:xoev-de:bund:bmi:bit:codeliste:dvdv.praefix";
    shop.list("9.xml", urn, "9", &[("bax", "veraltet")]);
    shop.list("51.xml", urn, "51", &[("bab", "Bauaufsicht"), ("bap", "Bauportal")]);
    let found = prefixes(&checked(&schema, &value, &xbau_options()).unwrap());
    assert_eq!((found.len(), found[0].severity), (1, Severity::Warnung), "{found:?}");
    assert_eq!(found[0].target.as_deref(), Some("nachrichtenkopf.g2g/leser/kennung"));
    assert!(found[0].hint.as_deref().unwrap().contains("„bab“ (Bauaufsicht)"), "{found:?}");
}

#[test]
fn hostile_lists_do_not_come_in() {
    let shop = shop();
    let code = |path: &Path| shop.store.import(path).unwrap_err()[0].code.clone();
    let good = genericode(ANLAGEN, "3.0", "", &[("01", "x")]);
    assert_eq!(code(&shop.file("doctype.xml", &format!("<!DOCTYPE a>{good}"))), "KOP-X058");
    assert_eq!(code(&shop.file("halb.xml", &good[..good.len() - 20])), "KOP-X058");
    assert_eq!(code(&shop.file("kein.xml", "<a/>")), "KOP-X040");
    shop.file("beide/a.xml", &good);
    shop.file("beide/b.xml", &good.replace("01", "02"));
    assert_eq!(code(&shop.folder.path().join("beide")), "KOP-X058");
    let unusable = shop.file("ohne/a.xml", &good.replace(ANLAGEN, ""));
    shop.file("ohne/b.xml", &good);
    let report = shop.store.import(unusable.parent().unwrap()).unwrap();
    assert_eq!((report.package.lists.len(), report.hints[0].code.as_str()), (1, "KOP-X058"));
}

#[test]
fn schematron_of_a_package_is_recorded_and_said_not_to_run() {
    let shop = shop();
    shop.file(
        "p/a.xsd",
        "<xs:schema xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" targetNamespace=\"urn:p\"/>",
    );
    shop.file(
        "p/regeln.sch",
        "<sch:schema xmlns:sch=\"http://purl.oclc.org/dsdl/schematron\" queryBinding=\"xslt2\"/>",
    );
    let report = shop.store.import(&shop.folder.path().join("p")).unwrap();
    let rules: Vec<_> =
        report.package.rules.iter().map(|rule| (rule.path.as_str(), rule.binding.as_str())).collect();
    assert_eq!(rules, [("regeln.sch", "xslt2")]);
    assert_eq!(report.hints[0].code, "KOP-X057");
}

#[test]
fn the_official_lists_know_the_official_codes() {
    let Some(shared) = shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let libraries = ["xoev/xlink", "xoev/xoev-lib", "xoev/xplanung-5.4-gmlprofile"];
    let order =
        [&libraries[..], &[KERNMODUL, XBAU, "xoev/codelists-common", "xoev/xbau-2.6/codelists"]].concat();
    let store = official(&shared, folder.path(), &order);
    let lists: usize = store.list().iter().map(|info| info.lists.len()).sum();
    assert!(lists > 90, "{lists}");
    let schema = store.find("xbau-hochbau", "2.6").unwrap().message("0200").unwrap();
    let mut value = bauantrag();
    let found = checked(&schema, &value, &xbau_options()).unwrap_err();
    assert_eq!(short(&found)[0], ("KOP-X050", "anlagen/anlage[1]/anlageart/code"));
    for anlage in value["anlagen/anlage"].as_array_mut().unwrap() {
        anlage["anlageart/code"] = json!("1101");
    }
    let remarks = checked(&schema, &value, &xbau_options()).unwrap();
    // not in the set, and never passed over
    let left: Vec<&str> = remarks.iter().map(|one| one.de.as_str()).collect();
    assert_eq!(left.len(), 2, "{left:#?}");
    assert!(
        left[0].contains("„verzeichnisdienst“ Version 2") && left[1].contains("„xbau-mimetypes“ Version 1.0")
    );

    let mut other = value.clone();
    other["nachrichtenkopf.g2g"]["leser"]["kennung"] = json!("bauamt-1");
    let found = checked(&schema, &other, &xbau_options()).unwrap_err();
    assert_eq!(short(&found)[0], ("KOP-X055", "nachrichtenkopf.g2g/leser/kennung"));
}

#[test]
fn a_code_outside_its_validity_is_a_warning_with_its_successor() {
    let shop = shop();
    let rows = [("0102", "Lageplan"), ("02", "Grundriss")];
    let cell = |column: &str, text: &str| {
        format!("<Value ColumnRef=\"{column}\"><SimpleValue>{text}</SimpleValue></Value></Row>")
    };
    let list = genericode(ANLAGEN, "3.0", "", &rows)
        .replace(
            "<Key Id=\"k\">",
            "<Column Id=\"gueltigBis\"/><Column Id=\"nachfolger\"/><Column Id=\"gueltigAb\"/><Key Id=\"k\">",
        )
        .replacen(
            "</Row>",
            &(cell("gueltigBis", "23.11.2026").replace("</Row>", "") + &cell("nachfolger", "02")),
            1,
        );
    shop.store.import(&shop.file("liste.xml", &list)).unwrap();
    let schema = shop.bauantrag();
    let warned = |day: &str| {
        let written = schema.write(&tree(&antrag()), &xbau_options()).unwrap();
        let remarks =
            schema.check(&written, &xbau_options(), day).unwrap_or_else(|problems| panic!("{problems:#?}"));
        remarks.into_iter().filter(|remark| remark.code == "KOP-X061").collect::<Vec<_>>()
    };
    let found = warned(TODAY);
    assert_eq!(found.len(), 2, "both attachments: {found:#?}");
    assert_eq!(found[0].severity, Severity::Warnung);
    assert!(
        found[0].de.contains("2026-11-23") && found[0].hint.as_deref().unwrap().ends_with("02"),
        "{found:#?}"
    );
    assert!(found[0].target.as_deref().unwrap().contains("anlage"), "{found:#?}");
    assert!(warned("2026-11-23").is_empty(), "the last day counts");
}
