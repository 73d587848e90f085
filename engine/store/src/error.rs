// SPDX-License-Identifier: EUPL-1.2
//! What can go wrong in a store. Errors hold no values from applications, so they may be logged.

use std::io::ErrorKind;

use kop_core::Diagnostic;

/// Why a step did not happen. Nothing of a failed step is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The lease ran out or was given to someone else; whatever the holder found out must not be recorded.
    #[error("the lease is no longer valid")]
    StaleLease,
    /// There is no such thing for this tenant.
    #[error("not found")]
    NotFound,
    /// The state does not allow the step; the text names the state.
    #[error("not possible in this state: {0}")]
    NotPossible(String),
    /// Too many steps are waiting, another process holds the database for too long, or a step that was to be committed
    /// together with this one failed the whole group: try again later.
    #[error("the store is busy")]
    Busy,
    /// The disk has no room; nothing of the step is kept, and once there is room again it will work.
    #[error("no space left: {0}")]
    Full(String),
    /// The database cannot be reached, or went away within the step. Whether a step whose COMMIT was under way is kept is
    /// not known; told again, it tells.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Another process is serving from this data folder.
    #[error("another process is using the data folder {0}")]
    InUse(String),
    /// The database was written by a newer engine.
    #[error("the database has schema version {found}, this engine knows up to {known}")]
    NewerSchema {
        /// Version in the file.
        found: u32,
        /// Highest version that this engine knows.
        known: u32,
    },
    /// Stored bytes are not what was stored.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// What is stored is sealed with a key that cannot be had; the text names tenant and key.
    #[error("the key {0} is not there")]
    KeyMissing(String),
    /// What is stored is sealed with another key than the one of that name; the text names tenant and key.
    #[error("the key {0} is not the one that the data was sealed with")]
    KeyWrong(String),
    /// Larger than the caller allows.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The database refused or failed; nothing of the step is kept.
    #[error("database: {0}")]
    Database(String),
    /// A file could not be read or written.
    #[error("file: {0}")]
    File(String),
    /// The caller's document could not be rendered.
    #[error("document: {0}")]
    Document(String),
    /// The store has been shut down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// The problem for people, with a code to look up.
    pub fn diagnostic(&self) -> Diagnostic {
        let (code, de, en) = match self {
            Self::InUse(_) => (
                "KOP-S002",
                "Ein anderer Prozess arbeitet schon mit diesem Datenordner.",
                "Another process is already using this data folder.",
            ),
            Self::NewerSchema { .. } => (
                "KOP-S003",
                "Die Datenbank stammt von einer neueren Version von KOP engine.",
                "The database was written by a newer version of KOP engine.",
            ),
            Self::Damaged(_) => (
                "KOP-S004",
                "Eine gespeicherte Datei ist beschädigt oder fehlt.",
                "A stored file is damaged or missing.",
            ),
            Self::KeyMissing(_) => (
                "KOP-S010",
                "Ein Schlüssel des Mandanten fehlt; seine Daten können nicht gelesen oder gespeichert werden.",
                "A key of the tenant is missing; its data can be neither read nor stored.",
            ),
            Self::KeyWrong(_) => (
                "KOP-S011",
                "Ein Schlüssel des Mandanten ist nicht der, mit dem seine Daten verschlüsselt wurden.",
                "A key of the tenant is not the one that its data was encrypted with.",
            ),
            Self::Busy => {
                ("KOP-S005", "Der Speicher ist gerade ausgelastet.", "The store is busy at present.")
            }
            Self::Full(_) => (
                "KOP-S012",
                "Auf dem Datenträger ist kein Platz mehr.",
                "There is no space left on the disk.",
            ),
            Self::Unreachable(_) => (
                "KOP-S013",
                "Die Datenbank ist gerade nicht erreichbar.",
                "The database cannot be reached at present.",
            ),
            Self::NotFound => (
                "KOP-S006",
                "Es gibt keinen gespeicherten Eintrag mit dieser Angabe.",
                "There is no stored entry like that.",
            ),
            Self::NotPossible(_) => (
                "KOP-S007",
                "Das ist im jetzigen Zustand nicht möglich.",
                "This is not possible in the present state.",
            ),
            Self::StaleLease
            | Self::TooLarge(_)
            | Self::Database(_)
            | Self::File(_)
            | Self::Document(_)
            | Self::Closed => (
                "KOP-S001",
                "Der Speicher konnte den Vorgang nicht ausführen.",
                "The store could not carry out the step.",
            ),
        };
        Diagnostic::new(code, de, en).with_detail(self.to_string())
    }
}

impl StoreError {
    /// Whether the same step may work a little later, without anybody doing anything about the step itself.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Busy | Self::Full(_) | Self::Unreachable(_))
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(error.kind().to_string()),
            _ => Self::File(error.to_string()),
        }
    }
}
