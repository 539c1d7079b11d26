//! The one error type of vzrun.
//!
//! A failure is born with the words of the place that knows it ("openat2(3, "proc", O_PATH): permission denied") and
//! gets more words on its way out, each adding what only the outer place knows ("mounting "proc" to "/proc""). An outer
//! text never repeats the inner one. Nothing in the library prints; the binary prints an error once.

mod errno;

use std::fmt;

use rustix::io::Errno;

/// What a caller may want to act on. The text is for people, the kind is for code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No container with that id.
    NotFound,
    /// A container with that id is there already.
    Exists,
    /// The id has characters that an id may not have.
    InvalidId,
    /// The container has no live init process.
    NotRunning,
    /// The container is in another state than the operation needs.
    InvalidState,
    /// config.json, process.json or another input says something that is wrong or contradictory.
    InvalidConfig,
    /// The input asks for something that vzrun or this host does not have.
    Unsupported,
    /// The arguments of a call do not fit together.
    InvalidArgument,
    /// A system call failed.
    System(Errno),
    /// A process that was started for the operation failed.
    Process,
    /// A process that was started for the operation died without a word.
    Died,
}

/// An error: a [`ErrorKind`] and a text built from the inside out.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// `Result` with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A new error of this kind with this text.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error {
            kind,
            text: text.into(),
        }
    }

    /// The input is wrong: [`ErrorKind::InvalidConfig`].
    pub fn config(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidConfig, text)
    }

    /// The input asks for what is not there: [`ErrorKind::Unsupported`].
    pub fn unsupported(text: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, text)
    }

    /// A failed call, printed as strace does: `call` is the call with its arguments.
    pub fn os(call: impl fmt::Display, errno: Errno) -> Error {
        let mut text = format!("{call}: {}", errno_text(errno));
        text += hint(&text, errno);
        Error::new(ErrorKind::System(errno), text)
    }

    /// What to act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The errno of the failed call at the bottom, if a failed call is what this is.
    pub fn errno(&self) -> Option<Errno> {
        match self.kind {
            ErrorKind::System(errno) => Some(errno),
            _ => None,
        }
    }

    /// The same error with outer words in front.
    #[must_use]
    pub fn wrap(self, words: impl fmt::Display) -> Error {
        Error {
            kind: self.kind,
            text: format!("{words}: {}", self.text),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The text of an errno as Go and so runc prints it (lower case): engines match substrings of it.
pub(crate) fn errno_text(errno: Errno) -> String {
    errno::words(errno.raw_os_error())
}

/// What to do about a call that this host does not let vzrun make.
fn hint(text: &str, errno: Errno) -> &'static str {
    // Their own reasons for EPERM do not arise here; a seccomp profile that is older than the call says so for all that it
    // does not know.
    const NEW: [&str; 3] = ["openat2(", "pidfd_open(", "close_range("];
    match errno {
        Errno::NOSYS => {
            " (vzrun needs Linux 5.12 or later, and inside of a container a seccomp profile that allows the call)"
        }
        Errno::PERM if NEW.iter().any(|call| text.starts_with(call)) => {
            " (refused by a seccomp profile that vzrun itself runs under?)"
        }
        _ => "",
    }
}

/// Gives words to a failure where the words are known.
pub(crate) trait Context<T> {
    /// Names the failed call with its arguments, as strace prints it.
    fn call<D: fmt::Display>(self, call: impl FnOnce() -> D) -> Result<T>
    where
        Self: Sized;
    /// Puts outer words in front.
    fn context<D: fmt::Display>(self, words: impl FnOnce() -> D) -> Result<T>
    where
        Self: Sized;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn call<D: fmt::Display>(self, call: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| Error::os(call(), errno))
    }
    fn context<D: fmt::Display>(self, words: impl FnOnce() -> D) -> Result<T> {
        self.call(words)
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn call<D: fmt::Display>(self, call: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Error::os(call(), errno),
            None => Error::new(ErrorKind::Process, format!("{}: {error}", call())),
        })
    }
    fn context<D: fmt::Display>(self, words: impl FnOnce() -> D) -> Result<T> {
        self.call(words)
    }
}

impl<T> Context<T> for Result<T> {
    fn call<D: fmt::Display>(self, call: impl FnOnce() -> D) -> Result<T> {
        self.context(call)
    }
    fn context<D: fmt::Display>(self, words: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.wrap(words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_built_from_the_inside_out() {
        let error = Err::<(), _>(Errno::NOENT)
            .call(|| "openat(3, \"proc\", O_PATH)")
            .context(|| "mounting \"proc\"");
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "mounting \"proc\": openat(3, \"proc\", O_PATH): no such file or directory"
        );
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }

    #[test]
    fn an_old_kernel_is_named() {
        let text = |call: &str, errno| Error::os(call, errno).to_string();
        assert!(text("fsopen(\"proc\")", Errno::NOSYS).contains("Linux 5.12"));
        assert!(text("pidfd_open(7)", Errno::PERM).contains("seccomp"));
        assert_eq!(
            text("fsopen(\"proc\")", Errno::PERM),
            "fsopen(\"proc\"): operation not permitted"
        );
    }

    #[test]
    fn errno_texts_are_those_of_go() {
        for (errno, text) in [
            (Errno::PERM, "operation not permitted"),
            (Errno::ACCESS, "permission denied"),
            (Errno::NOENT, "no such file or directory"),
            (Errno::NOTDIR, "not a directory"),
            (Errno::SRCH, "no such process"),
        ] {
            assert_eq!(errno_text(errno), text);
        }
    }
}
