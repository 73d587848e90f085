// SPDX-License-Identifier: EUPL-1.2
//! What a person does: have something tried again, close a Klärungsfall, look at personal data.

use std::collections::BTreeSet;

use kop_core::{DeliveryId, MessageId, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt};
use serde_json::json;

use super::{
    deliveries,
    pool::Conn,
    retention,
    row::{self, text},
    submissions,
    timeline::Timeline,
    turn,
};
use crate::{
    error::StoreError,
    steps::{
        AccessEntry, NewCorrections, NewDelivery, NewEvent, NewMessage, NewWorkItem, Overdue, Replacement,
        RetryTarget, event,
    },
    values::micros,
};

pub(super) async fn retry(
    conn: &Conn,
    tenant: &TenantId,
    target: RetryTarget,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    match target {
        RetryTarget::Delivery(delivery) => retry_delivery(conn, tenant, delivery, who, now).await,
        RetryTarget::Submission(submission) => retry_submission(conn, tenant, submission, who, now).await,
    }
}

async fn retry_delivery(
    conn: &Conn,
    tenant: &TenantId,
    delivery: DeliveryId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (name, id) = (tenant.as_str(), delivery.to_string());
    turn::lock_of(conn, name, &id).await?;
    let found = conn
        .query_one(
            "SELECT submission_id, message_id, state, lease_until IS NOT NULL FROM delivery
             WHERE tenant = $1 AND delivery_id = $2 FOR UPDATE",
            &[&name, &id],
        )
        .await?;
    let (submission, message): (SubmissionId, MessageId) = (row::parsed(&found, 0)?, row::parsed(&found, 1)?);
    retention::has_contents(conn, tenant, submission).await?;
    let state: String = row::get(&found, 2)?;
    if row::get(&found, 3)? || !matches!(state.as_str(), "wartend" | "abgewiesen" | "klaerung") {
        return Err(StoreError::NotPossible(state));
    }
    conn.execute(
        "UPDATE delivery SET state = 'wartend', next_try_at = $3, attempts = 0, ticket = NULL,
             due_at = CASE WHEN queued THEN NULL ELSE $3::bigint END, tell_at = $3 + tell_after,
             give_up_at = $3 + give_up_after, settle_waits = FALSE
         WHERE tenant = $1 AND delivery_id = $2",
        &[&name, &id, &micros(now)],
    )
    .await?;
    conn.execute(
        "UPDATE message SET state = 'offen' WHERE tenant = $1 AND message_id = $2",
        &[&name, &message.to_string()],
    )
    .await?;
    // Others may have come before it while it was with a person.
    turn::wait_for_turn(conn, name, &id, now).await?;
    let mut timeline = Timeline::new(tenant, submission, now);
    timeline.close_of_delivery(conn, &id).await?;
    timeline
        .about(Some(message), Some(delivery))
        .add(event::NEU_ANGESTOSSEN, &json!({ "von": text(who) }))?;
    timeline.write(conn).await
}

async fn retry_submission(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (name, id) = (tenant.as_str(), submission.to_string());
    let found = conn
        .query_one(
            "SELECT state FROM submission WHERE tenant = $1 AND submission_id = $2 FOR UPDATE",
            &[&name, &id],
        )
        .await?;
    retention::has_contents(conn, tenant, submission).await?;
    let state: String = row::get(&found, 0)?;
    if state != "klaerung" {
        return Err(StoreError::NotPossible(state));
    }
    // A person's act begins a new round; one run is left to say that something was made before.
    conn.execute(
        "UPDATE submission SET state = 'eingegangen', due_at = $3, leased = 0, runs = least(runs, 1)
         WHERE tenant = $1 AND submission_id = $2",
        &[&name, &id, &micros(now)],
    )
    .await?;
    // What was remarked at acceptance is still true.
    conn.execute(
        "UPDATE work_item SET closed_at = $3
         WHERE tenant = $1 AND submission_id = $2 AND step = 'verarbeitung' AND closed_at IS NULL",
        &[&name, &id, &micros(now)],
    )
    .await?;
    let mut timeline = Timeline::new(tenant, submission, now);
    timeline.add(event::NEU_ANGESTOSSEN, &json!({ "von": text(who) }))?;
    timeline.write(conn).await
}

