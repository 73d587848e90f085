// SPDX-License-Identifier: EUPL-1.2
//! What a person does: have something tried again, close a Klärungsfall, look at personal data.

use kop_core::{DeliveryId, MessageId, SubmissionId, TenantId, WorkItemId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::{deliveries, retention, row, submissions, timeline::Timeline, turn};
use crate::{
    error::StoreError,
    steps::{
        AccessEntry, NewCorrections, NewDelivery, NewEvent, NewMessage, NewWorkItem, Overdue, Replacement,
        RetryTarget, event,
    },
};

pub(super) fn retry(
    conn: &Connection,
    tenant: &TenantId,
    target: RetryTarget,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    match target {
        RetryTarget::Delivery(delivery) => retry_delivery(conn, tenant, delivery, who, now),
        RetryTarget::Submission(submission) => retry_submission(conn, tenant, submission, who, now),
    }
}

fn retry_delivery(
    conn: &Connection,
    tenant: &TenantId,
    delivery: DeliveryId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let key = (tenant.as_str(), delivery.to_string());
    let (submission, message, state, leased) = conn.query_row(
        "SELECT submission_id, message_id, state, lease_until IS NOT NULL FROM delivery
         WHERE tenant = ?1 AND delivery_id = ?2",
        (key.0, &key.1),
        |row| {
            Ok((
                row::parsed::<SubmissionId>(row, 0)?,
                row::parsed::<MessageId>(row, 1)?,
                row.get::<_, String>(2)?,
                row.get::<_, bool>(3)?,
            ))
        },
    )?;
    if leased || !matches!(state.as_str(), "wartend" | "abgewiesen" | "klaerung") {
        return Err(StoreError::NotPossible(state));
    }
    retention::has_contents(conn, tenant, submission)?;
    conn.execute(
        "UPDATE delivery SET state = 'wartend', next_try_at = ?3, due_at = CASE WHEN queued THEN NULL ELSE ?3 END,
             attempts = 0, ticket = NULL, tell_at = ?3 + tell_after, give_up_at = ?3 + give_up_after,
             settle_waits = 0
         WHERE tenant = ?1 AND delivery_id = ?2",
        (key.0, &key.1, row::micros(now)),
    )?;
    conn.execute(
        "UPDATE message SET state = 'offen' WHERE tenant = ?1 AND message_id = ?2",
        (key.0, message.to_string()),
    )?;
    // Others may have come before it while it was with a person.
    turn::wait_for_turn(conn, key.0, &key.1, now)?;
    let timeline = Timeline::new(conn, tenant, submission, now).about(message, delivery);
    timeline.close_of_delivery(&key.1)?;
    timeline.add(event::NEU_ANGESTOSSEN, &json!({ "von": who }))
}

fn retry_submission(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let key = (tenant.as_str(), submission.to_string());
    let state: String = conn.query_row(
        "SELECT state FROM submission WHERE tenant = ?1 AND submission_id = ?2",
        (key.0, &key.1),
        |row| row.get(0),
    )?;
    if state != "klaerung" {
        return Err(StoreError::NotPossible(state));
    }
    retention::has_contents(conn, tenant, submission)?;
    // A person's act begins a new round; one run is left to say that something was made before.
    conn.execute(
        "UPDATE submission SET state = 'eingegangen', due_at = ?3, leased = 0, runs = min(runs, 1)
         WHERE tenant = ?1 AND submission_id = ?2",
        (key.0, &key.1, row::micros(now)),
    )?;
    // What was remarked at acceptance is still true.
    conn.execute(
        "UPDATE work_item SET closed_at = ?3
         WHERE tenant = ?1 AND submission_id = ?2 AND step = 'verarbeitung' AND closed_at IS NULL",
        (key.0, &key.1, row::micros(now)),
    )?;
    Timeline::new(conn, tenant, submission, now).add(event::NEU_ANGESTOSSEN, &json!({ "von": who }))
}

pub(super) fn close_work_item(
    conn: &Connection,
    tenant: &TenantId,
    work_item: WorkItemId,
    who: &str,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let (submission, message, delivery) = conn
        .query_row(
            "UPDATE work_item SET closed_at = ?3 WHERE tenant = ?1 AND work_item_id = ?2 AND closed_at IS NULL
             RETURNING submission_id, message_id, delivery_id",
            (tenant.as_str(), work_item.to_string(), row::micros(now)),
            |row| {
                Ok((
                    row::parsed::<SubmissionId>(row, 0)?,
                    row::parsed_opt::<MessageId>(row, 1)?,
                    row::parsed_opt::<DeliveryId>(row, 2)?,
                ))
            },
        )
        .optional()?
        .ok_or(StoreError::NotFound)?;
    if let Some(delivery) = delivery {
        let parked: bool = conn.query_row(
            "SELECT state IN ('abgewiesen', 'klaerung') FROM delivery WHERE tenant = ?1 AND delivery_id = ?2",
            (tenant.as_str(), delivery.to_string()),
            |row| row.get(0),
        )?;
        if parked {
            turn::let_pass(conn, tenant.as_str(), &delivery.to_string(), now)?;
        }
    }
    Timeline { message, delivery, ..Timeline::new(conn, tenant, submission, now) }
        .add(event::KLAERUNG_BEENDET, &json!({ "klaerungsfall": work_item, "von": who }))
}

/// Tells a person, once, that a delivery takes long.
pub(super) fn tell(
    conn: &Connection,
    overdue: &Overdue,
    item: &NewWorkItem,
    now: Zeitpunkt,
) -> Result<bool, StoreError> {
    let told = conn
        .query_row(
            "UPDATE delivery SET tell_at = NULL WHERE tenant = ?1 AND delivery_id = ?2 AND tell_at <= ?3
                 AND state IN ('wartend', 'laufend', 'nachverfolgt')
             RETURNING submission_id, message_id",
            (overdue.tenant.as_str(), overdue.delivery_id.to_string(), row::micros(now)),
            |row| Ok((row::parsed::<SubmissionId>(row, 0)?, row::parsed::<MessageId>(row, 1)?)),
        )
        .optional()?;
    let Some((submission, message)) = told else { return Ok(false) };
    let timeline = Timeline::new(conn, &overdue.tenant, submission, now).about(message, overdue.delivery_id);
    timeline.add(event::VERZOEGERT, &json!({ "seit": overdue.since }))?;
    timeline.open_all("zustellung", std::slice::from_ref(item))?;
    Ok(true)
}

pub(super) fn annotate(
    conn: &Connection,
    tenant: &TenantId,
    submission: SubmissionId,
    line: &NewEvent,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let known: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM submission WHERE tenant = ?1 AND submission_id = ?2)",
        (tenant.as_str(), submission.to_string()),
        |row| row.get(0),
    )?;
    if !known {
        return Err(StoreError::NotFound);
    }
    Timeline::new(conn, tenant, submission, now).add_all(std::slice::from_ref(line))
}

