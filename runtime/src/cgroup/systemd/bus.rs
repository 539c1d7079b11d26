//! A connection to a message bus: no thread, no wait without a bound.
//!
//! Everything up to the first call that needs an answer goes out at once, without waiting for the answers in between:
//! authentication (D-Bus Specification, "Auth Protocol"), Hello, the match for JobRemoved. The bus does one after the
//! other. So a call costs one round trip, and a job the wait for its end.

use std::env;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::wire::{Call, Message, PROLOGUE, Writer, kind};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::poll::{self, Moved, PollFd, PollFlags};
use crate::sys::{ids, socket};

/// Whose systemd is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Bus {
    /// The host's.
    #[default]
    System,
    /// The user's own (`systemd --user`), for containers without root.
    User,
}

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// Where systemd listens itself. systemctl uses it, and so does vzrun where there is no bus. It is not the first choice:
/// whoever is connected there is sent each change of each unit, so that many containers at a time would be in each
/// other's way, and in systemd's.
const PRIVATE: &str = "unix:path=/run/systemd/private";

/// An identity without a name, so that the bus takes the one that the socket has: in a user namespace a uid of ours means
/// nothing to it.
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// More than the bus says in answer to that.
const LONGEST_LINE: usize = 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// Not a bus, but systemd itself.
    pub(super) is_private: bool,
    serial: u32,
    /// Not yet sent.
    out: Vec<u8>,
    /// Come in and not yet read.
    input: Vec<u8>,
    authenticated: bool,
}

impl Connection {
    /// Connects; nothing is sent yet.
    pub(super) fn open(bus: Bus) -> Result<Connection> {
        let (address, chosen) = address(bus);
        let (socket, is_private) = match connect(&address) {
            Ok(socket) => (socket, false),
            Err(error) if chosen || bus == Bus::User || ids::euid() != 0 => return Err(error),
            Err(error) => match connect(PRIVATE.as_bytes()) {
                Ok(socket) => (socket, true),
                Err(_) => return Err(error),
            },
        };
        poll::set_nonblocking(&socket)?;
        let mut connection = Connection {
            socket,
            is_private,
            serial: 0,
            out: AUTHENTICATION.to_vec(),
            input: Vec::new(),
            authenticated: false,
        };
        if !is_private {
            connection.tell_bus("Hello", None)?;
        }
        Ok(connection)
    }

    /// Asks the bus for these signals; their sender must still be looked at, since anybody may send a signal to anybody.
    pub(super) fn subscribe(&mut self, rule: &str) -> Result<()> {
        match self.is_private {
            true => Ok(()),
            false => self.tell_bus("AddMatch", Some(rule)),
        }
    }

