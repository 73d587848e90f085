// SPDX-License-Identifier: EUPL-1.2
//! What instances are to cover: each optional element, attribute and group and each branch of a choice, by its
//! path down to a bounded depth. A tree in one table, with the number of open ones below each spot.

use kop_xml::shape::{GroupShape, ParticleShape, Shape};

/// Levels below the root whose optional parts are covered.
pub const MAX_LEVEL: usize = 6;
/// Most spots of one message; deeper ones are left out beyond it.
const MAX_SPOTS: usize = 600_000;

/// No spot: nothing to cover there.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Spot {
    parent: u32,
    children: Vec<u32>,
    wanted: bool,
    open: u32,
}

/// All spots of a message.
#[derive(Debug)]
pub(super) struct Spots {
    all: Vec<Spot>,
    /// Spots to cover.
    pub(super) points: u32,
    /// Not all fitted into the table.
    pub(super) cut: bool,
}

impl Spots {
    /// The spots of a message, and the one of the root's type.
    pub(super) fn of(shape: &Shape) -> (Self, u32) {
        let mut spots = Self { all: Vec::new(), points: 0, cut: false };
        let root = spots.typ(shape, shape.elements[shape.root].typ, 1);
        spots.points = spots.open(root);
        (spots, root)
    }

    /// How many are still to be covered at a spot and below it.
    pub(super) fn open(&self, spot: u32) -> u32 {
        self.all.get(spot as usize).map_or(0, |spot| spot.open)
    }

    pub(super) fn child(&self, spot: u32, number: usize) -> u32 {
        self.all.get(spot as usize).and_then(|spot| spot.children.get(number)).copied().unwrap_or(NONE)
    }

    /// Notes that a spot itself was covered.
    pub(super) fn cover(&mut self, spot: u32) {
        let Some(here) = self.all.get_mut(spot as usize) else { return };
        if std::mem::take(&mut here.wanted) {
            self.less(spot, 1);
        }
    }

    /// Gives up a spot and all below it; how many points that were.
    pub(super) fn give_up(&mut self, spot: u32) -> u32 {
        let lost = self.open(spot);
        self.less(spot, lost);
        let mut below = vec![spot];
        while let Some(here) = below.pop().and_then(|at| self.all.get_mut(at as usize)) {
            here.wanted = false;
            here.open = 0;
            below.extend(here.children.iter().filter(|child| **child != NONE));
        }
        lost
    }

    fn less(&mut self, spot: u32, by: u32) {
        let mut at = spot;
        while let Some(here) = self.all.get_mut(at as usize) {
            here.open -= by;
            at = here.parent;
        }
    }

    fn push(&mut self, wanted: bool) -> u32 {
        self.all.push(Spot { parent: NONE, wanted, open: u32::from(wanted), ..Spot::default() });
        self.all.len() as u32 - 1
    }

    /// Ends a spot with its children; without anything to cover it is taken back.
    fn close(&mut self, spot: u32, children: Vec<u32>) -> u32 {
        let open: u32 = children.iter().map(|child| self.open(*child)).sum();
        if open == 0 && !self.all[spot as usize].wanted {
            self.all.truncate(spot as usize);
            return NONE;
        }
        for child in children.iter().filter(|child| **child != NONE) {
            self.all[*child as usize].parent = spot;
        }
        let here = &mut self.all[spot as usize];
        here.open += open;
        if open > 0 {
            here.children = children;
        }
        spot
    }

    fn typ(&mut self, shape: &Shape, number: usize, level: usize) -> u32 {
        if level > MAX_LEVEL {
            return NONE;
        }
        if self.all.len() > MAX_SPOTS {
            self.cut = true;
            return NONE;
        }
        let typ = &shape.types[number];
        let spot = self.push(false);
        let mut children = Vec::new();
        if typ.is_abstract {
            for (_, derived) in &typ.derived {
                let branch = self.push(true);
                let inner = if *derived == number { NONE } else { self.typ(shape, *derived, level) };
                children.push(self.close(branch, vec![inner]));
            }
        } else {
            for attribute in &typ.attributes {
                children.push(if attribute.required { NONE } else { self.push(true) });
            }
            if let Some(particle) = &typ.particle {
                children.push(self.particle(shape, particle, level, false));
            }
        }
        self.close(spot, children)
    }

    fn particle(&mut self, shape: &Shape, particle: &ParticleShape, level: usize, branch: bool) -> u32 {
        match particle {
            ParticleShape::Element { max: 0, .. } => NONE,
            ParticleShape::Any { min, .. } => {
                if branch || *min == 0 {
                    self.push(true)
                } else {
                    NONE
                }
            }
            ParticleShape::Element { element, min, .. } => {
                let spot = self.push(branch || *min == 0);
                let inner = self.typ(shape, shape.elements[*element].typ, level + 1);
                self.close(spot, vec![inner])
            }
            ParticleShape::Group { kind, min, children, .. } => {
                let spot = self.push(branch || *min == 0);
                let choice = *kind == GroupShape::Choice;
                let inner = children.iter().map(|child| self.particle(shape, child, level, choice)).collect();
                self.close(spot, inner)
            }
        }
    }
}
