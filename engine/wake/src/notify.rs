// SPDX-License-Identifier: EUPL-1.2
//! Over PostgreSQL: every process hears every wake-up.

use std::sync::Arc;

use kop_flow::{Bell, Wakes};
use kop_store::{Notifications, PostgresStore};

struct OverPostgres(Notifications);

impl Wakes for OverPostgres {
    fn tell(&self) {
        self.0.tell();
    }
}

/// Connects a bell with those of the other processes on the same database.
pub fn over_postgres(store: &PostgresStore, bell: &Arc<Bell>) {
    let here = Arc::downgrade(bell);
    let notifications = store.notifications(move || {
        if let Some(bell) = here.upgrade() {
            bell.ring();
        }
    });
    bell.connect(Arc::new(OverPostgres(notifications)));
}
