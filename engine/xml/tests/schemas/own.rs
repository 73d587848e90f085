// SPDX-License-Identifier: EUPL-1.2
//! The writer against small schemas of our own: form, groups, choices, derivation, attributes.

use std::sync::Arc;

use kop_core::Diagnostic;
use kop_xml::{MessageSchema, SchemaStore, WriteOptions};
use serde_json::{Value, json};

use crate::common::tree;

/// The message with root `x.0001` of a package whose schema is given; the folder holds the package.
pub(crate) fn probe(schema: &str) -> (tempfile::TempDir, Arc<MessageSchema>) {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile/probe-1");
    std::fs::create_dir_all(&profile).unwrap();
    let xsd = format!(
        r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:p="urn:p" targetNamespace="urn:p"
            elementFormDefault="qualified"><xs:include schemaLocation="namenlos.xsd"/>{schema}</xs:schema>"#
    );
    std::fs::write(profile.join("probe.xsd"), xsd).unwrap();
    let nameless = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:complexType name="Chamaeleon">
        <xs:sequence><xs:element name="z" type="Kurz"/></xs:sequence></xs:complexType>
        <xs:simpleType name="Kurz"><xs:restriction base="xs:string"><xs:maxLength value="3"/></xs:restriction>
        </xs:simpleType></xs:schema>"#;
    std::fs::write(profile.join("namenlos.xsd"), nameless).unwrap();
    let store = SchemaStore::open(&folder.path().join("leer"), Some(&folder.path().join("profile")))
        .unwrap_or_else(|problems| panic!("{problems:#?}"));
    let message =
        store.find("probe", "1").unwrap().message("x.0001").unwrap_or_else(|problem| panic!("{problem:#?}"));
    (folder, message)
}

/// Writes and validates a root `x.0001` whose type is given; the outcome is the XML below the root, or code and
/// target of the problems.
fn outcome(schema: &str, value: &Value) -> Result<String, Vec<String>> {
    let (_folder, message) = probe(schema);
    let short = |problems: Vec<Diagnostic>| -> Vec<String> {
        problems
            .iter()
            .map(|problem| format!("{} {}", problem.code, problem.target.as_deref().unwrap_or("")))
            .collect()
    };
    let written = message.write(&tree(value), &WriteOptions::default()).map_err(short)?;
    message.validate(&written.bytes, Some(&written.paths)).map_err(short)?;
    let xml = String::from_utf8(written.bytes).unwrap();
    let (_, inner) = xml.split_once("<p:x.0001").unwrap();
    let inner: String = inner.lines().map(str::trim).collect();
    Ok(inner.replace("xmlns:p=\"urn:p\"", "").replace("</p:x.0001>", ""))
}

pub(crate) fn root(content: &str) -> String {
    format!(r#"<xs:element name="x.0001"><xs:complexType>{content}</xs:complexType></xs:element>"#)
}

#[test]
fn compiled_schemas_that_do_not_fit_leave_and_come_back() {
    let profiles = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../xoev-schemas"));
    let folder = tempfile::tempdir().unwrap();
    let store = SchemaStore::open(folder.path(), Some(profiles)).unwrap();
    let message = |standard: &str, version: &str, root: &str| {
        store.find(standard, version).unwrap().message(root).unwrap()
    };
    let antrag = message("xbau-hochbau", "2.6", "baugenehmigung.antrag.0200");
    let abgabe = message("xdomea", "3.1.0", "Abgabe.Abgabe.0401");
    let good = antrag.write(&tree(&crate::codes::antrag()), &crate::common::xbau_options()).unwrap();
    let other = abgabe
        .write(
            &tree(&crate::common::abgabe()),
            &crate::common::options(&[("dateiformat", "1.0"), ("erreichbarkeit", "3")]),
        )
        .unwrap();
    let both = || {
        assert!(antrag.validate(&good.bytes, Some(&good.paths)).is_ok());
        assert!(abgabe.validate(&other.bytes, Some(&other.paths)).is_ok());
        assert!(abgabe.validate(&good.bytes, None).is_err(), "a message of the other schema");
    };
    both();
    let before = store.memory();
    assert!(before.schemas == 2 && before.bytes > 0 && before.bytes < before.limit, "{before:?}");
    store.bound_memory(1);
    let after = store.memory();
    assert!(after.schemas == 1 && after.bytes < before.bytes, "{before:?} {after:?}");
    // They take turns, also while other threads still use what has left.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..3).for_each(|_| both()));
        }
    });
    assert_eq!(store.memory().schemas, 1);
}

