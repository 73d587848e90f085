// SPDX-License-Identifier: EUPL-1.2
//! When the door is closed for a while: too much is open, or the disk is nearly full. Measured every second and
//! opened again with some distance, so that it does not flap. What was accepted before goes on.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kop_core::Diagnostic;
use kop_flow::Engine;
use kop_tenant::RueckstauDatei;
use tokio_util::sync::CancellationToken;

/// Bytes that have to be free unless said otherwise; on a small disk a tenth of it.
const USUAL_FREE: u64 = 500_000_000;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was seen at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Submissions and deliveries that are not done, counted up to the limit and one.
    pub backlog: u64,
    /// Free bytes of the data folder's disk.
    pub free: u64,
    /// Its size in bytes; 0 when it is not known.
    pub total: u64,
}

/// Why the door is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Too much is open.
    pub backlog: bool,
    /// The disk is nearly full.
    pub disk: bool,
}

/// The door.
pub struct Gate {
    limits: RueckstauDatei,
    data_dir: PathBuf,
    now: Mutex<(Seen, Closed)>,
}

impl Gate {
    /// A door that opens and closes by these limits.
    pub fn new(limits: RueckstauDatei, data_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { limits, data_dir, now: Mutex::default() })
    }

    /// What the last look saw, and what it led to.
    pub fn state(&self) -> (Seen, Closed) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a sender is told while the door is closed.
    pub fn refusal(&self) -> Option<Diagnostic> {
        let closed = self.state().1;
        (closed.backlog || closed.disk).then(|| {
            Diagnostic::new(
                "KOP-S008",
                "Der Dienst nimmt vorübergehend keine Anträge an. Bitte später noch einmal senden.",
                "The service takes in no applications for a while. Please send again later.",
            )
        })
    }

    /// Looks once.
    pub async fn look(&self, engine: &Engine) {
        let (before, was) = self.state();
        // A store that does not answer says so at the next submission; the door stays as it is.
        let backlog = engine.store().backlog(self.limits.hoechstens + 1).await.unwrap_or(before.backlog);
        let dir = self.data_dir.clone();
        let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&dir)).await;
        let (free, total) = match disk {
            Ok(Ok(disk)) => (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize),
            _ => (before.free, before.total),
        };
        let seen = Seen { backlog, free, total };
        let closed = step(&self.limits, was, seen);
        if closed != was {
            tracing::warn!(
                backlog = closed.backlog,
                disk = closed.disk,
                open = seen.backlog,
                free_bytes = seen.free,
                "The intake opens or closes."
            );
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (seen, closed);
    }

    /// Looks until stopped.
    pub async fn watch(self: Arc<Self>, engine: Arc<Engine>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.look(&engine).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// Opens later than it closes: at four fifths of the backlog, at a tenth more space.
fn step(limits: &RueckstauDatei, was: Closed, seen: Seen) -> Closed {
    let most = if was.backlog { limits.hoechstens - limits.hoechstens / 5 } else { limits.hoechstens };
    let usual = USUAL_FREE.min(seen.total / 10);
    let megabytes = limits.frei_mb.map_or(usual, |wanted| wanted.saturating_mul(1_000_000));
    let wanted = megabytes.max(seen.total / 100 * u64::from(limits.frei_prozent));
    let wanted = if was.disk { wanted.saturating_add(wanted / 10) } else { wanted };
    Closed { backlog: seen.backlog > most, disk: seen.total > 0 && seen.free < wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_later_than_it_closes() {
        let limits = RueckstauDatei { hoechstens: 100, frei_mb: Some(10), frei_prozent: 1 };
        let seen = |backlog, free| Seen { backlog, free, total: 2_000_000_000 };
        let open = Closed::default();
        let roomy = 30_000_000;
        assert_eq!(step(&limits, open, seen(100, roomy)), open);
        let full = step(&limits, open, seen(101, roomy));
        assert!(full.backlog && !full.disk);
        assert!(step(&limits, full, seen(81, roomy)).backlog, "not yet");
        assert_eq!(step(&limits, full, seen(80, roomy)), open);
        // One per cent of the disk is more than the megabytes.
        let tight = step(&limits, open, seen(0, 19_999_999));
        assert!(tight.disk && !tight.backlog);
        assert!(step(&limits, tight, seen(0, 21_999_999)).disk, "not yet");
        assert_eq!(step(&limits, tight, seen(0, 22_000_000)), open);
    }
}
