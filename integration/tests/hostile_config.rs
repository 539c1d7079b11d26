//! A config.json that is broken, huge or hostile: an error in plain words or success, in bounded time, and nothing left
//! behind. `VZRUN_TEST_ROUNDS=1000` makes 10,000 mutations, `VZRUN_TEST_SEED` repeats a run.

use integration::{
    Bundle, Container, Dice, Output, Value, differs, json, mutation, places_of, probe_path,
    rootless_config, rounds,
};
use std::fs;
use std::path::Path;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];
const LIMIT: Duration = Duration::from_secs(20);

/// Success or an error in words, and which of the two.
#[track_caller]
fn accepts(output: &Output, input: &dyn Fn() -> String) -> bool {
    let text = output.stderr.trim();
    let clear = match output.code() {
        Some(0) => true,
        Some(1) => text.contains("level=error") && text.len() > 60,
        _ => false,
    };
    let panicked = text.contains("panicked") || text.contains("RUST_BACKTRACE");
    let cut = |text: &str| text.chars().take(3000).collect::<String>();
    assert!(
        clear && !panicked,
        "{}\nthe input: {}",
        cut(&output.describe()),
        cut(&input())
    );
    output.code() == Some(0)
}

/// Creates a container from these bytes, and deletes what came of it. `true`: it was created.
#[track_caller]
fn survives(c: &Container<'_>, config: &[u8]) -> bool {
    let bundle = c.bundle();
    bundle.raw_config(config);
    let input = || String::from_utf8_lossy(config).into_owned();
    let output = c.call("create", NO_FLAGS).limit(LIMIT).run();
    let created = accepts(&output, &input);
    if created {
        accepts(&c.call("start", NO_FLAGS).limit(LIMIT).run(), &input);
        c.call("delete", &["--force"]).limit(LIMIT).run().ok();
    }
    remove_parents(config);
    let left = bundle.leftovers();
    assert!(left.is_empty(), "{left:?}\nthe input: {}", input());
    created
}

/// A cgroupsPath with several parts leaves the upper ones, as with runc. They are empty.
fn remove_parents(config: &[u8]) {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    let mut upper = Path::new(path.trim_start_matches('/')).parent();
    while let Some(path) = upper.filter(|path| !path.as_os_str().is_empty()) {
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(path));
        upper = path.parent();
    }
}

fn text(config: &Value) -> Vec<u8> {
    serde_json::to_vec(config).unwrap()
}

/// A bundle whose program ends at once.
fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    bundle
}

/// The default config with something in nearly every place that config.json has.
fn rich_config(bundle: &Bundle) -> Value {
    let probe = probe_path();
    let hook =
        json!([{"path": probe, "args": ["probe", "exit", "0"], "env": ["A=b"], "timeout": 9}]);
    bundle.set("/domainname", json!("example"));
    bundle.set(
        "/annotations",
        json!({"a.b": "c", "": "", "org.example": "\u{e9}"}),
    );
    bundle.set(
        "/process/user",
        json!({"uid": 1, "gid": 2, "umask": 18, "additionalGids": [5, 6]}),
    );
    bundle.set("/process/oomScoreAdj", json!(500));
    bundle.set(
        "/process/ioPriority",
        json!({"class": "IOPRIO_CLASS_BE", "priority": 4}),
    );
    bundle.set(
        "/process/scheduler",
        json!({"policy": "SCHED_OTHER", "nice": 5, "flags": []}),
    );
    bundle.set(
        "/process/execCPUAffinity",
        json!({"initial": "0", "final": "0-1"}),
    );
    bundle.set("/process/consoleSize", json!({"height": 24, "width": 80}));
    bundle.set("/hooks", json!({
        "prestart": hook, "createRuntime": hook, "createContainer": hook, "poststart": hook, "poststop": hook
    }));
    bundle.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "65536"}),
    );
    bundle.set("/linux/rootfsPropagation", json!("rslave"));
    bundle.set("/linux/personality", json!({"domain": "LINUX"}));
    bundle.set(
        "/linux/timeOffsets",
        json!({"boottime": {"secs": 10, "nanosecs": 1}}),
    );
    bundle.set(
        "/linux/resources",
        json!({"devices": [{"allow": false, "access": "rwm"}]}),
    );
    bundle.set("/linux/cgroupsPath", json!(format!("/{}", bundle.id())));
    bundle.set("/linux/devices", json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 1, "gid": 2},
        {"path": "/dev/pipe", "type": "p"}
    ]));
    bundle.namespace(json!({"type": "time"}));
    bundle.mount(json!({
        "destination": "/mnt", "type": "bind", "source": bundle.rootfs("/etc"),
        "options": ["rbind", "rprivate", "rro", "nosuid"]
    }));
    bundle.mount(json!({
        "destination": "/var/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"]
    }));
    bundle.config()
}

