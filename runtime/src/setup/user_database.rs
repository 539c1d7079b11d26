//! The container's /etc/passwd, and the user of `exec -u`.
//!
//! The file belongs to the container and may hold anything, a terabyte of zeros or a fifo too.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::log;
use crate::sys::fs;

/// The largest /etc/passwd that is looked into: 10 MiB.
const LIMIT: u64 = 10 << 20;
/// The longest line in it.
const LINE_LIMIT: u64 = 64 << 10;

/// The home directory of a user: the sixth field of the first line with that uid, where it is not empty.
///
/// `passwd` was opened confined to the rootfs, with O_NONBLOCK in case it is a fifo. One that is no regular file, too
/// large, or has too long a line before the user's, knows nobody: a missing HOME is no reason not to run.
///
/// # Errors
/// It could be read at another time.
pub(crate) fn home_of(passwd: OwnedFd, uid: u32) -> Result<Option<String>> {
    match read_home(passwd, uid) {
        Err(error) if error.errno().is_none() => {
            log::debug(format_args!("no HOME from /etc/passwd: {error}"));
            Ok(None)
        }
        other => other.context(|| "looking for HOME in /etc/passwd"),
    }
}

fn read_home(passwd: OwnedFd, uid: u32) -> Result<Option<String>> {
    let stat = fs::fstat(&passwd)?;
    if fs::file_type(&stat) != fs::FileType::RegularFile {
        return Err(refused("not a regular file"));
    }
    if u64::try_from(stat.st_size).is_ok_and(|size| size > LIMIT) {
        return Err(refused(&format!("larger than the limit of {LIMIT} bytes")));
    }
    // The size that was seen above need not be the one at the time of reading.
    let reader = BufReader::new(std::fs::File::from(passwd).take(LIMIT));
    find(reader, uid)
}

fn find(mut reader: impl BufRead, uid: u32) -> Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader)
            .take(LINE_LIMIT + 1)
            .read_until(b'\n', &mut line)
            .call(|| "read(/etc/passwd)")?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 > LINE_LIMIT {
            return Err(refused(&format!(
                "a line is longer than the limit of {LINE_LIMIT} bytes"
            )));
        }
        if let Some(home) = home_in(&line, uid) {
            return Ok(Some(home).filter(|home| !home.is_empty()));
        }
    }
}

/// The home field of a line, if it is that user's.
fn home_in(line: &[u8], uid: u32) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let mut fields = line.split(':');
    let (_name, _password) = (fields.next()?, fields.next()?);
    if number(fields.next()?) != Some(uid) {
        return None;
    }
    let (_gid, _about) = (fields.next(), fields.next());
    Some(fields.next().unwrap_or_default().to_owned())
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Process, format!("/etc/passwd: {why}"))
}

/// Parses `UID[:GID]` of `exec --user`.
///
/// # Errors
/// Anything but decimal numbers that are ids: `-1`, which setresuid(2) takes for "as it is", is none.
pub(crate) fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let (uid, gid) = match text.split_once(':') {
        None => (text, None),
        Some((uid, gid)) => (uid, Some(gid)),
    };
    let id = |kind: &str, id: &str| {
        number(id).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("invalid {kind} {id:?} in user {text:?}: it must be a number"),
            )
        })
    };
    Ok((id("uid", uid)?, gid.map(|gid| id("gid", gid)).transpose()?))
}

/// A decimal number without a sign that is an id.
fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes() {
        let passwd = b"# comment\nroot:x:0:0:root:/root:/bin/sh\n\xff\xfe:x:5:5::/junk:\n:::::\nx:x:7\n\
            \n+nis\nu:x:1000:1000:::/bin/sh\nv:x:+12:1::/plus:\nw:x:12:1::/twelve\nw:x:12:1::/second\n";
        for (uid, home) in [
            (0, Some("/root")),
            (5, None),
            (7, None),
            (1000, None),
            (12, Some("/twelve")),
            (13, None),
        ] {
            assert_eq!(
                find(&passwd[..], uid).unwrap().as_deref(),
                home,
                "uid {uid}"
            );
        }
        assert_eq!(find(&b""[..], 0).unwrap(), None);
    }

    #[test]
    fn long_lines_and_odd_files() {
        let mut long = vec![b'x'; 70_000];
        assert!(find(&long[..], 0).is_err());
        long.truncate(60_000);
        long.extend_from_slice(b"\nr:x:0:0::/r:\n");
        assert_eq!(find(&long[..], 0).unwrap().as_deref(), Some("/r"));
        for path in ["/dev/zero", "/"] {
            let fd = fs::open(path, fs::OFlags::RDONLY).unwrap();
            let error = read_home(fd, 0).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
            let fd = fs::open(path, fs::OFlags::RDONLY).unwrap();
            assert_eq!(home_of(fd, 0).unwrap(), None);
        }
        let own = fs::open("/etc/passwd", fs::OFlags::RDONLY).unwrap();
        assert_eq!(home_of(own, 0).unwrap().as_deref(), Some("/root"));
    }

    #[test]
    fn users_of_exec() {
        for (text, user) in [
            ("0", Some((0, None))),
            ("1", Some((1, None))),
            ("1:2", Some((1, Some(2)))),
            ("4294967294:0", Some((4_294_967_294, Some(0)))),
            ("4294967295", None),
            ("4294967296", None),
            ("-1", None),
            ("+1", None),
            ("1:", None),
            (":1", None),
            ("", None),
            ("1:2:3", None),
            ("root", None),
            ("1 ", None),
            ("0x1", None),
        ] {
            assert_eq!(parse_user(text).ok(), user, "{text:?}");
        }
    }
}
