// SPDX-License-Identifier: EUPL-1.2
//! Steps of a submission: accepted, claimed, processed, put off.

use std::{collections::VecDeque, time::Duration};

use kop_core::{MessageId, SubmissionId, TenantId, VorgangId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{blob_refs, deliveries, retention, row, settle, timeline::Timeline, turn};
use crate::{
    error::StoreError,
    records::SubmissionState,
    steps::{
        Accepted, Assigned, ClaimedSubmission, DeliveryLease, NewEvent, NewMessage, NewSubmission, Processed,
        Rewritten, StartedAttempt, SubmissionClaim, SubmissionLease, event,
    },
    values::{self, NOTED_EVENTS},
};

pub(super) fn accept(conn: &Connection, new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError> {
    if let Some(first) = first_answer(conn, &new)? {
        note_repeat(conn, &new.tenant, first.submission_id, now)?;
        if let Some(settlement) = &new.settlement {
            settle::again(conn, &new.tenant, first.submission_id, settlement, now)?;
        }
        return Ok(first);
    }
    let tenant = new.tenant.as_str();
    let conflict: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM submission WHERE tenant = ?1 AND source = ?2 AND idem_key = ?3)",
        )?
        .query_row((tenant, &new.source, &new.idem_key), |row| row.get(0))?;
    let number: u32 = conn
        .prepare_cached(
            "INSERT INTO counter (tenant, prefix, year, last) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (tenant, prefix, year) DO UPDATE SET last = last + 1 RETURNING last",
        )?
        .query_row((tenant, &new.number_prefix, new.number_year), |row| row.get(0))?;
    let assigned =
        Assigned { vorgangsnummer: values::vorgangsnummer(&new, number), received_at: row::exact(now) };
    let document = (new.document)(&assigned).map_err(StoreError::Document)?;
    conn.prepare_cached(
        "INSERT INTO vorgang (tenant, vorgang_id, vorgangsnummer, opened_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((tenant, new.vorgang_id.to_string(), &assigned.vorgangsnummer, row::micros(now)))?;
    conn.prepare_cached(
        "INSERT INTO submission (tenant, submission_id, vorgang_id, vorgangsnummer, source, idem_key, content_hash,
             vendor_id, form_id, form_name, received_at, state, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'eingegangen', ?11)",
    )?
    .execute((
        tenant,
        new.submission_id.to_string(),
        new.vorgang_id.to_string(),
        &assigned.vorgangsnummer,
        &new.source,
        &new.idem_key,
        new.content_hash.to_string(),
        &new.vendor_id,
        &new.form_id,
        &new.form_name,
        row::micros(now),
    ))?;
    conn.prepare_cached(
        "INSERT INTO submission_content (tenant, submission_id, payload, document) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((tenant, new.submission_id.to_string(), row::json(&new.payload)?, document))?;
    blob_refs::add(conn, &new.tenant, new.submission_id, new.payload.iter().map(|part| &part.blob))?;
    let timeline = Timeline::new(conn, &new.tenant, new.submission_id, now);
    let params = json!({ "vorgangsnummer": assigned.vorgangsnummer, "quelle": new.source });
    timeline.add(event::EINGEGANGEN, &params)?;
    timeline.open_all("annahme", &new.remarks)?;
    if conflict {
        timeline.open_all("annahme", &[new.conflict])?;
    }
    timeline.add_all(&new.events)?;
    if let Some(settlement) = &new.settlement {
        settle::insert(&timeline, settlement, row::micros(now))?;
    }
    Ok(Accepted {
        submission_id: new.submission_id,
        vorgang_id: new.vorgang_id,
        vorgangsnummer: assigned.vorgangsnummer,
        received_at: assigned.received_at,
        repeated: false,
        conflict,
    })
}

fn first_answer(conn: &Connection, new: &NewSubmission) -> Result<Option<Accepted>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT submission_id, vorgang_id, vorgangsnummer, received_at FROM submission
             WHERE tenant = ?1 AND source = ?2 AND idem_key = ?3 AND content_hash = ?4",
        )?
        .query_row((new.tenant.as_str(), &new.source, &new.idem_key, new.content_hash.to_string()), |row| {
            Ok(Accepted {
                submission_id: row::parsed::<SubmissionId>(row, 0)?,
                vorgang_id: row::parsed::<VorgangId>(row, 1)?,
                vorgangsnummer: row.get(2)?,
                received_at: row::moment(row, 3)?,
                repeated: true,
                conflict: false,
            })
        })
        .optional()?;
    Ok(found)
}

