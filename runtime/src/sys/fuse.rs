//! The FUSE protocol over /dev/fuse (linux/fuse.h, version 7.31), as far as a small read-only tree of regular files in one
//! directory needs it. What comes in is believed in nothing but that read(2) gives one request at a time.

use std::cell::Cell;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::fs::{self, OFlags};
use super::mount::{FsContext, attr};
use super::poll;
use crate::error::{Context, Result};

/// The node of the directory itself (FUSE_ROOT_ID).
pub(crate) const ROOT: u64 = 1;
/// The least that the kernel lets one read with (FUSE_MIN_READ_BUFFER).
const BUFFER: usize = 8192;
const MAJOR: u32 = 7;
const MINOR: u32 = 31;
/// The least that there is; nothing is ever written.
const MAX_WRITE: u32 = 4096;
/// FOPEN_DIRECT_IO: each read(2) is a request.
const DIRECT_IO: u32 = 1;
/// For how many seconds the kernel may remember that a name is there: none ever goes.
const FOR_EVER: u64 = 1 << 32;
/// Larger than any of the files, for sendfile(2) and splice(2) read by way of the page cache, and so no further than to here. The kernel
/// then corrects the size, and must ask again at the next open(2): it remembers no attributes. Not larger than a block, or tail(1)
/// would look for the end there.
const SIZE: u32 = 256 << 10;
const HEADER: usize = 40;

/// A file system that is served by this process.
#[derive(Debug)]
pub(crate) struct Device {
    fd: OwnedFd,
    buffer: Box<[u8]>,
    /// An answer was not taken.
    broken: Cell<bool>,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Names the request in its answer.
    unique: u64,
    /// The file or directory that it is about.
    pub(crate) node: u64,
    pub(crate) kind: Kind,
}

/// Which operation, with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Init {
        major: u32,
    },
    /// The name in the directory.
    Lookup(Vec<u8>),
    GetAttr,
    Open,
    Read {
        handle: u64,
        offset: u64,
        size: u32,
    },
    Release {
        handle: u64,
    },
    StatFs,
    /// Takes no answer.
    Forget,
    /// None of the above, or one that is cut off.
    Other,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File(u64),
}

/// What read(2) of the device has given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Request(Request),
    /// There is none now.
    Nothing,
    /// The file system is gone.
    End,
}

impl Device {
    /// Makes a file system and gives its detached mount, too. The device belongs to the user namespace that it is opened in, and so
    /// does what is mounted with it.
    pub(crate) fn mount() -> Result<(Device, OwnedFd)> {
        let fd = fs::open("/dev/fuse", OFlags::RDWR)?;
        poll::set_nonblocking(&fd)?;
        let context = FsContext::open("fuse")?;
        for (key, value) in [
            ("source", "vzrun"),
            ("subtype", "vzrun"),
            ("fd", fd.as_raw_fd().to_string().as_str()),
            ("rootmode", "40555"),
            ("user_id", "0"),
            ("group_id", "0"),
        ] {
            context.string(key, value)?;
        }
        // For all users of the container, by the modes of the files.
        context.flag("allow_other")?;
        context.flag("default_permissions")?;
        context.create()?;
        let tree = context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        let buffer = vec![0; BUFFER].into_boxed_slice();
        let broken = Cell::new(false);
        Ok((Device { fd, buffer, broken }, tree))
    }

    /// The next request. Does not wait.
    pub(crate) fn receive(&mut self) -> Result<Received> {
        match rustix::io::read(&self.fd, &mut self.buffer[..]) {
            Ok(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                Ok(parse(bytes).map_or(Received::Nothing, Received::Request))
            }
            // ENOENT: who asked has been killed meanwhile.
            Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => Ok(Received::Nothing),
            Err(Errno::NODEV) => Ok(Received::End),
            Err(errno) => Err(errno).call(|| format!("read(/dev/fuse {})", self.fd.as_raw_fd())),
        }
    }

    /// Says that it went wrong.
    pub(crate) fn refuse(&self, request: &Request, errno: Errno) {
        self.write(request, -errno.raw_os_error(), &[]);
    }

