//! The way through all calls of a command.

use integration::{Call, Dice, Output, Traced, Which, run_with_faults};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// No command takes longer: it is hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(25);

const ERRNOS: [(&str, i32); 7] = [
    ("ENOMEM", libc::ENOMEM),
    ("EIO", libc::EIO),
    ("EINTR", libc::EINTR),
    ("EMFILE", libc::EMFILE),
    ("ENOSPC", libc::ENOSPC),
    ("EPERM", libc::EPERM),
    ("ENOSYS", libc::ENOSYS),
];

/// About how many faults of a command make a sample.
const SAMPLE: usize = 120;

/// Calls that have no error (their manual pages say so, or the C library cannot give one on): what a failure would do is
/// no matter.
const INFALLIBLE: [(i64, &str); 10] = [
    (
        libc::SYS_geteuid,
        "\"these functions are always successful\" (geteuid(2))",
    ),
    (libc::SYS_getuid, "as geteuid"),
    (libc::SYS_getegid, "as geteuid"),
    (libc::SYS_getgid, "as geteuid"),
    (libc::SYS_getpid, "as geteuid (getpid(2))"),
    (
        libc::SYS_umask,
        "\"this system call always succeeds\" (umask(2))",
    ),
    (libc::SYS_exit_group, "does not come back"),
    (
        libc::SYS_rt_sigaction,
        "a wrong number or address is its only error (sigaction(2))",
    ),
    (libc::SYS_rt_sigprocmask, "as rt_sigaction"),
    (
        libc::SYS_getrandom,
        "EINTR and ENOSYS are its only ones here (getrandom(2)); the standard library ends the process over others",
    ),
];

/// Errors that have vzrun take another way, see docs/kernel-features.md: the host's sysfs and nodes are bound, as is the
/// container's cgroup; there is no keyring.
const FALLBACKS: [(i64, i32); 5] = [
    (libc::SYS_fsopen, libc::EPERM),
    (libc::SYS_fsconfig, libc::EPERM),
    (libc::SYS_fsmount, libc::EPERM),
    (libc::SYS_mknodat, libc::EPERM),
    (libc::SYS_keyctl, libc::ENOSYS),
];

/// How a success came about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Usual,
    /// By one of the [`FALLBACKS`].
    Otherwise,
    /// What failed was the reading of a process that may have been on its own already.
    LetGo,
}

/// fcntl(2) is the first call of vzrun itself: it looks whether 0, 1 and 2 are open. What is before it is the start of the C
/// library and of Rust's, who end the process in their own ways. Nothing has been made then.
const FIRST_OWN_CALL: i64 = libc::SYS_fcntl;

/// A command, and what may come of it.
pub(crate) struct Walk<'a> {
    pub(crate) name: &'a str,
    /// Makes all ready for the call.
    pub(crate) prepare: &'a dyn Fn(),
    pub(crate) call: &'a dyn Fn() -> Call,
    /// The exit code of success.
    pub(crate) code: i32,
    /// Success: looks at what has been made, and takes it away.
    pub(crate) succeeded: &'a dyn Fn(&Output, How),
    /// Failure: looks at what is there, and makes all as it was before `prepare`.
    pub(crate) failed: &'a dyn Fn(),
    /// After what was wrong, so that one run finds all that is.
    pub(crate) tidy: &'a dyn Fn(),
}

