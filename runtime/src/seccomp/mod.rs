//! linux.seccomp: a profile becomes a filter, and the filter a program in classic BPF.
//!
//! ```text
//! profile --Filter::plan--> rules by system call --verdicts--> ranges of numbers --tree--> instructions
//! ```
//!
//! What a profile means is what runc makes of it with libseccomp, with its rarer corners:
//! - a rule that says what the default says is passed over, and so is a call that no kernel has;
//! - the first rule of a call without conditions is the only one that counts;
//! - two conditions on one argument make two rules, of which one has to hold;
//! - calls above the highest number that the profile names are answered with ENOSYS, so that a program falls back to
//!   an older call (unless the default lets calls pass).
//!
//! How it decides is its own: for each architecture a balanced tree over ranges of numbers with the same answer.
//! Nothing but number and architecture is looked at before a condition, so the kernel answers most calls from its
//! cache of constant answers without running the program.

mod arch;
mod assembler;
mod conditions;
mod guard;
mod interpreter;
mod listener;
pub(crate) mod names;
mod profile;
mod rules;
mod syscalls;
#[cfg(test)]
mod tests;
mod verdicts;

pub(crate) use guard::is_wanted as is_migratable;
pub use profile::{Machine, SeccompProfile};

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::spec::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};
use crate::sys::seccomp::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, SockFilter,
};
use arch::Arch;
pub(crate) use interpreter::{Call, passes};
pub(crate) use listener::check_names;
use rules::{Action, Condition};
use syscalls::Syscall;

/// As many instructions as the kernel takes in one program (BPF_MAXINSNS).
const MOST_INSTRUCTIONS: usize = 4096;

/// A profile that makes sense.
#[derive(Debug)]
pub(crate) struct Filter {
    /// SECCOMP_FILTER_FLAG_* for seccomp(2).
    pub(crate) flags: u32,
    /// Some call is passed to an agent: seccomp(2) gives a descriptor.
    pub(crate) notify: bool,
    /// The agent's socket.
    pub(crate) listener_path: Option<PathBuf>,
    /// For the agent, as it is.
    pub(crate) listener_metadata: Option<String>,
    default: Action,
    /// A call above all that the profile names gets ENOSYS.
    refuses_new: bool,
    /// What cannot be saved is refused, whatever the rules say.
    guarded: bool,
    /// The native one first.
    arches: Vec<Arch>,
    /// Every call that the profile names, also those whose rules say nothing new.
    named: Vec<Syscall>,
    rules: Vec<Rule>,
    /// The conditions of all rules.
    conditions: Vec<Condition>,
}

/// What is to happen to a call if all conditions hold.
#[derive(Debug, Clone, Copy)]
struct Rule {
    call: Syscall,
    action: Action,
    /// Its conditions in [`Filter::conditions`]: from, to.
    conditions: (u32, u32),
}

/// What the kernel runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// No more than the kernel takes.
    pub(crate) instructions: Vec<SockFilter>,
}

impl Filter {
    /// Checks a profile.
    ///
    /// # Errors
    /// As runc: for a flag or an architecture that it does not know, for NOTIFY where it would lock up the container's
    /// start, for a seventh argument.
    pub(crate) fn plan(profile: &LinuxSeccomp) -> Result<Filter> {
        Filter::plan_for(profile, Arch::NATIVE)
    }

    fn plan_for(profile: &LinuxSeccomp, native: Arch) -> Result<Filter> {
        let calls = profile.syscalls().as_deref().unwrap_or_default();
        let default = rules::action(profile.default_action(), profile.default_errno_ret());
        if default == rules::NOTIFY {
            return Err(Error::config(
                "SCMP_ACT_NOTIFY cannot be used as default action",
            ));
        }
        let notify = calls.iter().any(|rule| {
            rule.action() == LinuxSeccompAction::ScmpActNotify && !rule.names().is_empty()
        });
        let count = calls.iter().map(|rule| rule.names().len()).sum();
        let mut filter = Filter {
            flags: flags(profile, notify),
            notify,
            listener_path: profile.listener_path().clone(),
            listener_metadata: profile.listener_metadata().clone(),
            default,
            refuses_new: !lets_pass(profile.default_action()),
            guarded: false,
            arches: arch::plan(profile.architectures().as_ref(), native)?,
            named: Vec::with_capacity(count),
            rules: Vec::with_capacity(count),
            conditions: Vec::new(),
        };
        for rule in calls {
            let action = rules::action(rule.action(), rule.errno_ret());
            let arguments = rule.args().as_deref().unwrap_or_default();
            for name in rule.names() {
                if name.is_empty() {
                    return Err(Error::config("empty string is not a valid syscall"));
                }
                if action == rules::NOTIFY && name == "write" {
                    // Init tells its creator about the listener by write(2), which would wait for the agent.
                    return Err(Error::config(
                        "SCMP_ACT_NOTIFY cannot be used for the write syscall",
                    ));
                }
                let Some(call) = Syscall::named(name) else {
                    continue;
                };
                filter.named.push(call);
                if action == default {
                    continue;
                }
                let conditions = arguments
                    .iter()
                    .map(|argument| Condition::plan(argument, name))
                    .collect::<Result<Vec<_>>>()?;
                filter.add(call, action, &conditions);
            }
        }
        Ok(filter)
    }

