//! Why something is another under vzrun. docs/security.md says the same.

use integration::Kind;

#[derive(Debug)]
pub(crate) struct Reason {
    /// Words of docs/security.md.
    pub(crate) why: &'static str,
    /// The cases; none named: all.
    cases: &'static [&'static str],
    other: &'static [Kind],
    /// The places, `*` for anything.
    places: &'static [&'static str],
    ours: &'static str,
    theirs: &'static str,
}

impl Reason {
    /// Whether it is about this case, compared with that runtime.
    pub(crate) fn is_for(&self, case: &str, other: Kind) -> bool {
        (self.cases.is_empty() || self.cases.contains(&case)) && self.other.contains(&other)
    }

    /// Whether it is about this difference.
    pub(crate) fn explains(&self, place: &str, ours: &str, theirs: &str) -> bool {
        self.places.iter().any(|pattern| matches(pattern, place))
            && matches(self.ours, ours)
            && matches(self.theirs, theirs)
    }
}

/// Whether a text is as a pattern says, in which `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len())
                .filter(|at| text.is_char_boundary(*at))
                .any(|at| matches(rest, &text[at..]))
        }),
    }
}

const RUNC: &[Kind] = &[Kind::Runc];
const CRUN: &[Kind] = &[Kind::Crun];
const BOTH: &[Kind] = &[Kind::Runc, Kind::Crun];
/// All that have masked paths.
const MASKED: &[&str] = &[
    "spec",
    "created",
    "docker",
    "docker-read-only",
    "docker-terminal",
    "podman",
    "user-namespace",
    "rootless",
];
/// All but those with a terminal.
const STREAMS: &[&str] = &[
    "spec",
    "created",
    "docker",
    "docker-read-only",
    "docker-privileged",
    "podman",
    "podman-privileged",
    "user-namespace",
    "rootless",
    "system",
];
/// All but an ordinary user's.
const PRIVILEGED: &[&str] = &[
    "spec",
    "created",
    "docker",
    "docker-read-only",
    "docker-terminal",
    "docker-privileged",
    "podman",
    "podman-privileged",
    "user-namespace",
    "system",
];
const ANY: Reason = Reason {
    why: "",
    cases: &[],
    other: BOTH,
    places: &[],
    ours: "*",
    theirs: "*",
};

