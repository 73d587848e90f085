// SPDX-License-Identifier: EUPL-1.2
//! WS-Security UsernameToken (OASIS UsernameToken Profile 1.0): digest and text, with a bounded memory of
//! nonces against replays. HTTP Basic is looked at before the body is read.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kop_connector_api::Refusal;
use kop_core::{ContentHash, TenantId, Zeitpunkt};
use sha1::{Digest, Sha1};

use crate::{
    credentials::{Credentials, same},
    problem,
    xml::Element,
};

const NS_SECURITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const NS_ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// How far a token's time may lie from ours, in seconds.
const WINDOW_S: i64 = 300;
/// Most nonces remembered for one tenant; five minutes of sixty logins a second.
const MAX_NONCES: usize = 20_000;

/// Nonces that were used and whose tokens have not yet expired.
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<HashMap<TenantId, HashMap<ContentHash, Zeitpunkt>>>);

impl Nonces {
    /// Remembers a nonce; refused when it is known.
    fn use_up(
        &self,
        tenant: &TenantId,
        nonce: &[u8],
        created: Zeitpunkt,
        now: Zeitpunkt,
    ) -> Result<(), Refusal> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = tenants.entry(tenant.clone()).or_default();
        if seen.len() >= MAX_NONCES {
            seen.retain(|_, created| now.as_second() - created.as_second() <= WINDOW_S);
            if seen.len() >= MAX_NONCES {
                return Err(problem::nonces_full());
            }
        }
        match seen.insert(ContentHash::of(nonce), created) {
            Some(_) => Err(problem::token_stale()),
            None => Ok(()),
        }
    }
}

/// Refuses header blocks that must be understood and are not (SOAP 1.1 section 4.2.3).
pub(super) fn check_understood(header: &Element) -> Result<(), Refusal> {
    let strange = header.elements().any(|block| {
        matches!(block.attribute(NS_ENVELOPE, "mustUnderstand"), Some("1" | "true")) && !is_security(block)
    });
    if strange { Err(problem::soap_not_understood(false)) } else { Ok(()) }
}

fn is_security(block: &Element) -> bool {
    block.name == "Security" && &*block.ns == NS_SECURITY
}

/// Checks the UsernameToken of a SOAP header.
pub(super) fn check_token(
    header: &Element,
    credentials: &Credentials,
    tenant: &TenantId,
    nonces: &Nonces,
    now: Zeitpunkt,
) -> Result<(), Refusal> {
    let token = header
        .elements()
        .find(|block| is_security(block))
        .and_then(|security| security.child("UsernameToken"))
        .ok_or_else(problem::credentials_missing)?;
    let user = token.child("Username").map(Element::text).unwrap_or_default();
    let password = token.child("Password").ok_or_else(problem::credentials_wrong)?;
    let user_right = same(user.trim().as_bytes(), credentials.user.as_bytes());
    let expected = credentials.password.expose();
    let kind = password.attribute("", "Type").unwrap_or("#PasswordText");
    if kind.ends_with("#PasswordText") {
        let right = same(password.text().as_bytes(), expected.as_bytes());
        return if user_right & right { Ok(()) } else { Err(problem::credentials_wrong()) };
    }
    if !kind.ends_with("#PasswordDigest") {
        return Err(problem::credentials_wrong());
    }
    let (Some(nonce), Some(created)) = (token.child_text("Nonce"), token.child_text("Created")) else {
        return Err(problem::token_stale());
    };
    let nonce = STANDARD.decode(nonce).map_err(|_| problem::credentials_wrong())?;
    let digest = Sha1::new()
        .chain_update(&nonce)
        .chain_update(created.as_bytes())
        .chain_update(expected.as_bytes())
        .finalize();
    let right = same(password.text().trim().as_bytes(), STANDARD.encode(digest).as_bytes());
    if !(user_right & right) {
        return Err(problem::credentials_wrong());
    }
    let created: Zeitpunkt = created.parse().map_err(|_| problem::token_stale())?;
    if (now.as_second() - created.as_second()).abs() > WINDOW_S {
        return Err(problem::token_stale());
    }
    nonces.use_up(tenant, &nonce, created, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_nonces_is_bounded_and_forgets() {
        let nonces = Nonces::default();
        let tenant: TenantId = "musterstadt".parse().unwrap();
        let start: Zeitpunkt = "2026-11-24T10:00:00Z".parse().unwrap();
        for n in 0..MAX_NONCES {
            nonces.use_up(&tenant, &n.to_be_bytes(), start, start).unwrap();
        }
        let code = |result: Result<(), Refusal>| result.unwrap_err().problems[0].code.clone();
        assert_eq!(code(nonces.use_up(&tenant, b"new", start, start)), "KOP-E028");
        let other = "nachbarstadt".parse().unwrap();
        assert!(nonces.use_up(&other, b"new", start, start).is_ok());
        let later = start + std::time::Duration::from_secs(301);
        assert!(nonces.use_up(&tenant, b"new", later, later).is_ok());
        assert_eq!(code(nonces.use_up(&tenant, b"new", later, later)), "KOP-E027");
    }
}
