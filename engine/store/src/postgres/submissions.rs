// SPDX-License-Identifier: EUPL-1.2
//! Steps of a submission: accepted, claimed, processed, put off. Several processes do this at once, so whatever is
//! looked at before it is changed is locked or looked at again by the change itself.

use std::{collections::VecDeque, time::Duration};

use kop_core::{MessageId, Order, SubmissionId, TenantId, clock::Zeitpunkt};
use serde_json::json;

use super::{
    deliveries,
    locks::IDEMPOTENCY,
    pool::Conn,
    retention,
    row::{self, text},
    settle,
    timeline::Timeline,
    turn,
};
use crate::{
    error::StoreError,
    records::SubmissionState,
    steps::{
        Accepted, Assigned, ClaimedSubmission, DeliveryLease, NewEvent, NewMessage, NewSubmission, Processed,
        Rewritten, StartedAttempt, SubmissionClaim, SubmissionLease, event,
    },
    turns::take_turns,
    values::{NOTED_EVENTS, after, exact, json as as_json, micros, vorgangsnummer},
};

pub(super) async fn accept(conn: &Conn, new: NewSubmission, now: Zeitpunkt) -> Result<Accepted, StoreError> {
    let tenant = new.tenant.as_str();
    let key = text(&new.idem_key);
    // Two that bring the same key, here or on another machine, come one after the other.
    conn.query_one(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, $2))",
        &[&format!("{tenant}\n{}\n{key}", new.source), &IDEMPOTENCY],
    )
    .await?;
    let known = conn
        .query(
            "SELECT submission_id, vorgang_id, vorgangsnummer, received_at, content_hash = $4 FROM submission
             WHERE tenant = $1 AND source = $2 AND idem_key = $3 ORDER BY content_hash = $4 DESC LIMIT 1",
            &[&tenant, &new.source, &key, &new.content_hash.to_string()],
        )
        .await?;
    if let Some(first) = known.first()
        && row::get(first, 4)?
    {
        let accepted = repeated(conn, &new.tenant, first, now).await?;
        if let Some(settlement) = &new.settlement {
            settle::again(conn, &new.tenant, accepted.submission_id, settlement, now).await?;
        }
        return Ok(accepted);
    }
    let conflict = !known.is_empty();
    // From here on others of this tenant wait, so that no number is left out.
    let number = conn
        .query_one(
            "INSERT INTO counter (tenant, prefix, year, last) VALUES ($1, $2, $3, 1)
             ON CONFLICT (tenant, prefix, year) DO UPDATE SET last = counter.last + 1 RETURNING last",
            &[&tenant, &new.number_prefix, &i64::from(new.number_year)],
        )
        .await?;
    let assigned =
        Assigned { vorgangsnummer: vorgangsnummer(&new, row::count(&number, 0)?), received_at: exact(now) };
    let document = rendered(new.document, &assigned)?;
    let (submission_id, vorgang_id) = (new.submission_id.to_string(), new.vorgang_id.to_string());
    let vendor_id = new.vendor_id.as_deref().map(text);
    let form_id = new.form_id.as_deref().map(text);
    let form_name = new.form_name.as_deref().map(text);
    conn.execute(
        "WITH opened AS (INSERT INTO vorgang (tenant, vorgang_id, vorgangsnummer, opened_at)
             VALUES ($1, $3, $4, $11))
         INSERT INTO submission (tenant, submission_id, vorgang_id, vorgangsnummer, source, idem_key, content_hash,
             vendor_id, form_id, form_name, received_at, state, due_at, payload, document)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'eingegangen', $11, $12, $13)",
        &[
            &tenant,
            &submission_id,
            &vorgang_id,
            &assigned.vorgangsnummer,
            &new.source,
            &key,
            &new.content_hash.to_string(),
            &vendor_id,
            &form_id,
            &form_name,
            &micros(now),
            &as_json(&new.payload)?,
            &document,
        ],
    )
    .await?;
    retention::name_blobs(conn, tenant, &submission_id, new.payload.iter().map(|part| &part.blob)).await?;
    let mut timeline = Timeline::new(&new.tenant, new.submission_id, now);
    let params = json!({ "vorgangsnummer": assigned.vorgangsnummer, "quelle": new.source });
    timeline.add(event::EINGEGANGEN, &params)?;
    timeline.open_all("annahme", &new.remarks)?;
    if conflict {
        timeline.open_all("annahme", &[new.conflict])?;
    }
    timeline.add_all(&new.events)?;
    if let Some(settlement) = &new.settlement {
        let of = (&new.tenant, new.submission_id);
        settle::insert(conn, of, &mut timeline, settlement, micros(now), now).await?;
    }
    timeline.write(conn).await?;
    Ok(Accepted {
        submission_id: new.submission_id,
        vorgang_id: new.vorgang_id,
        vorgangsnummer: assigned.vorgangsnummer,
        received_at: assigned.received_at,
        repeated: false,
        conflict,
    })
}

