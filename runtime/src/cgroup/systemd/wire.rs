//! D-Bus messages as bytes (D-Bus Specification, "Message Protocol"): what vzrun says to systemd, and what it has to
//! understand of the answers. Nothing that comes in is trusted: each length and offset is checked.

use crate::error::{Error, ErrorKind, Result};

/// The longest message that is read; the specification allows 128 MiB, systemd's answers have some hundred bytes.
pub(super) const LONGEST: usize = 1 << 20;
/// What has to be there to know how long a message is.
pub(super) const PROLOGUE: usize = 16;

/// Kinds of messages.
pub(super) mod kind {
    pub(crate) const CALL: u8 = 1;
    pub(crate) const RETURN: u8 = 2;
    pub(crate) const ERROR: u8 = 3;
    pub(crate) const SIGNAL: u8 = 4;
}

const NO_REPLY_EXPECTED: u8 = 1;

/// A value of a unit's property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    U32s(Vec<u32>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Value::Bool(_) => "b",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::Bytes(_) => "ay",
            Value::U32s(_) => "au",
            Value::Pairs(_) => "a(ss)",
        }
    }
}

/// A method call to be.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) signature: &'a str,
    pub(super) body: Writer,
    /// Whether an answer is waited for.
    pub(super) answered: bool,
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Result<Vec<u8>> {
        let mut w = Writer::default();
        let flags = if self.answered { 0 } else { NO_REPLY_EXPECTED };
        w.bytes.extend([b'l', kind::CALL, flags, 1]);
        w.u32(length(self.body.bytes.len())?);
        w.u32(serial);
        let fields = w.open_array(8);
        for (code, signature, text) in [
            (1, "o", self.path),
            (2, "s", self.interface),
            (3, "s", self.member),
            (6, "s", self.destination),
        ] {
            w.pad(8);
            w.bytes.push(code);
            w.signature(signature);
            w.text(text)?;
        }
        if !self.signature.is_empty() {
            w.pad(8);
            w.bytes.push(8);
            w.signature("g");
            w.signature(self.signature);
        }
        w.close_array(fields)?;
        w.pad(8);
        w.bytes.extend_from_slice(&self.body.bytes);
        match w.bytes.len() {
            n if n > LONGEST => Err(Error::config("a message to systemd of more than 1 MiB")),
            _ => Ok(w.bytes),
        }
    }
}

/// Where the length of an array stands, and where its first item.
pub(super) struct OpenArray(usize, usize);

/// Bytes of a message, aligned from its beginning.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.pad(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.pad(8);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(value.into());
    }

    /// A string or an object path.
    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        if text.contains('\0') {
            return Err(Error::config(format!("NUL byte in {text:?} for systemd")));
        }
        self.u32(length(text.len())?);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    /// Ours are all short.
    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// Begins an array whose items are aligned so.
    pub(super) fn open_array(&mut self, alignment: usize) -> OpenArray {
        self.u32(0);
        let at = self.bytes.len() - 4;
        self.pad(alignment);
        OpenArray(at, self.bytes.len())
    }

    pub(super) fn close_array(&mut self, array: OpenArray) -> Result<()> {
        let OpenArray(at, start) = array;
        let length = length(self.bytes.len() - start)?;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// `(sv)`
    pub(super) fn property(&mut self, name: &str, value: &Value) -> Result<()> {
        self.pad(8);
        self.text(name)?;
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.bool(*value),
            Value::I32(value) => self.u32(value.cast_unsigned()),
            Value::U32(value) => self.u32(*value),
            Value::I64(value) => self.u64(value.cast_unsigned()),
            Value::U64(value) => self.u64(*value),
            Value::Text(text) => self.text(text)?,
            Value::Texts(list) => {
                let array = self.open_array(4);
                list.iter().try_for_each(|text| self.text(text))?;
                self.close_array(array)?;
            }
            Value::Bytes(list) => {
                let array = self.open_array(1);
                self.bytes.extend_from_slice(list);
                self.close_array(array)?;
            }
            Value::U32s(list) => {
                let array = self.open_array(4);
                list.iter().for_each(|value| self.u32(*value));
                self.close_array(array)?;
            }
            Value::Pairs(list) => {
                let array = self.open_array(8);
                for (first, second) in list {
                    self.pad(8);
                    self.text(first)?;
                    self.text(second)?;
                }
                self.close_array(array)?;
            }
        }
        Ok(())
    }
}

fn length(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::config("too long for a message to systemd"))
}

