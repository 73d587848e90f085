// SPDX-License-Identifier: EUPL-1.2
//! What can go wrong with a folder, in words of whoever looks after it. No path and no file name enters a
//! text: both may hold what an applicant wrote.

use std::io::{self, ErrorKind};

use kop_core::{Diagnostic, Outcome};

/// Why an attempt ended without a receipt.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing the receiver would take up has happened.
    Retry(Diagnostic),
    /// Trying again changes nothing.
    Reject(Diagnostic),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry(problem) => Outcome::Retry { after: None, problem },
            Failure::Reject(problem) => Outcome::Reject(problem),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Retry(disk(&error))
    }
}

impl From<zip::result::ZipError> for Failure {
    fn from(error: zip::result::ZipError) -> Self {
        io::Error::from(error).into()
    }
}

/// The file system refuses.
pub(crate) fn disk(error: &io::Error) -> Diagnostic {
    let problem = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Diagnostic::new(
            "KOP-Z001",
            "In den Zielordner darf nicht geschrieben werden.",
            "The target folder may not be written to.",
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Diagnostic::new(
            "KOP-Z002",
            "Im Zielordner ist kein Platz mehr.",
            "The target folder has no space left.",
        ),
        _ => Diagnostic::new(
            "KOP-Z003",
            "Der Zielordner kann nicht benutzt werden.",
            "The target folder cannot be used.",
        ),
    };
    problem.with_detail(words(error))
}

/// The operating system's sentence. Other errors may name paths, of those only the kind is kept.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

pub(crate) fn other_content() -> Failure {
    Failure::Reject(
        Diagnostic::new(
            "KOP-Z004",
            "Das Verzeichnis dieser Sendung gibt es im Zielordner schon, mit anderem Inhalt.",
            "The directory of this message exists in the target folder already, with other content.",
        )
        .with_hint("In der Einstellung „name“ der Zustellung {kurz_id} ergänzen."),
    )
}

pub(crate) fn unreadable_blob(detail: impl Into<String>) -> Failure {
    Failure::Retry(
        Diagnostic::new(
            "KOP-Z005",
            "Eine gespeicherte Datei der Sendung kann nicht gelesen werden.",
            "A stored file of the message cannot be read.",
        )
        .with_detail(detail),
    )
}

pub(crate) fn blob_error(error: &io::Error) -> Failure {
    unreadable_blob(words(error))
}

pub(crate) fn bad_name(name: &str) -> Failure {
    Failure::Reject(
        Diagnostic::new(
            "KOP-Z006",
            "Eine Datei der Sendung hat einen Namen, der im Zielordner nicht möglich ist.",
            "A file of the message has a name that is not possible in the target folder.",
        )
        .with_value(name),
    )
}

pub(crate) fn not_a_folder() -> Failure {
    Failure::Retry(Diagnostic::new(
        "KOP-Z007",
        "Im Zielordner liegt ein Verweis oder eine Datei, wo ein Ordner erwartet wird.",
        "A link or a file lies in the target folder where a folder is expected.",
    ))
}

/// The engine stopped waiting, or is shutting down.
pub(crate) fn interrupted() -> Failure {
    Failure::Retry(disk(&ErrorKind::Interrupted.into()))
}

pub(crate) fn cannot_be_asked() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z008",
        "Ein Ordner kann nicht gefragt werden, was aus einer Sendung wurde.",
        "A folder cannot be asked what became of a message.",
    )
}

/// The folder that applications are fetched from cannot be used.
pub(crate) fn source_folder(error: &io::Error) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z023",
        "Der Ordner der Quelle kann nicht benutzt werden.",
        "The source's folder cannot be used.",
    )
    .with_detail(words(error))
}

pub(crate) fn no_payload(wanted: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-Z020",
        "Der Ordner enthält nicht genau einen Antrag.",
        "The folder does not hold exactly one application.",
    )
    .with_hint(format!(
        "Oben im Verzeichnis liegt genau eine Datei mit der Endung „.{wanted}“; Anlagen liegen daneben, in „anlagen“ \
         oder in „representation“."
    ))
}

pub(crate) fn takes_no_files() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z020",
        "Neben dem Antrag liegen Dateien, die dieses Format nicht mitnimmt.",
        "Beside the application lie files that this format does not take along.",
    )
    .with_hint("Bei diesem Format stehen alle Anlagen im Antrag selbst.")
}

pub(crate) fn strange_entry() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z021",
        "Im Antrag liegt etwas, das weder Datei noch erwarteter Ordner ist.",
        "Something in the application is neither a file nor a folder that is expected.",
    )
    .with_hint("Verweise (Links) und weitere Unterordner werden nicht gelesen.")
}

pub(crate) fn too_many_files() -> Diagnostic {
    Diagnostic::new("KOP-Z021", "Der Antrag hat zu viele Dateien.", "The application has too many files.")
}

pub(crate) fn changed_meanwhile() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z022",
        "Ein Antrag wurde verändert, während er gelesen wurde.",
        "An application changed while it was read.",
    )
}

pub(crate) fn unfinished() -> Diagnostic {
    Diagnostic::new(
        "KOP-Z024",
        "Im Ordner der Quelle liegt seit einer Stunde etwas, das nicht fertig wird.",
        "Something in the source's folder has not become finished for an hour.",
    )
}

pub(crate) fn no_such_format() -> Diagnostic {
    Diagnostic::new("KOP-F004", "Dieses Format gibt es nicht.", "There is no such format.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_page_and_no_path_leaks() {
        let code = |kind: ErrorKind| disk(&io::Error::new(kind, "/geheim/Mustermann")).code;
        assert_eq!(code(ErrorKind::PermissionDenied), "KOP-Z001");
        assert_eq!(code(ErrorKind::ReadOnlyFilesystem), "KOP-Z001");
        assert_eq!(code(ErrorKind::StorageFull), "KOP-Z002");
        assert_eq!(code(ErrorKind::QuotaExceeded), "KOP-Z002");
        assert_eq!(code(ErrorKind::NotFound), "KOP-Z003");
        let told = disk(&io::Error::new(ErrorKind::NotFound, "/geheim/Mustermann"));
        assert!(!serde_json::to_string(&told).unwrap().contains("Mustermann"));
        // ENOSPC as the kernel gives it.
        assert_eq!(disk(&io::Error::from_raw_os_error(28)).code, "KOP-Z002");
    }
}
