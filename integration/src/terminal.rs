//! Pseudo-terminals: one of the test's own to run the runtime on, or one that a runtime sent.

use crate::{DEADLINE, wait::readable};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The master side of a pseudo-terminal, and what was read from it so far.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    seen: String,
}

impl Terminal {
    /// A new one of 24 rows and 80 columns.
    pub fn open() -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = Terminal::from(master);
        terminal.resize(24, 80);
        terminal
    }

    /// Its slave side, opened anew.
    pub fn slave(&self) -> OwnedFd {
        let name = ptsname(&self.master, Vec::new()).unwrap();
        open(
            name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap()
    }

    /// Changes its size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Its size: rows, columns.
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// The master's file.
    pub fn master(&self) -> &File {
        &self.master
    }

    /// Types something.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` has come (from what was not yet read) and gives all up to and with it.
    pub fn read_until(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let more = self.read_some(end.saturating_duration_since(Instant::now()));
            assert!(
                more,
                "wanted {text:?} from the terminal, got {:?}",
                self.seen
            );
        }
    }

    /// Reads until the other side is closed and gives the rest.
    pub fn read_to_end(&mut self) -> String {
        let end = Instant::now() + DEADLINE;
        while self.read_some(end.saturating_duration_since(Instant::now())) {}
        assert!(Instant::now() < end, "the terminal was never closed");
        std::mem::take(&mut self.seen)
    }

    /// Reads once; false at the end (which a master sees as EIO) or after `limit`.
    fn read_some(&mut self, limit: Duration) -> bool {
        let mut buffer = [0; 4096];
        if !readable(&self.master, limit) {
            return false;
        }
        match self.master.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
                true
            }
        }
    }
}

impl From<OwnedFd> for Terminal {
    fn from(master: OwnedFd) -> Terminal {
        Terminal {
            master: File::from(master),
            seen: String::new(),
        }
    }
}
