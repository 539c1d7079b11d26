//! The annotation io.vzrun.migratable: what no checkpoint can save is refused from the beginning (docs/checkpoint.md).
//!
//! A guard stands before the rules of a profile and only takes away: a service manager that cannot have a namespace, or
//! a program that cannot have io_uring, goes on without.

use std::collections::HashMap;

use super::arch::Arch;
use super::conditions::Case;
use super::rules::{self, Action, Condition, Test};
use super::syscalls::Syscall;
use super::verdicts::Verdict;
use crate::error::Result;
use crate::spec;

/// Says whether the container is to be one: `true` or `false`.
const ANNOTATION: &str = "io.vzrun.migratable";

/// CLONE_NEW{UTS,IPC,PID,USER,CGROUP,TIME}: CRIU saves one of each for the whole container. It knows nested mount and
/// network namespaces.
const NAMESPACES: u64 = 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x1000_0000 | 0x0200_0000 | 0x80;

/// As CLONE_NEWTIME is CSIGNAL's to clone(2), which cannot ask for it.
const NAMESPACES_OF_CLONE: u64 = NAMESPACES & !0xff;

/// Calls that do not exist as far as the container can see: there is an older way for each.
const ABSENT: [&str; 7] = [
    // Its flags are in memory, where no filter can look; the C library falls back to clone(2).
    "clone3",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "userfaultfd",
    "bpf",
    // Linux 6.9 and later number pidfds, and systemd 256 and later knows its services by these numbers, which a restore changes:
    // the end of none of them would be noticed.
    "pidfd_open",
];

/// Whether the annotation asks for it.
pub(crate) fn is_wanted(annotations: Option<&HashMap<String, String>>) -> Result<bool> {
    Ok(spec::switch(annotations, ANNOTATION)?.unwrap_or(false))
}

/// What becomes of these numbers of an architecture.
pub(super) fn guards(arch: Arch) -> impl Iterator<Item = (u32, Guard)> {
    let absent = ABSENT.iter().map(|name| (*name, Guard::Absent));
    let flags = [
        ("unshare", Guard::Without(NAMESPACES)),
        ("clone", Guard::Without(NAMESPACES_OF_CLONE)),
    ];
    absent.chain(flags).filter_map(move |(name, guard)| {
        let number = Syscall::named(name)?.number(arch)?;
        Some((number, guard))
    })
}

/// What stands before a call's own answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// ENOSYS.
    Absent,
    /// EPERM where the first argument has one of these bits.
    Without(u64),
}

impl Guard {
    /// The answer with the guard before it.
    pub(super) fn before(self, verdict: &Verdict, is_64: bool) -> Verdict {
        if let Verdict::Always(action) = verdict
            && is_refusal(*action)
        {
            return verdict.clone();
        }
        let Guard::Without(bits) = self else {
            return Verdict::Always(rules::ENOSYS);
        };
        let asked = Condition {
            index: 0,
            test: Test::NotEqual,
            mask: bits,
            value: 0,
        };
        let mut cases = vec![Case {
            conditions: vec![asked],
            action: rules::EPERM,
        }];
        match verdict {
            Verdict::Always(action) => cases.push(Case {
                conditions: Vec::new(),
                action: *action,
            }),
            Verdict::Depends(own, _) => cases.extend_from_slice(own),
        }
        Verdict::Depends(cases, is_64)
    }
}

/// The call is not made, whoever is asked.
fn is_refusal(action: Action) -> bool {
    // SECCOMP_RET_KILL_*, TRAP and ERRNO; an agent or a tracer may well allow it.
    matches!(action >> 16, 0 | 0x8000 | 0x0003 | 0x0005)
}
