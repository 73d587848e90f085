// SPDX-License-Identifier: EUPL-1.2
//! Why there is no verdict, in words of whoever looks after the scanner; and which names of findings mean that
//! a file could not be looked at.

use std::io;

use kop_connector_api::Verdict;
use kop_core::Diagnostic;

/// The scanner is not there, or breaks off.
pub(crate) fn unreachable(error: &io::Error) -> Diagnostic {
    if error.kind() == io::ErrorKind::TimedOut {
        return too_slow();
    }
    // The system's own sentence names no file and no value.
    let words = match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    };
    Diagnostic::new(
        "KOP-F043",
        "Die Virenprüfung ist nicht erreichbar.",
        "The virus scanner cannot be reached.",
    )
    .with_detail(words)
}

/// The scanner took longer than allowed.
pub(crate) fn too_slow() -> Diagnostic {
    Diagnostic::new(
        "KOP-F043",
        "Die Virenprüfung hat in der vorgesehenen Zeit nicht geantwortet.",
        "The virus scanner did not answer in time.",
    )
}

/// The scanner says something that is no verdict.
pub(crate) fn no_verdict(said: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F043",
        "Die Virenprüfung hat keine verständliche Antwort gegeben.",
        "The virus scanner gave no answer that can be understood.",
    )
    .with_detail(short(said))
}

/// A name that a scanner gave: names of ClamAV's heuristics tell that it could not look inside.
pub(crate) fn finding(name: &str) -> Verdict {
    let name = short(name);
    let lower = name.to_ascii_lowercase();
    let blind = ["encrypted", "limits.exceeded", "password"].iter().any(|word| lower.contains(word));
    if blind { Verdict::Unscannable(name) } else { Verdict::Found(name) }
}

/// Foreign words, printable and short.
pub(crate) fn short(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(120).collect()
}
