// SPDX-License-Identifier: EUPL-1.2
//! How many attempts a lane's pace allows: the generic cell rate algorithm (ITU-T I.371, Annex A) in microseconds.
//! Pure, so that every store counts alike.

use std::num::NonZeroU32;

use kop_core::LaneLimits;

const MINUTE: i64 = 60_000_000;

/// The distance that attempts keep on average, and how far ahead of it they may run.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    distance: i64,
    /// One second's worth may begin at once; a look for work takes its time.
    ahead: i64,
}

impl Pace {
    pub(crate) fn new(per_minute: NonZeroU32) -> Self {
        let per_minute = i64::from(per_minute.get());
        let distance = MINUTE / per_minute;
        Self { distance, ahead: per_minute / 60 * distance }
    }

    /// How many may begin `now`.
    pub(crate) fn allows(self, paced_until: i64, now: i64) -> u64 {
        let room = self.ahead - (paced_until - now).max(0);
        if room < 0 { 0 } else { (room / self.distance.max(1) + 1).unsigned_abs() }
    }

    /// After `count` more have begun: until when the pace is spent, and when the next one may begin.
    pub(crate) fn spend(self, paced_until: i64, count: u64, now: i64) -> (i64, i64) {
        let until = paced_until.max(now).saturating_add(self.distance.saturating_mul(count.cast_signed()));
        (until, until - self.ahead)
    }
}

/// What is kept of a lane.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) trips: u32,
    pub(crate) paused_until: i64,
    pub(crate) paced_until: i64,
}

impl Kept {
    /// How many more may begin now, when so many are under way.
    pub(crate) fn room(self, limits: LaneLimits, under_way: u64, now: i64) -> u64 {
        if self.paused_until > now {
            return 0;
        }
        // After a pause a single attempt finds out whether the receiver is back.
        let places = if self.trips > 0 { 1 } else { u64::from(limits.places) };
        let room = places.saturating_sub(under_way);
        match limits.per_minute {
            Some(per_minute) => room.min(Pace::new(per_minute).allows(self.paced_until, now)),
            None => room,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_pace_and_lets_a_second_s_worth_begin_at_once() {
        let slow = Pace::new(NonZeroU32::new(6).unwrap());
        assert_eq!(slow.allows(0, 1_000), 1);
        let (until, ready) = slow.spend(0, 1, 1_000);
        assert_eq!((slow.allows(until, 1_001), ready), (0, 10_001_000));
        assert_eq!(slow.allows(until, ready), 1);

        let fast = Pace::new(NonZeroU32::new(600).unwrap());
        let (mut until, mut begun) = (0, 0);
        for now in (0..60_000_000).step_by(50_000) {
            let count = fast.allows(until, now);
            begun += count;
            (until, _) = fast.spend(until, count, now);
        }
        assert!((600..=611).contains(&begun), "{begun} in a minute");
    }
}
