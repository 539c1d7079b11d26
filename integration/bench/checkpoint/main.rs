//! `checkpoint VZRUN RUNC [ROUNDS]`: what a runtime adds to CRIU's time, at a checkpoint and at a restore.
//!
//! This program stands in for criu in `$PATH` as well: it notes when CRIU begins, has a process wait for its end, and executes
//! the real one. A runtime's own part is the wall time of its command without that.

use integration::Bundle;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the file that times go to, and the real criu.
const CLOCK: &str = "CRIU_CLOCK";
const REAL: &str = "CRIU_REAL";
/// Makes a process wait for another.
const WATCH: &str = "--watch";
const DETACH: &str = "--detach";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[..] {
        // By whichever name.
        [_, role, pid] if role == WATCH || role == DETACH => attend(role, pid),
        [name, words @ ..] if name == "criu" || name.ends_with("/criu") => stand_in(words),
        [_, vzrun, runc] => measure(vzrun, runc, 20),
        [_, vzrun, runc, rounds] => measure(vzrun, runc, rounds.parse().expect("ROUNDS")),
        _ => panic!("checkpoint VZRUN RUNC [ROUNDS]"),
    }
}

/// Nanoseconds of a clock that all processes share.
fn now() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn note(what: &str) {
    let path = std::env::var_os(CLOCK).expect(CLOCK);
    let file = OpenOptions::new().append(true).create(true).open(path);
    // One write, since two may do so at a time.
    let line = format!("{what} {}\n", now());
    file.unwrap().write_all(line.as_bytes()).unwrap();
}

fn stand_in(words: &[String]) {
    note("begin");
    let own = std::process::id().to_string();
    let this = std::env::current_exe().unwrap();
    // No child of CRIU's, which waits for all that it has.
    let detached = Command::new(this).args([DETACH, &own]).status();
    assert!(detached.unwrap().success());
    let failed = Command::new(std::env::var_os(REAL).expect(REAL))
        .args(words)
        .exec();
    panic!("criu: {failed}");
}

// Who makes the one that watches ends at once.
#[allow(clippy::zombie_processes)]
fn attend(role: &str, pid: &str) {
    // CRIU's connection, whose end the runtime waits for.
    for number in 3..20 {
        // SAFETY: nothing of this process has these numbers.
        unsafe { libc::close(number) };
    }
    if role == DETACH {
        let this = std::env::current_exe().unwrap();
        let mut watch = Command::new(this);
        watch
            .args([WATCH, pid])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        watch.spawn().unwrap();
        return;
    }
    integration::wait_exit(pid.parse().unwrap(), Duration::from_secs(600));
    note("end");
}

/// A runtime with a container of its own.
struct Side {
    name: String,
    runtime: PathBuf,
    bundle: Bundle,
    id: String,
    /// Own part and whole of each checkpoint, and of each restore, in milliseconds.
    checkpoints: Vec<(f64, f64)>,
    restores: Vec<(f64, f64)>,
}

impl Side {
    fn new(name: &str, runtime: &str) -> Side {
        let bundle = Bundle::new();
        let script = "exec >/tmp/out 2>&1 </dev/null; while :; do sleep 1000; done";
        bundle.args(&["/bin/sh", "-c", script]);
        let id = format!("clock-{name}-{}", std::process::id());
        let side = Side {
            name: name.to_string(),
            runtime: runtime.into(),
            bundle,
            id,
            checkpoints: Vec::new(),
            restores: Vec::new(),
        };
        side.call(
            "run",
            &["--detach", "--bundle", side.bundle.dir().to_str().unwrap()],
        );
        side
    }

    fn command(&self, verb: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime);
        command
            .arg("--root")
            .arg(self.bundle.home().join("clock-root"));
        command.arg(verb).args(flags).arg(&self.id);
        let out = File::create(self.bundle.home().join("io/out")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        command
    }

    fn call(&self, verb: &str, flags: &[&str]) {
        let status = self.command(verb, flags).status().unwrap();
        let said = fs::read_to_string(self.bundle.home().join("io/out")).unwrap();
        assert!(status.success(), "{} {verb}: {said}", self.name);
    }

    /// Own part and whole of a command, in milliseconds.
    fn time(&self, verb: &str, flags: &[&str], place: &Path) -> (f64, f64) {
        let clock = place.join("clock");
        let _ = fs::remove_file(&clock);
        let begun = Instant::now();
        self.call(verb, flags);
        let whole = begun.elapsed().as_secs_f64() * 1e3;
        let all_ended = || {
            let text = fs::read_to_string(&clock).unwrap_or_default();
            let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
            (count("begin") > 0 && count("begin") == count("end")).then_some(text)
        };
        let text = integration::until("the end of CRIU to be noted", all_ended);
        let sum = text.lines().map(|line| {
            let (what, time) = line.split_once(' ').unwrap();
            let time: i128 = time.parse().unwrap();
            if what == "end" { time } else { -time }
        });
        (whole - sum.sum::<i128>() as f64 / 1e6, whole)
    }

    fn round(&mut self, place: &Path) {
        let images = self.bundle.home().join("images");
        let _ = fs::remove_dir_all(&images);
        let bundle = self.bundle.dir();
        let (images, bundle) = (images.to_str().unwrap(), bundle.to_str().unwrap());
        let done = self.time("checkpoint", &["--image-path", images], place);
        self.checkpoints.push(done);
        let flags = ["--detach", "--image-path", images, "--bundle", bundle];
        let done = self.time("restore", &flags, place);
        self.restores.push(done);
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.command("delete", &["--force"]).status();
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(vzrun: &str, runc: &str, rounds: usize) {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path)
        .map(|dir| dir.join("criu"))
        .find(|file| file.exists());
    let place = std::env::temp_dir().join(format!("criu-clock-{}", std::process::id()));
    fs::create_dir(&place).unwrap();
    fs::copy(std::env::current_exe().unwrap(), place.join("criu")).unwrap();
    // SAFETY: this process has one thread.
    unsafe {
        std::env::set_var("PATH", format!("{}:{path}", place.display()));
        std::env::set_var(REAL, real.expect("criu in $PATH"));
        std::env::set_var(CLOCK, place.join("clock"));
    }
    let mut sides = [Side::new("vzrun", vzrun), Side::new("runc", runc)];
    for round in 0..rounds {
        // Neither is always the first.
        sides[round % 2].round(&place);
        sides[1 - round % 2].round(&place);
    }
    println!(
        "| of {rounds}, medians in ms | vzrun's own part | runc's own part | ratio, paired | whole, vzrun | whole, runc |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let [ours, theirs] = &sides;
    for (name, ours, theirs) in [
        ("checkpoint", &ours.checkpoints, &theirs.checkpoints),
        ("restore", &ours.restores, &theirs.restores),
    ] {
        let ratio = median(ours.iter().zip(theirs).map(|(a, b)| a.0 / b.0));
        let own = |list: &[(f64, f64)]| median(list.iter().map(|it| it.0));
        let whole = |list: &[(f64, f64)]| median(list.iter().map(|it| it.1));
        println!(
            "| {name} | {:.1} | {:.1} | {ratio:.2} | {:.1} | {:.1} |",
            own(ours),
            own(theirs),
            whole(ours),
            whole(theirs)
        );
    }
    drop(sides);
    fs::remove_dir_all(&place).unwrap();
}
