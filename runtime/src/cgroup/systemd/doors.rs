//! For the fuzz targets (feature `fuzz`): messages of D-Bus.

use super::wire::{Message, PROLOGUE, Writer};
use super::{Property, manager_call, write_properties};
use crate::error::Result;

/// A call of StartTransientUnit with these properties, as it goes over the bus.
pub(in crate::cgroup) fn start(properties: &[Property]) -> Result<Vec<u8>> {
    let mut body = Writer::default();
    body.text("a.scope")?;
    body.text("replace")?;
    write_properties(&mut body, properties)?;
    let none = body.open_array(8);
    body.close_array(none)?;
    manager_call("StartTransientUnit", "ssa(sv)a(sa(sv))", body, true).encode(1)
}

/// Takes apart a message: its whole length by the first bytes, the length of its body, and the texts that the body
/// begins with.
///
/// # Errors
/// It is none.
pub fn message(bytes: &[u8]) -> Result<(usize, usize, Vec<String>)> {
    let length = Message::length(bytes.get(..PROLOGUE).unwrap_or(bytes))?;
    let message = Message::decode(bytes)?;
    let _ = super::ended_job(&message);
    let _ = message.arguments().text_in_variant();
    let mut texts = Vec::new();
    let mut arguments = message.arguments();
    while let Ok(text) = arguments.text() {
        texts.push(text.to_owned());
    }
    let mut arguments = message.arguments();
    while arguments.u32().is_ok() {}
    Ok((length, message.body.len(), texts))
}
