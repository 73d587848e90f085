// SPDX-License-Identifier: EUPL-1.2
//! What a store tells: the rows as others see them, filters and pages. Moments are exact to the microsecond.

use std::{fmt, str::FromStr};

use kop_core::{
    AttemptId, BlobRef, ContentHash, DeliveryId, Diagnostic, MessageId, Outcome, Part, Receipt, SubmissionId,
    TenantId, Ticket, VorgangId, WorkItemId, clock::Zeitpunkt, diagnostic::Class, sendung::Level,
};
use serde::{Deserialize, Serialize};

use crate::settlement::Settlement;

/// An enum that is stored and shown as one lower-case word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word, as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text { $($word => Ok(Self::$variant),)* _ => Err(UnknownWord(text.to_owned())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

/// The word names no value of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {0:?}")]
pub struct UnknownWord(pub String);

words!(
    /// Where a submission stands.
    SubmissionState {
        /// Stored, not yet routed and mapped.
        Eingegangen = "eingegangen",
        /// Every message that its routes asked for exists.
        Verarbeitet = "verarbeitet",
        /// A person must look before anything (more) is made of it.
        Klaerung = "klaerung",
    }
);

words!(
    /// Where a message stands; follows its delivery.
    MessageState {
        /// Made, not yet with its receiver.
        Offen = "offen",
        /// The receiver has it.
        Zugestellt = "zugestellt",
        /// The receiver refused it.
        Abgewiesen = "abgewiesen",
        /// A person must look.
        Klaerung = "klaerung",
        /// A person had another one made instead; it is not sent any more.
        Ersetzt = "ersetzt",
    }
);

words!(
    /// Where a delivery stands.
    DeliveryState {
        /// Waits for its (next) attempt.
        Wartend = "wartend",
        /// Claimed, or an attempt is under way.
        Laufend = "laufend",
        /// The receiver has it.
        Zugestellt = "zugestellt",
        /// Handed over; the receiver is asked again later.
        Nachverfolgt = "nachverfolgt",
        /// The receiver refused it.
        Abgewiesen = "abgewiesen",
        /// A person must look.
        Klaerung = "klaerung",
        /// A person had another message made instead of its own; it is over.
        Ersetzt = "ersetzt",
    }
);

words!(
    /// What an attempt did.
    AttemptKind {
        /// Sent the bytes.
        Senden = "senden",
        /// Asked what became of them.
        Nachfragen = "nachfragen",
    }
);

words!(
    /// How an attempt ended.
    AttemptOutcome {
        /// [`Outcome::Receipt`].
        Zugestellt = "zugestellt",
        /// [`Outcome::Pending`].
        Nachverfolgt = "nachverfolgt",
        /// [`Outcome::Retry`] with a next attempt.
        Wiederholung = "wiederholung",
        /// [`Outcome::Retry`] with no attempt left.
        Aufgegeben = "aufgegeben",
        /// [`Outcome::Reject`].
        Abgewiesen = "abgewiesen",
        /// [`Outcome::Unknown`], or the engine stopped while it ran; also where the receiver bears a repetition
        /// and gets one.
        Unklar = "unklar",
    }
);

impl From<&Outcome> for AttemptOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Receipt(_) => Self::Zugestellt,
            Outcome::Pending(_) => Self::Nachverfolgt,
            Outcome::Retry { .. } => Self::Wiederholung,
            Outcome::Reject(_) => Self::Abgewiesen,
            Outcome::Unknown(_) => Self::Unklar,
        }
    }
}

/// One file of the payload as it came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadPart {
    /// Role or id within the payload (`envelope`, multipart field, Content-ID).
    pub key: String,
    /// File name as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Media type as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The bytes.
    pub blob: BlobRef,
}

