// SPDX-License-Identifier: EUPL-1.2
//! What this binary can speak, as plain lists: the only place where the engine meets vendors and receivers.

use std::sync::Arc;

use kop_connector_api::{Adapter, ConnectorKind, HttpIntake, ScannerKind, SourceKind};
use kop_forms::{intelliform, ozg_cloud};
use kop_workshop::Doors;

use crate::machine::MachineClock;

/// Every form vendor, in the order of the documentation.
pub(crate) fn doors() -> Doors {
    let intakes: Vec<Arc<dyn HttpIntake>> = vec![
        Arc::new(ozg_cloud::OzgCloudIntake::new()),
        Arc::new(intelliform::IntelliformIntake::new(Arc::new(MachineClock))),
    ];
    let adapters: Vec<Arc<dyn Adapter>> =
        vec![Arc::new(ozg_cloud::OzgCloudAdapter), Arc::new(intelliform::IntelliformAdapter)];
    Doors { intakes, adapters }
}

/// Every kind of receiver.
pub(crate) fn kinds() -> Vec<Arc<dyn ConnectorKind>> {
    vec![Arc::new(kop_files::FolderKind), Arc::new(kop_web::HttpKind)]
}

/// Every kind of source that is asked for its payloads.
pub(crate) fn sources() -> Vec<Arc<dyn SourceKind>> {
    vec![Arc::new(kop_files::FolderSourceKind)]
}

/// Every kind of virus scanner.
pub(crate) fn scanners() -> Vec<Arc<dyn ScannerKind>> {
    vec![Arc::new(kop_scan::ClamdKind), Arc::new(kop_scan::IcapKind)]
}
