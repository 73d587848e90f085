// SPDX-License-Identifier: EUPL-1.2
//! Reader and writer against small schemas of our own: which form a document takes in the map, and that the
//! form is written back as the same document.

use kop_core::Diagnostic;
use kop_xml::{MessageSchema, WriteOptions};
use serde_json::{Value, json};

use crate::{
    common::tree,
    equal::canonical,
    own::{probe, root},
};

const HEAD: &str = "<p:x.0001 xmlns:p=\"urn:p\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

fn document(inner: &str) -> String {
    format!("{HEAD}{inner}</p:x.0001>")
}

/// Reads a valid document whose inside is given, and writes it back.
#[track_caller]
fn holds(message: &MessageSchema, inner: &str, form: &Value) {
    let xml = document(inner);
    message.validate(xml.as_bytes(), None).unwrap_or_else(|problems| panic!("{inner}: {problems:#?}"));
    let read = message.read(xml.as_bytes()).unwrap_or_else(|problems| panic!("{inner}: {problems:#?}"));
    assert_eq!(read.to_json(), *form, "{inner}");
    let written = message.write(&read, &WriteOptions::default()).unwrap_or_else(|why| panic!("{why:#?}"));
    let text = String::from_utf8_lossy(&written.bytes);
    assert_eq!(canonical(&written.bytes), canonical(xml.as_bytes()), "{text}");
    message
        .validate(&written.bytes, Some(&written.paths))
        .unwrap_or_else(|problems| panic!("{text}: {problems:#?}"));
}

fn codes(problems: &[Diagnostic]) -> Vec<String> {
    let target = |problem: &Diagnostic| problem.target.clone().unwrap_or_default();
    problems.iter().map(|problem| format!("{} {}", problem.code, target(problem)).trim().to_owned()).collect()
}

fn refused(message: &MessageSchema, xml: &str) -> Vec<String> {
    codes(&message.read(xml.as_bytes()).unwrap_err())
}

fn unwritten(message: &MessageSchema, value: &Value) -> Vec<String> {
    codes(&message.write(&tree(value), &WriteOptions::default()).unwrap_err())
}

#[test]
fn lists_and_texts_go_by_the_schema() {
    let schema = root(
        r#"<xs:sequence>
            <xs:element name="eins" type="xs:string" minOccurs="0"/>
            <xs:element name="viele" type="xs:string" minOccurs="0" maxOccurs="2"/>
            <xs:element name="betrag" minOccurs="0"><xs:complexType><xs:simpleContent>
                <xs:extension base="xs:string"><xs:attribute name="w" default="EUR"/></xs:extension>
            </xs:simpleContent></xs:complexType></xs:element>
            <xs:element name="marke" minOccurs="0"><xs:complexType/></xs:element>
            <xs:element name="huelle" minOccurs="0"><xs:complexType><xs:sequence>
                <xs:element name="innen" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>
            <xs:element name="werte" minOccurs="0" maxOccurs="2"><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType></xs:element>
            <xs:element name="bild" type="xs:base64Binary" minOccurs="0"/>
            <xs:element name="u" minOccurs="0"><xs:simpleType><xs:union memberTypes="xs:date xs:gYear"/></xs:simpleType></xs:element>
           </xs:sequence><xs:attribute name="a"/><xs:attribute name="l" type="xs:NMTOKENS"/>"#,
    );
    let (_folder, message) = probe(&schema);
    holds(
        &message,
        " a=\"x\"><!-- weg --><p:eins><![CDATA[<1>]]>&amp;<?weg?>2</p:eins> <p:viele>v</p:viele><p:betrag>1</p:betrag>",
        &json!({"@a": "x", "eins": "<1>&2", "viele": ["v"], "betrag": {"$": "1"}}),
    );
    holds(
        &message,
        "><p:betrag w=\"DM\">1</p:betrag><p:huelle><p:innen>i</p:innen></p:huelle>",
        &json!({"betrag": {"$": "1", "@w": "DM"}, "huelle": {"innen": "i"}}),
    );
    // what is there though empty or blank
    holds(
        &message,
        " a=\"\"><p:eins/><p:viele> </p:viele><p:betrag w=\" \"/><p:marke/><p:huelle>\n </p:huelle>",
        &json!({"@a": {"#": []}, "eins": {"#": []}, "viele": [{"#": [{"$": " "}]}],
            "betrag": {"#": [], "@w": {"#": [{"$": " "}]}}, "marke": true, "huelle": {"#": []}}),
    );
    holds(
        &message,
        " l=\"b a\"><p:werte>1 2</p:werte><p:bild>SGFs\nbG8=</p:bild><p:u>2026</p:u>",
        &json!({"@l": "b a", "werte": ["1 2"], "bild": "SGFs\nbG8=", "u": "2026"}),
    );
    let lists = json!({"werte": [{"$": [1, 2]}, {"$": ["3"]}], "@l": ["b", "a"]});
    let written = message.write(&tree(&lists), &WriteOptions::default()).unwrap();
    message.validate(&written.bytes, None).unwrap();
    let lines = canonical(&written.bytes).join(" ");
    assert!(lines.contains("@{}l=b a") && lines.contains("\"1 2") && lines.contains("\"3"), "{lines}");
    assert_eq!(unwritten(&message, &json!({"@a": ["1", "2"]})), ["KOP-X003 @a"]);
    assert_eq!(unwritten(&message, &json!({"eins/$": ["1", "2"]})), ["KOP-X003 eins"]);
}

