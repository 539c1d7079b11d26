//! sysinfo(2) in a system container with the annotation io.vzrun.sysinfo: what its files in /proc say, whoever asks.

use integration::{Bundle, Container, Value, differs, fresh_path, json, probe_path, until};
use std::fs;
use std::thread;

const REBOOT: [&str; 3] = ["/bin/busybox", "reboot", "-f"];
const MAY_BOOT: [&str; 2] = ["--cap", "CAP_SYS_BOOT"];
/// Tells of the boot, and what is said to a child of init.
const BOOT: &str = "n=1; while [ -e /boot-$n ]; do n=$((n+1)); done; \
    /probe sysinfo wide >/of-init-$n; touch /boot-$n; exec sleep 1000";

fn system(sysinfo: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.set(
        "/annotations",
        json!({"io.vzrun.system": "true", "io.vzrun.sysinfo": sysinfo}),
    );
    bundle.args(&["/bin/sh", "-c", BOOT]);
    bundle
}

/// With the host's ids.
fn without_users(bundle: Bundle) -> Bundle {
    bundle.set("/annotations/io.vzrun.userns", json!("false"));
    bundle
}

#[track_caller]
fn boot(bundle: &Bundle, number: u32) {
    let file = bundle.rootfs(&format!("boot-{number}"));
    until("a boot", || file.exists().then_some(()));
}

#[track_caller]
fn booted(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    boot(bundle, 1);
    c
}

#[track_caller]
fn threads(answer: &Value) -> u64 {
    let threads = answer["threads"].as_u64();
    threads.unwrap_or_else(|| panic!("{answer}"))
}

/// The container's few, of all that there are on this machine.
#[track_caller]
fn is_the_containers(answer: &Value) {
    let own = threads(answer);
    assert!((1..=15).contains(&own), "{answer}");
}

/// Those of the host, in files: all of them are in the container's sight only as numbers.
fn threads_of_host() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    let count = text.split(['/', ' ']).nth(4).unwrap();
    count.parse().unwrap()
}

#[track_caller]
fn memory_of(c: &Container<'_>, meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    value.unwrap_or_else(|| panic!("{name} of {} in {meminfo}", c.id())) * 1024
}

fn everybody_hears_the_same(bundle: &Bundle) {
    let c = booted(bundle);
    assert!(threads_of_host() > 20, "this machine has too few to tell");
    let ask =
        |flags: &[&str], how: &str| c.exec_with(flags, &["/probe", "sysinfo", how]).ok().json();
    for number in 1..=3 {
        if number > 1 {
            c.exec_with(&MAY_BOOT, &REBOOT);
            boot(bundle, number);
        }
        let file = bundle.rootfs(&format!("of-init-{number}"));
        let of_init: Value = serde_json_of(&fs::read_to_string(file).unwrap());
        is_the_containers(&of_init);
        for flags in [&[][..], &["--user", "1000:1000"], &["--no-new-privs"]] {
            for how in ["wide", "narrow"] {
                if how == "narrow" && cfg!(not(target_arch = "x86_64")) {
                    continue;
                }
                let answer = ask(flags, how);
                is_the_containers(&answer);
                let meminfo = c.exec(&["/bin/cat", "/proc/meminfo"]).ok().stdout;
                let total = memory_of(&c, &meminfo, "MemTotal:");
                let said = answer["memory"][0].as_u64().unwrap();
                // 32 bits take units of more than a byte.
                assert!(total - said < 4096, "{answer} {meminfo}");
                assert!(answer["uptime"].as_u64().unwrap() < 60, "{answer}");
            }
        }
    }
    // Also a container's containers, which have users of their own.
    let nested = "busybox unshare -U -r -p -f -m /probe sysinfo wide";
    let flags = ["--user", "1000:1000"];
    let answer = c.exec_with(&flags, &["/bin/sh", "-c", nested]).ok().json();
    is_the_containers(&answer);
    // An error is the kernel's own.
    for how in ["nowhere", "read-only"] {
        assert_eq!(ask(&[], how), json!("EFAULT"), "{how}");
    }
    assert!(
        c.exec(&["/bin/busybox", "free"])
            .ok()
            .stdout
            .contains("Mem:")
    );
}

fn serde_json_of(text: &str) -> Value {
    text.parse()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn everybody_hears_of_the_container() {
    differs!(Runc | Crun, "no system containers");
    everybody_hears_the_same(&system("true"));
    everybody_hears_the_same(&without_users(system("true")));
}

#[test]
fn without_the_option_it_is_the_kernels() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("false");
    let c = booted(&bundle);
    let answer = c.exec(&["/probe", "sysinfo", "wide"]).ok().json();
    assert!(threads(&answer) > 20, "{answer}");
    // And no process has a filter for it.
    let status = c.exec(&["/bin/cat", "/proc/self/status"]).ok().stdout;
    assert!(status.contains("Seccomp:\t0"), "{status}");
}

#[test]
fn many_at_a_time() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("true");
    let c = booted(&bundle);
    let ask = || {
        let script = "i=0; while [ $i -lt 50 ]; do /probe sysinfo wide; i=$((i+1)); done";
        let text = c.exec(&["/bin/sh", "-c", script]).ok().stdout;
        let answers: Vec<Value> = text.lines().map(serde_json_of).collect();
        assert_eq!(answers.len(), 50, "{text}");
        for answer in &answers {
            assert!(threads(answer) <= 30, "{answer}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(ask);
        }
    });
    // Nothing of it stays: the keeper is alone with init, and has as many descriptors as before.
    let keeper = format!("/proc/{}", c.pid());
    let descriptors = || fs::read_dir(format!("{keeper}/fd")).unwrap().count();
    let before = descriptors();
    ask();
    until("its children to be gone", || {
        (children(&c).len() == 1 && descriptors() <= before).then_some(())
    });
}

