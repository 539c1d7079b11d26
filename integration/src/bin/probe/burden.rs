//! Things that a checkpoint refuses, or does on request only. One is taken up by this process or a child of it, "ready" is
//! printed, and it is kept until SIGTERM.

use crate::kernel;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

type Kept = Vec<Box<dyn std::any::Any>>;

/// Takes it up, and keeps it.
pub(crate) fn carry(words: &[&str]) -> Result<(), Box<dyn Error>> {
    kernel::block_all_signals();
    let _kept = take(words)?;
    println!("ready");
    while kernel::next_signal() != libc::SIGTERM {}
    Ok(())
}

fn take(words: &[&str]) -> Result<Kept, Box<dyn Error>> {
    let mut kept: Kept = Vec::new();
    match words {
        ["nothing"] => {}
        ["io_uring"] => {
            let mut parameters = [0u64; 15];
            let at = parameters.as_mut_ptr() as i64;
            kept.push(Box::new(made(libc::SYS_io_uring_setup, [1, at, 0])?));
        }
        // UFFD_USER_MODE_ONLY.
        ["userfaultfd"] => kept.push(Box::new(made(libc::SYS_userfaultfd, [1, 0, 0])?)),
        ["listener"] => {
            kernel::raw_syscall(
                libc::SYS_prctl,
                [libc::PR_SET_NO_NEW_PRIVS.into(), 1, 0, 0, 0, 0],
            )?;
            // `BPF_RET | BPF_K` with SECCOMP_RET_ALLOW.
            let program = [libc::sock_filter {
                code: 6,
                jt: 0,
                jf: 0,
                k: 0x7fff_0000,
            }];
            let program = libc::sock_fprog {
                len: 1,
                filter: program.as_ptr().cast_mut(),
            };
            let at = std::ptr::from_ref(&program) as i64;
            // SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_NEW_LISTENER.
            kept.push(Box::new(made(libc::SYS_seccomp, [1, 8, at])?));
        }
        ["namespace", bits] => {
            let bits: i64 = bits.parse()?;
            child(|| {
                kernel::raw_syscall(libc::SYS_unshare, [bits, 0, 0, 0, 0, 0])?;
                // A new pid or time namespace is that of the children.
                child(|| Ok(()))
            })?;
        }
        ["traced"] => {
            // PTRACE_TRACEME.
            child(|| Ok(kernel::raw_syscall(libc::SYS_ptrace, [0; 6]).map(|_| ())?))?;
        }
        ["lock"] => {
            let file = File::create("/tmp/locked")?;
            flock(&file, FlockOperation::LockExclusive)?;
            kept.push(Box::new(file));
        }
        ["deleted", bytes] => {
            let mut file = File::create("/tmp/large")?;
            file.write_all(&vec![7; bytes.parse()?])?;
            fs::remove_file("/tmp/large")?;
            kept.push(Box::new(file));
        }
        ["renamed"] => {
            let file = File::create("/tmp/one")?;
            fs::hard_link("/tmp/one", "/tmp/two")?;
            fs::remove_file("/tmp/one")?;
            kept.push(Box::new(file));
        }
        ["file", path] => {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            kept.push(Box::new(openat(CWD, *path, flags, Mode::empty())?));
        }
        ["huge"] => huge(
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB,
            -1,
        )?,
        ["huge", path] => {
            huge(libc::MAP_SHARED, File::create_new(path)?.as_raw_fd())?;
        }
        ["huge-deleted", path] => {
            take(&["huge", path])?;
            fs::remove_file(path)?;
        }
        ["created", path] => drop(File::create_new(path)?),
        ["unix", path] => kept.push(Box::new(UnixStream::connect(path)?)),
        ["socket", family, kind] => {
            let numbers = [family.parse()?, kind.parse()?, 0];
            kept.push(Box::new(made(libc::SYS_socket, numbers)?));
        }
        ["connected"] => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            kept.push(Box::new((listener.accept()?, client)));
        }
        ["unaccepted"] => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            // It is closed by the other side, and waits nevertheless.
            let client = TcpStream::connect(listener.local_addr()?)?;
            kept.push(Box::new((listener, client)));
        }
        _ => return Err("carry what?".into()),
    }
    Ok(kept)
}

/// A page of 2 MiB in the address space, which need not be there: it is not touched.
fn huge(flags: i32, fd: i32) -> Result<(), Box<dyn Error>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_NORESERVE;
    let words = [0, 2 << 20, protection.into(), flags.into(), fd.into(), 0];
    kernel::raw_syscall(libc::SYS_mmap, words)?;
    Ok(())
}

/// The descriptor that a call gives.
fn made(number: i64, [a, b, c]: [i64; 3]) -> Result<OwnedFd, Box<dyn Error>> {
    let fd = kernel::raw_syscall(number, [a, b, c, 0, 0, 0])?;
    // SAFETY: the kernel has just made it for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd.try_into()?) })
}

/// What a child says that has done it.
const DONE: &str = "done";

/// A child that does this and then waits to be killed. Comes back when it has.
fn child(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let (done, tell) = rustix::pipe::pipe()?;
    // SAFETY: this process has one thread; the child never comes back.
    match unsafe { libc::fork() } {
        0 => {
            drop(done);
            let said = match work() {
                Ok(()) => DONE.to_owned(),
                Err(error) => error.to_string(),
            };
            let _ = rustix::io::write(&tell, said.as_bytes());
            drop(tell);
            kernel::pause_forever();
            Ok(())
        }
        -1 => Err(std::io::Error::last_os_error().into()),
        _ => {
            drop(tell);
            let mut said = [0; 200];
            let length = rustix::io::read(&done, &mut said[..])?;
            match String::from_utf8_lossy(&said[..length]).into_owned() {
                said if said == DONE => Ok(()),
                said => Err(said.into()),
            }
        }
    }
}