fn note_repeat(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let noted: i64 = conn
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM event WHERE tenant = ?1 AND submission_id = ?2")?
        .query_row((tenant.as_str(), submission.to_string()), |row| row.get(0))?;
    if noted < NOTED_EVENTS {
        Timeline::new(conn, tenant, submission, now).add(event::ERNEUT_EINGEGANGEN, &json!({}))?;
    }
    Ok(())
}

/// Claims due submissions. `last` is the tenant that was served last, so that with more tenants than places
/// each gets its turn.
pub(super) fn claim(
    conn: &Connection,
    claim: &SubmissionClaim,
    last: &mut String,
    now: Zeitpunkt,
) -> Result<Vec<ClaimedSubmission>, StoreError> {
    let until = row::after(now, claim.lease_for);
    let chosen = match &claim.only {
        Some((tenant, id)) => vec![(tenant.to_string(), id.to_string())],
        None => due(conn, claim.limit, last, now)?,
    };
    let mut claimed = Vec::with_capacity(chosen.len());
    for (tenant, id) in chosen {
        let token: Option<i64> = conn
            .prepare_cached(
                "UPDATE submission SET leased = 1, due_at = ?3, token = token + 1, runs = runs + 1
                 WHERE tenant = ?1 AND submission_id = ?2 AND state = 'eingegangen' AND due_at <= ?4
                 RETURNING token",
            )?
            .query_row((&tenant, &id, row::micros(until), row::micros(now)), |row| row.get(0))
            .optional()?;
        if let Some(token) = token {
            let submission = row::submission(conn, &tenant, &id)?;
            let lease = SubmissionLease {
                tenant: submission.summary.tenant.clone(),
                submission_id: submission.summary.submission_id,
                token: token.unsigned_abs(),
                until,
            };
            claimed.push(ClaimedSubmission { lease, submission });
        }
    }
    Ok(claimed)
}

/// Due submissions, one of each tenant in turn.
fn due(
    conn: &Connection,
    limit: u32,
    last: &mut String,
    now: Zeitpunkt,
) -> Result<Vec<(String, String)>, StoreError> {
    let any: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM submission WHERE state = 'eingegangen' AND due_at <= ?1)",
        )?
        .query_row([row::micros(now)], |row| row.get(0))?;
    if !any || limit == 0 {
        return Ok(Vec::new());
    }
    let mut next_tenant = conn.prepare_cached(
        "SELECT tenant FROM submission WHERE state = 'eingegangen' AND tenant > ?1 ORDER BY tenant LIMIT 1",
    )?;
    let mut of_tenant = conn.prepare_cached(
        "SELECT submission_id FROM submission WHERE state = 'eingegangen' AND tenant = ?1 AND due_at <= ?2
         ORDER BY due_at LIMIT ?3",
    )?;
    let mut queues: Vec<(String, VecDeque<String>)> = Vec::new();
    let mut tenant = String::new();
    while let Some(found) = next_tenant.query_row([&tenant], |row| row.get::<_, String>(0)).optional()? {
        tenant = found;
        let ids = of_tenant
            .query_map((&tenant, row::micros(now), limit), |row| row.get(0))?
            .collect::<Result<VecDeque<String>, _>>()?;
        if !ids.is_empty() {
            queues.push((tenant.clone(), ids));
        }
    }
    Ok(crate::turns::take_turns(queues, limit as usize, last))
}

