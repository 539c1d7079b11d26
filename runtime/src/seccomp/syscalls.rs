//! The system calls by name, and their numbers on each architecture.
//!
//! `syscalls.tsv` is the table, made by hack/syscall-table from the kernel's headers. The compiler turns it into sorted
//! arrays and a hash table, so nothing of it is left to do at run time.

use super::arch::Arch;

const TEXT: &[u8] = include_bytes!("syscalls.tsv");
const COUNT: usize = lines();
const LETTERS: usize = letters();
/// Columns of numbers, one for each [`Arch`].
const ARCHES: usize = 5;
/// "This architecture has no such call."
const NONE: u16 = u16::MAX;
/// ARM has some calls of its own at 0xf0000. In the table their numbers begin here, above all others.
const ARM_PRIVATE: u16 = 0xf000;
/// Twice the number of names and a power of two: few names share a slot.
const SLOTS: usize = 1024;

static NAMES: [u8; LETTERS] = TABLE.names;
static STARTS: [u16; COUNT + 1] = TABLE.starts;
static NUMBERS: [[u16; COUNT]; ARCHES] = TABLE.numbers;
static MULTIPLEXED: [u8; COUNT] = TABLE.multiplexed;
static HASHED: [u16; SLOTS] = TABLE.hashed;

/// A system call that some architecture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Syscall(u16);

impl Syscall {
    /// `None`: there is no such call anywhere, or it is newer than this table.
    pub(super) fn named(name: &str) -> Option<Syscall> {
        let mut slot = hash(name.as_bytes(), 0, name.len());
        loop {
            let index = HASHED[slot];
            if index == NONE {
                return None;
            }
            if Syscall(index).letters() == name.as_bytes() {
                return Some(Syscall(index));
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    pub(super) fn name(self) -> &'static str {
        // The table is plain ASCII.
        std::str::from_utf8(self.letters()).unwrap_or_default()
    }

    fn letters(self) -> &'static [u8] {
        let index = usize::from(self.0);
        &NAMES[usize::from(STARTS[index])..usize::from(STARTS[index + 1])]
    }

    /// Its number in `seccomp_data.nr`.
    pub(super) fn number(self, arch: Arch) -> Option<u32> {
        match NUMBERS[arch as usize][usize::from(self.0)] {
            NONE => None,
            number if number >= ARM_PRIVATE => Some(0xf_0000 + u32::from(number - ARM_PRIVATE)),
            number => Some(u32::from(number) | arch.bit()),
        }
    }

    /// The call that i386 has it in as well, by number, and its own number there.
    pub(super) fn multiplexed(self) -> Option<(u32, u32)> {
        const SOCKETCALL: u32 = 102;
        const IPC: u32 = 117;
        match MULTIPLEXED[usize::from(self.0)] {
            0 => None,
            own if own >= IN_IPC => Some((IPC, u32::from(own - IN_IPC))),
            own => Some((SOCKETCALL, u32::from(own))),
        }
    }
}

/// In [`MULTIPLEXED`]: ipc(2), not socketcall(2).
const IN_IPC: u8 = 0x80;

/// FNV-1a, of a part of `bytes`.
const fn hash(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = from;
    while at < to {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

struct Table {
    names: [u8; LETTERS],
    starts: [u16; COUNT + 1],
    numbers: [[u16; COUNT]; ARCHES],
    multiplexed: [u8; COUNT],
    hashed: [u16; SLOTS],
}

const TABLE: Table = parse();

const fn next_line(mut at: usize) -> usize {
    while TEXT[at] != b'\n' {
        at += 1;
    }
    at + 1
}

const fn lines() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#' {
            count += 1;
        }
        at = next_line(at);
    }
    count
}

const fn letters() -> usize {
    let (mut count, mut at) = (0, 0);
    while at < TEXT.len() {
        if TEXT[at] != b'#' {
            let start = at;
            while TEXT[at] != b'\t' {
                at += 1;
            }
            count += at - start;
        }
        at = next_line(at);
    }
    count
}

