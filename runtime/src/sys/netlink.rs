//! rtnetlink(7): links and their addresses. One request at a time, on a socket of the namespace that it was opened in.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::mount::last_errno;
use super::{fs, namespace};
use crate::error::{Context, Error, ErrorKind, Result};

/// One address of a link, as it is to be put on again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// The link's own address.
    pub(crate) local: IpAddr,
    /// The address of the other side of a point-to-point link.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) broadcast: Option<Ipv4Addr>,
    pub(crate) prefix: u8,
}

/// An rtnetlink socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
}

impl Netlink {
    /// socket(2) of NETLINK_ROUTE in the network namespace of this process.
    pub(crate) fn open() -> Result<Netlink> {
        // NETLINK_ROUTE is protocol 0.
        let protocol = None;
        let flags = SocketFlags::CLOEXEC;
        net::socket_with(
            net::AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            protocol,
        )
        .map(|socket| Netlink { socket })
        .call(|| "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)")
    }

    /// The same in another network namespace; this process is there only meanwhile.
    pub(crate) fn open_in(netns: BorrowedFd<'_>) -> Result<Netlink> {
        let own = fs::open("/proc/self/ns/net", fs::OFlags::RDONLY)?;
        namespace::setns(netns, libc::CLONE_NEWNET as u64)?;
        let netlink = Netlink::open();
        namespace::setns(own, libc::CLONE_NEWNET as u64)?;
        netlink
    }

    /// The number of the link with this name.
    ///
    /// # Errors
    /// ENODEV where there is none.
    pub(crate) fn index(&self, name: &str) -> Result<u32> {
        net::netdevice::name_to_index(&self.socket, name)
            .call(|| format!("ioctl(SIOCGIFINDEX, {name:?})"))
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(&self, index: u32, up: bool) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags.set(LinkFlags::Up, up);
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
            .map(drop)
            .context(|| format!("RTM_SETLINK({index}, {})", if up { "up" } else { "down" }))
    }

    /// Moves a link to another network namespace, where it has this name from the first moment on.
    pub(crate) fn move_link(&self, index: u32, name: &str, to: BorrowedFd<'_>) -> Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::NetNsFd(to.as_raw_fd()),
        ];
        self.request(RouteNetlinkMessage::SetLink(link), 0)
            .map(drop)
            .context(|| format!("RTM_SETLINK({index}, IFLA_IFNAME {name:?}, IFLA_NET_NS_FD)"))
    }

    /// The global and permanent addresses of a link: those that somebody has given it, and that mean something in
    /// another namespace too.
    pub(crate) fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let all = self
            .request(
                RouteNetlinkMessage::GetAddress(AddressMessage::default()),
                NLM_F_DUMP,
            )
            .context(|| "RTM_GETADDR")?;
        let of_link = all.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) if address.header.index == index => {
                kept_address(&address)
            }
            _ => None,
        });
        Ok(of_link.collect())
    }

    /// Gives a link an address.
    pub(crate) fn add_address(&self, index: u32, address: &Address) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = match address.local {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.index = index;
        message.header.prefix_len = address.prefix;
        message.attributes = vec![
            AddressAttribute::Local(address.local),
            AddressAttribute::Address(address.peer.unwrap_or(address.local)),
        ];
        let broadcast = address.broadcast.map(AddressAttribute::Broadcast);
        message.attributes.extend(broadcast);
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .map(drop)
        .context(|| format!("RTM_NEWADDR({index}, {}/{})", address.local, address.prefix))
    }

    /// Sends one request and gives what comes back, up to the acknowledgement or the end of the dump.
    fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        net::send(&self.socket, &bytes, SendFlags::empty())
            .call(|| format!("send({} bytes)", bytes.len()))?;

        let mut answers = Vec::new();
        // The kernel fits what it sends to the buffer that it is asked with, up to 32 KiB.
        let mut buffer = vec![0; 32 << 10];
        loop {
            let received = rustix::io::retry_on_intr(|| {
                net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC)
            });
            let (size, length) = received.call(|| "recv()")?;
            if length > size {
                return Err(malformed("an answer larger than 32 KiB"));
            }
            let mut rest = &buffer[..size];
            while !rest.is_empty() {
                let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| malformed(&error.to_string()))?;
                let length = (packet.header.length as usize).next_multiple_of(4);
                match packet.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(Errno::from_raw_os_error(error.raw_code().wrapping_neg()))
                            .call(|| "NLMSG_ERROR");
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
                rest = rest.get(length.max(1)..).unwrap_or_default();
            }
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Process, format!("netlink: {what}"))
}

/// `None` for an address that stays behind.
fn kept_address(message: &AddressMessage) -> Option<Address> {
    let mut kept = Address {
        local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        peer: None,
        broadcast: None,
        prefix: message.header.prefix_len,
    };
    let (mut own, mut other, mut permanent) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Broadcast(address) => kept.broadcast = Some(*address),
            AddressAttribute::Flags(flags) => permanent = flags.contains(AddressFlags::Permanent),
            _ => {}
        }
    }
    if message.header.scope != AddressScope::Universe || !permanent {
        return None;
    }
    // IPv6 gives only IFA_ADDRESS, unless there is a peer.
    kept.local = own.or(other)?;
    kept.peer = other.filter(|other| *other != kept.local);
    Some(kept)
}

/// ioctl(2) SIOCSIFFLAGS: sets the loopback device of this process's network namespace up. Three calls, where netlink
/// would need more.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = net::socket_with(
        net::AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .call(|| "socket(AF_UNIX, SOCK_DGRAM)")?;
    // SAFETY: `ifreq` is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `request` is a live `struct ifreq` with a NUL-terminated name, as this ioctl reads it.
    let ret = unsafe {
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            std::ptr::from_ref(&request),
        )
    };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os("ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_a_link_and_its_addresses_stay() {
        let netlink = Netlink::open().unwrap();
        let lo = netlink.index("lo").unwrap();
        assert_eq!(lo, 1);
        // 127.0.0.1 is of host scope.
        let loopback = |address: &Address| address.local.is_loopback();
        assert!(!netlink.addresses(lo).unwrap().iter().any(loopback));
        let error = netlink.index("no-such-link").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
    }

    #[test]
    fn an_answer_with_an_errno_is_an_error() {
        let netlink = Netlink::open().unwrap();
        let error = netlink.set_up(u32::MAX >> 1, true).unwrap_err();
        assert!(
            matches!(error.errno(), Some(Errno::NODEV | Errno::PERM)),
            "{error}"
        );
    }
}
