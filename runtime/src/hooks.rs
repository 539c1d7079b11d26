//! OCI hooks: programs that the config has run at points of a container's life.
//!
//! A hook gets the container's state as JSON on its stdin. What it prints is kept for the error of a hook that fails,
//! or goes to the files that the annotations `run.oci.hooks.stdout` and `run.oci.hooks.stderr` name. It runs in the
//! namespaces, with the user and in the working directory of whoever calls [`Hooks::run`], in a process group of its
//! own, so that a timeout ends all of it.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Context, Error, ErrorKind, Result, errno_text};
use crate::sys::fork::{self, Child, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, Moved, PollFd, PollFlags};
use crate::sys::process::Exit;
use crate::sys::{group, memfd, process, signal};
use crate::{log, spec};

/// So much of what a failed hook has printed on each stream is kept; the rest is read and dropped.
const KEPT_OUTPUT: usize = 16 << 10;

/// A point in a container's life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// The deprecated name of [`Point::CreateRuntime`], run right before it.
    Prestart,
    /// In the runtime's namespaces, when the container's are there but its root is not yet switched to.
    CreateRuntime,
    /// In the container's namespaces, before the root is switched.
    CreateContainer,
    /// In the container, right before its program runs.
    StartContainer,
    /// In the runtime's namespaces, after the container's program has started.
    Poststart,
    /// In the runtime's namespaces, when the container is gone.
    Poststop,
}

impl Point {
    pub(crate) const ALL: [Point; 6] = [
        Point::Prestart,
        Point::CreateRuntime,
        Point::CreateContainer,
        Point::StartContainer,
        Point::Poststart,
        Point::Poststop,
    ];

    /// Its name in config.json.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Point::Prestart => "prestart",
            Point::CreateRuntime => "createRuntime",
            Point::CreateContainer => "createContainer",
            Point::StartContainer => "startContainer",
            Point::Poststart => "poststart",
            Point::Poststop => "poststop",
        }
    }

    #[allow(deprecated)] // prestart, which engines still use
    fn of(self, hooks: &spec::Hooks) -> &[spec::Hook] {
        match self {
            Point::Prestart => hooks.prestart(),
            Point::CreateRuntime => hooks.create_runtime(),
            Point::CreateContainer => hooks.create_container(),
            Point::StartContainer => hooks.start_container(),
            Point::Poststart => hooks.poststart(),
            Point::Poststop => hooks.poststop(),
        }
        .as_deref()
        .unwrap_or_default()
    }
}

/// One program to run.
#[derive(Debug, PartialEq, Eq)]
struct Hook {
    path: CString,
    arguments: Vec<CString>,
    /// `None`: the environment of the caller's choice.
    environment: Option<Vec<CString>>,
    /// In seconds.
    timeout: Option<u64>,
}

/// All hooks of a container.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// In the order of [`Point::ALL`].
    points: [Vec<Hook>; 6],
    stdout: Output,
    stderr: Output,
}

/// Where a stream of a hook goes.
#[derive(Debug, Default)]
struct Output {
    path: Option<String>,
    file: Option<OwnedFd>,
}

impl Hooks {
    /// Reads the hooks of the config.
    ///
    /// # Errors
    /// A path that is not absolute, a timeout that is not positive, a NUL byte anywhere.
    pub(crate) fn plan(hooks: Option<&spec::Hooks>) -> Result<Hooks> {
        let mut planned = Hooks::default();
        let Some(hooks) = hooks else {
            return Ok(planned);
        };
        for (point, list) in Point::ALL.into_iter().zip(&mut planned.points) {
            for (number, hook) in point.of(hooks).iter().enumerate() {
                let hook =
                    Hook::plan(hook).context(|| format!("{} hook #{number}", point.name()))?;
                list.push(hook);
            }
        }
        Ok(planned)
    }

    /// Takes the annotations that name files for the hooks' output.
    #[must_use]
    pub(crate) fn with_output(mut self, annotations: Option<&HashMap<String, String>>) -> Hooks {
        let named = |key| annotations.and_then(|all| all.get(key)).cloned();
        self.stdout.path = named("run.oci.hooks.stdout");
        self.stderr.path = named("run.oci.hooks.stderr");
        self
    }

    /// Opens the files of [`Hooks::with_output`]. To be called on the host, before any hook runs or a child is forked
    /// that will run some.
    pub(crate) fn open_output(&mut self) -> Result<()> {
        for output in [&mut self.stdout, &mut self.stderr] {
            if let Some(path) = &output.path {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
                output.file = Some(fs::openat(fs::CWD, path, flags, 0o700)?);
            }
        }
        Ok(())
    }

