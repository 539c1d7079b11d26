//! The messages of CRIU's protocol (its rpc.proto), as far as they are used. What is left out is never sent, and passed
//! over where CRIU sends it.

/// What a message is about (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Empty = 0,
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

/// What happens to the cgroups of the processes (`criu_cg_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum CgroupsMode {
    Ignore = 0,
    Soft = 3,
    Full = 4,
    Strict = 5,
    Default = 6,
}

/// How the network is kept quiet meanwhile (`criu_network_lock_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) options: Option<Options>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) notify_success: Option<bool>,
    /// More requests follow on the same connection.
    #[prost(bool, optional, tag = "4")]
    pub(crate) keep_open: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(crate) features: Option<Features>,
}

/// Things that not every kernel can do.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Features {
    /// Tells which pages were written since the last look.
    #[prost(bool, optional, tag = "1")]
    pub(crate) mem_track: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) lazy_pages: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(crate) success: bool,
    #[prost(message, optional, tag = "5")]
    pub(crate) notify: Option<Notify>,
    #[prost(int32, optional, tag = "7")]
    pub(crate) errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(crate) features: Option<Features>,
    #[prost(message, optional, tag = "10")]
    pub(crate) version: Option<Version>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Notify {
    #[prost(string, optional, tag = "1")]
    pub(crate) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) pid: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, prost::Message)]
pub(crate) struct Version {
    #[prost(int32, required, tag = "1")]
    pub(crate) major: i32,
    #[prost(int32, required, tag = "2")]
    pub(crate) minor: i32,
}

/// What is to be done, and how (`criu_opts`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Options {
    /// A descriptor of this process, which CRIU opens through /proc.
    #[prost(int32, required, tag = "1")]
    pub(crate) images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub(crate) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub(crate) evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(crate) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(crate) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(crate) log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub(crate) page_server: Option<PageServer>,
    #[prost(bool, optional, tag = "12")]
    pub(crate) notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(crate) root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub(crate) parent_img: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub(crate) track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub(crate) auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub(crate) work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(crate) link_remap: Option<bool>,
    #[prost(message, repeated, tag = "23")]
    pub(crate) ext_mnt: Vec<MountMap>,
    /// Of old versions, which do not know `manage_cgroups_mode`.
    #[prost(bool, optional, tag = "24")]
    pub(crate) manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) cg_root: Vec<CgroupRoot>,
    /// The root of the restored processes becomes a child of this process, not of CRIU.
    #[prost(bool, optional, tag = "26")]
    pub(crate) rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(crate) inherit_fd: Vec<InheritFd>,
    /// Mounted anew without what is in them, though CRIU does not know them.
    #[prost(string, repeated, tag = "32")]
    pub(crate) enable_fs: Vec<String>,
    #[prost(enumeration = "CgroupsMode", optional, tag = "34")]
    pub(crate) manage_cgroups_mode: Option<i32>,
    /// In bytes.
    #[prost(uint32, optional, tag = "35")]
    pub(crate) ghost_limit: Option<u32>,
    #[prost(string, repeated, tag = "36")]
    pub(crate) irmap_scan_paths: Vec<String>,
    #[prost(string, repeated, tag = "37")]
    pub(crate) external: Vec<String>,
    /// CLONE_NEW* of namespaces whose content is somebody else's business.
    #[prost(uint32, optional, tag = "38")]
    pub(crate) empty_ns: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub(crate) join_ns: Vec<JoinNamespace>,
    /// The hierarchies that count, by their controllers.
    #[prost(string, repeated, tag = "43")]
    pub(crate) cgroup_dump_controller: Vec<String>,
    #[prost(string, optional, tag = "44")]
    pub(crate) freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub(crate) tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "48")]
    pub(crate) lazy_pages: Option<bool>,
    /// The master of a terminal whose other end is in the container comes with a notification.
    #[prost(bool, optional, tag = "50")]
    pub(crate) orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(crate) config_file: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub(crate) tcp_close: Option<bool>,
    #[prost(string, optional, tag = "53")]
    pub(crate) lsm_profile: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub(crate) lsm_mount_context: Option<String>,
    #[prost(enumeration = "NetworkLock", optional, tag = "64")]
    pub(crate) network_lock: Option<i32>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PageServer {
    #[prost(string, optional, tag = "1")]
    pub(crate) address: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) port: Option<i32>,
}

/// At a dump: the place of a mount that is not to be saved, and a name for it. At a restore: the name, and what is to be
/// mounted there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MountMap {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    #[prost(string, required, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CgroupRoot {
    #[prost(string, optional, tag = "1")]
    pub(crate) controller: Option<String>,
    #[prost(string, required, tag = "2")]
    pub(crate) path: String,
}

/// A descriptor of CRIU's that takes the place of what was external at the dump.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct InheritFd {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    #[prost(int32, required, tag = "2")]
    pub(crate) fd: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct JoinNamespace {
    #[prost(string, required, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, required, tag = "2")]
    pub(crate) file: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    /// As protoc encodes `type: DUMP opts { images_dir_fd: 5 pid: 300 log_file: "a" ext_mnt { key: "k" val: "v" } empty_ns: 1073741824 }`.
    #[test]
    fn a_request_on_the_wire() {
        let request = Request {
            kind: Kind::Dump.into(),
            options: Some(Options {
                images_dir_fd: 5,
                pid: Some(300),
                log_file: Some("a".into()),
                ext_mnt: vec![MountMap {
                    key: "k".into(),
                    value: "v".into(),
                }],
                empty_ns: Some(0x4000_0000),
                ..Options::default()
            }),
            ..Request::default()
        };
        let options = b"\x08\x05\x10\xac\x02\x52\x01a\xba\x01\x06\x0a\x01k\x12\x01v\xb0\x02\x80\x80\x80\x80\x04";
        let length = u8::try_from(options.len()).unwrap();
        let expected = [&[0x08, 0x01, 0x12, length], &options[..]].concat();
        assert_eq!(request.encode_to_vec(), expected);
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        // type: NOTIFY success: true notify { script: "x" pid: 7 }, and a field 99.
        let bytes = b"\x08\x06\x10\x01\x2a\x05\x0a\x01x\x10\x07\x9a\x06\x01z";
        let response = Response::decode(&bytes[..]).unwrap();
        assert_eq!(response.kind(), Kind::Notify);
        let notify = response.notify.unwrap();
        assert_eq!((notify.script.as_deref(), notify.pid), (Some("x"), Some(7)));
    }
}
