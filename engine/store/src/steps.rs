// SPDX-License-Identifier: EUPL-1.2
//! What a store is told: the steps of a submission's life and the leases that guard them.

use std::{sync::Arc, time::Duration};

use kop_core::{
    AttemptId, ContentHash, DeliveryId, Diagnostic, LaneLimits, MessageId, Order, Part, Receipt,
    SubmissionId, TenantId, Ticket, VorgangId, WhenParked, WorkItemId, clock::Zeitpunkt, diagnostic::Class,
};

use crate::{
    records::{
        AttemptRecord, DeliveryRecord, MessageRecord, Origin, PayloadPart, SubmissionRecord, SubmissionState,
    },
    settlement::NewSettlement,
};

/// What the store assigns while it accepts; both belong into the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// `<prefix>-<year>-<6 digits>`, counted per tenant, prefix and year.
    pub vorgangsnummer: String,
    /// Eingangszeitpunkt, exact to the microsecond.
    pub received_at: Zeitpunkt,
}

/// Renders the document once the Vorgangsnummer is known. Runs inside the transaction, so it must be quick
/// and touch nothing. The error's text must hold no values.
pub type RenderDocument = Box<dyn FnOnce(&Assigned) -> Result<Vec<u8>, String> + Send>;

/// A submission to be stored. Its blobs must be finished already.
pub struct NewSubmission {
    /// The Mandant.
    pub tenant: TenantId,
    /// Made by the caller.
    pub submission_id: SubmissionId,
    /// Made by the caller.
    pub vorgang_id: VorgangId,
    /// The source's short name.
    pub source: String,
    /// Vendor's id, else the content hash as text; the idempotency key together with tenant and source.
    pub idem_key: String,
    /// Hash over the whole payload.
    pub content_hash: ContentHash,
    /// The vendor's id, for search.
    pub vendor_id: Option<String>,
    /// Form id.
    pub form_id: Option<String>,
    /// Form title.
    pub form_name: Option<String>,
    /// Prefix of the Vorgangsnummer.
    pub number_prefix: String,
    /// Year of the Vorgangsnummer, in the tenant's time zone.
    pub number_year: i16,
    /// Makes the document.
    pub document: RenderDocument,
    /// The payload's files, envelope included.
    pub payload: Vec<PayloadPart>,
    /// Klärungsfälle about what the adapter remarked.
    pub remarks: Vec<NewWorkItem>,
    /// The Klärungsfall to open when the key was used before for other content.
    pub conflict: NewWorkItem,
    /// Further lines of the timeline.
    pub events: Vec<NewEvent>,
    /// The source waits to be told; also when the submission is stored already.
    pub settlement: Option<NewSettlement>,
}

/// A stored submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The submission.
    pub submission_id: SubmissionId,
    /// The Vorgang.
    pub vorgang_id: VorgangId,
    /// What sender and clerk quote.
    pub vorgangsnummer: String,
    /// Eingangszeitpunkt.
    pub received_at: Zeitpunkt,
    /// The same content was stored under this key before: all of the above is the first answer's.
    pub repeated: bool,
    /// The key was used before for other content; stored all the same, with a Klärungsfall.
    pub conflict: bool,
}

/// A Klärungsfall to be opened. What it is about follows from the step, unless `message_id` or
/// `delivery_id` say more.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWorkItem {
    /// Made by the caller.
    pub work_item_id: WorkItemId,
    /// Who can mend it.
    pub class: Class,
    /// The cause.
    pub fingerprint: String,
    /// Problems; only masked values are stored.
    pub diagnostics: Vec<Diagnostic>,
    /// The message it is about.
    pub message_id: Option<MessageId>,
    /// The delivery it is about.
    pub delivery_id: Option<DeliveryId>,
    /// Where it comes from. Of one about a stored message without an origin, the store takes the message's.
    pub origin: Option<Origin>,
}

impl NewWorkItem {
    /// A Klärungsfall whose class and cause are those of the first problem.
    pub fn new(work_item_id: WorkItemId, diagnostics: Vec<Diagnostic>) -> Self {
        let first = diagnostics.first();
        Self {
            work_item_id,
            class: first.map_or(Class::Technisch, |problem| problem.class),
            fingerprint: first.map(Diagnostic::fingerprint).unwrap_or_default(),
            diagnostics,
            message_id: None,
            delivery_id: None,
            origin: None,
        }
    }
}

