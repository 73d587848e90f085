// SPDX-License-Identifier: EUPL-1.2
//! Which form field became which element, for any script and without its author's help: one field at a time is
//! changed, the script runs again, and what moves in its result came from that field. Used when something failed and
//! when somebody asks; a run takes a fraction of a millisecond.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kop_core::{
    Class, Diagnostic, Feld, FeldPfad, Inhalt, Tree,
    diagnostic::{FieldRef, Place},
    feld::{Fund, finde},
    path::Step,
};
use kop_mapping::{MappingHost, Read, Reads, RunInput, RunOutput, Script};
use tokio::task::JoinSet;

use crate::variation;

/// Fields looked at in all; a form with more is cut off.
const FIELDS: usize = 500;
/// What one of several records is called that a result consists of as a whole (CSV).
pub(crate) const ROW: &str = "zeile";
/// Runs under way at the same time.
const AT_A_TIME: usize = 4;
/// Time that the explanation of a failed message may take from the other messages.
pub(crate) const WHEN_FAILED: Duration = Duration::from_secs(5);
/// Time for a person who asked and waits.
pub const WHEN_ASKED: Duration = Duration::from_secs(60);

/// How a field shows in an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Its value is what the element holds, or part of it.
    Value,
    /// Whether it is filled, or what it holds, decides that the element is there.
    Branch,
}

/// One field and one element that it shows in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The field.
    pub field: FieldRef,
    /// Where the script reads it first.
    pub read_at: Option<Place>,
    /// The element's or attribute's path in the message: `bauherr[2]/name/vorname`, `flurstueck/@version`. An element
    /// that comes once has no number.
    pub target: String,
    /// How it shows.
    pub effect: Effect,
    /// Whether the field was filled; else this is what filling it would do.
    pub present: bool,
}

/// The links of one run.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    links: Vec<Link>,
    /// Reads of the run that was traced, and the submission: for values that come from outside the form's fields.
    reads: Option<Reads>,
    form: Vec<Feld>,
    script: Option<Arc<Script>>,
    /// Elements that each field shows in: the fewer, the closer the field is to each of them.
    breadth: BTreeMap<String, usize>,
    incomplete: bool,
}

/// Traces a run: `base` is what the script gave for `input`. After `within` no further run begins, so that a slow
/// script with many fields holds up nobody else; the lineage is incomplete then.
pub async fn trace(
    host: &MappingHost,
    script: &Arc<Script>,
    input: &RunInput,
    base: &RunOutput,
    within: Duration,
) -> Lineage {
    let until = Instant::now() + within;
    let leaves = Arc::new(leaves(&base.tree));
    let mut waiting: Vec<Read> = Vec::new();
    let mut seen = BTreeSet::new();
    for read in base.reads.iter() {
        // What lies outside the form's fields is no field that a citizen filled.
        if read.path.starts_with('@') {
            continue;
        }
        if seen.insert(read.path.clone()) && waiting.len() < FIELDS {
            waiting.push(read);
        } else if read.valued
            && let Some(first) = waiting.iter_mut().find(|first| first.path == read.path && !first.valued)
        {
            // Where the value was taken says more than where the script looked whether there is one.
            *first = read;
        }
    }
    let mut lineage = Lineage { script: Some(Arc::clone(script)), ..Lineage::default() };
    let mut running = JoinSet::new();
    let mut waiting = waiting.into_iter();
    loop {
        while running.len() < AT_A_TIME
            && let Some(read) = waiting.next()
        {
            let (host, script, input, leaves) =
                (host.clone(), Arc::clone(script), input.clone(), Arc::clone(&leaves));
            running.spawn(async move {
                let effects = effects(&host, &script, &input, &leaves, &read, until).await;
                (read, effects)
            });
        }
        let Some(done) = running.join_next().await else { break };
        // A run that was left out, or that broke its task, leaves a gap.
        let Ok((read, Some(effects))) = done else {
            lineage.incomplete = true;
            continue;
        };
        lineage.breadth.insert(read.path.clone(), effects.len());
        lineage.links.extend(effects.into_iter().map(|(target, effect)| Link {
            field: FieldRef { path: read.path.clone(), label: read.label.clone() },
            read_at: read.place.clone(),
            target,
            effect,
            present: read.present,
        }));
    }
    lineage.reads = Some(base.reads.clone());
    lineage.form.clone_from(&input.eingang.form_data);
    lineage
        .links
        .sort_by(|a, b| (&a.target, a.effect, &a.field.path).cmp(&(&b.target, b.effect, &b.field.path)));
    lineage
}

