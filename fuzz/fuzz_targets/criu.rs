//! What CRIU says: an answer of any bytes is an error of one line or none, the reason out of its log is a line of that log,
//! of the names in images only those of streams are taken, and of the cgroups in them none that leads elsewhere.

#![cfg_attr(feature = "libfuzzer", no_main)]

use std::path::Component;
use vzrun::fuzz::{cgroup, criu};
use vzrun_fuzz::target;

target!(|data| {
    if let Ok((text, again)) = criu::answer(data) {
        assert!(
            text.starts_with("criu failed: type ") && !text.contains('\n'),
            "{text:?}"
        );
        assert_eq!(criu::answer(&again).expect("it was one"), (text, again));
    }
    if let Some(once) = criu::request(data) {
        assert_eq!(criu::request(&once).expect("it was one"), once);
    }
    let log = String::from_utf8_lossy(data);
    reason(&log);
    // With what belongs around the words of CRIU.
    let whole: String = log
        .lines()
        .enumerate()
        .map(|(n, line)| match n % 3 {
            0 => format!("(00.{n:06}) Error (criu/a.c:{n}): {line}\n"),
            1 => format!("(00.{n:06}) Dumping task (pid: {n} comm: {line})\n"),
            _ => format!("(00.{n:06}) {n:6}: Error (criu/a.c:{n}): {line}\n"),
        })
        .collect();
    reason(&whole);
    streams(&log);
    cgroups(data);
});

fn cgroups(image: &[u8]) {
    for (path, files) in cgroup::tree(image).unwrap_or_default() {
        let mut parts = path.components();
        assert!(
            parts.all(|part| matches!(part, Component::Normal(_))),
            "{path:?}"
        );
        for file in files {
            let (controller, _) = file.split_once('.').expect("a controller's file");
            let moves = [
                "procs",
                "threads",
                "kill",
                "freeze",
                "subtree_control",
                "type",
                "pressure",
            ];
            assert!(!file.contains('/') && !controller.is_empty(), "{file:?}");
            assert!(
                !moves.iter().any(|name| file == format!("cgroup.{name}")),
                "{file:?}"
            );
        }
    }
}

fn reason(log: &str) {
    let Some(reason) = criu::reason(log) else {
        return;
    };
    assert!(!reason.contains('\n'), "{reason:?}");
    assert!(log.contains("Error (") && reason.len() <= log.len() + 300);
    let of_an_error = log
        .lines()
        .filter(|line| line.contains("Error ("))
        .any(|line| {
            let text = line
                .rsplit_once("Error (")
                .and_then(|(_, rest)| rest.split_once("): "));
            text.is_some_and(|(_, text)| reason.contains(text.trim()))
                || line
                    .split("): ")
                    .skip(1)
                    .any(|part| reason.contains(part.trim()))
        });
    assert!(of_an_error, "{reason:?} of {log:?}");
}

fn streams(text: &str) {
    let names: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let taken = criu::streams(&names);
    for (n, (key, fd)) in taken.iter().enumerate() {
        assert!((0..3).contains(fd), "{taken:?}");
        let name = &names[*fd as usize];
        let name = name.strip_suffix("/dev/null").unwrap_or(name);
        assert_eq!(name, key, "{taken:?}");
        assert!(
            !key.contains(['/', '.', ' ', '\0']) && key.ends_with(']'),
            "{key:?}"
        );
        assert!(
            taken[..n].iter().all(|(other, _)| other != key),
            "{taken:?}"
        );
    }
}