    fn tell_bus(&mut self, member: &str, argument: Option<&str>) -> Result<()> {
        let mut body = Writer::default();
        if let Some(argument) = argument {
            body.text(argument)?;
        }
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            signature: if argument.is_some() { "s" } else { "" },
            body,
            // Hello has an answer in any case; that is passed over.
            answered: argument.is_none(),
        };
        self.queue(&call).map(drop)
    }

    /// Puts a call behind what is still to be sent; its number comes back with the answer.
    pub(super) fn queue(&mut self, call: &Call<'_>) -> Result<u32> {
        self.serial += 1;
        let bytes = call.encode(self.serial)?;
        self.out.extend_from_slice(&bytes);
        Ok(self.serial)
    }

    /// Sends what is queued as far as it goes without waiting.
    pub(super) fn flush(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match socket::send_some(&self.socket, &self.out)? {
                Moved::Bytes(n) => drop(self.out.drain(..n)),
                Moved::Later => return Ok(()),
                Moved::End => return Err(closed()),
            }
        }
        Ok(())
    }

    /// The next message.
    pub(super) fn receive(&mut self, until: Instant) -> Result<Message> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(message);
            }
            self.flush()?;
            let mut interest = PollFlags::IN;
            if !self.out.is_empty() {
                interest |= PollFlags::OUT;
            }
            let mut fds = [PollFd::new(&self.socket, interest)];
            if !poll::poll(&mut fds, Some(until))? {
                return Err(timeout());
            }
            let mut buffer = [0u8; 4096];
            match poll::read(&self.socket, &mut buffer)? {
                Moved::Bytes(n) => self.input.extend_from_slice(&buffer[..n]),
                Moved::Later => {}
                Moved::End => return Err(closed()),
            }
        }
    }

    /// A message, if a whole one is there.
    fn next(&mut self) -> Result<Option<Message>> {
        while !self.authenticated {
            let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") else {
                return match self.input.len() {
                    n if n > LONGEST_LINE => Err(refused("an endless line")),
                    _ => Ok(None),
                };
            };
            let line: Vec<u8> = self.input.drain(..end + 2).collect();
            match line.strip_suffix(b"\r\n").unwrap_or_default() {
                line if line.starts_with(b"OK ") || line == b"OK" => self.authenticated = true,
                b"DATA" => {}
                other => return Err(refused(&String::from_utf8_lossy(other))),
            }
        }
        let Some(prologue) = self.input.get(..PROLOGUE) else {
            return Ok(None);
        };
        let length = Message::length(prologue)?;
        if self.input.len() < length {
            return Ok(None);
        }
        let bytes: Vec<u8> = self.input.drain(..length).collect();
        Message::decode(&bytes).map(Some)
    }

    /// The answer to a call; other messages on the way are handed to `aside`.
    ///
    /// # Errors
    /// [`Refusal::Said`] with the name of the error that the other side has answered with.
    pub(super) fn answer(
        &mut self,
        serial: u32,
        until: Instant,
        mut aside: impl FnMut(Message),
    ) -> std::result::Result<Message, Refusal> {
        loop {
            let message = self.receive(until)?;
            match message.kind {
                kind::RETURN if message.reply_to == serial => return Ok(message),
                kind::ERROR if message.reply_to == serial => {
                    let text = match message.signature.starts_with('s') {
                        true => message.arguments().text().unwrap_or_default().to_owned(),
                        false => String::new(),
                    };
                    return Err(Refusal::Said {
                        name: message.error,
                        text,
                    });
                }
                // Hello is the first of our messages; without its answer nothing else will have one.
                kind::ERROR if message.reply_to == 1 && !self.is_private => {
                    return Err(Refusal::Failed(refused(&message.error)));
                }
                _ => aside(message),
            }
        }
    }
}

/// Why a call has brought nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The other side says so.
    Said {
        name: String,
        text: String,
    },
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Said { name, text } if text.is_empty() => Error::new(ErrorKind::Process, name),
            Refusal::Said { name, text } => {
                Error::new(ErrorKind::Process, format!("{text} ({name})"))
            }
            Refusal::Failed(error) => error,
        }
    }
}

fn closed() -> Error {
    Error::new(
        ErrorKind::Process,
        "systemd's bus has closed the connection",
    )
}

pub(super) fn timeout() -> Error {
    Error::new(
        ErrorKind::Process,
        "timed out: no answer from systemd's bus",
    )
}

fn refused(what: &str) -> Error {
    let text = format!("systemd's bus refuses the connection: {what}");
    Error::new(ErrorKind::Process, text)
}

/// The address of a bus, and whether the caller's environment has chosen it.
fn address(bus: Bus) -> (Vec<u8>, bool) {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let (name, usual) = match bus {
        Bus::System => ("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS.as_bytes().to_vec()),
        Bus::User => {
            let directory = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| {
                let directory = format!("/run/user/{}", ids::euid());
                OsString::from(directory)
            });
            let path = [directory.as_bytes(), b"/bus"].concat();
            (
                "DBUS_SESSION_BUS_ADDRESS",
                [b"unix:path=", &escape(&path)[..]].concat(),
            )
        }
    };
    match variable(name) {
        Some(value) => (value.into_vec(), true),
        None => (usual, false),
    }
}

