// SPDX-License-Identifier: EUPL-1.2
//! Mistakes on purpose, only with the feature `mutants`: the crash test has to find them. `KOP_MUTANT=nosync` leaves
//! nothing on the disk that the system did not write by itself, `nosync-blobs` does so with files alone.
//! `noreplay` forgets at its start what the files' journal kept.

use std::time::Duration;

/// Long enough for whoever was answered too early to notice, as a slow disk would be.
const SLOW_COMMIT: Duration = Duration::from_millis(250);

fn is(name: &str) -> bool {
    std::env::var_os("KOP_MUTANT").is_some_and(|given| given == name)
}

/// Whether the database goes without syncs.
pub(crate) fn database_unsynced() -> bool {
    is("nosync")
}

/// Whether files and folders go without syncs.
pub(crate) fn files_unsynced() -> bool {
    is("nosync") || is("nosync-blobs")
}

/// Whether a start leaves the files' journal unread.
pub(crate) fn forgets_the_journal() -> bool {
    is("noreplay")
}

/// Whether everybody is answered before the COMMIT.
pub(crate) fn answers_early() -> bool {
    is("ack-early")
}

/// The time between an answer that was too early and its COMMIT.
pub(crate) fn commit_slowly() {
    std::thread::sleep(SLOW_COMMIT);
}
