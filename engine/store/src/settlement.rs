// SPDX-License-Identifier: EUPL-1.2
//! Settling a source that was asked for its payloads: a message and a delivery of their own, stored in the step that
//! stores the submission, with the source as their receiver. Attempts, leases, lanes, repetition and Klärungsfälle are
//! those of every delivery; what is told apart is when it becomes due, and that nothing of the application hangs on it.

use std::time::Duration;

use kop_core::{
    ContentHash, DeliveryId, MessageId, Order, Part, Receipt, SettleAt, WhenParked, clock::Zeitpunkt,
    sendung::Level, settle::lane_of_source,
};
use serde::Serialize;

use crate::{
    records::{DeliveryState, SubmissionState},
    steps::{NewDelivery, NewMessage},
};

/// A source to be told that it may let go of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSettlement {
    /// Made by the caller.
    pub message_id: MessageId,
    /// Made by the caller.
    pub delivery_id: DeliveryId,
    /// Made by the caller; a message has one.
    pub nachrichten_uuid: uuid::Uuid,
    /// The source's name in the tenant's configuration.
    pub source: String,
    /// Version of the engine.
    pub engine_version: String,
    /// Hash of the tenant's configuration.
    pub generation: ContentHash,
    /// What the source wants to be told with, as the only part of the message.
    pub ticket: Part,
    /// [`kop_core::Sendung::content_hash`] of the ticket, before anything is sealed: the same for the same payload.
    pub content_hash: ContentHash,
    /// What must have happened first.
    pub when: SettleAt,
    /// When it is due at the latest, whatever has happened; `None`: only once `when` has come, or a person says so.
    pub latest: Option<Zeitpunkt>,
    /// [`NewDelivery::tell_after`], counted from the moment at which it is due.
    pub tell_after: Duration,
    /// [`NewDelivery::give_up_after`], counted from the moment at which it is due.
    pub give_up_after: Duration,
}

impl NewSettlement {
    /// The message that settles. Its route and mapping are empty: nobody made it of the application.
    pub(crate) fn message(&self) -> NewMessage {
        NewMessage {
            message_id: self.message_id,
            route: String::new(),
            receiver: lane_of_source(&self.source),
            nachrichten_uuid: self.nachrichten_uuid,
            engine_version: self.engine_version.clone(),
            generation: self.generation,
            mapping: String::new(),
            mapping_hash: ContentHash::of(b""),
            schema_package: None,
            content_hash: self.content_hash,
            main: self.ticket.clone(),
            parts: Vec::new(),
            pinned: serde_json::Value::Null,
            delivery: NewDelivery {
                delivery_id: self.delivery_id,
                order: Order::Keine,
                when_parked: WhenParked::Weiter,
                tell_after: self.tell_after,
                give_up_after: self.give_up_after,
                first_attempt: None,
            },
        }
    }

    /// When it is due as far as is known now: at once, or at the latest moment.
    pub(crate) fn due(&self, now: Zeitpunkt) -> Option<Zeitpunkt> {
        if self.when == SettleAt::Gespeichert { Some(now) } else { self.latest.map(|at| at.max(now)) }
    }

    /// Whether it still waits for something to happen.
    pub(crate) fn waits(&self) -> bool {
        self.when != SettleAt::Gespeichert
    }
}

/// A delivery that settles a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// What must have happened first.
    #[serde(rename = "wenn")]
    pub when: SettleAt,
    /// That has not happened yet, nor has its latest moment come, nor has a person decided.
    #[serde(rename = "wartet")]
    pub waits: bool,
}

/// Whether what a settlement waits for has happened: the state of the submission, and of its messages' deliveries
/// how far each got. What was replaced is over; the one in its place counts.
pub(crate) fn reached(
    when: SettleAt,
    submission: SubmissionState,
    deliveries: &[(DeliveryState, Option<Receipt>)],
) -> bool {
    let mut counting = deliveries.iter().filter(|(state, _)| *state != DeliveryState::Ersetzt);
    match when {
        SettleAt::Gespeichert => true,
        _ if submission != SubmissionState::Verarbeitet => false,
        SettleAt::Geprueft => true,
        SettleAt::Zugestellt => counting
            .all(|(state, _)| matches!(state, DeliveryState::Zugestellt | DeliveryState::Nachverfolgt)),
        SettleAt::Quittiert => counting.all(|(state, receipt)| {
            *state == DeliveryState::Zugestellt
                && receipt.as_ref().is_some_and(|receipt| receipt.level >= Level::Empfangen)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_moment_asks_for_more() {
        let at = |level| (DeliveryState::Zugestellt, Some(Receipt { level, reference: None }));
        let first = |submission, deliveries: &[_]| {
            SettleAt::ALL.map(|when| u8::from(reached(when, submission, deliveries)))
        };
        let done = SubmissionState::Verarbeitet;
        assert_eq!(first(SubmissionState::Eingegangen, &[]), [1, 0, 0, 0]);
        let unclear = first(SubmissionState::Klaerung, &[at(Level::Angenommen)]);
        assert_eq!(unclear, [1, 0, 0, 0], "one message is missing");
        assert_eq!(first(done, &[(DeliveryState::Wartend, None), at(Level::Empfangen)]), [1, 1, 0, 0]);
        assert_eq!(first(done, &[(DeliveryState::Abgewiesen, None)]), [1, 1, 0, 0]);
        assert_eq!(first(done, &[(DeliveryState::Nachverfolgt, None)]), [1, 1, 1, 0]);
        assert_eq!(first(done, &[at(Level::Transportiert), at(Level::Empfangen)]), [1, 1, 1, 0]);
        assert_eq!(first(done, &[at(Level::Angenommen), at(Level::Empfangen)]), [1, 1, 1, 1]);
        assert_eq!(first(done, &[(DeliveryState::Ersetzt, None), at(Level::Empfangen)]), [1, 1, 1, 1]);
    }
}