pub(crate) const REASONS: &[Reason] = &[
    Reason {
        why: "a system container's /proc and /sys show what is its own, by files of its keeper's",
        cases: &["system"],
        places: &[
            "*/mounts/proc/cpuinfo/*",
            "*/mounts/proc/diskstats/*",
            "*/mounts/proc/loadavg/*",
            "*/mounts/proc/meminfo/*",
            "*/mounts/proc/pressure/*",
            "*/mounts/proc/stat/*",
            "*/mounts/proc/swaps/*",
            "*/mounts/proc/uptime/*",
            "*/mounts/proc/vmstat/*",
            "*/mounts/sys/devices/system/cpu/online/*",
        ],
        theirs: "-",
        ..ANY
    },
    Reason {
        why: "below its /proc there are a whole procfs and sysfs, without which it could not mount its own",
        cases: &["system"],
        places: &[
            "*/mounts/proc/fstype",
            "*/mounts/proc/source",
            "*/mounts/proc/super",
            "*/mounts/proc/whole-*",
            "*/mounts/proc (2)/*",
        ],
        ..ANY
    },
    Reason {
        why: "each boot has a time namespace",
        cases: &["system"],
        places: &["*/namespaces/time*"],
        ours: "its own",
        theirs: "the host's",
        ..ANY
    },
    Reason {
        why: "root of a system container has all rights over what is the container's",
        cases: &["system"],
        places: &[
            "*/capabilities/*",
            "*/process_1/bounding",
            "*/process_1/effective",
            "*/process_1/permitted",
            "*/files/proc/sys/proc/sys/user/*",
        ],
        ..ANY
    },
    Reason {
        why: "its cgroups are its own to divide",
        cases: &["system"],
        other: RUNC,
        places: &["*/files/sys/fs/cgroup/*"],
        ours: "ok*",
        ..ANY
    },
    Reason {
        why: "it has a /run and a /tmp of its own, and fuse and tun",
        cases: &["system"],
        places: &[
            "*/mounts/run/*",
            "*/mounts/tmp/*",
            "*/places/run/*",
            "*/dev/fuse*",
            "*/dev/net*",
        ],
        ..ANY
    },
    Reason {
        why: "what covers a masked path is read-only, and nothing is executed from it",
        cases: MASKED,
        places: &["*/mounts/proc/*/options", "*/mounts/sys/*/options"],
        ours: "*noexec,nosuid,relatime,ro",
        ..ANY
    },
    Reason {
        why: "one empty directory covers all masked directories",
        cases: MASKED,
        places: &["*/mounts/proc/*/super", "*/mounts/sys/*/super"],
        ours: "*mode=555,nr_inodes=1,rw,size=4k*",
        ..ANY
    },
    Reason {
        why: "masked files are covered by the host's /dev/null, on a mount that is private",
        cases: MASKED,
        other: RUNC,
        places: &[
            "*/mounts/proc/*/source",
            "*/mounts/proc/*/super",
            "*/mounts/proc/*/propagation",
        ],
        ..ANY
    },
    Reason {
        why: "ro of a mount is the mount's alone, not its file system's as well",
        cases: &[
            "spec",
            "created",
            "docker",
            "docker-read-only",
            "docker-terminal",
            "podman",
            "user-namespace",
        ],
        other: RUNC,
        places: &["*/mounts/sys/super"],
        ours: "rw",
        theirs: "ro",
    },
    Reason {
        why: "the root, and a bind mount, keeps the flags of the mount that it shows",
        cases: &["spec", "created", "docker-read-only"],
        other: RUNC,
        places: &["*/mounts//options"],
        ours: "nodev,nosuid,relatime,ro",
        theirs: "relatime,ro",
    },
    Reason {
        why: "the root, and a bind mount, keeps the flags of the mount that it shows",
        cases: PRIVILEGED,
        other: CRUN,
        places: &[
            "*/mounts//options",
            "*/mounts/etc/*/options",
            "*/mounts/out/options",
            "*/mounts/run/*/options",
            "*/mounts/dev/console/options",
        ],
        ours: "*nosuid,relatime,*",
        theirs: "relatime,*",
    },
    Reason {
        why: "the source of a cgroup mount is what the config says",
        cases: PRIVILEGED,
        other: CRUN,
        places: &["*/mounts/sys/fs/cgroup/source"],
        ours: "cgroup",
        theirs: "cgroup2",
    },
    Reason {
        why: "nodes of the host, and its /sys, are bound as runc binds them",
        cases: &["user-namespace", "rootless", "system"],
        other: CRUN,
        places: &["*/mounts/dev/*/options"],
        ours: "nosuid,relatime,rw",
        theirs: "noexec,nosuid,relatime,rw",
    },
    Reason {
        why: "nodes of the host, and its /sys, are bound as runc binds them",
        cases: &["user-namespace", "rootless"],
        other: CRUN,
        places: &["*/mounts/dev/*/propagation", "*/mounts/sys*/propagation"],
        ours: "master",
        theirs: "",
    },
    Reason {
        why: "exec passes its own streams on, where runc puts pipes in between",
        cases: STREAMS,
        other: RUNC,
        places: &["exec/fds/*"],
        ..ANY
    },
    Reason {
        why: "exec, too, has the container's /dev/null for the host's",
        cases: STREAMS,
        other: CRUN,
        places: &["exec/fds/0/flags"],
        ours: "0100002",
        theirs: "0100000",
    },
    Reason {
        why: "a terminal is opened through its master, and so with other flags",
        cases: &["docker-terminal"],
        places: &["*/fds/*/flags"],
        ours: "02000002",
        theirs: "0100002",
        ..ANY
    },
    Reason {
        why: "no signals are blocked",
        other: RUNC,
        places: &["*/signals_blocked"],
        ours: "",
        ..ANY
    },
    Reason {
        why: "the session's keyring has runc's name, and exec has it as well; its user may search it",
        cases: &[
            "spec",
            "created",
            "docker-privileged",
            "podman",
            "podman-privileged",
            "rootless",
            "system",
        ],
        other: CRUN,
        places: &["*/keyring/description"],
        ours: "keyring;0;0;3f1b0000;_ses.ID",
        ..ANY
    },
    Reason {
        why: "the session's keyring has runc's name, and exec has it as well; its user may search it",
        cases: &["rootless", "system"],
        other: RUNC,
        places: &["*/keyring/description"],
        ours: "keyring;0;0;3f1b0000;_ses.ID",
        ..ANY
    },
    Reason {
        why: "the session's keyring has runc's name, and exec has it as well; its user may search it",
        cases: &["system"],
        other: CRUN,
        places: &["*/keys", "*/keys/session"],
        ..ANY
    },
    Reason {
        why: "an empty HOME is filled in, as runc does",
        cases: &["podman", "podman-privileged"],
        other: CRUN,
        places: &["*/env/HOME", "*/process_1/environ"],
        ours: "*HOME=/root",
        theirs: "*HOME=",
    },
    Reason {
        why: "exec has the limits and the no_new_privs of the config",
        cases: &["spec", "created", "rootless"],
        other: CRUN,
        places: &["exec/no_new_privs"],
        ours: "true",
        theirs: "false",
    },
    Reason {
        why: "exec has the limits and the no_new_privs of the config",
        cases: &["spec", "created", "rootless", "podman", "podman-privileged"],
        other: CRUN,
        places: &["exec/rlimits/*"],
        ..ANY
    },
    Reason {
        why: "what waits in a created container is vzrun itself, with its command line",
        cases: &["created"],
        places: &["exec/process_1/cmdline", "exec/process_1/comm"],
        ours: "*vzrun*",
        ..ANY
    },
    Reason {
        why: "and it cannot be looked into",
        cases: &["created"],
        other: RUNC,
        places: &["exec/process_1/*"],
        ours: "E*",
        ..ANY
    },
    Reason {
        why: "all namespaces are made at once, so the mqueue is that of who made them",
        cases: &["user-namespace", "system"],
        places: &["*/dev/mqueue/uid", "*/dev/mqueue/gid"],
        ours: "65534",
        theirs: "0",
        ..ANY
    },
    Reason {
        why: "the host's /dev/null is given to nobody",
        cases: &["user-namespace", "system"],
        other: CRUN,
        places: &["*/dev/dev/null/*"],
        ours: "65534",
        theirs: "0",
    },
    Reason {
        why: "init of a system container begins in a cgroup below the container's",
        cases: &["system"],
        places: &["*/cgroup"],
        ours: "/init.scope",
        theirs: "/",
        ..ANY
    },
    Reason {
        why: "its mounts are shared within it, as on a machine",
        cases: &["system"],
        places: &["*/mounts/*/propagation"],
        ours: "shared*",
        ..ANY
    },
    Reason {
        why: "and is told by $container that it is in one",
        cases: &["system"],
        places: &["first/env/container*", "*/process_1/environ"],
        ours: "*container*",
        ..ANY
    },
    Reason {
        why: "and where it can say that it is ready",
        cases: &["system"],
        places: &["first/env/NOTIFY_SOCKET"],
        ours: "NOTIFY_SOCKET=/run/host/notify",
        ..ANY
    },
];
