// SPDX-License-Identifier: EUPL-1.2
//! Validation as a stream: says what validation as a tree says, with bounded memory, and refuses what hostile
//! documents try.

use std::{
    fmt::Write as _,
    io::{self, Read},
};

use kop_core::Diagnostic;
use kop_xml::{MessageSchema, WriteOptions};
use serde_json::json;

use crate::{common::tree, own::probe};

const SCHEMA: &str = r#"<xs:element name="x.0001"><xs:complexType><xs:sequence>
    <xs:element name="kopf" type="xs:string"/>
    <xs:element name="satz" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        <xs:element name="nummer" type="xs:integer"/>
        <xs:element name="wort" minOccurs="0" maxOccurs="3"><xs:complexType><xs:simpleContent>
            <xs:extension base="p:Kurz"><xs:attribute name="art" type="xs:integer"/></xs:extension>
        </xs:simpleContent></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>
</xs:sequence></xs:complexType></xs:element>"#;

fn document(records: &str) -> String {
    format!("<x.0001 xmlns=\"urn:p\">\n<kopf>k</kopf>{records}\n</x.0001>")
}

fn record(number: usize, words: &str) -> String {
    format!("\n<satz><nummer>{number}</nummer>{words}</satz>")
}

/// All that a diagnostic says.
fn said(judged: Result<(), Vec<Diagnostic>>) -> Vec<String> {
    let problems = judged.err().unwrap_or_default();
    let full = |problem: &Diagnostic| {
        let json = serde_json::to_string(problem).unwrap();
        format!("{json} {:?}", problem.revealed)
    };
    problems.iter().map(full).collect()
}

fn code(judged: Result<(), Vec<Diagnostic>>) -> String {
    judged.err().map_or_else(String::new, |problems| problems[0].code.clone())
}

#[test]
fn a_stream_says_what_a_tree_says() {
    let (_folder, message) = probe(SCHEMA);
    let cases = [
        document(""),
        document(&record(1, "<wort>a</wort>")),
        document(&record(1, "<wort>abcd</wort>")),
        document(&record(1, "<wort>abcd</wort><wort>abcde</wort>")),
        document(&record(1, "<wort>a</wort><wort art='x &amp; y'>b</wort>")),
        document(&record(1, "<wort art='1' falsch='2'>b</wort>")),
        document(&record(1, "<wort>a<b/></wort><wort><![CDATA[a&b]]>&amp;&#65;</wort>")),
        document(&record(1, "<!-- x --><wort>ab<!-- y -->cd</wort><?z z?>")),
        document(&(record(1, "") + &record(2, "<falsch/>") + "<satz/>" + &record(3, "Text"))),
        document(&record(1, "<wort>a<b/></wort>")),
        document("<satz><nummer>x</nummer></satz><falsch/>"),
        "<x.0001 xmlns='urn:p'/>".to_owned(),
        "<y xmlns='urn:p'/>".to_owned(),
        document(&record(1, "<p:wort xmlns:p='urn:p'>abcd</p:wort>")),
    ];
    message.validate(cases[0].as_bytes(), None).unwrap();
    let mut wrong = 0;
    for xml in &cases {
        let tree = said(message.validate(xml.as_bytes(), None));
        for foreign in [false, true] {
            let stream = said(message.validate_stream(xml.as_bytes(), foreign));
            // values of cut-up texts are only known to a stream
            let cut = xml.contains("<!-- y -->") || xml.contains("CDATA");
            assert!(stream == tree || (cut && stream.len() == tree.len()), "{xml}\n{stream:#?}\n{tree:#?}");
        }
        wrong += tree.len();
    }
    assert!(wrong > 12, "only {wrong} violations");
}

/// A writer-made document of more than 2 MB.
fn large(message: &MessageSchema, records: u32) -> kop_xml::Written {
    let records: Vec<_> =
        (0..records).map(|n| json!({"nummer": i64::from(n), "wort": ["eins".get(..3), "zw"]})).collect();
    message.write(&tree(&json!({"kopf": "k", "satz": records})), &WriteOptions::default()).unwrap()
}

#[test]
fn large_documents_stream_and_name_the_place() {
    let (_folder, message) = probe(SCHEMA);
    let mut written = large(&message, 20_000);
    assert!(written.bytes.len() > 2_000_000, "{}", written.bytes.len());
    message.validate(&written.bytes, Some(&written.paths)).unwrap();
    message.validate(&written.bytes, None).unwrap();
    let xml = String::from_utf8(written.bytes).unwrap();
    let number = ">12345</";
    assert_eq!(xml.matches(number).count(), 1);
    written.bytes = xml.replace(number, ">x2345</").into_bytes();
    for paths in [Some(&written.paths), None] {
        let problems = message.validate(&written.bytes, paths).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(problems[0].target.as_deref(), Some("satz[12346]/nummer"));
        assert_eq!(problems[0].revealed.as_deref(), Some("x2345"));
    }
    let all_wrong = xml.replace("zw</", "viel zu lang</").into_bytes();
    let problems = message.validate_stream(all_wrong.as_slice(), true).unwrap_err();
    assert!((50..=200).contains(&problems.len()), "{}", problems.len());
}