/// The submission's row, when the lease still holds.
fn check(conn: &Connection, lease: &SubmissionLease) -> Result<i64, StoreError> {
    conn.prepare_cached(
        "SELECT received_at FROM submission
         WHERE tenant = ?1 AND submission_id = ?2 AND state = 'eingegangen' AND leased = 1 AND token = ?3",
    )?
    .query_row((lease.tenant.as_str(), lease.submission_id.to_string(), lease.token.cast_signed()), |row| {
        row.get(0)
    })
    .optional()?
    .ok_or(StoreError::StaleLease)
}

pub(super) fn renew(
    conn: &Connection,
    lease: SubmissionLease,
    lease_for: Duration,
    now: Zeitpunkt,
) -> Result<SubmissionLease, StoreError> {
    check(conn, &lease)?;
    let until = row::after(now, lease_for);
    conn.execute(
        "UPDATE submission SET due_at = ?3 WHERE tenant = ?1 AND submission_id = ?2",
        (lease.tenant.as_str(), lease.submission_id.to_string(), row::micros(until)),
    )?;
    Ok(SubmissionLease { until, ..lease })
}

pub(super) fn defer(
    conn: &Connection,
    lease: &SubmissionLease,
    at: Zeitpunkt,
    events: &[NewEvent],
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    check(conn, lease)?;
    // A run that was put off has ended; only runs that never do are counted against a submission.
    conn.execute(
        "UPDATE submission SET due_at = ?3, leased = 0, runs = max(runs - 1, 0) WHERE tenant = ?1 AND submission_id = ?2",
        (lease.tenant.as_str(), lease.submission_id.to_string(), row::micros(at)),
    )?;
    let timeline = Timeline::new(conn, &lease.tenant, lease.submission_id, now);
    timeline.add(event::ZURUECKGESTELLT, &json!({ "bis": at }))?;
    timeline.add_all(events)
}

pub(super) fn record_processed(
    conn: &Connection,
    lease: &SubmissionLease,
    processed: &Processed,
    now: Zeitpunkt,
) -> Result<Vec<StartedAttempt>, StoreError> {
    let received_at = match check(conn, lease) {
        Err(StoreError::StaleLease) => return recorded_before(conn, lease, processed, now),
        held => held?,
    };
    if processed.state == SubmissionState::Eingegangen {
        return Err(StoreError::NotPossible("a processed submission cannot stay eingegangen".to_owned()));
    }
    conn.prepare_cached(
        "UPDATE submission SET state = ?3, leased = 0 WHERE tenant = ?1 AND submission_id = ?2",
    )?
    .execute((lease.tenant.as_str(), lease.submission_id.to_string(), processed.state.as_str()))?;
    let timeline = Timeline::new(conn, &lease.tenant, lease.submission_id, now);
    timeline.add(event::VERARBEITET, &json!({ "nachrichten": processed.messages.len() }))?;
    let mut started = Vec::new();
    for new in &processed.messages {
        insert_message(&timeline, new, None, received_at)?;
        let timeline = timeline.about(new.message_id, new.delivery.delivery_id);
        timeline.add(event::NACHRICHT, &json!({ "empfaenger": new.receiver, "zuordnung": new.mapping }))?;
        started.extend(deliveries::insert(&timeline, new)?);
    }
    timeline.open_all("verarbeitung", &processed.work_items)?;
    timeline.add_all(&processed.events)?;
    turn::advance_after(conn, lease.tenant.as_str(), lease.submission_id, now)?;
    settle::look(conn, &lease.tenant, lease.submission_id, now)?;
    Ok(started)
}

