// SPDX-License-Identifier: EUPL-1.2
//! Secrets by reference: `env:NAME` or `file:/path`. A literal secret fails the check, so that no
//! configuration, backup or log ever holds one.

use std::{env, fmt, fs};

use serde::{Deserialize, Serialize};

/// A reference to a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

/// The secret could not be had; the message names the reference, never a value.
#[derive(Debug, thiserror::Error)]
#[error("secret {reference} cannot be read: {reason}")]
pub struct SecretError {
    /// The reference.
    pub reference: String,
    /// Why.
    pub reason: String,
}

impl Secret {
    /// Reads the secret; a trailing line break of a file is not part of it.
    ///
    /// # Errors
    /// The variable is not set or the file cannot be read.
    pub fn resolve(&self) -> Result<Resolved, SecretError> {
        let fail = |reason: String| SecretError { reference: self.0.clone(), reason };
        let value = match self.0.split_once(':') {
            Some(("env", name)) => env::var(name).map_err(|e| fail(e.to_string()))?,
            Some(("file", path)) => {
                let text = fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            _ => return Err(fail("unknown kind of reference".to_owned())),
        };
        if value.is_empty() {
            return Err(fail("it is empty".to_owned()));
        }
        Ok(Resolved(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let ok = text.strip_prefix("env:").is_some_and(|name| !name.is_empty())
            || text.strip_prefix("file:").is_some_and(|path| !path.is_empty());
        if ok {
            Ok(Self(text))
        } else {
            // The text may be the secret itself, so it is not repeated.
            Err(serde::de::Error::custom("a literal secret, expected a reference: env:NAME or file:PATH"))
        }
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^(env|file):.+$",
            "description": "Verweis auf ein Geheimnis: env:NAME oder file:PFAD. Das Geheimnis selbst steht nie in der Konfiguration."
        })
    }
}

/// A secret in memory; it cannot be printed.
#[derive(Clone)]
pub struct Resolved(String);

impl Resolved {
    /// The value, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolved(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_secret_is_refused_and_not_repeated() {
        let error = serde_json::from_str::<Secret>("\"hunter2\"").unwrap_err().to_string();
        assert!(error.contains("env:NAME") && !error.contains("hunter2"), "{error}");
        assert!(serde_json::from_str::<Secret>("\"env:KOP_PASSWORT\"").is_ok());
    }
}