pub(super) fn log_access(conn: &Connection, entry: &AccessEntry, now: Zeitpunkt) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO access_log (tenant, at, who, what, submission_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            entry.tenant.as_str(),
            row::micros(now),
            &entry.who,
            &entry.what,
            entry.submission_id.map(|id| id.to_string()),
        ),
    )?;
    let Some(submission) = entry.submission_id else { return Ok(()) };
    Timeline::new(conn, &entry.tenant, submission, now).add(event::EINGESEHEN, &json!({ "von": entry.who }))
}

pub(super) fn replace(
    conn: &Connection,
    tenant: &TenantId,
    replacement: &Replacement,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let earlier = replacement.earlier.to_string();
    let (submission, delivery, state, leased, received_at, replaced, unclear, settles) = conn.query_row(
        "SELECT d.submission_id, d.delivery_id, d.state, d.lease_until IS NOT NULL, m.received_at,
             EXISTS (SELECT 1 FROM message n WHERE n.tenant = ?1 AND n.ersetzt = ?2),
             EXISTS (SELECT 1 FROM attempt a WHERE a.tenant = ?1 AND a.delivery_id = d.delivery_id
                 AND a.outcome = 'unklar'),
             d.settles IS NOT NULL
         FROM message m JOIN delivery d ON d.tenant = m.tenant AND d.submission_id = m.submission_id
             AND d.message_id = m.message_id
         WHERE m.tenant = ?1 AND m.message_id = ?2",
        (tenant.as_str(), &earlier),
        |row| {
            Ok((
                row::parsed::<SubmissionId>(row, 0)?,
                row::parsed::<DeliveryId>(row, 1)?,
                row.get::<_, String>(2)?,
                row.get::<_, bool>(3)?,
                row.get::<_, i64>(4)?,
                row.get::<_, bool>(5)?,
                row.get::<_, bool>(6)?,
                row.get::<_, bool>(7)?,
            ))
        },
    )?;
    if settles {
        return Err(StoreError::NotPossible("quittung".to_owned()));
    }
    if leased || matches!(state.as_str(), "laufend" | "nachverfolgt" | "ersetzt") {
        return Err(StoreError::NotPossible(state));
    }
    if replaced {
        return Err(StoreError::NotPossible("ersetzt".to_owned()));
    }
    retention::has_contents(conn, tenant, submission)?;
    let arrived = state == "zugestellt";
    if !replacement.despite && (arrived || unclear) {
        return Err(StoreError::NotPossible(if arrived { state } else { "unklar".to_owned() }));
    }
    if !arrived {
        conn.execute(
            "UPDATE delivery SET state = 'ersetzt', next_try_at = NULL, due_at = NULL, ticket = NULL, queued = 0,
                 tell_at = NULL
             WHERE tenant = ?1 AND delivery_id = ?2",
            (tenant.as_str(), delivery.to_string()),
        )?;
        conn.execute(
            "UPDATE message SET state = 'ersetzt' WHERE tenant = ?1 AND message_id = ?2",
            (tenant.as_str(), &earlier),
        )?;
    }
    conn.execute(
        "UPDATE work_item SET closed_at = ?4
         WHERE tenant = ?1 AND submission_id = ?2 AND delivery_id = ?3 AND closed_at IS NULL",
        (tenant.as_str(), submission.to_string(), delivery.to_string(), row::micros(now)),
    )?;
    let new = NewMessage {
        delivery: NewDelivery { first_attempt: None, ..replacement.message.delivery },
        ..replacement.message.clone()
    };
    let timeline = Timeline::new(conn, tenant, submission, now);
    timeline.about(replacement.earlier, delivery).add(
        event::ERSETZT,
        &json!({
            "durch": new.message_id, "version": replacement.version, "grund": replacement.reason,
            "von": replacement.who,
        }),
    )?;
    submissions::insert_message(&timeline, &new, Some(replacement.earlier), received_at)?;
    let timeline = timeline.about(new.message_id, new.delivery.delivery_id);
    timeline.add(event::NACHRICHT, &json!({ "empfaenger": new.receiver, "zuordnung": new.mapping }))?;
    deliveries::insert(&timeline, &new)?;
    // Only now, so that the new one comes before those that the earlier one held up.
    turn::let_pass(conn, tenant.as_str(), &delivery.to_string(), now)
}

