// SPDX-License-Identifier: EUPL-1.2
//! What the end of an attempt means for attempt, delivery, message and timeline. Every store writes this; none
//! decides about it.

use kop_core::{Diagnostic, Receipt, Ticket, clock::Zeitpunkt, sendung::Level};
use serde_json::{Value, json};

use crate::{
    error::StoreError,
    records::{AttemptKind, AttemptOutcome, DeliveryState, MessageState},
    steps::{AttemptEnd, NewWorkItem, event},
    values::word,
};

/// What an end means for attempt, delivery and message.
pub(crate) struct Effect<'a> {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) delivery: DeliveryState,
    pub(crate) message: MessageState,
    pub(crate) next_try_at: Option<Zeitpunkt>,
    pub(crate) receipt: Option<&'a Receipt>,
    pub(crate) ticket: Option<&'a Ticket>,
    pub(crate) problem: Option<&'a Diagnostic>,
    pub(crate) work_item: Option<&'a NewWorkItem>,
    pub(crate) event: &'static str,
}

impl<'a> Effect<'a> {
    pub(crate) fn of(end: &'a AttemptEnd, asked: bool) -> Self {
        let none = Self {
            outcome: AttemptOutcome::Zugestellt,
            delivery: DeliveryState::Zugestellt,
            message: MessageState::Zugestellt,
            next_try_at: None,
            receipt: None,
            ticket: None,
            problem: None,
            work_item: None,
            event: event::ZUGESTELLT,
        };
        match end {
            AttemptEnd::Delivered(receipt) => Self { receipt: Some(receipt), ..none },
            AttemptEnd::Pending { ticket, until } => Self {
                outcome: AttemptOutcome::Nachverfolgt,
                delivery: DeliveryState::Nachverfolgt,
                message: MessageState::Offen,
                next_try_at: Some(*until),
                ticket: Some(ticket),
                event: event::NACHVERFOLGT,
                ..none
            },
            AttemptEnd::Retry { at, problem } | AttemptEnd::Unclear { at, problem } => Self {
                outcome: match end {
                    AttemptEnd::Unclear { .. } => AttemptOutcome::Unklar,
                    _ => AttemptOutcome::Wiederholung,
                },
                delivery: if asked { DeliveryState::Nachverfolgt } else { DeliveryState::Wartend },
                message: MessageState::Offen,
                next_try_at: Some(*at),
                problem: Some(problem),
                event: event::WIEDERHOLUNG,
                ..none
            },
            AttemptEnd::GivenUp { problem, work_item } => Self {
                outcome: AttemptOutcome::Aufgegeben,
                delivery: DeliveryState::Klaerung,
                message: MessageState::Klaerung,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::AUFGEGEBEN,
                ..none
            },
            AttemptEnd::Rejected { problem, work_item } => Self {
                outcome: AttemptOutcome::Abgewiesen,
                delivery: DeliveryState::Abgewiesen,
                message: MessageState::Abgewiesen,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::ABGEWIESEN,
                ..none
            },
            AttemptEnd::Unknown { problem, work_item } => Self {
                outcome: AttemptOutcome::Unklar,
                delivery: DeliveryState::Klaerung,
                message: MessageState::Klaerung,
                problem: Some(problem),
                work_item: Some(work_item),
                event: event::UNKLAR,
                ..none
            },
        }
    }

    /// How far the delivery got with this attempt.
    fn level(&self) -> Option<Level> {
        match self.outcome {
            AttemptOutcome::Zugestellt => self.receipt.map(|receipt| receipt.level),
            AttemptOutcome::Nachverfolgt => Some(Level::Uebergeben),
            _ => None,
        }
    }

    /// The same, as stored.
    pub(crate) fn level_word(&self) -> Result<Option<String>, StoreError> {
        self.level().map(|level| word(&level)).transpose()
    }

    /// A question that failed is asked again with the ticket that is there.
    pub(crate) fn keeps_ticket(&self) -> bool {
        self.delivery == DeliveryState::Nachverfolgt && self.ticket.is_none()
    }

    /// Parameters of its line.
    pub(crate) fn params(&self) -> Result<Value, StoreError> {
        let code = self.problem.map(|problem| &problem.code);
        Ok(match self.event {
            event::ZUGESTELLT => json!({ "stufe": self.level_word()? }),
            event::NACHVERFOLGT => json!({ "bis": self.next_try_at }),
            event::WIEDERHOLUNG => json!({ "um": self.next_try_at, "code": code }),
            _ => json!({ "code": code }),
        })
    }
}

/// Whether a delivery asks or sends when it is tried next.
pub(crate) fn kind_of(state: &str) -> AttemptKind {
    if state == "nachverfolgt" { AttemptKind::Nachfragen } else { AttemptKind::Senden }
}
