// SPDX-License-Identifier: EUPL-1.2
//! Mail over SMTP. So far: a mailbox that operators' alarms go to. Knows nothing of what a mail is about.

use std::time::Duration;

use async_trait::async_trait;
use kop_connector_api::{Mailbox, secret::Resolved};
use kop_core::Diagnostic;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox as Address, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};

/// A mail server that takes longer is tried again later.
const LIMIT: Duration = Duration::from_secs(30);

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Begins in the clear and must change (RFC 3207).
    Starttls,
    /// From the start (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

/// Mails from one address to a few.
pub struct SmtpMailbox {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Address,
    to: Vec<Address>,
}

impl SmtpMailbox {
    /// A mailbox behind the server `host:port`; opens no connection.
    ///
    /// # Errors
    /// An address cannot be read, or TLS cannot be set up.
    pub fn new(
        server: &str,
        security: Security,
        login: Option<(String, Resolved)>,
        from: &str,
        to: &[String],
    ) -> Result<Self, Diagnostic> {
        let (host, port) = server.rsplit_once(':').ok_or_else(|| problem("host:port"))?;
        let port: u16 = port.parse().map_err(|_| problem("host:port"))?;
        let tls = || TlsParameters::new(host.to_owned()).map_err(|error| problem(error.to_string()));
        let tls = match security {
            Security::Starttls => Tls::Required(tls()?),
            Security::Tls => Tls::Wrapper(tls()?),
            Security::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(LIMIT));
        if let Some((user, password)) = login {
            transport = transport.credentials(Credentials::new(user, password.expose().to_owned()));
        }
        let address = |text: &str| text.parse::<Address>().map_err(|_| problem("address"));
        let to = to.iter().map(|one| address(one)).collect::<Result<_, _>>()?;
        Ok(Self { transport: transport.build(), from: address(from)?, to })
    }
}

#[async_trait]
impl Mailbox for SmtpMailbox {
    async fn send(&self, subject: &str, text: &str) -> Result<(), Diagnostic> {
        let mut message =
            Message::builder().from(self.from.clone()).subject(subject).header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(text.to_owned()).map_err(|error| problem(error.to_string()))?;
        let sending = tokio::time::timeout(2 * LIMIT, self.transport.send(message)).await;
        match sending {
            Ok(Ok(_)) => Ok(()),
            // The server's words are about the connection and the addresses, which are the operators' own.
            Ok(Err(error)) => Err(problem(error.to_string())),
            Err(_) => Err(problem("time limit reached")),
        }
    }
}

fn problem(detail: impl Into<String>) -> Diagnostic {
    Diagnostic::new(
        "KOP-S009",
        "Die Meldung an das Funktionspostfach konnte nicht gesendet werden.",
        "The mail to the operators' mailbox could not be sent.",
    )
    .with_detail(detail)
}
