//! config.json, read and turned into a plan: any text is an error, or a config that says the same however it is written,
//! and whose plan is always the same. What does not begin with `{` changes a config that has everything.

#![cfg_attr(feature = "libfuzzer", no_main)]

use serde_json::Value;
use vzrun::fuzz::Config;
use vzrun_fuzz::{json, target};

const WHOLE: &str = include_str!("../templates/config.json");

target!(|data| {
    let text = json::document(data, WHOLE);
    let Ok(config) = Config::parse(&text) else {
        return;
    };
    let shown = || String::from_utf8_lossy(&text).into_owned();
    assert!(config.is_kept(), "kept otherwise: {}", shown());
    let plans = [config.plan(false), config.plan(true)];
    for plan in plans.iter().flatten() {
        // A few words ask for much, but not for everything there is.
        let most = (64 << 10) + 200 * text.len();
        assert!(
            plan.text.len() < most,
            "{} bytes: {}",
            plan.text.len(),
            shown()
        );
        assert!(plan.cwd.is_absolute() && !plan.arguments.is_empty());
        assert!(plan.ids.0 != u32::MAX && plan.ids.1 != u32::MAX);
    }
    for (how, other) in [
        ("unknown key", with_unknown_key(&text)),
        ("JSON again", again(&text)),
    ] {
        let Some(other) = other else { continue };
        let same =
            Config::parse(&other).unwrap_or_else(|error| panic!("{how}: {error}: {}", shown()));
        assert!(config.is_like(&same), "{how}: {}", shown());
        for (plan, rootless) in plans.iter().zip([false, true]) {
            let same = same.plan(rootless);
            match (plan, same) {
                (Ok(one), Ok(other)) => assert_eq!(one.text, other.text, "{how}: {}", shown()),
                (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string(), "{how}"),
                (one, other) => panic!("{how}: {one:?}, {other:?}: {}", shown()),
            }
        }
    }
    if let Ok(document) = serde_json::from_slice::<Value>(&text) {
        let arguments = document.pointer("/process/args").and_then(Value::as_array);
        let words = arguments.into_iter().flatten().filter_map(Value::as_str);
        let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
        for plan in plans.iter().flatten() {
            assert_eq!(plan.arguments, words, "{}", shown());
        }
        // What update keeps can be read again.
        if let Some(resources) = document.pointer("/linux/resources") {
            let updated = config.updated(resources.to_string().as_bytes());
            assert!(updated.is_ok(), "{:?}: {}", updated.err(), shown());
        }
    }
});

fn with_unknown_key(text: &[u8]) -> Option<Vec<u8>> {
    let start = text.iter().position(|byte| *byte == b'{')? + 1;
    let is_empty = text[start..].trim_ascii_start().first() == Some(&b'}');
    (!is_empty).then(|| {
        [
            &text[..start],
            br#""future":[null,{"a":-1}],"#,
            &text[start..],
        ]
        .concat()
    })
}

/// Without what the reader passes over: order, blanks, keys that are given twice.
fn again(text: &[u8]) -> Option<Vec<u8>> {
    let document: Value = serde_json::from_slice(text).ok()?;
    Some(document.to_string().into_bytes())
}
