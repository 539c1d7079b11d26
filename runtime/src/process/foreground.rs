//! Waiting for a process in the foreground: its terminal, its signals, its end.
//!
//! One loop around poll(2) does it all, without threads: bytes go both ways between our stdin and stdout and the
//! process's pseudo-terminal, signals that reach us go on to the process, and orphans are reaped. No byte that the
//! process has written before its end is lost, and nothing waits for a side that is slow but that side.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Context, Result};
use crate::log;
use crate::setup::notify_socket::Notifier;
use crate::sys::fork::Child;
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, Moved, PollFd, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::{pidfd, prctl, signal, tty};

/// Signal numbers that are the same on all architectures vzrun is for.
const SIGPIPE: i32 = 13;
const SIGCHLD: i32 = 17;
const SIGURG: i32 = 23;
const SIGWINCH: i32 = 28;

/// What has been set up to wait for a process.
pub(crate) struct Foreground {
    signals: OwnedFd,
    terminal: Option<Terminal>,
    notifier: Option<Notifier>,
}

impl Foreground {
    /// Blocks all signals, to be read in [`Foreground::wait`], and becomes the reaper of orphans if that is asked for.
    /// To be called before the process is forked, which must empty its signal mask (`sys::signal::reset`).
    pub(crate) fn prepare(subreaper: bool) -> Result<Foreground> {
        let words = || "preparing to wait for the process";
        let signals = signal::all_by_descriptor().context(words)?;
        if subreaper {
            prctl::set_child_subreaper().context(words)?;
        }
        Ok(Foreground {
            signals,
            terminal: None,
            notifier: None,
        })
    }

    /// Takes the master of the process's terminal: it gets the size of the user's, which goes into raw mode until
    /// this is dropped. To be called before the process's program is let go.
    pub(crate) fn attach(&mut self, master: OwnedFd) -> Result<()> {
        self.terminal = Some(Terminal::new(master).context(|| "setting up the terminal")?);
        Ok(())
    }

    /// Takes the container's notify socket: what comes there is passed on, with this process as the one to watch.
    pub(crate) fn notify(&mut self, notifier: Notifier) {
        self.notifier = Some(notifier);
    }

    /// Serves the process, a child of ours, until it has ended.
    pub(crate) fn wait(mut self, child: &Child) -> Result<Exit> {
        self.serve_and_drain(child)
            .context(|| "waiting for the process")
    }

    fn serve_and_drain(&mut self, child: &Child) -> Result<Exit> {
        let exit = self.serve(child)?;
        if let Some(terminal) = &mut self.terminal {
            terminal.drain()?;
        }
        Ok(exit)
    }

