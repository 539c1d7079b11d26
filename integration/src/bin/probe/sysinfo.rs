//! sysinfo(2): asked for as programs of 64 and of 32 bits do, and with memory that keeps who writes to it waiting.

use crate::kernel::{i386_syscall, raw_syscall};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// Its number for i386.
const OF_I386: i64 = 116;
/// Where programs of 32 bits can point to.
#[cfg(target_arch = "x86_64")]
const LOW: i32 = libc::MAP_32BIT;
#[cfg(not(target_arch = "x86_64"))]
const LOW: i32 = 0;

/// What it says, or the error's name. `how`: `wide`, `narrow`, `nowhere`, which is an address that nobody has, or `read-only`.
pub(crate) fn ask(how: &str) -> Value {
    let answer = match how {
        "narrow" => narrow(),
        "nowhere" => wide(8),
        "read-only" => page(0).and_then(|page| {
            let words = [page, PAGE as i64, libc::PROT_READ.into(), 0, 0, 0];
            raw_syscall(libc::SYS_mprotect, words)?;
            wide(page)
        }),
        _ => page(0).and_then(wide),
    };
    answer.unwrap_or_else(|error| json!(crate::names::errno(error)))
}

const PAGE: usize = 4096;

/// A new one.
fn page(flags: i32) -> Result<i64, Errno> {
    let (access, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
    );
    // SAFETY: a new mapping where the kernel likes.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0) };
    match page {
        libc::MAP_FAILED => Err(Errno::NOMEM),
        page => Ok(page as i64),
    }
}

/// What is at the beginning of a page.
fn words<T: Copy, const N: usize>(page: i64) -> [T; N] {
    // SAFETY: the callers give pages of `page`, which are larger, aligned, and theirs; any bytes are plain numbers.
    unsafe { *(page as *const [T; N]) }
}

fn wide(address: i64) -> Result<Value, Errno> {
    raw_syscall(libc::SYS_sysinfo, [address, 0, 0, 0, 0, 0])?;
    let words: [u64; 14] = words(address);
    Ok(said(&words[..10], words[10], words[13]))
}

fn narrow() -> Result<Value, Errno> {
    let address = page(LOW)?;
    i386_syscall(OF_I386, [address, 0, 0, 0, 0, 0])?;
    let words: [u32; 16] = words(address);
    let first: Vec<u64> = words.iter().map(|word| u64::from(*word)).collect();
    Ok(said(&first[..10], first[10], first[13]))
}

fn said(numbers: &[u64], threads: u64, unit: u64) -> Value {
    json!({
        "uptime": numbers[0],
        "loads": numbers[1..4],
        "memory": numbers[4..10].iter().map(|number| number * unit).collect::<Vec<u64>>(),
        "threads": threads & 0xffff,
    })
}

/// The same into a page of a file.
pub(crate) fn ask_into(file: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    // The kernel knows its size when it has been asked for.
    file.metadata()?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping where the kernel likes.
    let page = unsafe {
        let nowhere = std::ptr::null_mut();
        libc::mmap(
            nowhere,
            PAGE,
            access,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(wide(page as i64).unwrap_or_else(|error| json!(crate::names::errno(error))))
}

/// Makes `place`, a file, one that can be read when there is a file `until`; serves that till it is killed.
pub(crate) fn serve_slow_file(place: &str, until: &str) -> Result<(), Box<dyn std::error::Error>> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")?;
    let options = format!(
        "fd={},rootmode=100000,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("probe", place, "fuse", MountFlags::empty(), &*options)?;
    slow_file(device, until)?;
    Ok(())
}

fn wait_for(file: &str) {
    while !Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Serves a FUSE file system that is one file of one page (linux/fuse.h), which can be read when there is a file `until`.
fn slow_file(mut device: File, until: &str) -> std::io::Result<()> {
    const GETATTR: u32 = 3;
    const OPEN: u32 = 14;
    const READ: u32 = 15;
    const FLUSH: u32 = 25;
    const RELEASE: u32 = 18;
    const INIT: u32 = 26;
    let mut request = vec![0; 1 << 17];
    loop {
        let length = device.read(&mut request)?;
        let words = request
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word));
        let words: Vec<u32> = words.take(length / 4).collect();
        let [_, kind, unique @ ..] = &words[..] else {
            return Ok(());
        };
        let unique = [unique[0], unique[1]];
        let body = match *kind {
            // Version 7.31, and nothing that is optional.
            INIT => words_of(&[7, 31, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            GETATTR => {
                let mut attributes = [0; 26];
                // Inode 1, one page, a file of one name.
                (attributes[4], attributes[6], attributes[8]) = (1, PAGE as u32, 8);
                (attributes[19], attributes[20]) = (0o100_644, 1);
                words_of(&attributes)
            }
            OPEN => words_of(&[0; 4]),
            RELEASE | FLUSH => Vec::new(),
            READ => {
                // All else is answered meanwhile.
                let (device, until) = (device.try_clone()?, until.to_string());
                std::thread::spawn(move || {
                    wait_for(&until);
                    answer(device, unique, 0, &[0; PAGE])
                });
                continue;
            }
            _ => {
                answer(device.try_clone()?, unique, -libc::ENOSYS, &[])?;
                continue;
            }
        };
        answer(device.try_clone()?, unique, 0, &body)?;
    }
}

fn answer(mut device: File, unique: [u32; 2], error: i32, body: &[u8]) -> std::io::Result<()> {
    let length = 16 + body.len() as u32;
    let mut bytes = words_of(&[length, error.cast_unsigned(), unique[0], unique[1]]);
    bytes.extend(body);
    device.write_all(&bytes)
}

fn words_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
