// SPDX-License-Identifier: EUPL-1.2
//! Wake-ups between machines: over RabbitMQ, or over PostgreSQL where there is no broker. They say "look now" and
//! nothing else; what is to be done stands in the store, and a worker looks by itself every other second. A broker
//! that is away costs time and nothing more. This room must not know submissions.

mod notify;
mod rabbit;

pub use notify::over_postgres;
pub use rabbit::{RabbitError, over_rabbit};
