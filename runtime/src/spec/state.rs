//! The state of a container as hooks get it on stdin (runtime-spec, "State").

use std::collections::BTreeMap;

use serde::Serialize;

/// The document. `root` is the path of the root filesystem, as crun adds it for hooks that work on it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) pid: i32,
    pub(crate) bundle: String,
    pub(crate) root: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

impl HookState {
    /// The JSON at this point of the container's life.
    pub(crate) fn json(&self, status: &'static str, pid: i32) -> String {
        // A map with string keys and plain values cannot fail to serialise.
        serde_json::to_string(&self.now(status, pid)).unwrap_or_default()
    }
}

/// What a seccomp agent is told, beside the listener (runtime-spec, "Container Process State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    /// The names of the descriptors that come along.
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a HookState,
}

impl HookState {
    /// The JSON for the agent of a process with this pid; `metadata` is from the profile.
    pub(crate) fn json_of_process(&self, pid: i32, metadata: &str) -> String {
        let process = ContainerProcessState {
            oci_version: super::VERSION,
            fds: ["seccompFd"],
            pid,
            metadata,
            state: self,
        };
        serde_json::to_string(&process).unwrap_or_default()
    }

    /// The state at this point of the container's life.
    pub(crate) fn now(&self, status: &'static str, pid: i32) -> HookState {
        HookState {
            status,
            pid,
            ..self.clone()
        }
    }
}
