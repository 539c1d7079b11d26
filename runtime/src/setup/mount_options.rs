//! The options of a mount: which are flags of the mount, of the file system, of propagation, which are vzrun's own, and
//! which are data for the file system. Names as in runtime-spec (config-linux and mount(8)).

use crate::error::{Error, Result};
use crate::sys::mount::{MountAttr, attr, propagation};

/// The options of one mount in kernel terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` or `rbind` is there.
    pub(crate) bind: bool,
    /// `rbind`: with the mounts below the source.
    pub(crate) recursive: bool,
    /// `remount`: change what is mounted there already.
    pub(crate) remount: bool,
    /// Attributes of the mount itself.
    pub(crate) attributes: MountAttr,
    /// Attributes of the mount and of all below it (`rro` and the like).
    pub(crate) recursive_attributes: MountAttr,
    /// Propagation to set once mounted, in order, with "recursively".
    pub(crate) propagation: Vec<(u64, bool)>,
    /// Flags of the file system as mount(2) has them (MS_SYNCHRONOUS ...).
    pub(crate) filesystem_flags: u64,
    /// The same as names for fsconfig(2).
    pub(crate) filesystem_words: Vec<&'static str>,
    /// `tmpcopyup`: a tmpfs starts with what it covers.
    pub(crate) copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub(crate) idmap: Option<bool>,
    /// `src-nofollow`: the source may not be a symbolic link.
    pub(crate) source_nofollow: bool,
    /// `dest-nofollow`: a symbolic link at the destination is not followed.
    pub(crate) destination_nofollow: bool,
    /// Everything else, for the file system.
    pub(crate) data: Vec<String>,
}

/// What a word does.
#[derive(Clone, Copy)]
enum Word {
    /// Changes attributes of the mount: (set, clear).
    Attribute(u64, u64),
    /// Changes the propagation.
    Propagation(u64, bool),
    /// A flag of the file system: the MS_* bit, set or cleared.
    Filesystem(u64, bool),
    Nothing,
    Bind(bool),
    Remount,
    CopyUp,
    Idmap(bool),
    SourceNofollow,
    DestinationNofollow,
}

const ATIME: u64 = attr::ATIME;
const WORDS: &[(&str, Word)] = &[
    ("acl", Word::Nothing),
    ("async", Word::Filesystem(libc::MS_SYNCHRONOUS, false)),
    ("atime", Word::Attribute(attr::RELATIME, ATIME)),
    ("bind", Word::Bind(false)),
    ("defaults", Word::Nothing),
    ("dev", Word::Attribute(0, attr::NODEV)),
    ("diratime", Word::Attribute(0, attr::NODIRATIME)),
    ("dirsync", Word::Filesystem(libc::MS_DIRSYNC, true)),
    ("exec", Word::Attribute(0, attr::NOEXEC)),
    ("iversion", Word::Filesystem(libc::MS_I_VERSION, true)),
    ("lazytime", Word::Filesystem(libc::MS_LAZYTIME, true)),
    ("loud", Word::Filesystem(libc::MS_SILENT, false)),
    ("mand", Word::Filesystem(libc::MS_MANDLOCK, true)),
    ("noatime", Word::Attribute(attr::NOATIME, ATIME)),
    ("nodev", Word::Attribute(attr::NODEV, 0)),
    ("nodiratime", Word::Attribute(attr::NODIRATIME, 0)),
    ("noexec", Word::Attribute(attr::NOEXEC, 0)),
    ("noiversion", Word::Filesystem(libc::MS_I_VERSION, false)),
    ("nolazytime", Word::Filesystem(libc::MS_LAZYTIME, false)),
    ("nomand", Word::Filesystem(libc::MS_MANDLOCK, false)),
    ("norelatime", Word::Attribute(attr::STRICTATIME, ATIME)),
    ("nostrictatime", Word::Attribute(attr::RELATIME, ATIME)),
    ("nosuid", Word::Attribute(attr::NOSUID, 0)),
    ("nosymfollow", Word::Attribute(attr::NOSYMFOLLOW, 0)),
    ("private", Word::Propagation(propagation::PRIVATE, false)),
    ("rbind", Word::Bind(true)),
    ("relatime", Word::Attribute(attr::RELATIME, ATIME)),
    ("remount", Word::Remount),
    ("ro", Word::Attribute(attr::RDONLY, 0)),
    ("rprivate", Word::Propagation(propagation::PRIVATE, true)),
    ("rshared", Word::Propagation(propagation::SHARED, true)),
    ("rslave", Word::Propagation(propagation::SLAVE, true)),
    (
        "runbindable",
        Word::Propagation(propagation::UNBINDABLE, true),
    ),
    ("rw", Word::Attribute(0, attr::RDONLY)),
    ("shared", Word::Propagation(propagation::SHARED, false)),
    ("silent", Word::Filesystem(libc::MS_SILENT, true)),
    ("slave", Word::Propagation(propagation::SLAVE, false)),
    ("strictatime", Word::Attribute(attr::STRICTATIME, ATIME)),
    ("suid", Word::Attribute(0, attr::NOSUID)),
    ("symfollow", Word::Attribute(0, attr::NOSYMFOLLOW)),
    ("sync", Word::Filesystem(libc::MS_SYNCHRONOUS, true)),
    ("tmpcopyup", Word::CopyUp),
    (
        "unbindable",
        Word::Propagation(propagation::UNBINDABLE, false),
    ),
    ("idmap", Word::Idmap(false)),
    ("ridmap", Word::Idmap(true)),
    ("src-nofollow", Word::SourceNofollow),
    ("dest-nofollow", Word::DestinationNofollow),
];

