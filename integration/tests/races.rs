//! Two commands on one id at the same time: one winner, a clear error for the other, and never a wait without an end.
//! `VZRUN_TEST_ROUNDS=1000` makes the long run.

use integration::{Bundle, Call, Container, Dice, Output, differs, rounds};
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];
const LIMIT: Duration = Duration::from_secs(25);

/// What one of the two may say: exit code, and a text in stderr.
type Ending<'a> = (i32, &'a str);

/// Runs the two calls at once, the one or the other ahead by up to a millisecond, and checks that the pair of endings
/// is one of these. Then the container is deleted by force, and nothing may be left.
fn race<'b>(
    dice: &mut Dice,
    c: &Container<'b>,
    first: Call,
    second: Call,
    allowed: &[(Ending<'_>, Ending<'_>)],
) -> usize {
    let ahead = dice.time(Duration::from_millis(1));
    let (first, second) = match dice.below(3) {
        0 => {
            let first = first.limit(LIMIT).spawn();
            std::thread::sleep(ahead);
            (first, second.limit(LIMIT).spawn())
        }
        1 => {
            let second = second.limit(LIMIT).spawn();
            std::thread::sleep(ahead);
            (first.limit(LIMIT).spawn(), second)
        }
        _ => (first.limit(LIMIT).spawn(), second.limit(LIMIT).spawn()),
    };
    let (first, second) = (first.wait(), second.wait());
    let ended = |output: &Output, (code, text): Ending<'_>| {
        let said = match text {
            "" => output.stderr.is_empty(),
            text => output.stderr.contains(text),
        };
        output.code() == Some(code) && said
    };
    let found = allowed
        .iter()
        .position(|(a, b)| ended(&first, *a) && ended(&second, *b));
    let found = found.unwrap_or_else(|| {
        panic!(
            "no such pair of endings is allowed:\n{}\n{}",
            first.describe(),
            second.describe()
        )
    });
    c.call("delete", &["--force"]).limit(LIMIT).run().ok();
    assert_eq!(c.bundle().leftovers(), [""; 0]);
    found
}

