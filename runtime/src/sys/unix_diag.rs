//! unix_diag of sock_diag(7): the unix sockets of a network namespace, and who is connected to whom.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{fs, namespace};
use crate::error::{Context, Error, ErrorKind, Result};

/// NETLINK_SOCK_DIAG of linux/netlink.h.
const SOCK_DIAG: u32 = 4;
/// SOCK_DIAG_BY_FAMILY of linux/sock_diag.h, and the messages that end an answer.
const BY_FAMILY: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP.
const REQUEST: u16 = 0x1 | 0x300;
/// UDIAG_SHOW_PEER of linux/unix_diag.h, and UNIX_DIAG_PEER, which comes of it.
const SHOW: u32 = 0x4;
const PEER: u16 = 2;
/// Length of `struct nlmsghdr`, and of that with `struct unix_diag_msg`.
const HEADER: usize = 16;
const BODY: usize = HEADER + 16;

/// A unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnixSocket {
    pub(crate) inode: u32,
    /// SOCK_STREAM and so on.
    pub(crate) kind: u8,
    /// The inode of the socket that it is connected to, if that is open and has been accepted.
    pub(crate) peer: Option<u32>,
}

/// All unix sockets of a network namespace; this process is in it only meanwhile.
pub(crate) fn sockets_in(netns: BorrowedFd<'_>) -> Result<Vec<UnixSocket>> {
    let own = fs::open("/proc/self/ns/net", fs::OFlags::RDONLY)?;
    namespace::setns(netns, libc::CLONE_NEWNET as u64)?;
    let socket = open();
    namespace::setns(own, libc::CLONE_NEWNET as u64)?;
    list(&socket?)
}

fn open() -> Result<OwnedFd> {
    let protocol = std::num::NonZero::new(SOCK_DIAG).map(net::Protocol::from_raw);
    let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
    net::socket_with(family, SocketType::RAW, flags, protocol)
        .call(|| "socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG)")
}

fn list(socket: &OwnedFd) -> Result<Vec<UnixSocket>> {
    // `struct unix_diag_req`: family, protocol and padding, states, inode, what to show, cookie.
    let mut request = Vec::with_capacity(40);
    request.extend(40u32.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend([0; 4]);
    request.extend(SHOW.to_ne_bytes());
    request.extend([0; 8]);
    net::send(socket, &request, SendFlags::empty()).call(|| "send(SOCK_DIAG_BY_FAMILY)")?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let (length, _) =
            rustix::io::retry_on_intr(|| net::recv(socket, &mut buffer[..], RecvFlags::empty()))
                .call(|| "recv(sock_diag)")?;
        if read(&buffer[..length], &mut sockets)? {
            return Ok(sockets);
        }
    }
}

/// Takes the messages of an answer apart; whether it was the last.
fn read(mut bytes: &[u8], sockets: &mut Vec<UnixSocket>) -> Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        let message = bytes.get(HEADER..length).and(bytes.get(..length));
        let message = message.ok_or_else(|| malformed("a message of a wrong length"))?;
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(malformed("sock_diag(AF_UNIX) is refused")),
            _ => sockets.extend(parse(message)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn parse(message: &[u8]) -> Option<UnixSocket> {
    let mut socket = UnixSocket {
        kind: *message.get(HEADER + 1)?,
        inode: u32_at(message, HEADER + 4)?,
        peer: None,
    };
    let mut rest = message.get(BODY..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = usize::from(length);
        let value = rest.get(4..length)?;
        if kind == PEER {
            socket.peer = u32_at(value, 0).filter(|inode| *inode != 0);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Process, format!("netlink: {what}"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::linux::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn inode(socket: impl AsFd) -> u32 {
        let file = std::fs::File::from(socket.as_fd().try_clone_to_owned().unwrap());
        file.metadata().unwrap().st_ino() as u32
    }

    #[test]
    fn both_ends_of_a_pair() {
        let (a, b) = UnixStream::pair().unwrap();
        let all = list(&open().unwrap()).unwrap();
        let found = all.iter().find(|socket| socket.inode == inode(&a)).unwrap();
        assert_eq!(found.peer, Some(inode(&b)));
        assert_eq!(i32::from(found.kind), libc::SOCK_STREAM);
    }

    #[test]
    fn a_message_that_is_cut_off_is_no_socket() {
        assert!(!read(&[], &mut Vec::new()).unwrap());
        assert!(read(&[200, 0, 0, 0, 20, 0, 0, 0], &mut Vec::new()).is_err());
        assert!(read(&[0, 0, 0, 0, 20, 0, 0, 0], &mut Vec::new()).is_err());
        assert_eq!(parse(&[0; 24]), None);
    }
}
