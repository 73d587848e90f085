// SPDX-License-Identifier: EUPL-1.2
//! What goes on during one run, kept on the thread that runs the script: the engine is shared by all
//! threads, and evaluation never leaves its thread, so this is exact and needs no lock.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Instant,
};

use kop_core::{Diagnostic, diagnostic::FieldRef, diagnostic::Place};
use rhai::{EvalAltResult, ImmutableString, NativeCallContext, Position, Shared};

use crate::{
    bounds::{PRINT_BYTES, PRINTS, READS},
    errors::Problem,
    input::{FileUse, Read, RunInput},
};

/// Modules that an `import` may name, by name.
pub(crate) type Modules = std::collections::BTreeMap<String, Shared<rhai::Module>>;

/// One read as it is recorded: cheap, worked out only afterwards.
struct RawRead {
    base: Arc<str>,
    key: ImmutableString,
    label: Option<String>,
    file: u8,
    position: Position,
    value: Option<ImmutableString>,
    present: bool,
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
        label: Option<&str>,
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
            label: label.map(str::to_owned),
            file: u8::try_from(file).unwrap_or_default(),
            position: context.call_position(),
            value,
            present,
        });
    }

    /// The field that a value was read from: the last read that gave this very value.
    pub(crate) fn field_of(&self, value: &str) -> Option<FieldRef> {
        let read = self.reads.iter().rev().find(|read| read.value.as_deref() == Some(value))?;
        Some(FieldRef { path: full_path(&read.base, &read.key), label: read.label.clone() })
    }

    /// Recorded reads and printed lines in their final form.
    pub(crate) fn into_records(self) -> (Vec<Read>, Vec<String>, Vec<FileUse>) {
        let files = self.files_of_script;
        let reads = self
            .reads
            .into_iter()
            .map(|read| Read {
                path: full_path(&read.base, &read.key),
                label: read.label,
                place: read.position.line().map(|line| Place {
                    file: files.get(usize::from(read.file)).map(ToString::to_string).unwrap_or_default(),
                    line: u32::try_from(line).unwrap_or(u32::MAX),
                    column: read.position.position().and_then(|c| u32::try_from(c).ok()).unwrap_or(0),
                    snippet: None,
                }),
                present: read.present,
            })
            .collect();
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
