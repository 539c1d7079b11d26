//! The same mutated configs for vzrun and for runc: both take one or both refuse it, but where a reason is given here.
//! `VZRUN_TEST_ROUNDS=1000` makes a long run, with another seed each time (`VZRUN_TEST_SEED` repeats one).

use integration::{Bundle, Call, Dice, Kind, Output, Runtime, mutation, needs, rounds};
use std::path::Path;

/// What vzrun refuses and runc takes: a part of vzrun's error, and why.
const STRICTER: &[(&str, &str)] = &[
    (
        "is not absolute",
        "runc takes such a path from wherever it happens to be",
    ),
    (
        "invalid type: null",
        "Go makes an empty string of a null in a list",
    ),
    ("duplicated rlimit", "the specification wants an error"),
    ("larger than the limit", "runc has no limit"),
    (
        "invalid unicode code point",
        "Go puts U+FFFD in the place of such bytes",
    ),
    ("missing field `destination`", "a mount on nothing"),
    (
        "not valid UTF-8",
        "Go puts U+FFFD in the place of such bytes",
    ),
    (
        "Unknown parameter \'\'",
        "an empty option vanishes when options are joined to one string",
    ),
    (
        "error mounting \\\"//",
        "a file system over the root itself",
    ),
];

/// What vzrun takes and runc refuses: a part of runc's error, and why.
const LAXER: &[(&str, &str)] = &[
    (
        "apply caps",
        "vzrun leaves out what the kernel would leave out, with a warning",
    ),
    (
        "too many open files",
        "runc opens files under the container's limit",
    ),
    (
        "rootfs at \\\"/sys/fs/cgroup\\\"",
        "of a cgroup mount's options the flags count; the hierarchy has its own",
    ),
    (
        "error mounting \\\"sysfs\\\"",
        "runc mounts sysfs a second time at the same place",
    ),
    (
        "error mounting \\\"mqueue\\\"",
        "runc mounts an mqueue a second time at the same place",
    ),
    ("cap_last_cap", "runc needs the container's /proc"),
    ("/dev/null", "runc needs the container's /dev/null"),
    (
        "symlink",
        "runc resolves the names in /dev through what is mounted there",
    ),
    (
        "cannot unmarshal array",
        "the derived readers take a list for an object, member by member",
    ),
];

fn error(output: &Output) -> String {
    let lines = output.stderr.lines();
    lines.filter(|line| line.contains("level=error")).collect()
}

#[test]
fn what_runc_takes_is_taken_and_what_it_refuses_is_refused() {
    let runc = Path::new("/opt/sid/runc");
    needs!(runc.exists(), "a runc of today in /opt/sid");
    needs!(Runtime::get().kind() == Kind::Vzrun, "vzrun to compare");
    // What is not yet listed shall not turn up on somebody else's day.
    let mut dice = match std::env::var_os("VZRUN_TEST_ROUNDS") {
        Some(_) => Dice::new(),
        None => Dice::seeded(20),
    };
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let config = bundle.config();
    let c = bundle.container();
    let root = bundle.home().join("runc-root");
    let runc = |verb: &[&str]| {
        let call = Call::of(runc, &bundle.home().join("io"));
        call.arg("--root")
            .arg(&root)
            .args(verb)
            .arg(bundle.id())
            .run()
    };
    let dir = bundle.dir();
    let create = ["create", "--bundle", dir.to_str().unwrap()];
    let mut unexplained = Vec::new();
    for _ in 0..rounds(100, 1.0) {
        let text = mutation(&mut dice, &config);
        bundle.raw_config(&text);
        let ours = c.call("create", &[""; 0]).run();
        c.delete_force().ok();
        let theirs = runc(&create);
        runc(&["delete", "--force"]);
        // Its own leftovers are not the matter here.
        let _ = std::fs::remove_dir_all(&root);
        let (error, reasons) = match (ours.code(), theirs.code()) {
            (Some(0), Some(0)) => continue,
            (Some(0), _) => (error(&theirs), LAXER),
            (_, Some(0)) => (error(&ours), STRICTER),
            _ => continue,
        };
        if !reasons.iter().any(|(part, _)| error.contains(part)) {
            let text = String::from_utf8_lossy(&text);
            let who = if ours.code() == Some(0) {
                "runc"
            } else {
                "vzrun"
            };
            unexplained.push(format!("only {who} refuses: {error}\n{text}\n"));
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}
