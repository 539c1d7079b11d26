//! memfd_create(2): a file without a name.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use crate::error::{Context, Result};

/// A close-on-exec memfd with these bytes, to be read from its beginning.
pub(crate) fn with_bytes(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)
        .call(|| format!("memfd_create({name:?}, MFD_CLOEXEC)"))?;
    let mut file = File::from(fd);
    file.write_all(bytes)
        .and_then(|()| file.rewind())
        .call(|| format!("write(memfd {name:?}, {} bytes)", bytes.len()))?;
    Ok(file.into())
}
