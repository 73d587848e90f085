// SPDX-License-Identifier: EUPL-1.2
//! Which keys a tenant's stored data is encrypted with: references, never the secrets. Read apart from everything else,
//! so that a tenant whose configuration is broken elsewhere still has its keys.

use std::path::Path;

use kop_connector_api::Secret;
use kop_core::{Diagnostic, Stage, TenantId, diagnostic::Severity};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    check::Check,
    source::{SourceFile, read_bounded},
};

/// Largest `mandant.toml` in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Keys of one tenant.
const MOST_KEYS: usize = 20;

/// Longest name of a key.
const LONGEST_ID: usize = 32;

/// Verschlüsselung der gespeicherten Daten. Ohne Schlüssel werden sie unverschlüsselt gespeichert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerschluesselungDatei {
    /// Schlüssel des Mandanten. Mit dem ersten wird geschrieben, gelesen wird mit allen.
    pub schluessel: Vec<SchluesselDatei>,
}

/// Ein Schlüssel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchluesselDatei {
    /// Name, z. B. `2026-1`. Er steht bei den verschlüsselten Daten und wird nie für einen anderen Schlüssel verwendet.
    #[schemars(pattern(r"^[A-Za-z0-9._-]{1,32}$"))]
    pub id: String,
    /// Verweis auf das Geheimnis, mindestens 32 zufällige Zeichen, z. B. von `openssl rand -base64 32`.
    pub wert: Secret,
}

/// Only what this module wants of `mandant.toml`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Part {
    verschluesselung: VerschluesselungDatei,
}

/// A tenant's keys by reference; none when the tenant has no folder or names none.
///
/// # Errors
/// `mandant.toml` is there and cannot be read: then it is not known whether there are keys.
pub fn tenant_keys(tenants_dir: &Path, tenant: &TenantId) -> Result<Vec<SchluesselDatei>, Diagnostic> {
    let path = tenants_dir.join(tenant.as_str()).join("mandant.toml");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = read_bounded(&path, "mandant.toml", MAX_BYTES)?;
    let part: Part = SourceFile::new("mandant.toml", text).parse()?;
    Ok(part.verschluesselung.schluessel)
}

impl Check<'_> {
    /// Names of keys are names, each once; a productive tenant should have some.
    pub(crate) fn encryption(&mut self) {
        let keys = &self.read.verschluesselung.schluessel;
        let named = |id: &str| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        for (n, key) in keys.iter().enumerate() {
            if !named(&key.id) || keys[..n].iter().any(|other| other.id == key.id) || n >= MOST_KEYS {
                let problem = self
                    .at(
                        "KOP-K031",
                        &["verschluesselung", "schluessel", &n.to_string()],
                        "Der Name des Schlüssels ist nicht erlaubt oder steht zweimal da.".into(),
                        "The name of the key is not allowed or appears twice.".into(),
                    )
                    .with_hint(
                        "Buchstaben, Ziffern, Punkt, „_“ und „-“, höchstens 32 Zeichen und höchstens 20 Schlüssel.",
                    );
                self.problems.push(problem);
            }
        }
        if keys.is_empty() && self.read.stufe == Stage::Produktion {
            let hint = self
                .at(
                    "KOP-K032",
                    &["stufe"],
                    "Die Daten dieses produktiven Mandanten werden unverschlüsselt gespeichert.".into(),
                    "The data of this productive tenant is stored unencrypted.".into(),
                )
                .with_severity(Severity::Hinweis)
                .with_hint("[verschluesselung] schluessel = [{ id = \"2026-1\", wert = \"file:…\" }]");
            self.warnings.push(hint);
        }
    }
}