#[test]
fn what_a_map_cannot_order_is_ordered() {
    let schema = root(
        r#"<xs:sequence>
            <xs:choice minOccurs="0" maxOccurs="unbounded">
                <xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string"/>
                <xs:sequence><xs:element name="k" type="xs:string"/><xs:element name="w" type="xs:string" minOccurs="0"/></xs:sequence>
            </xs:choice>
            <xs:element name="ort" minOccurs="0"><xs:complexType><xs:sequence>
                <xs:element name="von" type="xs:string" minOccurs="0"/><xs:element name="bis" type="xs:string"/>
                <xs:element name="von" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>
            <xs:element name="alle" minOccurs="0"><xs:complexType><xs:all>
                <xs:element name="e" type="xs:string"/><xs:element name="f" type="xs:string" minOccurs="0"/></xs:all>
                </xs:complexType></xs:element>
            <xs:element name="z" type="xs:string" form="unqualified" minOccurs="0"/>
            <xs:element name="z" type="xs:int" minOccurs="0"/>
           </xs:sequence>"#,
    );
    let (_folder, message) = probe(&schema);
    let holds = |inner: &str, form: Value| self::holds(&message, &format!(">{inner}"), &form);
    holds("<p:a>1</p:a><p:a>2</p:a><p:b>3</p:b>", json!({"a": ["1", "2"], "b": ["3"]}));
    holds("<p:a>1</p:a><p:b>2</p:b><p:a>3</p:a>", json!({"#": [{"a": "1"}, {"b": "2"}, {"a": "3"}]}));
    // pairs that are all complete stay in step by themselves
    holds("<p:k>1</p:k><p:w>2</p:w><p:k>3</p:k>", json!({"k": ["1", "3"], "w": ["2"]}));
    holds("<p:k>1</p:k><p:k>2</p:k><p:w>3</p:w>", json!({"#": [{"k": "1"}, {"k": "2"}, {"w": "3"}]}));
    holds("<p:ort><p:von>1</p:von><p:bis>2</p:bis></p:ort>", json!({"ort": {"von": ["1"], "bis": "2"}}));
    holds(
        "<p:ort><p:bis>2</p:bis><p:von>1</p:von></p:ort>",
        json!({"ort": {"#": [{"bis": "2"}, {"von": "1"}]}}),
    );
    holds("<p:alle><p:e>1</p:e><p:f>2</p:f></p:alle>", json!({"alle": {"e": "1", "f": "2"}}));
    holds("<p:alle><p:f>2</p:f><p:e>1</p:e></p:alle>", json!({"alle": {"#": [{"f": "2"}, {"e": "1"}]}}));
    // one local name in two name spaces: the second one has its prefix
    holds("<z>eins</z><p:z>2</p:z>", json!({"z": "eins", "p:z": "2"}));
    holds("<p:z>2</p:z>", json!({"p:z": "2"}));

    let ordered = json!({"ort": {"#": [{"von": "1"}], "bis": "2"}});
    assert_eq!(unwritten(&message, &ordered), ["KOP-X003 ort"]);
    assert_eq!(unwritten(&message, &json!({"#": [{"a": "1", "b": "2"}]})), ["KOP-X003"]);
    assert_eq!(unwritten(&message, &json!({"#": [{"@a": "1"}]})), ["KOP-X002 @a"]);
    assert_eq!(unwritten(&message, &json!({"#": [{"$": "Text"}]})), ["KOP-X003"]);
    assert_eq!(unwritten(&message, &json!({"#": [{"a": "1"}, {"a/b": "2"}]})), ["KOP-X002 a[2]/b"]);
    // slash keys and lists work in it, empty ones are left out
    let value = json!({"#": [{"b": "0"}, {"a": ["1", "2", ""]}, {"b": null}, {"ort/bis": "3"}]});
    let written = message.write(&tree(&value), &WriteOptions::default()).unwrap();
    message.validate(&written.bytes, None).unwrap();
    let paths: Vec<String> = written.paths.rows().map(|(_, target)| target).collect();
    assert_eq!(paths, ["", "b[1]", "a[1]", "a[2]", "ort", "ort/bis"]);
}

