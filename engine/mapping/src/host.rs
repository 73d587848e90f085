// SPDX-License-Identifier: EUPL-1.2
//! The host: one engine, its threads, and the way in and out of a run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use kop_core::{Diagnostic, diagnostic::Place};
use rhai::{AST, Dynamic, Engine, Scope};

use crate::{
    bounds::{MODULES, SCRIPT_BYTES},
    compiled::{self, Compiled},
    engine::{HANDLE, engine},
    errors,
    input::{RunInput, RunOutput},
    keys,
    pool::{Answer, Pool},
    result::tree_of,
    run::{self, Modules},
    script::{Condition, ModuleSource, Script, ScriptSource, Source},
};

/// Settings of a [`MappingHost`].
#[derive(Clone, Copy, Debug)]
pub struct HostOptions {
    /// Script threads; each has a stack of 256 MiB address space, of which only used pages cost memory.
    pub threads: usize,
    /// Longest time that one run may take.
    pub deadline: Duration,
}

impl Default for HostOptions {
    /// Two threads, two seconds.
    fn default() -> Self {
        Self { threads: 2, deadline: Duration::from_secs(2) }
    }
}

/// Compiles and runs mapping scripts. One for the whole process; cheap to clone.
#[derive(Clone)]
pub struct MappingHost {
    shared: Arc<Shared>,
}

/// What host and conditions share.
pub(crate) struct Shared {
    core: Arc<Core>,
    pool: Pool,
    compiled: Compiled,
}

/// What the threads use.
struct Core {
    engine: Engine,
    /// Compiles without optimising, to read key positions from.
    reader: Engine,
    deadline: Duration,
}

impl std::fmt::Debug for MappingHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappingHost").finish_non_exhaustive()
    }
}

impl MappingHost {
    /// Starts the threads.
    ///
    /// # Panics
    /// When the system refuses to start a thread.
    pub fn new(options: HostOptions) -> Self {
        let core = Core { engine: engine(true), reader: engine(false), deadline: options.deadline };
        let pool = Pool::new(options.threads).expect("the system starts the script threads");
        Self { shared: Arc::new(Shared { core: Arc::new(core), pool, compiled: Compiled::default() }) }
    }

    /// Compiles a script with its modules; waits for it (call it from a thread that may wait). The same source that
    /// somebody still uses is not compiled again: tenants share the library's mappings, and few change at a reload.
    /// Errors: KOP-M001, KOP-M004 with place, for the script and each module.
    pub fn compile(&self, source: ScriptSource) -> Result<Arc<Script>, Vec<Diagnostic>> {
        let key = compiled::key(&source);
        if let Some(script) = self.shared.compiled.get(&key) {
            return Ok(script);
        }
        let ScriptSource { file, text, modules } = source;
        let main = Source { file: file.into(), text: text.into() };
        let file = Arc::clone(&main.file);
        let core = Arc::clone(&self.shared.core);
        let answer = self.shared.pool.run(move || core.compile(main, modules, false));
        let script = Arc::new(answer.wait().unwrap_or_else(|| Err(vec![broken(&file)]))?);
        self.shared.compiled.keep(key, &script);
        Ok(script)
    }

    /// Compiles the condition of a route: one expression. `place` says where it stands in the configuration;
    /// all diagnostics of the condition point there.
    pub fn condition(&self, text: &str, place: Option<Place>) -> Result<Condition, Vec<Diagnostic>> {
        let file: Arc<str> = place.as_ref().map_or("Bedingung", |place| place.file.as_str()).into();
        let main = Source { file: Arc::clone(&file), text: text.into() };
        let core = Arc::clone(&self.shared.core);
        let answer = self.shared.pool.run(move || core.compile(main, Vec::new(), true));
        match answer.wait().unwrap_or_else(|| Err(vec![broken(&file)])) {
            Ok(script) => Ok(Condition { script: Arc::new(script), shared: Arc::clone(&self.shared), place }),
            Err(mut problems) => {
                for problem in problems.iter_mut().filter(|_| place.is_some()) {
                    problem.place.clone_from(&place);
                }
                Err(problems)
            }
        }
    }

    /// Runs a script on a script thread. Errors: KOP-M002 to KOP-M010.
    pub async fn run(&self, script: &Arc<Script>, input: RunInput) -> Result<RunOutput, Vec<Diagnostic>> {
        let file = Arc::clone(&script.files[0]);
        self.start(script, input).await.unwrap_or_else(|| Err(vec![broken(&file)]))
    }

