//! Checkpoint and restore by Podman, with the runtime under test and CRIU below it. (containerd's: `engine_containerd.rs`.)
//!
//! Sockets of the Internet are left to the VM (`vm_checkpoint.rs`): a kernel may be too new for CRIU there.

use integration::Podman::Root;
use integration::{Engine, Podman, Started, differs, fresh_path, test_name, until};

/// Numbers go to stdout and to a file, each once and in order.
const COUNTER: &str = "i=0; while :; do echo $i | tee /tmp/n; i=$((i+1)); sleep 0.02; done";

/// Started with these flags, and counting.
fn counting(flags: &[&str]) -> Started<Podman> {
    let c = Root.started(flags, &["sh", "-c", COUNTER]);
    counts_on(&c, 0);
    c
}

/// The number that the container has come to, through a process that is put into it.
#[track_caller]
fn number(c: &Started<Podman>) -> u32 {
    until("a number", || {
        // Empty while it is being written.
        let text = c.exec(&[], &["cat", "/tmp/n"]).ok().stdout;
        text.trim().parse().ok()
    })
}

/// It goes on from there; gives how far it has come.
#[track_caller]
fn counts_on(c: &Started<Podman>, from: u32) -> u32 {
    assert_eq!(c.status(), "running");
    let first = number(c);
    assert!(first >= from, "{first} after {from}");
    until("more numbers", || (number(c) > first).then_some(()));
    number(c)
}

fn container(verb: &str, flags: &[&str], name: &str) {
    let words = [&["container", verb], flags, &[name]].concat();
    Root.call(words).run().ok();
}

/// To a checkpoint and back.
#[track_caller]
fn comes_back(c: &Started<Podman>, flags: &[&str]) {
    let last = counts_on(c, 0);
    container("checkpoint", flags, &c.name);
    assert_eq!(c.status(), "exited");
    container("restore", flags, &c.name);
    counts_on(c, last);
}

#[test]
fn podmans_container_comes_back_again_and_again() {
    differs!(
        Crun,
        "restores nothing on a hybrid host: the cpuset of v1 is in the way"
    );
    let c = counting(&[]);
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
    let c = counting(&[]);
    container("checkpoint", &["--leave-running"], &c.name);
    counts_on(&c, 0);
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
        let c = counting(&[]);
        c.exec(&[], &["sh", "-c", "echo kept >/root/file"]).ok();
        last = counts_on(&c, 0);
        container("checkpoint", &["--export", &archive], &c.name);
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
        counts_on(&c, last);
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
    let c = counting(&flags);
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
        let c = counting(&["--pod", &pod]);
        comes_back(&c, &[]);
    }
    Root.call(["pod", "rm", "--force", "--time=0", &pod])
        .run()
        .ok();
}