#[test]
fn derived_types_substitutes_and_nil_are_kept() {
    let schema = root(
        r#"<xs:sequence>
            <xs:element name="w" type="p:Wert" minOccurs="0"/>
            <xs:element name="t" type="p:Text" minOccurs="0" nillable="true"/>
            <xs:element name="n" type="p:Konkret" minOccurs="0" nillable="true"/>
            <xs:element ref="p:kopf" minOccurs="0" maxOccurs="unbounded"/>
           </xs:sequence>"#,
    ) + r#"<xs:complexType name="Wert" abstract="true"/>
        <xs:complexType name="Konkret"><xs:complexContent><xs:extension base="p:Wert"><xs:sequence>
            <xs:element name="e" type="xs:string"/></xs:sequence><xs:attribute name="v"/></xs:extension></xs:complexContent></xs:complexType>
        <xs:complexType name="Mehr"><xs:complexContent><xs:extension base="p:Konkret"><xs:sequence>
            <xs:element name="f" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
        <xs:simpleType name="Text"><xs:restriction base="xs:string"/></xs:simpleType>
        <xs:simpleType name="Kurztext"><xs:restriction base="p:Text"><xs:maxLength value="3"/></xs:restriction></xs:simpleType>
        <xs:element name="kopf" type="xs:string" abstract="true"/>
        <xs:element name="hut" type="xs:string" substitutionGroup="p:kopf"/>
        <xs:element name="helm" type="xs:string" substitutionGroup="p:kopf"/>"#;
    let (_folder, message) = probe(&schema);
    let holds = |inner: &str, form: Value| self::holds(&message, &format!(">{inner}"), &form);
    holds("<p:w xsi:type=\"p:Konkret\"><p:e>1</p:e></p:w>", json!({"w": {"@xsi:type": "Konkret", "e": "1"}}));
    // a concrete type may be replaced too, and may name itself
    holds(
        "<p:n v=\"0\" xsi:type=\"p:Mehr\"><p:e>1</p:e><p:f>2</p:f></p:n>",
        json!({"n": {"@v": "0", "@xsi:type": "Mehr", "e": "1", "f": "2"}}),
    );
    holds("<p:n xsi:type=\"p:Konkret\"><p:e>1</p:e></p:n>", json!({"n": {"@xsi:type": "Konkret", "e": "1"}}));
    holds("<p:t xsi:type=\"p:Kurztext\">abc</p:t>", json!({"t": {"@xsi:type": "Kurztext", "$": "abc"}}));
    holds("<p:t xsi:nil=\"1\"/>".replace('1', "true").as_str(), json!({"t": {"@xsi:nil": true}}));
    holds("<p:n v=\"0\" xsi:nil=\"true\"/>", json!({"n": {"@v": "0", "@xsi:nil": true}}));
    holds("<p:hut>1</p:hut><p:helm>2</p:helm>", json!({"hut": ["1"], "helm": ["2"]}));
    holds(
        "<p:helm>2</p:helm><p:hut>1</p:hut><p:helm>3</p:helm>",
        json!({"#": [{"helm": "2"}, {"hut": "1"}, {"helm": "3"}]}),
    );
    let xml = |inner: &str| document(&format!(">{inner}"));
    assert_eq!(refused(&message, &xml("<p:n xsi:type=\"p:Text\"><p:e>1</p:e></p:n>")), ["KOP-X036 n"]);
    assert_eq!(refused(&message, &xml("<p:n xsi:type=\"q:Mehr\"><p:e>1</p:e></p:n>")), ["KOP-X036 n"]);
    assert_eq!(unwritten(&message, &json!({"n": {"@xsi:type": "Text", "e": "1"}})), ["KOP-X007 n"]);
    assert_eq!(
        unwritten(&message, &json!({"w": {"@xsi:nil": true, "@xsi:type": "Konkret"}})),
        ["KOP-X003 w"]
    );
    assert_eq!(unwritten(&message, &json!({"t": {"@xsi:nil": true, "$": "x"}})), ["KOP-X003 t"]);
}

