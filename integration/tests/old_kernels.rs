//! Kernels that do not have a call yet, and seccomp profiles that refuse it: what docs/kernel-features.md promises.

#![cfg(target_arch = "x86_64")]

use integration::{Bundle, Call, Output, Which, differs, json, run_with_faults};
use libc::{EINVAL, ENOENT, ENOSYS, EPERM};

const NO_FLAGS: &[&str] = &[];

/// A call, where all system calls of these numbers fail.
fn without(call: Call, numbers: &[i64], errno: i32) -> Output {
    let traced = run_with_faults(call, &Which::Every(numbers.to_vec()), errno);
    assert!(traced.failed.is_some(), "none of {numbers:?} was called");
    traced.output.expect("it hangs")
}

fn exits_at_once() -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "7"]);
    bundle
}

#[test]
fn a_call_that_is_always_needed_is_missing() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = exits_at_once();
    let c = bundle.container();
    for (name, number) in [
        ("openat2", libc::SYS_openat2),
        ("clone3", libc::SYS_clone3),
        ("open_tree", libc::SYS_open_tree),
        ("move_mount", libc::SYS_move_mount),
        ("fsopen", libc::SYS_fsopen),
        ("fsconfig", libc::SYS_fsconfig),
        ("fsmount", libc::SYS_fsmount),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("close_range", libc::SYS_close_range),
    ] {
        for verb in ["create", "run"] {
            let output = without(c.call(verb, NO_FLAGS), &[number], ENOSYS);
            output
                .exits(1)
                .says(name)
                .says("vzrun needs Linux 5.12 or later");
            assert_eq!(bundle.leftovers(), [""; 0], "{verb} without {name}");
            let output = without(c.call(verb, NO_FLAGS), &[number], EPERM);
            output.exits(1).says(name).says("operation not permitted");
            assert_eq!(bundle.leftovers(), [""; 0], "{verb} without {name}");
        }
    }
}

#[test]
fn a_call_that_exec_kill_or_delete_needs_is_missing() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let exec = || c.exec_call(NO_FLAGS, &["/probe", "exit", "0"]);
    let kill = || c.call("kill", NO_FLAGS).arg("KILL");
    let delete = || c.call("delete", &["--force"]);
    type Calls<'a> = &'a [&'a dyn Fn() -> Call];
    let cases: [(&str, i64, Calls); 5] = [
        ("openat2", libc::SYS_openat2, &[&exec, &kill, &delete]),
        ("pidfd_open", libc::SYS_pidfd_open, &[&exec, &kill, &delete]),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[&kill]),
        ("clone3", libc::SYS_clone3, &[&exec]),
        ("setns", libc::SYS_setns, &[&exec]),
    ];
    for (name, number, calls) in cases {
        for call in calls {
            let output = without(call(), &[number], ENOSYS);
            output.fails().says(name).says("Linux 5.12 or later");
            let output = without(call(), &[number], EPERM);
            output.fails().says(name).says("operation not permitted");
            assert_eq!(c.status(), "running");
        }
    }
    exec().run().ok();
}

#[test]
fn a_call_that_has_a_fallback_is_missing() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = exits_at_once();
    let c = bundle.container();
    for (number, errno) in [
        // CONFIG_KEYS is off.
        (libc::SYS_keyctl, ENOSYS),
        // Linux before 5.8, and old seccomp profiles.
        (libc::SYS_faccessat2, ENOSYS),
        (libc::SYS_faccessat2, EPERM),
    ] {
        without(c.call("run", NO_FLAGS), &[number], errno).exits(7);
        assert_eq!(bundle.leftovers(), [""; 0], "system call {number}");
    }
    // The C library has other ways, and which of these it asks for at all depends on whose it is.
    for number in [
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_getrandom,
        libc::SYS_statx,
    ] {
        let run = c.call("run", NO_FLAGS);
        let traced = run_with_faults(run, &Which::Every(vec![number]), ENOSYS);
        traced.output.expect("it hangs").exits(7);
        assert_eq!(bundle.leftovers(), [""; 0], "system call {number}");
    }
}

#[test]
fn what_only_this_config_needs_is_missing() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = exits_at_once();
    let c = bundle.container();
    let refused = |number, text: &str| {
        let output = without(c.call("run", NO_FLAGS), &[number], ENOSYS);
        output.exits(1).says(text);
        assert_eq!(bundle.leftovers(), [""; 0], "{text}");
    };
    // Without a program no rule for devices can be kept.
    refused(libc::SYS_bpf, "device rules");
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}
        ]}),
    );
    refused(libc::SYS_seccomp, "seccomp");
}

#[test]
fn a_child_that_cannot_be_killed_by_pidfd_does_not_hang_a_create_that_fails() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = Bundle::new();
    let c = bundle.container();
    let call = c.call("create", &["--pid-file", "/nonexistent/pid"]);
    let output = without(call, &[libc::SYS_pidfd_send_signal], ENOSYS);
    output.exits(1).says("writing the pid file");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn linux_before_5_14_has_no_cgroup_kill() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = Bundle::new();
    // With the host's pid namespace, the end of init is not the end of all.
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "sleep-forever"]);
    let c = bundle.container();
    for _ in 0..3 {
        c.run_detached();
        for _ in 0..3 {
            c.exec_with(&["--detach"], &["/probe", "sleep-forever"])
                .ok();
        }
        let delete = c.call("delete", &["--force"]);
        let traced = run_with_faults(delete, &Which::Opening("cgroup.kill".into()), ENOENT);
        assert!(traced.failed.is_some(), "cgroup.kill was not opened");
        traced.output.expect("it hangs").ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn the_running_binary_moves_by_another_way_where_the_kernel_cannot_do_it_in_place() {
    differs!(Runc | Crun, "they have their own needs");
    let bundle = exits_at_once();
    let c = bundle.container();
    // Without open_tree there is no read-only mount: a sealed copy is executed, and then mounts are what fails.
    let output = without(c.call("run", NO_FLAGS), &[libc::SYS_open_tree], ENOSYS);
    output.exits(1).says("open_tree").says("root filesystem");
    // mremap is part of moving in place; execution anew needs none of that.
    without(c.call("run", NO_FLAGS), &[libc::SYS_mremap], EINVAL).exits(7);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
