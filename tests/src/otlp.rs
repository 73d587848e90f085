// SPDX-License-Identifier: EUPL-1.2
//! The foreign judge of traces: OTLP's own messages and Protobuf's own reader, in Python.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::{Error, workspace};

/// Judges bodies of OTLP/HTTP requests in JSON: one line per problem, none when all hold.
///
/// # Errors
/// When Python or the package index is not there, or the judge itself fails.
pub fn otlp(bodies: &[impl AsRef<[u8]>]) -> Result<Vec<String>, Error> {
    let python = library()?;
    let folder = tempfile::tempdir()?;
    let mut files: Vec<PathBuf> = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        let file = folder.path().join(format!("{number}.json"));
        fs::write(&file, body)?;
        files.push(file);
    }
    let output = Command::new(python).arg(workspace().join("tests/otlp/judge.py")).args(&files).output()?;
    if !output.status.success() {
        return Err(format!("OTLP: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// A Python with the judge's packages; pip fills it on the first call.
fn library() -> Result<PathBuf, Error> {
    static FETCH: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = workspace().join("target/otlp");
    let python = folder.join("bin/python");
    let wanted = workspace().join("tests/otlp/requirements.txt");
    // Written last: whoever was interrupted begins anew.
    let done = folder.join("requirements.txt");
    if fs::read(&done).is_ok_and(|had| fs::read(&wanted).is_ok_and(|wanted| had == wanted)) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run(Command::new(&python).args(pip).arg(&wanted))?;
    fs::copy(&wanted, &done)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), Error> {
    let output = command.output()?;
    let program = Path::new(command.get_program()).display().to_string();
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}
