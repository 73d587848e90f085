// SPDX-License-Identifier: EUPL-1.2
//! How operators are told of something: a mail to their Funktionspostfach. What is worth a mail, and how often, is
//! the engine's business.

use async_trait::async_trait;
use kop_core::Diagnostic;

/// Sends mails to the addresses it was built with.
#[async_trait]
pub trait Mailbox: Send + Sync {
    /// Sends one mail in plain text.
    ///
    /// # Errors
    /// The mail server did not take it; it may be tried again.
    async fn send(&self, subject: &str, text: &str) -> Result<(), Diagnostic>;
}
