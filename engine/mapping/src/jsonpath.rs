// SPDX-License-Identifier: EUPL-1.2
//! JSONPath (RFC 9535) for routing conditions, parsed once; which library does it stays in this file.

use jsonpath_rust::{
    parser::{model::JpQuery, parse_json_path},
    query::js_path_process,
};
use kop_core::{Diagnostic, diagnostic::Place};

/// Longest accepted expression in bytes.
const MAX_BYTES: usize = 2_000;

/// A parsed JSONPath.
#[derive(Clone, Debug)]
pub struct JsonPath {
    text: String,
    query: JpQuery,
}

impl JsonPath {
    /// Parses an expression; `place` says where it stands in the configuration. Error: KOP-M012.
    pub fn parse(text: &str, place: Option<&Place>) -> Result<Self, Box<Diagnostic>> {
        let problem = |detail: String| {
            let mut problem = Diagnostic::new(
                "KOP-M012",
                "Der JSONPath-Ausdruck ist fehlerhaft.",
                "The JSONPath expression is malformed.",
            )
            .with_hint("Form: $.kopf.formularId oder $.formData[?@.name=='art']")
            .with_detail(detail);
            problem.place = place.cloned();
            Box::new(problem)
        };
        if text.len() > MAX_BYTES {
            return Err(problem("longer than 2000 bytes".into()));
        }
        match parse_json_path(text.trim()) {
            Ok(query) => Ok(Self { text: text.trim().to_owned(), query }),
            Err(error) => Err(problem(error.to_string())),
        }
    }

    /// Whether the expression finds anything in the document.
    pub fn matches(&self, document: &serde_json::Value) -> bool {
        js_path_process(&self.query, document).is_ok_and(|found| !found.is_empty())
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_or_does_not_and_names_mistakes() {
        let document = serde_json::json!({"kopf": {"formularId": "a"}, "formData": [{"name": "art", "wert": {"text": "x"}}]});
        for (path, found) in [
            ("$.kopf.formularId", true),
            ("$.kopf.leistung", false),
            ("$.formData[?@.name=='art']", true),
            ("$.formData[?@.name=='unart']", false),
        ] {
            assert_eq!(JsonPath::parse(path, None).unwrap().matches(&document), found, "{path}");
        }
        assert_eq!(JsonPath::parse("$.[", None).unwrap_err().code, "KOP-M012");
        assert!(JsonPath::parse(&"$.a[?(".repeat(300), None).is_err());
    }
}
