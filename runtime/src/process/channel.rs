//! The socket between parent and child: who says what, and when.
//!
//! ```text
//!   child                                  parent
//!   (stage)  Stage pid            -->      takes pid as init's, reaps the stage
//!            or of an exec:
//!            Proper pid           -->      takes pid as the process's: that is ready, all is done that comes before Go
//!   (init)   MapIds               -->      writes uid_map and gid_map
//!                                 <--      Go
//!            NetDevices           -->      moves the devices into init's network namespace
//!                                 <--      Go with their addresses
//!            Cgroup               -->      waits until the process is in its cgroup
//!                                 <--      Go with the cgroup's path
//!   (keeper) Cells                -->      makes the cgroups below the container's, moves the keeper to its own
//!                                 <--      Go
//!            RuntimeHooks         -->      runs prestart and createRuntime hooks
//!                                 <--      Go
//!            Console + master     -->      passes it on to the console socket, or keeps it
//!            Listener + fd, pidfd -->      passes it on to the seccomp agent (here, or after Ready with no_new_privs)
//!                                 <--      Go
//!   or, where none of the above is needed and the program need not wait for anything:
//!                                 <--      Go, said beforehand
//!            puts state.json into place
//!            Ready                -->      lets others at the container
//!            or of an exec:
//!            Ready, or Proper pid -->      takes note
//!   else:
//!            Ready                -->      saves state.json, writes the pid file
//!                                 <--      Go (or end of the socket: the parent is dead, so ends the child)
//!            end of the socket    -->      the program runs, or waits for `start`
//!   (any)    Failed text          -->      gives up with this error
//! ```
//!
//! A message is one packet: a tag and a payload. Only one child at a time waits for an answer. Under a filter of its
//! container the child has no other system calls for it than write(2) and read(2), as runc.
//!
//! One thing the parent says without being asked: Program, the seccomp filter, as soon as there is a process to have it
//! and it is compiled. The child has other things to do then, so it seldom has to wait for it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fork::Child;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::socket;

/// What a child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// The stage has made init, which has this pid for the parent.
    Stage(i32),
    /// The stage has made the process proper, which is Ready.
    Proper(i32),
    MapIds,
    NetDevices,
    /// Only where the child was not born in its cgroup.
    Cgroup,
    /// Of the keeper of a system container: it is to leave the container's cgroup for one below that.
    Cells,
    RuntimeHooks,
    /// Comes with the master of the terminal.
    Console,
    /// Comes with the listener of the filter, and the pidfd of who has sent it.
    Listener,
    Ready,
    /// The child cannot go on; the text is the error's.
    Failed(String),
}

/// Room for the longest request, an error text.
const LONGEST_REQUEST: usize = 16 << 10;
/// Room for the longest answer: a list of addresses or a filter.
const LONGEST_ANSWER: usize = 64 << 10;

