// SPDX-License-Identifier: EUPL-1.2
//! Rows of a mapping's tables that no case uses. A row is used when another content of it gives another result: rows
//! are changed many at a time, and only where something moved one looks closer.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use kop_mapping::{MappingHost, RunInput, Tables};
use kop_tenant::LoadedMapping;

use super::{TableUse, Values, values};

/// Runs for one table; beyond them its rows are not looked at.
const RUNS: usize = 4_000;
/// What a changed row says: no table holds it.
const OTHER: &str = "\u{2042}kop\u{2042}";

/// What one run gave: values, or the problems' fingerprints.
type Outcome = Result<Values, Vec<String>>;

pub(super) async fn tables(
    host: &MappingHost,
    mapping: &LoadedMapping,
    inputs: &[RunInput],
) -> Vec<TableUse> {
    let mut base = Vec::new();
    for input in inputs {
        base.push(outcome(host, mapping, input.clone()).await);
    }
    let mut found = Vec::new();
    for name in mapping.tables.names() {
        let Some(table) = mapping.tables.get(name) else { continue };
        let keys: Vec<String> = table.keys().into_iter().map(str::to_owned).collect();
        let mut never: BTreeMap<usize, String> = BTreeMap::new();
        let mut runs = 0;
        let mut waiting: Vec<Range<usize>> = std::iter::once(0..keys.len()).collect();
        while let Some(range) = waiting.pop() {
            if range.is_empty() || runs >= RUNS {
                continue;
            }
            runs += inputs.len();
            let changed = without(&mapping.tables, name, table.columns(), &keys, &range);
            let Some(changed) = changed.map(Arc::new) else { continue };
            if moves(host, mapping, inputs, &base, &changed).await {
                if range.len() > 1 {
                    let middle = range.start + range.len() / 2;
                    waiting.extend([range.start..middle, middle..range.end]);
                }
            } else {
                never.extend(range.map(|at| (at, keys[at].clone())));
            }
        }
        found.push(TableUse {
            name: name.to_owned(),
            rows: keys.len(),
            never: never.into_values().collect(),
            complete: runs < RUNS,
        });
    }
    found
}

async fn moves(
    host: &MappingHost,
    mapping: &LoadedMapping,
    inputs: &[RunInput],
    base: &[Outcome],
    tables: &Arc<Tables>,
) -> bool {
    for (input, base) in inputs.iter().zip(base) {
        let input = RunInput { tables: Arc::clone(tables), ..input.clone() };
        if outcome(host, mapping, input).await != *base {
            return true;
        }
    }
    false
}

async fn outcome(host: &MappingHost, mapping: &LoadedMapping, input: RunInput) -> Outcome {
    match host.run(&mapping.script, input).await {
        Ok(run) => Ok(values(&run.tree)),
        Err(problems) => Err(problems.into_iter().map(|problem| problem.fingerprint()).collect()),
    }
}

/// The tables with other content in some rows of one; a table of keys alone loses them.
fn without(
    tables: &Tables,
    name: &str,
    columns: &[String],
    keys: &[String],
    range: &Range<usize>,
) -> Option<Tables> {
    let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
    writer.write_record(columns).ok()?;
    let alone = columns.len() == 1;
    for (_, key) in keys.iter().enumerate().filter(|(at, _)| range.contains(at) != alone) {
        let row = std::iter::once(key.as_str()).chain(std::iter::repeat_n(OTHER, columns.len() - 1));
        writer.write_record(row).ok()?;
    }
    let text = String::from_utf8(writer.into_inner().ok()?).ok()?;
    let mut layer = Tables::new();
    layer.parse_csv(name, "", &text).ok()?;
    let mut changed = tables.clone();
    if alone {
        changed.parse_csv(name, "", &text).ok()?;
    } else {
        changed.overlay(&layer);
    }
    Some(changed)
}
