//! The start of the program, without that of Rust's library: the latter reads /proc/self/maps and sets up handlers and a
//! stack of their own for a stack overflow, some twenty system calls in a program that is over after a few hundred.

use super::signal;
use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// Makes a `fn(Vec<OsString>) -> u8`, which gets the program's arguments and gives its exit code, the `main` of a program with
/// `#![no_main]`. [`std::env::args_os`] has nothing in such a program where the C library is musl.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        // What the C library has is too slow.
        #[cfg(all(target_arch = "x86_64", target_env = "musl"))]
        $crate::memory_functions!(
            ".globl memcpy",
            ".set memcpy, vzrun_memmove",
            ".globl memmove",
            ".set memmove, vzrun_memmove",
            ".globl memcmp",
            ".set memcmp, vzrun_memcmp",
            ".globl bcmp",
            ".set bcmp, vzrun_memcmp"
        );

        // SAFETY: the C library calls the symbol of this name with this type, and nothing else in a program has it.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::core::ffi::c_int,
            words: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: they are what the C library gave.
            unsafe { $crate::run_program($main, count, words) }
        }
    };
}

/// What `program!` calls.
///
/// # Safety
/// `words` are the `count` strings that the C library passes to `main`.
#[doc(hidden)]
pub unsafe fn run_program(
    main: fn(Vec<OsString>) -> u8,
    count: c_int,
    words: *const *const c_char,
) -> i32 {
    // As Rust has it: a write to a closed pipe is an error that can be told.
    signal::ignore_broken_pipes();
    let arguments = (0..usize::try_from(count).unwrap_or(0)).map(|place| {
        // SAFETY: `main`'s arguments are so many pointers to strings that nothing changes, as of the caller.
        let word = unsafe { CStr::from_ptr(*words.add(place)) };
        OsString::from_vec(word.to_bytes().to_vec())
    });
    i32::from(main(arguments.collect()))
}