/// In a user namespace, with an idmapped mount.
fn user_namespace_config(bundle: &Bundle) -> Value {
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.chown_rootfs(100_000, 100_000);
    bundle.namespace(json!({"type": "user"}));
    bundle.set("/linux/uidMappings", maps.clone());
    bundle.set("/linux/gidMappings", maps.clone());
    bundle.mount(json!({
        "destination": "/mnt", "type": "bind", "source": bundle.rootfs("/etc"),
        "options": ["bind", "idmap"], "uidMappings": maps, "gidMappings": maps
    }));
    bundle.config()
}

fn mutations(bundle: &Bundle, config: &Value) {
    differs!(
        Runc | Crun,
        "how they hold out against such input is not this test's business"
    );
    let mut dice = Dice::new();
    let c = bundle.container();
    assert!(
        survives(&c, &text(config)),
        "the config is valid to begin with"
    );
    let all = rounds(375, 2.5);
    let created = (0..all)
        .filter(|_| survives(&c, &mutation(&mut dice, config)))
        .count();
    println!("{created} of {all} were created");
    assert!(
        (all / 20..all * 19 / 20).contains(&created),
        "{created}: too many or too few are valid"
    );
}

#[test]
fn mutations_of_the_default_config() {
    let bundle = bundle();
    let config = bundle.config();
    mutations(&bundle, &config);
}

#[test]
fn mutations_of_a_rich_config() {
    let bundle = bundle();
    let config = rich_config(&bundle);
    mutations(&bundle, &config);
}

#[test]
fn mutations_of_a_config_with_a_user_namespace() {
    let bundle = bundle();
    let config = user_namespace_config(&bundle);
    mutations(&bundle, &config);
}

#[test]
fn mutations_of_an_ordinary_users_config() {
    let bundle = Bundle::rootless(1000, 1000);
    let mut config = rootless_config(1000, 1000);
    config["process"]["args"] = json!(["/probe", "exit", "0"]);
    mutations(&bundle, &config);
}

#[test]
fn every_prefix_is_an_error() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let c = bundle.container();
    let whole = text(&bundle.config());
    for length in (0..whole.len()).step_by(11) {
        assert!(!survives(&c, &whole[..length]), "the first {length} bytes");
    }
    assert!(survives(&c, &whole));
}

#[test]
fn null_in_every_place() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let config = rich_config(&bundle);
    let c = bundle.container();
    for place in places_of(&config) {
        let mut config = config.clone();
        *config.pointer_mut(&place).unwrap() = Value::Null;
        survives(&c, &text(&config));
    }
}

#[test]
fn another_type_in_every_place() {
    differs!(Runc | Crun, "crun takes many a wrong type for another");
    let bundle = bundle();
    let config = rich_config(&bundle);
    let c = bundle.container();
    for place in places_of(&config) {
        let right = config.pointer(&place).unwrap();
        for wrong in [
            json!(true),
            json!(7),
            json!("seven"),
            json!([7]),
            json!({"seven": 7}),
        ] {
            // The readers that serde derives take a list for an object, member by member.
            if std::mem::discriminant(right) == std::mem::discriminant(&wrong)
                || right.is_object() && wrong.is_array()
            {
                continue;
            }
            let mut config = config.clone();
            config.pointer_mut(&place).unwrap().clone_from(&wrong);
            let created = survives(&c, &text(&config));
            assert!(!created, "{place}: {wrong} was taken for {right}");
        }
    }
}

#[test]
fn numbers_out_of_every_range() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let config = rich_config(&bundle);
    let c = bundle.container();
    let is_number = |place: &String| config.pointer(place).unwrap().is_number();
    for place in places_of(&config).into_iter().filter(is_number) {
        for number in [
            "-1",
            "1.5",
            "1e400",
            "18446744073709551616",
            "-9223372036854775809",
            "4294967296",
            "-0",
        ] {
            let mut config = config.clone();
            *config.pointer_mut(&place).unwrap() = json!("@NUMBER@");
            let text = String::from_utf8(text(&config)).unwrap();
            survives(&c, text.replace("\"@NUMBER@\"", number).as_bytes());
        }
    }
}