/// A caller's closure runs in here; its panic must not take a connection along.
fn rendered(document: crate::steps::RenderDocument, assigned: &Assigned) -> Result<Vec<u8>, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| document(assigned)))
        .unwrap_or_else(|_| Err("the document's rendering panicked".to_owned()))
        .map_err(StoreError::Document)
}

async fn repeated(
    conn: &Conn,
    tenant: &TenantId,
    first: &tokio_postgres::Row,
    now: Zeitpunkt,
) -> Result<Accepted, StoreError> {
    let accepted = Accepted {
        submission_id: row::parsed(first, 0)?,
        vorgang_id: row::parsed(first, 1)?,
        vorgangsnummer: row::get(first, 2)?,
        received_at: row::moment(first, 3)?,
        repeated: true,
        conflict: false,
    };
    let noted = conn
        .query_one(
            "SELECT count(*) FROM (SELECT 1 FROM event WHERE tenant = $1 AND submission_id = $2 LIMIT $3) few",
            &[&tenant.as_str(), &accepted.submission_id.to_string(), &NOTED_EVENTS],
        )
        .await?;
    if row::get::<i64>(&noted, 0)? < NOTED_EVENTS {
        let mut timeline = Timeline::new(tenant, accepted.submission_id, now);
        timeline.add(event::ERNEUT_EINGEGANGEN, &json!({}))?;
        timeline.write(conn).await?;
    }
    Ok(accepted)
}

/// Claims due submissions. `last` is the tenant that was served last, so that with more tenants than places
/// each gets its turn.
pub(super) async fn claim(
    conn: &Conn,
    claim: &SubmissionClaim,
    last: &mut String,
    holder: i32,
    now: Zeitpunkt,
) -> Result<Vec<ClaimedSubmission>, StoreError> {
    let chosen = match &claim.only {
        Some((tenant, id)) => vec![(tenant.to_string(), id.to_string())],
        None => due(conn, claim.limit, last, now).await?,
    };
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let until = after(now, claim.lease_for);
    let (tenants, ids): (Vec<_>, Vec<_>) = chosen.iter().cloned().unzip();
    let sql = format!(
        "WITH free AS (
             SELECT s.tenant, s.submission_id FROM unnest($1::text[], $2::text[]) AS wanted (tenant, submission_id)
             JOIN submission s USING (tenant, submission_id)
             WHERE s.state = 'eingegangen' AND s.due_at <= $4 FOR UPDATE OF s SKIP LOCKED)
         UPDATE submission s SET leased = 1, due_at = $3, token = token + 1, runs = runs + 1, holder = $5
         FROM free WHERE s.tenant = free.tenant AND s.submission_id = free.submission_id
         RETURNING {}, {}, s.token",
        row::SUMMARY,
        row::REST
    );
    let rows = conn.query(&sql, &[&tenants, &ids, &micros(until), &micros(now), &holder]).await?;
    let mut claimed = rows
        .iter()
        .map(|found| {
            let submission = row::submission(found)?;
            let lease = SubmissionLease {
                tenant: submission.summary.tenant.clone(),
                submission_id: submission.summary.submission_id,
                token: row::count(found, 15)?,
                until,
            };
            Ok(ClaimedSubmission { lease, submission })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    // In the order of the turns, whatever order the rows came in.
    claimed.sort_by_key(|one| {
        let key = (one.lease.tenant.to_string(), one.lease.submission_id.to_string());
        chosen.iter().position(|wanted| *wanted == key)
    });
    Ok(claimed)
}

/// Due submissions, one of each tenant in turn. Every tenant is one step into the index, however much it has waiting.
async fn due(
    conn: &Conn,
    limit: u32,
    last: &mut String,
    now: Zeitpunkt,
) -> Result<Vec<(String, String)>, StoreError> {
    let rows = conn
        .query(
            "WITH RECURSIVE waiting AS (
                 (SELECT tenant FROM submission WHERE state = 'eingegangen' ORDER BY tenant LIMIT 1)
                 UNION ALL
                 SELECT next.tenant FROM waiting CROSS JOIN LATERAL (
                     SELECT tenant FROM submission WHERE state = 'eingegangen' AND tenant > waiting.tenant
                     ORDER BY tenant LIMIT 1) next)
             SELECT waiting.tenant, one.submission_id FROM waiting CROSS JOIN LATERAL (
                 SELECT submission_id, due_at FROM submission s
                 WHERE s.state = 'eingegangen' AND s.tenant = waiting.tenant AND s.due_at <= $1
                 ORDER BY s.due_at LIMIT $2) one
             ORDER BY waiting.tenant, one.due_at",
            &[&micros(now), &i64::from(limit)],
        )
        .await?;
    let mut queues: Vec<(String, VecDeque<String>)> = Vec::new();
    for found in &rows {
        let (tenant, id): (String, String) = (row::get(found, 0)?, row::get(found, 1)?);
        match queues.last_mut() {
            Some((name, ids)) if *name == tenant => ids.push_back(id),
            _ => queues.push((tenant, VecDeque::from([id]))),
        }
    }
    Ok(take_turns(queues, limit as usize, last))
}

