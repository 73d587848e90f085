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
