// SPDX-License-Identifier: EUPL-1.2
//! The one HTTP client of this program: no redirects, no proxy, no second try of its own; and how a request gets its
//! credentials.

use std::{fs::File, io::Read, path::Path, time::Duration};

use kop_connector_api::{Secret, secret::Resolved};
use kop_core::Diagnostic;
use reqwest::{
    Certificate, Client, ClientBuilder, RequestBuilder, Url,
    header::{HeaderMap, HeaderValue},
    redirect, retry,
};

use crate::{problem, settings::Login};

/// Largest file of certificates.
const LARGEST_CERTIFICATES: u64 = 1024 * 1024;

/// A client for one address. `certificates` are trusted beside those of the machine.
pub(crate) fn builder(
    url: &Url,
    connect: Duration,
    certificates: Option<&Path>,
) -> Result<ClientBuilder, Diagnostic> {
    let encrypted = url.scheme() == "https";
    let builder = Client::builder()
        .user_agent(concat!("KOP-engine/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        // Trying again is the caller's business, who records or counts every attempt.
        .retry(retry::never())
        .https_only(encrypted);
    Ok(if encrypted {
        builder.tls_certs_merge(certificates.map(read_certificates).transpose()?.unwrap_or_default())
    } else {
        // Without encryption no certificates are needed, and a machine without any shall do.
        builder.tls_certs_only([])
    })
}

pub(crate) fn build(builder: ClientBuilder) -> Result<Client, Diagnostic> {
    builder.build().map_err(|error| problem::not_set_up(problem::root_cause(&error)))
}

/// Adds the configured headers and the credentials. Secrets are read each time, so that a renewed one needs no
/// restart.
pub(crate) fn sign(
    request: RequestBuilder,
    headers: &HeaderMap,
    login: Option<&Login>,
) -> Result<RequestBuilder, Diagnostic> {
    let request = request.headers(headers.clone());
    Ok(match login {
        None => request,
        Some(Login::Basic { user, password }) => request.basic_auth(user, Some(resolve(password)?.expose())),
        Some(Login::Bearer { token }) => {
            let token = resolve(token)?;
            header_value(token.expose())?;
            request.bearer_auth(token.expose())
        }
        Some(Login::Header { name, value }) => request.header(name, header_value(resolve(value)?.expose())?),
    })
}

fn resolve(secret: &Secret) -> Result<Resolved, Diagnostic> {
    secret.resolve().map_err(|error| problem::not_set_up(error.to_string()))
}

/// A secret as a header's value that no log prints.
fn header_value(secret: &str) -> Result<HeaderValue, Diagnostic> {
    let mut value = HeaderValue::from_str(secret)
        .map_err(|_| problem::not_set_up("the secret has characters that cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn read_pem(path: &Path) -> Result<Vec<u8>, Diagnostic> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_CERTIFICATES).read_to_end(&mut pem))
        .map_err(|error| problem::not_set_up(format!("ca_datei: {}", error.kind())))?;
    Ok(pem)
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Diagnostic> {
    let pem = read_pem(path)?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(problem::not_set_up("ca_datei: no certificates in PEM")),
    }
}
