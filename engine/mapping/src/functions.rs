// SPDX-License-Identifier: EUPL-1.2
//! What a script can call: registration, and the documentation of every function beside it.

mod docs;
mod fields;
mod files;
mod values;

use kop_core::{Diagnostic, diagnostic::FieldRef};
use rhai::{Dynamic, Engine, EvalAltResult};

use crate::errors::Problem;

/// Documentation of one function, method or property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionDoc {
    /// Its name as called.
    pub name: &'static str,
    /// How it is called, and what comes back.
    pub signature: &'static str,
    /// What it does, in German, one or two sentences.
    pub doc_de: &'static str,
    /// An expression that runs on a submission with the fields of the documentation's example form.
    pub example: &'static str,
}

/// Every function that the engine adds to Rhai, in the order of the manual.
pub fn functions() -> &'static [FunctionDoc] {
    docs::FUNCTIONS
}

pub(crate) fn register(engine: &mut Engine) {
    fields::register(engine);
    files::register(engine);
    values::register(engine);
}

/// Result of a native function.
type Outcome<T = Dynamic> = Result<T, Box<EvalAltResult>>;

/// An error of a function with the field that its argument was read from.
fn fail<T>(problem: Diagnostic, field: Option<FieldRef>) -> Outcome<T> {
    let mut problem = problem;
    problem.field = field;
    Err(Problem::raise(problem))
}

/// Names of all functions and properties that the engine adds to Rhai, sorted: what [`functions`] must
/// document.
pub fn registered_names() -> Vec<String> {
    let names = |engine: &Engine| -> std::collections::BTreeSet<String> {
        engine
            .collect_fn_metadata(None, |info| Some(info.metadata.name.to_string()), false)
            .into_iter()
            .map(|name| name.trim_start_matches("get$").to_owned())
            .collect()
    };
    let mut engine = Engine::new_raw();
    let before = names(&engine);
    register(&mut engine);
    // Rhai's own word for showing a caught problem.
    names(&engine).into_iter().filter(|name| !before.contains(name) && name != "to_string").collect()
}