    fn serve(&mut self, child: &Child) -> Result<Exit> {
        let (stdin, stdout) = (stdin(), stdout());
        let streams = Streams {
            stdin: stdin.as_fd(),
            stdout: stdout.as_fd(),
        };
        loop {
            let mut fds = vec![
                PollFd::new(&child.pidfd, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if let Some(notifier) = &self.notifier {
                fds.push(PollFd::new(notifier, PollFlags::IN));
            }
            let own = fds.len();
            let mut sides = Vec::new();
            if let Some(terminal) = &self.terminal {
                sides = terminal.watch(&mut fds, &streams);
            }
            poll::poll(&mut fds, None)?;
            if !fds[0].revents().is_empty() {
                return process::wait(&child.pidfd);
            }
            let notified = own > 2 && !fds[2].revents().is_empty();
            let ready = fds[own..].iter().map(PollFd::revents);
            let ready: Vec<(Side, PollFlags)> = sides.into_iter().zip(ready).collect();
            drop(fds);
            if notified {
                self.forward_ready();
            }
            if let Some(terminal) = &mut self.terminal {
                for (side, found) in ready.into_iter().filter(|(_, found)| !found.is_empty()) {
                    terminal.copy(side, found, &streams);
                }
            }
            if let Some(exit) = self.take_signals(child)? {
                return Ok(exit);
            }
        }
    }

    /// A service manager that cannot be told is no reason to end the container.
    fn forward_ready(&mut self) {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let done = self.notifier.as_ref().map(|n| n.try_forward(own));
        match done {
            Some(Ok(false)) => return,
            Some(Err(error)) => log::warn(format_args!("{error}")),
            Some(Ok(true)) | None => {}
        }
        self.notifier = None;
    }

    /// Acts on the signals that have come. The exit is that of the process, if it was reaped here.
    fn take_signals(&self, child: &Child) -> Result<Option<Exit>> {
        while let Some(number) = signal::next(&self.signals)? {
            match number {
                SIGCHLD => {
                    while let Some((pid, exit)) = process::reap_any()? {
                        if pid == child.pid {
                            return Ok(Some(exit));
                        }
                    }
                }
                SIGWINCH => {
                    if let Some(terminal) = &self.terminal {
                        terminal.resize();
                    }
                }
                SIGPIPE | SIGURG => {}
                // It fails only where the process has just ended, which the next poll tells.
                other => drop(pidfd::send_signal(&child.pidfd, other)),
            }
        }
        Ok(None)
    }
}

/// Our own streams.
struct Streams<'a> {
    stdin: BorrowedFd<'a>,
    stdout: BorrowedFd<'a>,
}

/// A terminal between the user and the process.
struct Terminal {
    master: OwnedFd,
    /// Held so that the master does not report an end while no process of the container has its terminal open: an init
    /// may open its console only when it has something to say. `None`: the terminal is of no more use.
    slave: Option<OwnedFd>,
    user: User,
    input: Buffer,
    output: Buffer,
    /// Our stdin has not ended.
    has_input: bool,
    /// Our stdout takes bytes; otherwise they are read and dropped, so that the process does not stop.
    has_output: bool,
}

/// The terminal of the user.
struct User {
    fd: OwnedFd,
    _raw: tty::Raw,
}

impl Terminal {
    fn new(master: OwnedFd) -> Result<Terminal> {
        poll::set_nonblocking(&master)?;
        tty::clear_onlcr(&master)?;
        let slave = tty::peer(&master)?;
        let fd = users_terminal()?;
        let raw = tty::Raw::new(fd.try_clone().call(|| "fcntl(F_DUPFD_CLOEXEC)")?)?;
        let user = User { fd, _raw: raw };
        let terminal = Terminal {
            master,
            slave: Some(slave),
            user,
            input: Buffer::new(),
            output: Buffer::new(),
            has_input: true,
            has_output: true,
        };
        terminal.resize();
        Ok(terminal)
    }

    /// Gives the process's terminal the size of the user's, if that has one. A terminal that has just gone away is no
    /// reason to stop: its end comes as a signal or as the end of stdin.
    fn resize(&self) {
        match tty::size(&self.user.fd) {
            Ok((0, 0)) | Err(_) => {}
            Ok(size) => drop(tty::set_size(&self.master, size)),
        }
    }

    /// Adds what to wait for, and says what it is. A side that nothing is wanted from now is left out, as its end would
    /// be reported again and again.
    fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, streams: &Streams<'a>) -> Vec<Side> {
        let mut sides = Vec::new();
        let mut master = PollFlags::empty();
        master.set(PollFlags::IN, self.output.is_empty());
        master.set(PollFlags::OUT, !self.input.is_empty());
        if self.slave.is_some() && !master.is_empty() {
            fds.push(PollFd::new(&self.master, master));
            sides.push(Side::Master);
        }
        if self.has_input && self.input.is_empty() {
            fds.push(PollFd::from_borrowed_fd(streams.stdin, PollFlags::IN));
            sides.push(Side::Stdin);
        }
        if !self.output.is_empty() {
            fds.push(PollFd::from_borrowed_fd(streams.stdout, PollFlags::OUT));
            sides.push(Side::Stdout);
        }
        sides
    }

