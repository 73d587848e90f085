// SPDX-License-Identifier: EUPL-1.2
//! Fields of the forms: which the script reads, and what they do.

use std::collections::{BTreeMap, BTreeSet};

use kop_core::forms::leaves;
use kop_flow::lineage::Effect;

use super::{FieldUse, Sample, Traced, plain};

pub(super) fn fields(samples: &[Sample], traced: &[Traced]) -> Vec<FieldUse> {
    let mut found: BTreeMap<String, FieldUse> = BTreeMap::new();
    for sample in samples {
        for (path, seen) in leaves(&sample.eingang.form_data) {
            let field = found.entry(path.clone()).or_insert_with(|| FieldUse {
                path,
                label: seen.label.map(str::to_owned),
                samples: 0,
                filled: 0,
                read: false,
                targets: BTreeSet::new(),
                decides: BTreeSet::new(),
            });
            field.samples += 1;
            field.filled += usize::from(seen.filled);
        }
    }
    for one in traced {
        for read in &one.reads {
            if let Some(field) = found.get_mut(&plain(&read.path)) {
                field.read = true;
            }
        }
        for link in one.lineage.links() {
            let Some(field) = found.get_mut(&plain(&link.field.path)) else { continue };
            let targets = match link.effect {
                Effect::Value => &mut field.targets,
                Effect::Branch => &mut field.decides,
            };
            targets.insert(plain(&link.target));
        }
    }
    found.into_values().collect()
}
