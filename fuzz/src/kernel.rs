//! What the running kernel says of a seccomp program, without running it.

use std::io;
use std::sync::Once;

/// Whether seccomp(2) takes this program (`struct sock_filter`s in bytes). Nothing is installed: the kernel checks and
/// compiles the program before it looks for a descriptor for the listener that is asked for with it, and while a process
/// may have no descriptor more, that is as far as it gets. A program that it refuses is EINVAL, any other EMFILE.
///
/// # Panics
/// The kernel says something else.
pub fn takes(program: &[u8]) -> bool {
    static TRIED: Once = Once::new();
    TRIED.call_once(|| {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(result, 0, "no_new_privs");
        let good = [6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        let jumps_out = [5, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert!(ask(&good) && !ask(&jumps_out), "the kernel does not check");
    });
    ask(program)
}

fn ask(program: &[u8]) -> bool {
    let instructions: Vec<u64> = program
        .as_chunks()
        .0
        .iter()
        .map(|eight| u64::from_ne_bytes(*eight))
        .collect();
    let program = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr().cast_mut().cast(),
    };
    let old = limit();
    set_limit(&libc::rlimit { rlim_cur: 0, ..old });
    // SAFETY: the kernel reads `len` instructions of eight bytes each, and there are as many.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let error = io::Error::last_os_error();
    set_limit(&old);
    assert!(result < 0, "the kernel has found a descriptor");
    match error.raw_os_error() {
        Some(libc::EMFILE) => true,
        Some(libc::EINVAL) => false,
        _ => panic!("seccomp(2): {error}"),
    }
}

fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is there to be written to.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(result, 0, "getrlimit");
    limit
}

fn set_limit(limit: &libc::rlimit) {
    // SAFETY: `limit` lives through the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
    assert_eq!(result, 0, "setrlimit");
}
