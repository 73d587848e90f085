// SPDX-License-Identifier: EUPL-1.2
//! cit intelliForm (at Dataport: AFM): SOAP 1.1 `deposit` to `POST /{tenant}/deposit`, files as base64 or
//! MTOM; a WSDL at `GET /{tenant}/deposit?wsdl`.

mod account;
mod adapter;
mod auth;
mod base64_stream;
mod config;
mod envelope;
mod extract;
mod intake;
mod merge;
mod receive;
mod soap;
mod wsdl;

pub use adapter::IntelliformAdapter;
pub use config::Settings;
pub use intake::IntelliformIntake;

/// Short name of the source.
pub const SOURCE: &str = "intelliform";

/// Namespace of the operations and their types; the children of its elements are unqualified.
pub(crate) const NS_BACKEND: &str = "http://xmlns.cit.de/intelliform/2009/webservices/backend";
/// Namespace of the attributes that tell of the transaction.
const NS_TRANSACTION: &str = "http://xmlns.cit.de/intelliform/transaction";
/// Namespace of the attributes that tell of the user who was logged in.
const NS_USER: &str = "http://xmlns.cit.de/intelliform/user";
/// Namespace of the raw form's labels and types.
const NS_INTERNAL: &str = "http://xmlns.cit.de/assistants/internal";
/// Namespace of `Include` (XOP, section 2.1).
const NS_XOP: &str = "http://www.w3.org/2004/08/xop/include";
