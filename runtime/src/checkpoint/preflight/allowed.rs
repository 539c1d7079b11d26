//! What CRIU has been told to save beyond what it saves anyway: by flags, and by the configuration file, which has the
//! last word.

use super::super::CriuOptions;

/// A deleted file that is still used may have as many bytes, unless CRIU's configuration says otherwise (its ghost-limit). CRIU's own
/// bound is a fiftieth, which the program of a service that has been upgraded under it does not fit in.
pub(crate) const GHOST_LIMIT: u32 = 50 << 20;

/// Those options of a dump that say what is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(super) tcp_established: bool,
    pub(super) tcp_skip_in_flight: bool,
    pub(super) ext_unix_sk: bool,
    pub(super) shell_job: bool,
    pub(super) file_locks: bool,
    pub(super) link_remap: bool,
    pub(super) ghost_limit: u64,
}

impl Allowed {
    /// Those of the flags.
    pub(crate) fn by(options: &CriuOptions, tcp_skip_in_flight: bool, link_remap: bool) -> Allowed {
        Allowed {
            tcp_established: options.tcp_established,
            tcp_skip_in_flight,
            ext_unix_sk: options.ext_unix_sk,
            shell_job: options.shell_job,
            file_locks: options.file_locks,
            link_remap,
            ghost_limit: GHOST_LIMIT.into(),
        }
    }

    /// With what goes without saying for a container that is to be saved.
    pub(crate) fn migratable(self) -> Allowed {
        Allowed {
            file_locks: true,
            link_remap: true,
            ..self
        }
    }

    /// With what the configuration file says: a name of an option and perhaps a value on each line.
    pub(crate) fn and_file(mut self, text: &str) -> Allowed {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (name, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
            match name {
                "tcp-established" => self.tcp_established = true,
                "skip-in-flight" => self.tcp_skip_in_flight = true,
                "ext-unix-sk" => self.ext_unix_sk = true,
                "shell-job" => self.shell_job = true,
                "file-locks" => self.file_locks = true,
                "link-remap" => self.link_remap = true,
                "ghost-limit" => self.ghost_limit = size(value).unwrap_or(self.ghost_limit),
                _ => {}
            }
        }
        self
    }
}

/// `50M`, with the suffixes that CRIU knows.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().trim_matches('"');
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'K' | 'k') => (&text[..at], 10),
        (at, 'M' | 'm') => (&text[..at], 20),
        (at, 'G' | 'g') => (&text[..at], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_last_word() {
        let none = Allowed::by(&CriuOptions::default(), false, false);
        let text = "tcp-established # comment\n\tghost-limit 70M\nfile-locks\n#shell-job\nx=y\n";
        let allowed = none.clone().and_file(text);
        let expected = Allowed {
            tcp_established: true,
            file_locks: true,
            ghost_limit: 70 << 20,
            ..none
        };
        assert_eq!(allowed, expected);
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("7", Some(7)),
            ("2k", Some(2048)),
            (" \"3G\" ", Some(3 << 30)),
            ("", None),
            ("M", None),
            ("99999999999999G", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
