// SPDX-License-Identifier: EUPL-1.2
//! The yardsticks: libxml2 without us (a small C program), and Rhai without us (the same tree, built by a
//! script of plain literals).

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    rc::Rc,
};

use kop_core::Tree;
use rhai::{AST, Dynamic, Engine, Map, Scope};

use crate::{Error, measure::Subject};

/// Parsing and validating `document` against `schema`, by libxml2 in a process of its own.
///
/// # Errors
/// When there is no C compiler, or libxml2 does not accept the document.
pub fn libxml2(folder: &Path, schema: &Path, document: &[u8]) -> Result<Subject<'static>, Error> {
    let (source, program, file) =
        (folder.join("libxml2_loop.c"), folder.join("libxml2_loop"), folder.join("document.xml"));
    std::fs::write(&source, include_str!("libxml2_loop.c"))?;
    std::fs::write(&file, document)?;
    if !program.is_file() {
        let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libxml-2.0"]).output()?;
        let flags = String::from_utf8(flags.stdout)?;
        let built = Command::new("cc")
            .args(["-O2", "-o"])
            .args([&program, &source])
            .args(flags.split_whitespace())
            .status()?;
        if !built.success() {
            return Err("cc hat die Schleife auf libxml2 nicht übersetzt".into());
        }
    }
    let mut child =
        Command::new(program).args([schema, &file]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let answers = BufReader::new(child.stdout.take().ok_or("stdout")?);
    let mut running = Loop { child, answers };
    Ok(Box::new(move |times| running.turn(times)))
}

struct Loop {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Loop {
    fn turn(&mut self, times: u32) -> Result<f64, Error> {
        let stdin = self.child.stdin.as_mut().ok_or("stdin")?;
        writeln!(stdin, "{times}")?;
        stdin.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().map_err(|_| "libxml2 nimmt das Dokument nicht an".into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Building `tree` in Rhai from values that lie ready in a map: no handle, no look-ups, no limits, no records.
///
/// # Errors
/// When the script does not compile.
pub fn rhai(tree: &Tree) -> Result<Subject<'static>, Error> {
    let mut script = String::new();
    let mut values = Map::new();
    literal(tree, &mut script, &mut values);
    let mut engine = Engine::new();
    engine.set_max_expr_depths(256, 128);
    let mut scope = Scope::new();
    scope.push_constant("e", Dynamic::from_map(values.clone()));
    let ast: Rc<AST> = Rc::new(engine.compile_with_scope(&scope, &script)?);
    Ok(crate::measure::repeat(move || {
        let mut scope = Scope::new();
        scope.push_constant("e", Dynamic::from_map(values.clone()));
        let built: Map = engine.eval_ast_with_scope(&mut scope, &ast)?;
        if built.is_empty() { Err("leer".into()) } else { Ok(()) }
    }))
}

/// Writes the value as a literal whose leaves are read from `e`.
fn literal(tree: &Tree, script: &mut String, values: &mut Map) {
    let mut leaf = |value: Dynamic, script: &mut String| {
        let name = format!("f{}", values.len());
        script.extend(["e.", &name]);
        values.insert(name.into(), value);
    };
    match tree {
        Tree::Nothing => script.push_str("()"),
        Tree::Text(text) => leaf(text.as_ref().into(), script),
        Tree::Bool(value) => leaf((*value).into(), script),
        Tree::Int(value) => leaf((*value).into(), script),
        Tree::List(items) => {
            script.push('[');
            for item in items {
                literal(item, script, values);
                script.push(',');
            }
            script.push(']');
        }
        Tree::Map(entries) => {
            script.push_str("#{");
            for (key, value) in entries {
                script.extend(["\"", key, "\":"]);
                literal(value, script, values);
                script.push(',');
            }
            script.push('}');
        }
    }
}