    /// Says that it is done, with nothing more to say.
    pub(crate) fn done(&self, request: &Request) {
        self.write(request, 0, &[]);
    }

    /// The answer to [`Kind::Init`] of at least version 7.
    pub(crate) fn agree(&self, request: &Request) {
        let mut words = [0u32; 16];
        // No flags: of what could be agreed upon nothing is needed. max_background and congestion_threshold share a word.
        (words[0], words[1], words[5], words[6]) = (MAJOR, MINOR, MAX_WRITE, 1);
        self.write(request, 0, &bytes_of(&words));
    }

    /// The answer to [`Kind::Lookup`].
    pub(crate) fn entry(&self, request: &Request, node: Node) {
        let mut bytes = words_of(&[number(node), 0, FOR_EVER, 0, 0]);
        bytes.extend(attributes(node));
        self.write(request, 0, &bytes);
    }

    /// The answer to [`Kind::GetAttr`].
    pub(crate) fn attributes(&self, request: &Request, node: Node) {
        let mut bytes = words_of(&[0, 0]);
        bytes.extend(attributes(node));
        self.write(request, 0, &bytes);
    }

    /// The answer to [`Kind::Open`]. `handle` comes back with what is done to the open file.
    pub(crate) fn opened(&self, request: &Request, handle: u64) {
        let mut bytes = words_of(&[handle]);
        bytes.extend(bytes_of(&[DIRECT_IO, 0]));
        self.write(request, 0, &bytes);
    }

    /// The answer to [`Kind::Read`], at most as much as was asked for.
    pub(crate) fn data(&self, request: &Request, data: &[u8]) {
        self.write(request, 0, data);
    }

    /// The answer to [`Kind::StatFs`]: a file system that takes no space.
    pub(crate) fn no_space(&self, request: &Request) {
        let mut words = [0u32; 20];
        // bsize, namelen and frsize, behind five numbers of 64 bits.
        (words[10], words[11], words[12]) = (4096, 255, 4096);
        self.write(request, 0, &bytes_of(&words));
    }

