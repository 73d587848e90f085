// SPDX-License-Identifier: EUPL-1.2
//! User and password of an intake, and HTTP Basic (RFC 7617). Comparisons take the same time whatever is
//! wrong.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use kop_connector_api::{Refusal, Secret, SettingProblem, secret::Resolved};
use kop_core::ContentHash;

use crate::problem;

/// What a sender must know.
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Resolved,
}

/// What came of looking for HTTP Basic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Basic {
    /// No such header.
    Absent,
    /// User and password are right.
    Right,
    /// They are not.
    Wrong,
}

impl Credentials {
    /// Reads the secret; `None` when the settings demand no credentials.
    pub(crate) fn resolve(user: Option<&str>, password: Option<&Secret>) -> Result<Option<Self>, Refusal> {
        let (Some(user), Some(password)) = (user, password) else { return Ok(None) };
        let password = password.resolve().map_err(|error| problem::not_set_up(error.to_string()))?;
        Ok(Some(Self { user: user.to_owned(), password }))
    }

    /// Looks at the Authorization header.
    pub(crate) fn basic(&self, headers: &HeaderMap) -> Basic {
        let Some(value) = headers.get(http::header::AUTHORIZATION) else { return Basic::Absent };
        let sent = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, token)| STANDARD.decode(token.trim()).ok());
        let expected = format!("{}:{}", self.user, self.password.expose());
        if same(&sent.unwrap_or_default(), expected.as_bytes()) { Basic::Right } else { Basic::Wrong }
    }
}

/// Compares without telling by its duration where the difference lies: equal digests, compared whole.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (ContentHash::of(a), ContentHash::of(b));
    a.as_bytes().iter().zip(b.as_bytes()).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

/// User and password come together or not at all.
pub(crate) fn check(user: Option<&str>, password: Option<&Secret>) -> Option<SettingProblem> {
    let path = match (user, password) {
        (Some(user), Some(_)) if !user.is_empty() && !user.contains(':') => return None,
        (None, None) => return None,
        (Some(_), Some(_)) => {
            return Some(SettingProblem {
                path: "benutzer".to_owned(),
                de: "„benutzer“ darf weder leer sein noch einen Doppelpunkt enthalten".to_owned(),
                en: "`benutzer` must be neither empty nor contain a colon".to_owned(),
            });
        }
        (None, Some(_)) => "benutzer",
        (Some(_), None) => "passwort",
    };
    Some(SettingProblem {
        path: path.to_owned(),
        de: format!("Die Einstellung „{path}“ fehlt; „benutzer“ und „passwort“ gehören zusammen"),
        en: format!("the setting `{path}` is missing; `benutzer` and `passwort` belong together"),
    })
}