/// What changing one field moves: element and effect. `None` when the time was over before all was tried.
async fn effects(
    host: &MappingHost,
    script: &Arc<Script>,
    input: &RunInput,
    base: &BTreeMap<String, String>,
    read: &Read,
    until: Instant,
) -> Option<BTreeMap<String, Effect>> {
    let mut found = BTreeMap::new();
    let text = text_at(input, &read.path);
    let values = match &text {
        Some(text) if read.present => variation::others(text, &input.tables),
        _ if read.present => return Some(found), // a group: its fields are looked at one by one
        _ => variation::SAMPLES.map(str::to_owned).to_vec(),
    };
    for value in values {
        if Instant::now() >= until {
            return None;
        }
        let Some(other) = run_with(host, script, input, &read.path, &value).await else { continue };
        compare(base, &other, &mut found);
        if !found.is_empty() {
            break;
        }
    }
    if Instant::now() >= until {
        return None;
    }
    if read.present
        && let Some(other) = run_with(host, script, input, &read.path, "").await
    {
        compare(base, &other, &mut found);
    }
    Some(found)
}

/// The elements of the result when one field holds another value; `None` when the script refuses it.
async fn run_with(
    host: &MappingHost,
    script: &Arc<Script>,
    input: &RunInput,
    path: &str,
    value: &str,
) -> Option<BTreeMap<String, String>> {
    let mut eingang = (*input.eingang).clone();
    if !variation::set(&mut eingang.form_data, path, value).unwrap_or_default() {
        return None;
    }
    let input = RunInput { eingang: Arc::new(eingang), ..input.clone() };
    host.run(script, input).await.ok().map(|run| leaves(&run.tree))
}

fn text_at(input: &RunInput, path: &str) -> Option<String> {
    let path = path.parse().ok()?;
    match finde(&input.eingang.form_data, &path)? {
        Fund::Feld(Feld { inhalt: Inhalt::Wert(value), .. }) => Some(value.text.trim().to_owned()),
        _ => None,
    }
}

fn compare(
    base: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
    found: &mut BTreeMap<String, Effect>,
) {
    for (target, text) in base {
        match other.get(target) {
            Some(now) if now == text => {}
            // A value effect is the closer one and is not replaced.
            Some(_) => drop(found.insert(target.clone(), Effect::Value)),
            None => drop(found.entry(target.clone()).or_insert(Effect::Branch)),
        }
    }
    for target in other.keys().filter(|target| !base.contains_key(*target)) {
        found.entry(target.clone()).or_insert(Effect::Branch);
    }
}

/// Every value of a tree by its path as the writer names it. Empty things are left out, as the writer does.
pub fn leaves(tree: &Tree) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // An explicit stack: the depth of a result is its author's choice.
    let mut stack = vec![(String::new(), tree)];
    while let Some((path, tree)) = stack.pop() {
        match tree {
            Tree::Nothing => {}
            Tree::Text(text) if text.is_empty() => {}
            Tree::Text(text) => drop(found.insert(path, text.to_string())),
            Tree::Bool(value) => drop(found.insert(path, value.to_string())),
            Tree::Int(value) => drop(found.insert(path, value.to_string())),
            Tree::List(items) => {
                let filled: Vec<_> = items.iter().filter(|item| !item.is_empty()).collect();
                let only = filled.len() == 1;
                for (n, item) in filled.into_iter().enumerate() {
                    let path = match path.as_str() {
                        "" => format!("{ROW}[{}]", n + 1),
                        _ if only => path.clone(),
                        _ => format!("{path}[{}]", n + 1),
                    };
                    stack.push((path, item));
                }
            }
            Tree::Map(entries) => {
                for (key, value) in entries {
                    let below = match (&**key, path.is_empty()) {
                        ("$", _) => path.clone(),
                        (key, true) => key.to_owned(),
                        (key, false) => format!("{path}/{key}"),
                    };
                    stack.push((below, value));
                }
            }
        }
    }
    found
}