/// A submission without its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the members are explained at `NewSubmission`
pub struct SubmissionSummary {
    pub tenant: TenantId,
    pub submission_id: SubmissionId,
    pub vorgang_id: VorgangId,
    pub vorgangsnummer: String,
    pub source: String,
    pub vendor_id: Option<String>,
    pub form_id: Option<String>,
    pub form_name: Option<String>,
    pub received_at: Zeitpunkt,
    pub state: SubmissionState,
    /// How often it was claimed for processing; more than a few without a result hints at a crash. A person who has
    /// it processed again sets it back to 1.
    pub runs: u32,
    /// When its contents were deleted: the document is empty, and so are names and bytes of payload and messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_deleted_at: Option<Zeitpunkt>,
}

/// A submission as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionRecord {
    /// Head.
    pub summary: SubmissionSummary,
    /// Hash over the payload, for idempotency.
    pub content_hash: ContentHash,
    /// The Ablageformat document, JSON, byte for byte as rendered at acceptance.
    pub document: Vec<u8>,
    /// The payload's files.
    pub payload: Vec<PayloadPart>,
}

/// A message as stored. Members as in [`crate::NewMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the members are explained at `NewMessage`
pub struct MessageRecord {
    pub tenant: TenantId,
    pub message_id: MessageId,
    pub submission_id: SubmissionId,
    pub route: String,
    pub receiver: String,
    pub nachrichten_uuid: uuid::Uuid,
    pub engine_version: String,
    pub generation: ContentHash,
    pub mapping: String,
    pub mapping_hash: ContentHash,
    pub schema_package: Option<ContentHash>,
    pub content_hash: ContentHash,
    pub main: Part,
    pub parts: Vec<Part>,
    pub pinned: Option<serde_json::Value>,
    /// The message that a person had this one made instead of.
    pub ersetzt: Option<MessageId>,
    pub state: MessageState,
    pub created_at: Zeitpunkt,
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveryRecord {
    /// The Mandant.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// What it brings.
    pub message_id: MessageId,
    /// The submission that the message was made from.
    pub submission_id: SubmissionId,
    /// Where it queues: the receiver's name.
    pub lane: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Earliest moment of the next attempt or question, where one is to come.
    pub next_try_at: Option<Zeitpunkt>,
    /// Waits for its turn behind others of its lane.
    pub queued: bool,
    /// From then on no attempt is begun.
    pub give_up_at: Zeitpunkt,
    /// Attempts to send that were started; counted anew after a person had it tried again.
    pub attempts: u32,
    /// Proof, once delivered.
    pub receipt: Option<Receipt>,
    /// What to ask with, while `nachverfolgt`.
    pub ticket: Option<Ticket>,
    /// It tells a source that it may let go, and brings nothing to a receiver.
    #[serde(rename = "quittung", skip_serializing_if = "Option::is_none")]
    pub settles: Option<Settlement>,
}

/// How a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneRecord {
    /// The Mandant.
    pub tenant: TenantId,
    /// The receiver's name.
    pub lane: String,
    /// Failed attempts since the last one that went well.
    pub failures: u32,
    /// Pauses since the last attempt that went well.
    pub trips: u32,
    /// End of the pause, where the lane tripped; a moment in the past means that one attempt at a time finds out.
    pub paused_until: Option<Zeitpunkt>,
}

/// An attempt as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// The delivery it belongs to.
    pub delivery_id: DeliveryId,
    /// Sent or asked.
    pub kind: AttemptKind,
    /// Number among the attempts to send, from 1, counted anew after a person had it tried again. Questions
    /// carry the number of the sending before.
    pub number: u32,
    /// Recorded before the first byte left.
    pub started_at: Zeitpunkt,
    /// `None` while it runs, or when the engine stopped meanwhile.
    pub ended_at: Option<Zeitpunkt>,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// How far the delivery got.
    pub level: Option<Level>,
    /// What went wrong, values masked.
    pub problem: Option<Diagnostic>,
}

