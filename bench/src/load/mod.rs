// SPDX-License-Identifier: EUPL-1.2
//! The real program under load: applications at fixed rates whether or not it keeps up (open loop), a receiver that
//! notes what arrives when, and a floor to stand beside: the same steps of the store and the same HTTP, without an
//! engine. Load, receiver and program share the machine.

pub mod client;
pub mod floor;
pub mod generator;
pub mod program;
pub mod receiver;
pub mod report;
pub mod stored;

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use crate::Error;

/// A sorted set of times.
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Sorts them.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that a part of them, 0 to 1, does not exceed, in ms.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn at(&self, part: f64) -> f64 {
        let place = ((self.0.len() as f64 * part).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// The median time in ms that writing 4 KiB and `fsync` take below a folder.
///
/// # Errors
/// When the folder cannot be written to.
pub fn fsync_median(folder: &Path) -> Result<f64, Error> {
    let path = folder.join("fsync");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_all()?;
        times.push(begin.elapsed());
    }
    fs::remove_file(path)?;
    Ok(Spread::of(times).at(0.5))
}
