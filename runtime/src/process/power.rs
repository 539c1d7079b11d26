//! What a signal to a system container means to its init: the keeper gets what runc would send to init itself.

use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::fs::{self, OFlags};
use crate::sys::pidfd;

/// The SIGRTMIN of systemd, which is the C library's and not the kernel's.
const RTMIN: i32 = 34;
/// SIGRTMIN+3: "halts the machine" (systemd(1)).
const SYSTEMD_HALT: i32 = RTMIN + 3;

/// The kinds of init, by how they are told to shut the system down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Systemd,
    Busybox,
    Sysvinit,
    Runit,
    /// Another one, or a program that is no init.
    Other,
}

impl Kind {
    fn name(self) -> Option<&'static str> {
        match self {
            Kind::Systemd => Some("systemd"),
            Kind::Busybox => Some("busybox"),
            Kind::Sysvinit => Some("sysvinit"),
            Kind::Runit => Some("runit"),
            Kind::Other => None,
        }
    }

    /// By what the program is after all links (/proc/1/exe of the container).
    fn of(program: &Path) -> Kind {
        let name = program.file_name().and_then(|name| name.to_str());
        match name.unwrap_or_default() {
            "systemd" => Kind::Systemd,
            "busybox" => Kind::Busybox,
            "init" => Kind::Sysvinit,
            // What runit-init becomes as process 1.
            "runit" => Kind::Runit,
            _ => Kind::Other,
        }
    }
}

/// The kind of an init by the path of its program, or the program's name.
pub(crate) fn kind_of_init(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or(program);
    Kind::of(Path::new(program)).name().unwrap_or(name)
}

/// Passes a signal on to init. TERM asks for an orderly shutdown in the words of this init, and so does what engines send to
/// all that is called init (Podman: systemd's own word for it); INT is Ctrl-Alt-Del for each of
/// them as it is.
pub(super) fn signal(init: impl AsFd, number: i32) {
    let kind = match number {
        libc::SIGTERM | SYSTEMD_HALT => Kind::of(&program_of_init()),
        _ => Kind::Other,
    };
    // Whatever fails, fails because it has ended, which is seen next.
    let _ = match kind {
        Kind::Systemd => pidfd::send_signal(init, SYSTEMD_HALT),
        Kind::Busybox => pidfd::send_signal(init, libc::SIGUSR2),
        // Without its FIFO it is not so far yet, or not that program.
        Kind::Sysvinit => ask_for_runlevel_0().or_else(|_| pidfd::send_signal(init, number)),
        // Without its directory it is another program of that name.
        Kind::Runit => match ask_runit_to_halt() {
            Ok(()) => pidfd::send_signal(init, libc::SIGCONT),
            Err(_) => pidfd::send_signal(init, number),
        },
        Kind::Other => pidfd::send_signal(init, number),
    };
}

/// The keeper is in the container's mount namespace by then, and its procfs is of init's pid namespace.
fn program_of_init() -> std::path::PathBuf {
    let link = fs::readlinkat(fs::CWD, "/proc/1/exe");
    let link = link.ok().and_then(|link| link.into_string().ok());
    link.unwrap_or_default().into()
}

/// `telinit 0`: a request in the FIFO of sysvinit (`struct init_request` of its initreq.h: a magic number, the command, the
/// runlevel, seconds between TERM and KILL, and 368 bytes of nothing).
fn ask_for_runlevel_0() -> crate::error::Result<()> {
    const MAGIC: u32 = 0x0309_1969;
    const RUNLEVEL: u32 = 1;
    let mut request = [0u8; 384];
    for (place, word) in [MAGIC, RUNLEVEL, u32::from(b'0'), 5]
        .into_iter()
        .enumerate()
    {
        request[place * 4..place * 4 + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fifo = fs::open("/run/initctl", flags)?;
    fs::write_once(fifo, &request)
}

/// `init 0` up to its signal: files that runit looks at when it gets a CONT (runit-init(8)). Distributions with a read-only
/// /etc have links there.
fn ask_runit_to_halt() -> crate::error::Result<()> {
    let root = fs::open("/", OFlags::PATH | OFlags::DIRECTORY)?;
    let chmod = |path, more: OFlags, mode| {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | more;
        fs::fchmod(fs::open_in_root(&root, path, flags)?, mode)
    };
    match chmod("etc/runit/reboot", OFlags::empty(), 0) {
        Err(error) if !fs::is_missing(&error) => return Err(error),
        _ => {}
    }
    chmod("etc/runit/stopit", OFlags::CREATE, 0o100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_program() {
        for (program, kind) in [
            ("/usr/lib/systemd/systemd", Kind::Systemd),
            ("/bin/busybox", Kind::Busybox),
            ("/usr/sbin/init", Kind::Sysvinit),
            ("/usr/sbin/runit", Kind::Runit),
            ("/usr/sbin/openrc-init", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(Path::new(program)), kind, "{program}");
        }
        assert_eq!(kind_of_init("/usr/sbin/init"), "sysvinit");
        assert_eq!(kind_of_init("/usr/bin/runit"), "runit");
        assert_eq!(kind_of_init("/usr/sbin/openrc-init"), "openrc-init");
    }
}
