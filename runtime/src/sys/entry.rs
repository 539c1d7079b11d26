//! The start of the program, without that of Rust's library: the latter reads /proc/self/maps and sets up handlers and a
//! stack of their own for a stack overflow, some twenty system calls in a program that is over after a few hundred.

use super::signal;

/// Makes a `fn() -> u8`, which gives the exit code, the `main` of a program with `#![no_main]`. Its arguments are in [`std::env::args_os`] as ever.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        // SAFETY: the C library calls the symbol of this name with this type, and nothing else in a program has it.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _count: ::core::ffi::c_int,
            _words: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            $crate::run_program($main)
        }
    };
}

/// What `program!` calls.
#[doc(hidden)]
pub fn run_program(main: fn() -> u8) -> i32 {
    // As Rust has it: a write to a closed pipe is an error that can be told.
    signal::ignore_broken_pipes();
    i32::from(main())
}
