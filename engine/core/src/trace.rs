// SPDX-License-Identifier: EUPL-1.2
//! The trace of a submission, as OpenTelemetry understands one. Its id is the submission's and the ids of its spans
//! come from those of messages and attempts: nothing has to be stored, and whichever process works on a submission,
//! on whichever machine and however late, adds to the same trace.
//!
//! What a span may say is a list of [`Fact`]s. None of them takes free text, so that no value of an application, no
//! file name and no sentence of a problem can get into a trace.

use std::{borrow::Cow, fmt};

use crate::{
    clock::Zeitpunkt,
    codes,
    diagnostic::Diagnostic,
    hash::ContentHash,
    ids::{AttemptId, DeliveryId, MessageId, SubmissionId, TenantId},
    sendung::Level,
};

/// A trace: the 16 bytes of the submission's UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The trace of a submission.
    pub fn of(submission: SubmissionId) -> Self {
        Self(submission.0.into_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// The span that does `what` for the thing with these ids: the same facts give the same id in every process.
    pub fn of(what: &str, ids: &[&[u8]]) -> Self {
        let digest =
            ContentHash::of_parts(std::iter::once((what, &[][..])).chain(ids.iter().map(|id| ("", *id))));
        let mut id = [0; 8];
        id.copy_from_slice(&digest.as_bytes()[..8]);
        // Eight zero bytes are no id (W3C Trace Context, section 3.2.2.4).
        id[7] |= u8::from(id == [0; 8]);
        Self(id)
    }

    /// The raw id.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which side of a conversation a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Neither: work of our own.
    Internal,
    /// Answers someone who waits.
    Server,
    /// Asks someone and waits.
    Client,
}

/// A diagnostic code: one that has a page, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static str);

impl Code {
    /// The code of a problem; of one without a page nothing can be said.
    pub fn of(problem: &Diagnostic) -> Self {
        Self(codes::page(&problem.code).map_or("KOP", |page| page.code))
    }

    /// The code as text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// One thing that a span says. Names are those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The Mandant.
    Tenant(TenantId),
    /// The submission.
    Submission(SubmissionId),
    /// The source's short name.
    Source(&'static str),
    /// The same submission came before.
    Repeated,
    /// How often it was claimed for processing.
    Run(u32),
    /// The message.
    Message(MessageId),
    /// The message that a person had this one made instead of.
    Replaces(MessageId),
    /// The delivery.
    Delivery(DeliveryId),
    /// The attempt.
    Attempt(AttemptId),
    /// Its number among the attempts to send.
    Number(u32),
    /// The route.
    Route(String),
    /// The mapping.
    Mapping(String),
    /// The receiver.
    Receiver(String),
    /// The kind of connector that reaches it.
    Connector(String),
    /// How it ended, as one of the documented words.
    Outcome(&'static str),
    /// How far a delivery got.
    Level(Level),
    /// A Klärungsfall was opened.
    WorkItem,
    /// The process that did it ended meanwhile.
    Interrupted,
    /// All codes, where there is more than the one of [`Span::error`].
    Codes(Vec<Code>),
}

/// The value of a [`Fact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactValue<'a> {
    /// A word or an id.
    Text(Cow<'a, str>),
    /// A number.
    Number(u32),
    /// It is so.
    True,
    /// Several codes.
    Codes(&'a [Code]),
}

impl Fact {
    /// The attribute's name and value.
    pub fn attribute(&self) -> (&'static str, FactValue<'_>) {
        let id = |id: &dyn fmt::Display| FactValue::Text(Cow::Owned(id.to_string()));
        let word = |word| FactValue::Text(Cow::Borrowed(word));
        match self {
            Self::Tenant(tenant) => ("kop.mandant", word(tenant.as_str())),
            Self::Submission(submission) => ("kop.eingang", id(submission)),
            Self::Source(source) => ("kop.quelle", word(source)),
            Self::Repeated => ("kop.wiederholt", FactValue::True),
            Self::Run(run) => ("kop.lauf", FactValue::Number(*run)),
            Self::Message(message) => ("kop.sendung", id(message)),
            Self::Replaces(message) => ("kop.ersetzt", id(message)),
            Self::Delivery(delivery) => ("kop.zustellung", id(delivery)),
            Self::Attempt(attempt) => ("kop.versuch", id(attempt)),
            Self::Number(number) => ("kop.versuch.nummer", FactValue::Number(*number)),
            Self::Route(name) => ("kop.route", word(name)),
            Self::Mapping(name) => ("kop.zuordnung", word(name)),
            Self::Receiver(name) => ("kop.empfaenger", word(name)),
            Self::Connector(kind) => ("kop.zustellart", word(kind)),
            Self::Outcome(outcome) => ("kop.ausgang", word(outcome)),
            Self::Level(level) => ("kop.stufe", word(level.as_str())),
            Self::WorkItem => ("kop.klaerungsfall", FactValue::True),
            Self::Interrupted => ("kop.unterbrochen", FactValue::True),
            Self::Codes(codes) => ("kop.codes", FactValue::Codes(codes)),
        }
    }
}

/// A span that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// What it is a part of; `None` for the first one of the trace.
    pub parent: Option<SpanId>,
    /// What was done; one of a few words.
    pub name: &'static str,
    /// Which side of a conversation it is.
    pub kind: SpanKind,
    /// When it began.
    pub start: Zeitpunkt,
    /// When it ended; never before its start, whatever the machine's clock did meanwhile.
    pub end: Zeitpunkt,
    /// What it says.
    pub facts: Vec<Fact>,
    /// Why it failed.
    pub error: Option<Code>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_nothing_but_what_they_name() {
        let submission = SubmissionId("0190f3a2-7c1e-7d4b-8a55-0123456789ab".parse().unwrap());
        assert_eq!(TraceId::of(submission).to_string(), "0190f3a27c1e7d4b8a550123456789ab");
        let id = |what, ids: &[&[u8]]| SpanId::of(what, ids).to_string();
        // Written down, because processes of other versions add to the same trace.
        assert_eq!(id("annahme", &[submission.0.as_bytes()]), "3c3467ef4f65ef2a");
        assert_ne!(id("annahme", &[submission.0.as_bytes()]), id("sendung", &[submission.0.as_bytes()]));
        assert_ne!(id("a", &[b"bc", b"d"]), id("a", &[b"b", b"cd"]));
        assert_ne!(id("ab", &[b"c"]), id("a", &[b"bc"]));
    }

    #[test]
    fn a_level_is_told_as_it_is_stored() {
        for level in [Level::Uebergeben, Level::Transportiert, Level::Empfangen, Level::Angenommen] {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
        }
    }

    #[test]
    fn a_code_without_a_page_is_not_repeated() {
        let mut problem = Diagnostic::new("KOP-M002", "", "").with_value("Erika Mustermann");
        assert_eq!(Code::of(&problem).as_str(), "KOP-M002");
        problem.code = "Erika Mustermann".to_owned();
        assert_eq!(Code::of(&problem).as_str(), "KOP");
    }
}