    /// Whether somebody waits for an answer that did not get to the kernel, and will until the device is closed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Never waits. That who asked is gone is nobody's business.
    fn write(&self, request: &Request, error: i32, payload: &[u8]) {
        let length = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
        let mut header = bytes_of(&[length, error.cast_unsigned()]);
        header.extend(request.unique.to_ne_bytes());
        let parts = [IoSlice::new(&header), IoSlice::new(payload)];
        let taken = rustix::io::retry_on_intr(|| rustix::io::writev(&self.fd, &parts));
        if !matches!(taken, Ok(_) | Err(Errno::NOENT)) {
            self.broken.set(true);
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn number(node: Node) -> u64 {
    match node {
        Node::Directory => ROOT,
        Node::File(number) => number,
    }
}

/// `struct fuse_attr`: owned by root, since the beginning of time.
fn attributes(node: Node) -> Vec<u8> {
    let (mode, size) = match node {
        Node::Directory => (libc::S_IFDIR | 0o555, 0),
        Node::File(_) => (libc::S_IFREG | 0o444, u64::from(SIZE)),
    };
    let mut bytes = words_of(&[number(node), size, 0, 0, 0, 0]);
    // Nanoseconds of the three times, mode, links, owner, group, device, block size, flags.
    bytes.extend(bytes_of(&[0, 0, 0, mode, 1, 0, 0, 0, SIZE, 0]));
    bytes
}

fn words_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// One request; `None` for what is not even one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Request> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let number = |at: usize| header.get(at..at + 4).and_then(|word| word.try_into().ok());
    let long = |at: usize| header.get(at..at + 8).and_then(|word| word.try_into().ok());
    let length = u32::from_ne_bytes(number(0)?);
    if usize::try_from(length) != Ok(bytes.len()) {
        return None;
    }
    Some(Request {
        unique: u64::from_ne_bytes(long(8)?),
        node: u64::from_ne_bytes(long(16)?),
        kind: kind(u32::from_ne_bytes(number(4)?), body).unwrap_or(Kind::Other),
    })
}

/// `None` where an argument is missing.
fn kind(opcode: u32, body: &[u8]) -> Option<Kind> {
    let number = |at: usize| {
        let word = body.get(at..at + 4)?;
        Some(u32::from_ne_bytes(word.try_into().ok()?))
    };
    let long = |at: usize| {
        let word = body.get(at..at + 8)?;
        Some(u64::from_ne_bytes(word.try_into().ok()?))
    };
    Some(match opcode {
        1 => Kind::Lookup(body.split(|byte| *byte == 0).next()?.to_vec()),
        // FUSE_FORGET, FUSE_BATCH_FORGET.
        2 | 42 => Kind::Forget,
        3 => Kind::GetAttr,
        14 => Kind::Open,
        15 => Kind::Read {
            handle: long(0)?,
            offset: long(8)?,
            size: number(16)?,
        },
        17 => Kind::StatFs,
        18 => Kind::Release { handle: long(0)? },
        26 => Kind::Init { major: number(0)? },
        _ => Kind::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = bytes_of(&[length, opcode]);
        bytes.extend(words_of(&[77, 5, 0, 0]));
        bytes.extend(body);
        bytes
    }

    #[test]
    fn requests() {
        let read = [words_of(&[9, 4096]), bytes_of(&[100, 0])].concat();
        for (opcode, body, kind) in [
            (1, b"meminfo\0".to_vec(), Kind::Lookup(b"meminfo".to_vec())),
            (1, b"".to_vec(), Kind::Lookup(Vec::new())),
            (2, vec![0; 8], Kind::Forget),
            (3, vec![0; 16], Kind::GetAttr),
            (
                15,
                read.clone(),
                Kind::Read {
                    handle: 9,
                    offset: 4096,
                    size: 100,
                },
            ),
            (15, read[..19].to_vec(), Kind::Other),
            (18, vec![1, 0, 0, 0, 0, 0, 0], Kind::Other),
            (26, bytes_of(&[7, 40, 0, 0]), Kind::Init { major: 7 }),
            (26, vec![7], Kind::Other),
            (16, vec![0; 40], Kind::Other),
            (u32::MAX, Vec::new(), Kind::Other),
        ] {
            let parsed = parse(&request(opcode, &body)).unwrap();
            assert_eq!((parsed.unique, parsed.node), (77, 5));
            assert_eq!(parsed.kind, kind, "{opcode}");
        }
    }

    #[test]
    fn what_is_no_request() {
        let mut whole = request(3, &[0; 16]);
        assert_eq!(parse(&whole[..HEADER - 1]), None);
        assert_eq!(parse(&whole[..HEADER]), None);
        whole.push(0);
        assert_eq!(parse(&whole), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn whatever_the_length_it_is_a_request_or_other() {
        let body: Vec<u8> = (0..64).map(|byte: u8| byte.wrapping_mul(37)).collect();
        for opcode in (0..64).chain([4096, u32::MAX]) {
            for length in 0..body.len() {
                let parsed = parse(&request(opcode, &body[..length])).unwrap();
                match parsed.kind {
                    Kind::Read { .. } => assert!(opcode == 15 && length >= 20),
                    Kind::Release { .. } => assert!(opcode == 18 && length >= 8),
                    Kind::Init { .. } => assert!(opcode == 26 && length >= 4),
                    Kind::Lookup(name) => assert!(opcode == 1 && name.len() <= length),
                    Kind::GetAttr | Kind::Open | Kind::StatFs | Kind::Forget => {
                        assert!([2, 3, 14, 17, 42].contains(&opcode));
                    }
                    Kind::Other => assert!(![2, 3, 14, 17, 42].contains(&opcode)),
                }
            }
        }
    }

    #[test]
    fn answers_are_as_long_as_the_kernel_wants_them() {
        // The sizes of fuse_attr, fuse_entry_out and fuse_attr_out in linux/fuse.h.
        let file = attributes(Node::File(3));
        assert_eq!(file.len(), 88);
        assert_eq!(words_of(&[0; 5]).len() + file.len(), 128);
        assert_eq!(words_of(&[0; 2]).len() + file.len(), 104);
        assert_eq!(file[60..64], (libc::S_IFREG | 0o444).to_ne_bytes());
    }
}
