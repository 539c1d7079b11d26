//! What a process in a container has, sees and can reach: asked by the same program (`probe audit`) under vzrun, runc and
//! crun with the same config, of the container's first process and of one of `exec`. What is not the same under vzrun and
//! one of the originals has its reason in `reasons.rs` and in docs/security.md; a reason that nothing needs any longer is
//! a failure, too.

mod cases;
mod reasons;
mod report;

use cases::{CASES, Case};
use integration::{
    Bundle, CRUN_13, Container, FdSocket, Kind, RUNC_13, Runtime, Terminal, differs, needs, until,
};
use reasons::REASONS;
use report::{Facts, facts};
use std::fs;
use std::os::unix::fs::chown;

/// The reports of a case by one runtime: of its first process, and of an exec.
fn look(case: &Case, runtime: &'static Runtime) -> Facts {
    let bundle = (case.bundle)().by(runtime);
    cases::complete(&bundle);
    let c = bundle.container();
    let mut all = Facts::new();
    // Kept, or the terminal hangs up.
    let (_terminal, first) = begin(&c, case);
    if let Some(first) = first {
        all.extend(facts("first", &first, &bundle));
    }
    let exec = ["/probe", "audit", "/out/exec"];
    if case.terminal {
        let terminal = Terminal::open();
        let call = c.exec_call(&["--tty"], &exec).terminal(&terminal);
        call.run().ok();
    } else {
        c.exec(&exec).ok();
    }
    all.extend(facts("exec", &said(&bundle, "exec"), &bundle));
    all
}

/// Brings the container up; its first process has reported, if it runs its program.
fn begin(c: &Container<'_>, case: &Case) -> (Option<Terminal>, Option<String>) {
    let bundle = c.bundle();
    bundle.args(&["/probe", "audit", "/out/first", "stay"]);
    let mut terminal = None;
    if case.terminal {
        let socket = FdSocket::bind(bundle.home().join("io/console.sock"));
        let flags = ["--console-socket", socket.path().to_str().unwrap()];
        let call = c.call("create", &flags).spawn();
        terminal = Some(Terminal::from(socket.receive().0));
        call.wait().ok();
    } else {
        c.create();
    }
    if case.only_created {
        return (terminal, None);
    }
    c.start();
    let first = until("the report", || {
        let text = said(bundle, "first");
        text.ends_with('}').then_some(text)
    });
    (terminal, Some(first))
}

fn said(bundle: &Bundle, name: &str) -> String {
    fs::read_to_string(bundle.home().join("out").join(name)).unwrap_or_default()
}

/// What is another under the one and the other: place, and both values.
fn differences(ours: &Facts, theirs: &Facts) -> Vec<(String, String, String)> {
    let places: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let value =
        |facts: &Facts, place: &str| facts.get(place).map_or("-", String::as_str).to_string();
    places
        .into_iter()
        .map(|place| (place.clone(), value(ours, place), value(theirs, place)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .collect()
}

/// One case by vzrun, runc and crun.
fn compare(case: &Case) {
    differs!(Runc | Crun, "they are what vzrun is compared with");
    let (Some(runc), Some(crun)) = (Runtime::at(RUNC_13), Runtime::at(CRUN_13)) else {
        needs!(false, "runc and crun to compare with");
        return;
    };
    // They look at the machine, too, and crun changes it.
    let _alone = crate::alone();
    let ours = look(case, Runtime::get());
    let mut wrong = Vec::new();
    for (kind, original) in [(Kind::Runc, runc), (Kind::Crun, crun)] {
        let theirs = look(case, original);
        // crun gives the caller's stdin to the user of a new user namespace.
        chown("/dev/null", Some(0), Some(0)).unwrap();
        let mut used = vec![false; REASONS.len()];
        for (place, ours, theirs) in differences(&ours, &theirs) {
            let mut reasons = REASONS.iter().enumerate();
            let reason = reasons.find(|(_, reason)| {
                reason.is_for(case.name, kind) && reason.explains(&place, &ours, &theirs)
            });
            match reason {
                Some((at, _)) => used[at] = true,
                None => wrong.push(format!("{place}: {ours}, {kind:?}: {theirs}")),
            }
        }
        for (reason, used) in REASONS.iter().zip(used) {
            if reason.is_for(case.name, kind) && !used {
                wrong.push(format!(
                    "no difference from {kind:?} any longer: {reason:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}: {} wrong:\n{}",
        case.name,
        wrong.len(),
        wrong.join("\n")
    );
}

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

macro_rules! cases {
    ($($test:ident $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                compare(case($name));
            }
        )*

        #[test]
        fn each_case_has_a_test() {
            let tested = [$($name),*];
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            assert_eq!(names, tested);
        }
    };
}

cases! {
    what_the_default_spec_gives "spec",
    what_a_created_container_shows "created",
    what_docker_gives "docker",
    what_docker_gives_read_only "docker-read-only",
    what_docker_gives_with_a_terminal "docker-terminal",
    what_docker_gives_a_privileged_one "docker-privileged",
    what_podman_gives "podman",
    what_podman_gives_a_privileged_one "podman-privileged",
    what_a_user_namespace_gives "user-namespace",
    what_an_ordinary_user_gives "rootless",
    what_a_system_container_has "system",
}

/// docs/security.md has each reason, in a row of its own.
#[test]
fn the_reasons_are_documented() {
    let text = include_str!("../../../docs/security.md");
    for reason in REASONS {
        assert!(
            text.contains(reason.why),
            "not in docs/security.md: {}",
            reason.why
        );
    }
}