impl Request {
    fn encode(&self) -> Vec<u8> {
        match self {
            Request::Stage(pid) => [b"S", &pid.to_ne_bytes()[..]].concat(),
            Request::Proper(pid) => [b"P", &pid.to_ne_bytes()[..]].concat(),
            Request::MapIds => vec![b'M'],
            Request::NetDevices => vec![b'N'],
            Request::Cgroup => vec![b'G'],
            Request::Cells => vec![b'K'],
            Request::RuntimeHooks => vec![b'H'],
            Request::Console => vec![b'C'],
            Request::Listener => vec![b'L'],
            Request::Ready => vec![b'R'],
            Request::Failed(text) => {
                let text = text.as_bytes();
                [b"F", &text[..text.len().min(LONGEST_REQUEST - 1)]].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Request> {
        match bytes {
            [b'S', pid @ ..] => Some(Request::Stage(i32::from_ne_bytes(pid.try_into().ok()?))),
            [b'P', pid @ ..] => Some(Request::Proper(i32::from_ne_bytes(pid.try_into().ok()?))),
            [b'M'] => Some(Request::MapIds),
            [b'N'] => Some(Request::NetDevices),
            [b'G'] => Some(Request::Cgroup),
            [b'K'] => Some(Request::Cells),
            [b'H'] => Some(Request::RuntimeHooks),
            [b'C'] => Some(Request::Console),
            [b'L'] => Some(Request::Listener),
            [b'R'] => Some(Request::Ready),
            [b'F', text @ ..] => Some(Request::Failed(String::from_utf8_lossy(text).into_owned())),
            _ => None,
        }
    }
}

/// A new pair of ends.
pub(super) fn pair() -> Result<(ParentEnd, ChildEnd)> {
    let (parent, child) = socket::seqpacket_pair()?;
    let child = ChildEnd {
        socket: child,
        program: RefCell::default(),
    };
    Ok((ParentEnd(parent), child))
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ParentEnd(OwnedFd);

impl ParentEnd {
    /// The next request, with the descriptors that came with it. `None`: all children have closed their end.
    ///
    /// # Errors
    /// ECONNRESET: they have ended without reading what was said to them, and without a word.
    pub(super) fn receive(&self) -> Result<Option<(Request, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; LONGEST_REQUEST];
        let (length, fds) = match socket::receive(&self.0, &mut buffer) {
            // The kernel tells this first, and then what was said before.
            Err(error) if error.errno() == Some(Errno::CONNRESET) => {
                match socket::receive(&self.0, &mut buffer)? {
                    (0, _) => return Err(error),
                    last => last,
                }
            }
            other => other.context(|| "listening to the child")?,
        };
        if length == 0 {
            return Ok(None);
        }
        match Request::decode(&buffer[..length]) {
            Some(request) => Ok(Some((request, fds))),
            None => Err(Error::new(
                ErrorKind::Process,
                "unknown message from the child",
            )),
        }
    }

    /// Waits until a child has said something, or all have closed their end: true; or until this child has ended, while others
    /// still hold the socket, and nothing is left of what was said: false.
    pub(super) fn is_heard_of_before_end(&self, child: &Child) -> Result<bool> {
        let mut fds = [
            PollFd::new(&self.0, PollFlags::IN),
            PollFd::new(&child.pidfd, PollFlags::IN),
        ];
        poll::poll(&mut fds, None).context(|| "listening to the child")?;
        // It may have said something after the look at the socket, and ended before that at itself.
        let mut last = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(!fds[0].revents().is_empty() || poll::poll(&mut last, poll::deadline(0))?)
    }

    /// Gives the child its filter.
    pub(super) fn program(&self, program: &[u8]) -> Result<()> {
        self.unasked(&[b"P", program].concat())
    }

    /// Lets the child go on before it is ready.
    pub(super) fn go_beforehand(&self) -> Result<()> {
        self.unasked(b"G")
    }

    /// Says what the child has not asked for. One that has ended has said why, or will be found dead.
    fn unasked(&self, message: &[u8]) -> Result<()> {
        match socket::send(&self.0, message, &[]) {
            Err(error) if matches!(error.errno(), Some(Errno::PIPE | Errno::CONNRESET)) => Ok(()),
            other => other.context(|| "talking to the child"),
        }
    }

    /// Lets the child go on, with what it asked for.
    pub(super) fn go(&self, payload: &[u8]) -> Result<()> {
        socket::send(&self.0, &[b"G", payload].concat(), &[]).context(|| "answering the child")
    }
}

/// The child's end.
#[derive(Debug)]
pub(super) struct ChildEnd {
    socket: OwnedFd,
    /// The filter, when it came before it was looked for.
    program: RefCell<Option<Vec<u8>>>,
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ChildEnd {
    /// Says something that needs no answer.
    pub(super) fn say(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        socket::send(&self.socket, &request.encode(), fds).context(|| "talking to vzrun")
    }

    /// Says something and waits for the answer.
    ///
    /// # Errors
    /// The parent is gone: then this child has no reason to live on.
    pub(super) fn call(&self, request: &Request) -> Result<Vec<u8>> {
        self.tell(request)?;
        self.wait_go()
    }

    /// Waits for an answer.
    pub(super) fn wait_go(&self) -> Result<Vec<u8>> {
        loop {
            match self.read()? {
                (b'P', program) => drop(self.program.replace(Some(program))),
                (_, payload) => return Ok(payload),
            }
        }
    }

    /// The seccomp filter, once: a process with one gets one.
    pub(super) fn program(&self) -> Result<Vec<u8>> {
        match self.program.take() {
            Some(program) => Ok(program),
            None => self.read().map(|(_, program)| program),
        }
    }

    /// A look at it beforehand.
    pub(super) fn look_at_program<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let program = self.program()?;
        let seen = look(&program);
        self.program.replace(Some(program));
        Ok(seen)
    }

    /// A message's tag and what it says.
    fn read(&self) -> Result<(u8, Vec<u8>)> {
        // Not filled with zeros first: that would be sixteen pages touched for what is one byte most of the time.
        let mut buffer = Vec::with_capacity(LONGEST_ANSWER);
        let read = || rustix::io::read(&self.socket, spare_capacity(&mut buffer));
        rustix::io::retry_on_intr(read).call(|| "listening to vzrun: read()")?;
        match buffer.split_first() {
            Some((tag @ (b'G' | b'P'), payload)) => Ok((*tag, payload.to_vec())),
            _ => Err(Error::new(ErrorKind::Process, "vzrun has gone away")),
        }
    }

    /// Says something that needs no answer, under whatever filter.
    pub(super) fn tell(&self, request: &Request) -> Result<()> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.socket, &request.encode())) {
            Ok(_) => Ok(()),
            Err(errno @ (Errno::PIPE | Errno::CONNRESET)) => {
                Err(errno).call(|| "talking to vzrun: write()")
            }
            Err(_) => self.say(request, &[]),
        }
    }

