// SPDX-License-Identifier: EUPL-1.2
//! The state machine of docs/zustaende.md checked as a model: random steps on a real store beside a small reference
//! that says what each may do. Written against [`Store`], so that every store runs the same.
//!
//! `KOP_MODEL_CASES` sets how many random runs there are (32; half of them on PostgreSQL).

mod compare;
mod driver;
mod people;
mod reference;
mod sending;

use std::ops::Range;

use kop_core::DeliveryId;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

use crate::{
    api::Store,
    steps::{ClaimedDelivery, Overdue},
};

/// Steps of one run at most.
const STEPS: usize = 60;

/// A store under test, and how its process ends and starts again.
pub(crate) trait Subject {
    /// The store as it is open now.
    fn store(&self) -> &dyn Store;
    /// The process dies and another one serves the same data.
    fn crash(&mut self);
}

/// One step; numbers choose among what is there when the step is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// One of a few keys, so that repeats and conflicts occur.
    Accept {
        key: u8,
        content: u8,
    },
    ClaimSubmissions {
        limit: u8,
    },
    RenewSubmission {
        lease: u8,
    },
    /// Two bits for the number of messages, one for Klärung, one for starting first attempts, two for the first lane,
    /// one for all messages in the same lane, one for not holding up those behind it when a person has to look.
    Record {
        lease: u8,
        what: u8,
    },
    /// A claim, and what came of it.
    Process {
        what: u8,
    },
    Defer {
        lease: u8,
        by: u8,
    },
    ClaimDeliveries {
        limit: u8,
        per_lane: u8,
    },
    RenewDelivery {
        lease: u8,
    },
    Start {
        lease: u8,
    },
    Finish {
        lease: u8,
        end: u8,
        by: u8,
    },
    /// A claim, a start and an end.
    Attempt {
        end: u8,
        by: u8,
    },
    Recover {
        limit: u8,
    },
    /// Whoever has to know of what takes long.
    Tell,
    RetryDelivery {
        which: u8,
    },
    RetrySubmission {
        which: u8,
    },
    CloseWorkItem {
        which: u8,
    },
    Correct {
        which: u8,
    },
    Replace {
        which: u8,
        despite: bool,
    },
    /// Contents, and metadata once they are gone; perhaps a lane has to have it first.
    Delete {
        which: u8,
        demand: u8,
    },
    Crash,
    Advance {
        by: u8,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    prop_oneof![
        3 => (0..3_u8, 0..2_u8).prop_map(|(key, content)| Op::Accept { key, content }),
        4 => (1..4_u8).prop_map(|limit| Op::ClaimSubmissions { limit }),
        1 => n().prop_map(|lease| Op::RenewSubmission { lease }),
        3 => (n(), n()).prop_map(|(lease, what)| Op::Record { lease, what }),
        4 => n().prop_map(|what| Op::Process { what }),
        1 => (n(), n()).prop_map(|(lease, by)| Op::Defer { lease, by }),
        5 => (1..4_u8, 1..3_u8).prop_map(|(limit, per_lane)| Op::ClaimDeliveries { limit, per_lane }),
        1 => n().prop_map(|lease| Op::RenewDelivery { lease }),
        5 => n().prop_map(|lease| Op::Start { lease }),
        6 => (n(), n(), n()).prop_map(|(lease, end, by)| Op::Finish { lease, end, by }),
        8 => (n(), 0..40_u8).prop_map(|(end, by)| Op::Attempt { end, by }),
        2 => (1..4_u8).prop_map(|limit| Op::Recover { limit }),
        2 => Just(Op::Tell),
        2 => n().prop_map(|which| Op::RetryDelivery { which }),
        1 => n().prop_map(|which| Op::RetrySubmission { which }),
        1 => n().prop_map(|which| Op::CloseWorkItem { which }),
        1 => n().prop_map(|which| Op::Correct { which }),
        2 => (n(), any::<bool>()).prop_map(|(which, despite)| Op::Replace { which, despite }),
        3 => (n(), 0..8_u8).prop_map(|(which, demand)| Op::Delete { which, demand }),
        2 => Just(Op::Crash),
        4 => (0..200_u8).prop_map(|by| Op::Advance { by }),
    ]
}

/// A mistake between the steps and the store, to see that the model finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Whoever comes back with an old token writes all the same.
    IgnoresToken,
    /// What has its receipt is handed out to be sent again.
    SendsAgainAfterReceipt,
    /// What was started and never ended is handed out as if it had never left.
    SendsWhatMayHaveLeft,
    /// A lane takes as much as comes.
    IgnoresPlaces,
    /// As fast as it comes.
    IgnoresPace,
    /// In any order.
    IgnoresOrder,
    /// Those behind one that a person has to look at go on, though they should wait.
    NeverWaitsForPeople,
    /// A lane never pauses.
    IgnoresFailures,
    /// A person is told again.
    TellsAgain,
    /// Deletes what a receiver has to have first.
    DeletesUndelivered,
    /// Deletes what a person has to look at.
    DeletesWhatIsOpen,
}