pub(super) async fn close_work_item(
    conn: &Conn,
    tenant: &TenantId,
    work_item: WorkItemId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let found = conn
        .query_one(
            "UPDATE work_item SET closed_at = $3 WHERE tenant = $1 AND work_item_id = $2 AND closed_at IS NULL
             RETURNING submission_id, message_id, delivery_id",
            &[&tenant.as_str(), &work_item.to_string(), &micros(now)],
        )
        .await?;
    if let Some(delivery) = row::get::<Option<&str>>(&found, 2)? {
        turn::lock_of(conn, tenant.as_str(), delivery).await?;
        let parked = conn
            .query_one(
                "SELECT state IN ('abgewiesen', 'klaerung') FROM delivery WHERE tenant = $1 AND delivery_id = $2",
                &[&tenant.as_str(), &delivery],
            )
            .await?;
        if row::get(&parked, 0)? {
            turn::let_pass(conn, tenant.as_str(), delivery, now).await?;
        }
    }
    let mut timeline = Timeline::new(tenant, row::parsed(&found, 0)?, now);
    timeline
        .about(row::parsed_opt(&found, 1)?, row::parsed_opt(&found, 2)?)
        .add(event::KLAERUNG_BEENDET, &json!({ "klaerungsfall": work_item, "von": text(who) }))?;
    timeline.write(conn).await
}

/// Tells a person, once, that a delivery takes long.
pub(super) async fn tell(
    conn: &Conn,
    overdue: &Overdue,
    item: &NewWorkItem,
    now: Zeitpunkt,
) -> Result<bool, StoreError> {
    let told = conn
        .query_opt(
            "UPDATE delivery SET tell_at = NULL WHERE tenant = $1 AND delivery_id = $2 AND tell_at <= $3
                 AND state IN ('wartend', 'laufend', 'nachverfolgt')
             RETURNING submission_id, message_id",
            &[&overdue.tenant.as_str(), &overdue.delivery_id.to_string(), &micros(now)],
        )
        .await?;
    let Some(told) = told else { return Ok(false) };
    let mut timeline = Timeline::new(&overdue.tenant, row::parsed(&told, 0)?, now);
    timeline
        .about(Some(row::parsed(&told, 1)?), Some(overdue.delivery_id))
        .add(event::VERZOEGERT, &json!({ "seit": overdue.since }))?;
    timeline.open_all("zustellung", std::slice::from_ref(item))?;
    timeline.write(conn).await?;
    Ok(true)
}

pub(super) async fn log_access(conn: &Conn, entry: &AccessEntry, now: Zeitpunkt) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO access_log (tenant, at, who, what, submission_id) VALUES ($1, $2, $3, $4, $5)",
        &[
            &entry.tenant.as_str(),
            &micros(now),
            &text(&entry.who),
            &text(&entry.what),
            &entry.submission_id.map(|id| id.to_string()),
        ],
    )
    .await?;
    let Some(submission) = entry.submission_id else { return Ok(()) };
    let mut timeline = Timeline::new(&entry.tenant, submission, now);
    timeline.add(event::EINGESEHEN, &json!({ "von": text(&entry.who) }))?;
    timeline.write(conn).await
}

