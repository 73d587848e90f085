// SPDX-License-Identifier: EUPL-1.2
//! Fair times on a machine that others use too: all subjects take turns in every round, and the median round
//! counts. Ratios within one run hold where absolute figures do not.

use std::time::Instant;

use crate::Error;

/// Rounds in which every subject has its turn.
pub const ROUNDS: usize = 15;

/// Something that can be done many times; gives the nanoseconds that `times` of it took.
pub type Subject<'a> = Box<dyn FnMut(u32) -> Result<f64, Error> + 'a>;

/// Times of one subject over all rounds, in µs per turn.
#[derive(Clone, Debug)]
pub struct Times {
    /// Name of the subject.
    pub name: String,
    /// The median round.
    pub median: f64,
    /// The fastest round.
    pub least: f64,
    /// The slowest round.
    pub most: f64,
}

/// A subject that runs within this process.
pub fn repeat<'a>(mut work: impl FnMut() -> Result<(), Error> + 'a) -> Subject<'a> {
    Box::new(move |times| {
        let begin = Instant::now();
        for _ in 0..times {
            work()?;
        }
        Ok(begin.elapsed().as_secs_f64() * 1e9)
    })
}

/// Measures all subjects in turns; each turn does as many repeats as take about 30 ms.
///
/// # Errors
/// When a subject fails.
pub fn take_turns(mut subjects: Vec<(String, Subject<'_>)>) -> Result<Vec<Times>, Error> {
    let mut repeats = Vec::new();
    for (_, subject) in &mut subjects {
        // The first turn warms up and shows the order of magnitude.
        let once = (subject(20)? / 20.0).max(1.0);
        let mut times = 5;
        while f64::from(times) * once < 30e6 && times < 200_000 {
            times += times / 4 + 1;
        }
        repeats.push(times);
    }
    rounds(subjects, &repeats, ROUNDS)
}

/// Measures subjects that take long in turns, once a round.
///
/// # Errors
/// When a subject fails.
pub fn take_long_turns(subjects: Vec<(String, Subject<'_>)>, count: usize) -> Result<Vec<Times>, Error> {
    let repeats = vec![1; subjects.len()];
    rounds(subjects, &repeats, count.max(1))
}

fn rounds(
    mut subjects: Vec<(String, Subject<'_>)>,
    repeats: &[u32],
    count: usize,
) -> Result<Vec<Times>, Error> {
    let mut all = vec![Vec::new(); subjects.len()];
    for _ in 0..count {
        for (n, (_, subject)) in subjects.iter_mut().enumerate() {
            all[n].push(subject(repeats[n])? / 1e3 / f64::from(repeats[n]));
        }
    }
    Ok(subjects
        .into_iter()
        .zip(all)
        .map(|((name, _), mut rounds)| {
            rounds.sort_by(f64::total_cmp);
            Times { name, median: rounds[count / 2], least: rounds[0], most: rounds[count - 1] }
        })
        .collect())
}