/// Locks the submission's row, when the lease still holds; gives its Eingangszeitpunkt.
async fn check(conn: &Conn, lease: &SubmissionLease) -> Result<i64, StoreError> {
    let held = conn
        .query_opt(
            "SELECT received_at FROM submission WHERE tenant = $1 AND submission_id = $2
             AND state = 'eingegangen' AND leased = 1 AND token = $3 FOR UPDATE",
            &[&lease.tenant.as_str(), &lease.submission_id.to_string(), &lease.token.cast_signed()],
        )
        .await?
        .ok_or(StoreError::StaleLease)?;
    row::get(&held, 0)
}

pub(super) async fn renew(
    conn: &Conn,
    lease: SubmissionLease,
    lease_for: Duration,
    now: Zeitpunkt,
) -> Result<SubmissionLease, StoreError> {
    check(conn, &lease).await?;
    let until = after(now, lease_for);
    conn.execute(
        "UPDATE submission SET due_at = $3 WHERE tenant = $1 AND submission_id = $2",
        &[&lease.tenant.as_str(), &lease.submission_id.to_string(), &micros(until)],
    )
    .await?;
    Ok(SubmissionLease { until, ..lease })
}

pub(super) async fn defer(
    conn: &Conn,
    lease: &SubmissionLease,
    at: Zeitpunkt,
    events: &[NewEvent],
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    check(conn, lease).await?;
    // A run that was put off has ended; only runs that never do are counted against a submission.
    conn.execute(
        "UPDATE submission SET due_at = $3, leased = 0, holder = NULL, runs = greatest(runs - 1, 0)
         WHERE tenant = $1 AND submission_id = $2",
        &[&lease.tenant.as_str(), &lease.submission_id.to_string(), &micros(at)],
    )
    .await?;
    let mut timeline = Timeline::new(&lease.tenant, lease.submission_id, now);
    timeline.add(event::ZURUECKGESTELLT, &json!({ "bis": at }))?;
    timeline.add_all(events)?;
    timeline.write(conn).await
}

pub(super) async fn record_processed(
    conn: &Conn,
    lease: &SubmissionLease,
    processed: &Processed,
    holder: i32,
    now: Zeitpunkt,
) -> Result<Vec<StartedAttempt>, StoreError> {
    let received_at = match check(conn, lease).await {
        Err(StoreError::StaleLease) => return recorded_before(conn, lease, processed, now).await,
        held => held?,
    };
    if processed.state == SubmissionState::Eingegangen {
        return Err(StoreError::NotPossible("a processed submission cannot stay eingegangen".to_owned()));
    }
    conn.execute(
        "UPDATE submission SET state = $3, leased = 0, holder = NULL WHERE tenant = $1 AND submission_id = $2",
        &[&lease.tenant.as_str(), &lease.submission_id.to_string(), &processed.state.as_str()],
    )
    .await?;
    let mut timeline = Timeline::new(&lease.tenant, lease.submission_id, now);
    timeline.add(event::VERARBEITET, &json!({ "nachrichten": processed.messages.len() }))?;
    for new in &processed.messages {
        insert_message(conn, &lease.tenant, lease.submission_id, new, None, received_at, now).await?;
    }
    let ordered = processed.messages.iter().any(|new| new.delivery.order != Order::Keine);
    turn::lock(conn, lease.tenant.as_str(), ordered).await?;
    // Before any lane, as whoever ends an attempt does.
    settle::lock(conn, &lease.tenant, lease.submission_id).await?;
    let lanes = deliveries::lock_free_lanes(conn, &lease.tenant, &processed.messages, now).await?;
    let of = (&lease.tenant, lease.submission_id);
    let mut started = Vec::new();
    for new in &processed.messages {
        timeline.about(Some(new.message_id), Some(new.delivery.delivery_id));
        timeline.add(event::NACHRICHT, &json!({ "empfaenger": new.receiver, "zuordnung": new.mapping }))?;
        started.extend(deliveries::insert(conn, of, &mut timeline, new, &lanes, holder, now).await?);
    }
    timeline.about(None, None);
    timeline.open_all("verarbeitung", &processed.work_items)?;
    timeline.add_all(&processed.events)?;
    timeline.write(conn).await?;
    turn::advance_after(conn, lease.tenant.as_str(), lease.submission_id, now).await?;
    settle::look(conn, &lease.tenant, lease.submission_id, now).await?;
    Ok(started)
}

