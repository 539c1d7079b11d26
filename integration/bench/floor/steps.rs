//! Where the time goes: a clock reading after each step, only when asked for.

use std::fs::File;
use std::io::{self, Write};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, the same in every process.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The steps of one run and when each was done.
pub(crate) struct Steps {
    wanted: bool,
    ends: Vec<(String, u64)>,
    pipe: Option<File>,
}

impl Steps {
    /// Starts with nothing; records only when `wanted`.
    pub(crate) fn new(wanted: bool) -> Steps {
        Steps {
            wanted,
            ends: Vec::with_capacity(if wanted { 64 } else { 0 }),
            pipe: None,
        }
    }

    /// The child's: recorded only when there is a pipe to send them through.
    pub(crate) fn with_pipe(pipe: Option<File>) -> Steps {
        let wanted = pipe.is_some();
        Steps {
            pipe,
            ..Steps::new(wanted)
        }
    }

    /// Are steps recorded?
    pub(crate) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Notes that what `name` stands for is done.
    pub(crate) fn done(&mut self, name: &str) {
        if self.wanted {
            self.ends.push((name.to_owned(), now()));
        }
    }

    /// Sends them all to the parent, as text.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let text: String = self
            .ends
            .iter()
            .map(|(name, time)| format!("{time} {name}\n"))
            .collect();
        pipe.write_all(text.as_bytes())
    }

    /// Adds what the child has sent.
    pub(crate) fn add_text(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((time, name)) = line.split_once(' ')
                && let Ok(time) = time.parse()
            {
                self.ends.push((name.to_owned(), time));
            }
        }
    }

    /// Each step with the nanoseconds since the one before it; the first since `start`.
    pub(crate) fn durations(&self, start: u64) -> Vec<(String, u64)> {
        let mut before = start;
        let mut all = Vec::with_capacity(self.ends.len());
        for (name, time) in &self.ends {
            all.push((name.clone(), time.saturating_sub(before)));
            before = *time;
        }
        all
    }
}
