// SPDX-License-Identifier: EUPL-1.2
//! The foreign judges judge: a judge that lets everything pass would prove nothing.

use std::path::PathBuf;

use kop_tests::shared;

#[test]
fn the_schematron_judge_finds_what_a_minimal_message_lacks() {
    let Some(shared) = shared() else { return };
    let rules: Vec<PathBuf> = kop_tests::schematron::XBAU.iter().map(|rule| shared.join(rule)).collect();
    let minimal = shared.join("xoev/xbau-2.6/generated-minimal/baugenehmigung.antrag.0200.xml");
    let failed = kop_tests::schematron(&rules, &[minimal]).expect("the judge runs");
    assert_eq!(failed.len(), 9, "{failed:#?}");
}

#[test]
fn the_otlp_judge_finds_what_the_protocol_does_not_have() {
    let good = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c",
        "spanId":"eee19b7ec3c1b174","name":"a","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}"#;
    let wrong = [
        ("\"name\"", "\"nome\""),
        ("traceId", "trace_id"),
        ("\"kind\":1", "\"kind\":\"SPAN_KIND_INTERNAL\""),
        ("eee19b7ec3c1b174", "7uGbfsPBsXQ="),
        ("\"endTimeUnixNano\":\"2\"", "\"endTimeUnixNano\":\"0\""),
        ("\"spans\"", "\"span\""),
        ("{\"resourceSpans\"", "\"resourceSpans\""),
    ];
    let bodies: Vec<String> = std::iter::once(good.to_owned())
        .chain(wrong.iter().map(|(from, to)| good.replace(from, to)))
        .collect();
    let problems = kop_tests::otlp(&bodies).expect("the judge runs");
    let found: std::collections::BTreeSet<_> =
        problems.iter().filter_map(|line| line.rsplit('/').next()?.split('.').next()).collect();
    assert_eq!(found, ["1", "2", "3", "4", "5", "6", "7"].into(), "{problems:#?}");
}