/// Many rounds of a race; `prepare` brings the container to where it begins.
fn races(
    prepare: impl Fn(&Container<'_>),
    first: impl Fn(&Container<'_>) -> Call,
    second: impl Fn(&Container<'_>) -> Call,
    allowed: &[(Ending<'_>, Ending<'_>)],
) {
    differs!(
        Runc | Crun,
        "they have no lock: the loser's words and what is left vary"
    );
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    bundle.args(&["/probe", "pause"]);
    let c = bundle.container();
    let mut counts = vec![0; allowed.len()];
    for _ in 0..rounds(40, 0.3) {
        prepare(&c);
        counts[race(&mut dice, &c, first(&c), second(&c), allowed)] += 1;
    }
    println!("{counts:?} of {allowed:?}");
}

fn nothing(_: &Container<'_>) {}

fn created(c: &Container<'_>) {
    c.create();
}

fn running(c: &Container<'_>) {
    c.run_detached();
}

fn stopped(c: &Container<'_>) {
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
}

fn verb<'a>(name: &'a str, flags: &'a [&'a str]) -> impl Fn(&Container<'_>) -> Call + 'a {
    move |c| c.call(name, flags)
}

fn exec(c: &Container<'_>) -> Call {
    c.exec_call(NO_FLAGS, &["/probe", "exit", "0"])
}

fn kill(c: &Container<'_>) -> Call {
    c.call("kill", NO_FLAGS).arg("KILL")
}

const OK: Ending<'_> = (0, "");
/// Of a creator whose container is deleted in the instant between its being there and its being let go.
const DIED: Ending<'_> = (1, "container process died before it was ready");
const NONE: Ending<'_> = (1, "container does not exist");

#[test]
fn start_and_start() {
    let late = (1, "cannot start an already running container");
    let start = || verb("start", NO_FLAGS);
    races(created, start(), start(), &[(OK, late), (late, OK)]);
}

#[test]
fn start_and_delete() {
    let refused = (1, "that is not stopped: running");
    races(
        created,
        verb("start", NO_FLAGS),
        verb("delete", NO_FLAGS),
        &[(OK, refused), (NONE, OK)],
    );
}

#[test]
fn start_and_delete_by_force() {
    races(
        created,
        verb("start", NO_FLAGS),
        verb("delete", &["--force"]),
        &[(OK, OK), (NONE, OK)],
    );
}

#[test]
fn start_and_kill() {
    let stopped = (1, "cannot start a container that has stopped");
    let ended = (1, "container init has ended before it could be started");
    races(
        created,
        verb("start", NO_FLAGS),
        kill,
        &[(OK, OK), (stopped, OK), (ended, OK)],
    );
}

#[test]
fn delete_and_delete() {
    let delete = || verb("delete", NO_FLAGS);
    races(stopped, delete(), delete(), &[(OK, NONE), (NONE, OK)]);
}

#[test]
fn delete_and_delete_of_a_created_container() {
    let delete = || verb("delete", NO_FLAGS);
    races(created, delete(), delete(), &[(OK, NONE), (NONE, OK)]);
}

#[test]
fn delete_by_force_twice() {
    let delete = || verb("delete", &["--force"]);
    races(running, delete(), delete(), &[(OK, OK)]);
}

#[test]
fn exec_and_kill() {
    let stopped = (255, "cannot exec in a stopped container");
    races(
        running,
        exec,
        kill,
        &[(OK, OK), ((137, ""), OK), (stopped, OK)],
    );
}

#[test]
fn exec_and_delete_by_force() {
    let stopped = (255, "cannot exec in a stopped container");
    let none = (255, "container does not exist");
    races(
        running,
        exec,
        verb("delete", &["--force"]),
        &[
            (OK, OK),
            ((137, ""), OK),
            (stopped, OK),
            (none, OK),
            (NONE, OK),
        ],
    );
}

#[test]
fn create_and_create() {
    let late = (1, "container with given ID already exists");
    let create = || verb("create", NO_FLAGS);
    races(nothing, create(), create(), &[(OK, late), (late, OK)]);
}

#[test]
fn create_and_delete_by_force() {
    let late = (1, "the container was deleted while it was being created");
    races(
        nothing,
        verb("create", NO_FLAGS),
        verb("delete", &["--force"]),
        &[(OK, OK), (late, OK), (DIED, OK)],
    );
}

#[test]
fn create_and_delete() {
    races(
        nothing,
        verb("create", NO_FLAGS),
        verb("delete", NO_FLAGS),
        &[(OK, NONE), (OK, OK), (DIED, OK)],
    );
}

#[test]
fn create_and_start() {
    races(
        nothing,
        verb("create", NO_FLAGS),
        verb("start", NO_FLAGS),
        &[(OK, OK), (OK, NONE)],
    );
}

#[test]
fn run_detached_and_delete_by_force() {
    let late = (1, "the container was deleted while it was being created");
    races(
        nothing,
        verb("run", &["--detach"]),
        verb("delete", &["--force"]),
        &[(OK, OK), (late, OK), (DIED, OK)],
    );
}

#[test]
fn pause_and_delete_by_force() {
    races(
        running,
        verb("pause", NO_FLAGS),
        verb("delete", &["--force"]),
        &[(OK, OK), ((1, "container not running"), OK), (NONE, OK)],
    );
}

#[test]
fn pause_and_resume() {
    races(
        running,
        verb("pause", NO_FLAGS),
        verb("resume", NO_FLAGS),
        &[
            (OK, OK),
            (OK, (1, "container not paused")),
            ((1, "resumed while it was being paused"), OK),
        ],
    );
}

#[test]
fn the_end_of_a_foreground_run_and_delete_by_force_and_a_new_run() {
    differs!(
        Runc | Crun,
        "the first run takes away what it finds under its id"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    for _ in 0..rounds(20, 0.1) {
        let mut first = c.spawn_run();
        first.wait_line("ready");
        c.delete_force().ok();
        let second = c.call("run", &["--detach"]).run();
        if second.code() == Some(0) {
            first.wait().exits(137);
            // The first one has had its end, and left the second one alone.
            assert_eq!(c.status(), "running");
        } else {
            second.exits(1);
        }
        c.delete_force().ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
