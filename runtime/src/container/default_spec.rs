//! The config.json that `spec` starts a bundle with: runc's, byte for byte but for the name of the host, and without the
//! ambient capabilities: those that are not inheritable, too, cannot be raised.

use crate::sys::ids;

/// The text of both kinds, as a diff: lines with `-` are for root alone, lines with `+` for rootless alone.
const TEMPLATE: &str = include_str!("default_spec.diff");

/// A config.json to start from. A rootless one maps root in the container to the caller and needs no rights that an
/// ordinary user lacks.
pub fn default_spec(rootless: bool) -> String {
    let text = select(if rootless { '+' } else { '-' });
    text.replace("HOST_UID", &ids::euid().to_string())
        .replace("HOST_GID", &ids::egid().to_string())
}

fn select(kind: char) -> String {
    TEMPLATE
        .lines()
        .filter_map(|line| line.strip_prefix([' ', kind]))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn spec(rootless: bool) -> Value {
        let text = default_spec(rootless);
        assert!(crate::spec::parse(text.clone().into_bytes()).is_ok());
        assert!(text.starts_with("{\n\t\"ociVersion\"") && text.ends_with("\n}"));
        serde_json::from_str(&text).unwrap()
    }

    fn namespaces(spec: &Value) -> Vec<&str> {
        let list = spec["linux"]["namespaces"].as_array().unwrap();
        list.iter().map(|ns| ns["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn root() {
        let spec = spec(false);
        assert_eq!(
            namespaces(&spec),
            ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        );
        assert_eq!(spec["mounts"][5]["type"], "sysfs");
        assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], false);
        assert!(spec["linux"].get("uidMappings").is_none());
    }

    #[test]
    fn rootless() {
        let spec = spec(true);
        assert_eq!(
            namespaces(&spec),
            ["pid", "ipc", "uts", "mount", "cgroup", "user"]
        );
        assert_eq!(spec["mounts"][5]["options"][0], "rbind");
        assert!(!spec["mounts"].to_string().contains("gid="));
        assert!(spec["linux"].get("resources").is_none());
        assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], ids::euid());
        assert_eq!(spec["linux"]["gidMappings"][0]["hostID"], ids::egid());
    }
}
