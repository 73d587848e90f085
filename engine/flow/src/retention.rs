// SPDX-License-Identifier: EUPL-1.2
//! Deletion by a tenant's periods: which submissions are due, what stands in the way, and carrying it out.

use std::{collections::BTreeSet, time::Duration};

use kop_core::{Zeitpunkt, sendung::Level};
use kop_store::{
    BlobStore, Blocker, Collector, Deletion, DeliveryState, Demand, Phase, Removed, RetentionCandidate,
    RetentionQuery, Store, StoreError, SubmissionSummary, blockers,
};
use kop_tenant::{Ausgang, Generation};

/// Submissions in one question to the store.
const PAGE: u32 = 200;

/// A submission whose period is over.
#[derive(Clone, Debug)]
pub struct Due {
    /// Which.
    pub summary: SubmissionSummary,
    /// What is to go.
    pub phase: Phase,
    /// The period, in days.
    pub days: u32,
    /// What stands in the way; nothing: it goes, or went.
    pub blocked: Vec<Blocker>,
}

/// What is due at a tenant, contents before metadata, and what was removed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Everything whose period is over.
    pub due: Vec<Due>,
    /// Files.
    pub removed: Removed,
    /// Whether all of it was looked at.
    pub complete: bool,
}

/// How a tenant's submissions are gone through.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Only tell.
    pub dry: bool,
    /// At most so many deletions.
    pub limit: usize,
}

/// Deletes what is due at a tenant, or only tells.
///
/// # Errors
/// The store's own. What was deleted until then stays deleted.
pub async fn delete_due(
    store: &dyn Store,
    blobs: &BlobStore,
    generation: &Generation,
    pass: Pass,
    collector: &Collector,
    now: Zeitpunkt,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let mut orphans = BTreeSet::new();
    let (contents, metadata) = generation.retention.shortest();
    for (phase, shortest) in [(Phase::Inhalte, contents), (Phase::Metadaten, metadata)] {
        let Some(shortest) = shortest else { continue };
        let mut query = RetentionQuery {
            tenant: generation.tenant.clone(),
            phase,
            received_before: before(now, shortest),
            after: None,
            limit: PAGE,
        };
        let mut deleted = 0;
        loop {
            let page = store.retention_candidates(query.clone()).await?;
            let full = page.len() == PAGE as usize;
            query.after = page.last().map(RetentionCandidate::cursor);
            for candidate in page {
                if deleted >= pass.limit {
                    report.removed +=
                        collector.remove(store, blobs, &generation.tenant, orphans, now).await?;
                    return Ok(report);
                }
                let Some((due, demands)) = due(generation, candidate, phase, now) else { continue };
                if due.blocked.is_empty() && !pass.dry {
                    let deletion = Deletion {
                        tenant: generation.tenant.clone(),
                        submission_id: due.summary.submission_id,
                        phase,
                        demands,
                        days: due.days,
                    };
                    match store.delete(deletion, now).await {
                        Ok(named) => orphans.extend(named),
                        // Somebody was quicker, or something came in between: the next pass sees what it is.
                        Err(StoreError::NotPossible(_) | StoreError::NotFound) => continue,
                        Err(error) => return Err(error),
                    }
                }
                deleted += usize::from(due.blocked.is_empty());
                report.due.push(due);
            }
            if !full {
                break;
            }
        }
    }
    report.removed += collector.remove(store, blobs, &generation.tenant, orphans, now).await?;
    report.complete = true;
    Ok(report)
}

fn before(now: Zeitpunkt, days: u32) -> Zeitpunkt {
    now.checked_sub(Duration::from_secs(u64::from(days) * 24 * 3600)).unwrap_or(Zeitpunkt::MIN)
}

fn due(
    generation: &Generation,
    candidate: RetentionCandidate,
    phase: Phase,
    now: Zeitpunkt,
) -> Option<(Due, Vec<Demand>)> {
    let periods = generation.retention.periods(&candidate.routes, outcome(&candidate));
    let days = match phase {
        Phase::Inhalte => periods.contents,
        Phase::Metadaten => periods.metadata,
    }?;
    if candidate.summary.received_at >= before(now, days) {
        return None;
    }
    let demand = |(receiver, level): (String, Level)| Demand { receiver, level };
    let demands: Vec<Demand> = periods.demands.into_iter().map(demand).collect();
    let blocked = blockers(&candidate, &demands);
    Some((Due { summary: candidate.summary, phase, days, blocked }, demands))
}

fn outcome(candidate: &RetentionCandidate) -> Ausgang {
    let replaced = |state: &DeliveryState| *state == DeliveryState::Ersetzt;
    let states = || {
        let of_messages = candidate.deliveries.iter().filter(|one| !one.settles);
        of_messages.map(|one| one.state).filter(|state| !replaced(state))
    };
    if states().any(|state| state == DeliveryState::Abgewiesen) {
        Ausgang::Abgewiesen
    } else if states().next().is_some() && states().all(|state| state == DeliveryState::Zugestellt) {
        Ausgang::Zugestellt
    } else {
        Ausgang::Geklaert
    }
}
