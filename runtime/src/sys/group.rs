//! Process groups: setpgid(2), kill(2) of a whole group.

use rustix::process::{Pid, Signal};

use crate::error::{Context, Result};

/// setpgid(pid, pid): the process leads a new group. `None` is the calling process.
pub(crate) fn lead(pid: Option<Pid>) -> Result<()> {
    rustix::process::setpgid(pid, pid).call(|| format!("setpgid({0}, {0})", shown(pid)))
}

/// kill(2) with SIGKILL of every process in the group that the not yet reaped child `leader` leads.
pub(crate) fn kill(leader: Pid) -> Result<()> {
    rustix::process::kill_process_group(leader, Signal::KILL)
        .call(|| format!("kill(-{leader}, SIGKILL)"))
}

fn shown(pid: Option<Pid>) -> i32 {
    pid.map_or(0, |pid| pid.as_raw_nonzero().get())
}
