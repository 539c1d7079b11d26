//! Profiles for those who want the program alone: to look at it, or to measure how long it takes to make it.

use super::Filter;
use super::arch::Arch;
use crate::error::{Error, Result};
use crate::spec::{self, LinuxSeccomp, LinuxSeccompAction};

/// Whose kernel runs a program: it also runs those of the 32-bit sister.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// x86-64, with i386 and x32.
    X86_64,
    /// aarch64, with ARM.
    Aarch64,
}

/// A seccomp profile: what stands in `linux.seccomp` of a config.json.
#[derive(Debug, Clone)]
pub struct SeccompProfile(LinuxSeccomp);

impl SeccompProfile {
    /// Reads a profile from its JSON.
    ///
    /// # Errors
    /// A wrong type or value, with its place in the JSON.
    pub fn parse(json: &[u8]) -> Result<SeccompProfile> {
        spec::parse_seccomp(json).map(SeccompProfile)
    }

    /// The program that a container with this profile gets: instructions of classic BPF, each a `struct sock_filter`
    /// (linux/filter.h) with the bytes of its members in this machine's order.
    ///
    /// # Errors
    /// What creating a container would fail with: rules that contradict each other, or too many of them.
    pub fn program(&self, machine: Machine) -> Result<Vec<u8>> {
        let native = match machine {
            Machine::X86_64 => Arch::X86_64,
            Machine::Aarch64 => Arch::Aarch64,
        };
        let program = Filter::plan_for(&self.0, native)?.compile()?;
        let mut bytes = Vec::with_capacity(8 * program.instructions.len());
        for one in &program.instructions {
            bytes.extend(one.code.to_ne_bytes());
            bytes.extend([one.jt, one.jf]);
            bytes.extend(one.k.to_ne_bytes());
        }
        Ok(bytes)
    }
}

/// Everything is allowed.
pub(super) fn open() -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(LinuxSeccompAction::ScmpActAllow);
    profile
}

/// The same, but these calls are notified.
pub(super) fn asking_about(names: &[&str]) -> Result<LinuxSeccomp> {
    let rule = spec::LinuxSyscallBuilder::default()
        .names(
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
        .action(LinuxSeccompAction::ScmpActNotify)
        .build()
        .map_err(|error| Error::config(format!("linux.seccomp: {error}")))?;
    let mut profile = open();
    profile.set_syscalls(Some(vec![rule]));
    Ok(profile)
}
