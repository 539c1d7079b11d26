//! Very many containers, and very much that is left of containers, in one state directory.

use integration::{Bundle, Runtime, Value};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// As many copies as wanted of a container that has stopped, by other ids.
fn fill(bundle: &Bundle, count: usize) -> Vec<String> {
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    let files: Vec<_> = fs::read_dir(c.state_dir())
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    (0..count)
        .map(|number| {
            let id = format!("{}-{number:05}", c.id());
            let dir = bundle.root().join(&id);
            fs::create_dir(&dir).unwrap();
            for file in &files {
                let text = fs::read_to_string(file.path()).unwrap();
                fs::write(dir.join(file.file_name()), text.replace(c.id(), &id)).unwrap();
            }
            id
        })
        .collect()
}

fn clear(bundle: &Bundle, ids: &[String]) {
    for id in ids {
        fs::remove_dir_all(bundle.root().join(id)).unwrap();
    }
}

#[test]
fn list_tells_a_thousand() {
    let bundle = Bundle::new();
    let ids = fill(&bundle, 1000);
    let started = Instant::now();
    let list = bundle.call(["list", "--format", "json"]).run().ok();
    let took = started.elapsed();
    let Value::Array(list) = list.json() else {
        panic!("not an array");
    };
    assert_eq!(list.len(), 1000);
    assert!(list.iter().all(|item| item["status"] == "stopped"));
    let names: Vec<_> = list
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted());
    assert_eq!(names, ids);
    println!("{} took {took:?}", Runtime::get().name());
    assert!(took < Duration::from_secs(5), "{took:?}");
    let quiet = bundle.call(["list", "--quiet"]).run().ok();
    assert_eq!(quiet.stdout.lines().count(), 1000);
    clear(&bundle, &ids);
}

/// The system calls of a command, counted by strace.
fn calls(bundle: &Bundle, args: &[&str]) -> usize {
    let trace = bundle.home().join("trace");
    let status = Command::new("strace")
        // Without its children: a container that is created lives on.
        .args(["-qq", "-o"])
        .arg(&trace)
        .arg(Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{args:?}: {status}");
    fs::read_to_string(trace).unwrap().lines().count()
}

#[test]
fn thousands_of_stale_directories_cost_another_id_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "pause"]);
    let dir = bundle.dir();
    let dir = dir.to_str().unwrap();
    let measure = |id: &str| {
        [
            &["create", "--bundle", dir, id][..],
            &["state", id],
            &["start", id],
            &["exec", id, "/probe", "exit", "0"],
            &["kill", id, "CONT"],
            &["delete", "--force", id],
        ]
        .map(|args| calls(&bundle, args))
    };
    let id = format!("{}-x", bundle.id());
    let before = measure(&id);
    let stale: Vec<_> = (0..3000)
        .map(|number| format!("{}-stale-{number}", bundle.id()))
        .collect();
    for (number, name) in stale.iter().enumerate() {
        let dir = bundle.root().join(name);
        fs::create_dir(&dir).unwrap();
        // What killed commands leave: nothing, half of something, something unreadable.
        match number % 3 {
            0 => fs::write(dir.join("state.json.new"), "{").unwrap(),
            1 => fs::write(dir.join("state.json"), "{\"id\":").unwrap(),
            _ => {}
        }
    }
    let after = measure(&id);
    println!("calls before {before:?}, after {after:?}");
    for (before, after) in before.iter().zip(after) {
        // Waiting takes a call more or less, as a child does this or that first.
        assert!(
            after < before + before / 2 + 100,
            "{before} calls became {after}"
        );
    }
    bundle
        .call(["list"])
        .limit(Duration::from_secs(20))
        .run()
        .ok();
    clear(&bundle, &stale);
}

#[test]
fn a_long_id_is_as_good_as_a_short_one() {
    let bundle = Bundle::new();
    let id = format!("{}-{}", bundle.id(), "x".repeat(200 - bundle.id().len()));
    let c = bundle
        .call(["create", "--bundle"])
        .arg(bundle.dir())
        .arg(&id);
    c.run().ok();
    assert!(Path::new(&bundle.root()).join(&id).is_dir());
    bundle.call(["delete", "--force", &id]).run().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
