// SPDX-License-Identifier: EUPL-1.2
//! The Rhai engine: which parts of the language exist, its limits, and the handle `eingang`.

use rhai::{
    Dynamic, Engine, EvalAltResult, OptimizationLevel, Position, Shared,
    packages::{
        ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
        BasicStringPackage, LogicPackage, MoreStringPackage, Package,
    },
};

use crate::{bounds, errors::OutOfTime, functions, handle::Teil, run};

/// The name under which scripts see the submission.
pub(crate) const HANDLE: &str = "eingang";

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u64 = 256;

/// Resolves imports from the modules of the script that this thread compiles or runs, and from nothing
/// else: Rhai's default would load any file on the disk.
struct ScriptModules;

impl rhai::ModuleResolver for ScriptModules {
    fn resolve(
        &self,
        _: &Engine,
        _: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<rhai::Module>, Box<EvalAltResult>> {
        run::module(path).ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.to_owned(), position).into())
    }
}

/// Makes the engine. `optimized` is off for the engine that only reads where things stand: the optimiser
/// folds constant maps and their keys' positions away.
pub(crate) fn engine(optimized: bool) -> Engine {
    let mut engine = Engine::new_raw();
    // Named one by one: the standard bundle has `sleep`, which no limit can interrupt.
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    functions::register(&mut engine);

    engine.set_optimization_level(if optimized {
        OptimizationLevel::Simple
    } else {
        OptimizationLevel::None
    });
    // The interner is one lock shared by all threads; without it two threads do twice the work of one.
    engine.set_max_strings_interned(0);
    engine.set_max_operations(bounds::OPERATIONS);
    engine.set_max_call_levels(bounds::CALL_LEVELS);
    engine.set_max_expr_depths(bounds::EXPR_DEPTHS.0, bounds::EXPR_DEPTHS.1);
    engine.set_max_variables(bounds::VARIABLES);
    engine.set_max_functions(bounds::FUNCTIONS);
    engine.set_max_modules(bounds::MODULES);
    engine.set_max_string_size(bounds::STRING_BYTES);
    engine.set_max_array_size(bounds::ARRAY_SIZE);
    engine.set_max_map_size(bounds::MAP_SIZE);
    engine.set_strict_variables(true);
    engine.disable_symbol("eval");
    engine.set_module_resolver(ScriptModules);
    engine
        .on_progress(|step| (step % STEPS_PER_LOOK == 0 && run::overdue()).then(|| Dynamic::from(OutOfTime)));
    engine.on_print(run::print);
    engine.on_debug(|text, _, _| run::print(text));
    own_the_handle(&mut engine);
    engine
}

/// Resolves `eingang` everywhere, also in functions, closures and modules, and refuses to redefine it.
#[allow(deprecated)] // Rhai marks these two so because they may change; the version is pinned
fn own_the_handle(engine: &mut Engine) {
    engine.on_var(|name, _, _| {
        if name != HANDLE {
            return Ok(None);
        }
        run::with(|run| Some(Dynamic::from(Teil::root(std::sync::Arc::clone(&run.input.eingang)))))
    });
    engine.on_def_var(|_, info, _| Ok(info.name() != HANDLE));
}
