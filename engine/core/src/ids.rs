// SPDX-License-Identifier: EUPL-1.2
//! Identities. Submission, Vorgang, message, delivery and attempt each have an id type of their own, and
//! every key in store, blobs and lanes starts with the [`TenantId`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The Mandant: lower-case letters, digits and hyphens, 1 to 63 characters, beginning with a letter or
/// digit. It appears in addresses and folder names, so nothing else is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(std::sync::Arc<str>);

/// The text is no tenant id.
#[derive(Debug, thiserror::Error)]
#[error("a tenant id consists of lower-case letters, digits and hyphens (at most 63 characters)")]
pub struct NotATenantId;

impl TenantId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = NotATenantId;

    fn from_str(text: &str) -> Result<Self, NotATenantId> {
        let ok = (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.into())) } else { Err(NotATenantId) }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for TenantId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TenantId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": "uuid" })
            }
        }
    };
}

id!(/** One application as it came in (Eingang). */ SubmissionId);
id!(/** The case that a submission opens or attaches to. */ VorgangId);
id!(/** One Sendung: main document and parts for one receiver. */ MessageId);
id!(/** Bringing one Sendung to one receiver. */ DeliveryId);
id!(/** One try of a delivery. */ AttemptId);
id!(/** One Klärungsfall. */ WorkItemId);

/// Makes new ids. The binary injects random, time-ordered ones (UUIDv7, RFC 9562 section 5.7), tests a counter.
pub trait IdSource: Send + Sync {
    /// An id that was never given out before.
    fn next(&self) -> Uuid;
}

/// Ids that count upwards from one: reproducible in tests.
#[derive(Debug, Default)]
pub struct CountingIds(std::sync::atomic::AtomicU64);

impl IdSource for CountingIds {
    fn next(&self) -> Uuid {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        // Version and variant bits are set, because schemas check them.
        uuid::Builder::from_custom_bytes(u128::from(n).to_be_bytes()).into_uuid()
    }
}

/// The name space of every UUIDv5 that the engine derives, so that the same facts give the same id.
pub const KOP_NAMESPACE: Uuid = Uuid::from_u128(0x6f7a_6b6f_7000_4d61_8e6b_6f70_656e_6701);

/// A UUID that depends on nothing but its parts (UUIDv5, RFC 9562 section 5.5).
pub fn stable_uuid(parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&KOP_NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_fit_for_paths_and_addresses() {
        for good in ["musterstadt", "amt-nord", "08111000"] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-x", "..", "a/b", "Ä", "Musterstadt", &"x".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stable_ids_keep_their_parts_apart() {
        assert_eq!(stable_uuid(&["a", "b"]), stable_uuid(&["a", "b"]));
        assert_ne!(stable_uuid(&["a", "b"]), stable_uuid(&["ab", ""]));
    }
}
