// SPDX-License-Identifier: EUPL-1.2
//! Who is next: queues take turns, so that one with much to do does not make the others wait.

use std::collections::VecDeque;

/// Which lane of which tenant was served last.
#[derive(Default)]
pub(crate) struct LastServed {
    pub(crate) tenant: String,
    pub(crate) lane: String,
}

/// A tenant's lanes, each with its due deliveries.
pub(crate) type DueOfLanes = Vec<(String, VecDeque<String>)>;

/// Takes up to `limit` deliveries of tenants and their lanes, both sorted by name: tenants take turns, and within
/// a tenant its lanes do. Gives tenant, lane and delivery.
pub(crate) fn take_lanes(
    tenants: Vec<(String, DueOfLanes)>,
    limit: usize,
    last: &mut LastServed,
) -> Vec<(String, String, String)> {
    let queues = tenants
        .into_iter()
        .map(|(name, lanes)| {
            let mut last_lane = if name == last.tenant { last.lane.clone() } else { String::new() };
            let ids = take_turns(lanes, limit, &mut last_lane);
            (name, ids.into())
        })
        .collect();
    let taken = take_turns(queues, limit, &mut last.tenant);
    if let Some((_, (lane, _))) = taken.last() {
        last.lane.clone_from(lane);
    }
    taken.into_iter().map(|(tenant, (lane, delivery))| (tenant, lane, delivery)).collect()
}

/// Takes up to `limit` entries, one of each queue in turn, beginning after the queue named `last`, which is
/// set to the queue that was served last. Queues are sorted by name.
pub(crate) fn take_turns<T>(
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
