//! Unix datagram sockets with names, as sd_notify(3) uses them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::{self, AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::socket;
use crate::error::{Context, Result};

fn new() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .call(|| "socket(AF_UNIX, SOCK_DGRAM)")
}

/// bind(2) to a new name in a directory, whose path may be longer than `sun_path`. Reads from it do not wait.
pub(crate) fn bind(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    bind_path(&format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// bind(2) to a new name at a short path. Reads from it do not wait.
pub(crate) fn bind_path(path: &str) -> Result<OwnedFd> {
    let socket = new()?;
    let address = SocketAddrUnix::new(path).call(|| format!("bind({path:?})"))?;
    net::bind(&socket, &address).call(|| format!("bind({path:?})"))?;
    Ok(socket)
}

/// connect(2) to a path, or to an abstract name where `address` begins with `@`.
pub(crate) fn connect(address: &OsStr) -> Result<OwnedFd> {
    let Some(name) = address.as_bytes().strip_prefix(b"@") else {
        return socket::connect(Path::new(address), SocketType::DGRAM);
    };
    let socket = net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .call(|| "socket(AF_UNIX, SOCK_DGRAM)")?;
    let call = || format!("connect({address:?})");
    let address = SocketAddrUnix::new_abstract_name(name).call(call)?;
    rustix::io::retry_on_intr(|| net::connect(&socket, &address)).call(call)?;
    Ok(socket)
}

/// recv(2) of one datagram; `None` when there is none now.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<&[u8]>> {
    let received =
        rustix::io::retry_on_intr(|| net::recv(&socket, &mut *buffer, RecvFlags::DONTWAIT));
    match received {
        Ok((n, _)) => Ok(Some(&buffer[..n])),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno).call(|| "recv()"),
    }
}