/// The keeper's children.
fn children(c: &Container<'_>) -> Vec<String> {
    let path = format!("/proc/{0}/task/{0}/children", c.pid());
    let text = fs::read_to_string(path).unwrap();
    text.split_whitespace().map(str::to_string).collect()
}

/// One that is none of these.
fn another(c: &Container<'_>, known: &[String]) -> String {
    until("a writer", || {
        children(c).into_iter().find(|child| !known.contains(child))
    })
}

fn ask(c: &Container<'_>) -> Value {
    c.exec(&["/probe", "sysinfo", "wide"]).ok().json()
}

fn ask_into(c: &Container<'_>, file: &str) -> Value {
    c.exec(&["/probe", "sysinfo", "into", file]).ok().json()
}

/// Makes a file of the container one that can be read when there is `go-FILE`.
fn slow_file(bundle: &Bundle, c: &Container<'_>, name: &str) {
    fs::write(bundle.rootfs(name), "").unwrap();
    let words = [
        "/probe",
        "slow-file",
        &format!("/{name}"),
        &format!("/go-{name}"),
    ];
    c.exec_with(&["--detach"], &words).ok();
    until("the slow file", || {
        let mounts = c.exec(&["/bin/cat", "/proc/self/mountinfo"]).ok().stdout;
        mounts.contains(&format!(" /{name} ")).then_some(())
    });
}

fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .skip(11)
        .take(2);
    words.map(|word| word.parse::<u64>().unwrap()).sum()
}

/// Who gives memory that keeps whoever writes to it waiting waits, and nobody else.
#[test]
fn memory_that_is_not_there_holds_up_nobody_else() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("true");
    let c = booted(&bundle);
    for name in ["one", "two"] {
        slow_file(&bundle, &c, name);
    }
    let before = children(&c);
    thread::scope(|scope| {
        let one = scope.spawn(|| ask_into(&c, "/one"));
        let writer = another(&c, &before);
        is_the_containers(&ask(&c));
        let known = [&before[..], std::slice::from_ref(&writer)].concat();
        let two = scope.spawn(|| ask_into(&c, "/two"));
        another(&c, &known);
        // It ends as soon as the kernel lets it: a request that is being served is waited out.
        until("the end of its time", || {
            let status = fs::read_to_string(format!("/proc/{writer}/status")).unwrap();
            let mut pending = status.lines().filter_map(|line| line.split_once("Pnd:\t"));
            pending
                .any(|(_, set)| set.contains(['1', '2']))
                .then_some(())
        });
        is_the_containers(&ask(&c));
        fs::write(bundle.rootfs("go-one"), "").unwrap();
        // From there on it was between the kernel and who has asked, and the numbers are the kernel's.
        let answer = one.join().unwrap();
        assert!(threads(&answer) > 20, "{answer}");
        // Meanwhile, and with the other one still there, the keeper sleeps.
        until("the first to be gone", || {
            (children(&c).len() == before.len() + 1).then_some(())
        });
        let begun = cpu_ticks(c.pid());
        thread::sleep(std::time::Duration::from_millis(500));
        let used = cpu_ticks(c.pid()) - begun;
        assert!(used < 10, "{used} ticks of CPU time in half a second");
        fs::write(bundle.rootfs("go-two"), "").unwrap();
        two.join().unwrap();
    });
    until("the writers to be gone", || {
        (children(&c) == before).then_some(())
    });
}

/// Killed when the test ends, however it does: with it its file system goes, and whoever waits there.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file system of the host's may hold up a writer for longer than a boot.
#[test]
fn a_writer_that_outlives_a_boot_is_not_taken_for_init() {
    differs!(Runc | Crun, "no system containers");
    let bundle = without_users(system("true"));
    let slow = fresh_path("slow");
    let go = fresh_path("go");
    fs::write(&slow, "").unwrap();
    let daemon = std::process::Command::new(probe_path())
        .arg("slow-file")
        .args([&slow, &go])
        .spawn();
    let daemon = Daemon(daemon.unwrap());
    until("the slow file", || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.contains(slow.to_str().unwrap()).then_some(())
    });
    bundle.mount(
        json!({"destination": "/slow", "type": "bind", "source": slow, "options": ["bind"]}),
    );
    let c = booted(&bundle);
    let before = children(&c);
    let words = ["/probe", "sysinfo", "into", "/slow"];
    c.exec_with(&["--detach"], &words).ok();
    let writer = another(&c, &before);
    // Init cannot end before all that lives below it: the one that has asked waits no longer than for the keeper.
    c.exec_with(&MAY_BOOT, &REBOOT);
    boot(&bundle, 2);
    assert_eq!(children(&c)[0], writer);
    let pids = c.exec(&["/bin/cat", "/proc/1/cmdline"]).ok().stdout;
    assert!(pids.starts_with("sleep"), "{pids:?}");
    is_the_containers(&ask(&c));
    fs::write(&go, "").unwrap();
    until("the writer to be gone", || {
        (!children(&c).contains(&writer)).then_some(())
    });
    drop(daemon);
    c.delete_force().ok();
    rustix::mount::unmount(&slow, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn what_it_cannot_be_is_said() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("yes");
    let words = "annotation io.vzrun.sysinfo: \"yes\" is neither true nor false";
    bundle.container().run().exits(1).says(words);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
