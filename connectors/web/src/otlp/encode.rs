// SPDX-License-Identifier: EUPL-1.2
//! Spans as an `ExportTraceServiceRequest` (opentelemetry-proto, `collector/trace/v1`) in the JSON Protobuf encoding of
//! OTLP 1.x, section "OTLP/HTTP": keys in lowerCamelCase, ids in hexadecimal digits, 64-bit numbers as decimal
//! strings, enums as numbers. And the answer to it.

use kop_core::{
    Span, Zeitpunkt,
    trace::{FactValue, SpanKind},
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};

use super::Resource;
use crate::answer::shorten;

/// `Status.StatusCode.STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// The request's body.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let attributes = [
        text("service.name", resource.name),
        text("service.version", resource.version),
        text("service.instance.id", &resource.instance),
    ];
    let scope = Scope { name: "kop-flow", version: resource.version };
    let whole = Request {
        resource_spans: [ResourceSpans {
            resource: Attributes { attributes: &attributes },
            scope_spans: [ScopeSpans { scope, spans: Spans(spans) }],
        }],
    };
    // Nothing in it can fail to be written: no map with keys that are no text, no writer but memory.
    serde_json::to_vec(&whole).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Attributes<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Attributes<'a> {
    attributes: &'a [KeyValue<'a>],
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope<'a>,
    spans: Spans<'a>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'a str,
    version: &'a str,
}

struct Spans<'a>(&'a [Span]);

impl Serialize for Spans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for span in self.0 {
            list.serialize_element(&WireSpan::of(span))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireSpan<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
struct Status<'a> {
    message: &'a str,
    code: u8,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(std::borrow::Cow<'a, str>),
    #[serde(rename = "intValue")]
    Number(String),
    #[serde(rename = "boolValue")]
    Flag(bool),
    #[serde(rename = "arrayValue")]
    List { values: Vec<AnyValue<'a>> },
}

fn text<'a>(key: &'a str, value: &'a str) -> KeyValue<'a> {
    KeyValue { key, value: AnyValue::Text(value.into()) }
}

impl<'a> WireSpan<'a> {
    fn of(span: &'a Span) -> Self {
        let mut attributes: Vec<_> = span
            .facts
            .iter()
            .map(|fact| {
                let (key, value) = fact.attribute();
                KeyValue { key, value: value.into() }
            })
            .collect();
        if let Some(code) = span.error {
            // Semantic conventions, "Recording errors": the class of the error, of which there are few.
            attributes.push(text("error.type", code.as_str()));
        }
        Self {
            trace_id: span.trace.to_string(),
            span_id: span.id.to_string(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            name: span.name,
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
            start_time_unix_nano: nanoseconds(span.start),
            end_time_unix_nano: nanoseconds(span.end),
            attributes,
            status: span.error.map(|code| Status { message: code.as_str(), code: ERROR }),
        }
    }
}

impl<'a> From<FactValue<'a>> for AnyValue<'a> {
    fn from(value: FactValue<'a>) -> Self {
        match value {
            FactValue::Text(text) => Self::Text(text),
            FactValue::Number(number) => Self::Number(number.to_string()),
            FactValue::True => Self::Flag(true),
            FactValue::Codes(codes) => {
                Self::List { values: codes.iter().map(|code| Self::Text(code.as_str().into())).collect() }
            }
        }
    }
}

/// `fixed64`: since 1970, before which no span began.
fn nanoseconds(at: Zeitpunkt) -> String {
    u64::try_from(at.as_nanosecond()).unwrap_or_default().to_string()
}

/// What a collector says of spans that it took in part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) rejected: u64,
    /// One line, shortened.
    pub(super) message: String,
}

/// Reads an `ExportTraceServiceResponse`. One that cannot be read says nothing, and then all was taken.
pub(super) fn partial(body: &[u8]) -> Option<Partial> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        partial_success: Option<Success>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Success {
        rejected_spans: Int64,
        error_message: String,
    }
    /// Protobuf's JSON mapping takes both.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Int64 {
        Text(String),
        Number(u64),
    }
    impl Default for Int64 {
        fn default() -> Self {
            Self::Number(0)
        }
    }
    let said = serde_json::from_slice::<Response>(body).ok()?.partial_success?;
    let rejected = match said.rejected_spans {
        Int64::Text(text) => text.parse().unwrap_or_default(),
        Int64::Number(number) => number,
    };
    let message = shorten(&said.error_message);
    (rejected > 0 || !message.is_empty()).then_some(Partial { rejected, message })
}

