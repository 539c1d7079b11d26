//! The process between parent and init, where the kernel demands one (see `Namespaces::birth`): it enters what must be
//! entered first, makes init as its own sibling, tells its pid, and ends.

use super::birth::{Birth, Outside};
use super::channel::{ChildEnd, Request};
use super::{init, keeper};
use crate::error::{Context, Result};
use crate::setup::namespaces::{self, Stage, kind};
use crate::sys::fork::{self, Fork};
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::{namespace, prctl, signal};

/// The stage's life.
pub(super) fn live(
    birth: &Birth<'_>,
    stage: Stage,
    mut outside: Outside,
    channel: &ChildEnd,
) -> Result<()> {
    signal::reset();
    prctl::set_parent_death_signal(libc::SIGKILL)?;
    let plan = birth.plan;
    let joined = std::mem::take(&mut outside.namespaces);
    let joins_user = plan.namespaces.is_joined(kind::USER);
    if joins_user {
        plan.process.rlimits.raise(None)?;
    }
    if !joined.is_empty() {
        // From here on processes of what is joined could look into this one.
        prctl::set_dumpable(false)?;
    }
    namespaces::join(&joined)?;
    if joins_user && !plan.mappings.is_empty() {
        plan.mappings.check_joined(birth.procfs)?;
    }
    let new_user = plan.birth.first & kind::USER != 0;
    if new_user {
        channel.call(&Request::MapIds)?;
    }
    // Before the change of user, which takes the files of /proc/self away from this process.
    if stage.unshare_time {
        namespace::unshare(kind::TIME).context(|| "making the time namespace")?;
        if let Some(offsets) = &plan.time_offsets {
            birth
                .procfs
                .write_self("timens_offsets", offsets)
                .context(|| "setting linux.timeOffsets")?;
        }
    }
    if new_user || joins_user {
        init::become_root()?;
    }
    become_sibling(stage.clone, channel)?;
    match plan.system {
        true => fork::exit(keeper::live(birth, outside, channel, Some(stage))),
        false => init::live(birth, outside, channel, Some(stage)),
    }
}

/// Makes the process proper as a child of this one's parent, tells the parent its pid, and ends; what comes back is the
/// new process. It begins only when that has been said: the end of a pipe tells it, so that its own first word comes
/// second.
pub(super) fn become_sibling(namespaces: u64, channel: &ChildEnd) -> Result<()> {
    let words = || "making the process proper";
    let (said, hold) = poll::pipe().context(words)?;
    match fork::clone3(namespaces, None, true).context(words)? {
        Fork::Parent(proper) => {
            drop(said);
            let pid = proper.pid.as_raw_nonzero().get();
            channel.say(&Request::Stage(pid), &[])?;
            drop(hold);
            fork::exit(0)
        }
        Fork::Child => {
            drop(hold);
            // Nothing is ever written: it wakes when the last other end is closed.
            poll::poll(&mut [PollFd::new(&said, PollFlags::IN)], None)
                .context(|| "waiting until the parent knows of this process")
                .map(drop)
        }
    }
}
