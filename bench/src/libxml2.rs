// SPDX-License-Identifier: EUPL-1.2
//! The yardstick for validation: libxml2 without us, as a small C program.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{Error, measure::Subject};

/// Parsing and validating `document` against `schema`, by libxml2 in a process of its own; a turn is over when each
/// of its threads has done it as many times.
///
/// # Errors
/// When there is no C compiler, or libxml2 does not accept the document.
pub fn bare(folder: &Path, schema: &Path, document: &[u8], threads: u32) -> Result<Subject<'static>, Error> {
    let (source, program, file) =
        (folder.join("libxml2_loop.c"), folder.join("libxml2_loop"), folder.join("document.xml"));
    std::fs::write(&source, include_str!("libxml2_loop.c"))?;
    std::fs::write(&file, document)?;
    if !program.is_file() {
        let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libxml-2.0"]).output()?;
        let flags = String::from_utf8(flags.stdout)?;
        let built = Command::new("cc")
            .args(["-O2", "-pthread", "-o"])
            .args([&program, &source])
            .args(flags.split_whitespace())
            .status()?;
        if !built.success() {
            return Err("cc hat die Schleife auf libxml2 nicht übersetzt".into());
        }
    }
    let mut child = Command::new(program)
        .args([schema, &file])
        .arg(threads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
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
