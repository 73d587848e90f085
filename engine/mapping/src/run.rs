// SPDX-License-Identifier: EUPL-1.2
//! What goes on during one run, kept on the thread that runs the script: the engine is shared by all
//! threads, and evaluation never leaves its thread, so this is exact and needs no lock.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Instant,
};

use kop_core::{Diagnostic, Eingang, diagnostic::FieldRef, diagnostic::Place};
use rhai::{EvalAltResult, ImmutableString, NativeCallContext, Position, Shared};

use crate::{
    bounds::{PRINT_BYTES, PRINTS, READS},
    errors::Problem,
    handle::{Teil, Ziel},
    input::{FileUse, Read, RunInput},
};

/// Modules that an `import` may name, by name.
pub(crate) type Modules = std::collections::BTreeMap<String, Shared<rhai::Module>>;

/// One read as it is recorded: cheap, because most runs are never asked for theirs.
#[derive(Clone, Debug)]
struct RawRead {
    base: Arc<str>,
    key: ImmutableString,
    file: u8,
    position: Position,
    value: Option<ImmutableString>,
    present: bool,
}

/// The reads of a run in their order; at most 20 000, the rest is left out.
#[derive(Clone, Debug)]
pub struct Reads {
    raw: Vec<RawRead>,
    files: Arc<[Arc<str>]>,
    eingang: Arc<Eingang>,
}

impl Reads {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether the script read nothing.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Each read, worked out when it is asked for.
    pub fn iter(&self) -> impl Iterator<Item = Read> + '_ {
        self.raw.iter().map(|read| self.read(read))
    }

    /// The last read that gave this very value.
    pub fn of_value(&self, value: &str) -> Option<Read> {
        let read = self.raw.iter().rev().find(|read| read.value.as_deref() == Some(value))?;
        Some(self.read(read))
    }

    fn read(&self, read: &RawRead) -> Read {
        Read {
            path: full_path(&read.base, &read.key),
            label: label_of(&self.eingang, &read.base, &read.key),
            place: read.position.line().map(|line| Place {
                file: self.files.get(usize::from(read.file)).map(ToString::to_string).unwrap_or_default(),
                line: u32::try_from(line).unwrap_or(u32::MAX),
                column: read.position.position().and_then(|c| u32::try_from(c).ok()).unwrap_or(0),
                snippet: None,
            }),
            present: read.present,
            valued: read.value.is_some(),
        }
    }
}

/// What the citizen saw beside the field.
fn label_of(eingang: &Arc<Eingang>, base: &str, key: &str) -> Option<String> {
    if base.starts_with('@') {
        return None;
    }
    match Teil::root(Arc::clone(eingang)).find(&full_path(base, key)) {
        Ok(Ziel::Feld(feld)) => feld.label.clone(),
        _ => None,
    }
}

/// State of one run.
pub(crate) struct Run {
    pub(crate) input: RunInput,
    /// Names of the script's files, the main script first.
    files_of_script: Arc<[Arc<str>]>,
    reads: Vec<RawRead>,
    pub(crate) files: Vec<FileUse>,
    prints: Vec<String>,
}

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
    static MODULES: RefCell<Option<Arc<Modules>>> = const { RefCell::new(None) };
}

/// Sets the moment at which [`overdue`] begins to say yes.
pub(crate) fn set_deadline(at: Option<Instant>) {
    DEADLINE.set(at);
}

/// Whether this thread's script has used up its time.
pub(crate) fn overdue() -> bool {
    DEADLINE.get().is_some_and(|at| Instant::now() >= at)
}

/// Sets the modules that this thread's script may import.
pub(crate) fn set_modules(modules: Option<Arc<Modules>>) {
    MODULES.replace(modules);
}

/// The module of that name.
pub(crate) fn module(name: &str) -> Option<Shared<rhai::Module>> {
    MODULES.with_borrow(|modules| modules.as_ref()?.get(name).cloned())
}

