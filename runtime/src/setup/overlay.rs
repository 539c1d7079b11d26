//! An overlay for a container with ids of its own. overlayfs cannot be id-mapped, but what it is made of can: so the layers
//! of the one that an engine has mounted are mapped, and mounted as an overlay once more.
//!
//! The engine's mount stays and is not in use: the kernel logs that the upper layer belongs to two. What is written through
//! one of them is seen through the other, unless that has looked before.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::setup::rootfs::Rootfs;
use crate::sys::fork::{self, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::mount;
use crate::sys::mountinfo;
use crate::sys::process::{self, Exit};
use crate::sys::{ids, procfs::Procfs};

/// OVERLAYFS_SUPER_MAGIC of linux/magic.h.
const MAGIC: i64 = 0x794c_7630;
/// The directory in the engine's workdir that is ours: two mounts with one workdir take each other's files away.
const WORK: &str = "vzrun";

/// What an overlay is made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    /// From the top down; with "has nothing but data" (overlayfs.rst, "Data-only lower layers").
    lower: Vec<(PathBuf, bool)>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    /// Everything else that is to be the same.
    options: Vec<OsString>,
    /// Flags of the mount, as mount(2) has them.
    flags: u64,
}

impl Layers {
    /// Those of the overlay that is mounted at `place`, a directory at `path`; `None`: it is none.
    pub(crate) fn of(place: &OwnedFd, path: &Path, procfs: &Procfs) -> Result<Option<Layers>> {
        if fs::file_system(place)? != MAGIC {
            return Ok(None);
        }
        let words = || {
            format!(
                "looking for the layers of the overlay on {}",
                path.display()
            )
        };
        let id = mount::mount_id(place)?;
        let text = procfs.open_self("mountinfo", OFlags::RDONLY)?;
        let text = fs::read_to_end(text, 64 << 20).context(words)?;
        let line = mountinfo::lines(&text).find(|line| line.id == id);
        let line = line.ok_or_else(|| Error::config("it is not in /proc/self/mountinfo"));
        let mut layers = Layers::parse(line.context(words)?.options()).context(words)?;
        layers.make_absolute(path);
        layers.flags = mount::restrictions(place)?;
        Ok(Some(layers))
    }

    fn parse(options: impl Iterator<Item = (String, Vec<u8>)>) -> Result<Layers> {
        let path = |value: Vec<u8>| PathBuf::from(OsString::from_vec(value));
        let mut layers = Layers::default();
        for (name, value) in options {
            match name.as_str() {
                "lowerdir" => layers.lower.extend(split(&value)),
                "lowerdir+" => layers.lower.push((path(value), false)),
                "datadir+" => layers.lower.push((path(value), true)),
                "upperdir" => layers.upper = Some(path(value)),
                "workdir" => layers.work = Some(path(value)),
                // With an index the kernel refuses a second mount.
                "rw" | "ro" | "seclabel" | "index" | "nfs_export" => {}
                _ if value.is_empty() => layers.options.push(name.into()),
                _ => {
                    let option = [name.as_bytes(), b"=", &value].concat();
                    layers.options.push(OsString::from_vec(option));
                }
            }
        }
        match layers.lower.is_empty() || layers.upper.is_some() != layers.work.is_some() {
            true => Err(Error::config("its options do not name them")),
            false => Ok(layers),
        }
    }

    /// Engines with many layers give the kernel paths from the directory that all are in: STORE/ID/merged (or rootfs) is the
    /// mount, STORE/ID/diff (or fs) is the upper layer.
    fn make_absolute(&mut self, place: &Path) {
        let upper = self.upper.as_deref().filter(|upper| upper.is_absolute());
        let store = upper.unwrap_or(place).parent().and_then(Path::parent);
        let Some(store) = store.map(Path::to_owned) else {
            return;
        };
        let lower = self.lower.iter_mut().map(|(path, _)| path);
        for path in lower.chain(&mut self.upper).chain(&mut self.work) {
            *path = store.join(&*path);
        }
    }

    /// Mounts it at `place` in `workshop`, the root of a file system and this process's working directory, with the ids of
    /// this user namespace, whose root is `root` on the host.
    pub(crate) fn mount(
        &self,
        workshop: &Rootfs,
        place: &Path,
        namespace: &OwnedFd,
        root: (u32, u32),
    ) -> Result<()> {
        let put = |from: &Path, to: &str| {
            let tree = fs::open(from, OFlags::PATH | OFlags::DIRECTORY)
                .and_then(|layer| mount::clone_tree(layer, "", false))?;
            mount::map_ids(&tree, namespace, false)
                .context(|| format!("id-mapping the layer {}", from.display()))?;
            mount::move_mount(tree, workshop.directory(&Path::new("/layers").join(to))?)
        };
        let mut data = Vec::from(b"index=off,lowerdir=");
        for (number, (path, only_data)) in self.lower.iter().enumerate() {
            put(path, &number.to_string())?;
            let separator = match (number, only_data) {
                (0, _) => "",
                (_, false) => ":",
                (_, true) => "::",
            };
            data.extend(format!("{separator}layers/{number}").bytes());
        }
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            match fs::mkdirat(fs::CWD, work.join(WORK), 0o700) {
                Err(error) if error.errno() != Some(Errno::EXIST) => return Err(error),
                _ => {}
            }
            // Of one mount, as the kernel wants them.
            let common = common(upper, work);
            put(&common, "upper")?;
            let below = |path: &Path| escape(path.strip_prefix(&common).unwrap_or(path));
            data.extend(b",upperdir=layers/upper/");
            data.extend(below(upper));
            data.extend(b",workdir=layers/upper/");
            data.extend(below(&work.join(WORK)));
        }
        for option in &self.options {
            data.push(b',');
            data.extend(option.as_bytes());
        }
        let data = String::from_utf8(data)
            .map_err(|_| Error::config("the paths of the overlay's layers are not UTF-8"))?;
        mount_as(root, workshop.directory(place)?, self.flags, &data)
    }
}