    /// The same, waiting for it.
    pub fn run_blocking(&self, script: &Arc<Script>, input: RunInput) -> Result<RunOutput, Vec<Diagnostic>> {
        let file = Arc::clone(&script.files[0]);
        self.start(script, input).wait().unwrap_or_else(|| Err(vec![broken(&file)]))
    }

    fn start(&self, script: &Arc<Script>, input: RunInput) -> Answer<Result<RunOutput, Vec<Diagnostic>>> {
        let (core, script) = (Arc::clone(&self.shared.core), Arc::clone(script));
        self.shared.pool.run(move || core.run(&script, input))
    }
}

impl Shared {
    pub(crate) fn condition(&self, condition: &Condition, input: RunInput) -> Result<bool, Box<Diagnostic>> {
        let (core, script) = (Arc::clone(&self.core), Arc::clone(&condition.script));
        let answer = self.pool.run(move || core.condition(&script, input));
        answer.wait().unwrap_or_else(|| Err(Box::new(broken(condition.script.file()))))
    }
}

/// A script that broke the thread's work: Rhai itself panicked. Only this run is lost.
fn broken(file: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-M010",
        "Das Skript hat die Ausführung zum Absturz gebracht.",
        "The script crashed its interpreter.",
    )
    .with_place(Place { file: file.to_owned(), line: 1, column: 0, snippet: None })
    .with_hint("Ungewöhnliche Verschachtelungen von Funktionen, Listen und Maps im Skript vereinfachen.")
}

/// Undoes what a run or compilation sets on its thread, also when it panics.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        run::set_deadline(None);
        run::set_modules(None);
        drop(run::end());
    }
}

/// An unoptimised module: import name, number of its source, tree.
type Parsed = (String, usize, AST);

impl Core {
    fn compile(
        &self,
        main: Source,
        modules: Vec<ModuleSource>,
        condition: bool,
    ) -> Result<Script, Vec<Diagnostic>> {
        let _cleanup = Cleanup;
        run::set_deadline(Instant::now().checked_add(self.deadline));
        let mut problems = Vec::new();
        let mut sources = vec![main];
        if modules.len() > MODULES {
            return Err(vec![limit(&sources[0], "zu viele Module", "too many modules")]);
        }
        let mut waiting = Vec::new();
        for module in modules {
            let source = Source { file: module.file.into(), text: module.text.into() };
            match self.parse(&source, false) {
                Ok((ast, unoptimised)) => waiting.push((module.name, sources.len(), ast, unoptimised)),
                Err(problem) => problems.push(problem),
            }
            sources.push(source);
        }
        let main = self.parse(&sources[0], condition);
        let (ast, unoptimised) = match main {
            Ok(main) if problems.is_empty() => main,
            Ok(_) => return Err(problems),
            Err(problem) => {
                problems.insert(0, problem);
                return Err(problems);
            }
        };
        let (loaded, plain) = self.load(waiting, &sources)?;
        let mut units: Vec<(&str, &Source, &AST)> = vec![("", &sources[0], &unoptimised)];
        units.extend(plain.iter().map(|(name, n, ast)| (name.as_str(), &sources[*n], ast)));
        // Positions are a help only: whatever goes wrong with them must not lose the script.
        let keys = catch_unwind(AssertUnwindSafe(|| keys::positions(&units))).unwrap_or_default();
        let files: Arc<[Arc<str>]> = sources.iter().map(|source| Arc::clone(&source.file)).collect();
        Ok(Script { ast, sources: sources.into(), files, modules: Arc::new(loaded), keys: Arc::new(keys) })
    }

