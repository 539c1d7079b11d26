//! Warnings and debug records on their way to whoever runs the library.
//!
//! Library code never prints. It hands a record to the sink that the front-end has installed; without one the record
//! is dropped. Errors are not logged here: they are returned.

use std::fmt;
use std::sync::OnceLock;

/// How much a record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was done, for finding faults.
    Debug,
    /// Something was passed over or done differently.
    Warning,
    /// The operation failed. Only front-ends use it.
    Error,
}

/// Where records go. Must be usable in a forked child, so: plain writes, no locks or threads.
pub type Sink = fn(Level, fmt::Arguments<'_>);

static SINK: OnceLock<Sink> = OnceLock::new();

/// Installs the sink; the first one stays.
pub fn install(sink: Sink) {
    let _ = SINK.set(sink);
}

pub(crate) fn warn(text: fmt::Arguments<'_>) {
    record(Level::Warning, text);
}

pub(crate) fn debug(text: fmt::Arguments<'_>) {
    record(Level::Debug, text);
}

fn record(level: Level, text: fmt::Arguments<'_>) {
    if let Some(sink) = SINK.get() {
        sink(level, text);
    }
}
