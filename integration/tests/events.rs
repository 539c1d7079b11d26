//! events: what a container uses, and its end. What needs controllers is in `vm_events.rs`.

use integration::{Bundle, Container, Running, Value, differs, has_controller, needs, until};
use std::fs;

const NO_FLAGS: &[&str] = &[];

/// `data` of the one line of `events --stats`.
#[track_caller]
fn stats(c: &Container) -> Value {
    let line = c.call("events", &["--stats"]).run().ok().json();
    assert_eq!(line["type"], "stats");
    assert_eq!(line["id"], c.id());
    line["data"].clone()
}

/// `events` with this interval, and as many lines as it has printed.
fn watch(c: &Container, interval: &str) -> Running {
    c.call("events", &["--interval", interval]).spawn()
}

fn lines(events: &Running) -> Vec<String> {
    let text = events.stdout();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_string).collect()
}

fn wait_lines(events: &Running, count: usize) -> Vec<String> {
    until("lines of events", || {
        let lines = lines(events);
        (lines.len() >= count).then_some(lines)
    })
}

/// The keys of a JSON text in their order.
fn keys(json: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut rest = json;
    while let Some((_, behind)) = rest.split_once('"') {
        let (word, behind) = behind.split_once('"').unwrap();
        if behind.starts_with(':') {
            keys.push(word);
        }
        rest = behind;
    }
    keys
}

#[test]
fn stats_are_one_line() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c.call("events", &["--stats"]).run().ok();
    assert_eq!(output.stderr, "");
    assert_eq!(output.stdout.matches('\n').count(), 1, "{}", output.stdout);
    let begin = format!(
        "{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{\"cpu\":{{\"usage\":{{\"total\":",
        c.id()
    );
    assert!(output.stdout.starts_with(&begin), "{}", output.stdout);
    assert!(output.stdout.ends_with("\"network_interfaces\":null}}\n"));
}

#[test]
fn keys_without_controllers() {
    differs!(Crun, "has no events");
    differs!(Runc < (1, 3), "no pressure before");
    needs!(
        !has_controller("memory"),
        "a host without the memory controller"
    );
    needs!(
        fs::exists("/proc/pressure/cpu").unwrap(),
        "pressure accounting"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let text = c.call("events", &["--stats"]).run().ok().stdout;
    // Huge pages depend on the machine.
    let (head, tail) = text.split_once("\"hugetlb\":").unwrap();
    let (_, tail) = tail.split_once(",\"intel_rdt\"").unwrap();
    let text = format!("{head}\"intel_rdt\"{tail}");
    let pressure = [
        "psi", "some", "avg10", "avg60", "avg300", "total", "full", "avg10", "avg60", "avg300",
        "total",
    ];
    let entry = ["limit", "failcnt"];
    let mut expected = vec![
        "type",
        "id",
        "data",
        "cpu",
        "usage",
        "total",
        "kernel",
        "user",
        "throttling",
    ];
    expected.extend(pressure);
    expected.extend([
        "cpuset",
        "cpu_exclusive",
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
    ]);
    expected.extend([
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
    ]);
    expected.extend(["sched_load_balance", "sched_relax_domain_level", "memory"]);
    for kind in ["usage", "swap", "kernel", "kernelTCP"] {
        expected.push(kind);
        expected.extend(entry);
    }
    expected.extend(pressure);
    expected.extend(["pids", "current", "blkio"]);
    expected.extend(pressure);
    expected.extend(["intel_rdt", "network_interfaces"]);
    assert_eq!(keys(&text), expected, "{text}");
}

#[test]
fn processor_time_grows() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let total = || stats(&c)["cpu"]["usage"]["total"].as_u64().unwrap_or(0);
    let before = total();
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
    c.exec(&["/bin/sh", "-c", busy]).ok();
    // 10 ms in nanoseconds: the loop takes longer on any machine.
    assert!(total() > before + 10_000_000, "{before} to {}", total());
    let usage = stats(&c)["cpu"]["usage"].clone();
    let parts = usage["kernel"].as_u64().unwrap() + usage["user"].as_u64().unwrap();
    let whole = usage["total"].as_u64().unwrap();
    assert!(whole.abs_diff(parts) < 10_000, "{usage}");
}

