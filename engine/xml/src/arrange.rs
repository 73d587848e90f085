// SPDX-License-Identifier: EUPL-1.2
//! In which order a plain map's elements are written: a content model and the number of elements at hand give
//! the steps. The writer takes them, the reader asks them whether a plain map would keep a document's order.

use crate::{
    model::GroupKind,
    plan::{Particle, Type},
};

/// One step through a content model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'p> {
    /// Elements of one slot; fewer than `min` are too few.
    Take { slot: u16, count: u32, min: u32 },
    /// A choice of which no branch is there.
    Missing { branches: &'p [Particle] },
    /// Elements that the content model has no place for.
    Left { slot: u16 },
}

/// Appends the steps for `left` elements of each slot; what the model takes is counted down.
pub(crate) fn arrange<'p>(typ: &'p Type, left: &mut [u32], steps: &mut Vec<Step<'p>>) {
    particle(&typ.particle, left, steps);
    for (slot, left) in left.iter().enumerate() {
        if *left > 0 {
            steps.push(Step::Left { slot: slot as u16 });
        }
    }
}

/// How many different elements of a particle are at hand.
fn covers(particle: &Particle, left: &[u32]) -> usize {
    match particle {
        Particle::Element { slot, .. } => usize::from(left[usize::from(*slot)] > 0),
        Particle::Group { slots, .. } => slots.iter().filter(|slot| left[usize::from(**slot)] > 0).count(),
    }
}

/// Returns how many elements it took.
fn particle<'p>(particle: &'p Particle, left: &mut [u32], steps: &mut Vec<Step<'p>>) -> u32 {
    match particle {
        Particle::Element { slot, min, max } => take(*slot, *min, *max, left, steps),
        Particle::Group { kind, max, children, emptiable, .. } => {
            if covers(particle, left) == 0 {
                if !emptiable {
                    missing(*kind, children, left, steps);
                }
                return 0;
            }
            let mut taken = 0;
            let mut round = 0;
            while round < *max && covers(particle, left) > 0 {
                let before = taken;
                match kind {
                    GroupKind::Sequence | GroupKind::All => {
                        taken += children.iter().map(|child| self::particle(child, left, steps)).sum::<u32>();
                    }
                    GroupKind::Choice => {
                        let best = children.iter().rev().max_by_key(|child| covers(child, left));
                        match best {
                            // until it is used up, the same branch is the best again
                            Some(Particle::Element { slot, min, max: each }) if *each > 0 => {
                                let rounds = max - round;
                                let some = take(*slot, *min, each.saturating_mul(rounds), left, steps);
                                round += some.div_ceil(*each).saturating_sub(1);
                                taken += some;
                            }
                            Some(branch) => taken += self::particle(branch, left, steps),
                            None => {}
                        }
                    }
                }
                round += 1;
                // an element that no branch takes must not turn the loop for ever
                if taken == before {
                    break;
                }
            }
            taken
        }
    }
}

fn take(slot: u16, min: u32, max: u32, left: &mut [u32], steps: &mut Vec<Step<'_>>) -> u32 {
    let left = &mut left[usize::from(slot)];
    let count = max.min(*left);
    *left -= count;
    if count > 0 || min > 0 {
        steps.push(Step::Take { slot, count, min });
    }
    count
}

fn missing<'p>(kind: GroupKind, children: &'p [Particle], left: &mut [u32], steps: &mut Vec<Step<'p>>) {
    if kind == GroupKind::Choice {
        return steps.push(Step::Missing { branches: children });
    }
    for child in children.iter().filter(|child| !child.emptiable()) {
        particle(child, left, steps);
    }
}
