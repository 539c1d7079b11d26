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

/// Whether the kernel's verifier takes a program for devices (`struct bpf_insn`s in bytes); `None` where this process may
/// not ask. It is not attached to anything.
///
/// # Panics
/// The kernel says something else.
pub fn takes_device_program(program: &[u8]) -> Option<bool> {
    /// BPF_PROG_LOAD, and its arguments as of Linux 4.15.
    const LOAD: libc::c_int = 5;
    const CGROUP_DEVICE: u32 = 15;
    #[repr(C)]
    struct Arguments {
        kind: u32,
        count: u32,
        instructions: *const u64,
        license: *const libc::c_char,
        nothing: [u64; 5],
    }
    let instructions: Vec<u64> = program
        .as_chunks()
        .0
        .iter()
        .map(|eight| u64::from_ne_bytes(*eight))
        .collect();
    let arguments = Arguments {
        kind: CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr(),
        license: c"Apache-2.0".as_ptr(),
        nothing: [0; 5],
    };
    // SAFETY: the kernel reads as many bytes of `arguments` as it is told there are, `count` instructions of eight bytes
    // each, and a text that ends in NUL; all of them live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LOAD,
            &raw const arguments,
            size_of::<Arguments>(),
        )
    };
    if result >= 0 {
        // SAFETY: a descriptor that the kernel has just given, and nobody else knows.
        unsafe { libc::close(result as libc::c_int) };
        return Some(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => None,
        Some(libc::EINVAL | libc::E2BIG) => Some(false),
        // The fuzzer's timer has gone off meanwhile.
        Some(libc::EAGAIN) => takes_device_program(program),
        _ => panic!("bpf(2): {error}"),
    }
}