/// Bytes that mean something in an address are written as `%hex`.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'\\' | b'*' => {
                escaped.push(*byte)
            }
            _ => escaped.extend(format!("%{byte:02x}").bytes()),
        }
    }
    escaped
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        if *byte != b'%' {
            plain.push(*byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        plain.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    Some(plain)
}

/// The sockets that an address names (D-Bus Specification, "Server Addresses"): a path, or a name with `@` in front.
fn sockets(address: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for one in address.split(|byte| *byte == b';') {
        let Some(keys) = one.strip_prefix(b"unix:") else {
            continue;
        };
        for key in keys.split(|byte| *byte == b',') {
            if let Some(path) = key.strip_prefix(b"path=").and_then(unescape) {
                found.push(path);
            } else if let Some(name) = key.strip_prefix(b"abstract=").and_then(unescape) {
                found.push([b"@", &name[..]].concat());
            }
        }
    }
    found
}

/// The first of the sockets of an address that can be connected to.
fn connect(address: &[u8]) -> Result<OwnedFd> {
    let shown = String::from_utf8_lossy(address).into_owned();
    let mut failure = Error::config(format!(
        "the bus address {shown:?} names no unix socket (unix:path= or unix:abstract=)"
    ));
    for socket in sockets(address) {
        let connected = match socket.strip_prefix(b"@") {
            Some(name) => socket::connect_abstract(name),
            None => socket::connect(
                Path::new(&OsString::from_vec(socket)),
                rustix::net::SocketType::STREAM,
            ),
        };
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = error,
        }
    }
    Err(failure.wrap("cannot connect to systemd's bus"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            (
                "unix:path=/run/dbus/system_bus_socket",
                &["/run/dbus/system_bus_socket"][..],
            ),
            (
                "unix:path=/a%20b,guid=00;unix:abstract=/tmp/x,guid=1",
                &["/a b", "@/tmp/x"],
            ),
            ("tcp:host=x;unix:path=/a", &["/a"]),
            ("unix:path=/a%2", &[]),
            ("unix:path=/a%zz", &[]),
            ("unix:tmpdir=/tmp", &[]),
            ("", &[]),
            ("unix:", &[]),
        ] {
            let found: Vec<String> = sockets(address.as_bytes())
                .into_iter()
                .map(|socket| String::from_utf8(socket).unwrap())
                .collect();
            assert_eq!(found, expected, "{address}");
        }
        assert_eq!(unescape(&escape(b"/a b,c;%d")).unwrap(), b"/a b,c;%d");
    }

    /// A connection to nobody, with this come in.
    fn with_input(bytes: &[u8]) -> Connection {
        let (socket, _) = socket::seqpacket_pair().unwrap();
        Connection {
            socket,
            is_private: false,
            serial: 1,
            out: Vec::new(),
            input: bytes.to_vec(),
            authenticated: false,
        }
    }

    #[test]
    fn what_a_bus_may_say_first() {
        assert!(with_input(b"").next().unwrap().is_none());
        assert!(with_input(b"DATA\r\nOK 0123\r\n").next().unwrap().is_none());
        assert!(with_input(b"OK 0123\r\nl").next().unwrap().is_none());
        assert!(with_input(b"REJECTED EXTERNAL\r\n").next().is_err());
        assert!(with_input(b"ERROR\r\n").next().is_err());
        assert!(with_input(&[b'x'; 2000]).next().is_err());
        assert!(with_input(b"OK\r\nl\x02\0\x09aaaaaaaaaaaa").next().is_err());
        assert!(
            with_input(b"OK\r\nl\x02\0\x01\xff\xff\xff\xffaaaabbbb")
                .next()
                .is_err()
        );
    }

    #[test]
    fn the_bound_holds() {
        let (here, _there) = socket::seqpacket_pair().unwrap();
        poll::set_nonblocking(&here).unwrap();
        let mut connection = with_input(b"");
        connection.socket = here;
        let start = Instant::now();
        let until = start + std::time::Duration::from_millis(30);
        let error = connection.receive(until).unwrap_err();
        assert!(error.to_string().starts_with("timed out"), "{error}");
        assert!(start.elapsed() >= std::time::Duration::from_millis(30));
    }
}