    /// Tells the parent why this child ends.
    pub(super) fn failed(&self, error: &Error) -> Result<()> {
        self.tell(&Request::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_way() {
        for request in [
            Request::Stage(4711),
            Request::Proper(4711),
            Request::MapIds,
            Request::NetDevices,
            Request::Cgroup,
            Request::Cells,
            Request::RuntimeHooks,
            Request::Console,
            Request::Listener,
            Request::Ready,
            Request::Failed("words: reason".into()),
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for junk in [&b""[..], b"x", b"S1", b"MM"] {
            assert_eq!(Request::decode(junk), None);
        }
    }

    #[test]
    fn the_end_of_one_side_is_seen_by_the_other() {
        let (parent, child) = pair().unwrap();
        child.say(&Request::Ready, &[]).unwrap();
        drop(child);
        assert_eq!(
            parent.receive().unwrap().map(|(request, _)| request),
            Some(Request::Ready)
        );
        assert!(parent.receive().unwrap().is_none());
        let (parent, child) = pair().unwrap();
        drop(parent);
        assert!(child.call(&Request::Ready).is_err());
    }

    #[test]
    fn a_filter_comes_at_any_time() {
        let (parent, child) = pair().unwrap();
        parent.program(b"early").unwrap();
        parent.go(b"on").unwrap();
        assert_eq!(child.wait_go().unwrap(), b"on");
        assert_eq!(child.program().unwrap(), b"early");
        parent.program(b"late").unwrap();
        assert_eq!(child.program().unwrap(), b"late");
    }

    #[test]
    fn the_last_words_are_heard_of_one_that_did_not_listen() {
        let (parent, child) = pair().unwrap();
        parent.program(b"unread").unwrap();
        child.say(&Request::Failed("why".into()), &[]).unwrap();
        drop(child);
        let request = parent.receive().unwrap().map(|(request, _)| request);
        assert_eq!(request, Some(Request::Failed("why".into())));
        assert!(parent.receive().unwrap().is_none());
        parent.program(b"nobody there").unwrap();
    }
}