/// Begins a run on this thread.
pub(crate) fn begin(input: RunInput, files_of_script: Arc<[Arc<str>]>) {
    let run =
        Run { input, files_of_script, reads: Vec::with_capacity(64), files: Vec::new(), prints: Vec::new() };
    RUN.replace(Some(run));
}

/// Ends the run on this thread and hands out its state.
pub(crate) fn end() -> Option<Run> {
    RUN.take()
}

/// Works on the run of this thread; an error outside of one (a module reading the submission while it is
/// loaded).
pub(crate) fn with<T>(work: impl FnOnce(&mut Run) -> T) -> Result<T, Box<EvalAltResult>> {
    RUN.with_borrow_mut(|run| run.as_mut().map(work)).ok_or_else(|| {
        Problem::raise(
            Diagnostic::new(
                "KOP-M010",
                "Der Antrag steht hier nicht zur Verfügung.",
                "The submission is not available here.",
            )
            .with_hint("Ein Modul darf den Antrag, Tabellen und Parameter nur in seinen Funktionen lesen."),
        )
    })
}

/// Keeps a printed line.
pub(crate) fn print(text: &str) {
    RUN.with_borrow_mut(|run| {
        let Some(run) = run else { return };
        if run.prints.len() < PRINTS {
            let mut end = text.len().min(PRINT_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            run.prints.push(text[..end].to_owned());
        } else if run.prints.len() == PRINTS {
            run.prints.push("… weitere Ausgaben entfallen".to_owned());
        }
    });
}

impl Run {
    /// Records a read.
    pub(crate) fn read(
        &mut self,
        context: &NativeCallContext,
        base: &Arc<str>,
        key: &ImmutableString,
        value: Option<ImmutableString>,
        present: bool,
    ) {
        if self.reads.len() >= READS {
            return;
        }
        let file = context
            .call_source()
            .and_then(|source| self.files_of_script.iter().position(|file| &**file == source))
            .unwrap_or_default();
        self.reads.push(RawRead {
            base: Arc::clone(base),
            key: key.clone(),
            file: u8::try_from(file).unwrap_or_default(),
            position: context.call_position(),
            value,
            present,
        });
    }

    /// The field that a value was read from: the last read that gave this very value.
    pub(crate) fn field_of(&self, value: &str) -> Option<FieldRef> {
        let read = self.reads.iter().rev().find(|read| read.value.as_deref() == Some(value))?;
        let label = label_of(&self.input.eingang, &read.base, &read.key);
        Some(FieldRef { path: full_path(&read.base, &read.key), label })
    }

    /// The field that was read last in a line of a script, and was empty.
    pub(crate) fn empty_field_at(&self, place: &Place) -> Option<FieldRef> {
        let file = self.files_of_script.iter().position(|file| **file == *place.file)?;
        let read = self.reads.iter().rev().find(|read| {
            !read.present
                && usize::from(read.file) == file
                && read.position.line().is_some_and(|line| u32::try_from(line) == Ok(place.line))
        })?;
        let label = label_of(&self.input.eingang, &read.base, &read.key);
        Some(FieldRef { path: full_path(&read.base, &read.key), label })
    }

    /// What the run leaves: reads, printed lines, registered files.
    pub(crate) fn into_records(self) -> (Reads, Vec<String>, Vec<FileUse>) {
        let reads = Reads { raw: self.reads, files: self.files_of_script, eingang: self.input.eingang };
        (reads, self.prints, self.files)
    }
}

/// A path below a part.
pub(crate) fn full_path(base: &str, key: &str) -> String {
    match (base.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (false, true) => base.to_owned(),
        // "@" is the prefix of everything outside the form's fields.
        (false, false) if base == "@" => format!("@{key}"),
        // A repeat of the group itself: `hund` and `[2]/rasse`.
        (false, false) if key.starts_with('[') => format!("{base}{key}"),
        (false, false) => format!("{base}/{key}"),
    }
}
