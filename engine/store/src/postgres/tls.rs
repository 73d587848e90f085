// SPDX-License-Identifier: EUPL-1.2
//! TLS to the database over rustls. The server's certificate is always checked, against the machine's roots
//! (`SSL_CERT_FILE` names others); what PostgreSQL calls `require` without a check does not exist here.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::{TlsConnector, client};

use crate::error::StoreError;

/// Settles whether a connection is encrypted. Plain is for this machine (socket, loopback) and for whoever asks for
/// it with `sslmode=disable`; everything else is encrypted or does not come about.
pub(super) fn settle(config: &mut Config) {
    if config.get_ssl_mode() == SslMode::Prefer {
        let local = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        });
        config.ssl_mode(if local { SslMode::Disable } else { SslMode::Require });
    }
}

/// Makes encrypted connections.
#[derive(Clone)]
pub(super) struct Rustls(Arc<rustls::ClientConfig>);

impl Rustls {
    pub(super) fn new() -> Result<Self, StoreError> {
        let failed = |error: rustls::Error| StoreError::Database(format!("TLS: {error}"));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(failed)?
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Rustls {
    type Stream = Encrypted<S>;
    type TlsConnect = Connect;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, Self::Error> {
        Ok(Connect { connector: self.0.clone().into(), name: ServerName::try_from(host.to_owned())? })
    }
}

pub(super) struct Connect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(Box::new(self.connector.connect(self.name, stream).await?))) })
    }
}

pub(super) struct Encrypted<S>(Box<client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_machine_in_plain_unless_it_is_asked_for() {
        let mode = |url: &str| {
            let mut config: Config = url.parse().unwrap();
            settle(&mut config);
            config.get_ssl_mode()
        };
        assert_eq!(mode("postgresql://kop@db.example/kop"), SslMode::Require);
        assert_eq!(mode("postgresql://kop@db.example/kop?sslmode=prefer"), SslMode::Require);
        assert_eq!(mode("postgresql://kop@127.0.0.1,db.example/kop"), SslMode::Require);
        assert_eq!(mode("postgresql://kop@127.0.0.1/kop"), SslMode::Disable);
        assert_eq!(mode("postgresql://kop@127.0.0.1/kop?sslmode=require"), SslMode::Require);
        assert_eq!(mode("postgresql:///kop?host=/run/postgresql"), SslMode::Disable);
        assert_eq!(mode("postgresql://kop@db.example/kop?sslmode=disable"), SslMode::Disable);
    }
}