/// A line for the timeline, beside those that the store writes itself (see [`event`]).
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// One word.
    pub kind: String,
    /// The message it is about.
    pub message_id: Option<MessageId>,
    /// The delivery it is about.
    pub delivery_id: Option<DeliveryId>,
    /// Parameters of the sentence, without personal data.
    pub params: serde_json::Value,
}

/// The lines that the store writes itself, one for every change of state. Parameters in parentheses.
pub mod event {
    /// Submission stored (vorgangsnummer, quelle).
    pub const EINGEGANGEN: &str = "eingegangen";
    /// The same submission came again and got the first answer.
    pub const ERNEUT_EINGEGANGEN: &str = "erneut-eingegangen";
    /// Messages made (nachrichten: count).
    pub const VERARBEITET: &str = "verarbeitet";
    /// Processing put off (bis).
    pub const ZURUECKGESTELLT: &str = "zurueckgestellt";
    /// Message made, but someone should look: code lists that are not there and the like
    /// (hinweise: list of code, ziel, de, en).
    pub const HINWEIS: &str = "hinweis";
    /// Klärungsfall opened (klaerungsfall, code).
    pub const KLAERUNG: &str = "klaerung";
    /// Klärungsfall closed by a person (klaerungsfall, von).
    pub const KLAERUNG_BEENDET: &str = "klaerung-beendet";
    /// Message made (empfaenger, zuordnung).
    pub const NACHRICHT: &str = "nachricht";
    /// Attempt started (versuch: number, art).
    pub const VERSUCH: &str = "versuch";
    /// Delivered (stufe: level).
    pub const ZUGESTELLT: &str = "zugestellt";
    /// Handed over, asked again later (bis).
    pub const NACHVERFOLGT: &str = "nachverfolgt";
    /// Attempt failed, tried again later (um, code).
    pub const WIEDERHOLUNG: &str = "wiederholung";
    /// Refused by the receiver (code).
    pub const ABGEWIESEN: &str = "abgewiesen";
    /// No attempt left (code).
    pub const AUFGEGEBEN: &str = "aufgegeben";
    /// Not known whether it arrived (code).
    pub const UNKLAR: &str = "unklar";
    /// A person had it tried again (von).
    pub const NEU_ANGESTOSSEN: &str = "neu-angestossen";
    /// Not delivered for so long that a person is told; attempts go on (seit).
    pub const VERZOEGERT: &str = "verzoegert";
    /// A person corrected values of the application (felder: paths, von, konto).
    pub const KORRIGIERT: &str = "korrigiert";
    /// A person had another message made instead of this one (durch: its id, version, grund, von).
    pub const ERSETZT: &str = "ersetzt";
    /// Contents deleted because their period was over (tage).
    pub const INHALTE_GELOESCHT: &str = "inhalte-geloescht";
    /// Files were scanned for malware, or could not be (dateien, version, sauber: hashes, nicht_pruefbar: hashes,
    /// funde, freigegeben, code).
    pub const VIRENPRUEFUNG: &str = "virenpruefung";
    /// A person lets files pass that cannot be scanned (von, grund, dateien: hashes).
    pub const FREIGEGEBEN: &str = "freigegeben";
    /// Its source is to be told (quelle, wenn: what must happen first, spaetestens).
    pub const QUITTUNG: &str = "quittung";
    /// What a settlement waited for has happened (wenn).
    pub const QUITTUNG_FAELLIG: &str = "quittung-faellig";
    /// A person saw the application's values unmasked (von).
    pub const EINGESEHEN: &str = "eingesehen";
}

/// The right to process one submission until a moment. A later claim makes it void (fencing token).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionLease {
    /// The Mandant.
    pub tenant: TenantId,
    /// The submission.
    pub submission_id: SubmissionId,
    /// Grows with every claim.
    pub token: u64,
    /// End of the lease.
    pub until: Zeitpunkt,
}

/// The right to work on one delivery until a moment. A later claim makes it void (fencing token).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryLease {
    /// The Mandant.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Grows with every claim.
    pub token: u64,
    /// End of the lease.
    pub until: Zeitpunkt,
}

/// Which submissions to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionClaim {
    /// How long the lease lasts.
    pub lease_for: Duration,
    /// At most so many; tenants take turns.
    pub limit: u32,
    /// Only this one (`kop submit`).
    pub only: Option<(TenantId, SubmissionId)>,
}