/// Told again what it recorded, because the answer to its COMMIT was lost, it gives the same answer, as far as nobody
/// has taken over meanwhile.
async fn recorded_before(
    conn: &Conn,
    lease: &SubmissionLease,
    processed: &Processed,
    now: Zeitpunkt,
) -> Result<Vec<StartedAttempt>, StoreError> {
    let tenant = lease.tenant.as_str();
    let mut recorded = false;
    let mut started = Vec::new();
    for new in &processed.messages {
        let (delivery_id, first) = (new.delivery.delivery_id, new.delivery.first_attempt);
        let found = conn
            .query_opt(
                "SELECT lease_until, give_up_at, token = 1 AND open_attempt = $5 AND lease_until > $6 FROM delivery
                 WHERE tenant = $1 AND delivery_id = $2 AND message_id = $3 AND submission_id = $4",
                &[
                    &tenant,
                    &delivery_id.to_string(),
                    &new.message_id.to_string(),
                    &lease.submission_id.to_string(),
                    &first.map(|first| first.attempt_id.to_string()),
                    &micros(now),
                ],
            )
            .await?;
        let Some(found) = found else { continue };
        recorded = true;
        let under_way = row::get::<Option<bool>>(&found, 2)? == Some(true);
        if let (Some(first), Some(until), true) = (first, row::moment_opt(&found, 0)?, under_way) {
            let lease = DeliveryLease { tenant: lease.tenant.clone(), delivery_id, token: 1, until };
            let give_up_at = row::moment(&found, 1)?;
            started.push(StartedAttempt { lease, attempt_id: first.attempt_id, number: 1, give_up_at });
        }
    }
    if recorded { Ok(started) } else { Err(StoreError::StaleLease) }
}

/// Stores a message of a submission; `ersetzt` names the one that it was made instead of.
pub(super) async fn insert_message(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
    new: &NewMessage,
    ersetzt: Option<MessageId>,
    received_at: i64,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO message (tenant, message_id, submission_id, route, receiver, nachrichten_uuid, engine_version,
             generation, mapping, mapping_hash, schema_package, content_hash, main, parts, state, created_at,
             received_at, pinned, ersetzt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'offen', $15, $16, $17, $18)",
        &[
            &tenant.as_str(),
            &new.message_id.to_string(),
            &submission.to_string(),
            &new.route,
            &new.receiver,
            &new.nachrichten_uuid.to_string(),
            &new.engine_version,
            &new.generation.to_string(),
            &new.mapping,
            &new.mapping_hash.to_string(),
            &new.schema_package.map(|hash| hash.to_string()),
            &new.content_hash.to_string(),
            &as_json(&new.main)?,
            &as_json(&new.parts)?,
            &micros(now),
            &received_at,
            &as_json(&new.pinned)?,
            &ersetzt.map(|id| id.to_string()),
        ],
    )
    .await?;
    let parts = std::iter::once(&new.main).chain(&new.parts).map(|part| &part.blob);
    retention::name_blobs(conn, tenant.as_str(), &submission.to_string(), parts).await
}

/// Stores the same contents in another form.
pub(super) async fn rewrite(conn: &Conn, tenant: &TenantId, rewritten: &Rewritten) -> Result<(), StoreError> {
    retention::has_contents(conn, tenant, rewritten.submission_id).await?;
    let (tenant, submission) = (tenant.as_str(), rewritten.submission_id.to_string());
    conn.execute(
        "UPDATE submission SET document = $3, payload = $4 WHERE tenant = $1 AND submission_id = $2",
        &[&tenant, &submission, &rewritten.document, &as_json(&rewritten.payload)?],
    )
    .await?;
    for (message, main, parts) in &rewritten.messages {
        conn.execute(
            "UPDATE message SET main = $4, parts = $5
             WHERE tenant = $1 AND message_id = $2 AND submission_id = $3",
            &[&tenant, &message.to_string(), &submission, &as_json(main)?, &as_json(parts)?],
        )
        .await?;
    }
    for one in &rewritten.corrections {
        conn.execute(
            "UPDATE correction SET before = $4, after = $5, reason = $6
             WHERE tenant = $1 AND submission_id = $2 AND seq = $3",
            &[&tenant, &submission, &i64::from(one.seq), &one.before, &one.after, &one.reason],
        )
        .await?;
    }
    Ok(())
}
