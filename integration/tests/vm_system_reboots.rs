//! What a server keeps over reboots where the host can limit it: its cgroup, its limits, and what it sees of them.

use integration::{
    Cgroup, Engine, Output, Podman, Runtime, Started, differs, engine_call, fresh_path, until,
};
use std::fs;
use std::time::Instant;

const REBOOTS: usize = 2;
const LIMITS: [&str; 4] = [
    "--memory=512m",
    "--memory-swap=512m",
    "--cpus=1.5",
    "--pids-limit=100",
];

const VIEW: &str = "grep -E '^(Mem|Swap)Total' /proc/meminfo; grep -c ^processor /proc/cpuinfo
    grep -c '^cpu[0-9]' /proc/stat; nproc; cat /sys/devices/system/cpu/online /sys/fs/cgroup/pids.max";

/// A server of busybox's init with these limits. Nothing here is about networks.
fn server() -> Started<Podman> {
    let inittab = fresh_path("inittab");
    fs::write(&inittab, "::sysinit:/bin/echo booting\n").unwrap();
    let inittab = format!("--volume={}:/etc/inittab:ro", inittab.display());
    let mode = "--annotation=io.vzrun.system=true";
    let flags = [&[mode, "--network=none", &inittab], &LIMITS[..]].concat();
    let c = Podman::Root.started(&flags, &["/bin/init"]);
    until("init", || c.logs().contains("booting").then_some(()));
    c
}

/// By the runtime alone: emulated, each call of the engine takes its time.
fn exec(c: &Started<Podman>, command: &[&str]) -> Output {
    let runtime = Runtime::get().path().to_str().unwrap();
    let call = engine_call(runtime).args(["exec", &c.id]);
    call.args(command).run()
}

/// The container's own cgroup, above that of its keeper.
fn own(keeper: &str) -> Cgroup {
    Cgroup::of_process(keeper.parse().unwrap()).parent()
}

/// All that must stay: the process and the cgroup that the engine knows, the limits, the view of them.
fn kept(c: &Started<Podman>) -> Vec<String> {
    let said = c.says("{{.State.Pid}} {{.State.StartedAt}}");
    let keeper = said.split_whitespace().next().unwrap().to_string();
    let own = own(&keeper);
    let mut kept = vec![said, own.path().display().to_string()];
    for file in ["memory.max", "memory.swap.max", "cpu.max", "pids.max"] {
        kept.push(format!("{file} {}", own.read(file)));
    }
    let view = exec(c, &["sh", "-c", VIEW]).ok().stdout;
    kept.extend(view.lines().map(str::to_string));
    kept
}

/// What a server of so many KiB, thousandths of a CPU and processes has to show but for its first two lines. Its cpuset is the
/// whole machine, of two CPUs.
fn meant(kib: u64, milli_cpus: u64, pids: u64) -> Vec<String> {
    let cpus = milli_cpus.div_ceil(1000);
    let online = if cpus == 1 { "0" } else { "0-1" };
    vec![
        format!("memory.max {}", kib * 1024),
        "memory.swap.max 0".to_string(),
        format!("cpu.max {} 100000", milli_cpus * 100),
        format!("pids.max {pids}"),
        format!("MemTotal:       {kib:8} kB"),
        format!("SwapTotal:      {:8} kB", 0),
        cpus.to_string(),
        cpus.to_string(),
        "2".to_string(),
        online.to_string(),
        pids.to_string(),
    ]
}

fn uptime(c: &Started<Podman>) -> f64 {
    let text = exec(c, &["cat", "/proc/uptime"]).ok().stdout;
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Reboots it from inside, and sees that its clock begins anew.
fn reboot(c: &Started<Podman>) {
    until("an age that tells", || (uptime(c) > 2.0).then_some(()));
    let (age, begun) = (uptime(c), Instant::now());
    exec(c, &["touch", "/run/of-this-boot"]).ok();
    // It may be killed before it can say that all is well.
    exec(c, &["reboot"]);
    until("the next boot", || {
        let output = exec(c, &["test", "!", "-e", "/run/of-this-boot"]);
        (output.code() == Some(0)).then_some(())
    });
    let since = begun.elapsed().as_secs_f64();
    let now = uptime(c);
    assert!(now < age + since - 1.0, "{now}, {since} s after {age}");
}

/// Changes limits, and sees that the very first look is right. How long that takes here, where the processor is emulated, is
/// printed only.
fn change(c: &Started<Podman>, flags: &[&str], file: &str, meant: &str) {
    let path = format!("/proc/{}/root/{file}", c.says("{{.State.Pid}}"));
    c.call(&[&["update"], flags].concat(), &[]).run().ok();
    let begun = Instant::now();
    let text = fs::read_to_string(&path).unwrap();
    println!("{file} took {:?}", begun.elapsed());
    assert!(text.contains(meant), "{meant:?} in {text}");
}

#[test]
fn limits_and_their_view_stay() {
    differs!(Runc | Crun, "no system containers");
    let c = server();
    let at_first = kept(&c);
    assert_eq!(at_first[2..], meant(512 << 10, 1500, 100));
    for _ in 0..REBOOTS {
        reboot(&c);
        assert_eq!(kept(&c), at_first);
    }

    let flags = ["--memory=256m", "--memory-swap=256m"];
    change(&c, &flags, "proc/meminfo", "MemTotal:         262144 kB");
    let flags = ["--cpus=0.5", "--pids-limit=60"];
    change(&c, &flags, "sys/devices/system/cpu/online", "0\n");
    let changed = kept(&c);
    assert_eq!(changed[..2], at_first[..2]);
    assert_eq!(changed[2..], meant(256 << 10, 500, 60));
    reboot(&c);
    assert_eq!(kept(&c), changed);

    // They are limits, and not only said to be ones.
    let many = "for i in $(seq 100); do sleep 1000 & done";
    exec(&c, &["sh", "-c", many]).fails();
    let own = own(&c.says("{{.State.Pid}}"));
    assert!(own.field("pids.events", "max") > 0);
}
