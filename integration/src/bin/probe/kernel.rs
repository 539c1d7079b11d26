//! The calls that rustix has no safe form of, and the entry point.

use libc::{c_char, c_int, c_long, c_ulong, c_void};
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

/// Rust's own start would ignore SIGPIPE and reopen closed stdio, and so hide what the runtime set.
// SAFETY: the C library calls `main` once; no other function of this name is linked in.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let words = (0..usize::try_from(argc).unwrap_or(0)).map(|place| {
        // SAFETY: the C library gives so many pointers to strings, and nothing changes them.
        let word = unsafe { CStr::from_ptr(*argv.add(place)) };
        word.to_string_lossy().into_owned()
    });
    let _ = ARGUMENTS.set(words.collect());
    crate::run()
}

/// With musl only Rust's own start would tell Rust's library.
static ARGUMENTS: OnceLock<Vec<String>> = OnceLock::new();

/// The program's name and its arguments.
pub(crate) fn arguments() -> &'static [String] {
    ARGUMENTS.get().map_or(&[], Vec::as_slice)
}

/// A file for an inherited fd.
pub(crate) fn fd_file(fd: i32) -> File {
    // SAFETY: the caller of the program says that this fd is for it; nothing else here uses it.
    unsafe { File::from_raw_fd(fd) }
}

/// Raises a signal with its default action and nothing blocked.
pub(crate) fn kill_self(signal: i32) {
    // SAFETY: these calls take plain numbers and a set that lives on this stack.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Waits for a signal that ends it.
pub(crate) fn pause_forever() {
    loop {
        // SAFETY: pause(2) has no arguments.
        unsafe { libc::pause() };
    }
}

/// Blocks every signal, so that [`next_signal`] gets it, also as PID 1, to which the kernel does not
/// deliver what it has no handler for.
pub(crate) fn block_all_signals() {
    // SAFETY: the set lives on this stack and is filled before use.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Waits for the next signal and gives its number.
pub(crate) fn next_signal() -> i32 {
    loop {
        // SAFETY: the set lives on this stack and is filled; no siginfo is asked for.
        let signal = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigfillset(&mut set);
            libc::sigwaitinfo(&set, std::ptr::null_mut())
        };
        if signal > 0 {
            return signal;
        }
    }
}

/// `personality(2)` without changing it.
pub(crate) fn personality() -> i32 {
    // SAFETY: this value asks only.
    unsafe { libc::personality(0xffff_ffff as c_ulong) }
}

/// `struct sched_attr` as of the first version that has all of deadline scheduling.
#[repr(C)]
#[derive(Default)]
pub(crate) struct SchedAttr {
    pub(crate) size: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

/// `sched_getattr(2)` of this thread.
pub(crate) fn sched_attr() -> Option<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>() as c_long;
    // SAFETY: the kernel writes at most `size` bytes, all of them plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut attr, size, 0) };
    (result == 0).then_some(attr)
}

/// `ioprio_get(2)` of this process: class and value.
pub(crate) fn ioprio() -> Option<(i64, i64)> {
    const WHO_PROCESS: c_int = 1;
    // SAFETY: plain numbers.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
    (value >= 0).then_some((value >> 13, value & 0x1fff))
}

/// `get_mempolicy(2)` of this thread: mode with flags, and the nodes.
pub(crate) fn mempolicy() -> Option<(i32, Vec<u32>)> {
    let mut mode: c_int = 0;
    let mut mask = [0u64; 16];
    let bits = (size_of_val(&mask) * 8) as c_long;
    let none = std::ptr::null::<u8>();
    // SAFETY: the kernel writes an int and at most `bits` bits of the mask.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &mut mode,
            mask.as_mut_ptr(),
            bits,
            none,
            0,
        )
    };
    let is_set = |bit: &u32| mask[(*bit / 64) as usize] & (1 << (bit % 64)) != 0;
    (result == 0).then(|| (mode, (0..bits as u32).filter(is_set).collect()))
}