#[test]
fn whatever_a_wildcard_lets_in_passes_through() {
    let schema = root(
        r###"<xs:sequence>
            <xs:element name="a" type="xs:string" minOccurs="0"/>
            <xs:any namespace="##any" processContents="lax" minOccurs="0" maxOccurs="unbounded"/>
           </xs:sequence><xs:anyAttribute namespace="##any" processContents="lax"/>"###,
    ) + r#"<xs:element name="frei"/>"#;
    let (_folder, message) = probe(&schema);
    let holds = |inner: &str, form: Value| self::holds(&message, inner, &form);
    holds(
        "><p:a>1</p:a><f xmlns=\"urn:f/1\" h=\"2\"><g>3</g> <g/></f>",
        json!({"a": "1", "{urn:f/1}f": [{"@h": "2", "{urn:f/1}g": ["3", {"#": []}]}]}),
    );
    holds(
        " xmlns:q=\"urn:q\" q:m=\"1\" o=\"2\" xml:lang=\"de\"><q:e q:m=\"&lt;\">a <b>b</b> <q:c xml:space=\"preserve\"> </q:c></q:e><f/><q:e>x</q:e>",
        json!({"@{urn:q}m": "1", "@o": "2", "@{http://www.w3.org/XML/1998/namespace}lang": "de", "#": [
            {"{urn:q}e": {"@{urn:q}m": "<", "#": [{"$": "a "}, {"{}b": "b"}, {"$": " "},
                {"{urn:q}c": {"@{http://www.w3.org/XML/1998/namespace}space": "preserve", "#": [{"$": " "}]}}]}},
            {"{}f": {"#": []}},
            {"{urn:q}e": "x"}]}),
    );
    // a declared element without a type, and a type named inside
    holds(
        "><p:frei><i xmlns:s=\"http://www.w3.org/2001/XMLSchema\" xsi:type=\"s:int\">7</i></p:frei>",
        json!({"{urn:p}frei": [{"{}i": [{"@xsi:type": "{http://www.w3.org/2001/XMLSchema}int", "$": "7"}]}]}),
    );
    for name in ["{urn:q}", "{urn:q", "{urn:q}a b", "{urn:q}a/b", "{urn:q}a><b", "*", "{}1"] {
        let problems = unwritten(&message, &json!({(name): "x"}));
        assert!(problems[0].starts_with("KOP-X002"), "{name}: {problems:?}");
    }
    assert_eq!(unwritten(&message, &json!({"@{urn:q}a\"": "x"})), ["KOP-X002 @{urn:q}a\""]);
    let written = message.write(&tree(&json!({"{urn:\"<q}a": "x"})), &WriteOptions::default()).unwrap();
    assert!(String::from_utf8(written.bytes).unwrap().contains("<a xmlns=\"urn:&quot;&lt;q\">x</a>"));
}

#[test]
fn text_between_elements_is_kept_where_it_counts() {
    let schema = root(
        r#"<xs:sequence><xs:element name="m" minOccurs="0"><xs:complexType mixed="true"><xs:sequence>
            <xs:element name="b" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
            <xs:element name="c" minOccurs="0"><xs:complexType><xs:sequence>
                <xs:element name="d" type="xs:string"/></xs:sequence></xs:complexType></xs:element></xs:sequence>
            </xs:complexType></xs:element></xs:sequence>"#,
    );
    let (_folder, message) = probe(&schema);
    let holds = |inner: &str, form: Value| {
        self::holds(&message, &format!("><p:m>{inner}</p:m>"), &json!({"m": form}));
    };
    holds("nur Text", json!("nur Text"));
    holds("\n  <p:b>1</p:b>\n  <p:b>2</p:b>\n", json!({"b": ["1", "2"]}));
    holds(
        "vor <p:b>1</p:b> <p:b>2</p:b>\n nach",
        json!({"#": [{"$": "vor "}, {"b": "1"}, {"$": " "}, {"b": "2"}, {"$": "\n nach"}]}),
    );
    holds("a<p:c>\n <p:d>1</p:d></p:c>", json!({"#": [{"$": "a"}, {"c": {"d": "1"}}]}));
}