    /// One that lets all pass, for a container without a profile that is to be guarded.
    pub(crate) fn open() -> Result<Filter> {
        let mut filter = Filter::plan(&profile::open())?;
        filter.arches = Arch::all_here();
        Ok(filter)
    }

    /// One that asks its listener about these calls, and lets all others pass.
    pub(crate) fn asking_about(names: &[&str]) -> Result<Filter> {
        let mut filter = Filter::plan(&profile::asking_about(names)?)?;
        filter.arches = Arch::all_here();
        Ok(filter)
    }

    /// This one, and nothing passes that CRIU cannot save.
    pub(crate) fn guarded(self) -> Filter {
        Filter {
            guarded: true,
            ..self
        }
    }

    fn add(&mut self, call: Syscall, action: Action, conditions: &[Condition]) {
        let twice = (1..conditions.len()).any(|at| {
            let index = conditions[at].index;
            conditions[..at].iter().any(|other| other.index == index)
        });
        if twice {
            for condition in conditions {
                self.add(call, action, &[*condition]);
            }
            return;
        }
        // Nothing comes near four billion conditions: a config has 32 MiB at most.
        let from = self.conditions.len() as u32;
        self.conditions.extend_from_slice(conditions);
        let to = self.conditions.len() as u32;
        self.rules.push(Rule {
            call,
            action,
            conditions: (from, to),
        });
    }

    fn conditions_of(&self, rule: &Rule) -> &[Condition] {
        let (from, to) = rule.conditions;
        &self.conditions[from as usize..to as usize]
    }

    /// The first number that is too new for the profile to know of. `None`: the default is for all.
    fn too_new_from(&self, arch: Arch) -> Option<u32> {
        // Where i386 has a call in socketcall(2) or ipc(2), runc does not count its own number.
        let counts = |call: &Syscall| arch != Arch::I386 || call.multiplexed().is_none();
        let highest = self
            .named
            .iter()
            .filter(|call| counts(call))
            .filter_map(|call| call.number(arch))
            .max()?;
        (self.refuses_new && highest > 0).then_some(highest + 1)
    }

    /// The program.
    ///
    /// # Errors
    /// Two rules that contradict each other; a program that is longer than the kernel takes.
    pub(crate) fn compile(&self) -> Result<Program> {
        let instructions = verdicts::program(self)?;
        let length = instructions.len();
        if length > MOST_INSTRUCTIONS {
            return Err(Error::config(format!(
                "linux.seccomp: the filter has {length} instructions, {} more than the kernel takes ({MOST_INSTRUCTIONS})",
                length - MOST_INSTRUCTIONS
            )));
        }
        Ok(Program { instructions })
    }
}

/// Whether `seccomp_data.arch` and `nr` are those of this call.
pub(crate) fn is_call(name: &str, (arch, number): (u32, u32)) -> bool {
    let call = Syscall::named(name);
    let mut arches = Arch::all_here().into_iter();
    arches.any(|one| one.audit() == arch && call.and_then(|call| call.number(one)) == Some(number))
}

/// A default that lets calls pass: then new ones pass as well. (A tracer answers for what it does not know.)
fn lets_pass(action: LinuxSeccompAction) -> bool {
    matches!(
        action,
        LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace
    )
}

/// Without a list of flags SPEC_ALLOW, as runc. TSYNC means nothing to a process with one thread.
fn flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    let listener = if notify { FLAG_NEW_LISTENER } else { 0 };
    let Some(names) = profile.flags() else {
        return FLAG_SPEC_ALLOW | listener;
    };
    names.iter().fold(listener, |flags, name| {
        flags
            | match name {
                LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
                LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
                LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
                // The kernel takes it with a listener only.
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notify => {
                    FLAG_WAIT_KILLABLE_RECV
                }
                LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
            }
    })
}