/// A message that has come in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// To which of our messages this is the answer.
    pub(super) reply_to: u32,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) sender: String,
    pub(super) signature: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// How long the message is that begins so.
    pub(super) fn length(prologue: &[u8]) -> Result<usize> {
        let mut r = Reader::new(prologue);
        match r.take(4)? {
            [b'l', _, _, 1] => {}
            [b'B', _, _, 1] => return Err(malformed("from a machine with another byte order")),
            _ => return Err(malformed("of an unknown version")),
        }
        let body = r.u32()? as usize;
        r.u32()?;
        let fields = r.u32()? as usize;
        let head = (PROLOGUE.saturating_add(fields)).next_multiple_of(8);
        match head.saturating_add(body) {
            length if length <= LONGEST => Ok(length),
            length => Err(malformed(&format!("of {length} bytes"))),
        }
    }

    /// Takes apart a whole message.
    pub(super) fn decode(bytes: &[u8]) -> Result<Message> {
        let mut r = Reader::new(bytes);
        let head = r.take(4)?;
        let mut message = Message {
            kind: head[1],
            ..Message::default()
        };
        let body = r.u32()? as usize;
        r.u32()?;
        let end = r.u32()? as usize + PROLOGUE;
        while r.at < end {
            r.align(8)?;
            let code = r.take(1)?[0];
            let signature = r.signature()?;
            match (code, signature) {
                (2, "s") => message.interface = r.text()?.to_owned(),
                (3, "s") => message.member = r.text()?.to_owned(),
                (4, "s") => message.error = r.text()?.to_owned(),
                (5, "u") => message.reply_to = r.u32()?,
                (7, "s") => message.sender = r.text()?.to_owned(),
                (8, "g") => message.signature = r.signature()?.to_owned(),
                (_, "s" | "o") => drop(r.text()?),
                (_, "u") => drop(r.u32()?),
                (_, "g") => drop(r.signature()?),
                _ => return Err(malformed("with an unknown header field")),
            }
        }
        r.align(8)?;
        message.body = r.take(body)?.to_owned();
        Ok(message)
    }

    /// To read its arguments from.
    pub(super) fn arguments(&self) -> Reader<'_> {
        Reader::new(&self.body)
    }
}

/// Reads what a [`Writer`] writes, and believes nothing.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        self.at = self.at.saturating_add(length);
        taken.ok_or_else(|| malformed("that is cut short"))
    }

    fn align(&mut self, to: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into();
        bytes
            .map(u32::from_le_bytes)
            .map_err(|_| malformed("that is cut short"))
    }

    /// A string or an object path.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        let length = self.u32()? as usize;
        self.terminated(length)
    }

    /// A string in a variant.
    pub(super) fn text_in_variant(&mut self) -> Result<&'a str> {
        match self.signature()? {
            "s" => self.text(),
            other => Err(malformed(&format!("with {other:?} where a string was due"))),
        }
    }

    fn signature(&mut self) -> Result<&'a str> {
        let length = self.take(1)?[0].into();
        self.terminated(length)
    }

    fn terminated(&mut self, length: usize) -> Result<&'a str> {
        let text = std::str::from_utf8(self.take(length)?);
        match (text, self.take(1)?) {
            (Ok(text), [0]) => Ok(text),
            _ => Err(malformed("with a string that is none")),
        }
    }
}

pub(super) fn malformed(how: &str) -> Error {
    Error::new(ErrorKind::Process, format!("a D-Bus message {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start_unit() -> Vec<u8> {
        let mut body = Writer::default();
        body.text("a.scope").unwrap();
        body.text("replace").unwrap();
        let list = body.open_array(8);
        for (name, value) in [
            ("Description", Value::Text("text".into())),
            ("Delegate", Value::Bool(true)),
            ("PIDs", Value::U32s(vec![7])),
            ("MemoryMax", Value::U64(u64::MAX)),
            ("AllowedCPUs", Value::Bytes(vec![3])),
            (
                "DeviceAllow",
                Value::Pairs(vec![("/dev/null".into(), "rwm".into())]),
            ),
            ("Wants", Value::Texts(vec!["x.slice".into()])),
            ("Nice", Value::I32(-1)),
            ("X", Value::I64(-1)),
        ] {
            body.property(name, &value).unwrap();
        }
        body.close_array(list).unwrap();
        let none = body.open_array(8);
        body.close_array(none).unwrap();
        let call = Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "StartTransientUnit",
            signature: "ssa(sv)a(sa(sv))",
            body,
            answered: true,
        };
        call.encode(9).unwrap()
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = start_unit();
        assert_eq!(Message::length(&bytes[..PROLOGUE]).unwrap(), bytes.len());
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.kind, kind::CALL);
        assert_eq!(message.member, "StartTransientUnit");
        assert_eq!(message.signature, "ssa(sv)a(sa(sv))");
        let mut arguments = message.arguments();
        assert_eq!(arguments.text().unwrap(), "a.scope");
        assert_eq!(arguments.text().unwrap(), "replace");
    }

    #[test]
    fn a_property_byte_by_byte() {
        let mut w = Writer::default();
        w.property("Ab", &Value::U64(0x0102)).unwrap();
        let expected = [
            2, 0, 0, 0, b'A', b'b', 0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(w.bytes, expected);
    }

    #[test]
    fn no_nul_gets_into_a_message() {
        assert!(Writer::default().text("a\0b").is_err());
        let text = Value::Text("\0".into());
        assert!(Writer::default().property("A", &text).is_err());
    }

    /// No message makes the reader panic, wherever it is cut and whichever of its bytes is another.
    #[test]
    fn hostile_messages() {
        let good = start_unit();
        for cut in 0..good.len() {
            assert!(Message::decode(&good[..cut]).is_err());
            let _ = Message::length(&good[..cut]);
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, b's', b'B'] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Message::length(&bad);
                if let Ok(message) = Message::decode(&bad) {
                    let mut arguments = message.arguments();
                    while arguments.text().is_ok() {}
                    let mut arguments = message.arguments();
                    while arguments.u32().is_ok() {}
                }
            }
        }
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..48)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed as u8
                })
                .collect();
            let _ = Message::length(&noise);
            let _ = Message::decode(&noise);
        }
        let mut huge = good;
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::length(&huge).is_err());
        huge[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::length(&huge).is_err());
    }
}
