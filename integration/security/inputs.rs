//! What a hostile config, hook or leftover says to the runtime: annotations, state, the fifo of a created container,
//! numbers that are too big for a message.

use crate::{NO_FLAGS, change, host_side, tree};
use integration::{Bundle, DEADLINE, attack, json};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// CVE-2021-43784: strings longer than a 16-bit length can say, which would spill over into the namespaces to join.
#[test]
fn long_strings_do_not_spill_over() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let host_uts = fs::read_link("/proc/self/ns/uts").unwrap();
        // As many bytes as make a 16-bit length 0 again, then what a message to join the host's would hold.
        let spill = format!("{}{}", "1".repeat(65_536), "uts:/proc/1/ns/uts,".repeat(4));
        bundle.namespace(json!({"type": "user"}));
        let ranges: Vec<_> = (0..340)
            .map(|n| json!({"containerID": n, "hostID": 100_000 + 2 * n, "size": 1}))
            .collect();
        bundle.set("/linux/uidMappings", json!(ranges));
        bundle.set("/linux/gidMappings", json!(ranges));
        bundle.set("/process/oomScoreAdj", json!(0));
        bundle.set("/annotations", json!({"long": spill}));
        bundle.set("/linux/sysctl", json!({"kernel.domainname": spill}));
        bundle.args(&["/bin/readlink", "/proc/self/ns/uts"]);
        let output = bundle.container().run();
        bundle.remove("/linux/sysctl");
        let path = format!("/proc/1/ns/{spill}");
        bundle.namespace(json!({"type": "ipc", "path": path}));
        let other = bundle.container().run();
        let host = host_uts.to_string_lossy();
        [output, other]
            .iter()
            .any(|output| output.stdout.trim() == host)
            .then(|| "it is in a namespace of the host".to_string())
    });
}

/// A created container's fifo that somebody has replaced: `start` neither hangs nor writes to what is there now.
#[test]
fn a_replaced_exec_fifo_is_not_written_to() {
    attack(&[], |runtime| {
        ["link", "file", "directory", "fifo", "nothing"]
            .iter()
            .find_map(|kind| {
                let bundle = Bundle::new().by(runtime);
                let host = host_side(&bundle);
                let secret = host.join("secret");
                let c = bundle.container();
                c.create();
                let fifo = c.state_dir().join("exec.fifo");
                fs::remove_file(&fifo).unwrap();
                match *kind {
                    "link" => symlink(&secret, &fifo).unwrap(),
                    "file" => fs::write(&fifo, "").unwrap(),
                    "directory" => fs::create_dir(&fifo).unwrap(),
                    // Nobody reads this one.
                    "fifo" => {
                        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o622), 0).unwrap()
                    }
                    _ => {}
                }
                let before = tree(&host);
                let running = c.call("start", NO_FLAGS).limit(DEADLINE).spawn();
                let ended = integration::wait_exit(running.pid(), Duration::from_secs(10));
                let changed = fs::read_to_string(&secret).unwrap() != "secret of the host\n";
                drop(running);
                c.delete_force();
                if changed {
                    return Some("start wrote to a file of the host".to_string());
                }
                (!ended)
                    .then(|| format!("start hangs at a {kind}"))
                    .or_else(|| change(&before, &tree(&host)))
            })
    });
}

/// A hook that does not read its state, which is more than a pipe holds, and one that closes it at once.
#[test]
fn a_hook_that_does_not_read_its_state_holds_nothing_up() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        bundle.set("/annotations/long", json!("x".repeat(1 << 20)));
        let hooks = json!([
            {"path": "/bin/sh", "args": ["sh", "-c", "exec <&-; exit 0"]},
            {"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]},
            {"path": "/bin/sh", "args": ["sh", "-c", "head -c 100000000 /dev/zero >&2; exit 0"]},
        ]);
        bundle.set("/hooks/createRuntime", hooks);
        bundle.args(&["/probe", "exit", "0"]);
        let c = bundle.container();
        let running = c.call("run", NO_FLAGS).spawn();
        let ended = integration::wait_exit(running.pid(), Duration::from_secs(20));
        (!ended).then(|| "run hangs".to_string())
    });
}

/// Annotations that runtimes act on, with values that would lead elsewhere or hang.
#[test]
fn hostile_annotations_make_nothing_on_the_host() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let host = host_side(&bundle);
        let before = tree(&host);
        let out = host.join("made").display().to_string();
        let long = "/..".repeat(3000);
        let values = [
            "", "1", "true", "../../..", "-1", "\u{0}", "${HOME}", "\n", &out, &long,
        ];
        let names = [
            "run.oci.systemd.subgroup",
            "run.oci.delegate-cgroup",
            "run.oci.handler",
            "run.oci.hooks.stdout",
            "run.oci.hooks.stderr",
            "run.oci.keep_original_groups",
            "run.oci.mount_context_type",
            "run.oci.pidfd_receiver",
            "run.oci.seccomp.receiver",
            "run.oci.seccomp_bpf_data",
            "run.oci.systemd.force_cgroup_v1",
            "run.oci.timens_offset",
            "run.oci.bpf_prog",
            "krun.cpus",
            "org.criu.config",
            "org.systemd.property.ExecStart",
            "org.systemd.property.Slice",
        ];
        bundle.args(&["/probe", "exit", "0"]);
        for (n, name) in names.iter().enumerate() {
            // All values with each name would be a matter of a minute.
            for value in [values[n % values.len()], values[(n + 5) % values.len()]] {
                bundle.set("/annotations", json!({*name: value}));
                let c = bundle.container();
                // What is a relative path ends up here.
                let running = c.call("run", NO_FLAGS).cwd(bundle.home()).spawn();
                if !integration::wait_exit(running.pid(), Duration::from_secs(10)) {
                    return Some(format!("run hangs with {name}={value:?}"));
                }
            }
        }
        // Hooks' output goes where their annotation says, which whoever writes the config may choose.
        let made = change(&before, &tree(&host));
        made.filter(|_| !host.join("made").is_file())
    });
}