/// A Klärungsfall as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkItemRecord {
    /// The Mandant.
    pub tenant: TenantId,
    /// The Klärungsfall.
    pub work_item_id: WorkItemId,
    /// Who can mend it.
    pub class: Class,
    /// What makes two of them the same cause ([`Diagnostic::fingerprint`]).
    pub fingerprint: String,
    /// Problems, values masked.
    pub diagnostics: Vec<Diagnostic>,
    /// When it was opened.
    pub opened_at: Zeitpunkt,
    /// When it was closed.
    pub closed_at: Option<Zeitpunkt>,
    /// The submission it is about.
    pub submission_id: SubmissionId,
    /// The message, where it is about one.
    pub message_id: Option<MessageId>,
    /// The delivery, where it is about one.
    pub delivery_id: Option<DeliveryId>,
    /// Route, receiver and mapping, where it is about a message or one that was to be made.
    pub origin: Option<Origin>,
}

/// Where a Klärungsfall comes from: what was made for whom by which state of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The route's name.
    pub route: String,
    /// The receiver's name in the tenant's configuration.
    pub receiver: String,
    /// Mapping's name.
    pub mapping: String,
    /// Mapping's hash.
    pub mapping_hash: ContentHash,
    /// The version that its author gave it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_version: Option<String>,
}

/// Open Klärungsfälle of one cause with one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OriginCount {
    /// Where they come from.
    pub origin: Origin,
    /// How many are open.
    pub count: u64,
    /// The oldest one's opening.
    pub oldest: Zeitpunkt,
}

/// Open Klärungsfälle of one cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkItemGroup {
    /// The Mandant.
    pub tenant: TenantId,
    /// The cause.
    pub fingerprint: String,
    /// How many are open.
    pub count: u64,
    /// The oldest one's opening.
    pub oldest: Zeitpunkt,
    /// The newest one's opening.
    pub newest: Zeitpunkt,
    /// The oldest of them.
    pub sample: WorkItemRecord,
    /// Where they come from, the oldest first, at most [`WorkItemGroup::ORIGINS`]. Those without an origin (e.g. no
    /// route took the submission) are in `count` alone.
    pub origins: Vec<OriginCount>,
}

impl WorkItemGroup {
    /// Origins that one group names at most.
    pub const ORIGINS: u32 = 50;
}

/// A value that a person laid over one of the document. Both are personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CorrectionRecord {
    /// Number among the submission's, from 1; of two for one field the later one counts.
    pub seq: u32,
    /// When.
    pub at: Zeitpunkt,
    /// The field, as diagnostics name it.
    pub path: String,
    /// What it held before, earlier corrections included; `None` where it was not there.
    pub before: Option<String>,
    /// What it holds now.
    pub after: String,
    /// The person's reason.
    pub reason: String,
    /// The person.
    pub who: String,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRecord {
    /// When.
    pub at: Zeitpunkt,
    /// What, as one word; see [`crate::steps::event`].
    pub kind: String,
    /// The submission.
    pub submission_id: SubmissionId,
    /// The message, where it is about one.
    pub message_id: Option<MessageId>,
    /// The delivery, where it is about one.
    pub delivery_id: Option<DeliveryId>,
    /// Parameters of the sentence, without personal data.
    pub params: serde_json::Value,
}

/// Everything about one submission, each list in order of time.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each member is named by its type
pub struct SubmissionDetail {
    pub submission: SubmissionRecord,
    pub corrections: Vec<CorrectionRecord>,
    pub messages: Vec<MessageRecord>,
    pub deliveries: Vec<DeliveryRecord>,
    pub attempts: Vec<AttemptRecord>,
    pub work_items: Vec<WorkItemRecord>,
    pub events: Vec<EventRecord>,
}

/// Which submissions; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmissionFilter {
    /// Of this tenant; `None` is for whoever runs the whole instance.
    pub tenant: Option<TenantId>,
    /// In this state.
    pub state: Option<SubmissionState>,
    /// Of this form.
    pub form_id: Option<String>,
    /// With this Vorgangsnummer.
    pub vorgangsnummer: Option<String>,
    /// With this vendor's id.
    pub vendor_id: Option<String>,
    /// With a message for this receiver.
    pub receiver: Option<String>,
    /// Received at or after this moment.
    pub since: Option<Zeitpunkt>,
    /// At most so many, 1 to 1000; 0 stands for 50.
    pub limit: u32,
    /// Continue after this page.
    pub after: Option<Cursor>,
}

