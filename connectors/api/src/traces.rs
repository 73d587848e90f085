// SPDX-License-Identifier: EUPL-1.2
//! Where spans of traces go, beside everything else that the engine does: whatever becomes of them, no work waits for
//! it.

use kop_core::Span;

/// Takes spans and sends them on in its own time.
pub trait Traces: Send + Sync {
    /// Takes a span that is over. Returns at once, whatever the other side does; a span that there is no room for is
    /// dropped and counted.
    fn record(&self, span: Span);

    /// What became of the spans since the start.
    fn numbers(&self) -> SpanNumbers;
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanNumbers {
    /// Taken by the other side.
    pub exported: u64,
    /// Dropped because too many waited.
    pub no_room: u64,
    /// Dropped because the other side could not be reached or was busy for too long.
    pub not_reached: u64,
    /// Refused by the other side.
    pub refused: u64,
}
