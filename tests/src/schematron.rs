// SPDX-License-Identifier: EUPL-1.2
//! The foreign Schematron judge: SchXslt on Saxon-HE, all files in one start of the Java machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::{Error, workspace};

/// The official rule files for XBau-Hochbau 2.6 below the folder of reference material.
pub const XBAU: [&str; 2] = [
    "xoev/xbau-2.6/schematron/xbau-schematron.sch",
    "xoev/xbau-2.6/schematron/xbau-schematron-leere-elemente.sch",
];
/// The official rule file for XBau-Kernmodul 1.3.0.
pub const KERNMODUL: [&str; 1] = ["xoev/xbau-kernmodul-1.3.0/xbau-schematron-leere-elemente.sch"];

/// Judges `files` by `rules`: one line per failed assert (`file TAB rule file TAB XPath TAB text TAB id`), none when
/// all hold. A rule file of which no rule applies to a file counts as failed, because it would prove nothing.
///
/// # Errors
/// When Java, Maven or a file is missing, or the judge itself fails.
pub fn schematron(rules: &[PathBuf], files: &[PathBuf]) -> Result<Vec<String>, Error> {
    let library = library()?;
    let compiler = fs::canonicalize(library.join("schxslt-1.10.1.jar"))?;
    let output = Command::new("java")
        .arg("-cp")
        .arg(library.join("*"))
        .arg("net.sf.saxon.Transform")
        .arg(format!("-xsl:{}", workspace().join("tests/schematron/judge.xsl").display()))
        .arg("-it")
        .arg(format!("compiler=jar:{}!/xslt/2.0/pipeline-for-svrl.xsl", uri(&compiler)?))
        .arg(format!("rules={}", uris(rules)?))
        .arg(format!("files={}", uris(files)?))
        .output()?;
    if !output.status.success() {
        return Err(format!("Schematron: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The folder of the judge's jars; Maven fills it on the first call.
fn library() -> Result<PathBuf, Error> {
    static FETCH: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FETCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = workspace().join("target/schematron/lib");
    if folder.join("schxslt-1.10.1.jar").is_file() && folder.join("Saxon-HE-12.5.jar").is_file() {
        return Ok(folder);
    }
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(workspace().join("tests/schematron/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .status()?;
    if status.success() { Ok(folder) } else { Err("Maven konnte SchXslt und Saxon nicht holen".into()) }
}

fn uris(paths: &[PathBuf]) -> Result<String, Error> {
    Ok(paths.iter().map(|path| uri(path)).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn uri(path: &Path) -> Result<String, Error> {
    let absolute = fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))?;
    reqwest::Url::from_file_path(&absolute)
        .map(String::from)
        .map_err(|()| format!("{}: keine Datei-URI", absolute.display()).into())
}
