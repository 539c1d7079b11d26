//! Messages of D-Bus: whatever comes over the bus, it is taken apart within its bounds or refused.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::cgroup::message;
use vzrun_fuzz::target;

target!(|data| {
    let Ok((length, body, texts)) = message(data) else {
        return;
    };
    assert!(length <= 1 << 20 && body <= length && body <= data.len());
    assert!(texts.iter().map(String::len).sum::<usize>() <= body);
    assert!(texts.iter().all(|text| text.len() < body));
    // The first bytes tell how much there is to wait for, and no more than that is looked at in earnest.
    if let Some(Ok((again, body, _))) = data.get(..length).map(message) {
        assert!(again == length && body < length);
    }
});
