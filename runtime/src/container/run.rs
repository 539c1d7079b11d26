//! `run`, as far as it is more than `create`.

use std::os::fd::AsFd;

use super::Root;
use super::create::{self, CreateOptions};
use super::made::Made;
use super::readiness::Wait;
use crate::error::{Context, Result};
use crate::hooks::Point;
use crate::plan::Plan;
use crate::process::foreground::Foreground;
use crate::process::parent::Newborn;
use crate::setup::notify_socket::NotifySocket;
use crate::sys::process::Exit;

/// What only `run` wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Return when the program runs, and leave it running.
    pub detach: bool,
    /// Do not delete the container when it has ended.
    pub keep: bool,
    /// Leave orphans of the container to others.
    pub no_subreaper: bool,
    /// Detached: return only when its init says that it is ready.
    pub wait: Wait,
}

/// Makes a container and runs its program; in the foreground until it ends, and then deletes the container.
///
/// # Errors
/// Nothing of the container is left behind.
pub fn run(root: &Root, options: &CreateOptions, run: &RunOptions) -> Result<Exit> {
    create::bring_up(root, options, Some(run))
}

/// The second half of `run`: the program starts, and where that is wanted it is waited for.
pub(super) fn start_and_wait(
    root: &Root,
    plan: &Plan,
    mut newborn: Newborn<'_>,
    (mut waiting, wait): (Option<Foreground>, Wait),
    made: &Made<'_>,
) -> Result<Exit> {
    let notify = NotifySocket::from_environment(&root.container_path(&made.record.id));
    let notifier = notify.map(NotifySocket::bind).transpose()?.flatten();
    if let (Some(waiting), Some(master)) = (&mut waiting, newborn.master.take()) {
        waiting.attach(master)?;
    }
    let readiness = wait.prepare(made.directory, plan.system)?;
    newborn
        .go()
        .and_then(|()| newborn.wait_for_exec())
        .context(|| create::UNABLE)?;
    if plan.hooks.has(Point::Poststart) {
        let state = made.record.hook_state().json("running", made.record.pid);
        plan.hooks.run(Point::Poststart, &state, None)?;
    }
    let Some(mut waiting) = waiting else {
        if let Some(notifier) = notifier {
            notifier.forward_ready(made.record.pid, newborn.child.pidfd.as_fd())?;
        }
        if let Some(readiness) = readiness {
            readiness.wait(newborn.child.pidfd.as_fd())?;
        }
        newborn.leave();
        return Ok(Exit::Code(0));
    };
    if let Some(notifier) = notifier {
        waiting.notify(notifier);
    }
    let exit = waiting.wait(&newborn.child)?;
    newborn.leave();
    Ok(exit)
}
