//! The annotation io.vzrun.sysinfo: sysinfo(2) and sched_getaffinity(2) say in a system container what its files in /proc say.
//!
//! A filter of its own asks the keeper about these calls. The keeper has it itself, so each boot inherits it; a process that
//! joins brings its own, and hands the listener in at the door, a socket in the state directory. The answer has to be written
//! into memory that may be anything, and may keep who writes there waiting for as long as the container likes. So a child of the
//! keeper does that, one for each question, and never more than [`MOST`] at a time. It is killed after [`PATIENCE`]; what waits for a file
//! system ends when that lets it. Where it comes to nothing the kernel makes the call: with the host's numbers, or with the error that
//! it has for such an address.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::SocketType;

use crate::error::{Context, Error, Result};
use crate::seccomp::{self, Filter};
use crate::sys::epoll::{Epoll, Found};
use crate::sys::fork::{self, Alone, Child, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{FsContext, attr};
use crate::sys::process::{self, Exit};
use crate::sys::procfs::innermost_number;
use crate::sys::seccomp::{FLAG_NEW_LISTENER, FLAG_WAIT_KILLABLE_RECV, set_filter, supports};
use crate::sys::seccomp_listener::{self as listener, Asked};
use crate::sys::{datagram, memory, pidfd, signal, socket};
use crate::view::{Server, Sources};

const SYSINFO: &str = "sysinfo";
const AFFINITY: &str = "sched_getaffinity";
/// The door's name in the state directory.
const DOOR: &str = "sysinfo";
/// Its number among what is waited for.
const AT_THE_DOOR: u64 = 0;
/// That of all who write answers; from here on they are those of listeners.
const WRITTEN: u64 = 1;
/// Seconds that an answer may take to be written.
const PATIENCE: u32 = 1;
/// How many are written at a time. Whoever asks for more is answered by the kernel.
const MOST: usize = 32;
/// __AUDIT_ARCH_64BIT of linux/audit.h.
const WIDE: u32 = 0x8000_0000;

/// Binds the door, in the state directory.
pub(crate) fn make_door(directory: &OwnedFd) -> Result<OwnedFd> {
    let words = || "making the socket for questions about sysinfo(2)";
    let door = datagram::bind(directory.as_fd(), DOOR).context(words)?;
    fs::fchmodat(directory, DOOR, 0o600).context(words)?;
    Ok(door)
}

/// The way to the door, for a process that is going to join.
pub(crate) fn open_door(directory: &OwnedFd) -> Result<OwnedFd> {
    let place = fs::openat(directory, DOOR, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
    socket::connect_held(&place, SocketType::DGRAM)
        .context(|| "reaching the keeper, which answers sysinfo(2)")
}

/// In a process that joins, as root of its namespaces: from here on it asks the keeper behind this door.
pub(super) fn join(door: BorrowedFd<'_>) -> Result<()> {
    let told = || socket::send(door, b"L", &[install()?.as_fd()]);
    told().context(|| "having the keeper answer sysinfo(2)")
}

/// From here on this process, and all that it makes, asks about sysinfo(2). Gives the listener.
fn install() -> Result<OwnedFd> {
    let filter = Filter::asking_about(&[SYSINFO, AFFINITY])?;
    let program = filter.compile()?;
    // Else a signal interrupts the call, which can return EINTR then, while the answer is on its way.
    let flags = match supports(FLAG_WAIT_KILLABLE_RECV | FLAG_NEW_LISTENER) {
        true => filter.flags | FLAG_WAIT_KILLABLE_RECV,
        false => filter.flags,
    };
    set_filter(&program.instructions, flags)
        .transpose()
        .unwrap_or_else(|| Err(Error::unsupported("seccomp(2) gave no listener")))
}

/// The keeper's side.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    door: &'a OwnedFd,
    /// Of the keeper's pid namespace.
    procfs: OwnedFd,
    /// The door, and the other two.
    events: Epoll,
    last: u64,
    listeners: BTreeMap<u64, OwnedFd>,
    answers: Vec<Answer>,
    alone: Alone,
}

/// One that is being written.
#[derive(Debug)]
struct Answer {
    writer: Child,
    /// Of the question, with its number there.
    listener: OwnedFd,
    id: u64,
}

impl<'a> Desk<'a> {
    /// In the keeper, as root of its namespaces.
    pub(super) fn open(door: &'a OwnedFd) -> Result<Desk<'a>> {
        let context = FsContext::open("proc")?;
        context.create()?;
        let mut desk = Desk {
            door,
            procfs: context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?,
            events: Epoll::new()?,
            last: WRITTEN,
            listeners: BTreeMap::new(),
            answers: Vec::new(),
            alone: Alone::check()?,
        };
        desk.events.add(door, AT_THE_DOOR)?;
        desk.listen(install()?)?;
        Ok(desk)
    }

    /// What it holds before anybody has come in.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let own = [self.door.as_fd(), self.procfs.as_fd(), self.events.as_fd()];
        own.into_iter()
            .chain(self.listeners.values().map(AsFd::as_fd))
    }

    fn listen(&mut self, listener: OwnedFd) -> Result<()> {
        self.last += 1;
        self.events.add(&listener, self.last)?;
        self.listeners.insert(self.last, listener);
        Ok(())
    }

    /// Sees to what has come up. Does not wait.
    pub(super) fn serve(&mut self, view: &mut Server, sources: &Sources<'_>) -> Result<()> {
        self.put_away();
        for found in self.events.ready()? {
            match found.number {
                AT_THE_DOOR => self.let_in(),
                WRITTEN => {}
                _ => self.ask(found, view, sources),
            }
        }
        Ok(())
    }

    fn let_in(&mut self) {
        let mut byte = [0u8; 1];
        if let Ok((_, fds)) = socket::receive(self.door, &mut byte) {
            for listener in fds {
                // What cannot be listened to is closed: its calls fail with ENOSYS.
                let _ = self.listen(listener);
            }
        }
    }

    fn ask(&mut self, found: Found, view: &mut Server, sources: &Sources<'_>) {
        let Some(listener) = self.listeners.get(&found.number) else {
            return;
        };
        let asked = match found.readable {
            true => listener::receive(listener),
            // All that had the filter have ended.
            false => {
                let _ = self.events.remove(listener);
                self.listeners.remove(&found.number);
                return;
            }
        };
        let Ok(Some(asked)) = asked else { return };
        let words = match self.answers.len() < MOST {
            true => self.words(&asked, view, sources),
            false => Ok(None),
        };
        let answer = words.and_then(|words| {
            let answer = words.map(|words| self.answer(listener, &asked, &words));
            answer.transpose()
        });
        match answer {
            Ok(Some(answer)) => {
                if self.events.add(&answer.writer.pidfd, WRITTEN).is_err() {
                    // Nobody would tell of its end, so that comes now; it is seen with the next question.
                    let _ = pidfd::send_signal(&answer.writer.pidfd, libc::SIGKILL);
                }
                self.answers.push(answer);
            }
            _ => drop(listener::go_on(listener, asked.id)),
        }
    }

    fn answer(&self, listener: &OwnedFd, asked: &Asked, words: &Words) -> Result<Answer> {
        let listener = listener
            .try_clone()
            .call(|| "fcntl(F_DUPFD_CLOEXEC, listener)")?;
        match self.alone.fork()? {
            Fork::Parent(writer) => Ok(Answer {
                writer,
                listener,
                id: asked.id,
            }),
            Fork::Child => fork::exit_after(|| match write(&listener, asked, words) {
                Ok(()) => 0,
                Err(_) => 1,
            }),
        }
    }

    /// `None`: the kernel's own answer is right. (The keeper must not make such a call itself: it would wait for itself.)
    fn words(
        &self,
        asked: &Asked,
        view: &mut Server,
        sources: &Sources<'_>,
    ) -> Result<Option<Words>> {
        let [first, size, third, ..] = asked.arguments;
        if !seccomp::is_call(AFFINITY, asked.call) {
            let info = view.sysinfo(sources)?;
            return Ok(Some(Words {
                bytes: match asked.call.0 & WIDE {
                    0 => info.narrow(),
                    _ => info.wide(),
                },
                address: first,
                value: 0,
            }));
        }
        let status = fs::read_at(&self.procfs, format!("{}/status", asked.thread))?;
        let whose = first as u32;
        // Who asks about another thread hears of all that that may run on.
        let quota = sources.cpus_by_quota();
        let Some(quota) = quota.filter(|_| whose == 0 || innermost_number(&status) == Some(whose))
        else {
            return Ok(None);
        };
        let word = match asked.call.0 & WIDE {
            0 => 4,
            _ => 8,
        };
        let size = (size as u32 as usize, word);
        let mask = affinity(&status, &view.online(sources)?, quota, size);
        Ok(mask.map(|bytes| Words {
            value: i64::try_from(bytes.len()).unwrap_or(0),
            bytes,
            address: third,
        }))
    }

    /// Children that have ended.
    fn put_away(&mut self) {
        self.answers.retain(|answer| {
            let exit = match process::wait_now(&answer.writer.pidfd) {
                Ok(None) => return true,
                exit => exit.ok().flatten(),
            };
            if exit != Some(Exit::Code(0)) {
                // Who has asked may be gone as well.
                let _ = listener::go_on(&answer.listener, answer.id);
            }
            let _ = self.events.remove(&answer.writer.pidfd);
            false
        });
    }

    /// A boot is over, and with it all who have asked.
    pub(super) fn forget(&mut self) {
        for answer in &self.answers {
            let _ = pidfd::send_signal(&answer.writer.pidfd, libc::SIGKILL);
        }
        self.put_away();
    }
}

/// The life of a child.
fn write(listener: &OwnedFd, asked: &Asked, words: &Words) -> Result<()> {
    signal::reset();
    signal::end_after(PATIENCE);
    // The keeper's own, which are to be let go when the keeper lets them go.
    process::close_from_but(3, &[listener.as_fd()])?;
    // Else the number may be another's by now.
    if listener::waits(listener, asked.id) {
        memory::write(asked.thread, &words.bytes, words.address)?;
        listener::succeed(listener, asked.id, words.value)?;
    }
    Ok(())
}

/// What is to be written, where, and what the call returns.
#[derive(Debug)]
struct Words {
    bytes: Vec<u8>,
    address: u64,
    value: i64,
}

/// No more CPUs than the quota is worth of, as in /proc/cpuinfo. `None`: there are no more in the mask, or it does not fit into `size`
/// bytes, in words of so many, and the kernel's own answer is right. `status` is the thread's.
fn affinity(
    status: &str,
    online: &[u32],
    quota: usize,
    (size, word): (usize, usize),
) -> Option<Vec<u8>> {
    let mut mask = cpus_allowed(status)?;
    let groups = mask.iter().rposition(|byte| *byte != 0)? / 4 + 1;
    if !size.is_multiple_of(word) || size < 4 * groups {
        return None;
    }
    for (byte, first) in mask.iter_mut().zip((0..).step_by(8)) {
        let bits = online.iter().filter_map(|cpu| cpu.checked_sub(first));
        let bits = bits.filter(|bit| *bit < 8);
        *byte &= bits.fold(0, |byte, bit| byte | 1 << bit);
    }
    mask.truncate(size);
    let more = keep_first(&mut mask, quota);
    (more && mask.iter().any(|byte| *byte != 0)).then_some(mask)
}

/// The mask in its line, as sched_getaffinity(2) has it.
fn cpus_allowed(status: &str) -> Option<Vec<u8>> {
    let mut lines = status.lines();
    let text = lines.find_map(|line| line.strip_prefix("Cpus_allowed:"))?;
    let groups = text
        .trim()
        .rsplit(',')
        .map(|group| u32::from_str_radix(group, 16));
    let mut groups = groups.collect::<std::result::Result<Vec<u32>, _>>().ok()?;
    groups.resize(groups.len().next_multiple_of(2), 0);
    let words = groups.as_chunks::<2>().0.iter();
    let words = words.map(|[low, high]| u64::from(*low) | u64::from(*high) << 32);
    Some(words.flat_map(u64::to_ne_bytes).collect())
}

/// Clears all bits but the first so many; whether there were more.
fn keep_first(mask: &mut [u8], count: usize) -> bool {
    let mut left = count;
    let mut more = false;
    for byte in mask {
        for bit in (0..8).map(|bit| 1u8 << bit) {
            match left.checked_sub(1) {
                _ if *byte & bit == 0 => {}
                Some(rest) => left = rest,
                None => {
                    *byte &= !bit;
                    more = true;
                }
            }
        }
    }
    more
}

impl AsFd for Desk<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_cpus_than_the_quota_is_worth_of() {
        for (mask, count, left, more) in [
            ([0b1111_0000u8, 0b11], 3, [0b0111_0000u8, 0], true),
            ([0b1111_0000, 0b11], 5, [0b1111_0000, 1], true),
            ([0b1111_0000, 0b11], 6, [0b1111_0000, 0b11], false),
            ([0, 0b100], 1, [0, 0b100], false),
            ([0, 0], 1, [0, 0], false),
        ] {
            let mut changed = mask;
            assert_eq!(keep_first(&mut changed, count), more, "{mask:?} {count}");
            assert_eq!(changed, left, "{mask:?} {count}");
        }
    }

    #[test]
    fn masks_of_threads() {
        let of = |text: &str| {
            cpus_allowed(&format!(
                "Name:\tx\nCpus_allowed:\t{text}\nMems_allowed:\t1\n"
            ))
        };
        let bytes = |words: &[u64]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        for (text, words) in [
            ("3", &[3][..]),
            ("ff,00000000", &[0xff_0000_0000]),
            ("1,00000000,00000002", &[2, 1]),
            (
                "00000001,00000000,00000002,00000004",
                &[0x2_0000_0004, 0x1_0000_0000],
            ),
        ] {
            assert_eq!(of(text), Some(bytes(words)), "{text}");
        }
        assert_eq!(of("x"), None);
        assert_eq!(cpus_allowed(""), None);
        let status = "Name:\tx\nNSpid:\t17\t4\nCpus_allowed:\tf\n";
        let online: Vec<u32> = (0..8).collect();
        let all = |quota, size| affinity(status, &online, quota, size);
        assert_eq!(all(2, (8, 8)), Some(bytes(&[3])));
        assert_eq!(all(2, (128, 8)), Some(bytes(&[3])));
        assert_eq!(all(2, (4, 4)), Some(vec![3, 0, 0, 0]));
        for (quota, size) in [
            (4, (8, 8)),
            (2, (4, 8)),
            (2, (12, 8)),
            (2, (0, 8)),
            (2, (2, 4)),
        ] {
            assert_eq!(all(quota, size), None, "{quota} {size:?}");
        }
        // Of those that are online.
        assert_eq!(affinity(status, &[0, 2, 3], 2, (8, 8)), Some(bytes(&[5])));
        assert_eq!(affinity(status, &[0, 2], 2, (8, 8)), None);
        assert_eq!(affinity(status, &[], 2, (8, 8)), None);
        assert_eq!(innermost_number(status), Some(4));
        assert_eq!(innermost_number("Name:\tx\n"), None);
    }
}
