//! sysinfo(2), for programs that do not read /proc: the same numbers.

use super::meminfo::of_host;

/// `struct sysinfo` of linux/sysinfo.h, as far as it says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SysInfo {
    /// Seconds since boot.
    pub(super) uptime: u64,
    /// Over 1, 5 and 15 minutes, in 65536ths.
    pub(super) loads: [u64; 3],
    /// In bytes, as in [`MEMORY`].
    pub(super) memory: [u64; 6],
    pub(super) threads: u64,
}

/// What is in `memory`, by the names of /proc/meminfo.
const MEMORY: [&str; 6] = [
    "MemTotal",
    "MemFree",
    "Shmem",
    "Buffers",
    "SwapTotal",
    "SwapFree",
];

/// How much of memory there is, out of a /proc/meminfo.
pub(super) fn memory(meminfo: &str) -> [u64; 6] {
    MEMORY.map(|name| of_host(meminfo, name) * 1024)
}

/// As sysinfo(2) has it.
pub(super) fn load(average: f64) -> u64 {
    (average * 65536.0) as u64
}

impl SysInfo {
    /// As a program of 64 bits has it in memory.
    pub(crate) fn wide(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(112);
        for number in [self.uptime].iter().chain(&self.loads).chain(&self.memory) {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(self.short_count().to_ne_bytes());
        // Padding, and high memory, of which there is none.
        bytes.extend([0; 6 + 16]);
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    /// As one of 32 bits has it: memory in units so large that the numbers fit, as the kernel does it.
    pub(crate) fn narrow(&self) -> Vec<u8> {
        let largest = self.memory.iter().copied().max().unwrap_or(0);
        let shift = (0..32).find(|shift| largest >> shift <= u32::MAX.into());
        let shift = shift.unwrap_or(32);
        let mut bytes = Vec::with_capacity(64);
        let numbers = [self.uptime].into_iter().chain(self.loads);
        for number in numbers.chain(self.memory.map(|size| size >> shift)) {
            bytes.extend((number as u32).to_ne_bytes());
        }
        bytes.extend(self.short_count().to_ne_bytes());
        bytes.extend([0; 2 + 8]);
        bytes.extend((1u32 << shift.min(31)).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    fn short_count(&self) -> u16 {
        u16::try_from(self.threads).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn example() -> SysInfo {
        let meminfo = "MemTotal:  524288 kB\nMemFree:  1024 kB\nBuffers:  0 kB\nShmem:  2048 kB\nSwapTotal:  4096 kB\nSwapFree:  4096 kB\n";
        SysInfo {
            uptime: 61,
            loads: [0.5, 1.0, 2.25].map(load),
            memory: memory(meminfo),
            threads: 70_000,
        }
    }

    #[test]
    fn the_layout_of_64_bits() {
        let bytes = example().wide();
        let size = if cfg!(target_pointer_width = "64") {
            size_of::<libc::sysinfo>()
        } else {
            112
        };
        assert_eq!(bytes.len(), size);
        let words: Vec<u64> = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_ne_bytes(*word))
            .collect();
        assert_eq!(words[..4], [61, 32_768, 65_536, 147_456]);
        assert_eq!(words[4..10], [512 * MIB, MIB, 2 * MIB, 0, 4 * MIB, 4 * MIB]);
        assert_eq!(words[10..], [65_535, 0, 0, 1]);
    }

    #[test]
    fn the_layout_of_32_bits() {
        let bytes = example().narrow();
        let words: Vec<u32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word))
            .collect();
        assert_eq!(words.len(), 16);
        assert_eq!(words[..4], [61, 32_768, 65_536, 147_456]);
        assert_eq!(words[4], 512 << 20);
        assert_eq!(words[10..], [65_535, 0, 0, 1, 0, 0]);
        // 16 GiB do not fit.
        let mut large = example();
        large.memory[0] = 16_384 * MIB;
        let bytes = large.narrow();
        let words: Vec<u32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_ne_bytes(*word))
            .collect();
        let (total, unit) = (u64::from(words[4]), u64::from(words[13]));
        assert_eq!(total * unit, 16_384 * MIB);
        assert_eq!(u64::from(words[6]) * unit, 2 * MIB);
    }
}