#[test]
fn processes_are_counted() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "spawn", "2"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    assert_eq!(stats(&c)["pids"]["current"], 3);
}

#[test]
fn processes_in_groups_below_are_counted() {
    differs!(Crun, "has no events");
    if !has_controller("pids") {
        differs!(
            Runc,
            "without the pids controller only those of the group itself"
        );
    }
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    fs::create_dir(c.cgroup_dir().join("sub")).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    assert_eq!(stats(&c)["pids"]["current"], 2);
}

#[test]
fn a_created_and_a_paused_container_have_stats() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    // runc's init has threads, which the pids controller counts.
    assert!(stats(&c)["pids"]["current"].as_u64() >= Some(1));
    c.start();
    c.pause().ok();
    assert_eq!(stats(&c)["pids"]["current"], 1);
}

#[test]
fn a_stopped_container_is_not_running() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
    let text = format!("container with id {} is not running", c.id());
    for flags in [&["--stats"][..], NO_FLAGS] {
        let output = c.call("events", flags).run().exits(1).says(&text);
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn an_unknown_container_does_not_exist() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    for flag in ["--stats", "--interval=0"] {
        let output = bundle.call(["events", flag, "unknown"]).run().exits(1);
        output.says("container does not exist");
    }
}

#[test]
fn intervals_that_are_none() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    for interval in [
        "1",
        "",
        "x",
        "5x",
        "1m30",
        "1e3s",
        "5 s",
        "--",
        "9223372036854775808ns",
    ] {
        let flags = ["--stats", "--interval", interval];
        let text = format!("invalid value \"{interval}\" for flag -interval: parse error");
        c.call("events", &flags).run().exits(1).says(&text);
    }
    for interval in ["0", "0s", "-1s", "-1m30s"] {
        let flags = ["--stats", "--interval", interval];
        let output = c.call("events", &flags).run().exits(1);
        output.says("duration interval must be greater than 0");
    }
}

#[test]
fn intervals_in_all_forms() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    for interval in [
        "5s", "100ms", "1m30s", "+1.5h", ".5s", "1ns", "3us", "3\u{b5}s", "2562047h",
    ] {
        let flags = ["--stats", "-interval", interval];
        c.call("events", &flags).run().ok();
    }
}

#[test]
fn stats_come_again_until_the_end() {
    differs!(Crun, "has no events");
    if !has_controller("memory") {
        differs!(Runc, "fails without the memory controller");
    }
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let events = watch(&c, "50ms");
    for line in wait_lines(&events, 3) {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["type"], &line["data"]["pids"]["current"]),
            (&"stats".into(), &1.into())
        );
    }
    c.kill("KILL").ok();
    let output = events.wait().ok();
    assert_eq!(output.stderr, "");
}

#[test]
fn the_first_stats_come_after_an_interval() {
    differs!(Crun, "has no events");
    if !has_controller("memory") {
        differs!(Runc, "fails without the memory controller");
    }
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let (hourly, other) = (watch(&c, "1h"), watch(&c, "50ms"));
    wait_lines(&other, 2);
    c.delete_force().ok();
    assert_eq!(hourly.wait().ok().stdout, "");
    other.wait().ok();
}

#[test]
fn a_process_that_outlives_init_keeps_it_going() {
    differs!(Crun, "has no events");
    if !has_controller("memory") {
        differs!(Runc, "fails without the memory controller");
    }
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "spawn", "1"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let events = watch(&c, "50ms");
    wait_lines(&events, 1);
    let dir = c.cgroup_dir();
    let init = rustix::process::Pid::from_raw(c.pid()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    until("the init to leave", || {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        (procs.lines().count() == 1).then_some(())
    });
    let so_far = lines(&events).len();
    wait_lines(&events, so_far + 2);
    fs::write(dir.join("cgroup.kill"), "1").unwrap();
    events.wait().ok();
}

#[test]
fn it_takes_a_container_and_nothing_else() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    for words in [&["events"][..], &["events", "a", "b"]] {
        let output = bundle.call(words).run().exits(1);
        output.says("\"events\" requires exactly 1 argument(s)");
    }
}
