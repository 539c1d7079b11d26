//! memcpy(3), memmove(3), memcmp(3) and bcmp(3) for x86-64. musl's own copy with `rep movsq`, which takes some 10 ns before
//! it moves anything, and compare byte by byte. A runtime moves thousands of small things: that was a sixth of the time
//! that `run` is not in the kernel.
//!
//! In assembler, for the compiler makes calls of these functions of what looks like them.

/// The functions, for `program!`, and what else is to be assembled: they are a program's, not a library's.
//
// vzrun_memmove: short ones are read as a whole before anything of them is written, by the two ends that may overlap. Of a
// long one the end that `rep movsq` may leave out is read beforehand.
//
// vzrun_memcmp: eight bytes at a time; of the first that differ the one that is less as a number with the first byte on top.
#[doc(hidden)]
#[macro_export]
macro_rules! memory_functions {
    ($($more:literal),*) => {
        ::core::arch::global_asm!(
            ".section .text.vzrun_memmove,\"ax\",@progbits",
            ".balign 16",
            ".globl vzrun_memmove",
            ".type vzrun_memmove, @function",
            "vzrun_memmove:",
            "    mov rax, rdi",
            "    cmp rdx, 16",
            "    jb 20f",
            "    movups xmm0, [rsi]",
            "    movups xmm1, [rsi + rdx - 16]",
            "    cmp rdx, 32",
            "    ja 10f",
            "    movups [rdi], xmm0",
            "    movups [rdi + rdx - 16], xmm1",
            "    ret",
            // 33 to 64.
            "10: cmp rdx, 64",
            "    ja 11f",
            "    movups xmm2, [rsi + 16]",
            "    movups xmm3, [rsi + rdx - 32]",
            "    movups [rdi], xmm0",
            "    movups [rdi + 16], xmm2",
            "    movups [rdi + rdx - 32], xmm3",
            "    movups [rdi + rdx - 16], xmm1",
            "    ret",
            // 65 to 128.
            "11: cmp rdx, 128",
            "    ja 30f",
            "    movups xmm2, [rsi + 16]",
            "    movups xmm3, [rsi + 32]",
            "    movups xmm4, [rsi + 48]",
            "    movups xmm5, [rsi + rdx - 64]",
            "    movups xmm6, [rsi + rdx - 48]",
            "    movups xmm7, [rsi + rdx - 32]",
            "    movups [rdi], xmm0",
            "    movups [rdi + 16], xmm2",
            "    movups [rdi + 32], xmm3",
            "    movups [rdi + 48], xmm4",
            "    movups [rdi + rdx - 64], xmm5",
            "    movups [rdi + rdx - 48], xmm6",
            "    movups [rdi + rdx - 32], xmm7",
            "    movups [rdi + rdx - 16], xmm1",
            "    ret",
            // 8 to 15.
            "20: cmp edx, 8",
            "    jb 21f",
            "    mov rcx, [rsi]",
            "    mov r8, [rsi + rdx - 8]",
            "    mov [rdi], rcx",
            "    mov [rdi + rdx - 8], r8",
            "    ret",
            // 4 to 7.
            "21: cmp edx, 4",
            "    jb 22f",
            "    mov ecx, [rsi]",
            "    mov r8d, [rsi + rdx - 4]",
            "    mov [rdi], ecx",
            "    mov [rdi + rdx - 4], r8d",
            "    ret",
            // 0 to 3: the first, the middle (or again one of the others) and the last.
            "22: test edx, edx",
            "    je 23f",
            "    mov r9d, edx",
            "    shr r9d, 1",
            "    movzx ecx, byte ptr [rsi]",
            "    movzx r8d, byte ptr [rsi + r9]",
            "    movzx r10d, byte ptr [rsi + rdx - 1]",
            "    mov [rdi], cl",
            "    mov [rdi + r9], r8b",
            "    mov [rdi + rdx - 1], r10b",
            "23: ret",
            // Longer. Backwards where it overlaps what is still to be read.
            "30: mov rcx, rdi",
            "    sub rcx, rsi",
            "    cmp rcx, rdx",
            "    jb 31f",
            "    lea r8, [rdi + rdx - 16]",
            "    mov rcx, rdx",
            "    shr rcx, 3",
            "    rep movsq",
            "    movups [r8], xmm1",
            "    ret",
            "31: mov r8, rdi",
            "    lea rsi, [rsi + rdx - 8]",
            "    lea rdi, [rdi + rdx - 8]",
            "    mov rcx, rdx",
            "    shr rcx, 3",
            "    std",
            "    rep movsq",
            "    cld",
            "    movups [r8], xmm0",
            "    ret",
            ".size vzrun_memmove, . - vzrun_memmove",
            ".previous",
            ".section .text.vzrun_memcmp,\"ax\",@progbits",
            ".balign 16",
            ".globl vzrun_memcmp",
            ".type vzrun_memcmp, @function",
            "vzrun_memcmp:",
            "    cmp rdx, 8",
            "    jb 41f",
            "40: mov rcx, [rdi]",
            "    mov r8, [rsi]",
            "    cmp rcx, r8",
            "    jne 43f",
            "    add rdi, 8",
            "    add rsi, 8",
            "    sub rdx, 8",
            "    cmp rdx, 8",
            "    jae 40b",
            "41: xor eax, eax",
            "    test edx, edx",
            "    je 44f",
            "42: movzx eax, byte ptr [rdi]",
            "    movzx ecx, byte ptr [rsi]",
            "    sub eax, ecx",
            "    jne 44f",
            "    inc rdi",
            "    inc rsi",
            "    dec edx",
            "    jne 42b",
            "    ret",
            "43: bswap rcx",
            "    bswap r8",
            "    cmp rcx, r8",
            "    sbb eax, eax",
            "    or eax, 1",
            "44: ret",
            ".size vzrun_memcmp, . - vzrun_memcmp",
            ".previous",
            $($more),*
        );
    };
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::ffi::c_int;

    memory_functions!();

    unsafe extern "C" {
        fn vzrun_memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
        fn vzrun_memcmp(one: *const u8, other: *const u8, length: usize) -> c_int;
    }

    const LENGTHS: [usize; 8] = [129, 135, 136, 137, 255, 256, 1000, 5000];

    fn lengths() -> impl Iterator<Item = usize> {
        (0..=160).chain(LENGTHS)
    }

    #[test]
    fn moves_what_may_overlap() {
        let whole: Vec<u8> = (0..12_000u32).map(|n| (n * 7 + n / 256) as u8).collect();
        for length in lengths() {
            for distance in [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 33, 64, 100, 500, 5_500] {
                for (from, to) in [(20, 20 + distance), (20 + distance, 20)] {
                    let mut expected = whole.clone();
                    expected.copy_within(from..from + length, to);
                    let mut moved = whole.clone();
                    let start = moved.as_mut_ptr();
                    // SAFETY: both ranges are within the vector.
                    let given = unsafe { vzrun_memmove(start.add(to), start.add(from), length) };
                    assert_eq!(given, start.wrapping_add(to));
                    assert!(moved == expected, "{length} bytes from {from} to {to}");
                }
            }
        }
    }

    #[test]
    fn compares_the_first_byte_that_differs() {
        for length in lengths() {
            let one: Vec<u8> = (0..length).map(|n| (n * 5) as u8).collect();
            let compare = |other: &[u8]| {
                // SAFETY: both have so many bytes.
                unsafe { vzrun_memcmp(one.as_ptr(), other.as_ptr(), length) }.signum()
            };
            assert_eq!(compare(&one), 0, "{length}");
            for place in 0..length.min(300) {
                for byte in [0, 1, 127, 128, 255] {
                    let mut other = one.clone();
                    other[place] = byte;
                    if let Some(last) = other[place + 1..].last_mut() {
                        *last ^= 0xff;
                    }
                    let expected = match one.cmp(&other) {
                        std::cmp::Ordering::Less => -1,
                        std::cmp::Ordering::Equal => 0,
                        std::cmp::Ordering::Greater => 1,
                    };
                    assert_eq!(
                        compare(&other),
                        expected,
                        "{length} bytes, {byte} at {place}"
                    );
                }
            }
        }
    }
}