#[test]
fn a_nul_byte_in_every_string() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let config = rich_config(&bundle);
    let c = bundle.container();
    for place in places_of(&config) {
        let mut config = config.clone();
        let Some(Value::String(text_there)) = config.pointer_mut(&place) else {
            continue;
        };
        text_there.insert(
            usize::from(text_there.is_ascii() && !text_there.is_empty()),
            '\0',
        );
        let created = survives(&c, &text(&config));
        // Nobody looks at these: the last are the source of a file system that has none, and the type of a bind.
        let unused = [
            "/annotations",
            "/linux/resources",
            "/mounts/6/source",
            "/mounts/7/type",
            "/ociVersion",
            // An unknown one is left out with a warning.
            "/process/capabilities",
        ];
        let harmless = unused.iter().any(|unused| place.starts_with(unused));
        assert!(!created || harmless, "{place}");
    }
}

#[test]
fn bytes_that_are_no_utf8() {
    differs!(
        Runc | Crun,
        "Go puts U+FFFD in their place, and crun takes them as they are"
    );
    let bundle = bundle();
    let c = bundle.container();
    let config = text(&bundle.config());
    for at in (1..config.len() - 1).step_by(23) {
        let mut config = config.clone();
        config.splice(at..at, *b"\xc3\x28");
        assert!(!survives(&c, &config), "at {at}");
    }
}

