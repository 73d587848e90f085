// SPDX-License-Identifier: EUPL-1.2
//! Where the keys of a mapping's result stand in its script, read from the syntax tree, so that a path of
//! the target can be pointed to a line.

use std::{collections::BTreeMap, sync::Arc};

use rhai::{AST, ASTNode, Expr, FnPtr, Position, Stmt};

use crate::{bounds::KEY_POSITIONS, script::Source};

/// Place of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// The script's or module's file.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Places of keys by their path from the root of the result: `"antragsteller/name/familienname"`.
///
/// Best effort: map literals are followed through variables, functions of the same script or its modules,
/// closures of `map`, and both sides of `if`, `switch` and `??`; assignments `out.a.b = …` and
/// `out["a/b"] = …` too. Keys that a script works out at run time are not found. Where several literals can
/// give the same path, all their places are kept in the script's order.
#[derive(Clone, Debug, Default)]
pub struct KeyPositions(BTreeMap<String, Vec<KeyPosition>>);

impl KeyPositions {
    /// All places of a path; repeats (`[2]`) in it are passed over.
    pub fn get(&self, path: &str) -> &[KeyPosition] {
        if path.contains('[') {
            let mut plain = String::with_capacity(path.len());
            let mut inside = false;
            for c in path.chars() {
                match c {
                    '[' => inside = true,
                    ']' => inside = false,
                    c if !inside => plain.push(c),
                    _ => {}
                }
            }
            return self.0.get(&plain).map_or(&[], Vec::as_slice);
        }
        self.0.get(path).map_or(&[], Vec::as_slice)
    }

    /// The place of a path, else of the nearest key above it that has one.
    pub fn nearest(&self, path: &str) -> Option<&KeyPosition> {
        let mut path = path;
        loop {
            if let Some(place) = self.get(path).first() {
                return Some(place);
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    /// All paths with their places, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[KeyPosition])> {
        self.0.iter().map(|(path, places)| (path.as_str(), places.as_slice()))
    }
}

/// Nested calls that are followed; recursion of script functions ends here.
const CALLS: usize = 12;
/// Expressions looked at in all: a function called from many places is looked at for each.
const LOOKS: usize = 100_000;

/// One script with what its names stand for.
struct Unit {
    file: Arc<str>,
    /// Import name; empty for the main script.
    name: String,
    top: Vec<Stmt>,
    functions: BTreeMap<String, Vec<Stmt>>,
    /// Local name of an imported module → its import name.
    imports: BTreeMap<String, String>,
}

struct Walk<'a> {
    units: &'a [Unit],
    found: KeyPositions,
    count: usize,
    looks: usize,
}

/// What the variables of one body stand for.
#[derive(Default)]
struct Names<'a> {
    values: BTreeMap<&'a str, &'a Expr>,
    assigned: BTreeMap<&'a str, Vec<(String, Position, &'a Expr)>>,
}

/// Where the walk is: script, variables, depth of calls.
#[derive(Clone, Copy)]
struct At<'a, 'n> {
    unit: &'a Unit,
    names: &'n Names<'a>,
    calls: usize,
}

/// Reads the positions; the trees must not be optimised. `units` are (import name, source, tree), the main
/// script first. Recursion is bounded by the depth that the parser admits, times [`CALLS`]: call this on a
/// thread with a large stack.
pub(crate) fn positions(units: &[(&str, &Source, &AST)]) -> KeyPositions {
    let units: Vec<Unit> = units.iter().map(|(name, source, ast)| Unit::of(name, source, ast)).collect();
    let mut walk = Walk { units: &units, found: KeyPositions::default(), count: 0, looks: 0 };
    if let Some(main) = units.first() {
        walk.body(main, &main.top, "", 0);
    }
    walk.found
}