impl Mistake {
    /// Where it shows.
    fn situation(self) -> Range<usize> {
        let place = match self {
            Self::IgnoresToken | Self::SendsWhatMayHaveLeft => 1,
            Self::IgnoresOrder | Self::NeverWaitsForPeople => 3,
            Self::IgnoresPlaces | Self::IgnoresPace => 4,
            Self::IgnoresFailures => 5,
            Self::TellsAgain => 6,
            Self::SendsAgainAfterReceipt | Self::DeletesUndelivered | Self::DeletesWhatIsOpen => 7,
        };
        place..place + 1
    }

    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::IgnoresToken,
        Self::SendsAgainAfterReceipt,
        Self::SendsWhatMayHaveLeft,
        Self::IgnoresPlaces,
        Self::IgnoresPace,
        Self::IgnoresOrder,
        Self::NeverWaitsForPeople,
        Self::IgnoresFailures,
        Self::TellsAgain,
        Self::DeletesUndelivered,
        Self::DeletesWhatIsOpen,
    ];
}

/// Runs random steps on fresh subjects; the first run that is not as the reference says, made as short as possible.
pub(crate) fn check<S: Subject>(
    cases: u32,
    mistake: Option<Mistake>,
    fresh: impl Fn() -> S,
) -> Result<(), String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if mistake.is_some() { 0 } else { 400 },
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(config);
    let begin = mistake.map_or(0..SITUATIONS.len(), Mistake::situation);
    let outcome = runner.run(&(begin, vec(op(), 1..STEPS)), |(begin, steps)| {
        let mut driver = driver::Driver::new(fresh(), mistake);
        for (n, step) in SITUATIONS[begin].iter().chain(&steps).enumerate() {
            runtime
                .block_on(driver.take(*step))
                .map_err(|why| TestCaseError::fail(format!("step {n} {step:?}: {why}")))?;
        }
        Ok(())
    });
    outcome.map_err(|error| match error {
        TestError::Fail(reason, (begin, steps)) => {
            format!("{reason}\n{:?}\n{steps:#?}", SITUATIONS[begin])
        }
        TestError::Abort(reason) => reason.to_string(),
    })
}

/// How many random runs are wanted.
pub(crate) fn cases() -> u32 {
    std::env::var("KOP_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(32)
}

/// Where runs begin: what steps by chance seldom come to.
const SITUATIONS: [&[Op]; 8] = [
    &[],
    // One delivery is under way.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::ClaimSubmissions { limit: 1 },
        Op::Record { lease: 0, what: 1 },
        Op::ClaimDeliveries { limit: 1, per_lane: 1 },
        Op::Start { lease: 0 },
    ],
    // One that came later is with a person when one that came earlier is mended and takes its place before it.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::Advance { by: 1 },
        Op::Accept { key: 2, content: 0 },
        Op::Process { what: 4 },
        Op::Process { what: 33 },
        Op::Attempt { end: 4, by: 0 },
        Op::RetrySubmission { which: 0 },
        Op::Process { what: 33 },
    ],
    // Of two of a Vorgang the first is with a person.
    &[Op::Accept { key: 0, content: 0 }, Op::Process { what: 114 }, Op::Attempt { end: 4, by: 0 }],
    // Several wait in a lane with a pace and in one without.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::Process { what: 82 },
        Op::Accept { key: 2, content: 0 },
        Op::Process { what: 67 },
    ],
    // A lane pauses.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::Process { what: 67 },
        Op::Attempt { end: 2, by: 0 },
        Op::Attempt { end: 2, by: 0 },
    ],
    // A person was told that a delivery takes long.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::Process { what: 1 },
        Op::Attempt { end: 2, by: 10 },
        Op::Advance { by: 199 },
        Op::Tell,
    ],
    // Nothing is left to do for one, for the other a person has to look.
    &[
        Op::Accept { key: 0, content: 0 },
        Op::Process { what: 1 },
        Op::Attempt { end: 0, by: 0 },
        Op::Accept { key: 2, content: 0 },
        Op::Process { what: 4 },
    ],
];

/// What the mistakes need to know.
#[derive(Default)]
pub(crate) struct Seen {
    /// The newest token of each delivery.
    pub(crate) tokens: std::collections::HashMap<DeliveryId, u64>,
    /// One that was handed out.
    pub(crate) handed_out: Vec<ClaimedDelivery>,
    /// One that was told about.
    pub(crate) overdue: Vec<Overdue>,
}
