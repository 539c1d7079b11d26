//! The clocks of a boot: a time namespace in which the monotonic and the boot-time clock begin with it, so that uptime,
//! sysinfo(2), `btime` of /proc/stat and the start times of processes all tell of this boot (time_namespaces(7)).

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Context, Error, Result};
use crate::setup::namespaces::kind;
use crate::sys::procfs::Procfs;
use crate::sys::{namespace, prctl};

/// The clocks that a time namespace has of its own, by their names in `timens_offsets`.
const CLOCKS: [(&str, ClockId); 2] = [
    ("monotonic", ClockId::Monotonic),
    ("boottime", ClockId::Boottime),
];
const SECOND: i128 = 1_000_000_000;

/// Makes the time namespaces of the boots.
#[derive(Debug)]
pub(super) struct Clocks {
    /// How far this process's own clocks are off the kernel's, in nanoseconds: offsets are from those.
    own: [i128; 2],
}

impl Clocks {
    /// Before the first boot: later `timens_offsets` tells of what that was given. `None`, with a warning: this process may
    /// not set clocks (CAP_SYS_TIME), so the container has the host's.
    pub(super) fn prepare(procfs: &Procfs) -> Result<Option<Clocks>> {
        let text = procfs.read_self("timens_offsets")?;
        let clocks = Clocks { own: parse(&text)? };
        match clocks.begin_anew(procfs) {
            Ok(()) => Ok(Some(clocks)),
            Err(error) if error.errno() == Some(Errno::PERM) => {
                let without = "the system container's uptime is the host's";
                crate::log::warn(format_args!("{without}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The children of this process have clocks that begin now.
    pub(super) fn begin_anew(&self, procfs: &Procfs) -> Result<()> {
        namespace::unshare(kind::TIME).context(|| "making the time namespace")?;
        let mut text = String::new();
        for ((name, clock), own) in CLOCKS.iter().zip(self.own) {
            let now = clock_gettime(*clock);
            let now = i128::from(now.tv_sec) * SECOND + i128::from(now.tv_nsec);
            text += &line(name, own - now);
        }
        // Undumpable, this process has no way to its own files from a user namespace. Nobody is there who could look: of the
        // container nothing runs between two boots.
        prctl::set_dumpable(true)?;
        let written = procfs.write_self("timens_offsets", text);
        prctl::set_dumpable(false)?;
        written.context(|| "setting the clocks of the container back to 0")
    }
}

/// `NAME SECONDS NANOSECONDS`, the last from 0 to 999,999,999 also for a time before zero.
fn line(name: &str, offset: i128) -> String {
    let (seconds, rest) = (offset.div_euclid(SECOND), offset.rem_euclid(SECOND));
    format!("{name} {seconds} {rest}\n")
}

fn parse(text: &str) -> Result<[i128; 2]> {
    let offset = |name: &str| {
        let mut lines = text.lines().map(str::split_ascii_whitespace);
        let mut words =
            lines.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
        let seconds: i128 = words.next()?.parse().ok()?;
        let rest: i128 = words.next()?.parse().ok()?;
        Some(seconds * SECOND + rest)
    };
    match CLOCKS.map(|(name, _)| offset(name)) {
        [Some(monotonic), Some(boottime)] => Ok([monotonic, boottime]),
        _ => Err(Error::unsupported(format!(
            "/proc/self/timens_offsets: unexpected text {text:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_there_and_back() {
        for (offset, text) in [
            (0, "boottime 0 0\n"),
            (-1, "boottime -1 999999999\n"),
            (-2_500_000_000, "boottime -3 500000000\n"),
            (7_000_000_001, "boottime 7 1\n"),
        ] {
            assert_eq!(line("boottime", offset), text);
            let both = format!("monotonic           0         0\n{text}");
            assert_eq!(parse(&both).unwrap(), [0, offset], "{text}");
        }
        for wrong in ["", "monotonic 0 0\n", "monotonic 0 0\nboottime 0\n"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
