// SPDX-License-Identifier: EUPL-1.2
//! What came of work that was done must be recorded, or the work is done again or stays unclear. When the store is busy
//! or its disk full, a step is tried again for as long as its lease holds.

use std::time::{Duration, Instant};

use kop_store::StoreError;

/// Longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(1);

/// Tries a step again until it is stored, fails for a reason that stays, or `limit` is over.
pub(crate) async fn insist<T, F: Future<Output = Result<T, StoreError>>>(
    limit: Duration,
    mut step: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        match step().await {
            Err(error) if error.passes() && begun.elapsed() + pause < limit => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn only_what_passes_is_tried_again() {
        let mut tries = 0;
        let stored = insist(Duration::from_secs(40), || {
            tries += 1;
            ready(if tries < 4 { Err(StoreError::Full("database".to_owned())) } else { Ok(tries) })
        });
        assert_eq!(stored.await, Ok(4));
        let mut tries = 0;
        let stale = insist(Duration::from_secs(40), || {
            tries += 1;
            ready(Err::<(), _>(StoreError::StaleLease))
        })
        .await;
        assert_eq!((stale, tries), (Err(StoreError::StaleLease), 1));
        let over = insist(Duration::ZERO, || ready(Err::<(), _>(StoreError::Busy))).await;
        assert_eq!(over, Err(StoreError::Busy));
    }
}