#[cfg(test)]
mod tests {
    use kop_core::{
        Diagnostic, SubmissionId,
        trace::{Code, Fact, SpanId, TraceId},
    };
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn spans_are_written_as_the_protocol_wants() {
        let submission = SubmissionId("0190f3a2-7c1e-7d4b-8a55-0123456789ab".parse().unwrap());
        let (root, own) = (SpanId::of("annahme", &[b"1"]), SpanId::of("versuch", &[b"2"]));
        let code = |code: &str| Code::of(&Diagnostic::new(code, "Erika", "Erika").with_value("Mustermann"));
        let first = Span {
            trace: TraceId::of(submission),
            id: root,
            parent: None,
            name: "annahme",
            kind: SpanKind::Server,
            start: "2026-03-01T10:00:00.123456789Z".parse().unwrap(),
            end: "2026-03-01T10:00:01Z".parse().unwrap(),
            facts: vec![Fact::Submission(submission), Fact::Run(7), Fact::WorkItem],
            error: None,
        };
        let second = Span {
            id: own,
            parent: Some(root),
            kind: SpanKind::Client,
            facts: vec![Fact::Codes(vec![code("KOP-Z013"), code("KOP-Z014")])],
            error: Some(code("KOP-Z013")),
            ..first.clone()
        };
        let resource = Resource {
            name: "kop",
            version: "1.2.3",
            instance: "0190f3a2-0000-7000-8000-000000000000".into(),
        };
        let written: Value = serde_json::from_slice(&request(&resource, &[first, second])).unwrap();
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "kop"}},
                {"key": "service.version", "value": {"stringValue": "1.2.3"}},
                {"key": "service.instance.id", "value": {"stringValue": "0190f3a2-0000-7000-8000-000000000000"}}
            ]},
            "scopeSpans": [{"scope": {"name": "kop-flow", "version": "1.2.3"}, "spans": [
                {
                    "traceId": "0190f3a27c1e7d4b8a550123456789ab", "spanId": root.to_string(),
                    "name": "annahme", "kind": 2,
                    "startTimeUnixNano": "1772359200123456789", "endTimeUnixNano": "1772359201000000000",
                    "attributes": [
                        {"key": "kop.eingang",
                         "value": {"stringValue": "0190f3a2-7c1e-7d4b-8a55-0123456789ab"}},
                        {"key": "kop.lauf", "value": {"intValue": "7"}},
                        {"key": "kop.klaerungsfall", "value": {"boolValue": true}}
                    ]
                },
                {
                    "traceId": "0190f3a27c1e7d4b8a550123456789ab", "spanId": own.to_string(),
                    "parentSpanId": root.to_string(),
                    "name": "annahme", "kind": 3,
                    "startTimeUnixNano": "1772359200123456789", "endTimeUnixNano": "1772359201000000000",
                    "attributes": [
                        {"key": "kop.codes", "value": {"arrayValue": {"values": [
                            {"stringValue": "KOP-Z013"}, {"stringValue": "KOP-Z014"}
                        ]}}},
                        {"key": "error.type", "value": {"stringValue": "KOP-Z013"}}
                    ],
                    "status": {"message": "KOP-Z013", "code": 2}
                }
            ]}]
        }]});
        assert_eq!(written, expected);
    }

    #[test]
    fn an_answer_in_part_is_understood_in_both_writings() {
        let of = |text: &str| partial(text.as_bytes());
        let said = |rejected, message: &str| Some(Partial { rejected, message: message.to_owned() });
        assert_eq!(of(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"a\r\nb"}}"#), said(3, "a b"));
        assert_eq!(of(r#"{"partialSuccess":{"rejectedSpans":3}}"#), said(3, ""));
        assert_eq!(of(r#"{"partialSuccess":{"errorMessage":"warning"}}"#), said(0, "warning"));
        for silent in ["", "{}", "[]", "{\"partialSuccess\":{}}", "{\"partialSuccess\":null}", "\u{0}{"] {
            assert_eq!(of(silent), None, "{silent:?}");
        }
    }
}
