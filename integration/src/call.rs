//! One call of the runtime's binary.

use crate::{DEADLINE, Output, Runtime, Terminal, until, wait::readable};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A call that is being put together. Its environment is only PATH and HOME, its stdin is empty,
/// and what it prints goes to files, so that a container left behind may keep them open.
#[derive(Debug)]
pub struct Call {
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    bare_env: bool,
    both_streams: bool,
    cwd: Option<PathBuf>,
    user: Option<(u32, u32)>,
    stdin: Stdin,
    stdout: Option<OwnedFd>,
    fds: Vec<(i32, OwnedFd)>,
    limit: Duration,
    #[cfg(target_arch = "x86_64")]
    traced: bool,
    io_dir: PathBuf,
}

#[derive(Debug)]
enum Stdin {
    Null,
    Bytes(Vec<u8>),
    Fd(OwnedFd),
    Terminal(OwnedFd),
}

impl Call {
    /// A call of the runtime under test with no flags at all; captured output goes to `io_dir`.
    pub fn new(io_dir: &Path) -> Call {
        Call::of(Runtime::get().path(), io_dir)
    }

    /// A call of any other program, with the same rules.
    pub fn of(program: impl AsRef<OsStr>, io_dir: &Path) -> Call {
        Call {
            words: vec![program.as_ref().to_owned()],
            env: Vec::new(),
            bare_env: false,
            both_streams: false,
            cwd: None,
            user: None,
            stdin: Stdin::Null,
            stdout: None,
            fds: Vec::new(),
            limit: DEADLINE,
            #[cfg(target_arch = "x86_64")]
            traced: false,
            io_dir: io_dir.to_path_buf(),
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Call {
        self.words.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Call {
        self.words
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Call {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Leaves PATH and HOME out of the environment, too.
    pub fn bare_env(mut self) -> Call {
        self.bare_env = true;
        self
    }

    /// Starts it in another directory.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Call {
        self.cwd = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Runs it as another user, with no supplementary groups.
    pub fn as_user(mut self, uid: u32, gid: u32) -> Call {
        self.user = Some((uid, gid));
        self
    }

    /// Gives it this text on stdin.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Call {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Gives it this fd as stdin.
    pub fn stdin_fd(mut self, fd: impl Into<OwnedFd>) -> Call {
        self.stdin = Stdin::Fd(fd.into());
        self
    }

    /// Gives it one file for stdout and stderr, so that both come in the order of printing.
    pub fn both_streams(mut self) -> Call {
        self.both_streams = true;
        self
    }

    /// Gives it this fd as stdout (which is then not captured).
    pub fn stdout_fd(mut self, fd: impl Into<OwnedFd>) -> Call {
        self.stdout = Some(fd.into());
        self
    }

    /// Makes the terminal its stdin, stdout, stderr and controlling terminal.
    pub fn terminal(mut self, terminal: &Terminal) -> Call {
        self.stdin = Stdin::Terminal(terminal.slave());
        self
    }

    /// Lets it inherit `fd` under this number (3 or more).
    pub fn fd(mut self, number: i32, fd: impl Into<OwnedFd>) -> Call {
        self.fds.push((number, fd.into()));
        self
    }

    /// Kills it after this long instead of [`DEADLINE`].
    pub fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn time_limit(&self) -> Duration {
        self.limit
    }

    #[cfg(target_arch = "x86_64")]
    /// Has it be traced by the thread that spawns it, and so stop at its first instruction.
    pub(crate) fn traced(mut self) -> Call {
        self.traced = true;
        self
    }

    /// Starts it and comes back at once.
    pub fn spawn(self) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let out_path = self.io_dir.join(format!("{count}.out"));
        let err_path = self.io_dir.join(format!("{count}.err"));
        let said = self
            .words
            .iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");

        let mut words = self.words.iter();
        let mut command = match self.stdin {
            // The container's foreground terminal must be the caller's controlling one.
            Stdin::Terminal(_) => {
                let mut setsid = Command::new("setsid");
                setsid.arg("--ctty");
                setsid
            }
            _ => Command::new(words.next().unwrap()),
        };
        command.args(words).env_clear();
        if !self.bare_env {
            command.env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
            command.env("HOME", if self.user.is_some() { "/tmp" } else { "/root" });
        }
        command.envs(self.env);
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
            .stdout(append_to(&out_path))
            .stderr(append_to(if self.both_streams {
                &out_path
            } else {
                &err_path
            }));
        if self.both_streams {
            append_to(&err_path);
        }
        match self.stdin {
            Stdin::Null => command.stdin(Stdio::null()),
            Stdin::Bytes(bytes) => {
                let path = self.io_dir.join(format!("{count}.in"));
                fs::write(&path, bytes).unwrap();
                command.stdin(File::open(path).unwrap())
            }
            Stdin::Fd(fd) => command.stdin(fd),
            Stdin::Terminal(fd) => command
                .stdout(fd.try_clone().unwrap())
                .stderr(fd.try_clone().unwrap())
                .stdin(fd),
        };
        if let Some(fd) = self.stdout {
            command.stdout(fd);
        }
        let fds = self.fds.into_iter();
        let fds = fds
            .map(|(child_fd, parent_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        command.fd_mappings(fds).expect("the same fd number twice");
        #[cfg(target_arch = "x86_64")]
        if self.traced {
            // SAFETY: between fork and exec only a system call is made.
            unsafe { command.pre_exec(crate::tracer::trace_me) };
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{said}: {e}"));
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        Running {
            child,
            pidfd,
            said,
            out_path,
            err_path,
            limit: self.limit,
            started: Instant::now(),
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }
}

fn append_to(path: &Path) -> File {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    // Also a container's unprivileged user may open it again through /dev/stdout.
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    file
}

/// A call that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    said: String,
    out_path: PathBuf,
    err_path: PathBuf,
    limit: Duration,
    started: Instant,
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|e| panic!("{signal:?} to {}: {e}: {}", self.said, self.stderr()));
    }

    /// What it (or its container) has printed so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out_path).unwrap()).into_owned()
    }

    /// What it has printed to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err_path).unwrap()).into_owned()
    }

    /// Waits until it has printed a line; fails when it ends without.
    pub fn wait_line(&mut self, line: &str) {
        let what = format!("{:?} from {}", line, self.said);
        until(&what, || {
            let ended = self.child.try_wait().unwrap();
            if self.stdout().lines().any(|l| l == line) {
                return Some(());
            }
            if let Some(status) = ended {
                panic!(
                    "{}: {status} before it printed {line:?}: {}",
                    self.said,
                    self.stderr()
                );
            }
            None
        });
    }

    /// Waits for its end; after its time limit it is killed and the test fails.
    pub fn wait(mut self) -> Output {
        let left = self.limit.saturating_sub(self.started.elapsed());
        if !readable(&self.pidfd, left) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!(
                "{} hung for {:?}\nstdout: {}\nstderr: {}",
                self.said,
                self.limit,
                self.stdout(),
                self.stderr()
            );
        }
        Output {
            status: self.child.wait().unwrap(),
            said: self.said.clone(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            out_path: self.out_path.clone(),
            elapsed: self.started.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has been waited for, which is just right.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