impl Unit {
    fn of(name: &str, source: &Source, ast: &AST) -> Self {
        let functions = ast
            .iter_functions()
            .map(|function| {
                // The tree gives a body only through its walk: walk a tree that has this function alone.
                let (wanted, arity) = (function.name, function.params.len());
                let mut alone = ast.clone();
                alone.clear_statements();
                alone.retain_functions(|_, _, name, params| name == wanted && params == arity);
                let mut body = Vec::new();
                alone.walk(&mut |path| {
                    if let [ASTNode::Stmt(statement)] = path {
                        body.push((*statement).clone());
                    }
                    true
                });
                (wanted.to_owned(), body)
            })
            .collect();
        let top = ast.statements().to_vec();
        let imports = top
            .iter()
            .filter_map(|statement| match statement {
                Stmt::Import(import, _) => match &import.0 {
                    Expr::StringConstant(path, _) => Some((import.1.name.to_string(), path.to_string())),
                    _ => None,
                },
                _ => None,
            })
            .collect();
        Self { file: Arc::clone(&source.file), name: name.to_owned(), top, functions, imports }
    }
}

impl<'a> Walk<'a> {
    fn record(&mut self, unit: &Unit, path: &str, position: Position) {
        let (Some(line), Some(column)) = (position.line(), position.position()) else { return };
        if self.count >= KEY_POSITIONS || path.len() > 1_000 {
            return;
        }
        let place = KeyPosition {
            file: Arc::clone(&unit.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        };
        let places = self.found.0.entry(path.to_owned()).or_default();
        if !places.contains(&place) {
            self.count += 1;
            places.push(place);
        }
    }

    /// A body's value: its last statement, and every `return` at its top.
    fn body(&mut self, unit: &'a Unit, statements: &'a [Stmt], prefix: &str, calls: usize) {
        let mut names = Names::default();
        collect(statements, &mut names);
        self.value_of(statements, prefix, At { unit, names: &names, calls });
    }

    fn value_of(&mut self, statements: &'a [Stmt], prefix: &str, at: At<'a, '_>) {
        for (n, statement) in statements.iter().enumerate() {
            let last = n + 1 == statements.len();
            match statement {
                Stmt::Return(Some(value), ..) => self.expression(value, prefix, at),
                Stmt::Expr(value) if last => self.expression(value, prefix, at),
                Stmt::FnCall(call, _) if last => self.call(call, prefix, at),
                Stmt::Block(block) if last => self.value_of(block.statements(), prefix, at),
                Stmt::If(flow, _) => {
                    self.value_of(flow.body.statements(), prefix, at);
                    self.value_of(flow.branch.statements(), prefix, at);
                }
                Stmt::Switch(switch, _) => {
                    for case in &switch.1.expressions {
                        self.expression(&case.rhs, prefix, at);
                    }
                }
                _ => {}
            }
        }
    }

    fn expression(&mut self, expression: &'a Expr, prefix: &str, at: At<'a, '_>) {
        self.looks += 1;
        if self.looks > LOOKS {
            return;
        }
        match expression {
            Expr::Map(map, _) => {
                for (key, value) in &map.0 {
                    let path = join(prefix, &key.name);
                    self.record(at.unit, &path, key.pos);
                    self.expression(value, &path, at);
                }
            }
            Expr::Array(items, _) => {
                for item in items {
                    self.expression(item, prefix, at);
                }
            }
            Expr::Stmt(block) => self.value_of(block.statements(), prefix, at),
            Expr::FnCall(call, _) | Expr::MethodCall(call, _) => self.call(call, prefix, at),
            Expr::Dot(pair, ..) => {
                self.expression(&pair.lhs, prefix, at);
                self.expression(&pair.rhs, prefix, at);
            }
            Expr::Coalesce(sides, _) | Expr::Or(sides, _) | Expr::And(sides, _) => {
                for side in sides.iter() {
                    self.expression(side, prefix, at);
                }
            }
            Expr::DynamicConstant(value, _) => {
                if let Some(function) = value.read_lock::<FnPtr>() {
                    self.function(at.unit, function.fn_name(), prefix, at.calls);
                }
            }
            Expr::Variable(variable, ..) if at.calls < CALLS => {
                // One level deeper, so that `let a = a;` ends.
                let deeper = At { calls: at.calls + 1, ..at };
                let name = variable.1.as_str();
                if let Some(value) = at.names.values.get(name) {
                    self.expression(value, prefix, deeper);
                }
                for (below, position, value) in at.names.assigned.get(name).into_iter().flatten() {
                    let path = join(prefix, below);
                    if !below.is_empty() {
                        self.record(at.unit, &path, *position);
                    }
                    self.expression(value, &path, deeper);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &'a rhai::FnCallExpr, prefix: &str, at: At<'a, '_>) {
        // Closures among the arguments: `liste.map(|f| …)`.
        for argument in &call.args {
            match argument {
                Expr::DynamicConstant(..) => self.expression(argument, prefix, at),
                Expr::FnCall(inner, _) if inner.name == "curry" => self.call(inner, prefix, at),
                _ => {}
            }
        }
        let units = self.units;
        let unit = if call.namespace.is_empty() {
            Some(at.unit)
        } else {
            let local = call.namespace.root();
            let import = at.unit.imports.get(local);
            import.and_then(|import| units.iter().skip(1).find(|unit| unit.name == *import))
        };
        if let Some(unit) = unit {
            self.function(unit, &call.name, prefix, at.calls);
        }
    }

    fn function(&mut self, unit: &'a Unit, name: &str, prefix: &str, calls: usize) {
        if calls >= CALLS {
            return;
        }
        if let Some(body) = unit.functions.get(name) {
            self.body(unit, body, prefix, calls + 1);
        }
    }
}

/// Variables and assignments of a body, also those in its blocks.
fn collect<'a>(statements: &'a [Stmt], names: &mut Names<'a>) {
    for statement in statements {
        match statement {
            Stmt::Var(variable, ..) => {
                names.values.entry(variable.0.name.as_str()).or_insert(&variable.1);
            }
            Stmt::Assignment(assignment) => {
                let mut steps = Vec::new();
                if let Some((name, position)) = target(&assignment.1.lhs, &mut steps) {
                    names.assigned.entry(name).or_default().push((
                        steps.join("/"),
                        position,
                        &assignment.1.rhs,
                    ));
                }
            }
            Stmt::Expr(expression) => pushed(expression, names),
            Stmt::Block(block) => collect(block.statements(), names),
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) | Stmt::TryCatch(flow, _) => {
                collect(flow.body.statements(), names);
                collect(flow.branch.statements(), names);
            }
            Stmt::For(parts, _) => collect(parts.2.body.statements(), names),
            _ => {}
        }
    }
}

/// `liste.push(x)`: what goes into a list stands at the list's own path.
fn pushed<'a>(expression: &'a Expr, names: &mut Names<'a>) {
    let Expr::Dot(pair, _, position) = expression else { return };
    let Expr::MethodCall(call, _) = &pair.rhs else { return };
    let mut steps = Vec::new();
    if call.name == "push"
        && let Some(value) = call.args.first()
        && let Some((name, _)) = target(&pair.lhs, &mut steps)
    {
        names.assigned.entry(name).or_default().push((steps.join("/"), *position, value));
    }
}

/// `out.a["b/c"]` → `out` with the steps `a`, `b/c`; `None` for anything else.
fn target<'a>(expression: &'a Expr, steps: &mut Vec<String>) -> Option<(&'a str, Position)> {
    match expression {
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => {
            let (name, position) = target(&pair.lhs, steps)?;
            rest(&pair.rhs, steps)?;
            Some((name, position))
        }
        Expr::Variable(variable, _, position) => Some((variable.1.as_str(), *position)),
        _ => None,
    }
}

fn rest(expression: &Expr, steps: &mut Vec<String>) -> Option<()> {
    match expression {
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => {
            rest(&pair.lhs, steps)?;
            rest(&pair.rhs, steps)
        }
        Expr::Property(property, _) => {
            steps.push(property.2.to_string());
            Some(())
        }
        Expr::StringConstant(text, _) => {
            steps.push(text.to_string());
            Some(())
        }
        _ => None,
    }
}

fn join(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}/{key}"),
    }
}
