//! The unix sockets on which a runtime sends an fd: `--console-socket` and `--pidfd-socket`.

use crate::{DEADLINE, wait::readable};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listening socket that takes one fd from each connection.
#[derive(Debug)]
pub struct FdSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl FdSocket {
    /// Listens at `path`.
    pub fn bind(path: impl AsRef<Path>) -> FdSocket {
        let path = path.as_ref().to_path_buf();
        let listener = UnixListener::bind(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        FdSocket { listener, path }
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the next connection's one message: the fd, and the text that came with it.
    pub fn receive(&self) -> (OwnedFd, String) {
        assert!(
            readable(&self.listener, DEADLINE),
            "nobody connected to {:?}",
            self.path
        );
        let (stream, _) = self.listener.accept().unwrap();
        assert!(
            readable(&stream, DEADLINE),
            "nothing was sent to {:?}",
            self.path
        );
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; 4096];
        let mut slices = [IoSliceMut::new(&mut text)];
        let message = recvmsg(&stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        assert_eq!(fds.len(), 1, "one fd must come to {:?}", self.path);
        let text = String::from_utf8_lossy(&text[..message.bytes]).into_owned();
        (fds.remove(0), text)
    }
}
