//! Descriptors that the caller passes through to the container: those of socket activation (sd_listen_fds(3)), and
//! after them those of `--preserve-fds`.

use std::os::fd::RawFd;

use std::os::fd::BorrowedFd;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::process;

/// The first descriptor after stdin, stdout and stderr.
const FIRST: u32 = 3;

/// Which descriptors the container's process keeps: from 3 on, without a gap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedFds {
    listen: u32,
    /// $LISTEN_FDNAMES.
    names: Option<String>,
    preserve: u32,
}

impl PassedFds {
    /// For a container's init: $LISTEN_FDS, if it is meant for this process, and `--preserve-fds`.
    pub(crate) fn for_init(preserve: u32) -> Result<PassedFds> {
        let own = std::process::id();
        let (listen, names) = listen_fds(own, |name| std::env::var(name).ok());
        PassedFds::checked(listen, names, preserve)
    }

    /// For a process that joins a container, which has no part in socket activation.
    pub(crate) fn for_exec(preserve: u32) -> Result<PassedFds> {
        PassedFds::checked(0, None, preserve)
    }

    fn checked(listen: u32, names: Option<String>, preserve: u32) -> Result<PassedFds> {
        let first = FIRST.saturating_add(listen);
        for number in 0..preserve {
            let fd = first.saturating_add(number);
            if !is_passed(fd) {
                let text = format!(
                    "unable to stat preserved-fd {number} (of {preserve}): \
                     stat /proc/self/fd/{fd}: no such file or directory"
                );
                return Err(Error::new(ErrorKind::InvalidArgument, text));
            }
        }
        Ok(PassedFds {
            listen,
            names,
            preserve,
        })
    }

    /// Variables to add to the container's environment.
    pub(crate) fn environment(&self) -> Vec<String> {
        if self.listen == 0 {
            return Vec::new();
        }
        let mut variables = vec![format!("LISTEN_FDS={}", self.listen), "LISTEN_PID=1".into()];
        if let Some(names) = &self.names {
            variables.push(format!("LISTEN_FDNAMES={names}"));
        }
        variables
    }

    /// Closes everything of ours but `kept`.
    pub(crate) fn close_others(&self, kept: &[BorrowedFd<'_>]) -> Result<()> {
        process::close_from_but(self.end(), kept).context(|| "closing descriptors of the host")
    }

    /// Right before the exec, and after [`PassedFds::close_others`]: these descriptors stay, all after them go but `kept`, which go with the exec.
    pub(crate) fn apply(&self, kept: &[BorrowedFd<'_>]) -> Result<()> {
        for fd in FIRST..self.end() {
            process::keep_on_exec(raw(fd))?;
        }
        process::close_rest_from_but(self.end(), kept)
    }

    fn end(&self) -> u32 {
        FIRST + self.listen + self.preserve
    }
}

/// How many descriptors, and their names.
fn listen_fds(own: u32, variable: impl Fn(&str) -> Option<String>) -> (u32, Option<String>) {
    let number = |name| variable(name).and_then(|value| value.parse::<u32>().ok());
    match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == own && count > 0 => {
            // A count that is wrong must not make a descriptor of ours one of the container's.
            let open = (0..count).take_while(|n| is_passed(FIRST.saturating_add(*n)));
            let open = u32::try_from(open.count()).unwrap_or(0);
            (open, variable("LISTEN_FDNAMES"))
        }
        _ => (0, None),
    }
}

fn is_passed(fd: u32) -> bool {
    process::survived_exec(raw(fd))
}

/// A descriptor number that is too large is open nowhere.
fn raw(fd: u32) -> RawFd {
    RawFd::try_from(fd).unwrap_or(RawFd::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_fds_are_for_one_process() {
        let with = |pid: &'static str, count: &'static str| {
            listen_fds(7, move |name| match name {
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDS" => Some(count.to_owned()),
                _ => None,
            })
            .0
        };
        for (pid, count) in [("8", "1"), ("7", "0"), ("7", "x"), ("", "1"), ("7", "-1")] {
            assert_eq!(with(pid, count), 0, "{pid} {count}");
        }
        assert_eq!(listen_fds(7, |_| None), (0, None));
    }

    #[test]
    fn environment_and_missing_descriptors() {
        let none = PassedFds::default();
        assert_eq!(none.environment(), [""; 0]);
        let two = PassedFds {
            listen: 2,
            names: Some("a:b".into()),
            preserve: 0,
        };
        assert_eq!(
            two.environment(),
            ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"]
        );
        let error = PassedFds::checked(1_000_000, None, 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to stat preserved-fd 0 (of 2): stat /proc/self/fd/1000003: no such file or directory"
        );
    }
}