/// What a lane may do, as the tenant has configured it.
pub trait Lanes: Send + Sync {
    /// The limits of a lane. Called within the store's step: it must be quick and touch nothing.
    fn limits(&self, tenant: &str, lane: &str) -> LaneLimits;
}

/// Which deliveries to claim.
#[derive(Clone)]
pub struct DeliveryClaim {
    /// How long the lease lasts; longer than the longest send.
    pub lease_for: Duration,
    /// At most so many; tenants and lanes take turns.
    pub limit: u32,
    /// How much of each lane.
    pub lanes: Arc<dyn Lanes>,
    /// Only this one (`kop submit`).
    pub only: Option<(TenantId, DeliveryId)>,
}

/// A claimed submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSubmission {
    /// To be handed back with the result.
    pub lease: SubmissionLease,
    /// What to process.
    pub submission: SubmissionRecord,
}

/// A claimed delivery. When [`DeliveryRecord::ticket`] is there it is a question, else a sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// To be handed back with the result.
    pub lease: DeliveryLease,
    /// The delivery.
    pub delivery: DeliveryRecord,
    /// The bytes to send, by reference.
    pub message: MessageRecord,
    /// The submission's Vorgangsnummer.
    pub vorgangsnummer: String,
    /// The submission's Eingangszeitpunkt.
    pub received_at: Zeitpunkt,
}

/// An attempt that was started and never ended, because the engine stopped or its lease ran out. The lease is
/// fresh: the caller decides by the receiver's repeatability and calls [`crate::Store::finish_attempt`].
#[derive(Clone, Debug, PartialEq)]
pub struct Interrupted {
    /// The delivery, claimed anew.
    pub claimed: ClaimedDelivery,
    /// The attempt without end.
    pub attempt: AttemptRecord,
}

/// Started at once together with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstAttempt {
    /// Made by the caller.
    pub attempt_id: AttemptId,
    /// How long the lease lasts.
    pub lease_for: Duration,
    /// Not started (the delivery waits) when the lane has no room, pauses, or it is not the delivery's turn.
    pub limits: LaneLimits,
}

/// The delivery of a new message; its lane is the message's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Made by the caller.
    pub delivery_id: DeliveryId,
    /// What it must not overtake: deliveries of the lane whose submission came earlier, and submissions that came
    /// earlier and are not processed yet.
    pub order: Order,
    /// Whether those behind it wait once it is `abgewiesen` or in `klaerung`.
    pub when_parked: WhenParked,
    /// A person is told when it is not delivered so long after now, or after it was last tried again by a person.
    pub tell_after: Duration,
    /// No attempt is begun so long after now, or after it was last tried again by a person.
    pub give_up_after: Duration,
    /// Start the first attempt in the same step, so that one commit is saved.
    pub first_attempt: Option<FirstAttempt>,
}

/// A message to be stored. Its blobs must be finished already.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Made by the caller.
    pub message_id: MessageId,
    /// The route's name.
    pub route: String,
    /// The receiver's name in the tenant's configuration.
    pub receiver: String,
    /// The UUID in the message's own head.
    pub nachrichten_uuid: uuid::Uuid,
    /// Version of the engine that made it.
    pub engine_version: String,
    /// Hash of the tenant's configuration that it ran under.
    pub generation: ContentHash,
    /// Mapping's name.
    pub mapping: String,
    /// Mapping's hash.
    pub mapping_hash: ContentHash,
    /// Hash of the schema package it was validated against; `None` for targets without a schema.
    pub schema_package: Option<ContentHash>,
    /// [`kop_core::Sendung::content_hash`].
    pub content_hash: ContentHash,
    /// Main document.
    pub main: Part,
    /// Everything beside it.
    pub parts: Vec<Part>,
    /// What it was made with beside all this, so that it can be made again; the caller's JSON, without personal data.
    pub pinned: serde_json::Value,
    /// How it leaves.
    pub delivery: NewDelivery,
}

/// What became of a claimed submission. With [`SubmissionState::Klaerung`] there should be a work item;
/// messages may be there all the same (one route worked, another did not).
#[derive(Clone, Debug, PartialEq)]
pub struct Processed {
    /// Its new state: [`SubmissionState::Verarbeitet`] or [`SubmissionState::Klaerung`].
    pub state: SubmissionState,
    /// New messages.
    pub messages: Vec<NewMessage>,
    /// New Klärungsfälle.
    pub work_items: Vec<NewWorkItem>,
    /// Further lines of the timeline.
    pub events: Vec<NewEvent>,
}

