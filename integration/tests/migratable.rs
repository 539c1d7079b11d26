//! The annotation io.vzrun.migratable: what no checkpoint saves cannot be had, with and without a seccomp profile.

use integration::{Bundle, Value, differs, json};

/// All of the tests are of something that the originals do not have.
macro_rules! ours {
    () => {
        differs!(Runc | Crun, "does not know the annotation")
    };
}

const ANNOTATION: &str = "/annotations/io.vzrun.migratable";

/// Calls, and the answers to them in a container of this kind.
fn calls() -> [(String, &'static str); 10] {
    let call = |number: i64, argument: i32| format!("{number},{argument}");
    [
        (call(libc::SYS_clone3, 0), "ENOSYS"),
        (call(libc::SYS_io_uring_setup, 0), "ENOSYS"),
        (call(libc::SYS_userfaultfd, 1), "ENOSYS"),
        (call(libc::SYS_bpf, 0), "ENOSYS"),
        (call(libc::SYS_pidfd_open, 1), "ENOSYS"),
        (call(libc::SYS_unshare, libc::CLONE_NEWUTS), "EPERM"),
        (
            call(libc::SYS_unshare, libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
            "EPERM",
        ),
        (call(libc::SYS_unshare, libc::CLONE_NEWTIME), "EPERM"),
        (
            call(libc::SYS_clone, libc::CLONE_NEWPID | libc::SIGCHLD),
            "EPERM",
        ),
        (call(libc::SYS_unshare, libc::CLONE_NEWNS), "0"),
    ]
}

fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    bundle
}

fn words() -> Vec<String> {
    let calls = calls().into_iter().map(|(call, _)| call);
    ["/probe".to_string(), "call".to_string()]
        .into_iter()
        .chain(calls)
        .collect()
}

#[track_caller]
fn check(answers: &Value) {
    for (call, expected) in calls() {
        let answer = &answers[&call];
        let answer = answer
            .as_str()
            .map_or_else(|| answer.to_string(), str::to_string);
        assert_eq!(answer, expected, "{call} of {answers}");
    }
}

#[test]
fn without_a_profile() {
    ours!();
    let bundle = bundle();
    bundle.set(ANNOTATION, json!("true"));
    for no_new_privileges in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        bundle.args(&words());
        check(&bundle.container().run().ok().json());
    }
}

#[test]
fn with_a_profile_that_allows_all() {
    ours!();
    let bundle = bundle();
    bundle.set(ANNOTATION, json!("true"));
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5,
        "syscalls": [{"names": every_call(), "action": "SCMP_ACT_ALLOW"}]}),
    );
    bundle.args(&words());
    check(&bundle.container().run().ok().json());
}

/// The names in Docker's profile, and those that it allows on conditions.
fn every_call() -> Vec<String> {
    let profile: Value = include_str!("../profiles/docker.json").parse().unwrap();
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let names = rules.flat_map(|rule| rule["names"].as_array().unwrap().iter());
    let mut names: Vec<String> = names
        .map(|name| name.as_str().unwrap().to_string())
        .collect();
    names.extend(
        [
            "bpf",
            "clone3",
            "unshare",
            "setns",
            "userfaultfd",
            "io_uring_setup",
            "mount",
        ]
        .map(str::to_string),
    );
    names
}

#[test]
fn what_is_put_there_has_it_too() {
    ours!();
    let bundle = bundle();
    bundle.set(ANNOTATION, json!("true"));
    let c = bundle.container();
    c.run_detached();
    check(&c.exec(&words()).ok().json());
}

#[test]
fn others_have_all_that() {
    ours!();
    let bundle = bundle();
    bundle.set(ANNOTATION, json!("false"));
    bundle.args(&[
        "/probe",
        "call",
        &format!("{},{}", libc::SYS_unshare, libc::CLONE_NEWUTS),
    ]);
    let answers = bundle.container().run().ok().json();
    assert!(
        answers
            .as_object()
            .unwrap()
            .values()
            .all(|answer| answer == 0),
        "{answers}"
    );
}

#[test]
fn a_word_that_means_nothing_is_refused() {
    ours!();
    let bundle = bundle();
    bundle.set(ANNOTATION, json!("yes"));
    let output = bundle.container().run().fails();
    output.says("annotation io.vzrun.migratable: \"yes\" is neither true nor false");
}
