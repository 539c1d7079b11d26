//! Unix sockets with descriptors in their messages (SCM_RIGHTS).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use rustix::io::Errno;

use super::poll::Moved;
use crate::error::{Context, Result};

/// socketpair(2) of SOCK_SEQPACKET, close-on-exec: messages keep their borders, and the end of one side is seen.
pub(crate) fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd)> {
    net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)")
}

/// A connected unix socket of this type. The path may be longer than `sun_path`: it is reached through its directory.
pub(crate) fn connect(path: &Path, kind: SocketType) -> Result<OwnedFd> {
    let place = super::fs::open(path, super::fs::OFlags::PATH)?;
    connect_to(&place, kind, || format!("connect({path:?})"))
}

/// The same to one that is held by an O_PATH descriptor.
pub(crate) fn connect_held(place: &OwnedFd, kind: SocketType) -> Result<OwnedFd> {
    connect_to(place, kind, || {
        format!("connect({:?})", super::fs::shown(place))
    })
}

fn connect_to(place: &OwnedFd, kind: SocketType, call: impl Fn() -> String) -> Result<OwnedFd> {
    let socket = net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX)")?;
    let short = format!("/proc/self/fd/{:?}", super::fs::shown(place));
    let address = SocketAddrUnix::new(short.as_str()).call(&call)?;
    rustix::io::retry_on_intr(|| net::connect(&socket, &address)).call(&call)?;
    Ok(socket)
}

/// A connected stream socket of the abstract namespace (unix(7)).
pub(crate) fn connect_abstract(name: &[u8]) -> Result<OwnedFd> {
    let socket = net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .call(|| "socket(AF_UNIX)")?;
    let call = || format!("connect(\"@{}\")", String::from_utf8_lossy(name));
    let address = SocketAddrUnix::new_abstract_name(name).call(call)?;
    rustix::io::retry_on_intr(|| net::connect(&socket, &address)).call(call)?;
    Ok(socket)
}

/// send(2) of as much as goes without a signal, should the other side be gone.
pub(crate) fn send_some(socket: impl AsFd, bytes: &[u8]) -> Result<Moved> {
    match rustix::io::retry_on_intr(|| net::send(&socket, bytes, SendFlags::NOSIGNAL)) {
        Ok(n) => Ok(Moved::Bytes(n)),
        Err(Errno::AGAIN) => Ok(Moved::Later),
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(Moved::End),
        Err(errno) => Err(errno).call(|| format!("send({} bytes)", bytes.len())),
    }
}

/// sendmsg(2) of one message with these descriptors.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        net::sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })
    .map(drop)
    .call(|| format!("sendmsg({} bytes, {} fds)", bytes.len(), fds.len()))
}

/// recvmsg(2) of one message of at most `buffer.len()` bytes; 0 bytes is the end of the other side.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })
    .call(|| "recvmsg()")?;
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((message.bytes, fds))
}
/// SO_DOMAIN and SO_PROTOCOL: AF_* and IPPROTO_*.
pub(crate) fn family_and_protocol(socket: impl AsFd) -> Result<(i32, i32)> {
    let socket = socket.as_fd();
    let family = net::sockopt::socket_domain(socket).call(|| "getsockopt(SO_DOMAIN)")?;
    let protocol = net::sockopt::socket_protocol(socket).call(|| "getsockopt(SO_PROTOCOL)")?;
    let protocol = protocol.map_or(0, |protocol| protocol.as_raw().get() as i32);
    Ok((family.as_raw().into(), protocol))
}