const fn parse() -> Table {
    let mut table = Table {
        names: [0; LETTERS],
        starts: [0; COUNT + 1],
        numbers: [[NONE; COUNT]; ARCHES],
        multiplexed: [0; COUNT],
        hashed: [NONE; SLOTS],
    };
    let (mut at, mut row, mut letters) = (0, 0, 0);
    while at < TEXT.len() {
        if TEXT[at] == b'#' {
            at = next_line(at);
            continue;
        }
        let start = at;
        while TEXT[at] != b'\t' {
            table.names[letters] = TEXT[at];
            letters += 1;
            at += 1;
        }
        table.starts[row + 1] = letters as u16;
        let mut slot = hash(TEXT, start, at);
        while table.hashed[slot] != NONE {
            slot = (slot + 1) % SLOTS;
        }
        table.hashed[slot] = row as u16;
        let mut column = 0;
        while column < ARCHES {
            let (number, end) = parse_number(at + 1);
            table.numbers[column][row] = match number {
                None => NONE,
                Some(number) if number > 0xf_0000 => ARM_PRIVATE + (number - 0xf_0000) as u16,
                Some(number) => number as u16,
            };
            at = end;
            column += 1;
        }
        // "-", or "socketcall:N", or "ipc:N".
        let kind = TEXT[at + 1];
        if kind != b'-' {
            while TEXT[at] != b':' {
                at += 1;
            }
            if let (Some(own), _) = parse_number(at + 1) {
                table.multiplexed[row] = own as u8 + if kind == b'i' { IN_IPC } else { 0 };
            }
        }
        at = next_line(at);
        row += 1;
    }
    table
}

/// The number at a place of the text, and where it ends. `None`: there is a "-".
const fn parse_number(mut at: usize) -> (Option<u32>, usize) {
    if TEXT[at] == b'-' {
        return (None, at + 1);
    }
    let mut number = 0;
    while TEXT[at].is_ascii_digit() {
        number = number * 10 + (TEXT[at] - b'0') as u32;
        at += 1;
    }
    (Some(number), at)
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, Syscall)> {
    (0..COUNT as u16).map(|index| (Syscall(index).name(), Syscall(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, numbers) in [
            ("read", [Some(0), Some(3), Some(1 << 30), Some(63), Some(3)]),
            (
                "rt_sigaction",
                [
                    Some(13),
                    Some(174),
                    Some(1 << 30 | 512),
                    Some(134),
                    Some(174),
                ],
            ),
            ("set_tls", [None, None, None, None, Some(0xf_0005)]),
            (
                "socket",
                [
                    Some(41),
                    Some(359),
                    Some(1 << 30 | 41),
                    Some(198),
                    Some(281),
                ],
            ),
            ("socketcall", [None, Some(102), None, None, None]),
        ] {
            let call = Syscall::named(name).unwrap();
            let found = [
                Arch::X86_64,
                Arch::I386,
                Arch::X32,
                Arch::Aarch64,
                Arch::Arm,
            ]
            .map(|arch| call.number(arch));
            assert_eq!(found, numbers, "{name}");
        }
        for name in ["", "rea", "readd", "nonsense", "SOCKET"] {
            assert_eq!(Syscall::named(name), None, "{name}");
        }
    }

    #[test]
    fn every_name_is_found() {
        for (name, call) in all() {
            assert_eq!(Syscall::named(name), Some(call), "{name}");
        }
    }

    #[test]
    fn i386_has_some_calls_twice() {
        for (name, other) in [
            ("socket", Some((102, 1))),
            ("sendmmsg", Some((102, 20))),
            ("semop", Some((117, 1))),
            ("shmctl", Some((117, 24))),
            ("read", None),
        ] {
            assert_eq!(Syscall::named(name).unwrap().multiplexed(), other, "{name}");
        }
    }
}
