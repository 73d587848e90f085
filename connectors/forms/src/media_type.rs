// SPDX-License-Identifier: EUPL-1.2
//! Reads a Content-Type header (RFC 9110 section 8.3.1, RFC 2045 section 5.1). Knows nothing of bodies.

use http::HeaderMap;

/// A media type and its parameters.
#[derive(Debug, Default)]
pub(crate) struct MediaType {
    /// `type/subtype` in lower case; empty when the header is missing.
    pub(crate) essence: String,
    params: Vec<(String, String)>,
}

impl MediaType {
    /// The Content-Type of a request or part.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(Self::parse)
            .unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut params = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches(|c: char| c == ';' || c.is_whitespace()).to_lowercase();
            let after = after.trim_start();
            let value;
            if let Some(quoted) = after.strip_prefix('"') {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '\\' => text.extend(chars.next().map(|(_, c)| c)),
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        c => text.push(c),
                    }
                }
                value = text;
                rest = quoted[end..].split_once(';').map_or("", |(_, rest)| rest);
            } else {
                let (token, next) = after.split_once(';').unwrap_or((after, ""));
                value = token.trim().to_owned();
                rest = next;
            }
            params.push((name, value));
        }
        Self { essence: essence.trim().to_lowercase(), params }
    }

    /// A parameter by its lower-case name.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The multipart boundary, when it is one that RFC 2046 section 5.1.1 allows in length.
    pub(crate) fn boundary(&self) -> Option<&str> {
        self.param("boundary").filter(|boundary| (1..=200).contains(&boundary.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::MediaType;

    #[test]
    fn reads_what_soap_stacks_send() {
        let header = r#"Multipart/Related; type="application/xop+xml"; boundary="uuid:a;b=c"; start="<root@x>";start-info="text/xml""#;
        let media = MediaType::parse(header);
        assert_eq!(media.essence, "multipart/related");
        assert_eq!(media.boundary(), Some("uuid:a;b=c"));
        assert_eq!(media.param("start"), Some("<root@x>"));
        assert_eq!(media.param("start-info"), Some("text/xml"));
        assert_eq!(MediaType::parse("multipart/form-data; boundary=----x").boundary(), Some("----x"));
        assert_eq!(MediaType::parse("multipart/form-data").boundary(), None);
        assert_eq!(MediaType::parse("a/b; boundary=\"never closed").boundary(), Some("never closed"));
    }
}