#[test]
fn hostile_and_broken_streams_are_refused() {
    let (_folder, message) = probe(SCHEMA);
    let good = document(&record(1, "<wort>a</wort>"));
    let judge = |xml: &str, foreign: bool| code(message.validate_stream(xml.as_bytes(), foreign));
    for foreign in [false, true] {
        let bad = |xml: &str| assert_eq!(judge(xml, foreign), "KOP-X026", "{foreign} {xml:.200}");
        assert_eq!(judge(&good, foreign), "");
        bad(&format!("<!DOCTYPE x [<!ENTITY a 'ha'>]>{}", good.replace(">a<", ">&a;<")));
        bad(&format!("<!DOCTYPE x SYSTEM 'file:///etc/hostname'>{good}"));
        bad(&format!("<!-- <a> --><!DOCTYPE x>{good}"));
        bad(&good.replace(">a<", ">&a;<"));
        bad(&good.replace(">a<", ">&#1;<"));
        bad(&good.replace(">a<", ">\u{1}<"));
        bad(&good.replace(">a<", ">\u{ffff}<"));
        bad(&good.replace("<wort>a</wort>", "<p:wort>a</p:wort>"));
        bad(&good.replace("<wort>", "<wort art='1' art='1'>"));
        bad(&good.replace("<wort>", "<wort art='<'>"));
        bad(&good.replace("<wort>", "<wo&amp;rt>"));
        bad(&good.replace("</wort>", "</kopf>"));
        bad(&format!("{good}<x/>"));
        bad(&format!("{good}x"));
        bad(&"<a>".repeat(100_000));
        bad("");
        for cut in 0..good.len() {
            bad(&good[..cut]);
        }
        bad(&format!("<?xml version=\"1.0\" encoding=\"EBCDIC-CP-DE\"?>{good}").replace(">a<", ">&a;<"));
    }
    assert_eq!(judge(&format!("<?xml version='1.0' encoding='ISO-8859-1'?>{good}"), true), "KOP-X026");
    assert_eq!(judge(&format!("\u{feff}<?xml version='1.0' encoding='utf-8'?>{good}"), true), "");
    let latin = good.replace(">a<", ">ä<").replace('ä', "\u{0}").into_bytes();
    let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == 0 { 0xe4 } else { byte }).collect();
    assert_eq!(code(message.validate_stream(latin.as_slice(), true)), "KOP-X026");
    assert_eq!(code(message.validate_stream(latin.as_slice(), false)), "KOP-X026");
    let line = message.validate_stream(good.replace("</wort>", "</wart>").as_bytes(), true).unwrap_err();
    assert!(line[0].de.contains("Zeile 3"), "{line:?}");
    let tag =
        good.replace("<kopf>", "<kopf\n\n>").replace("<wort>", "<1wort>").replace("</wort>", "</1wort>");
    let line = message.validate_stream(tag.as_bytes(), true).unwrap_err();
    assert!(line[0].de.contains("Zeile 5"), "{line:?}");
}

/// Repeats some text without holding it, and fails in the end if it shall.
struct Endless {
    head: Vec<u8>,
    part: Vec<u8>,
    at: usize,
    fails: bool,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            let count = self.head.len().min(into.len());
            into[..count].copy_from_slice(&self.head[..count]);
            self.head.drain(..count);
            return Ok(count);
        }
        if self.fails {
            return Err(io::Error::other("Leitung weg"));
        }
        for byte in into.iter_mut() {
            *byte = self.part[self.at % self.part.len()];
            self.at += 1;
        }
        Ok(into.len())
    }
}

#[test]
fn memory_does_not_grow_with_the_document() {
    let (_folder, message) = probe(SCHEMA);
    let endless = |part: &str| Endless {
        head: document("").trim_end_matches("</x.0001>").into(),
        part: part.into(),
        at: 0,
        fails: false,
    };
    let warm = large(&message, 20_000).bytes;
    message.validate_stream(warm.as_slice(), true).unwrap();
    drop(warm);
    let before = resident();
    for foreign in [true, false] {
        let sixteen = endless(&record(1, "<wort>abc</wort>")).take(16 << 20);
        assert_eq!(code(message.validate_stream(sixteen, foreign)), "KOP-X026", "it is cut off");
    }
    // one text, one tag or one comment without end
    for part in ["abcdefgh", "<kopf ", "<!--", "<kopf a='b' c='"] {
        let mut never = endless("x");
        never.head.extend_from_slice(part.as_bytes());
        assert_eq!(code(message.validate_stream(never, true)), "KOP-X026", "{part}");
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after < before + (60 << 10), "{before} KiB, then {after} KiB");
    }
}

/// Highest resident memory so far in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_broken_source_is_an_error_not_an_end() {
    let (_folder, message) = probe(SCHEMA);
    for foreign in [true, false] {
        let broken =
            Endless { head: document("").replace("</x", "").into(), part: Vec::new(), at: 0, fails: true };
        let problems = message.validate_stream(broken, foreign).unwrap_err();
        assert_eq!(problems[0].de, "Das Dokument konnte nicht gelesen werden.");
    }
    let mut unfinished = String::new();
    let _ = write!(unfinished, "{}", document("").trim_end_matches('>'));
    assert_eq!(code(message.validate_stream(unfinished.as_bytes(), true)), "KOP-X026");
}