impl Walk<'_> {
    /// Has each call fail in turn.
    pub(crate) fn go(&self) {
        let clean = self.run(&Which::None, 0);
        (self.succeeded)(
            &clean
                .output
                .expect("it hangs without any fault")
                .exits(self.code),
            How::Usual,
        );
        let counts: Vec<_> = clean.calls.iter().map(Vec::len).collect();
        let total = counts.iter().sum::<usize>();
        println!("{}: {total} calls, by process {counts:?}", self.name);

        let places = clean.calls.iter().enumerate();
        let places =
            places.flat_map(|(process, calls)| (0..calls.len()).map(move |call| (process, call)));
        let faults: Vec<_> = chosen(total)
            .into_iter()
            .zip(places.flat_map(|place| [place; ERRNOS.len()]))
            .filter_map(|(errno, place)| Some((errno?, place)))
            .collect();
        let mut ends = BTreeMap::new();
        let mut wrong = Vec::new();
        for ((errno_name, errno), (process, call)) in &faults {
            let which = Which::Nth {
                process: *process,
                call: *call,
            };
            let traced = self.run(&which, *errno);
            let number = traced.failed.map_or(-1, |place| place.number);
            let what = format!(
                "{} {process}/{call}, system call {number}, {errno_name}",
                self.name
            );
            match catch_unwind(AssertUnwindSafe(|| {
                self.judge(&clean.calls, &traced, *errno)
            })) {
                Ok(end) => {
                    println!("{what}: {end}: {}", words(&traced));
                    *ends.entry(end).or_insert(0) += 1;
                }
                Err(why) => {
                    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                    println!("{what}: WRONG: {why}: {}", words(&traced));
                    wrong.push(format!("{what}: {why}"));
                    (self.tidy)();
                }
            }
        }
        println!(
            "{}: {} faults of {}, {ends:?}",
            self.name,
            faults.len(),
            total * ERRNOS.len()
        );
        assert!(
            wrong.is_empty(),
            "{} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }

    fn run(&self, which: &Which, errno: i32) -> Traced {
        (self.prepare)();
        run_with_faults((self.call)().limit(LIMIT), which, errno)
    }

    fn judge(&self, calls: &[Vec<i64>], traced: &Traced, errno: i32) -> &'static str {
        let Some(output) = &traced.output else {
            panic!("it hangs");
        };
        let Some(place) = traced.failed else {
            assert_eq!(
                output.code(),
                Some(self.code),
                "without a fault: {}",
                output.describe()
            );
            (self.succeeded)(output, How::Usual);
            return "not reached";
        };
        if INFALLIBLE.iter().any(|(number, _)| *number == place.number) {
            (self.tidy)();
            return "no claim";
        }
        if output.code() == Some(self.code) {
            let fallback = FALLBACKS.contains(&(place.number, errno));
            let how = match place.number {
                _ if fallback => How::Otherwise,
                libc::SYS_read if place.process > 0 => How::LetGo,
                _ => How::Usual,
            };
            (self.succeeded)(output, how);
            return "no matter";
        }
        let started = place.process > 0 || has_started(&calls[0][..place.call]);
        if started {
            is_clear(output);
        }
        (self.failed)();
        if started { "an error" } else { "not started" }
    }
}

/// Whether the last program that was executed has got as far as `main`: an ordinary user's vzrun executes itself anew.
fn has_started(calls: &[i64]) -> bool {
    let ends = [libc::SYS_execve, libc::SYS_execveat, FIRST_OWN_CALL];
    let last = calls.iter().rev().find(|number| ends.contains(number));
    last == Some(&FIRST_OWN_CALL)
}

fn words(traced: &Traced) -> String {
    traced.output.as_ref().map_or(String::new(), |output| {
        format!("{:?} {}", output.code(), output.stderr.trim_end())
    })
}

/// Fails unless the command ended with one error, and that says more than the number of a descriptor and an errno.
#[track_caller]
fn is_clear(output: &Output) {
    let panicked = output.stderr.contains("panicked") || output.stderr.contains("RUST_BACKTRACE");
    let mut errors = output
        .stderr
        .lines()
        .filter(|line| line.contains("level=error"));
    let (mut error, more) = (errors.next().unwrap_or_default(), errors.next());
    // The keeper of a system container may have closed the way to vzrun: it says why on the container's stderr.
    let mut lines = output.stderr.lines();
    let keepers = lines.find(|line| line.starts_with("vzrun: keeper: "));
    if error.is_empty() || error.contains("died before it was ready") {
        error = keepers.unwrap_or(error);
    }
    assert!(
        matches!(output.code(), Some(1 | 255)) && more.is_none() && !panicked,
        "no clear error: {}",
        output.describe()
    );
    // What all errors of a command begin with says nothing of this one.
    let mut text = error
        .split_once("msg=")
        .map_or(error, |(_, text)| text)
        .replace("\\\"", "'");
    text.retain(|c| c != '"');
    if let Some((_, rest)) = text.split_once(" failed: ") {
        text = rest.to_string();
    }
    for start in [
        "unable to start container process: ",
        "error during container init: ",
    ] {
        text = text.strip_prefix(start).unwrap_or(&text).to_string();
    }
    let (what, _errno) = text.rsplit_once(": ").unwrap_or((&text, ""));
    let is_named =
        |word: &str| word.contains('_') && word.len() > 6 && !word.contains(char::is_lowercase);
    let is_said = what.contains('\'')
        || what.contains(": ")
        || what.contains('/')
        || what.split_whitespace().count() > 2
        || what
            .split(|c: char| c != '_' && !c.is_alphanumeric())
            .any(is_named);
    assert!(is_said, "what was attempted? {error}");
}

/// For each call, and then for each errno, whether it is taken: one after the other, with the errnos side by side.
fn chosen(calls: usize) -> Vec<Option<(&'static str, i32)>> {
    let all = std::env::var("VZRUN_TEST_FAULTS").is_ok_and(|text| text == "all");
    // Each call with one errno; and of these the more are passed over the more there are.
    let step = calls.div_ceil(SAMPLE);
    let mut dice = Dice::new();
    let first = dice.below(step);
    let mut taken = Vec::new();
    for call in 0..calls {
        let errno = dice.below(ERRNOS.len());
        for (at, name) in ERRNOS.iter().enumerate() {
            let sampled = call % step == first && at == errno;
            taken.push((all || sampled).then_some(*name));
        }
    }
    taken
}
