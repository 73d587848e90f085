// SPDX-License-Identifier: EUPL-1.2
//! What this binary can speak, as plain lists: the only place where the engine meets vendors.

use std::sync::Arc;

use kop_connector_api::HttpIntake;
use kop_core::{Clock, Zeitpunkt};

/// The machine's clock.
struct MachineClock;

impl Clock for MachineClock {
    // The one place where the machine is asked for the time; everything else is handed a clock.
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Zeitpunkt {
        Zeitpunkt::now()
    }
}

/// Every way to push submissions over HTTP, in the order of the documentation.
pub(crate) fn intakes() -> Vec<Arc<dyn HttpIntake>> {
    vec![
        Arc::new(kop_forms::ozg_cloud::OzgCloudIntake::new()),
        Arc::new(kop_forms::intelliform::IntelliformIntake::new(Arc::new(MachineClock))),
    ]
}
