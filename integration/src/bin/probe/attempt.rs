//! `probe try`: one call, and how it ended.
//!
//! `open FLAGS FILE`: FLAGS is a `+`-list of r, w, rw, creat, excl, trunc, append, dir, path, nofollow
//! `mkdir DIR`, `unlink FILE`, `rmdir DIR`, `symlink TARGET FILE`, `link OLD NEW`, `rename OLD NEW`,
//! `chmod MODE FILE`, `chown UID GID FILE`, `mkfifo FILE`, `mknod c|b FILE MAJOR MINOR`,
//! `exec FILE`, `chdir DIR`, `chroot DIR`
//! `mount SOURCE TARGET TYPE FLAGS DATA`: FLAGS is a `+`-list of ro, bind, rec, remount, private ...
//! `umount DIR`, `sethostname NAME`, `setuid N`, `setgid N`, `kill PID SIGNAL`, `nice N`
//! `bind PORT` (TCP on 127.0.0.1), `setrlimit-nofile N` (both), `syscall NUMBER ARGS...`

use crate::{kernel, names};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use std::io;
use std::process::Command;

/// Does it and gives "ok" (with a result where there is one) or the error's name.
pub(crate) fn attempt(words: &[&str]) -> String {
    match call(words) {
        Some(Ok(())) => "ok".to_string(),
        Some(Err(error)) => names::errno(error),
        None => format!("probe try: what is {words:?}?"),
    }
}

fn call(words: &[&str]) -> Option<Result<(), Errno>> {
    let done = match words {
        ["open", flags, file] => {
            rustix::fs::open(*file, open_flags(flags)?, Mode::from_raw_mode(0o644)).map(drop)
        }
        ["mkdir", dir] => rustix::fs::mkdir(*dir, Mode::from_raw_mode(0o755)),
        ["unlink", file] => rustix::fs::unlink(*file),
        ["rmdir", dir] => rustix::fs::rmdir(*dir),
        ["symlink", target, file] => rustix::fs::symlink(*target, *file),
        ["link", old, new] => rustix::fs::link(*old, *new),
        ["rename", old, new] => rustix::fs::rename(*old, *new),
        ["chmod", mode, file] => {
            let mode = u32::from_str_radix(mode, 8).ok()?;
            rustix::fs::chmod(*file, Mode::from_raw_mode(mode))
        }
        ["chown", uid, gid, file] => {
            let uid = Uid::from_raw(uid.parse().ok()?);
            let gid = Gid::from_raw(gid.parse().ok()?);
            rustix::fs::chownat(CWD, *file, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
        ["mkfifo", file] => {
            rustix::fs::mknodat(CWD, *file, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        }
        ["mknod", kind, file, major, minor] => {
            let kind = if *kind == "b" {
                FileType::BlockDevice
            } else {
                FileType::CharacterDevice
            };
            let device = makedev(major.parse().ok()?, minor.parse().ok()?);
            rustix::fs::mknodat(CWD, *file, kind, Mode::from_raw_mode(0o600), device)
        }
        ["exec", file] => io_result(Command::new(file).arg("exit").arg("0").status().map(drop)),
        ["chdir", dir] => rustix::process::chdir(*dir),
        ["chroot", dir] => rustix::process::chroot(*dir),
        ["mount", source, target, kind, flags, data] => {
            return mount(source, target, kind, flags, data);
        }
        ["umount", dir] => rustix::mount::unmount(*dir, UnmountFlags::empty()),
        ["sethostname", name] => rustix::system::sethostname(name.as_bytes()),
        ["setuid", id] => rustix::thread::set_thread_uid(Uid::from_raw(id.parse().ok()?)),
        ["setgid", id] => rustix::thread::set_thread_gid(Gid::from_raw(id.parse().ok()?)),
        ["kill", pid, signal] => {
            let (pid, signal) = (pid.parse().ok()?, names::signal(signal)?);
            kernel::raw_syscall(libc::SYS_kill, [pid, signal.into(), 0, 0, 0, 0]).map(drop)
        }
        ["nice", by] => rustix::process::nice(by.parse().ok()?).map(drop),
        ["bind", port] => {
            let port: u16 = port.parse().ok()?;
            io_result(std::net::TcpListener::bind(("127.0.0.1", port)).map(drop))
        }
        ["setrlimit-nofile", limit] => {
            let limit = Some(limit.parse().ok()?);
            let limit = rustix::process::Rlimit {
                current: limit,
                maximum: limit,
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        }
        ["syscall", number, rest @ ..] => {
            let mut args = [0; 6];
            for (to, from) in args.iter_mut().zip(rest) {
                *to = from.parse().ok()?;
            }
            kernel::raw_syscall(number.parse().ok()?, args).map(drop)
        }
        _ => return None,
    };
    Some(done)
}

fn open_flags(text: &str) -> Option<OFlags> {
    text.split('+')
        .try_fold(OFlags::CLOEXEC | OFlags::NONBLOCK, |flags, word| {
            let flag = match word {
                "r" => OFlags::RDONLY,
                "w" => OFlags::WRONLY,
                "rw" => OFlags::RDWR,
                "creat" => OFlags::CREATE,
                "excl" => OFlags::EXCL,
                "trunc" => OFlags::TRUNC,
                "append" => OFlags::APPEND,
                "dir" => OFlags::DIRECTORY,
                "path" => OFlags::PATH,
                "nofollow" => OFlags::NOFOLLOW,
                _ => return None,
            };
            Some(flags | flag)
        })
}

fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: &str,
    data: &str,
) -> Option<Result<(), Errno>> {
    let mut set = MountFlags::empty();
    let mut propagation = MountPropagationFlags::empty();
    let (mut bind, mut remount) = (false, false);
    for word in flags.split('+').filter(|word| !word.is_empty()) {
        match word {
            "ro" => set |= MountFlags::RDONLY,
            "nosuid" => set |= MountFlags::NOSUID,
            "nodev" => set |= MountFlags::NODEV,
            "noexec" => set |= MountFlags::NOEXEC,
            "bind" => bind = true,
            "remount" => remount = true,
            "rec" => propagation |= MountPropagationFlags::REC,
            "private" => propagation |= MountPropagationFlags::PRIVATE,
            "shared" => propagation |= MountPropagationFlags::SHARED,
            "slave" => propagation |= MountPropagationFlags::DOWNSTREAM,
            _ => return None,
        }
    }
    let data = std::ffi::CString::new(data).ok()?;
    Some(if remount {
        let set = if bind { set | MountFlags::BIND } else { set };
        rustix::mount::mount_remount(target, set, data.as_c_str())
    } else if bind && propagation.contains(MountPropagationFlags::REC) {
        rustix::mount::mount_bind_recursive(source, target)
    } else if bind {
        rustix::mount::mount_bind(source, target)
    } else if !propagation.is_empty() {
        rustix::mount::mount_change(target, propagation)
    } else {
        rustix::mount::mount(source, target, kind, set, data.as_c_str())
    })
}

fn io_result(result: io::Result<()>) -> Result<(), Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