    /// Evaluates the modules in an order in which each finds those that it imports.
    fn load(
        &self,
        mut waiting: Vec<(String, usize, AST, AST)>,
        sources: &[Source],
    ) -> Result<(Modules, Vec<Parsed>), Vec<Diagnostic>> {
        let mut loaded = Modules::new();
        let mut plain = Vec::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut problems = Vec::new();
            let mut later = Vec::new();
            for (name, n, ast, unoptimised) in waiting {
                run::set_modules(Some(Arc::new(loaded.clone())));
                match rhai::Module::eval_ast_as_new(Scope::new(), &ast, &self.engine) {
                    Ok(module) => {
                        loaded.insert(name.clone(), module.into());
                        plain.push((name, n, unoptimised));
                    }
                    Err(error) => {
                        problems.push(errors::of_run(*error, std::slice::from_ref(&sources[n])));
                        later.push((name, n, ast, unoptimised));
                    }
                }
            }
            if later.len() == before {
                return Err(problems);
            }
            waiting = later;
        }
        Ok((loaded, plain))
    }

    /// Parses one script, optimised to run and unoptimised to read positions from.
    fn parse(&self, source: &Source, condition: bool) -> Result<(AST, AST), Diagnostic> {
        if source.text.len() > SCRIPT_BYTES {
            return Err(limit(source, "Das Skript ist größer als 1 MiB", "larger than 1 MiB"));
        }
        // Strict variables would refuse the handle; a variable, so that nothing takes it for a constant.
        let mut scope = Scope::new();
        scope.push(HANDLE, ());
        let parse = |engine: &Engine| {
            let parsed = if condition {
                engine.compile_expression_with_scope(&scope, &*source.text)
            } else {
                engine.compile_with_scope(&scope, &*source.text)
            };
            parsed.map_err(|error| errors::of_parse(&error, source))
        };
        let mut ast = parse(&self.engine)?;
        ast.set_source(&*source.file);
        if let Some(function) = ast
            .iter_functions()
            .find(|function| !function.name.starts_with("anon$") && function.params.contains(&HANDLE))
        {
            let problem = Diagnostic::new(
                "KOP-M001",
                format!("Die Funktion „{}“ hat einen Parameter namens „eingang“.", function.name),
                format!("The function “{}” has a parameter named “eingang”.", function.name),
            )
            .with_hint("„eingang“ ist immer der ganze Antrag. Den Parameter anders nennen, etwa „teil“.");
            return Err(errors::place(problem, source, rhai::Position::NONE));
        }
        Ok((ast, parse(&self.reader)?))
    }

    /// Evaluates on this thread; value and state of the run come back together.
    fn evaluate(&self, script: &Script, input: RunInput) -> (Result<Dynamic, Diagnostic>, Option<run::Run>) {
        let _cleanup = Cleanup;
        run::set_deadline(Instant::now().checked_add(self.deadline));
        run::set_modules(Some(Arc::clone(&script.modules)));
        run::begin(input, Arc::clone(&script.files));
        let mut scope = Scope::new();
        let value = self
            .engine
            .eval_ast_with_scope::<Dynamic>(&mut scope, &script.ast)
            .map_err(|error| errors::of_run(*error, &script.sources));
        (value, run::end())
    }

    fn run(&self, script: &Script, input: RunInput) -> Result<RunOutput, Vec<Diagnostic>> {
        let (value, state) = self.evaluate(script, input);
        let value = value.map_err(|mut problem| {
            // An operation that does not fit an empty value: the field it came from was read in the same line.
            if let (true, None, Some(place)) = (problem.code == "KOP-M005", &problem.field, &problem.place) {
                problem.field = state.as_ref().and_then(|state| state.empty_field_at(place));
            }
            vec![problem]
        })?;
        let tree = tree_of(value).map_err(|problem| vec![at_key(*problem, script)])?;
        let state = state.ok_or_else(|| vec![broken(script.file())])?;
        let (reads, prints, files) = state.into_records();
        Ok(RunOutput { tree, files, reads, prints, keys: Arc::clone(&script.keys) })
    }

    fn condition(&self, script: &Script, input: RunInput) -> Result<bool, Box<Diagnostic>> {
        let (value, _) = self.evaluate(script, input);
        value?.flatten().as_bool().map_err(|_| {
            let problem = Diagnostic::new(
                "KOP-M005",
                "Die Bedingung ergibt weder wahr noch falsch.",
                "The condition is neither true nor false.",
            )
            .with_hint("Einen Vergleich schreiben, etwa eingang.text(\"art\") == \"neu\".");
            Box::new(errors::place(problem, &script.sources[0], rhai::Position::NONE))
        })
    }
}

fn limit(source: &Source, de: &str, en: &str) -> Diagnostic {
    let problem = Diagnostic::new(
        "KOP-M004",
        format!("Eine Grenze ist überschritten: {de}."),
        format!("A limit is exceeded: {en}."),
    );
    errors::place(problem, source, rhai::Position::NONE)
}

/// Points a problem of the result to the key that made it.
fn at_key(problem: Diagnostic, script: &Script) -> Diagnostic {
    let place = problem.target.as_deref().and_then(|target| script.keys.nearest(target));
    let Some(place) = place else {
        return errors::place(problem, &script.sources[0], rhai::Position::NONE);
    };
    let source = script.sources.iter().find(|source| source.file == place.file);
    let position = rhai::Position::new(
        u16::try_from(place.line).unwrap_or(u16::MAX),
        u16::try_from(place.column).unwrap_or(u16::MAX),
    );
    errors::place(problem, source.unwrap_or(&script.sources[0]), position)
}