/// A place in the list of submissions; opaque to others, safe in addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) received_at: i64,
    pub(crate) submission_id: SubmissionId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.received_at, self.submission_id)
    }
}

impl FromStr for Cursor {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let unknown = || UnknownWord(text.chars().take(64).collect());
        let (at, id) = text.split_once('.').ok_or_else(unknown)?;
        Ok(Self {
            received_at: at.parse().map_err(|_| unknown())?,
            submission_id: id.parse().map_err(|_| unknown())?,
        })
    }
}

/// One page of submissions, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionPage {
    /// The submissions.
    pub items: Vec<SubmissionSummary>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cursor>,
}

/// What a short id or Vorgangsnummer stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The Mandant.
    pub tenant: TenantId,
    /// The submission it is or belongs to.
    pub submission_id: SubmissionId,
    /// That submission's Vorgangsnummer.
    pub vorgangsnummer: String,
    /// What the text named.
    pub id: FoundId,
}

/// The kind of thing that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "id")]
pub enum FoundId {
    /// A submission, by id or Vorgangsnummer.
    Submission(SubmissionId),
    /// A message.
    Message(MessageId),
    /// A delivery.
    Delivery(DeliveryId),
}

/// What is under way and what waits for a person, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Submissions not yet processed, by tenant.
    pub submissions: Vec<OpenSubmissions>,
    /// Deliveries that are neither done nor given up, by tenant, receiver and state.
    pub deliveries: Vec<OpenDeliveries>,
    /// Open Klärungsfälle by tenant and cause, the most frequent first, at most [`Gauges::MOST_CAUSES`].
    pub work_items: Vec<OpenCause>,
    /// Open Klärungsfälle in all.
    pub open_work_items: u64,
}

impl Gauges {
    /// Causes that are told apart; a broken mapping can make many.
    pub const MOST_CAUSES: u32 = 100;
}

/// Submissions of a tenant that are not yet processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSubmissions {
    /// The Mandant.
    pub tenant: TenantId,
    /// How many.
    pub count: u64,
    /// The oldest one's Eingangszeitpunkt.
    pub oldest: Zeitpunkt,
}

/// Deliveries to a receiver that are not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDeliveries {
    /// The Mandant.
    pub tenant: TenantId,
    /// The receiver's name.
    pub lane: String,
    /// Where they stand.
    pub state: DeliveryState,
    /// How many.
    pub count: u64,
    /// When the oldest one's message was made; of one that settles a source, when it was due.
    pub oldest: Zeitpunkt,
}

/// Open Klärungsfälle of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCause {
    /// The Mandant.
    pub tenant: TenantId,
    /// The cause; begins with the code.
    pub fingerprint: String,
    /// How many.
    pub count: u64,
    /// The oldest one's opening.
    pub oldest: Zeitpunkt,
}

/// How many of what, for metrics and overview.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Submissions by state.
    pub submissions: std::collections::BTreeMap<String, u64>,
    /// Deliveries by state.
    pub deliveries: std::collections::BTreeMap<String, u64>,
    /// Open Klärungsfälle.
    pub open_work_items: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words in the first column of the tables below a heading of docs/zustaende.md.
    fn documented(heading: &str) -> BTreeSet<String> {
        let page = include_str!("../../../docs/zustaende.md");
        let section =
            page.split("\n## ").find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'));
        let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
    }

    #[test]
    fn every_state_is_documented_and_no_other() {
        fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> BTreeSet<String> {
            all.iter().map(|one| word(*one).to_owned()).collect()
        }
        assert_eq!(documented("Eingang"), words(SubmissionState::ALL, SubmissionState::as_str));
        assert_eq!(documented("Sendung"), words(MessageState::ALL, MessageState::as_str));
        assert_eq!(documented("Zustellung"), words(DeliveryState::ALL, DeliveryState::as_str));
        assert_eq!(documented("Versuch: Art"), words(AttemptKind::ALL, AttemptKind::as_str));
        assert_eq!(documented("Versuch: Ausgang"), words(AttemptOutcome::ALL, AttemptOutcome::as_str));
    }
}
