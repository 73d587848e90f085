// SPDX-License-Identifier: EUPL-1.2
//! What authors of mappings write must work, and what they get wrong must be said well.

mod common;

use std::sync::Arc;

use common::{host, input, json, problem, run, source};
use kop_mapping::{FileList, functions};
use serde_json::json;

#[test]
fn typical_code_works() {
    let host = host();
    for (script, value) in [
        (
            r#"eingang.liste("flurstueck").map(|f| #{ z: f.text("zaehler"), wer: eingang.text("bauherr/nachname") })"#,
            json!([{"z": "12", "wer": "Beispiel"}, {"z": "13", "wer": "Beispiel"}]),
        ),
        (
            r#"fn name(p) { p.pflicht("nachname") + ", " + eingang.text("bauherr/vorname") } name(eingang.teil("bauherr"))"#,
            json!("Beispiel, Karla"),
        ),
        (
            r#"let größe = 3; let straße = eingang.text("bauherr/straße"); `${straße} ${größe}`"#,
            json!("Am Markt 3"),
        ),
        (
            r#"switch eingang.text("bauherr/anrede") { "1" => "Herr", "2" => eingang.anzeige("bauherr/anrede"), _ => throw }"#,
            json!("Frau"),
        ),
        (r#"let land = "x"; let faktor = 2; [1, 2].map(|n| `${n * faktor}${land}`)"#, json!(["2x", "4x"])),
        (
            r#"[1, 2].map(|n| eingang.liste("flurstueck").map(|f| f.text("zaehler") + n + eingang.text("denkmal")))"#,
            json!([["121ja", "131ja"], ["122ja", "132ja"]]),
        ),
        (
            r#"#{ a: eingang.text("bauherr/titel"), b: eingang.text("gibt/es/nicht") ?? "–", c: eingang.hat("bauherr/titel") }"#,
            json!({"a": null, "b": "–", "c": false}),
        ),
        (
            r#"#{ z: eingang.zahl("baukosten"), d: eingang.datum("bauherr/geburtsdatum"), w: eingang.wahr("denkmal"), n: eingang.wahr("fehlt") }"#,
            json!({"z": "1234.50", "d": "1950-01-04", "w": true, "n": false}),
        ),
        (
            r#"eingang.liste("hund").map(|h| h.text("rufname")) + eingang.liste("fehlt").map(|h| 1)"#,
            json!(["Bello"]),
        ),
        (r#"eingang.teil("fehlt/ganz").text("x") ?? "leer""#, json!("leer")),
        (r#"eingang.text("flurstueck[2]/zaehler") + eingang.text("flurstueck/zaehler")"#, json!("1312")),
        (
            r"[eingang.eingangsdatum, eingang.eingangszeitpunkt, heute(), eingang.leistung, eingang.formular_name]",
            json!(["2026-11-24", "2026-11-24T23:30:00+01:00", "2026-11-25", "99012012001000", null]),
        ),
        (r#"code(tabelle("anrede", eingang.text("bauherr/anrede"))) "#, json!({"code": "Frau"})),
        (
            r#"[code(()), tabelle("anrede", ()), tabelle("anrede", 2, "lang"), tabelle_oder("anrede", "9", "?")]"#,
            json!([null, null, "Frau", "?"]),
        ),
        (r#"eingang.felder("").len()"#, json!(13)),
        (r#"eingang.felder("flurstueck").map(|f| f.text)"#, json!(["12", "3", "13"])),
        (
            r#"let m = #{}; m.a = 1; m["b/c"] = eingang.antragsteller.text("nachname"); m"#,
            json!({"a": 1, "b/c": "Beispiel"}),
        ),
        (
            r#"let teile = []; for f in eingang.liste("flurstueck") { teile.push(f.pflicht("zaehler")); } teile"#,
            json!(["12", "13"]),
        ),
        (
            r#"fn erst(x) { if x == () { return #{ leer: true }; } #{ x: x } } [erst(()), erst("a")]"#,
            json!([{"leer": true}, {"x": "a"}]),
        ),
        (r#"stabile_uuid("a") == stabile_uuid("a") && stabile_uuid("a") != stabile_uuid("b")"#, json!(true)),
    ] {
        assert_eq!(json(&host, script), value, "{script}");
    }
}

#[test]
fn modules_read_the_submission_and_one_another() {
    let host = host();
    let personen = r#"import "texte" as texte; fn name(p) { texte::gross_geschrieben(p.text("nachname")) + eingang.text("bauherr/vorname") }
        fn felder(p) { #{ familienname: p.pflicht("nachname") } }"#;
    let texte = "fn gross_geschrieben(t) { gross(t) }";
    let script = r#"import "personen" as personen; #{ wer: personen::name(eingang.teil("bauherr")), person: personen::felder(eingang.teil("bauherr")) }"#;
    let output = run(&host, script, &[("personen", personen), ("texte", texte)]).unwrap();
    assert_eq!(
        output.tree.to_json(),
        json!({"wer": "BEISPIELKarla", "person": {"familienname": "Beispiel"}})
    );
    // The read in the module names the module's file; the key in it is found through the call.
    let read = output.reads.iter().find(|read| read.path == "bauherr/vorname").unwrap();
    assert_eq!(read.place.as_ref().unwrap().file, "_gemeinsam/personen.rhai");
    let key = &output.keys.get("person/familienname")[0];
    assert_eq!((&*key.file, key.line), ("_gemeinsam/personen.rhai", 2));

    let problems =
        run(&host, r#"import "p" as p; p::f(eingang)"#, &[("p", "fn f(t) {\n  t.pflicht(\"titel\")\n}")])
            .unwrap_err();
    let place = problems[0].place.as_ref().unwrap();
    assert_eq!((place.file.as_str(), place.line), ("_gemeinsam/p.rhai", 2), "{problems:#?}");
    assert!(
        run(&host, "1", &[("a", r#"import "b" as b; fn x() {1}"#), ("b", r#"import "a" as a; fn x() {1}"#)])
            .is_err()
    );
}

#[test]
fn problems_carry_code_place_and_field() {
    let host = host();
    for (script, code, line, column, field) in [
        ("let a = 1;\n#{ x: eingang.pflicht(\"bauherr/titel\") }", "KOP-M002", 2, 15, Some("bauherr/titel")),
        (
            "fn f(t) {\n  t.pflicht(\"nenner\")\n}\neingang.liste(\"flurstueck\").map(|x| f(x))",
            "KOP-M002",
            2,
            5,
            Some("flurstueck[2]/nenner"),
        ),
        (
            "let art = eingang.text(\"art\");\nlet b = eingang.text(\"denkmal\");\n tabelle(\"anrede\", art)",
            "KOP-M003",
            3,
            2,
            Some("art"),
        ),
        ("tabelle(\"gibtsnicht\", \"1\")", "KOP-M003", 1, 1, None),
        ("eingang.datum(\"termin\")", "KOP-M007", 1, 9, Some("termin")),
        ("datum_aus(eingang.text(\"termin\"))", "KOP-M007", 1, 1, Some("termin")),
        ("parameter(\"fehlt\")", "KOP-M006", 1, 1, None),
        ("\n  fehler(\"So nicht.\")", "KOP-M008", 2, 3, None),
        ("#{ a: #{\n b: 1.5 } }", "KOP-M009", 2, 2, None),
        ("#{ a: [1, eingang.teil(\"bauherr\")] }", "KOP-M009", 1, 4, None),
        ("let x = ;", "KOP-M001", 1, 9, None),
        ("let a = #{ x: 1\nlet b = 2;", "KOP-M001", 2, 1, None),
        ("gibtsnicht", "KOP-M001", 1, 1, None),
        ("fn f() { niemand__ }\nf()", "KOP-M001", 1, 10, None),
        ("let eingang = 42;", "KOP-M001", 1, 5, None),
        ("fn f(eingang) { 1 }", "KOP-M001", 1, 0, None),
        ("eingang.vorgangsnummer = \"x\";", "KOP-M005", 1, 9, None),
        ("gross(eingang)", "KOP-M005", 1, 1, None),
        ("eingang.text(()) ", "KOP-M005", 1, 9, None),
        ("let a = [1]; a[7]", "KOP-M010", 1, 16, None),
        ("1 / 0", "KOP-M010", 1, 3, None),
        ("unbekannte_funktion(1)", "KOP-M010", 1, 1, None),
        ("eingang.text(\"a//b\")", "KOP-M010", 1, 9, None),
        ("eingang.antragsteller.text(\"nachnahme\")", "KOP-M010", 1, 23, None),
        ("throw \"Karla Beispiel\"", "KOP-M008", 1, 1, None),
    ] {
        let problem = problem(&host, script);
        assert_eq!(problem.code, code, "{script}\n{problem:#?}");
        let place = problem.place.as_ref().expect("a place");
        assert_eq!((place.line, place.column), (line, column), "{script}\n{problem:#?}");
        assert!(place.column == 0 || place.snippet.is_some());
        assert_eq!(problem.field.as_ref().map(|f| f.path.as_str()), field, "{script}\n{problem:#?}");
        for text in [&problem.de, &problem.en] {
            assert!(
                !text.contains("unbekannt“") && !text.contains("Karla") && !text.contains("Keine Angabe"),
                "{text}"
            );
        }
    }
    let label = problem(&host, "eingang.pflicht(\"bauherr/titel\")");
    assert_eq!(label.de, "Das Pflichtfeld „Titel“ ist leer.");
    assert_eq!(label.field.unwrap().label.as_deref(), Some("Titel"));
}

#[test]
fn files_become_parts_with_safe_unique_names() {
    let host = host();
    let script = r#"let a = datei(eingang.anlagen[0], "Plan.pdf"); let b = datei(eingang.anlagen[1], "../PLAN.pdf");
        let c = datei(eingang.anlagen[1], "PLAN.pdf"); let d = datei_mit_uuid(eingang.repraesentationen[0]);
        #{ a: a.dateiname, b: b.dateiname, c: c.dateiname, d: d.dateiname == d.id + "_Antrag.pdf", groesse: a.groesse }"#;
    let output = run(&host, script, &[]).unwrap();
    assert_eq!(
        output.tree.to_json(),
        json!({"a": "Plan.pdf", "b": "PLAN_2.pdf", "c": "PLAN_2.pdf", "d": true, "groesse": 10})
    );
    let files: Vec<_> = output.files.iter().map(|file| (file.list, file.index)).collect();
    assert_eq!(files, [(FileList::Anlagen, 0), (FileList::Anlagen, 1), (FileList::Repraesentationen, 0)]);
}

#[test]
fn reads_are_recorded_with_label_place_and_presence() {
    let host = host();
    let output = run(
        &host,
        "let b = eingang.teil(\"bauherr\");\nb.text(\"titel\"); eingang.vorgangsnummer; b.text(\"nachname\")",
        &[],
    )
    .unwrap();
    let reads: Vec<_> = output.reads.iter().collect();
    let reads: Vec<_> = reads
        .iter()
        .map(|read| (&*read.path, read.label.as_deref(), read.place.as_ref().unwrap().line, read.present))
        .collect();
    assert_eq!(
        reads,
        [
            ("bauherr", Some("Bauherrin oder Bauherr"), 1, true),
            ("bauherr/titel", Some("Titel"), 2, false),
            ("@vorgangsnummer", None, 2, true),
            ("bauherr/nachname", Some("Nachname"), 2, true),
        ]
    );
}

#[test]
fn what_is_in_use_is_compiled_once() {
    let host = host();
    let compile = |text: &str, module: &str| host.compile(source(text, &[("amt", module)])).unwrap();
    let first = compile("import \"amt\" as a; a::X", "export const X = 1;");
    assert!(Arc::ptr_eq(&first, &compile("import \"amt\" as a; a::X", "export const X = 1;")));
    // A changed module is another script, although the script itself stays the same.
    let other = compile("import \"amt\" as a; a::X", "export const X = 2;");
    assert!(!Arc::ptr_eq(&first, &other));
    assert_eq!(host.run_blocking(&other, input()).unwrap().tree.to_json(), json!(2));
    let unused = Arc::downgrade(&first);
    drop(first);
    assert!(unused.upgrade().is_none(), "what nobody uses is given up");
}

#[test]
fn target_paths_lead_to_script_lines() {
    let host = host();
    let script = host
        .compile(source(
            "fn person(p) {\n  #{ \"name/vorname\": p.text(\"vorname\"),\n     ort: \"x\" }\n}\nlet b = person(eingang.teil(\"bauherr\"));\nlet out = #{};\nout.antragsteller = b;\nout[\"a/b\"] = eingang.liste(\"flurstueck\").map(|f| #{\n  z: f.text(\"zaehler\") });\nif eingang.hat(\"x\") { out.x = 1; }\nout",
            &[],
        ))
        .unwrap();
    for (path, line) in [
        ("antragsteller", 7),
        ("antragsteller/name/vorname", 2),
        ("antragsteller/ort", 3),
        ("a/b", 8),
        ("a/b[2]/z", 9),
        ("x", 10),
        ("antragsteller/ort/unbekannt", 3),
    ] {
        assert_eq!(script.place_of(path).map(|place| place.line), Some(line), "{path}");
    }
    assert!(script.place_of("nirgends").is_none());
}

#[test]
fn conditions_hold_or_do_not_or_say_why() {
    let host = host();
    let holds = |text: &str| host.condition(text, None)?.holds(input());
    assert!(holds(r#"eingang.text("art") == "unbekannt""#).unwrap());
    assert!(holds(r#"parameter("land") == "01" && eingang.hat("bauherr")"#).unwrap());
    assert!(!holds(r#"eingang.formular_id == "x""#).unwrap());
    assert_eq!(holds(r#"eingang.text("art")"#).unwrap_err()[0].code, "KOP-M005");
    assert_eq!(holds("let x = 1; true").unwrap_err()[0].code, "KOP-M001");
    assert_eq!(holds("eingang.").unwrap_err()[0].code, "KOP-M001");
}

#[test]
fn every_function_is_documented_and_its_example_runs() {
    let host = host();
    for doc in functions() {
        run(&host, doc.example, &[]).unwrap_or_else(|problems| panic!("{}: {problems:#?}", doc.name));
        assert!(doc.doc_de.ends_with('.') && doc.signature.contains(doc.name), "{}", doc.name);
        assert!(doc.example.contains(doc.name), "{}", doc.name);
    }
    let documented: std::collections::BTreeSet<&str> = functions().iter().map(|doc| doc.name).collect();
    let missing: Vec<String> = kop_mapping::registered_names()
        .into_iter()
        .filter(|name| !documented.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "without documentation: {missing:?}");
}