pub(super) fn correct(
    conn: &Connection,
    tenant: &TenantId,
    new: &NewCorrections,
    now: Zeitpunkt,
) -> Result<(), StoreError> {
    let id = new.submission_id.to_string();
    let (state, last): (String, u32) = conn.query_row(
        "SELECT state, (SELECT coalesce(max(seq), 0) FROM correction c
             WHERE c.tenant = s.tenant AND c.submission_id = s.submission_id)
         FROM submission s WHERE tenant = ?1 AND submission_id = ?2",
        (tenant.as_str(), &id),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if state == "eingegangen" {
        return Err(StoreError::NotPossible(state));
    }
    retention::has_contents(conn, tenant, new.submission_id)?;
    if last != new.seen {
        return Err(StoreError::NotPossible("korrigiert".to_owned()));
    }
    for (seq, one) in (last + 1..).zip(&new.corrections) {
        conn.execute(
            "INSERT INTO correction (tenant, submission_id, seq, at, path, before, after, reason, who)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (
                tenant.as_str(),
                &id,
                seq,
                row::micros(now),
                &one.path,
                &one.before,
                &one.after,
                &new.reason,
                &new.who,
            ),
        )?;
    }
    let paths: Vec<_> = new.corrections.iter().map(|one| &one.path).collect();
    Timeline::new(conn, tenant, new.submission_id, now)
        .add(event::KORRIGIERT, &json!({ "felder": paths, "von": new.who, "konto": new.account }))
}
