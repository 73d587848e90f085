// SPDX-License-Identifier: EUPL-1.2
//! What a receiver's answer, or its silence, means for a delivery. Pure but for reading the answer's body,
//! which is bounded.

use std::time::Duration;

use jiff::fmt::rfc2822;
use kop_core::{Diagnostic, Outcome, Receipt, Zeitpunkt, sendung::Level};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER},
};

use crate::{body::Progress, problem};

/// No more of an answer is read.
pub(crate) const LARGEST_ANSWER: usize = 64 * 1024;

/// Longest text of an answer that is kept.
const LONGEST_TEXT: usize = 200;

/// Longest reference; a longer one is left out, because half of it leads nowhere.
const LONGEST_REFERENCE: usize = 500;

/// No receiver puts a delivery off for longer at a time.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// The answer's facts that count.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) reference: Option<String>,
    pub(crate) after: Option<Duration>,
    pub(crate) text: Option<String>,
}

impl Answer {
    /// Takes the head of an answer.
    pub(crate) fn of(response: &Response, reference: &HeaderName, now: Zeitpunkt) -> Self {
        let headers = response.headers();
        Self {
            status: response.status(),
            reference: header(headers, reference).and_then(self::reference),
            after: header(headers, &RETRY_AFTER).and_then(|text| retry_after(text, now)),
            text: None,
        }
    }

    /// The outcome of an exchange that ended with this answer; `complete` tells whether the whole request
    /// had been handed over by then.
    pub(crate) fn outcome(self, complete: bool) -> Outcome {
        let Self { status, reference, after, text } = self;
        let told = |problem: Diagnostic| match &text {
            // The receiver may quote from the application, so its words are a value and are masked.
            Some(text) => problem.with_value(text),
            None => problem,
        };
        match status.as_u16() {
            200..=299 if complete => Outcome::Receipt(Receipt { level: Level::Empfangen, reference }),
            200..=299 => Outcome::Unknown(problem::unclear_answer(format!(
                "{} before the whole request was sent",
                problem::words(status)
            ))),
            401 | 403 | 407 => problem::access_refused_outcome(status, after),
            // A gateway speaks, and does not know what the receiver behind it did with the message.
            502 | 504 => Outcome::Unknown(told(problem::unclear_answer(problem::words(status)))),
            408 | 425 | 429 | 500..=599 => Outcome::Retry { after, problem: told(problem::busy(status)) },
            300..=399 | 404 | 405 | 410 => Outcome::Reject(told(problem::wrong_address(status))),
            400..=499 => Outcome::Reject(told(problem::rejected(status))),
            _ => Outcome::Unknown(problem::unclear_answer(problem::words(status))),
        }
    }
}

/// The exchange broke before an answer came.
pub(crate) fn broken(error: &reqwest::Error, progress: &Progress) -> Outcome {
    if let Some(failure) = progress.failure() {
        // Broken off by us before the end, and the announced length shows it: no request arrived.
        problem::retry(failure.clone())
    } else if error.is_connect() {
        problem::retry(problem::no_connection(error))
    } else if error.is_builder() {
        problem::retry(problem::not_set_up("the request cannot be built"))
    } else {
        // Also when the body was not asked for yet: the head may have left.
        Outcome::Unknown(problem::no_answer(problem::root_cause(error)))
    }
}

/// The time is up.
pub(crate) fn late(progress: &Progress) -> Outcome {
    if let Some(failure) = progress.failure() {
        problem::retry(failure.clone())
    } else if progress.started() {
        Outcome::Unknown(problem::no_answer("time limit reached"))
    } else {
        problem::retry(problem::unreachable("time limit reached"))
    }
}

/// Reads the answer's text, as far as it is one; a broken or endless body gives none. Also after success the
/// body is taken in, so that the receiver does not see the connection break while it answers.
pub(crate) async fn text(mut response: Response) -> Option<String> {
    let is_text = header(response.headers(), &CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.starts_with("text/") || kind.contains("json") || kind.contains("xml")
    });
    let mut body = Vec::new();
    while body.len() < LARGEST_ANSWER {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = LARGEST_ANSWER - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    is_text.then(|| shorten(&String::from_utf8_lossy(&body))).filter(|text| !text.is_empty())
}

/// One line without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > 4 * LONGEST_TEXT {
            break;
        }
    }
    out.chars().take(LONGEST_TEXT).collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

fn reference(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.len() <= LONGEST_REFERENCE && !text.contains(char::is_control);
    plain.then(|| text.to_owned())
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date. One in the past means at once.
pub(crate) fn retry_after(text: &str, now: Zeitpunkt) -> Option<Duration> {
    let text = text.trim();
    let pause = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(LONGEST_PAUSE, Duration::from_secs)
    } else {
        let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(until.duration_since(now)).unwrap_or_default()
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wished_pause_is_understood_and_bounded() {
        let now = "2026-03-01T10:00:00Z".parse().unwrap();
        let seconds = |text| retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 01 Mar 2026 10:05:00 GMT"), Some(300));
        assert_eq!(seconds("Sun, 01 Mar 2026 09:00:00 GMT"), Some(0));
        assert_eq!(seconds("Tue, 01 Mar 2033 10:05:00 GMT"), Some(86400));
        assert_eq!(seconds("99999999999999999999999999"), Some(86400));
        for nonsense in ["", "-5", "1.5", "morgen", "Sun, 99 Mar 2026 10:05:00 GMT"] {
            assert_eq!(seconds(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn answers_become_one_short_line() {
        assert_eq!(shorten(" a\r\n\tb\u{1b}[31m\u{0} c "), "a b [31m c");
        assert_eq!(shorten(&"ä".repeat(1000)).chars().count(), LONGEST_TEXT);
        assert_eq!(reference(" /vorgang/7 ").as_deref(), Some("/vorgang/7"));
        assert_eq!(reference(&"x".repeat(LONGEST_REFERENCE + 1)), None);
        assert_eq!(reference("a\tb"), None);
    }

    #[test]
    fn every_status_means_something() {
        let kind = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            match (Answer { status, reference: None, after: None, text: None }).outcome(true) {
                Outcome::Receipt(receipt) => (format!("{:?}", receipt.level), String::new()),
                Outcome::Pending(_) => unreachable!(),
                Outcome::Retry { problem, .. } => ("retry".to_owned(), problem.code),
                Outcome::Reject(problem) => ("reject".to_owned(), problem.code),
                Outcome::Unknown(problem) => ("unknown".to_owned(), problem.code),
            }
        };
        let all = |statuses: &[u16], expected: &str, code: &str| {
            for status in statuses {
                assert_eq!(kind(*status), (expected.to_owned(), code.to_owned()), "{status}");
            }
        };
        all(&[200, 201, 202, 204], "Empfangen", "");
        all(&[401, 403, 407], "retry", "KOP-Z012");
        all(&[408, 425, 429, 500, 501, 503, 507, 599], "retry", "KOP-Z013");
        all(&[400, 409, 413, 415, 422, 451], "reject", "KOP-Z014");
        all(&[300, 301, 302, 304, 307, 308, 404, 405, 410], "reject", "KOP-Z015");
        all(&[101, 502, 504, 600, 999], "unknown", "KOP-Z017");
    }
}
