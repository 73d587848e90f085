// SPDX-License-Identifier: EUPL-1.2
//! Keeps those who publish a blob and the one who collects apart, also over processes: a lock on a file, shared
//! by everybody who publishes or copies, held alone by whoever removes or rewrites. The system releases it when
//! a process dies. This module must not know what is done behind the gate.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The file below the blobs' root; no tenant id begins with a dot.
const NAME: &str = ".sperre";

/// Tries to be alone, and the pause between two of them.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// The lock.
#[derive(Debug)]
pub(super) struct Gate(PathBuf);

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

impl Gate {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let gate = Self(root.join(NAME));
        gate.open()?;
        Ok(gate)
    }

    /// Every holder opens the file itself: a lock belongs to an open file, not to a process.
    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }

    /// Together with others who publish or copy; waits while someone is alone.
    pub(super) fn pass(&self) -> io::Result<Held> {
        let file = self.open()?;
        file.lock_shared()?;
        Ok(Held { _file: file })
    }

    /// Alone. `None` when others were behind the gate for two seconds: then it is for another time.
    pub(super) fn alone(&self) -> io::Result<Option<Held>> {
        let file = self.open()?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Held { _file: file })),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}