#[test]
fn what_is_no_such_message_is_refused() {
    let schema = root(
        r#"<xs:sequence><xs:element name="a" type="xs:string" minOccurs="0"/>
            <xs:element name="t" minOccurs="0" maxOccurs="2"><xs:complexType><xs:sequence>
                <xs:any minOccurs="0" processContents="lax"/></xs:sequence></xs:complexType></xs:element></xs:sequence>
            <xs:attribute name="q"/>"#,
    );
    let (_folder, message) = probe(&schema);
    let refused = |xml: &str| refused(&message, xml);
    let inside = |inner: &str| refused(&document(inner));
    assert!(message.read(document(">").as_bytes()).is_ok());
    assert_eq!(refused("<x.0001 xmlns=\"urn:q\"/>"), ["KOP-X033"]);
    assert_eq!(refused("<p:x.0002 xmlns:p=\"urn:p\"/>"), ["KOP-X033"]);
    assert_eq!(
        inside("><p:u><p:v/></p:u><p:t><p:y/></p:t><p:t><p:y/>z</p:t>"),
        ["KOP-X034 u", "KOP-X035 t[2]"]
    );
    assert_eq!(inside("><a>1</a>"), ["KOP-X034 a"]);
    assert_eq!(
        inside(" p:q=\"1\"><p:a r=\"1\"><p:b/></p:a>"),
        ["KOP-X034 @p:q", "KOP-X034 a/@r", "KOP-X035 a/b"].map(|code| code.replace("@p:q", "@q"))
    );
    assert_eq!(inside(">Text"), ["KOP-X035"]);
    for inner in [
        "><p:a>1</p:b>",
        "><p:a>1",
        "><q:a/>",
        " q=\"1\" q=\"2\">",
        " xmlns:r=\"urn:p\" p:q=\"1\" r:q=\"2\">",
        "><p:a>&#1;</p:a>",
        " q=\"&#x1F;\">",
        "><p:a>\u{ffff}</p:a>",
        "><p:a>&#xD800;</p:a>",
        "><p:a>1 & 2</p:a>",
    ] {
        let problems = inside(inner);
        assert!(problems == ["KOP-X030"] || problems == ["KOP-X031"], "{inner}: {problems:?}");
    }
    for xml in [
        "",
        "<!-- -->",
        "Text",
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><p:x.0001 xmlns:p=\"urn:p\"/>",
    ] {
        assert_eq!(refused(xml), ["KOP-X030"], "{xml}");
    }
    assert_eq!(refused(&format!("{}<p:x.0001 xmlns:p=\"urn:p\"/>", document(">"))), ["KOP-X030"]);
    assert_eq!(
        codes(&message.read(b"<p:x.0001 xmlns:p=\"urn:p\">\xe4</p:x.0001>").unwrap_err()),
        ["KOP-X030"]
    );
    let laugh = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]>";
    assert_eq!(refused(&format!("{laugh}{}", document("><p:a>&b;</p:a>"))), ["KOP-X031"]);
    assert_eq!(inside("><p:a>&b;</p:a>"), ["KOP-X031"]);
    assert_eq!(inside(&format!("><p:t>{}", "<a>".repeat(100_000))), ["KOP-X032"]);
    let many: String = (0..300).map(|number| format!(" a{number}=\"\"")).collect::<Vec<_>>().concat();
    assert_eq!(inside(&format!("{many}>")), ["KOP-X032"]);
    let problem = message.read(document(">\n\n<p:a>1</p:b>").as_bytes()).unwrap_err().remove(0);
    assert_eq!(problem.detail.as_deref(), Some("Zeile 3"));
    // at most fifty problems, whatever comes
    assert_eq!(inside(&format!(">{}", "<p:u/>".repeat(1_000))).len(), 50);
    let big = "<p:t/>".repeat(1_000_001);
    assert_eq!(inside(&format!(">{big}")), ["KOP-X032"]);
}
