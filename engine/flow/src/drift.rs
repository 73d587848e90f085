// SPDX-License-Identifier: EUPL-1.2
//! Form drift: a form that changed after its mapping was tested. What was known then are the forms of the mapping's
//! test payloads; a submission of the same form is compared with them, names with names. Values play no part.

use std::sync::Arc;

use async_trait::async_trait;
use kop_core::{
    Diagnostic, Eingang,
    forms::{KnownForms, Named},
};
use kop_mapping::Reads;
use kop_tenant::LoadedMapping;

use crate::engine::Engine;

/// Fields that one remark names.
const NAMED: usize = 5;
/// Characters of a name or label that a remark shows.
const NAME: usize = 80;

/// Reads the forms of a mapping's test payloads. Vendors' formats are not this room's business.
#[async_trait]
pub trait TestedForms: Send + Sync {
    /// The forms; payloads that cannot be read are left out.
    async fn forms(&self, mapping: &LoadedMapping) -> KnownForms;
}

/// The forms of a mapping, read once per loaded mapping.
pub(crate) async fn known(engine: &Engine, mapping: &LoadedMapping) -> Option<Arc<KnownForms>> {
    if let Some(known) = mapping.tested_forms.get() {
        return Some(Arc::clone(known));
    }
    let found = Arc::new(engine.tested.as_ref()?.forms(mapping).await);
    // Another message may have been faster; both found the same.
    Some(Arc::clone(mapping.tested_forms.get_or_init(|| found)))
}

/// What to say of a submission's form: fields that are new, and fields that are gone although the script wanted them.
pub fn remarks(known: &KnownForms, eingang: &Eingang, reads: &Reads) -> Vec<Diagnostic> {
    let Some(form) = eingang.kopf.formular_id.as_deref() else { return Vec::new() };
    let version = eingang.kopf.formular_version.as_deref();
    let mut drift = known.drift(form, version, &eingang.form_data);
    let (de, en) = versions(version, &drift.tested);
    if !drift.gone.is_empty() {
        let missed: Vec<String> =
            reads.iter().filter(|read| !read.present).map(|read| plain(&read.path)).collect();
        drift.gone.retain(|(path, _)| missed.contains(path));
    }
    let mut found = Vec::new();
    if !drift.unknown.is_empty() {
        let names = names(&drift.unknown);
        found.push(
            Diagnostic::new(
                "KOP-F020",
                format!("Das Formular{de} hat Felder, die beim Test der Zuordnung unbekannt waren: {names}."),
                format!("The form{en} has fields that were unknown when the mapping was tested: {names}."),
            )
            .with_hint(
                "Prüfen, ob die Zuordnung sie braucht, und einen Antrag des neuen Formulars als Test ablegen.",
            ),
        );
    }
    if !drift.gone.is_empty() {
        let names = names(&drift.gone);
        let (first, label) = drift.gone.remove(0);
        found.push(
            Diagnostic::new(
                "KOP-F021",
                format!("Dem Formular{de} fehlen Felder, die die Zuordnung liest: {names}."),
                format!("The form{en} lacks fields that the mapping reads: {names}."),
            )
            .with_field(first, label)
            .with_hint("Prüfen, wie die Felder jetzt heißen, und die Zuordnung und ihre Tests nachziehen."),
        );
    }
    found
}

/// ` (Version 7; getestet: 5, 6)` in German and English, nothing where the vendor sends no version.
fn versions(version: Option<&str>, tested: &[String]) -> (String, String) {
    let short = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(NAME).collect() };
    let Some(version) = version.map(short) else { return (String::new(), String::new()) };
    if tested.is_empty() {
        return (format!(" (Version {version})"), format!(" (version {version})"));
    }
    // the latest ones stand last
    let skipped = tested.len().saturating_sub(NAMED);
    let names = tested[skipped..].iter().map(|name| short(name)).collect::<Vec<_>>().join(", ");
    let names = if skipped > 0 { format!("{names} (+{skipped})") } else { names };
    (format!(" (Version {version}; getestet: {names})"), format!(" (version {version}; tested: {names})"))
}

/// `chip („Chipnummer“), rasse und 3 weitere`; names come from outside and are kept short.
fn names(fields: &[Named]) -> String {
    let short = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(NAME).collect() };
    let one = |(path, label): &Named| match label {
        Some(label) => format!("{} („{}“)", short(path), short(label)),
        None => short(path),
    };
    let text = fields.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ");
    if fields.len() > NAMED { format!("{text} (+{})", fields.len() - NAMED) } else { text }
}

/// A path without the numbers of repeats; brackets in quoted names stay.
pub fn plain(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let (mut quoted, mut inside) = (false, false);
    for c in path.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => inside = true,
            _ => {}
        }
        if !inside {
            out.push(c);
        }
        inside &= c != ']';
    }
    out
}

#[cfg(test)]
mod tests {
    use super::versions;

    #[test]
    fn a_remark_names_the_version_and_those_that_were_tested() {
        let tested: Vec<String> = (1..=7).map(|number| number.to_string()).collect();
        assert_eq!(versions(None, &tested).0, "");
        assert_eq!(versions(Some("8"), &[]).0, " (Version 8)");
        assert_eq!(versions(Some("8\n"), &tested).0, " (Version 8; getestet: 3, 4, 5, 6, 7 (+2))");
    }
}
