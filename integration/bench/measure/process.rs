//! One timed command: how long it took and how much memory it had.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::wait::{End, wait};

/// What was measured of a command, or of several in a row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Wall time in nanoseconds.
    pub(crate) wall: u64,
    /// The largest peak resident set among its processes, in KiB.
    pub(crate) rss: i64,
}

impl Sample {
    /// This command and then that one.
    pub(crate) fn then(self, next: Sample) -> Sample {
        Sample {
            wall: self.wall + next.wall,
            rss: self.rss.max(next.rss),
        }
    }
}

/// Runs a command to its end. `Err` tells what failed.
pub(crate) fn timed(command: &mut Command) -> Result<Sample, String> {
    let start = Instant::now();
    let child = spawn(command)?;
    let end = wait_for(child.id())?;
    let wall = start.elapsed().as_nanos() as u64;
    if end.code != 0 {
        return Err(format!("{command:?} ended with {}", end.code));
    }
    Ok(Sample { wall, rss: end.rss })
}

/// Runs all the commands, eight at a time, to their ends, also when one fails.
pub(crate) fn eight_at_a_time(commands: Vec<Command>) -> Result<Sample, String> {
    let start = Instant::now();
    let mut rest = commands.into_iter();
    let mut alive = HashSet::new();
    let mut rss = 0;
    let mut failed = 0;
    loop {
        while alive.len() < 8
            && let Some(mut command) = rest.next()
        {
            alive.insert(spawn(&mut command)?.id() as i32);
        }
        if alive.is_empty() {
            break;
        }
        // Containers' processes that ended are ours to reap, but not what is counted here.
        let (pid, end) = wait(-1).map_err(|error| format!("wait: {error}"))?;
        if alive.remove(&pid) {
            rss = rss.max(end.rss);
            failed += usize::from(end.code != 0);
        }
    }
    let wall = start.elapsed().as_nanos() as u64;
    if failed > 0 {
        Err(format!("{failed} of them failed"))
    } else {
        Ok(Sample { wall, rss })
    }
}

/// Waits for a process that is or became our child.
pub(crate) fn wait_for(pid: u32) -> Result<End, String> {
    let (_, end) = wait(pid as i32).map_err(|error| format!("wait for {pid}: {error}"))?;
    Ok(end)
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))
}
