// SPDX-License-Identifier: EUPL-1.2
//! Scripts before and after compilation.

use std::sync::Arc;

use kop_core::{Diagnostic, diagnostic::Place};
use rhai::AST;

use crate::{host::Shared, input::RunInput, keys::KeyPositions, run::Modules};

/// A mapping's script with the modules that it may import.
#[derive(Clone, Debug)]
pub struct ScriptSource {
    /// File for diagnostics, relative to the mapping's folder.
    pub file: String,
    /// The script.
    pub text: String,
    /// Modules in any order; a module may import others, but not in a circle.
    pub modules: Vec<ModuleSource>,
}

/// A module that scripts import by name: `import "personen" as personen;`.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// The name to import.
    pub name: String,
    /// File for diagnostics.
    pub file: String,
    /// The script.
    pub text: String,
}

/// File and text of one script, kept for diagnostics.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
}

/// A compiled mapping script. Immutable; shared by all runs.
pub struct Script {
    pub(crate) ast: AST,
    /// Main script first.
    pub(crate) sources: Arc<[Source]>,
    pub(crate) files: Arc<[Arc<str>]>,
    pub(crate) modules: Arc<Modules>,
    pub(crate) keys: Arc<KeyPositions>,
}

impl Script {
    /// Where the keys of map literals stand, by target path. Best effort: see [`KeyPositions`].
    pub fn key_positions(&self) -> &Arc<KeyPositions> {
        &self.keys
    }

    /// Where the key of a target path stands, else the nearest key above it; with the line's text.
    pub fn place_of(&self, target: &str) -> Option<Place> {
        let found = self.keys.nearest(target)?;
        let file = found.file.to_string();
        Some(self.with_snippet(Place { file, line: found.line, column: found.column, snippet: None }))
    }

    /// The place with its line's text, where it is one of this script's or its modules'.
    pub fn with_snippet(&self, mut place: Place) -> Place {
        let source = self.sources.iter().find(|source| *source.file == *place.file);
        place.snippet = source
            .and_then(|source| source.text.lines().nth((place.line as usize).saturating_sub(1)))
            .map(|line| line.chars().take(200).collect());
        place
    }

    /// Name of the main script's file.
    pub fn file(&self) -> &str {
        self.files.first().map_or("", |file| file)
    }

    /// Names of the main script's functions, without those that Rhai makes for closures.
    pub fn function_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .ast
            .iter_functions()
            .map(|function| function.name.to_owned())
            .filter(|name| !name.starts_with("anon$"))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A compiled condition of a route: `eingang.text("a/b") == "x"`.
#[derive(Clone)]
pub struct Condition {
    pub(crate) script: Arc<Script>,
    pub(crate) shared: Arc<Shared>,
    /// Where it stands in the configuration.
    pub(crate) place: Option<Place>,
}

impl Condition {
    /// Whether the submission meets the condition; waits for a script thread. Errors as in a mapping; a value
    /// that is neither true nor false is KOP-M005.
    pub fn holds(&self, input: RunInput) -> Result<bool, Vec<Diagnostic>> {
        self.shared.condition(self, input).map_err(|mut problem| {
            if let Some(place) = &self.place {
                problem.place = Some(place.clone());
            }
            vec![*problem]
        })
    }

    /// The same with nothing but the submission: no tables, no parameters.
    pub fn matches(&self, eingang: &Arc<kop_core::Eingang>) -> Result<bool, Vec<Diagnostic>> {
        self.holds(RunInput {
            eingang: Arc::clone(eingang),
            tables: Arc::default(),
            parameters: Arc::default(),
            now: eingang.kopf.eingangszeitpunkt,
        })
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("file", &self.script.file()).finish_non_exhaustive()
    }
}
