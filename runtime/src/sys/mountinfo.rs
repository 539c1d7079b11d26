//! Lines of proc_pid_mountinfo(5), as far as they matter.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its id.
    pub(crate) id: u64,
    /// Number of the file system's device, `0:61`.
    pub(crate) device: String,
    /// What of the file system is mounted.
    pub(crate) root: PathBuf,
    /// Where it is mounted, as the reader of the file sees it.
    pub(crate) place: PathBuf,
    /// The type of the file system; empty where the line does not say it.
    pub(crate) kind: String,
    /// The options of the file system, as the kernel writes them.
    options: Vec<u8>,
}

impl Line {
    /// The options of the file system: names, and values where there are.
    pub(crate) fn options(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        // A label of SELinux is quoted, and may have commas.
        let mut quoted = false;
        let options = self.options.split(move |byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        options.filter(|option| !option.is_empty()).map(|option| {
            let mut halves = option.splitn(2, |byte| *byte == b'=');
            let name = String::from_utf8_lossy(halves.next().unwrap_or_default());
            let value = unescape(halves.next().unwrap_or_default());
            (name.into_owned(), value)
        })
    }
}

/// The mounts of a whole file; lines of another form are passed over.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = Line> {
    text.split(|byte| *byte == b'\n').filter_map(parse)
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let path = |field: &[u8]| PathBuf::from(OsStr::from_bytes(&unescape(field)));
    let device = String::from_utf8_lossy(fields.nth(1)?).into_owned();
    let root = path(fields.next()?);
    let place = path(fields.next()?);
    // Behind the options stands a list of any length that ends with a `-`.
    let mut rest = fields.skip_while(|field| field != b"-").skip(1);
    let kind = String::from_utf8_lossy(rest.next().unwrap_or_default()).into_owned();
    let options = rest.nth(1).unwrap_or_default().to_owned();
    Some(Line {
        id,
        device,
        root,
        place,
        kind,
        options,
    })
}

/// Blanks and the like come as `\040`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let code = match behind {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *byte == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(*byte));
        rest = &behind[if code.is_some() { 3 } else { 0 }..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = "165 55 0:61 /c/a\\040b /mnt\\134x\\040y rw,nosuid shared:1 master:2 - tmpfs a\\040- rw";
        let line = parse(line.as_bytes()).unwrap();
        assert_eq!((line.id, line.kind.as_str()), (165, "tmpfs"));
        assert_eq!(line.place, Path::new("/mnt\\x y"));
        assert_eq!(
            (line.device.as_str(), line.root.as_path()),
            ("0:61", Path::new("/c/a b"))
        );
        let line = b"1 2 0:3 / /m rw - overlay o rw,lowerdir=/a\\054b:/c,context=\"l:c1,c2\"";
        let options: Vec<_> = parse(line).unwrap().options().collect();
        let option = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_owned());
        let expected = [
            option("rw", ""),
            option("lowerdir", "/a,b:/c"),
            option("context", "\"l:c1,c2\""),
        ];
        assert_eq!(options, expected);
        assert_eq!(parse(b"165 55"), None);
        assert_eq!(parse(b"1 2 0:3 / /a rw").unwrap().kind, "");
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\777\\+40"), b"\\777\\+40");
    }
}