impl Lineage {
    /// All links, by target.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether every field was tried.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// The field behind an element: the one whose value it is, else the one that decides whether it is there.
    pub fn source(&self, target: &str) -> Option<&Link> {
        let below = |path: &str, above: &str| {
            path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/') || rest.starts_with('['))
        };
        self.links
            .iter()
            .filter_map(|link| {
                // Of several fields that decide whether an element is there, one not tried could be the closer one.
                if self.incomplete && link.effect == Effect::Branch {
                    return None;
                }
                let distance = if link.target == target {
                    0
                } else if below(&link.target, target) {
                    1
                } else {
                    return None;
                };
                let breadth = self.breadth.get(&link.field.path).copied().unwrap_or_default();
                Some(((distance, link.effect, !link.present, breadth), link))
            })
            .min_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, link)| link)
    }

    /// Adds field, line and class to problems that only know their element.
    pub fn explain(&self, problems: &mut [Diagnostic]) {
        for problem in problems.iter_mut().filter(|problem| problem.field.is_none()) {
            let Some(target) = problem.target.clone() else { continue };
            let key = self.script.as_ref().and_then(|script| script.place_of(&target));
            let link = self.source(&target);
            let (field, place) = if let Some(link) = link {
                // A wrong value is mended where it is read, a wrong structure where it is built.
                let place = if problem.revealed.is_some() { None } else { key.clone() };
                (Some(link.field.clone()), place.or_else(|| link.read_at.clone()))
            } else if let Some((field, place)) = problem.revealed.as_deref().and_then(|v| self.of_value(v)) {
                (Some(field), place)
            } else {
                (key.as_ref().and_then(|key| self.read_in_line(key, &target)), key)
            };
            self.classify(problem, field.as_ref());
            problem.field = field;
            if problem.place.is_none() {
                problem.place = match &self.script {
                    Some(script) => place.map(|place| script.with_snippet(place)),
                    None => place,
                };
            }
        }
    }

    /// A wrong value is the applicant's own only when it is what the applicant wrote; and an element that is missing
    /// although its field is filled is the script's.
    fn classify(&self, problem: &mut Diagnostic, field: Option<&FieldRef>) {
        if problem.class != Class::Fachlich {
            return;
        }
        let written = field.and_then(|field| self.text_of(&field.path));
        if let Some(value) = &problem.revealed {
            if written.as_deref().is_none_or(|text| !text.contains(value.trim())) {
                problem.class = Class::Zuordnung;
            }
        } else if written.is_some_and(|text| !text.is_empty()) {
            problem.class = Class::Zuordnung;
            problem.hint.get_or_insert_with(|| {
                "Das Feld ist ausgefüllt; die Bedingung oder Umrechnung im Skript lässt das Element leer."
                    .to_owned()
            });
        }
    }

    fn text_of(&self, path: &str) -> Option<String> {
        match finde(&self.form, &path.parse().ok()?)? {
            Fund::Feld(Feld { inhalt: Inhalt::Wert(value), .. }) => Some(value.text.trim().to_owned()),
            _ => None,
        }
    }

    /// The only field that is read in the line that makes an element; among repeats of it the one with the element's
    /// own number.
    fn read_in_line(&self, key: &Place, target: &str) -> Option<FieldRef> {
        let mut found: Vec<Read> = Vec::new();
        for read in self.reads.as_ref()?.iter().filter(|read| !read.path.starts_with('@')) {
            let here = read.place.as_ref().is_some_and(|at| at.file == key.file && at.line == key.line);
            if here && found.iter().all(|known| known.path != read.path) {
                found.push(read);
            }
        }
        let plain = |path: &str| path.split(['[', ']']).step_by(2).collect::<String>();
        let first = found.first()?;
        if found.iter().any(|read| plain(&read.path) != plain(&first.path)) {
            return None;
        }
        let number =
            target.rsplit_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(n, _)| format!("[{n}]"));
        let own = number.and_then(|number| found.iter().find(|read| read.path.contains(&number)));
        let read = own.unwrap_or(first);
        Some(FieldRef { path: read.path.clone(), label: read.label.clone() })
    }

    /// The field that a value came from which the script read outside the form's fields, e.g. of the applicant's
    /// account: the only field of the form that holds the same, else the entry itself.
    fn of_value(&self, value: &str) -> Option<(FieldRef, Option<Place>)> {
        let read = self.reads.as_ref()?.of_value(value)?;
        let mut same = Vec::new();
        let mut stack: Vec<(String, &[Feld])> = vec![(String::new(), &self.form)];
        while let Some((above, fields)) = stack.pop() {
            for field in fields {
                let step = |index| {
                    let step = Step { name: field.name.clone(), index };
                    let name = FeldPfad::from_steps(vec![step]).to_string();
                    if above.is_empty() { name } else { format!("{above}/{name}") }
                };
                match &field.inhalt {
                    Inhalt::Wert(found) if found.text.trim() == value => {
                        same.push(FieldRef { path: step(None), label: field.label.clone() });
                    }
                    Inhalt::Wert(_) => {}
                    Inhalt::Felder(below) => stack.push((step(None), below)),
                    Inhalt::Wiederholungen(repeats) => {
                        for (n, below) in repeats.iter().enumerate() {
                            stack.push((step(Some(n + 1)), below));
                        }
                    }
                }
            }
        }
        let field = match same.as_slice() {
            [only] => only.clone(),
            _ => FieldRef { path: read.path, label: read.label },
        };
        Some((field, read.place))
    }
}

