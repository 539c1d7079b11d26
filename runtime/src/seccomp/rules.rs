//! The rules of a profile: what is to happen to a call, under which conditions.

use crate::error::{Error, Result};
use crate::spec::{LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};

/// What the filter answers: SECCOMP_RET_* of linux/seccomp.h with its 16 bits of data.
pub(super) type Action = u32;

/// SECCOMP_RET_KILL_THREAD, the answer to an architecture that the profile does not name.
pub(super) const KILL_THREAD: Action = 0;
/// SECCOMP_RET_ERRNO with ENOSYS.
pub(super) const ENOSYS: Action = 0x0005_0000 | 38;
/// SECCOMP_RET_USER_NOTIF.
pub(super) const NOTIFY: Action = 0x7fc0_0000;

/// The same with EPERM.
pub(super) const EPERM: Action = 0x0005_0000 | PERM;

const PERM: u32 = 1;

/// An action with its errno, which is EPERM when none is given; only 16 bits of it have room.
pub(super) fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Action {
    let data = errno.unwrap_or(PERM) & 0xffff;
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | data,
        LinuxSeccompAction::ScmpActNotify => NOTIFY,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | data,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
    }
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition on one argument: `argument & mask TEST value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, from 0 to 5.
    pub(super) index: u8,
    pub(super) test: Test,
    pub(super) mask: u64,
    /// Has no bits outside of the mask.
    pub(super) value: u64,
}

impl Condition {
    /// `call` is for the error.
    pub(super) fn plan(argument: &LinuxSeccompArg, call: &str) -> Result<Condition> {
        let index = match u8::try_from(argument.index()) {
            Ok(index @ 0..=5) => index,
            _ => {
                return Err(Error::config(format!(
                    "linux.seccomp: error creating seccomp syscall condition for syscall {call}: syscalls only have up to 6 arguments ({} given)",
                    argument.index()
                )));
            }
        };
        let mut mask = u64::MAX;
        let mut value = argument.value();
        let test = match argument.op() {
            LinuxSeccompOperator::ScmpCmpEq => Test::Equal,
            LinuxSeccompOperator::ScmpCmpNe => Test::NotEqual,
            LinuxSeccompOperator::ScmpCmpLt => Test::Less,
            LinuxSeccompOperator::ScmpCmpLe => Test::LessOrEqual,
            LinuxSeccompOperator::ScmpCmpGt => Test::Greater,
            LinuxSeccompOperator::ScmpCmpGe => Test::GreaterOrEqual,
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                mask = argument.value();
                value = argument.value_two().unwrap_or(0) & mask;
                Test::Equal
            }
        };
        Ok(Condition {
            index,
            test,
            mask,
            value,
        })
    }

    /// As an architecture with arguments of 32 bits sees it.
    pub(super) fn halved(self) -> Condition {
        Condition {
            mask: self.mask & u64::from(u32::MAX),
            value: self.value & u64::from(u32::MAX),
            ..self
        }
    }

    /// A mask without bits: whatever the argument is, it is so.
    pub(super) fn always(self) -> bool {
        self.mask == 0
    }
}
