//! kill -9 of the runtime, of its container's init, at any instant: what is left can be listed, looked at and deleted,
//! and then nothing is left.
//!
//! The instants are drawn from the whole duration of each command, which is measured first. `VZRUN_TEST_ROUNDS=1000`
//! makes the long run, `VZRUN_TEST_SEED` repeats one.

use integration::{
    Bundle, Call, Container, Dice, Output, Snapshot, differs, rounds, until, wait_exit,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];
/// No command takes longer, on a machine that is busy and after an accident.
const LIMIT: Duration = Duration::from_secs(25);

/// The tests compare the whole machine before and after, so each has it to itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What there is before a round, and must be again after it.
struct Before {
    machine: Snapshot,
    descriptors: usize,
}

impl Before {
    fn take() -> Before {
        Before {
            machine: Snapshot::take(),
            descriptors: descriptors(),
        }
    }

    /// After a `delete --force`. A process that was killed may take a moment to be gone, nothing else may.
    #[track_caller]
    fn is_now(&self, bundle: &Bundle, what: &str) {
        let lasting = |left: &String| !left.starts_with("process ");
        let left = self.machine.added_in(&Snapshot::take());
        let left: Vec<_> = left.into_iter().filter(lasting).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        assert_eq!(bundle.state_ids(), [""; 0], "{what}");
        assert_eq!(descriptors(), self.descriptors, "{what}: descriptors");
        let processes = format!("the end of all processes after {what}");
        until(&processes, || {
            self.machine
                .added_in(&Snapshot::take())
                .is_empty()
                .then_some(())
        });
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How long a call takes when nobody disturbs it: the longest of a few.
fn duration(mut call: impl FnMut() -> Output) -> Duration {
    let longest = (0..5).map(|_| call().elapsed).max().unwrap();
    longest + longest / 5
}

/// Kills the runtime after so long.
fn killed_after(call: Call, delay: Duration) -> Output {
    let running = call.limit(LIMIT).spawn();
    // Asleep, and not counting: the command shall have the processor.
    sleep(delay);
    // One that has ended is still there to be waited for, and takes no notice.
    running.kill(Signal::KILL);
    running.wait()
}

/// Success, or an error in words.
#[track_caller]
fn is_clear(output: &Output) {
    let failed = matches!(output.code(), Some(1 | 255)) && !output.stderr.trim().is_empty();
    let panicked = output.stderr.contains("panicked") || output.stderr.contains("RUST_BACKTRACE");
    assert!(
        output.code() == Some(0) || failed && !panicked,
        "{}",
        output.describe()
    );
}

/// `list` and `state` work whatever has happened.
#[track_caller]
fn can_be_looked_at(c: &Container<'_>) -> String {
    let list = c.bundle().call(["list", "--format", "json"]).limit(LIMIT);
    let list = list.run().ok();
    assert!(
        !list.stderr.contains("load container"),
        "{}",
        list.describe()
    );
    list.json();
    let state = c.call("state", NO_FLAGS).limit(LIMIT).run();
    match state.code() {
        Some(0) => state.json()["status"].as_str().unwrap().to_string(),
        _ => {
            state.exits(1).says("container does not exist");
            "none".to_string()
        }
    }
}

#[track_caller]
fn delete_force(c: &Container<'_>) {
    c.call("delete", &["--force"]).limit(LIMIT).run().ok();
}

#[test]
fn of_the_runtime_in_a_life_of_create_start_exec_kill_delete() {
    differs!(
        Runc | Crun,
        "a creator that is killed leaves processes or cgroups behind"
    );
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    let call = |verb: &str| match verb {
        "exec" => c.exec_call(NO_FLAGS, &["/probe", "exit", "0"]),
        "kill" => c.call("kill", NO_FLAGS).arg("KILL"),
        verb => c.call(verb, NO_FLAGS),
    };
    let verbs = ["create", "start", "exec", "kill", "delete"];
    let mut longest = [Duration::ZERO; 5];
    for _ in 0..3 {
        for (verb, longest) in verbs.iter().zip(&mut longest) {
            if *verb == "delete" {
                c.wait_stopped();
            }
            *longest = (call(verb).run().ok().elapsed * 6 / 5).max(*longest);
        }
    }
    println!("{verbs:?} take {longest:?}");
    let before = Before::take();
    let mut ends = std::collections::BTreeMap::new();
    for round in 0..rounds(150, 1.0) {
        let victim = dice.below(verbs.len());
        let delay = dice.time(longest[victim]);
        let what = format!("round {round}: {} killed after {delay:?}", verbs[victim]);
        for (at, verb) in verbs.iter().enumerate() {
            if at != victim {
                is_clear(&call(verb).limit(LIMIT).run());
                continue;
            }
            let output = killed_after(call(verb), delay);
            let status = can_be_looked_at(&c);
            let end = output.signal().map_or("ended", |_| "killed");
            *ends.entry(format!("{verb} {end}: {status}")).or_insert(0) += 1;
        }
        can_be_looked_at(&c);
        delete_force(&c);
        before.is_now(&bundle, &what);
    }
    println!("what state said after the kill: {ends:#?}");
}

#[test]
fn of_create_and_then_nothing_but_delete() {
    differs!(
        Runc | Crun,
        "a creator that is killed leaves processes or cgroups behind"
    );
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    let longest = duration(|| {
        let created = c.create();
        c.delete().ok();
        created
    });
    let before = Before::take();
    for round in 0..rounds(100, 0.5) {
        let delay = dice.time(longest);
        killed_after(c.call("create", NO_FLAGS), delay);
        // At once: what was on its way must not come into being behind the deletion.
        delete_force(&c);
        before.is_now(&bundle, &format!("round {round}, after {delay:?}"));
    }
}

#[test]
fn of_a_start_that_another_start_follows() {
    differs!(
        Runc | Crun,
        "an init that was let go and not seen leaves its fifo behind, and the next start waits for ever"
    );
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    let longest = duration(|| {
        c.create();
        let started = c.start();
        c.delete_force().ok();
        started
    });
    let before = Before::take();
    for round in 0..rounds(60, 0.2) {
        let delay = dice.time(longest);
        let what = format!("round {round}, after {delay:?}");
        c.create();
        killed_after(c.call("start", NO_FLAGS), delay);
        let again = c.call("start", NO_FLAGS).limit(LIMIT).run();
        if again.code() != Some(0) {
            again
                .exits(1)
                .says("cannot start an already running container");
        }
        // A kill of the one who opens the gate is no harm to who goes through it.
        c.wait_status("running");
        delete_force(&c);
        before.is_now(&bundle, &what);
    }
}

const RUN_FLAGS: [&[&str]; 3] = [NO_FLAGS, &["--detach"], &["--keep"]];

#[test]
fn of_run_in_the_foreground_and_detached() {
    differs!(
        Runc | Crun,
        "a creator that is killed leaves processes or cgroups behind"
    );
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    let longest = duration(|| c.run().ok());
    let before = Before::take();
    for round in 0..rounds(60, 0.3) {
        let flags = *dice.one_of(&RUN_FLAGS);
        let program = *dice.one_of(&["pause", "sleep-forever"]);
        bundle.args(&["/probe", program]);
        let delay = dice.time(longest);
        killed_after(c.call("run", flags), delay);
        let status = can_be_looked_at(&c);
        let what = format!("round {round}: run {flags:?} killed after {delay:?}, then {status}");
        delete_force(&c);
        before.is_now(&bundle, &what);
    }
}

#[test]
fn of_exec_which_leaves_the_container_as_it_was() {
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let call = || c.exec_call(NO_FLAGS, &["/probe", "exit", "0"]);
    let longest = duration(|| call().run().ok());
    for round in 0..rounds(100, 0.5) {
        let delay = dice.time(longest);
        killed_after(call(), delay);
        let procs = c.cgroup_dir().join("cgroup.procs");
        let what = format!("the end of the process of round {round}, after {delay:?}");
        until(&what, || {
            let count = fs::read_to_string(&procs).unwrap().lines().count();
            (count == 1).then_some(())
        });
    }
    assert_eq!(c.status(), "running");
    call().run().ok();
    c.delete_force().ok();
}

#[test]
fn of_a_half_made_container_of_an_ordinary_user() {
    differs!(
        Runc | Crun,
        "a creator that is killed leaves processes or cgroups behind"
    );
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::rootless(1000, 1000);
    let c = bundle.container();
    let longest = duration(|| {
        let created = c.create();
        c.delete().ok();
        created
    });
    let before = Before::take();
    for round in 0..rounds(40, 0.2) {
        let delay = dice.time(longest);
        killed_after(c.call("create", NO_FLAGS), delay);
        can_be_looked_at(&c);
        delete_force(&c);
        before.is_now(&bundle, &format!("round {round}, after {delay:?}"));
    }
}

/// Kills what is in the container's cgroup, which at this moment may be nothing.
fn kill_inside(cgroup: &std::path::Path) {
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in procs
        .lines()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn cgroup_of(c: &Container<'_>) -> PathBuf {
    c.create();
    let dir = c.cgroup_dir();
    c.delete().ok();
    dir
}

#[test]
fn of_the_init_while_it_is_created() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    let cgroup = cgroup_of(&c);
    let longest = duration(|| {
        let created = c.create();
        c.delete().ok();
        created
    });
    let before = Before::take();
    for round in 0..rounds(80, 0.3) {
        let verb = *dice.one_of(&["create", "run"]);
        // A foreground run is to end by itself.
        bundle.args(if verb == "run" {
            &["/probe", "exit", "0"]
        } else {
            &["/probe", "pause"]
        });
        let delay = dice.time(longest);
        let running = c.call(verb, NO_FLAGS).limit(LIMIT).spawn();
        sleep(delay);
        kill_inside(&cgroup);
        let output = running.wait();
        // A foreground run ends as its container does.
        if verb != "run" || output.code() != Some(137) {
            is_clear(&output);
        }
        if output.code() != Some(0) {
            // A failed create takes away what it had made, on its own.
            before.is_now(&bundle, &format!("round {round}: {}", output.describe()));
        }
        can_be_looked_at(&c);
        delete_force(&c);
        before.is_now(
            &bundle,
            &format!("round {round}: {verb}, init killed after {delay:?}"),
        );
    }
}

#[test]
fn of_the_init_while_something_is_done_to_it() {
    differs!(Runc | Crun, "no claim is made for them");
    let _alone = alone();
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    let before = Before::take();
    for round in 0..rounds(120, 0.4) {
        let verb = *dice.one_of(&["start", "exec", "kill", "pause", "delete", "state", "ps"]);
        match verb {
            "start" => drop(c.create()),
            _ => drop(c.run_detached()),
        }
        let init = Pid::from_raw(c.pid()).unwrap();
        let call = match verb {
            "exec" => c.exec_call(NO_FLAGS, &["/probe", "exit", "0"]),
            "kill" => c.call("kill", NO_FLAGS).arg("USR1"),
            "delete" => c.call("delete", &["--force"]),
            verb => c.call(verb, NO_FLAGS),
        };
        let delay = dice.time(Duration::from_millis(4));
        let running = call.limit(LIMIT).spawn();
        sleep(delay);
        let _ = kill_process(init, Signal::KILL);
        let output = running.wait();
        // The kernel takes its time over the first process of a pid namespace.
        assert!(wait_exit(init.as_raw_nonzero().get(), LIMIT));
        // An exec ends as its process does, and that dies with init.
        if verb != "exec" || output.code() != Some(137) {
            is_clear(&output);
        }
        let status = can_be_looked_at(&c);
        let what = format!("round {round}: {verb}, init killed after {delay:?}: {status}");
        assert!(
            verb == "delete" || matches!(status.as_str(), "stopped" | "paused"),
            "{what}: {}",
            output.describe()
        );
        delete_force(&c);
        before.is_now(&bundle, &what);
    }
}
