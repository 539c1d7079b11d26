//! Sockets: connections, and what is connected to the outside.

use std::collections::{HashMap, HashSet};

use rustix::process::Pid;

use super::{Finding, Surroundings, is_gone};
use crate::error::Result;
use crate::sys::fs::{self, OFlags};
use crate::sys::unix_diag::{self, UnixSocket};
use crate::sys::{pidfd, socket};

/// Lists of sockets below /proc/PID/net, and in which field the inode is.
const TABLES: [(&str, usize); 9] = [
    ("tcp", 9),
    ("tcp6", 9),
    ("udp", 9),
    ("udp6", 9),
    ("udplite", 9),
    ("raw", 9),
    ("raw6", 9),
    ("packet", 8),
    ("netlink", 9),
];
/// States of TCP in them.
const ESTABLISHED: u8 = 0x1;
const CLOSED: u8 = 0x7;
const LISTENS: u8 = 0xa;

/// The sockets of all network namespaces of a container.
pub(super) struct Sockets {
    /// Those of the Internet and of the kernel, by inode: for TCP the state, and how many connections wait.
    plain: HashMap<u32, Option<(u8, u32)>>,
    unix: HashMap<u32, UnixSocket>,
    /// All inodes that processes of the container have open.
    own: HashSet<u32>,
}

impl Sockets {
    pub(super) fn of(around: &Surroundings<'_>) -> Result<Sockets> {
        let procfs = around.procfs;
        let mut sockets = Sockets {
            plain: HashMap::new(),
            unix: HashMap::new(),
            own: HashSet::new(),
        };
        let mut networks = HashSet::new();
        for pid in &around.tree {
            sockets.own.extend(open_in(*pid, around));
            let Ok(network) = procfs.link(&format!("{pid}/ns/net")) else {
                continue;
            };
            if !networks.insert(network) {
                continue;
            }
            for (name, field) in TABLES {
                // Not every kernel has every family.
                let text = procfs.read_list(&format!("{pid}/net/{name}"));
                let lines = text.as_deref().unwrap_or_default().lines().skip(1);
                let is_tcp = name.starts_with("tcp");
                sockets
                    .plain
                    .extend(lines.filter_map(|line| entry(line, field, is_tcp)));
            }
            match fs::openat(procfs, format!("{pid}/ns/net"), OFlags::RDONLY, 0) {
                Ok(network) => {
                    let all = unix_diag::sockets_in(std::os::fd::AsFd::as_fd(&network))?;
                    sockets
                        .unix
                        .extend(all.into_iter().map(|socket| (socket.inode, socket)));
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sockets)
    }

    /// What is in the way at this descriptor of the process.
    pub(super) fn look(
        &self,
        pid: i32,
        number: &str,
        inode: u32,
        around: &Surroundings<'_>,
    ) -> Result<Vec<Finding>> {
        if let Some(unix) = self.unix.get(&inode) {
            return Ok(self.of_unix(unix, around).into_iter().collect());
        }
        let Some(tcp) = self.plain.get(&inode) else {
            return Ok(unlisted(pid, number)?.into_iter().collect());
        };
        let found = tcp.and_then(|(state, waiting)| of_tcp(state, waiting, around));
        Ok(found.into_iter().collect())
    }

    fn of_unix(&self, unix: &UnixSocket, around: &Surroundings<'_>) -> Option<Finding> {
        unix.peer.filter(|peer| !self.own.contains(peer))?;
        let datagrams = i32::from(unix.kind) == libc::SOCK_DGRAM;
        if datagrams && around.allowed.ext_unix_sk {
            return None;
        }
        let remedy = match datagrams {
            true => "--ext-unix-sk allows datagram sockets that are connected to the outside",
            false => "CRIU saves no half of a connection: close it first",
        };
        Some((
            "has a unix socket that is connected to one outside of the container".into(),
            remedy,
        ))
    }
}

fn of_tcp(state: u8, waiting: u32, around: &Surroundings<'_>) -> Option<Finding> {
    const IN_FLIGHT: &str = "--tcp-skip-in-flight leaves half-open connections out";
    let allowed = around.allowed;
    match state {
        CLOSED => None,
        LISTENS => (waiting > 0 && !allowed.tcp_skip_in_flight).then(|| {
            (
                "has TCP connections that wait to be accepted".into(),
                IN_FLIGHT,
            )
        }),
        _ if allowed.tcp_established => None,
        ESTABLISHED => Some((
            "has a TCP connection".into(),
            "--tcp-established saves connections",
        )),
        _ => Some((
            "has a TCP connection that is being made or closed".into(),
            "--tcp-established saves connections, --tcp-skip-in-flight leaves out half-open ones",
        )),
    }
}

/// A socket that is in no list: one of the Internet that has no address yet, or one that CRIU does not know.
fn unlisted(pid: i32, number: &str) -> Result<Option<Finding>> {
    let (Some(process), Ok(number)) = (Pid::from_raw(pid), number.parse()) else {
        return Ok(None);
    };
    let copy = pidfd::pidfd_open(process).and_then(|process| pidfd::getfd(process, number));
    let kind = match copy {
        // A seccomp filter around this process may not let it.
        Err(error)
            if matches!(
                error.errno(),
                Some(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)
            ) =>
        {
            return Ok(None);
        }
        // Closed since.
        Err(error) if error.errno() == Some(rustix::io::Errno::BADF) => return Ok(None),
        other => socket::family_and_protocol(other?)?,
    };
    let known = match kind.0 {
        libc::AF_UNIX | libc::AF_NETLINK | libc::AF_PACKET => true,
        libc::AF_INET | libc::AF_INET6 => !matches!(
            kind.1,
            libc::IPPROTO_SCTP | libc::IPPROTO_MPTCP | libc::IPPROTO_DCCP
        ),
        _ => false,
    };
    let finding = || {
        let (family, protocol) = kind;
        let reason =
            format!("has a socket that CRIU does not know (family {family}, protocol {protocol})");
        (reason, "close it first")
    };
    Ok((!known).then(finding))
}

/// A line of such a list.
fn entry(line: &str, field: usize, is_tcp: bool) -> Option<(u32, Option<(u8, u32)>)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let inode = fields.get(field)?.parse().ok()?;
    if !is_tcp {
        return Some((inode, None));
    }
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    let (_, received) = fields.get(4)?.split_once(':')?;
    let waiting = u32::from_str_radix(received, 16).ok()?;
    Some((inode, Some((state, waiting))))
}

/// The inodes of the sockets that a process has open.
fn open_in(pid: i32, around: &Surroundings<'_>) -> Vec<u32> {
    let numbers = around
        .procfs
        .names(&format!("{pid}/fd"))
        .unwrap_or_default();
    let inode = |number: String| {
        let target = around.procfs.link(&format!("{pid}/fd/{number}")).ok()?;
        target
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    numbers.into_iter().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_lists() {
        let listens = "   0: 0100007F:1E61 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 12345 1 0";
        assert_eq!(entry(listens, 9, true), Some((12345, Some((LISTENS, 2)))));
        assert_eq!(entry(listens, 9, false), Some((12345, None)));
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(entry(header, 9, true), None);
    }
}