/// Mounts it in the name of the container's root: overlayfs makes files on its layers as who has mounted it, and the host's
/// root has no id there. By a child, since the change of ids would be seen of this process.
fn mount_as((uid, gid): (u32, u32), place: OwnedFd, flags: u64, data: &str) -> Result<()> {
    let child = match fork::clone3(0, None, false)? {
        Fork::Parent(child) => child,
        Fork::Child => fork::exit_after(|| {
            let done = ids::set_filesystem_ids(uid, gid).and_then(|()| {
                mount::mount_legacy("overlay", place.as_fd(), "overlay", flags, data)
            });
            let errno = |error: Error| error.errno().map_or(255, Errno::raw_os_error);
            done.map_or_else(errno, |()| 0)
        }),
    };
    match process::wait(&child.pidfd)? {
        Exit::Code(0) => Ok(()),
        Exit::Code(errno) => Err(Error::os(
            format!("mount(\"overlay\", {data:?})"),
            Errno::from_raw_os_error(errno),
        )),
        exit => Err(Error::new(
            crate::error::ErrorKind::Process,
            format!("mounting the overlay: {exit}"),
        )),
    }
}

/// The paths of `lowerdir`: `:` between them, `::` before each with nothing but data, a backslash before what is meant as it
/// is.
fn split(value: &[u8]) -> Vec<(PathBuf, bool)> {
    let mut layers = Vec::new();
    let (mut path, mut only_data, mut bytes) = (Vec::new(), false, value.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => path.extend(bytes.next()),
            b':' if path.is_empty() => only_data = true,
            b':' => {
                layers.push((PathBuf::from(OsString::from_vec(path)), only_data));
                (path, only_data) = (Vec::new(), false);
            }
            byte => path.push(*byte),
        }
    }
    if !path.is_empty() {
        layers.push((PathBuf::from(OsString::from_vec(path)), only_data));
    }
    layers
}

fn escape(path: &Path) -> Vec<u8> {
    let byte = |byte: &u8| match byte {
        b'\\' | b':' | b',' => vec![b'\\', *byte],
        byte => vec![*byte],
    };
    path.as_os_str().as_bytes().iter().flat_map(byte).collect()
}

/// The deepest directory that both are below.
fn common(a: &Path, b: &Path) -> PathBuf {
    let both = a.components().zip(b.components());
    let same = both.take_while(|(a, b)| a == b);
    same.map(|(a, _)| AsRef::<OsStr>::as_ref(&a).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Layers> {
        let option = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Layers::parse(options.iter().map(option))
    }

    #[test]
    fn options_of_an_engine() {
        let mut layers = parse(&[
            ("rw", ""),
            ("lowerdir", r"l/A:/b\:c::/data"),
            ("upperdir", "/store/id/diff"),
            ("workdir", "/store/id/work"),
            ("index", "on"),
            ("volatile", ""),
            ("metacopy", "on"),
        ])
        .unwrap();
        layers.make_absolute(Path::new("/bundle/rootfs"));
        let path = |path: &str| PathBuf::from(path);
        let expected = Layers {
            lower: vec![
                (path("/store/l/A"), false),
                (path("/b:c"), false),
                (path("/data"), true),
            ],
            upper: Some(path("/store/id/diff")),
            work: Some(path("/store/id/work")),
            options: vec!["volatile".into(), "metacopy=on".into()],
            flags: 0,
        };
        assert_eq!(layers, expected);
        let mut relative = parse(&[("lowerdir+", "l/A"), ("lowerdir+", "/b")]).unwrap();
        relative.make_absolute(Path::new("/store/id/merged"));
        assert_eq!(
            relative.lower,
            [(path("/store/l/A"), false), (path("/b"), false)]
        );
    }

    #[test]
    fn what_is_no_overlay() {
        for options in [
            &[("rw", "")][..],
            &[("lowerdir", "")],
            &[("lowerdir", "/a"), ("upperdir", "/u")],
        ] {
            assert!(parse(options).is_err(), "{options:?}");
        }
    }

    #[test]
    fn paths() {
        let common = |a: &str, b: &str| common(Path::new(a), Path::new(b));
        assert_eq!(common("/s/i/diff", "/s/i/work"), Path::new("/s/i"));
        assert_eq!(common("/a/b", "/c"), Path::new("/"));
        assert_eq!(escape(Path::new(r"a:b,c\d")), br"a\:b\,c\\d");
    }
}
