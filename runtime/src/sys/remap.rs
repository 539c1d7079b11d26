//! Moves the running process from one mount of its executable to another, in place.
//!
//! What ties a process to the file it runs are the mappings of that file and the kernel's note of it, which
//! /proc/PID/exe shows. The mappings are replaced one by one with the same pages of the same file through the other
//! mount (mmap(2) MAP_FIXED for those that are only read; for the others a new mapping, with copies of the pages that
//! were written, is moved into place by mremap(2)), and then the note is changed (prctl(2) PR_SET_MM_MAP, which the kernel grants only when no mapping of the old file is
//! left). It costs some ten calls; another execve(2) costs the start of a whole program.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::fs::{self, OFlags};
use super::mount::last_errno;
use crate::error::{Context, Error, ErrorKind, Result};

/// A loadable segment of the running program, in whole pages.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start: usize,
    length: usize,
    offset: usize,
    protection: libc::c_int,
}

/// The part of the writable segment that becomes read-only after relocation (PT_GNU_RELRO).
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    segments: [Option<Segment>; 8],
    read_only: Option<(usize, usize)>,
}

const PAGE: usize = 4096;

/// Moves this process to the file behind `mount`, an O_PATH descriptor of the very executable it runs.
///
/// # Errors
/// The process runs on as before, and may be executed anew: whatever was already replaced has the same contents.
pub(super) fn onto(mount: &OwnedFd) -> Result<()> {
    // SAFETY: a query of the system's configuration.
    if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != PAGE as libc::c_long {
        return Err(Error::unsupported("pages of another size than 4096 bytes"));
    }
    let map = MemoryMap::of_this_process()?;
    let file = reopen(mount)?;
    let layout = layout();
    for segment in layout.segments.iter().flatten() {
        if segment.protection & libc::PROT_WRITE == 0 {
            map_again(segment, &file)?;
        } else {
            replace_with_copies(segment, &file)?;
        }
    }
    if let Some((start, length)) = layout.read_only {
        // SAFETY: the same range has been read-only since the program's start; nothing writes there.
        unsafe { libc::mprotect(start as *mut libc::c_void, length, libc::PROT_READ) };
    }
    map.set_executable(&file)
}

/// The same file through the mount, open for reading: mappings and the kernel's note need more than O_PATH.
fn reopen(mount: &OwnedFd) -> Result<OwnedFd> {
    fs::open(
        format!("/proc/self/fd/{}", mount.as_raw_fd()),
        OFlags::RDONLY,
    )
}

/// What the program headers say about the running program.
fn layout() -> Layout {
    let mut layout = Layout::default();
    // SAFETY: the callback gets a pointer to `layout`, which lives longer than the call; the program is static, so the
    // one object reported is the program itself.
    unsafe {
        libc::dl_iterate_phdr(Some(collect), std::ptr::from_mut(&mut layout).cast());
    }
    layout
}

/// Takes over the headers of the first object, the program, and ends the iteration.
///
/// # Safety
/// `info` is live and `data` points to a [`Layout`], as [`layout`] passes it.
unsafe extern "C" fn collect(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: see above; the headers are an array of `dlpi_phnum` entries in the loaded program.
    let (layout, base, headers) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        (
            &mut *data.cast::<Layout>(),
            info.dlpi_addr as usize,
            headers,
        )
    };
    let mut slots = layout.segments.iter_mut();
    for header in headers {
        let address = base + header.p_vaddr as usize;
        match header.p_type {
            libc::PT_LOAD if header.p_filesz > 0 => {
                let start = address & !(PAGE - 1);
                let end = (address + header.p_filesz as usize).next_multiple_of(PAGE);
                let flag = |bit, protection| {
                    if header.p_flags & bit != 0 {
                        protection
                    } else {
                        0
                    }
                };
                if let Some(slot) = slots.next() {
                    *slot = Some(Segment {
                        start,
                        length: end - start,
                        offset: header.p_offset as usize & !(PAGE - 1),
                        protection: flag(libc::PF_R, libc::PROT_READ)
                            | flag(libc::PF_W, libc::PROT_WRITE)
                            | flag(libc::PF_X, libc::PROT_EXEC),
                    });
                }
            }
            libc::PT_GNU_RELRO => {
                let start = address & !(PAGE - 1);
                let end = (address + header.p_memsz as usize) & !(PAGE - 1);
                layout.read_only = Some((start, end - start));
            }
            _ => {}
        }
    }
    1
}

