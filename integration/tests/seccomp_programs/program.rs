//! Programs in classic BPF, and what the kernel does with them.

/// `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

impl Instruction {
    /// From the bytes of an array of them.
    pub(crate) fn list(bytes: &[u8]) -> Vec<Instruction> {
        bytes
            .chunks_exact(8)
            .map(|b| Instruction {
                code: u16::from_ne_bytes([b[0], b[1]]),
                jt: b[2],
                jf: b[3],
                k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            })
            .collect()
    }
}

/// `struct seccomp_data`, but for the instruction pointer, which nobody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

/// What the program answers, and after how many instructions.
pub(crate) fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0, 0u32, 0);
    loop {
        let one = program[at];
        at += 1;
        steps += 1;
        let side = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            // ld [k]
            0x20 => {
                a = match one.k {
                    0 => call.number,
                    4 => call.arch,
                    k => {
                        let (arg, half) = ((k as usize - 16) / 8, k % 8);
                        (call.args[arg] >> (8 * half)) as u32
                    }
                }
            }
            // and #k
            0x54 => a &= one.k,
            // ja, jeq, jgt, jge, jset
            0x05 => at += one.k as usize,
            0x15 => at += side(a == one.k),
            0x25 => at += side(a > one.k),
            0x35 => at += side(a >= one.k),
            0x45 => at += side(a & one.k != 0),
            // ret #k
            0x06 => return (one.k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}
