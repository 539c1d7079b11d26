//! What the fuzz targets have in common: how they are run, how bytes become values, and what the kernel says.

mod bytes;
pub mod json;
pub mod kernel;
mod replay;

pub use bytes::Bytes;
#[cfg(feature = "libfuzzer")]
pub use libfuzzer_sys;
pub use replay::replay;

/// A target: `target!(|data| ...)`, where `data` is `&[u8]`. It says no by a panic.
#[macro_export]
#[cfg(feature = "libfuzzer")]
macro_rules! target {
    (|$data:ident| $body:block) => {
        $crate::libfuzzer_sys::fuzz_target!(|$data: &[u8]| $body);
    };
}

/// A target: `target!(|data| ...)`, where `data` is `&[u8]`. It says no by a panic.
#[macro_export]
#[cfg(not(feature = "libfuzzer"))]
macro_rules! target {
    (|$data:ident| $body:block) => {
        fn main() -> std::process::ExitCode {
            $crate::replay(|$data: &[u8]| $body)
        }
    };
}
