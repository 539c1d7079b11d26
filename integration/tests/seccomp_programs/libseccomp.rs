//! Debian's libseccomp, driven as runc drives it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use integration::Value;

use crate::program::Instruction;

/// `struct scmp_arg_cmp`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Comparison {
    arg: c_uint,
    op: c_uint,
    a: u64,
    b: u64,
}

/// The functions of the library.
pub(crate) struct Libseccomp {
    init: unsafe extern "C" fn(u32) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
    arch_add: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    attr_set: unsafe extern "C" fn(*mut c_void, c_uint, u32) -> c_int,
    rule_add: unsafe extern "C" fn(*mut c_void, u32, c_int, c_uint, *const Comparison) -> c_int,
    export: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    resolve: unsafe extern "C" fn(u32, *const c_char) -> c_int,
    /// Long programs are trees, as runc has them; without, they are lists, as the library (and crun) does by itself.
    pub(crate) trees: bool,
}

/// `__NR_SCMP_ERROR`: no such name.
const UNKNOWN: c_int = -1;
/// It went round and round, or fell over.
pub(crate) const ENDLESS: &str = "libseccomp does not come to an end";
const ATTR_OPTIMIZE: c_uint = 8;

impl Libseccomp {
    /// `None`: it is not on this machine.
    pub(crate) fn load() -> Option<Libseccomp> {
        /// # Safety
        /// The library's function has the type F.
        unsafe fn function<F: Copy>(library: *mut c_void, name: &CStr) -> F {
            // SAFETY: a handle from dlopen and a C string.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "libseccomp has no {name:?}");
            assert_eq!(size_of::<F>(), size_of_val(&found));
            // SAFETY: of the same size, and the caller knows the type.
            unsafe { std::mem::transmute_copy(&found) }
        }
        // SAFETY: loading this library runs no code that could disturb ours.
        let library = unsafe { libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        // SAFETY: the functions have these types in seccomp.h of libseccomp 2.5 and later.
        unsafe {
            Some(Libseccomp {
                init: function(library, c"seccomp_init"),
                release: function(library, c"seccomp_release"),
                arch_add: function(library, c"seccomp_arch_add"),
                attr_set: function(library, c"seccomp_attr_set"),
                rule_add: function(library, c"seccomp_rule_add_array"),
                export: function(library, c"seccomp_export_bpf"),
                resolve: function(library, c"seccomp_syscall_resolve_name_arch"),
                trees: true,
            })
        }
    }

    /// The number of a call on an architecture (SCMP_ARCH_*), 0 for the library's own. Negative: it has none there.
    pub(crate) fn resolve(&self, arch: u32, name: &str) -> Option<i32> {
        let name = CString::new(name).unwrap();
        // SAFETY: a C string that lives through the call.
        let number = unsafe { (self.resolve)(arch, name.as_ptr()) };
        (number != UNKNOWN).then_some(number)
    }

    /// The number that i386 has for a call beside the one in socketcall(2) or ipc(2), which libseccomp does not tell.
    pub(crate) fn own_number(&self, name: &str) -> Option<u32> {
        // Its order in the tables is that of the kernel: these are all there are.
        let number = match name {
            "recvmmsg" => 337,
            "sendmmsg" => 345,
            "socket" => 359,
            "socketpair" => 360,
            "bind" => 361,
            "connect" => 362,
            "listen" => 363,
            "accept4" => 364,
            "getsockopt" => 365,
            "setsockopt" => 366,
            "getsockname" => 367,
            "getpeername" => 368,
            "sendto" => 369,
            "sendmsg" => 370,
            "recvfrom" => 371,
            "recvmsg" => 372,
            "shutdown" => 373,
            "semget" => 393,
            "semctl" => 394,
            "shmget" => 395,
            "shmctl" => 396,
            "shmat" => 397,
            "shmdt" => 398,
            "msgget" => 399,
            "msgsnd" => 400,
            "msgrcv" => 401,
            "msgctl" => 402,
            _ => return None,
        };
        Some(number)
    }

    /// The program that libseccomp makes of a profile, without runc's ENOSYS in front. `Err`: the call that failed, or
    /// [`ENDLESS`].
    pub(crate) fn program(&self, profile: &Value) -> Result<Vec<Instruction>, String> {
        // SAFETY: a plain call that gives a descriptor or -1.
        let fd = unsafe { libc::memfd_create(c"program".as_ptr(), 0) };
        assert!(fd >= 0);
        // SAFETY: the descriptor is new and nobody else's.
        let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        // In a child, for the library has profiles that it never comes to an end with.
        // SAFETY: the child uses nothing that another thread could hold but malloc, which glibc makes usable after a
        // fork, and ends in _exit.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: plain calls.
                unsafe { libc::alarm(5) };
                let status = match self.write(profile, &file) {
                    Ok(()) => 0,
                    Err(words) => i32::from(file.write_all(words.as_bytes()).is_ok()),
                };
                // SAFETY: nothing of the parent's is run.
                unsafe { libc::_exit(status) }
            }
            child => {
                assert!(child > 0, "fork");
                let mut status = 0;
                // SAFETY: our own child, and room for its status.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                if libc::WIFSIGNALED(status) {
                    return Err(ENDLESS.to_string());
                }
                file.rewind().unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                match libc::WEXITSTATUS(status) {
                    0 => Ok(Instruction::list(&bytes)),
                    _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
                }
            }
        }
    }

    fn write(&self, profile: &Value, to: &std::fs::File) -> Result<(), String> {
        let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        // SAFETY: the handle is only used here and released once.
        let filter = unsafe { (self.init)(default) };
        assert!(!filter.is_null());
        let result = self.fill(filter, profile, default).and_then(|()| {
            // SAFETY: `filter` is live.
            match unsafe { (self.export)(filter, to.as_raw_fd()) } {
                0 => Ok(()),
                error => Err(format!("export_bpf: {error}")),
            }
        });
        // SAFETY: as above.
        unsafe { (self.release)(filter) };
        result
    }

    fn fill(&self, filter: *mut c_void, profile: &Value, default: u32) -> Result<(), String> {
        for name in list(&profile["architectures"]) {
            let token = arch_token(name.as_str().unwrap());
            // SAFETY: `filter` is live.
            let result = unsafe { (self.arch_add)(filter, token) };
            if result < 0 && result != -libc::EEXIST {
                return Err(format!("arch_add {name}: {result}"));
            }
        }
        let rules = list(&profile["syscalls"]);
        let count: usize = rules.iter().map(|rule| list(&rule["names"]).len()).sum();
        if count > 32 && self.trees {
            // SAFETY: as above.
            unsafe { (self.attr_set)(filter, ATTR_OPTIMIZE, 2) };
        }
        for rule in rules {
            let action = action(&rule["action"], &rule["errnoRet"]);
            for name in list(&rule["names"]) {
                let name = name.as_str().unwrap();
                let Some(number) = self.resolve(0, name) else {
                    continue;
                };
                if action == default {
                    continue;
                }
                for comparisons in comparisons(list(&rule["args"])) {
                    // SAFETY: as above, and the list has as many members as it says.
                    let result = unsafe {
                        (self.rule_add)(
                            filter,
                            action,
                            number,
                            comparisons.len() as c_uint,
                            comparisons.as_ptr(),
                        )
                    };
                    if result < 0 {
                        return Err(format!("rule_add {name}: {result}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// One rule, or one for each condition if two of them are on the same argument.
fn comparisons(args: &[Value]) -> Vec<Vec<Comparison>> {
    let all: Vec<Comparison> = args
        .iter()
        .map(|arg| Comparison {
            arg: arg["index"].as_u64().unwrap() as c_uint,
            op: match arg["op"].as_str().unwrap() {
                "SCMP_CMP_NE" => 1,
                "SCMP_CMP_LT" => 2,
                "SCMP_CMP_LE" => 3,
                "SCMP_CMP_EQ" => 4,
                "SCMP_CMP_GE" => 5,
                "SCMP_CMP_GT" => 6,
                "SCMP_CMP_MASKED_EQ" => 7,
                op => panic!("{op}"),
            },
            a: arg["value"].as_u64().unwrap(),
            b: arg["valueTwo"].as_u64().unwrap_or(0),
        })
        .collect();
    let twice = (0..6).any(|index| all.iter().filter(|one| one.arg == index).count() > 1);
    match twice {
        true => all.iter().map(|one| vec![*one]).collect(),
        false => vec![all],
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// SCMP_ACT_*, which are the kernel's SECCOMP_RET_*.
pub(crate) fn action(name: &Value, errno: &Value) -> u32 {
    let data = errno.as_u64().unwrap_or(1) as u32 & 0xffff;
    match name.as_str().unwrap() {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | data,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | data,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        name => panic!("{name}"),
    }
}

/// SCMP_ARCH_* of seccomp.h.
pub(crate) fn arch_token(name: &str) -> u32 {
    match name {
        "SCMP_ARCH_X86_64" => 0xc000_003e,
        "SCMP_ARCH_X86" => 0x4000_0003,
        "SCMP_ARCH_X32" => 0x4000_003e,
        "SCMP_ARCH_AARCH64" => 0xc000_00b7,
        "SCMP_ARCH_ARM" => 0x4000_0028,
        name => panic!("{name}"),
    }
}
