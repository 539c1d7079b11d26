//! process_vm_writev(2).

use super::mount::last_errno;
use crate::error::{Error, ErrorKind, Result};

/// Writes to an address of another process, one thread of which is named. Takes the right to trace it (ptrace(2)). Memory can keep
/// the writer waiting: a page of a file does until it has been read.
///
/// # Errors
/// EFAULT as for the process itself.
pub(crate) fn write(thread: u32, bytes: &[u8], address: u64) -> Result<()> {
    let call = || {
        format!(
            "process_vm_writev({thread}, {} bytes, {address:#x})",
            bytes.len()
        )
    };
    let local = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(usize::MAX)),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel only reads what `local` says, which lives through the call; what `remote` says is no memory of this process.
    let ret = unsafe {
        libc::process_vm_writev(
            thread.cast_signed(),
            std::ptr::from_ref(&local),
            1,
            std::ptr::from_ref(&remote),
            1,
            0,
        )
    };
    match usize::try_from(ret) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(Error::new(ErrorKind::Process, format!("{}: short", call()))),
        Err(_) => Err(Error::os(call(), last_errno())),
    }
}