#[test]
fn a_hundred_megabytes_are_refused() {
    differs!(Runc | Crun, "they have no limit");
    let bundle = bundle();
    let c = bundle.container();
    let mut config = b"{\"x\": \"".to_vec();
    config.resize(100 << 20, b'a');
    config.extend(b"\"}");
    bundle.raw_config(&config);
    let said = "larger than the limit of";
    c.call("create", NO_FLAGS)
        .limit(LIMIT)
        .run()
        .exits(1)
        .says(said);
    // Nor is a file read whose size is only said.
    let file = fs::File::create(bundle.dir().join("config.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    c.call("create", NO_FLAGS)
        .limit(LIMIT)
        .run()
        .exits(1)
        .says(said);
    let zero = ["--config", "/dev/zero"];
    c.call("create", &zero)
        .limit(LIMIT)
        .run()
        .exits(1)
        .says(said);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_million_unknown_keys_are_passed_over() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let c = bundle.container();
    let config = String::from_utf8(text(&bundle.config())).unwrap();
    let keys: String = (0..1_000_000).map(|n| format!("\"k{n}\":{n},")).collect();
    assert!(survives(
        &c,
        config.replacen('{', &format!("{{{keys}"), 1).as_bytes()
    ));
}

#[test]
fn a_hundred_thousand_annotations_are_kept() {
    let bundle = bundle();
    let c = bundle.container();
    let all: serde_json::Map<_, _> = (0..100_000)
        .map(|n| (format!("a{n}"), json!("x")))
        .collect();
    bundle.set("/annotations", Value::Object(all));
    c.create();
    assert_eq!(c.state()["annotations"].as_object().unwrap().len(), 100_000);
    c.delete().ok();
}

#[test]
fn long_lists_and_strings_end_in_bounded_time() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let c = bundle.container();
    let config = bundle.config();
    let long = "x".repeat(8 << 20);
    let many = |item: Value, count| Value::Array(vec![item; count]);
    let tmpfs = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"});
    for (place, value) in [
        ("/mounts", many(tmpfs, 1000)),
        ("/process/env", many(json!("A=b"), 100_000)),
        ("/process/args", many(json!("exit"), 500_000)),
        (
            "/process/rlimits",
            many(config["process"]["rlimits"][0].clone(), 10_000),
        ),
        (
            "/process/capabilities/bounding",
            many(json!("CAP_KILL"), 100_000),
        ),
        ("/linux/maskedPaths", many(json!("/proc/acpi"), 10_000)),
        ("/linux/namespaces", many(json!({"type": "pid"}), 10_000)),
        ("/hostname", json!(long)),
        ("/process/cwd", json!(long)),
        ("/process/args/0", json!(long)),
        ("/process/env/0", json!(long)),
        ("/root/path", json!(long)),
        ("/mounts/0/destination", json!(long)),
        ("/mounts/1/options/0", json!(long)),
        ("/linux/cgroupsPath", json!(long)),
        ("/linux/maskedPaths/0", json!(long)),
        ("/ociVersion", json!(long)),
    ] {
        let mut config = config.clone();
        match config.pointer_mut(place) {
            Some(there) => *there = value,
            None => config["linux"]["cgroupsPath"] = value,
        }
        survives(&c, &text(&config));
    }
}

#[test]
fn deep_nesting_in_any_place() {
    differs!(
        Crun,
        "its errors have other forms, and C strings end at a NUL byte"
    );
    let bundle = bundle();
    let c = bundle.container();
    let config = bundle.config();
    let mut all = places_of(&config);
    all.push("/nonsense".into());
    for place in all.iter().step_by(3).chain(all.last()) {
        let mut config = config.clone();
        match config.pointer_mut(place) {
            Some(value) => *value = json!("@DEEP@"),
            None => config["nonsense"] = json!("@DEEP@"),
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let deep = open.repeat(100_000) + inner + &close.repeat(100_000);
            let text = String::from_utf8(text(&config)).unwrap();
            survives(&c, text.replace("\"@DEEP@\"", &deep).as_bytes());
            survives(
                &c,
                text.replace("\"@DEEP@\"", &open.repeat(100_000)).as_bytes(),
            );
        }
    }
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    differs!(Crun, "the first one counts");
    let bundle = bundle();
    bundle.args(&["/probe", "report"]);
    let config = String::from_utf8(text(&bundle.config())).unwrap();
    let twice = config.replacen(
        '{',
        "{\"hostname\":\"first\",\"process\":{\"cwd\":\"/tmp\"},",
        1,
    );
    bundle.raw_config(twice);
    let report = bundle.container().run().ok().json();
    assert_eq!(report["hostname"], "integration");
    assert_eq!(report["cwd"], "/");
}

#[test]
fn a_config_that_is_no_file_or_cannot_be_read() {
    let bundle = bundle();
    let c = bundle.container();
    let path = bundle.dir().join("config.json");
    fs::remove_file(&path).unwrap();
    c.call("create", NO_FLAGS).run().exits(1).fails();
    fs::create_dir(&path).unwrap();
    c.call("create", NO_FLAGS).run().exits(1).fails();
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("config.json", &path).unwrap();
    c.call("create", NO_FLAGS).run().exits(1).fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn paths_that_lead_above_the_root_stay_in_it() {
    let bundle = bundle();
    let c = bundle.container();
    let outside = bundle.home().join("outside");
    for destination in [
        "/../../../outside",
        "../../outside",
        "/mnt/../../../../outside",
    ] {
        let mut config = bundle.config();
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
        survives(&c, &text(&config));
        assert!(!outside.exists());
    }
    for place in [
        "/linux/maskedPaths/0",
        "/linux/readonlyPaths/0",
        "/process/cwd",
    ] {
        let mut config = bundle.config();
        *config.pointer_mut(place).unwrap() = json!("/../../../outside");
        survives(&c, &text(&config));
        assert!(!outside.exists());
    }
}

#[test]
fn process_json_of_exec() {
    differs!(
        Runc | Crun,
        "how they hold out against such input is not this test's business"
    );
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "exit", "0"]);
    process["user"] = json!({"uid": 1, "gid": 1, "additionalGids": [3], "umask": 2});
    let file = bundle.home().join("process.json");
    let exec = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        let output = c
            .call("exec", &["--process", file.to_str().unwrap()])
            .limit(LIMIT)
            .run();
        // 255 is the failure of an exec, 125 the probe's own, and 127 and 126 are a shell's.
        let failed = output.stderr.contains("level=error");
        assert!(
            matches!(output.code(), Some(0 | 125))
                || failed && matches!(output.code(), Some(1 | 255)),
            "{}\n{}",
            output.describe(),
            String::from_utf8_lossy(text)
        );
        assert!(!output.stderr.contains("panicked"), "{}", output.describe());
        output.code() == Some(0)
    };
    assert!(exec(&text(&process)));
    let whole = text(&process);
    for length in (0..whole.len()).step_by(13) {
        assert!(!exec(&whole[..length]), "the first {length} bytes");
    }
    for _ in 0..rounds(200, 1.0) {
        exec(&mutation(&mut dice, &process));
    }
    assert!(!exec(&vec![b' '; 100 << 20]));
    assert_eq!(c.status(), "running");
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    assert_eq!(procs.lines().count(), 1, "{procs}");
    c.delete_force().ok();
}
