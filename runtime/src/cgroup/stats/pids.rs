//! pids.current and pids.max.

use serde::Serialize;

use super::{Cgroup, is_zero};
use crate::error::Result;

/// Processes and threads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pids {
    /// How many there are, threads included. Without the pids controller: how many processes.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0 without a limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

impl Pids {
    pub(super) fn read(cgroup: &Cgroup) -> Result<Pids> {
        let Some(current) = cgroup.read_number("pids.current")? else {
            return Ok(Pids {
                current: cgroup.processes()?.len() as u64,
                limit: 0,
            });
        };
        let limit = cgroup.read_number("pids.max")?;
        Ok(Pids {
            current,
            limit: limit.filter(|limit| *limit != u64::MAX).unwrap_or(0),
        })
    }
}
