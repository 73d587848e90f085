// SPDX-License-Identifier: EUPL-1.2
//! Who is next: queues take turns, so that one with much to do does not make the others wait.

use std::collections::VecDeque;

/// Takes up to `limit` entries, one of each queue in turn, beginning after the queue named `last`, which is
/// set to the queue that was served last. Queues are sorted by name.
pub(super) fn take_turns<T>(
    mut queues: Vec<(String, VecDeque<T>)>,
    limit: usize,
    last: &mut String,
) -> Vec<(String, T)> {
    let start = queues.partition_point(|(name, _)| name <= last);
    queues.rotate_left(start);
    let mut taken = Vec::new();
    loop {
        let before = taken.len();
        for (name, queue) in &mut queues {
            if taken.len() == limit {
                return taken;
            }
            if let Some(entry) = queue.pop_front() {
                last.clone_from(name);
                taken.push((name.clone(), entry));
            }
        }
        if taken.len() == before {
            return taken;
        }
    }
}