#[cfg(test)]
mod tests {
    use kop_core::Eingang;
    use kop_mapping::{HostOptions, ScriptSource};

    use super::*;

    const SCRIPT: &str = r#"
        let p = eingang.teil("person");
        #{
            name: p.pflicht("nachname"),
            firma: if p.text("art") == "Firma" { #{ sitz: p.text("ort") } },
            land: "01"
        }
    "#;

    async fn traced(within: Duration) -> Lineage {
        let id = "00000000-0000-4000-8000-000000000001";
        let field = |name: &str, text: &str| serde_json::json!({ "name": name, "wert": { "text": text } });
        let eingang: Eingang = serde_json::from_value(serde_json::json!({
            "version": 1,
            "kopf": { "mandant": "musterstadt", "eingangId": id, "vorgangId": id, "vorgangsnummer": "M-1",
                "eingangszeitpunkt": "2026-01-01T10:00:00Z", "quelle": "ozg-cloud" },
            "formData": [{ "name": "person", "felder": [
                field("nachname", "Beispielsen"), field("art", "Firma"), field("ort", "Musterkoog"),
            ] }],
        }))
        .unwrap();
        let host = MappingHost::new(HostOptions::default());
        let source = ScriptSource { file: "mapping.rhai".into(), text: SCRIPT.into(), modules: Vec::new() };
        let script = host.compile(source).unwrap();
        let input = RunInput {
            eingang: Arc::new(eingang),
            tables: Arc::default(),
            parameters: Arc::default(),
            now: "2026-01-01T10:00:00Z".parse().unwrap(),
        };
        let base = host.run(&script, input.clone()).await.unwrap();
        trace(&host, &script, &input, &base, within).await
    }

    #[tokio::test]
    async fn values_and_branches_are_told_apart_and_constants_have_no_source() {
        let lineage = traced(WHEN_ASKED).await;
        assert!(lineage.is_complete());
        let source =
            |target: &str| lineage.source(target).map(|link| (link.field.path.as_str(), link.effect));
        assert_eq!(source("name"), Some(("person/nachname", Effect::Value)));
        assert_eq!(source("firma/sitz"), Some(("person/ort", Effect::Value)));
        assert_eq!(source("land"), None);
        let branch = lineage.links().iter().find(|link| link.field.path == "person/art").unwrap();
        assert_eq!((branch.target.as_str(), branch.effect), ("firma/sitz", Effect::Branch));
    }

    #[tokio::test]
    async fn when_the_time_is_over_nothing_more_is_tried_and_it_says_so() {
        let lineage = traced(Duration::ZERO).await;
        assert!(!lineage.is_complete());
        assert!(lineage.links().is_empty());
    }
}