/// The session keyring: its serial number and the kernel's description (`type;uid;gid;perm;name`).
pub(crate) fn session_keyring() -> Option<(i64, String)> {
    const GET_KEYRING_ID: c_int = 0;
    const DESCRIBE: c_int = 6;
    const SESSION: c_int = -3;
    // SAFETY: plain numbers; 0 means that none is made.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) };
    let mut text = [0u8; 256];
    let room = text.len();
    // SAFETY: the kernel writes at most `room` bytes.
    let length =
        unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, text.as_mut_ptr(), room) };
    let length = usize::try_from(length).ok()?.min(room);
    let text = String::from_utf8_lossy(&text[..length]);
    Some((id, text.trim_end_matches('\0').to_string()))
}

/// One line of `getifaddrs(3)`.
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) flags: u32,
    pub(crate) address: Address,
}

/// What an interface has: its link, or an address with the length of its prefix.
pub(crate) enum Address {
    Link(i32, String),
    V4(Ipv4Addr, u32),
    V6(Ipv6Addr, u32),
    None,
}

/// The network interfaces and their addresses.
pub(crate) fn interfaces() -> Vec<Interface> {
    let mut found = Vec::new();
    let mut list = std::ptr::null_mut();
    // SAFETY: on success the C library gives a list that stays valid until freeifaddrs; names are
    // C strings, and each address is of the size that its family says.
    unsafe {
        if libc::getifaddrs(&mut list) != 0 {
            return found;
        }
        let mut at = list;
        while let Some(item) = at.as_ref() {
            found.push(Interface {
                name: std::ffi::CStr::from_ptr(item.ifa_name)
                    .to_string_lossy()
                    .into_owned(),
                flags: item.ifa_flags,
                address: address(item.ifa_addr, item.ifa_netmask),
            });
            at = item.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    found
}

/// # Safety
/// Both are null, or valid socket addresses of one family.
unsafe fn address(address: *const libc::sockaddr, mask: *const libc::sockaddr) -> Address {
    if address.is_null() {
        return Address::None;
    }
    // SAFETY: the family tells the type that is behind the pointer.
    unsafe {
        match (*address).sa_family as c_int {
            libc::AF_PACKET => {
                let link = &*address.cast::<libc::sockaddr_ll>();
                let bytes = &link.sll_addr[..usize::from(link.sll_halen).min(8)];
                let text: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                Address::Link(link.sll_ifindex, text.join(":"))
            }
            libc::AF_INET => {
                let bits =
                    |a: *const libc::sockaddr| (*a.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                let length = if mask.is_null() {
                    32
                } else {
                    bits(mask).count_ones()
                };
                Address::V4(Ipv4Addr::from(u32::from_be(bits(address))), length)
            }
            libc::AF_INET6 => {
                let bytes =
                    |a: *const libc::sockaddr| (*a.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
                let ones = |bytes: [u8; 16]| bytes.iter().map(|b| b.count_ones()).sum();
                let length = if mask.is_null() {
                    128
                } else {
                    ones(bytes(mask))
                };
                Address::V6(Ipv6Addr::from(bytes(address)), length)
            }
            _ => Address::None,
        }
    }
}

/// An interface's MTU.
pub(crate) fn mtu(name: &str) -> Option<i32> {
    // SAFETY: an ifreq of zeros is valid; the name is cut to leave its NUL; the socket is closed.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1]
            .iter_mut()
            .zip(name.bytes())
        {
            *to = from as c_char;
        }
        let result = libc::ioctl(socket, libc::SIOCGIFMTU as _, &mut request);
        libc::close(socket);
        (result == 0).then_some(request.ifr_ifru.ifru_mtu)
    }
}

/// Any call of up to six numbers, for what an attack would try. The error as the kernel gives it.
pub(crate) fn raw_syscall(number: i64, args: [i64; 6]) -> Result<i64, rustix::io::Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: only what the tests ask for; a pointer argument they can only give as 0, and those of this file are of
    // memory that lives during the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 {
        return Ok(result);
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Err(rustix::io::Errno::from_raw_os_error(errno))
}

/// The ids of the programs that decide on devices for a cgroup: bpf(2) with BPF_PROG_QUERY.
pub(crate) fn device_programs(cgroup: &std::fs::File) -> Result<Vec<u32>, rustix::io::Errno> {
    const PROG_QUERY: i64 = 16;
    const CGROUP_DEVICE: u32 = 6;
    let mut ids = [0u32; 64];
    let pointer = ids.as_mut_ptr() as u64;
    // target_fd, attach_type, query_flags, attach_flags, prog_ids (two words), prog_cnt
    let mut query = [
        cgroup.as_raw_fd().cast_unsigned(),
        CGROUP_DEVICE,
        0,
        0,
        pointer as u32,
        (pointer >> 32) as u32,
        ids.len() as u32,
    ];
    let size = size_of_val(&query) as i64;
    let address = query.as_mut_ptr() as i64;
    raw_syscall(libc::SYS_bpf, [PROG_QUERY, address, size, 0, 0, 0])?;
    Ok(ids[..ids.len().min(query[6] as usize)].to_vec())
}

/// Whether there is a program of this id: bpf(2) with BPF_PROG_GET_FD_BY_ID.
pub(crate) fn is_program(id: u32) -> bool {
    const PROG_GET_FD_BY_ID: i64 = 13;
    let mut by_id = [id, 0, 0];
    let size = size_of_val(&by_id) as i64;
    let address = by_id.as_mut_ptr() as i64;
    raw_syscall(libc::SYS_bpf, [PROG_GET_FD_BY_ID, address, size, 0, 0, 0]).is_ok()
}

/// A system call by the 32-bit entry of x86; nowhere else is there one.
#[cfg(target_arch = "x86_64")]
pub(crate) fn i386_syscall(number: i64, args: [i64; 6]) -> Result<i64, rustix::io::Errno> {
    let mut result = number as i32;
    let [a, b, c, d, e, _] = args.map(|arg| arg as i32);
    // SAFETY: as for `raw_syscall`; rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg {a:r}, rbx",
            "int 0x80",
            "xchg {a:r}, rbx",
            a = inout(reg) i64::from(a) => _,
            inout("eax") result,
            in("ecx") b,
            in("edx") c,
            in("esi") d,
            in("edi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if !(-4095..0).contains(&result) {
        return Ok(result.into());
    }
    Err(rustix::io::Errno::from_raw_os_error(-result))
}

/// A system call by the 32-bit entry of x86; nowhere else is there one.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn i386_syscall(_number: i64, _args: [i64; 6]) -> Result<i64, rustix::io::Errno> {
    Err(rustix::io::Errno::NOSYS)
}

/// What SIGSYS has said last: number of the call, architecture, the filter's data.
static TRAPPED: [AtomicI64; 3] = [const { AtomicI64::new(-1) }; 3];

extern "C" fn note_sigsys(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a siginfo_t of 128 bytes. For SIGSYS (sigaction(2)) the error is the second int, and behind
    // the address of the call, which is at 16, come its number and the architecture.
    let (data, number, arch) = unsafe {
        let ints = info.cast::<i32>();
        (*ints.add(1), *ints.add(6), (*ints.add(7)).cast_unsigned())
    };
    TRAPPED[1].store(arch.into(), Ordering::SeqCst);
    TRAPPED[2].store(data.into(), Ordering::SeqCst);
    TRAPPED[0].store(number.into(), Ordering::SeqCst);
}

/// From here on SIGSYS is noted and does nothing else.
pub(crate) fn catch_sigsys() {
    // SAFETY: a sigaction of zeros is valid, and the handler only stores numbers.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_sigsys as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut());
    }
}

/// What SIGSYS has said since [`catch_sigsys`]: number of the call, architecture, the filter's data.
pub(crate) fn trapped() -> Option<(i64, i64, i64)> {
    let number = TRAPPED[0].load(Ordering::SeqCst);
    let rest = |at: usize| TRAPPED[at].load(Ordering::SeqCst);
    (number >= 0).then(|| (number, rest(1), rest(2)))
}

/// How many threads this process has.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Does it in a child: the text that it gives, and the signal that has killed the child.
pub(crate) fn in_child(work: impl FnOnce() -> String) -> (String, Option<i32>) {
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    // SAFETY: this process has one thread; the child ends by _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let text = work();
        let done = writer.write_all(text.as_bytes()).is_ok();
        // SAFETY: takes a number.
        unsafe { libc::_exit(i32::from(!done)) };
    }
    drop(writer);
    let mut text = String::new();
    let _ = std::io::BufReader::new(reader).read_to_string(&mut text);
    let mut status = 0;
    // SAFETY: the status is an int on this stack.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    (text, signal)
}