/// The words that, with an `r` in front, hold for all mounts below as well (mount_setattr(2) AT_RECURSIVE).
const RECURSIVE: &[&str] = &[
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "symfollow",
    "nosymfollow",
];

fn lookup(word: &str) -> Option<Word> {
    WORDS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, action)| *action)
}

/// All words that are not passed on as data, for `features`.
pub(crate) fn names() -> Vec<String> {
    let plain = WORDS.iter().map(|(name, _)| (*name).to_owned());
    let recursive = RECURSIVE.iter().map(|name| format!("r{name}"));
    let mut names: Vec<String> = plain.chain(recursive).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Reads the options of a mount.
///
/// # Errors
/// A word of vzrun's own that does not fit the others.
pub(crate) fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for word in words {
        if let Some(action) = lookup(word) {
            options.apply(action);
            continue;
        }
        let recursive = word
            .strip_prefix('r')
            .filter(|rest| RECURSIVE.contains(rest));
        match recursive.and_then(lookup) {
            Some(Word::Attribute(set, clear)) => {
                change(&mut options.recursive_attributes, set, clear);
            }
            _ if word.contains('\0') => {
                return Err(Error::config(format!(
                    "mount option {word:?} has a NUL byte"
                )));
            }
            _ if word.is_empty() => {}
            _ => options.data.push(word.clone()),
        }
    }
    Ok(options)
}

/// The later word wins over the earlier one.
fn change(attributes: &mut MountAttr, set: u64, clear: u64) {
    attributes.set = attributes.set & !clear | set;
    attributes.clear = attributes.clear & !(set & !ATIME) | clear;
}

impl Options {
    fn apply(&mut self, action: Word) {
        match action {
            Word::Attribute(set, clear) => change(&mut self.attributes, set, clear),
            Word::Propagation(kind, recursive) => self.propagation.push((kind, recursive)),
            Word::Filesystem(flag, true) => {
                self.filesystem_flags |= flag;
                self.filesystem_words.extend(filesystem_word(flag));
            }
            Word::Filesystem(flag, false) => {
                self.filesystem_flags &= !flag;
                self.filesystem_words
                    .retain(|word| filesystem_word(flag) != Some(word));
            }
            Word::Nothing => {}
            Word::Bind(recursive) => {
                self.bind = true;
                self.recursive |= recursive;
            }
            Word::Remount => self.remount = true,
            Word::CopyUp => self.copy_up = true,
            Word::Idmap(recursive) => self.idmap = Some(recursive),
            Word::SourceNofollow => self.source_nofollow = true,
            Word::DestinationNofollow => self.destination_nofollow = true,
        }
    }

    /// Whether anything is to be changed on the mount itself.
    pub(crate) fn has_attributes(&self) -> bool {
        self.attributes != MountAttr::default()
    }

    /// Whether there is anything for the file system, not the mount.
    pub(crate) fn has_filesystem_options(&self) -> bool {
        self.filesystem_flags != 0 || !self.data.is_empty()
    }
}

/// fsconfig(2)'s name for a flag of mount(2), where it has one.
fn filesystem_word(flag: u64) -> Option<&'static str> {
    match flag {
        libc::MS_SYNCHRONOUS => Some("sync"),
        libc::MS_DIRSYNC => Some("dirsync"),
        libc::MS_LAZYTIME => Some("lazytime"),
        libc::MS_MANDLOCK => Some("mand"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &str) -> Options {
        let words: Vec<String> = words.split(',').map(str::to_owned).collect();
        parse(&words).unwrap()
    }

    #[test]
    fn attributes() {
        for (words, set, clear) in [
            ("ro", attr::RDONLY, 0),
            ("ro,rw", 0, attr::RDONLY),
            ("rw,ro", attr::RDONLY, 0),
            (
                "nosuid,noexec,nodev",
                attr::NOSUID | attr::NOEXEC | attr::NODEV,
                0,
            ),
            ("noatime", attr::NOATIME, ATIME),
            ("noatime,strictatime", attr::STRICTATIME, ATIME),
            ("relatime", 0, ATIME),
            ("nosymfollow", attr::NOSYMFOLLOW, 0),
            ("defaults", 0, 0),
        ] {
            let got = options(words).attributes;
            assert_eq!((got.set, got.clear), (set, clear), "{words}");
        }
    }

    #[test]
    fn recursive_words_are_apart_from_propagation_and_binds() {
        let got = options("rbind,rslave,rro,rnosuid,rshared");
        assert!(got.bind && got.recursive);
        assert_eq!(got.recursive_attributes.set, attr::RDONLY | attr::NOSUID);
        assert_eq!(
            got.propagation,
            [(propagation::SLAVE, true), (propagation::SHARED, true)]
        );
        assert_eq!(got.attributes, MountAttr::default());
    }

    #[test]
    fn the_rest_is_data() {
        let got = options("mode=755,size=65536k,lazytime,sync,async,rubbish");
        assert_eq!(got.data, ["mode=755", "size=65536k", "rubbish"]);
        assert_eq!(got.filesystem_words, ["lazytime"]);
    }

    #[test]
    fn idmap() {
        assert_eq!(options("bind,ridmap").idmap, Some(true));
        assert_eq!(options("bind,idmap").idmap, Some(false));
    }
}