    /// The files of [`Hooks::with_output`], as far as they are open.
    pub(crate) fn output(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr]
            .into_iter()
            .flat_map(|output| output.file.as_ref().map(AsFd::as_fd))
    }

    /// Whether there is anything to run at this point.
    pub(crate) fn has(&self, point: Point) -> bool {
        !self.at(point).is_empty()
    }

    /// Runs the hooks of a point, one after the other, up to the first that fails. A hook without an environment of
    /// its own gets `default_env`, or else this process's.
    pub(crate) fn run(
        &self,
        point: Point,
        state_json: &str,
        default_env: Option<&[CString]>,
    ) -> Result<()> {
        for (number, hook) in self.at(point).iter().enumerate() {
            self.run_one(hook, state_json, default_env)
                .map_err(|error| {
                    error.wrap(format!("error running {} hook #{number}", point.name()))
                })?;
        }
        Ok(())
    }

    /// Runs all hooks of a point; one that fails is a warning and the next one runs.
    pub(crate) fn run_all_ignoring_failures(&self, point: Point, state_json: &str) {
        for (number, hook) in self.at(point).iter().enumerate() {
            if let Err(error) = self.run_one(hook, state_json, None) {
                log::warn(format_args!(
                    "error running {} hook #{number}: {error}",
                    point.name()
                ));
            }
        }
    }

    fn at(&self, point: Point) -> &[Hook] {
        let at = Point::ALL.iter().position(|p| *p == point).unwrap_or(0);
        &self.points[at]
    }

    fn run_one(&self, hook: &Hook, state: &str, default_env: Option<&[CString]>) -> Result<()> {
        let own;
        let environment = match (&hook.environment, default_env) {
            (Some(environment), _) => environment,
            (None, Some(environment)) => environment,
            (None, None) => {
                own = own_environment();
                &own
            }
        };
        // A file rather than a pipe: it holds a state of any size, so nobody has to feed it while the hook runs.
        let stdin = memfd::with_bytes("state", state.as_bytes())?;
        let (mut stdout, out) = Stream::open(&self.stdout)?;
        let (mut stderr, err) = Stream::open(&self.stderr)?;
        let (failure, fail) = poll::pipe()?;
        let child = match fork::clone3(0, None, false)? {
            Fork::Parent(child) => child,
            Fork::Child => fork::exit_after(|| {
                let streams = [stdin.as_fd(), out.as_fd(), err.as_fd()];
                let errno = execute(hook, environment, streams, fail.as_fd());
                let _ = poll::write(&fail, &errno.to_ne_bytes());
                127
            }),
        };
        drop((stdin, out, err, fail));
        // Both sides do it, so that it holds whoever comes first; it fails where the child has run its program already.
        let _ = group::lead(Some(child.pid));
        let exit = wait(hook, &child, &mut stdout, &mut stderr)?;

        let mut errno = [0u8; 4];
        if poll::read(&failure, &mut errno)? == Moved::Bytes(4) {
            let errno = rustix::io::Errno::from_raw_os_error(i32::from_ne_bytes(errno));
            let path = hook.path.to_string_lossy();
            return Err(failed(format!("fork/exec {path}: {}", errno_text(errno))));
        }
        if exit == Exit::Code(0) {
            return Ok(());
        }
        let (out, err) = (stdout.text(), stderr.text());
        Err(failed(format!("{exit}, stdout: {out}, stderr: {err}")))
    }
}

impl Hook {
    fn plan(hook: &spec::Hook) -> Result<Hook> {
        let path = hook.path().as_os_str();
        if !hook.path().is_absolute() {
            return Err(Error::config(format!("path {path:?} is not absolute")));
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds) if seconds > 0 => Some(seconds.unsigned_abs()),
            Some(_) => return Err(Error::config("timeout is not greater than zero")),
        };
        let path = string("path", path.as_bytes())?;
        let arguments = match hook.args().as_deref() {
            None | Some([]) => vec![path.clone()],
            Some(list) => list
                .iter()
                .map(|argument| string("args", argument.as_bytes()))
                .collect::<Result<_>>()?,
        };
        let environment = hook.env().as_deref().map(environment).transpose()?;
        Ok(Hook {
            path,
            arguments,
            environment,
            timeout,
        })
    }
}

/// The last of two entries for one variable wins.
fn environment(list: &[String]) -> Result<Vec<CString>> {
    let name = |entry: &str| entry.split_once('=').map(|(name, _)| name.to_owned());
    let mut kept: Vec<CString> = Vec::with_capacity(list.len());
    for (at, entry) in list.iter().enumerate() {
        let name_here = name(entry);
        let again = name_here.is_some() && list[at + 1..].iter().any(|e| name(e) == name_here);
        if !again {
            kept.push(string("env", entry.as_bytes())?);
        }
    }
    Ok(kept)
}

fn string(what: &str, bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| {
        let text = OsStr::from_bytes(bytes);
        Error::config(format!("{what}: {text:?} has a NUL byte"))
    })
}

fn own_environment() -> Vec<CString> {
    std::env::vars_os()
        .filter_map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec()).ok()
        })
        .collect()
}

fn failed(text: String) -> Error {
    Error::new(ErrorKind::Process, text)
}

