//! process.oomScoreAdj.

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::sys::procfs::Procfs;

/// The value to write, if there is one. Absent is not 0: then the process keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OomScoreAdj {
    value: Option<i32>,
    rootless: bool,
}

impl OomScoreAdj {
    /// The kernel takes -1000 to 1000.
    pub(crate) fn plan(value: Option<i32>, rootless: bool) -> Result<OomScoreAdj> {
        match value {
            Some(wrong) if !(-1000..=1000).contains(&wrong) => Err(Error::config(format!(
                "process.oomScoreAdj: {wrong} is not between -1000 and 1000"
            ))),
            value => Ok(OomScoreAdj { value, rootless }),
        }
    }

    /// Writes it for a process. An ordinary user may not lower it: that is passed over with a warning.
    pub(crate) fn apply(&self, procfs: &Procfs, pid: Pid) -> Result<()> {
        let Some(value) = self.value else {
            return Ok(());
        };
        match procfs.write_pid(pid, "oom_score_adj", value.to_string()) {
            Err(error)
                if self.rootless && matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM)) =>
            {
                log::warn(format_args!(
                    "process.oomScoreAdj is left as it is: {error}"
                ));
                Ok(())
            }
            other => other.context(|| "setting process.oomScoreAdj"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range() {
        for (value, good) in [
            (None, true),
            (Some(0), true),
            (Some(-1000), true),
            (Some(1000), true),
            (Some(-1001), false),
            (Some(1001), false),
            (Some(i32::MIN), false),
        ] {
            assert_eq!(OomScoreAdj::plan(value, false).is_ok(), good, "{value:?}");
        }
    }
}