/// Told again what it recorded, it gives the same answer, as far as nobody has taken over meanwhile.
fn recorded_before(
    conn: &Connection,
    lease: &SubmissionLease,
    processed: &Processed,
    now: Zeitpunkt,
) -> Result<Vec<StartedAttempt>, StoreError> {
    let tenant = lease.tenant.as_str();
    let mut recorded = false;
    let mut started = Vec::new();
    for new in &processed.messages {
        let found = conn
            .prepare_cached(
                "SELECT open_attempt, token, lease_until, give_up_at FROM delivery
                 WHERE tenant = ?1 AND delivery_id = ?2 AND message_id = ?3 AND submission_id = ?4",
            )?
            .query_row(
                (
                    tenant,
                    new.delivery.delivery_id.to_string(),
                    new.message_id.to_string(),
                    lease.submission_id.to_string(),
                ),
                |found| {
                    Ok((
                        found.get::<_, Option<String>>(0)?,
                        found.get::<_, i64>(1)?,
                        row::moment_opt(found, 2)?,
                        row::moment(found, 3)?,
                    ))
                },
            )
            .optional()?;
        let Some((open, token, until, give_up_at)) = found else { continue };
        recorded = true;
        let first = new.delivery.first_attempt.filter(|first| open == Some(first.attempt_id.to_string()));
        if let (Some(first), 1, Some(until)) = (first, token, until.filter(|until| *until > now)) {
            let delivery_id = new.delivery.delivery_id;
            let lease = DeliveryLease { tenant: lease.tenant.clone(), delivery_id, token: 1, until };
            started.push(StartedAttempt { lease, attempt_id: first.attempt_id, number: 1, give_up_at });
        }
    }
    if recorded { Ok(started) } else { Err(StoreError::StaleLease) }
}

/// Stores a message of the timeline's submission; `ersetzt` names the one that it was made instead of.
pub(super) fn insert_message(
    timeline: &Timeline<'_>,
    new: &NewMessage,
    ersetzt: Option<MessageId>,
    received_at: i64,
) -> Result<(), StoreError> {
    let statement = timeline.conn.prepare_cached(
        "INSERT INTO message (tenant, message_id, submission_id, route, receiver, nachrichten_uuid, engine_version,
             generation, mapping, mapping_hash, schema_package, content_hash, main, parts, state, created_at,
             received_at, pinned, ersetzt)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 'offen', ?15, ?16, ?17, ?18)",
    );
    statement?.execute(rusqlite::params![
        timeline.tenant.as_str(),
        new.message_id.to_string(),
        timeline.submission.to_string(),
        new.route,
        new.receiver,
        new.nachrichten_uuid.to_string(),
        new.engine_version,
        new.generation.to_string(),
        new.mapping,
        new.mapping_hash.to_string(),
        new.schema_package.map(|hash| hash.to_string()),
        new.content_hash.to_string(),
        row::json(&new.main)?,
        row::json(&new.parts)?,
        row::micros(timeline.now),
        received_at,
        row::json(&new.pinned)?,
        ersetzt.map(|id| id.to_string()),
    ])?;
    let parts = std::iter::once(&new.main).chain(&new.parts);
    blob_refs::add(timeline.conn, timeline.tenant, timeline.submission, parts.map(|part| &part.blob))
}

/// Stores the same contents in another form.
pub(super) fn rewrite(conn: &Connection, tenant: &TenantId, rewritten: &Rewritten) -> Result<(), StoreError> {
    retention::has_contents(conn, tenant, rewritten.submission_id)?;
    let (tenant, submission) = (tenant.as_str(), rewritten.submission_id.to_string());
    conn.prepare_cached(
        "UPDATE submission_content SET document = ?3, payload = ?4 WHERE tenant = ?1 AND submission_id = ?2",
    )?
    .execute((tenant, &submission, &rewritten.document, row::json(&rewritten.payload)?))?;
    for (message, main, parts) in &rewritten.messages {
        conn.prepare_cached(
            "UPDATE message SET main = ?4, parts = ?5
             WHERE tenant = ?1 AND message_id = ?2 AND submission_id = ?3",
        )?
        .execute((tenant, message.to_string(), &submission, row::json(main)?, row::json(parts)?))?;
    }
    for one in &rewritten.corrections {
        conn.prepare_cached(
            "UPDATE correction SET before = ?4, after = ?5, reason = ?6
             WHERE tenant = ?1 AND submission_id = ?2 AND seq = ?3",
        )?
        .execute((tenant, &submission, one.seq, &one.before, &one.after, &one.reason))?;
    }
    Ok(())
}