/// The child's part. Comes back only with the errno of what failed.
fn execute(
    hook: &Hook,
    environment: &[CString],
    streams: [BorrowedFd<'_>; 3],
    fail: BorrowedFd<'_>,
) -> i32 {
    let prepare = || {
        group::lead(None)?;
        signal::reset();
        for (number, stream) in (0..).zip(streams) {
            process::dup_to(stream, number)?;
        }
        // A hook in the container is looked for there, where /proc/self/fd must not lead out.
        process::close_from_but(3, &[fail])
    };
    if let Err(error) = prepare() {
        let errno = error.errno();
        return errno.map_or(libc::EINVAL, rustix::io::Errno::raw_os_error);
    }
    match process::execve(&hook.path, &hook.arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => errno.raw_os_error(),
    }
}

/// Waits for the hook's own process (not for what it may have left in the background) and reads what it prints. One that
/// is not waited for to its end is killed.
fn wait(hook: &Hook, child: &Child, stdout: &mut Stream, stderr: &mut Stream) -> Result<Exit> {
    watch(hook, child, stdout, stderr).inspect_err(|_| {
        let _ = group::kill(child.pid);
        child.end();
    })
}

fn watch(hook: &Hook, child: &Child, stdout: &mut Stream, stderr: &mut Stream) -> Result<Exit> {
    let deadline = hook.timeout.and_then(poll::deadline);
    loop {
        let mut fds = vec![PollFd::new(&child.pidfd, PollFlags::IN)];
        for stream in [&*stdout, &*stderr] {
            let source = stream.source.iter();
            fds.extend(source.map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        let in_time = poll::poll(&mut fds, deadline)?;
        let ended = !fds[0].revents().is_empty();
        drop(fds);
        stdout.take()?;
        stderr.take()?;
        if ended {
            return process::wait(&child.pidfd);
        }
        if !in_time {
            let seconds = hook.timeout.unwrap_or(0);
            return Err(failed(format!(
                "hook ran past specified timeout of {seconds}.0s"
            )));
        }
    }
}

/// The end to read from of one of a hook's output streams, and what has come so far.
struct Stream {
    source: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Stream {
    /// With the descriptor that the hook gets.
    fn open(output: &Output) -> Result<(Stream, OwnedFd)> {
        let (source, sink) = match &output.file {
            Some(file) => (None, file.try_clone().call(|| "fcntl(F_DUPFD_CLOEXEC)")?),
            None => {
                let (read, write) = poll::pipe()?;
                (Some(read), write)
            }
        };
        let bytes = Vec::new();
        Ok((Stream { source, bytes }, sink))
    }

    /// Reads what is there now, up to what a pipe holds: a hook that never stops printing must not keep us here.
    fn take(&mut self) -> Result<()> {
        let mut buffer = [0u8; 8192];
        for _ in 0..8 {
            let Some(source) = &self.source else { break };
            match poll::read(source, &mut buffer)? {
                Moved::Bytes(n) => {
                    let room = KEPT_OUTPUT - self.bytes.len();
                    self.bytes.extend_from_slice(&buffer[..n.min(room)]);
                }
                Moved::Later => break,
                Moved::End => self.source = None,
            }
        }
        Ok(())
    }

    fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(json: &str) -> Result<Hooks> {
        let hooks: spec::Hooks = serde_json::from_str(json).unwrap();
        Hooks::plan(Some(&hooks))
    }

    #[test]
    fn plan_fills_in_and_refuses() {
        let good = hooks(
            r#"{"prestart": [{"path": "/bin/a"}],
                "poststop": [{"path": "/b", "args": ["x", "-y"], "env": ["A=1", "B=2", "A=3"], "timeout": 7}]}"#,
        )
        .unwrap();
        assert!(good.has(Point::Prestart));
        assert!(!good.has(Point::CreateRuntime));
        let first = &good.at(Point::Prestart)[0];
        assert_eq!(first.arguments, [c"/bin/a".to_owned()]);
        assert_eq!((&first.environment, first.timeout), (&None, None));
        let second = &good.at(Point::Poststop)[0];
        assert_eq!(second.arguments, [c"x".to_owned(), c"-y".to_owned()]);
        assert_eq!(
            second.environment,
            Some(vec![c"B=2".to_owned(), c"A=3".to_owned()])
        );
        assert_eq!(second.timeout, Some(7));

        for (json, text) in [
            (
                r#"{"createRuntime": [{"path": "/a"}, {"path": "bin/a"}]}"#,
                "createRuntime hook #1: path \"bin/a\" is not absolute",
            ),
            (
                r#"{"poststart": [{"path": "/a", "timeout": 0}]}"#,
                "poststart hook #0: timeout is not greater than zero",
            ),
            (
                r#"{"poststart": [{"path": "/a", "timeout": -1}]}"#,
                "poststart hook #0: timeout is not greater than zero",
            ),
            (
                r#"{"prestart": [{"path": "/a", "args": ["a\u0000b"]}]}"#,
                "prestart hook #0: args: \"a\\0b\" has a NUL byte",
            ),
        ] {
            assert_eq!(hooks(json).unwrap_err().to_string(), text);
        }
    }
}