/// An attempt that is recorded as started: its first byte may leave now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedAttempt {
    /// The lease that [`crate::Store::finish_attempt`] wants.
    pub lease: DeliveryLease,
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Number among the attempts to send, from 1.
    pub number: u32,
    /// [`DeliveryRecord::give_up_at`].
    pub give_up_at: Zeitpunkt,
}

/// A delivery that is not delivered for so long that a person has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The Mandant.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Its receiver.
    pub lane: String,
    /// When its message was made; of one that settles a source, when it was due.
    pub since: Zeitpunkt,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptEnd {
    /// Delivered.
    Delivered(Receipt),
    /// Handed over; ask at `until`.
    Pending {
        /// What to ask with.
        ticket: Ticket,
        /// When to ask.
        until: Zeitpunkt,
    },
    /// Failed; try (or, for a question, ask) again at `at`.
    Retry {
        /// When.
        at: Zeitpunkt,
        /// Why.
        problem: Diagnostic,
    },
    /// Not known whether it arrived, and the receiver bears being told twice: the same bytes again at `at`.
    Unclear {
        /// When.
        at: Zeitpunkt,
        /// Why.
        problem: Diagnostic,
    },
    /// Failed and no attempt is left.
    GivenUp {
        /// Why.
        problem: Diagnostic,
        /// For a person.
        work_item: NewWorkItem,
    },
    /// The receiver refused it.
    Rejected {
        /// Why.
        problem: Diagnostic,
        /// For a person.
        work_item: NewWorkItem,
    },
    /// Not known whether it arrived, and a person must decide.
    Unknown {
        /// Why.
        problem: Diagnostic,
        /// For a person.
        work_item: NewWorkItem,
    },
}

/// Values that a person lays over those of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCorrections {
    /// The submission.
    pub submission_id: SubmissionId,
    /// The last correction that the person saw; 0 for none.
    pub seen: u32,
    /// The values.
    pub corrections: Vec<NewCorrection>,
    /// The person's reason.
    pub reason: String,
    /// The person who answers for it.
    pub who: String,
    /// The account that it was entered under.
    pub account: String,
}

/// One corrected value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCorrection {
    /// The field.
    pub path: String,
    /// What it held.
    pub before: Option<String>,
    /// What it is to hold.
    pub after: String,
}

/// A correction in another form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenCorrection {
    /// Its number.
    pub seq: u32,
    /// What the field held.
    pub before: Option<String>,
    /// What it is to hold.
    pub after: String,
    /// The person's reason.
    pub reason: String,
}

/// A message that a person had made instead of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// The message that it takes the place of.
    pub earlier: MessageId,
    /// The new one; its delivery waits to be claimed, whatever `first_attempt` says.
    pub message: NewMessage,
    /// Which state of the mapping made it, as one word for the timeline.
    pub version: String,
    /// The person.
    pub who: String,
    /// The person's reason.
    pub reason: String,
    /// Also when the earlier one has arrived, or may have.
    pub despite: bool,
}

/// What a person wants tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryTarget {
    /// A refused or unclear delivery, or one that waits: the same bytes go out now.
    Delivery(DeliveryId),
    /// A submission in Klärung: it is processed anew. Whoever processes it leaves out what has its message already.
    Submission(SubmissionId),
}

/// Contents of a submission as they are to be stored from now on, under another key: the same for whoever can open
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The submission.
    pub submission_id: SubmissionId,
    /// Its document.
    pub document: Vec<u8>,
    /// Its payload's files; the same blobs.
    pub payload: Vec<PayloadPart>,
    /// Main document and parts of its messages; the same blobs.
    pub messages: Vec<(MessageId, Part, Vec<Part>)>,
    /// Its corrections, by their numbers.
    pub corrections: Vec<RewrittenCorrection>,
}

/// Who looked at what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The Mandant.
    pub tenant: TenantId,
    /// The person, as the system knows them.
    pub who: String,
    /// What was done, e.g. `reveal`.
    pub what: String,
    /// The submission that was looked at.
    pub submission_id: Option<SubmissionId>,
}
