//! Files and filesystems.

use rustix::fs::{AtFlags, CWD, FileType, major, minor, statat};
use rustix::io::Errno;
use serde_json::{Value, json};

/// A file's type, mode, owner, device and inode; where a symlink leads to.
pub(crate) fn stat(path: &str) -> Result<Value, Errno> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Unknown => "unknown",
    };
    let mut value = json!({
        "type": kind,
        "mode": format!("{:04o}", stat.st_mode & 0o7777),
        "uid": stat.st_uid,
        "gid": stat.st_gid,
        "dev": stat.st_dev,
        "ino": stat.st_ino,
        "nlink": stat.st_nlink,
        "size": stat.st_size,
    });
    if kind == "char" || kind == "block" {
        value["major"] = json!(major(stat.st_rdev));
        value["minor"] = json!(minor(stat.st_rdev));
    }
    if let Ok(target) = std::fs::read_link(path) {
        value["target"] = json!(target.to_string_lossy());
    }
    Ok(value)
}

/// The filesystem that a path lies on.
pub(crate) fn statfs(path: &str) -> Result<Value, Errno> {
    let fs = rustix::fs::statfs(path)?;
    let flags = rustix::fs::statvfs(path)?.f_flag;
    Ok(json!({
        "type": format!("{:#x}", fs.f_type),
        "block_size": fs.f_bsize,
        "blocks": fs.f_blocks,
        "files": fs.f_files,
        "flags": format!("{flags:?}"),
    }))
}

/// The names in a directory.
pub(crate) fn list(path: &str) -> Result<Value, Errno> {
    let entries = std::fs::read_dir(path)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let names = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(json!(names))
}

/// The name of the UTS namespace.
pub(crate) fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
