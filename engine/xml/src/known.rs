// SPDX-License-Identifier: EUPL-1.2
//! The code lists that one message asks for, looked for once: the list, or the remark that says why its codes are
//! not checked.

use std::sync::{Arc, PoisonError, RwLock};

use kop_core::{ContentHash, Diagnostic};

use crate::{
    codelist::{Answer, CodeList, Lists},
    plan::short_name,
};

/// Lists remembered per message; a script that makes up versions must not fill the memory.
const MAX_KNOWN: usize = 400;

/// A list that was looked for.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    urn: Box<str>,
    version: Box<str>,
    pub(crate) answer: Result<Arc<CodeList>, Box<Diagnostic>>,
}

/// The lists of a message that were looked for so far, until a list comes in.
#[derive(Debug, Default)]
pub(crate) struct Memory(RwLock<(u64, Arc<Vec<Known>>)>);

/// The lists that one pass uses.
pub(crate) struct Shelf<'a> {
    lists: &'a Lists,
    package: &'a ContentHash,
    generation: u64,
    before: Arc<Vec<Known>>,
    fresh: Vec<Known>,
    used: Vec<bool>,
}

impl Memory {
    pub(crate) fn shelf<'a>(&self, lists: &'a Lists, package: &'a ContentHash) -> Shelf<'a> {
        let generation = lists.generation();
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let before = if known.0 == generation { known.1.clone() } else { Arc::default() };
        Shelf { lists, package, generation, before, fresh: Vec::new(), used: Vec::new() }
    }

    /// Keeps what a pass had to look for.
    pub(crate) fn keep(&self, shelf: Shelf<'_>) {
        if shelf.fresh.is_empty() {
            return;
        }
        let mut all = shelf.fresh;
        if shelf.before.len() + all.len() <= MAX_KNOWN {
            all.splice(0..0, shelf.before.iter().cloned());
        }
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *place = (shelf.generation, Arc::new(all));
    }
}

impl Shelf<'_> {
    /// The number of a URN and version (the latest where the version is empty).
    pub(crate) fn place(&mut self, urn: &str, version: &str) -> usize {
        let fits = |one: &Known| *one.version == *version && *one.urn == *urn;
        if let Some(at) = self.before.iter().chain(&self.fresh).position(fits) {
            return at;
        }
        let answer = match (self.lists, self.package) {
            (lists, package) if version.is_empty() => {
                lists.latest(package, urn).map_or(Answer::Missing(Vec::new()), Answer::List)
            }
            (lists, package) => lists.find(package, urn, version),
        };
        let answer = match answer {
            Answer::List(list) => Ok(list),
            Answer::Missing(held) => Err(Box::new(missing(urn, version, &held))),
            Answer::Damaged => Err(Box::new(missing(urn, version, &[]).with_hint(
                "Die abgelegte Liste ist beschädigt. Das Paket neu laden: kop schema import DATEI.",
            ))),
        };
        self.fresh.push(Known { urn: urn.into(), version: version.into(), answer });
        self.before.len() + self.fresh.len() - 1
    }

    pub(crate) fn answer(&self, place: usize) -> &Result<Arc<CodeList>, Box<Diagnostic>> {
        let before = self.before.len();
        let known = if place < before { &self.before[place] } else { &self.fresh[place - before] };
        &known.answer
    }

    /// Whether the pass comes to a list for the first time: what is to be said about the list is said then.
    pub(crate) fn first_use(&mut self, place: usize) -> bool {
        if self.used.len() <= place {
            self.used.resize(place + 1, false);
        }
        !std::mem::replace(&mut self.used[place], true)
    }
}

fn missing(urn: &str, version: &str, held: &[String]) -> Diagnostic {
    let short = short_name(urn);
    let hint = if !held.is_empty() {
        format!("Vorhanden: {}.", held.join(", "))
    } else if urn.starts_with("urn:") {
        format!("{urn} aus dem XRepository herunterladen und laden: kop schema import DATEI.")
    } else {
        format!("{urn} vom Herausgeber als Genericode besorgen: kop schema import DATEI.")
    };
    Diagnostic::new(
        "KOP-X051",
        format!("Codeliste „{short}“ Version {version} liegt nicht vor: nicht geprüft."),
        format!("Code list \"{short}\" version {version} is not there: not checked."),
    )
    .with_hint(hint)
}

/// A message that does not say which list its code is of.
pub(crate) fn unnamed(urn: Option<&str>) -> Diagnostic {
    let Some(urn) = urn else {
        return Diagnostic::new(
            "KOP-X051",
            "Die Nachricht nennt für einen Code keine Codeliste: nicht geprüft.",
            "The message names no code list for a code: not checked.",
        );
    };
    let short = short_name(urn);
    Diagnostic::new(
        "KOP-X051",
        format!("Die Nachricht nennt keine Version der Codeliste „{short}“: nicht geprüft."),
        format!("The message names no version of the code list \"{short}\": not checked."),
    )
}

/// A list whose codes are of another column than the one that the schema uses.
pub(crate) fn other_column(list: &CodeList, column: &str) -> Diagnostic {
    let (short, version) = (short_name(&list.info.urn), &list.info.version);
    Diagnostic::new(
        "KOP-X051",
        format!(
            "Das Schema verwendet eine andere Spalte der Codeliste „{short}“ Version {version} als ihren \
             Schlüssel: nicht geprüft."
        ),
        format!(
            "The schema uses another column of the code list \"{short}\" version {version} than its key: not checked."
        ),
    )
    .with_hint(format!("Schema: Spalte „{column}“, Liste: Schlüssel „{}“.", list.info.key_column))
}
