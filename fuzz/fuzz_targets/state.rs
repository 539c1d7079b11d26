//! state.json: whoever has written it, it is read or refused; what is read and written anew is the same; and a deletion
//! makes out of a damaged one what an undamaged one says, or nothing.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::state::{for_deletion, read_and_write, salvage};
use vzrun_fuzz::{json, target};

const WHOLE: &str = include_str!("../templates/state.json");

target!(|data| {
    let text = json::document(data, WHOLE);
    let shown = || String::from_utf8_lossy(&text).into_owned();
    let kept = for_deletion(&text);
    assert!(
        kept.process.0 >= 0 || read_and_write(&text).is_ok(),
        "{}",
        shown()
    );
    let Ok(first) = read_and_write(&text) else {
        return;
    };
    let second = read_and_write(&first).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    assert_eq!(first, second, "{}", shown());
    let whole = for_deletion(&first);
    assert_eq!(whole, kept, "{}", shown());
    let salvaged = salvage(&first);
    assert_eq!(
        (&salvaged.cgroup, &salvaged.driver),
        (&whole.cgroup, &whole.driver),
        "{}",
        shown()
    );
    let (pid, start) = whole.process;
    let known = pid > 0 && start > 0;
    assert_eq!(
        salvaged.process,
        (if known { pid } else { 0 }, start),
        "{}",
        shown()
    );
    // Cut off somewhere: never another process's number, nor another cgroup.
    let end = data.len() * 7919 % (first.len() + 1);
    let cut = salvage(&first[..end]);
    assert!(
        cut.process.0 == 0 || cut.process.0 == pid,
        "{end}: {}",
        shown()
    );
    assert!(
        cut.cgroup.is_none() || cut.cgroup == whole.cgroup,
        "{end}: {}",
        shown()
    );
});
