//! Checkpoint and restore by Podman, with the runtime under test and CRIU below it. (containerd's: `engine_containerd.rs`.)
//!
//! Sockets of the Internet are left to the VM (`vm_checkpoint.rs`): a kernel may be too new for CRIU there.

use integration::Podman::Root;
use integration::{Engine, Podman, Started, differs, fresh_path, test_name, until};

/// To a checkpoint and back.
#[track_caller]
fn comes_back(c: &Started<Podman>, flags: &[&str]) {
    let last = c.counts_on(0);
    c.checkpoint(flags);
    assert_eq!(c.status(), "exited");
    c.restore(flags);
    c.counts_on(last);
}

#[test]
fn podmans_container_comes_back_again_and_again() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let c = Root.counting(&[]);
    let address = || {
        let words = ["ip", "-o", "-4", "addr", "show", "eth0"];
        c.exec(&[], &words).ok().stdout
    };
    let before = address();
    for _ in 0..3 {
        comes_back(&c, &["--file-locks"]);
        assert_eq!(address(), before);
    }
    for (expected, line) in c.logs().lines().enumerate() {
        assert_eq!(line, expected.to_string());
    }
    // It ends as any other.
    c.call(&["stop", "--time=0"], &[]).run().ok();
    assert_eq!(c.says("{{.State.ExitCode}}"), "137");
}

#[test]
fn podmans_container_goes_on_after_a_checkpoint() {
    let c = Root.counting(&[]);
    c.checkpoint(&["--leave-running"]);
    c.counts_on(0);
}

#[test]
fn podman_takes_a_container_to_another_place() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    differs!(Runc, "goes back to the cgroup of the checkpoint");
    let archive = fresh_path("archive").display().to_string();
    let last;
    {
        let c = Root.counting(&[]);
        c.exec(&[], &["sh", "-c", "echo kept >/root/file"]).ok();
        last = c.counts_on(0);
        c.checkpoint(&["--export", &archive]);
    }
    // Under its own name, as it is gone, and beside that under another.
    for name in ["", "another"] {
        let mut words = vec!["container", "restore", "--import", &archive];
        let named = format!("--name={name}");
        if !name.is_empty() {
            words.push(&named);
        }
        let id = Root.call(words).run().ok().stdout.trim().to_string();
        let name = if name.is_empty() {
            test_name()
        } else {
            name.to_string()
        };
        let c = Started::of(Root, name, id);
        c.counts_on(last);
        let kept = c.exec(&[], &["cat", "/root/file"]).ok().stdout;
        assert_eq!(kept, "kept\n");
    }
}

#[test]
fn podmans_mounts_names_and_terminal() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let flags = [
        "--tty",
        "--volume=/etc:/host:ro",
        "--hostname=foo",
        "--read-only",
    ];
    let c = Root.counting(&flags);
    comes_back(&c, &[]);
    let script = "hostname; cat /host/hostname >/dev/null && echo mounted; touch /host/x /x 2>/dev/null || echo no";
    let said = c.exec(&[], &["sh", "-c", script]).ok().stdout;
    assert_eq!(said, "foo\nmounted\nno\n");
}

#[test]
fn a_container_of_podmans_pod() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let pod = format!("pod-{}", test_name());
    Root.call(["pod", "create", "--name", &pod]).run().ok();
    {
        let c = Root.counting(&["--pod", &pod]);
        comes_back(&c, &[]);
    }
    Root.call(["pod", "rm", "--force", "--time=0", &pod])
        .run()
        .ok();
}

#[test]
fn a_lock_of_podmans_container() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let c = Root.started(&[&Podman::with_probe()], &["/probe", "carry", "lock"]);
    until("the lock", || c.logs().contains("ready").then_some(()));
    let is_held = || {
        let script = "flock -n /tmp/locked true || echo held";
        assert_eq!(c.exec(&[], &["sh", "-c", script]).ok().stdout, "held\n");
    };
    is_held();
    c.call(&["container", "checkpoint"], &[]).run().exits(125);
    is_held();
    for flags in [&["--file-locks", "--leave-running"][..], &["--file-locks"]] {
        c.checkpoint(flags);
    }
    assert_eq!(c.status(), "exited");
    c.restore(&["--file-locks"]);
    is_held();
}