    /// Moves what can be moved to or from this side, which is ready for it.
    fn copy(&mut self, side: Side, found: PollFlags, streams: &Streams<'_>) {
        match side {
            Side::Stdin => self.has_input = self.input.fill_from(streams.stdin),
            Side::Stdout => self.has_output &= self.output.empty_into(streams.stdout),
            Side::Master => {
                if found.contains(PollFlags::HUP) {
                    // All that had it open were cut off by vhangup(2), as a getty does before it asks for a login.
                    self.slave = tty::peer(&self.master).ok();
                }
                if found.contains(PollFlags::IN) {
                    self.output.fill_from(&self.master);
                }
                if found.contains(PollFlags::OUT) {
                    self.input.empty_into(&self.master);
                }
                if !self.has_output {
                    self.output.clear();
                }
            }
        }
    }

    /// Writes out what the process has left in its terminal. A process that lives on with this terminal (the container
    /// may have no pid namespace) is not waited for.
    fn drain(&mut self) -> Result<()> {
        self.slave = None;
        let stdout = stdout();
        loop {
            while self.has_output && !self.output.is_empty() {
                poll::poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None)?;
                self.has_output = self.output.empty_into(&stdout);
            }
            self.output.fill_from(&self.master);
            if self.output.is_empty() {
                return Ok(());
            }
        }
    }
}

/// What a terminal stands between.
#[derive(Debug, Clone, Copy)]
enum Side {
    Master,
    Stdin,
    Stdout,
}

/// The terminal that the user sits at: one of our streams (any may be redirected), or the controlling one.
fn users_terminal() -> Result<OwnedFd> {
    fn own(stream: impl AsFd) -> Option<OwnedFd> {
        tty::is_terminal(&stream)
            .then(|| stream.as_fd().try_clone_to_owned().ok())
            .flatten()
    }
    match own(std::io::stderr())
        .or_else(|| own(stdout()))
        .or_else(|| own(stdin()))
    {
        Some(fd) => Ok(fd),
        None => fs::open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY)
            .context(|| "the process wants a terminal, and the caller has none"),
    }
}

/// Bytes on their way in one direction. A pipe that is ready takes at least so many at once.
struct Buffer {
    bytes: [u8; 4096],
    from: usize,
    to: usize,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer {
            bytes: [0; 4096],
            from: 0,
            to: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
    }

    /// Reads once, when all that was in it is gone; `false` where nothing more will come.
    fn fill_from(&mut self, source: impl AsFd) -> bool {
        self.clear();
        match poll::read(source, &mut self.bytes) {
            Ok(Moved::Bytes(n)) => self.to = n,
            Ok(Moved::Later) => {}
            Ok(Moved::End) | Err(_) => return false,
        }
        true
    }

    /// Writes once; `false` where the sink takes no more, and then the buffer is empty.
    fn empty_into(&mut self, sink: impl AsFd) -> bool {
        match poll::write(sink, &self.bytes[self.from..self.to]) {
            Ok(Moved::Bytes(n)) => self.from += n,
            Ok(Moved::Later) => {}
            Ok(Moved::End) | Err(_) => {
                self.clear();
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_loses_nothing() {
        let (read, write) = poll::pipe().unwrap();
        let (sink, source) = poll::pipe().unwrap();
        let mut buffer = Buffer::new();
        assert!(buffer.fill_from(&read) && buffer.is_empty());
        assert_eq!(poll::write(&write, b"abc").unwrap(), Moved::Bytes(3));
        assert!(buffer.fill_from(&read) && !buffer.is_empty());
        assert!(buffer.empty_into(&source) && buffer.is_empty());
        let mut seen = [0; 8];
        assert_eq!(poll::read(&sink, &mut seen).unwrap(), Moved::Bytes(3));
        assert_eq!(&seen[..3], b"abc");

        drop(write);
        assert!(!buffer.fill_from(&read));
        (buffer.bytes[0], buffer.to) = (b'x', 1);
        drop(sink);
        assert!(!buffer.empty_into(&source) && buffer.is_empty());
    }
}
