//! Engines whose command line is Docker's: Docker itself, and Podman.

use crate::{Call, Output, fresh_path, test_name, until};
use std::fs;

/// Such an engine, started, with the image that tests run.
pub trait Engine: Copy {
    /// The image's name there.
    const IMAGE: &'static str;
    /// What `rm` needs to end a container at once.
    const REMOVE: &'static [&'static str];

    /// A call of its command with these words.
    fn call<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Call;

    /// Waits until nothing on the host has to do with a container any more.
    fn wait_nothing_left(self, id: &str);

    /// `run --rm FLAGS IMAGE COMMAND`, with what `set` adds to the call; nothing is left of it.
    fn run_call(self, flags: &[&str], command: &[&str], set: impl FnOnce(Call) -> Call) -> Output {
        let cidfile = fresh_path("cid");
        let words = ["run", "--rm", "--cidfile", cidfile.to_str().unwrap()];
        let words = words.iter().chain(flags).chain(&[Self::IMAGE]);
        let output = set(self.call(words.chain(command))).run();
        if let Ok(id) = fs::read_to_string(cidfile) {
            self.wait_nothing_left(id.trim());
        }
        output
    }

    /// `run --rm FLAGS IMAGE COMMAND`, and nothing is left of it.
    fn run(self, flags: &[&str], command: &[&str]) -> Output {
        self.run_call(flags, command, |call| call)
    }

    /// What a container prints, without the last newline.
    #[track_caller]
    fn printed(self, flags: &[&str], command: &[&str]) -> String {
        self.run(flags, command).ok().stdout.trim_end().to_string()
    }

    /// A container, by `run --detach`.
    fn started(self, flags: &[&str], command: &[&str]) -> Started<Self> {
        self.started_by(&["run", "--detach"], flags, command)
    }

    /// A container, by another verb.
    fn started_by(self, verb: &[&str], flags: &[&str], command: &[&str]) -> Started<Self> {
        let name = test_name();
        let words = verb.iter().copied().chain(["--name", &name]);
        let words = words.chain(flags.iter().copied()).chain([Self::IMAGE]);
        let output = self.call(words.chain(command.iter().copied())).run().ok();
        Started {
            engine: self,
            name,
            id: output.stdout.trim().to_string(),
        }
    }

    /// A container that prints `up`, sleeps until it is ended, and ends with 7 at a SIGTERM.
    fn sleeping(self) -> Started<Self> {
        let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done";
        let started = self.started(&[], &["sh", "-c", script]);
        until("the trap", || started.logs().contains("up").then_some(()));
        started
    }
}

/// A container with the test's name, removed when dropped.
#[derive(Debug)]
pub struct Started<E: Engine> {
    engine: E,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

impl<E: Engine> Started<E> {
    /// One that is there already.
    pub fn of(engine: E, name: String, id: String) -> Started<E> {
        Started { engine, name, id }
    }

    /// `VERB... NAME ARGS...`
    pub fn call(&self, verb: &[&str], args: &[&str]) -> Call {
        let words = verb.iter().copied().chain([self.name.as_str()]);
        self.engine.call(words.chain(args.iter().copied()))
    }

    /// `exec FLAGS NAME COMMAND`
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Output {
        self.call(&[&["exec"], flags].concat(), command).run()
    }

    /// What `inspect` says of it.
    #[track_caller]
    pub fn says(&self, format: &str) -> String {
        let format = format!("--format={format}");
        let output = self.call(&["inspect", &format], &[]).run().ok();
        output.stdout.trim().to_string()
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> String {
        self.says("{{.State.Status}}")
    }

    /// What it has printed to stdout.
    #[track_caller]
    pub fn logs(&self) -> String {
        self.call(&["logs"], &[]).run().ok().stdout
    }
}

impl<E: Engine> Drop for Started<E> {
    fn drop(&mut self) {
        let verb = [&["rm", "--force"], E::REMOVE].concat();
        let output = self.call(&verb, &[]).run();
        if !std::thread::panicking() {
            output.ok();
            self.engine.wait_nothing_left(&self.id);
        }
    }
}

/// Tests of what a container prints, a line each: `name: engine [flags] [command] => text;`.
#[macro_export]
macro_rules! prints {
    ($($name:ident: $engine:ident [$($flag:expr),*] [$($word:expr),+] => $text:expr;)+) => {
        $(#[test]
        fn $name() {
            assert_eq!($engine.printed(&[$($flag),*], &[$($word),+]), $text);
        })+
    };
}

/// Tests of how a container ends, a line each: `name: engine [flags] [command] => status, text on stderr;`.
#[macro_export]
macro_rules! ends {
    ($($name:ident: $engine:ident [$($flag:expr),*] [$($word:expr),+] => $status:expr, $text:expr;)+) => {
        $(#[test]
        fn $name() {
            $engine.run(&[$($flag),*], &[$($word),+]).exits($status).says($text);
        })+
    };
}