/// The pages of a segment that is never written, through another descriptor of the same file.
fn map_again(segment: &Segment, file: &OwnedFd) -> Result<()> {
    // SAFETY: the range is mapped with the same pages of the same file (the kernel refuses to write to the file of a
    // running program), so that code and data read there are the same before and after; the change is atomic.
    let mapped = unsafe {
        libc::mmap(
            segment.start as *mut libc::c_void,
            segment.length,
            segment.protection,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            segment.offset as libc::off_t,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(Error::os(
            format!("mmap({:#x}, MAP_FIXED)", segment.start),
            last_errno(),
        ));
    }
    Ok(())
}

/// A segment that may have been written: the same pages of the file, with copies of those that differ from it, moved to
/// where the segment is.
fn replace_with_copies(segment: &Segment, file: &OwnedFd) -> Result<()> {
    let look = Look::new(segment)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new private mapping, nobody else's, of the file's pages; the written ones are copied into it, and the
    // copy and the move are done without a call in between that could write to the segment (the process has one thread,
    // and these calls touch no static data unless they fail); mremap(2) puts it in place at once, so every pointer into
    // the segment stays good.
    let moved = unsafe {
        let copy = libc::mmap(
            std::ptr::null_mut(),
            segment.length,
            protection,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            segment.offset as libc::off_t,
        );
        if copy == libc::MAP_FAILED {
            return Err(Error::os("mmap(MAP_PRIVATE)", last_errno()));
        }
        let written = look.written();
        for page in (0..segment.length / PAGE).filter(|page| written(*page)) {
            let from = (segment.start + page * PAGE) as *const u8;
            std::ptr::copy_nonoverlapping(from, copy.cast::<u8>().add(page * PAGE), PAGE);
        }
        libc::mremap(
            copy,
            segment.length,
            segment.length,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            segment.start as *mut libc::c_void,
        )
    };
    if moved == libc::MAP_FAILED {
        return Err(Error::os(
            format!("mremap({:#x})", segment.start),
            last_errno(),
        ));
    }
    Ok(())
}

/// Which pages of a segment are no longer the file's: what /proc/PID/pagemap (proc_pid_pagemap(5)) shows as present or
/// swapped and not as a page of a file.
struct Look {
    entries: Vec<u8>,
}

impl Look {
    /// Looks. The buffer lives on until the segment has been replaced: to free it might write to a page of the allocator
    /// that has just been seen unwritten.
    fn new(segment: &Segment) -> Result<Look> {
        let mut entries = vec![0; segment.length / PAGE * 8];
        let pagemap = fs::open("/proc/self/pagemap", OFlags::RDONLY)?;
        let offset = (segment.start / PAGE * 8) as u64;
        let length = rustix::io::pread(&pagemap, &mut entries, offset).call(|| "pread(pagemap)")?;
        match length == entries.len() {
            true => Ok(Look { entries }),
            false => Err(Error::unsupported("/proc/self/pagemap: short read")),
        }
    }

    fn written(&self) -> impl Fn(usize) -> bool + '_ {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        const OF_A_FILE: u64 = 1 << 61;
        |page| {
            let bytes = self.entries.get(page * 8..page * 8 + 8);
            let entry = bytes.and_then(|bytes| bytes.try_into().ok());
            let entry = entry.map_or(SWAPPED, u64::from_ne_bytes);
            entry & SWAPPED != 0 || entry & (PRESENT | OF_A_FILE) == PRESENT
        }
    }
}

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MemoryMap {
    /// The present values: they are to stay, but the call takes all of them.
    fn of_this_process() -> Result<MemoryMap> {
        let file = fs::open("/proc/self/stat", OFlags::RDONLY)?;
        let stat = fs::read_to_end(file, 4096).context(|| "/proc/self/stat")?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, field 2, ends at the last parenthesis; field 3 follows.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        let field = |number: usize| {
            fields
                .get(number - 3)
                .copied()
                .filter(|value| *value != 0)
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        format!("/proc/self/stat: no field {number}"),
                    )
                })
        };
        Ok(MemoryMap {
            start_code: field(26)?,
            end_code: field(27)?,
            start_stack: field(28)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            brk: 0,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            auxv: 0,
            auxv_size: 0,
            exe_fd: u32::MAX,
        })
    }

    /// prctl(2) PR_SET_MM_MAP (needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE and CONFIG_CHECKPOINT_RESTORE).
    fn set_executable(mut self, file: &OwnedFd) -> Result<()> {
        // SAFETY: asking for an impossible break changes nothing and gives the present one; read last, as memory that was
        // allocated meanwhile may have moved it.
        self.brk = unsafe { libc::syscall(libc::SYS_brk, 0) }.unsigned_abs();
        self.exe_fd = file.as_fd().as_raw_fd().unsigned_abs();
        // SAFETY: `self` is a live prctl_mm_map of the size that is passed, with the values that the process has.
        let ret = unsafe {
            libc::prctl(
                libc::PR_SET_MM,
                libc::PR_SET_MM_MAP,
                std::ptr::from_ref(&self),
                size_of::<MemoryMap>(),
                0,
            )
        };
        if ret == 0 {
            return Ok(());
        }
        Err(Error::os("prctl(PR_SET_MM, PR_SET_MM_MAP)", last_errno()))
    }
}
