// SPDX-License-Identifier: EUPL-1.2
//! What is remembered of the folder between two looks, so that nothing is read twice without need and nothing that
//! fails is tried all the time. Lost with the process, and nothing hangs on it: what is read again is recognised.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    time::Duration,
};

use kop_core::{ContentHash, Zeitpunkt};

use super::walk::Touched;

/// How often an application that waits to be settled is compared with what was read.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// After so long it is read again, should its settlement have been lost.
const READ_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// A person is told of what is not finished after so long.
const UNFINISHED: Duration = Duration::from_secs(3600);
/// Pauses after failures.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The state of an entry as it was seen: its files, and its own moment.
pub(super) type Seen = (ContentHash, Touched);

enum Known {
    /// Not finished, unchanged since.
    Growing { seen: Option<Seen>, since: Zeitpunkt, first: Zeitpunkt, told: bool },
    /// Stored; waits to be moved away.
    Stored { seen: Seen, compare_at: Zeitpunkt, read_at: Zeitpunkt },
    /// Could not be read.
    Failed { times: u32, next: Zeitpunkt },
}

/// The entries that were seen.
#[derive(Default)]
pub(super) struct Memory(HashMap<OsString, Known>);

fn later(now: Zeitpunkt, time: Duration) -> Zeitpunkt {
    now.checked_add(time).unwrap_or(Zeitpunkt::MAX)
}

impl Memory {
    /// Forgets what is not there any more.
    pub(super) fn keep(&mut self, there: &BTreeSet<OsString>) {
        self.0.retain(|name, _| there.contains(name));
    }

    /// Whether an entry is to be looked at now.
    pub(super) fn is_due(&self, name: &OsStr, touched: Touched, now: Zeitpunkt) -> bool {
        match self.0.get(name) {
            Some(Known::Stored { seen, compare_at, .. }) => seen.1 != touched || *compare_at <= now,
            Some(Known::Failed { next, .. }) => *next <= now,
            Some(Known::Growing { .. }) | None => true,
        }
    }

    /// Whether it is stored and still what was stored; then it is left alone for a while.
    pub(super) fn is_stored(&mut self, name: &OsStr, looks: Seen, now: Zeitpunkt) -> bool {
        match self.0.get_mut(name) {
            Some(Known::Stored { seen, compare_at, read_at }) if *seen == looks && *read_at > now => {
                *compare_at = later(now, COMPARE_EVERY);
                true
            }
            _ => false,
        }
    }

    /// Since when an entry has looked like this; `None` for something that no application can be.
    pub(super) fn unchanged_since(&mut self, name: &OsStr, looks: Option<Seen>, now: Zeitpunkt) -> Zeitpunkt {
        if let Some(Known::Growing { seen, since, .. }) = self.0.get_mut(name) {
            if *seen != looks {
                (*seen, *since) = (looks, now);
            }
            return *since;
        }
        let fresh = Known::Growing { seen: looks, since: now, first: now, told: false };
        self.0.insert(name.to_owned(), fresh);
        now
    }

    /// Whether a person should know that it is not finished; once.
    pub(super) fn tell(&mut self, name: &OsStr, now: Zeitpunkt) -> bool {
        match self.0.get_mut(name) {
            Some(Known::Growing { first, told, .. }) if !*told && later(*first, UNFINISHED) <= now => {
                *told = true;
                true
            }
            _ => false,
        }
    }

    pub(super) fn stored(&mut self, name: &OsStr, seen: Seen, now: Zeitpunkt) {
        let known =
            Known::Stored { seen, compare_at: later(now, COMPARE_EVERY), read_at: later(now, READ_AGAIN) };
        self.0.insert(name.to_owned(), known);
    }

    pub(super) fn failed(&mut self, name: &OsStr, now: Zeitpunkt) {
        let before = match self.0.get(name) {
            Some(Known::Failed { times, .. }) => *times,
            _ => 0,
        };
        let pause = pause_after(before);
        self.0.insert(name.to_owned(), Known::Failed { times: before + 1, next: later(now, pause) });
    }
}

/// The pause after so many failures before this one.
pub(super) fn pause_after(before: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << before.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_without_need_or_tried_all_the_time() {
        let at = |seconds| Zeitpunkt::from_second(seconds).unwrap();
        let looks = |text: &str| (ContentHash::of(text.as_bytes()), (0, 0));
        let name = OsStr::new("a");
        let mut memory = Memory::default();
        assert_eq!(memory.unchanged_since(name, Some(looks("x")), at(0)), at(0));
        assert_eq!(memory.unchanged_since(name, Some(looks("x")), at(9)), at(0));
        assert_eq!(memory.unchanged_since(name, Some(looks("y")), at(10)), at(10));
        assert!(!memory.tell(name, at(3599)) && memory.tell(name, at(3600)) && !memory.tell(name, at(3601)));

        memory.stored(name, looks("y"), at(20));
        assert!(!memory.is_due(name, (0, 0), at(79)) && memory.is_due(name, (0, 0), at(80)));
        assert!(memory.is_due(name, (0, 1), at(21)), "moved away and back");
        assert!(memory.is_stored(name, looks("y"), at(80)) && !memory.is_due(name, (0, 0), at(139)));
        assert!(!memory.is_stored(name, looks("z"), at(140)), "something else came under its name");
        assert!(!memory.is_stored(name, (looks("y").0, (1, 0)), at(140)), "moved away and back");
        assert!(!memory.is_stored(name, looks("y"), at(20 + 24 * 3600)), "should its settlement be lost");

        let mut waits = Vec::new();
        let mut now = at(200);
        for _ in 0..9 {
            memory.failed(name, now);
            let due = |wait: &u64| memory.is_due(name, (0, 0), later(now, Duration::from_secs(*wait)));
            let next = (1..=3_600).find(due).unwrap();
            waits.push(next);
            now = later(now, Duration::from_secs(next));
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        memory.keep(&BTreeSet::new());
        assert!(memory.is_due(name, (0, 0), now));
    }
}
