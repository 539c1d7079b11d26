//! Uses what limits are for: memory, CPUs, processes, block devices.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const MIB: usize = 1 << 20;
/// What O_DIRECT wants of addresses and lengths.
const ALIGNMENT: usize = 4096;

/// Fills so much memory.
pub(crate) fn allocate(mib: usize) {
    let mut memory = Vec::new();
    for _ in 0..mib {
        memory.push(vec![0x5a_u8; MIB]);
    }
    std::hint::black_box(&memory);
}

/// Keeps a CPU busy for ever.
pub(crate) fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Tries to start so many children that wait, and tells how many it has got.
pub(crate) fn fork(program: &str, count: u32) -> u32 {
    let start = || {
        Command::new(program)
            .arg("pause")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    };
    let children: Vec<Child> = (0..count).map_while(|_| start().ok()).collect();
    let got = u32::try_from(children.len()).unwrap_or(u32::MAX);
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    got
}

/// Reads so much of a device, past all caches, and tells how many milliseconds that took.
pub(crate) fn read_direct(file: &str, mib: usize) -> io::Result<u128> {
    let device = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(file)?;
    let mut memory = vec![0; MIB / 8 + ALIGNMENT];
    let skip = memory.as_ptr().align_offset(ALIGNMENT);
    let block = &mut memory[skip..skip + MIB / 8];
    let begin = Instant::now();
    for n in 0..mib * 8 {
        device.read_exact_at(block, (n * MIB / 8) as u64)?;
    }
    Ok(begin.elapsed().as_millis())
}
