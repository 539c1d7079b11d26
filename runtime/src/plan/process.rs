//! `process` in config.json, and process.json: a process to be. The same for a container's first process and for one
//! that joins.

use std::ffi::CString;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::setup::capabilities::Capabilities;
use crate::setup::console::{self, Size};
use crate::setup::cpu_affinity::CpuAffinity;
use crate::setup::environment::Environment;
use crate::setup::io_priority::IoPriority;
use crate::setup::lsm::{Lsm, Modules};
use crate::setup::oom_score_adj::OomScoreAdj;
use crate::setup::rlimits::Rlimits;
use crate::setup::scheduler::Scheduler;
use crate::setup::user::{Mappings, User};
use crate::spec;

/// A process to be, in kernel terms.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Environment,
    pub(crate) cwd: PathBuf,
    pub(crate) user: User,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) rlimits: Rlimits,
    pub(crate) oom_score_adj: OomScoreAdj,
    pub(crate) lsm: Lsm,
    pub(crate) scheduler: Scheduler,
    pub(crate) io_priority: IoPriority,
    pub(crate) cpu_affinity: CpuAffinity,
    pub(crate) terminal: bool,
    pub(crate) console_size: Option<Size>,
}

impl ProcessPlan {
    /// Checks each property.
    pub(crate) fn plan(
        process: &spec::Process,
        mappings: Option<Mappings<'_>>,
        rootless: bool,
        spec: &spec::Spec,
    ) -> Result<ProcessPlan> {
        let arguments = process.args().as_deref().unwrap_or_default();
        if arguments.is_empty() {
            return Err(Error::config("process.args cannot be empty"));
        }
        let arguments = arguments
            .iter()
            .map(|argument| c_string("process.args", argument));
        if !process.cwd().is_absolute() {
            return Err(Error::config("Cwd must be an absolute path"));
        }
        Ok(ProcessPlan {
            arguments: arguments.collect::<Result<_>>()?,
            environment: Environment::plan(process.env().as_deref())?,
            cwd: process.cwd().clone(),
            user: User::plan(
                process.user(),
                mappings,
                rootless,
                spec.annotations().as_ref(),
            )?,
            capabilities: Capabilities::plan(process.capabilities().as_ref()),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            rlimits: Rlimits::plan(process)?,
            oom_score_adj: OomScoreAdj::plan(process.oom_score_adj(), rootless)?,
            lsm: Lsm::plan(process, Modules::look)?,
            scheduler: Scheduler::plan(process.scheduler().as_ref())?,
            io_priority: IoPriority::plan(process.io_priority().as_ref())?,
            cpu_affinity: CpuAffinity::plan(process.exec_cpu_affinity().as_ref())?,
            terminal: process.terminal().unwrap_or(false),
            console_size: console::plan_size(process)?,
        })
    }
}

fn c_string(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(format!("{what} has a NUL byte")))
}
