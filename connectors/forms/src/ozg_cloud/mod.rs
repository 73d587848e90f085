// SPDX-License-Identifier: EUPL-1.2
//! OZG-Cloud form-data: `POST /{tenant}/antrag`, multipart with one JSON part `formData`, renderings and
//! attachments. Sent by Aivot Gover, the Gewerbeanmeldung and others.

mod adapter;
mod answer;
mod config;
mod form_data;
mod intake;
mod pack;

pub use adapter::OzgCloudAdapter;
pub use config::Settings;
pub use intake::OzgCloudIntake;
pub use pack::{PackedFile, pack};

/// Short name of the source.
pub const SOURCE: &str = "ozg-cloud";