#[test]
fn order_form_fixed_values_and_types_come_from_the_schema() {
    let schema = root(
        r#"<xs:sequence>
            <xs:element name="b" type="xs:string" form="unqualified"/>
            <xs:element name="fest" type="xs:string" fixed="1"/>
            <xs:element name="a" type="xs:boolean" minOccurs="0"/>
            <xs:element name="c" type="p:Chamaeleon" minOccurs="0"/>
            <xs:element name="n" type="xs:int" minOccurs="0" maxOccurs="2"/>
            <xs:element name="betrag" minOccurs="0"><xs:complexType><xs:simpleContent>
                <xs:extension base="xs:decimal"><xs:attribute name="waehrung" fixed="EUR" use="required"/></xs:extension>
            </xs:simpleContent></xs:complexType></xs:element>
           </xs:sequence><xs:attribute name="v" fixed="7" use="required"/><xs:attribute name="frei"/>"#,
    );
    let value = json!({"a": true, "b": "B", "c/z": "zz", "n": [1, 2], "betrag/$": "1.10", "@frei": "<"});
    let expected = " v=\"7\" frei=\"&lt;\"><b>B</b><p:fest>1</p:fest><p:a>true</p:a><p:c><z>zz</z></p:c>\
                    <p:n>1</p:n><p:n>2</p:n><p:betrag waehrung=\"EUR\">1.10</p:betrag>";
    assert_eq!(outcome(&schema, &value).unwrap(), expected);
    assert_eq!(outcome(&schema, &json!({"b": "B", "n": [1, 2, 3]})).unwrap_err(), ["KOP-X003 n"]);
    assert_eq!(outcome(&schema, &json!({"b": {"c": "B"}})).unwrap_err(), ["KOP-X002 b/c", "KOP-X001 b"]);
    assert_eq!(outcome(&schema, &json!({"b": "B", "c": "text"})).unwrap_err(), ["KOP-X003 c"]);
    assert_eq!(outcome(&schema, &json!({"b": "B", "fest": "2"})).unwrap_err(), ["KOP-X007 fest"]);
    assert_eq!(outcome(&schema, &json!({"b": "B", "@v": "8"})).unwrap_err(), ["KOP-X007 @v"]);
    assert_eq!(outcome(&schema, &json!({"b": "B", "c/z": "zu lang"})).unwrap_err(), ["KOP-X022 c/z"]);
    assert_eq!(outcome(&schema, &json!({"b": "B", "a": "vielleicht"})).unwrap_err(), ["KOP-X020 a"]);
    assert_eq!(outcome(&schema, &json!({})).unwrap_err(), ["KOP-X001 b"]);
    assert_eq!(
        outcome(&schema, &json!({"b": "B", "c": [{"z": "1"}], "c/z": "2"})).unwrap_err(),
        ["KOP-X003 c"]
    );
}

#[test]
fn choices_go_by_what_is_present() {
    let schema = root(
        r#"<xs:choice>
            <xs:sequence><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string"/></xs:sequence>
            <xs:sequence><xs:element name="b" type="xs:string"/><xs:element name="c" type="xs:string"/></xs:sequence>
            <xs:element name="d" type="xs:string"/>
           </xs:choice>"#,
    );
    let written = |value| outcome(&schema, &value);
    assert_eq!(written(json!({"b": "1", "c": "2"})).unwrap(), "><p:b>1</p:b><p:c>2</p:c>");
    assert_eq!(written(json!({"a": "1", "b": "2"})).unwrap(), "><p:a>1</p:a><p:b>2</p:b>");
    assert_eq!(written(json!({"d": "1", "c": null})).unwrap(), "><p:d>1</p:d>");
    assert_eq!(written(json!({"d": "1", "a": "2", "b": "3"})).unwrap_err(), ["KOP-X005 d"]);
    assert_eq!(written(json!({})).unwrap_err(), ["KOP-X001 "]);
    assert_eq!(written(json!({"a": "1"})).unwrap_err(), ["KOP-X001 b"]);
}

#[test]
fn groups_repeat_in_step_and_derived_types_are_chosen_by_name() {
    let schema = root(
        r#"<xs:sequence>
            <xs:sequence maxOccurs="unbounded"><xs:group ref="p:Paar"/></xs:sequence>
            <xs:element name="w" type="p:Wert" minOccurs="0"/>
            <xs:element ref="p:kopf" minOccurs="0"/>
           </xs:sequence><xs:attributeGroup ref="p:Angaben"/>"#,
    ) + r#"<xs:group name="Paar"><xs:sequence><xs:element name="k" type="xs:string"/>
            <xs:element name="v" type="xs:string" minOccurs="0"/></xs:sequence></xs:group>
        <xs:attributeGroup name="Angaben"><xs:attribute name="q" type="xs:int"/></xs:attributeGroup>
        <xs:complexType name="Wert" abstract="true"><xs:sequence><xs:element name="e" type="xs:string"/></xs:sequence></xs:complexType>
        <xs:complexType name="Zahl"><xs:complexContent><xs:extension base="p:Wert"><xs:sequence>
            <xs:element name="f" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
        <xs:element name="kopf" type="xs:string" abstract="true"/>
        <xs:element name="hut" type="xs:string" substitutionGroup="p:kopf"/>
        <xs:element name="helm" type="xs:string" substitutionGroup="p:kopf"/>"#;
    let value = json!({"k": ["a", "b"], "v": ["1", "2"], "w": {"@xsi:type": "Zahl", "f": 3, "e": "E"}, "helm": "h", "@q": 1});
    let xml = outcome(&schema, &value).unwrap();
    assert!(xml.contains("<p:k>a</p:k><p:v>1</p:v><p:k>b</p:k><p:v>2</p:v>"), "{xml}");
    assert!(
        xml.contains("<p:w xsi:type=\"p:Zahl\"><p:e>E</p:e><p:f>3</p:f></p:w><p:helm>h</p:helm>"),
        "{xml}"
    );
    let problems = outcome(&schema, &json!({"k": "a", "w/e": "E"})).unwrap_err();
    assert_eq!(problems, ["KOP-X007 w"]);
}

#[test]
fn excessive_trees_are_refused() {
    let schema = root(r#"<xs:sequence><xs:element ref="p:t"/></xs:sequence>"#)
        + r#"<xs:element name="t"><xs:complexType><xs:sequence><xs:element ref="p:t" minOccurs="0"/>
            <xs:element name="u" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>"#;
    let nested = |levels: usize| (0..levels).fold(json!({"u": "x"}), |inner, _| json!({"t": inner}));
    assert!(outcome(&schema, &nested(20)).is_ok());
    let problems = outcome(&schema, &nested(300)).unwrap_err();
    assert!(problems[0].starts_with("KOP-X008"), "{problems:?}");
}
