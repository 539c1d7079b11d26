//! A state.json that is not what it was: the commands say so, touch nothing that is not the container's, and
//! `delete --force` clears up. The format is the runtime's own, so this is for vzrun alone.

use integration::{Bundle, Container, Dice, Output, Value, differs, json, mutation, rounds};
use std::fs;
use std::process::Command;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];
const LIMIT: Duration = Duration::from_secs(20);

fn write(c: &Container<'_>, bytes: impl AsRef<[u8]>) {
    fs::write(c.state_dir().join("state.json"), bytes).unwrap();
}

fn read(c: &Container<'_>) -> Value {
    let bytes = fs::read(c.state_dir().join("state.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[track_caller]
fn is_clear(output: Output) -> Output {
    let failed = matches!(output.code(), Some(1 | 255)) && !output.stderr.trim().is_empty();
    assert!(output.code() == Some(0) || failed, "{}", output.describe());
    assert!(!output.stderr.contains("panicked"), "{}", output.describe());
    output
}

/// Every command but delete ends with an error in words, or does what it says.
#[track_caller]
fn commands_behave(c: &Container<'_>) {
    for verb in ["state", "start", "pause", "resume", "ps", "delete"] {
        is_clear(c.call(verb, NO_FLAGS).limit(LIMIT).run());
    }
    is_clear(c.call("kill", NO_FLAGS).arg("0").limit(LIMIT).run());
    is_clear(
        c.exec_call(NO_FLAGS, &["/probe", "exit", "0"])
            .limit(LIMIT)
            .run(),
    );
    let list = c.bundle().call(["list", "--format", "json"]);
    list.limit(LIMIT).run().ok().json();
}

/// Each of these in place of the record of a running container.
fn damaged(record: &Value) -> Vec<Vec<u8>> {
    let whole = serde_json::to_vec(record).unwrap();
    let mut all = vec![
        Vec::new(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe".to_vec(),
        vec![0; 4096],
        b"[".repeat(100_000),
    ];
    all.extend(
        (1..whole.len())
            .step_by(whole.len() / 25)
            .map(|length| whole[..length].to_vec()),
    );
    for key in record.as_object().unwrap().keys() {
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!("x"),
            json!(-1),
            json!(1.5),
            json!(true),
        ] {
            let mut record = record.clone();
            record[key] = wrong;
            all.push(serde_json::to_vec(&record).unwrap());
        }
        let mut record = record.clone();
        record.as_object_mut().unwrap().remove(key);
        all.push(serde_json::to_vec(&record).unwrap());
    }
    all
}

#[test]
fn of_a_container_that_has_stopped() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    let record = read(&c);
    c.delete().ok();
    for bytes in damaged(&record) {
        fs::create_dir(c.state_dir()).unwrap();
        write(&c, &bytes);
        commands_behave(&c);
        c.call("delete", &["--force"]).limit(LIMIT).run().ok();
        let left = bundle.leftovers();
        assert!(
            left.is_empty(),
            "{left:?} of {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn mutations_of_it() {
    differs!(Runc | Crun, "their files are not these");
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let record = read(&c);
    c.delete_force().ok();
    for _ in 0..rounds(50, 0.5) {
        fs::create_dir(c.state_dir()).unwrap();
        write(&c, mutation(&mut dice, &record));
        commands_behave(&c);
        // It may name a cgroup that is not there to be removed, but there is no other reason to fail.
        is_clear(c.call("delete", &["--force"]).limit(LIMIT).run());
        let _ = fs::remove_dir_all(c.state_dir());
    }
}

#[test]
fn what_is_left_of_the_record_is_enough_to_end_a_running_container() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    for cut in ["\"annotations\"", "\"config\"", "\"namespaces\""] {
        let c = bundle.container();
        c.run_detached();
        let text = fs::read_to_string(c.state_dir().join("state.json")).unwrap();
        write(&c, &text[..text.find(cut).unwrap() + 4]);
        c.call("state", NO_FLAGS)
            .run()
            .exits(1)
            .says("state of container");
        c.delete().exits(1).says("state of container");
        let list = bundle.call(["list"]).run().ok();
        list.says("load container");
        if cut == "\"annotations\"" {
            // The cgroup stands behind it in the file. Init is known, and its pid namespace ends with it.
            let cgroup = c.cgroup_dir();
            c.delete_force().ok().says("deleting what can be made out");
            fs::remove_dir(cgroup).unwrap();
        } else {
            c.delete_force().ok().says("deleting what can be made out");
        }
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn the_pid_of_another_process_is_left_alone() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut record = read(&c);
    c.delete_force().ok();
    // When it was started is what tells it from others; a quick machine starts several processes in one tick.
    record["startTime"] = json!(record["startTime"].as_u64().unwrap() - 1);
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    for pid in [
        stranger.id() as i32,
        1,
        std::process::id() as i32,
        -1,
        0,
        i32::MAX,
        i32::MIN,
    ] {
        record["pid"] = json!(pid);
        fs::create_dir(c.state_dir()).unwrap();
        write(&c, serde_json::to_vec(&record).unwrap());
        assert_eq!(c.status(), "stopped");
        c.kill("KILL").exits(1).says("container not running");
        let exec = c.exec(&["/probe", "exit", "0"]).exits(255);
        exec.says("cannot exec in a stopped container");
        c.delete_force().ok();
    }
    assert_eq!(stranger.try_wait().unwrap(), None);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_cgroup_elsewhere_is_not_removed() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut record = read(&c);
    c.delete_force().ok();
    let victim = bundle.home().join("victim");
    fs::create_dir(&victim).unwrap();
    let up = format!("/../../../../../../../..{}", victim.display());
    record["cgroup"] = json!(up);
    fs::create_dir(c.state_dir()).unwrap();
    write(&c, serde_json::to_vec(&record).unwrap());
    is_clear(c.delete_force()).says("has a .. in it");
    assert!(victim.is_dir());
    let _ = fs::remove_dir_all(c.state_dir());
}

#[test]
fn a_huge_one_is_not_read_to_its_end() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    let c = bundle.container();
    fs::create_dir(c.state_dir()).unwrap();
    let file = fs::File::create(c.state_dir().join("state.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    c.call("state", NO_FLAGS)
        .limit(LIMIT)
        .run()
        .exits(1)
        .says("larger than the limit");
    bundle.call(["list"]).limit(LIMIT).run().ok();
    c.call("delete", &["--force"]).limit(LIMIT).run().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn things_that_are_no_record_at_all() {
    differs!(Runc | Crun, "their files are not these");
    let bundle = Bundle::new();
    let c = bundle.container();
    let path = c.state_dir().join("state.json");
    for kind in ["directory", "symlink", "fifo"] {
        fs::create_dir(c.state_dir()).unwrap();
        match kind {
            "directory" => fs::create_dir(&path).unwrap(),
            "symlink" => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
            _ => {
                let made = Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            }
        }
        is_clear(c.call("state", NO_FLAGS).limit(LIMIT).run().exits(1));
        bundle.call(["list"]).limit(LIMIT).run().ok();
        c.call("delete", &["--force"]).limit(LIMIT).run().ok();
        assert_eq!(bundle.leftovers(), [""; 0], "{kind}");
    }
}