pub(super) async fn replace(
    conn: &Conn,
    tenant: &TenantId,
    replacement: &Replacement,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (name, earlier) = (tenant.as_str(), replacement.earlier.to_string());
    // Decides about the order of others too, so before any row.
    turn::lock(conn, name, true).await?;
    let found = conn
        .query_one(
            "SELECT d.submission_id, d.delivery_id, d.state, d.lease_until IS NOT NULL, m.received_at,
                 EXISTS (SELECT 1 FROM message n WHERE n.tenant = $1 AND n.ersetzt = $2),
                 EXISTS (SELECT 1 FROM attempt a WHERE a.tenant = $1 AND a.delivery_id = d.delivery_id
                     AND a.outcome = 'unklar'),
                 d.settles IS NOT NULL
             FROM message m JOIN delivery d ON d.tenant = m.tenant AND d.submission_id = m.submission_id
                 AND d.message_id = m.message_id
             WHERE m.tenant = $1 AND m.message_id = $2 FOR UPDATE OF m, d",
            &[&name, &earlier],
        )
        .await?;
    let (submission, delivery): (SubmissionId, DeliveryId) =
        (row::parsed(&found, 0)?, row::parsed(&found, 1)?);
    retention::has_contents(conn, tenant, submission).await?;
    let state: String = row::get(&found, 2)?;
    if row::get(&found, 7)? {
        return Err(StoreError::NotPossible("quittung".to_owned()));
    }
    if row::get(&found, 3)? || matches!(state.as_str(), "laufend" | "nachverfolgt" | "ersetzt") {
        return Err(StoreError::NotPossible(state));
    }
    if row::get(&found, 5)? {
        return Err(StoreError::NotPossible("ersetzt".to_owned()));
    }
    let arrived = state == "zugestellt";
    if !replacement.despite && (arrived || row::get(&found, 6)?) {
        return Err(StoreError::NotPossible(if arrived { state } else { "unklar".to_owned() }));
    }
    let id = delivery.to_string();
    if !arrived {
        conn.execute(
            "UPDATE delivery SET state = 'ersetzt', next_try_at = NULL, due_at = NULL, ticket = NULL, queued = FALSE,
                 tell_at = NULL
             WHERE tenant = $1 AND delivery_id = $2",
            &[&name, &id],
        )
        .await?;
        conn.execute(
            "UPDATE message SET state = 'ersetzt' WHERE tenant = $1 AND message_id = $2",
            &[&name, &earlier],
        )
        .await?;
    }
    let new = NewMessage {
        delivery: NewDelivery { first_attempt: None, ..replacement.message.delivery },
        ..replacement.message.clone()
    };
    let mut timeline = Timeline::new(tenant, submission, now);
    timeline.close_of_delivery(conn, &id).await?;
    timeline.about(Some(replacement.earlier), Some(delivery)).add(
        event::ERSETZT,
        &json!({
            "durch": new.message_id, "version": replacement.version, "grund": text(&replacement.reason),
            "von": text(&replacement.who),
        }),
    )?;
    let received_at = row::get(&found, 4)?;
    submissions::insert_message(conn, tenant, submission, &new, Some(replacement.earlier), received_at, now)
        .await?;
    timeline
        .about(Some(new.message_id), Some(new.delivery.delivery_id))
        .add(event::NACHRICHT, &json!({ "empfaenger": new.receiver, "zuordnung": new.mapping }))?;
    // Nothing is started here, so no lane is locked and nobody holds anything.
    deliveries::insert(conn, (tenant, submission), &mut timeline, &new, &BTreeSet::new(), 0, now).await?;
    timeline.write(conn).await?;
    // Only now, so that the new one comes before those that the earlier one held up.
    turn::let_pass(conn, name, &id, now).await
}

pub(super) async fn correct(
    conn: &Conn,
    tenant: &TenantId,
    new: &NewCorrections,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (name, id) = (tenant.as_str(), new.submission_id.to_string());
    let found = conn
        .query_one(
            "SELECT state FROM submission WHERE tenant = $1 AND submission_id = $2 FOR UPDATE",
            &[&name, &id],
        )
        .await?;
    retention::has_contents(conn, tenant, new.submission_id).await?;
    let state: String = row::get(&found, 0)?;
    if state == "eingegangen" {
        return Err(StoreError::NotPossible(state));
    }
    let last = conn
        .query_one(
            "SELECT coalesce(max(seq), 0) FROM correction WHERE tenant = $1 AND submission_id = $2",
            &[&name, &id],
        )
        .await?;
    let last: u32 = row::count(&last, 0)?;
    if last != new.seen {
        return Err(StoreError::NotPossible("korrigiert".to_owned()));
    }
    for (seq, one) in (last + 1..).zip(&new.corrections) {
        conn.execute(
            "INSERT INTO correction (tenant, submission_id, seq, at, path, before, after, reason, who)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                &name,
                &id,
                &i64::from(seq),
                &micros(now),
                &text(&one.path),
                &one.before.as_deref().map(text),
                &text(&one.after),
                &text(&new.reason),
                &text(&new.who),
            ],
        )
        .await?;
    }
    let paths: Vec<_> = new.corrections.iter().map(|one| &one.path).collect();
    let mut timeline = Timeline::new(tenant, new.submission_id, now);
    timeline.add(event::KORRIGIERT, &json!({ "felder": paths, "von": new.who, "konto": new.account }))?;
    timeline.write(conn).await
}

/// Adds a line to the timeline of a submission.
pub(super) async fn annotate(
    conn: &Conn,
    tenant: &TenantId,
    submission: SubmissionId,
    line: &NewEvent,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    conn.query_one(
        "SELECT 1 FROM submission WHERE tenant = $1 AND submission_id = $2",
        &[&tenant.as_str(), &submission.to_string()],
    )
    .await?;
    let mut timeline = Timeline::new(tenant, submission, now);
    timeline.add_all(std::slice::from_ref(line))?;
    timeline.write(conn).await
}
