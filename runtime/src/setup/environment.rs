//! process.env, by the rules of runc.

use std::collections::HashSet;
use std::ffi::CString;

use crate::error::{Error, Result};

/// The environment of the container's process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `NAME=value` each, in the order of the spec.
    pub(crate) variables: Vec<CString>,
    /// HOME is to come from the container's user database: there is an environment, and no HOME with a value in it.
    pub(crate) lacks_home: bool,
}

impl Environment {
    /// Of variables with the same name the last one stays, at its place. An empty HOME counts as none. Where the spec
    /// has no list at all the environment stays empty, also without HOME.
    pub(crate) fn plan(env: Option<&[String]>) -> Result<Environment> {
        let Some(env) = env else {
            return Ok(Environment::default());
        };
        let mut seen = HashSet::with_capacity(env.len());
        let mut variables = Vec::with_capacity(env.len() + 1);
        for variable in env.iter().rev() {
            let (name, value) = split(variable)?;
            if (name == "HOME" && value.is_empty()) || !seen.insert(name) {
                continue;
            }
            let text = CString::new(variable.as_str()).map_err(|_| {
                let text =
                    format!("invalid environment variable {name:?}: contains nul byte (\\x00)");
                Error::config(text)
            })?;
            variables.push(text);
        }
        variables.reverse();
        Ok(Environment {
            variables,
            lacks_home: !seen.contains("HOME"),
        })
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.variables.iter().find_map(|variable| {
            let value = variable.as_bytes().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })
    }

    /// Sets a variable, instead of the one with that name if there is one.
    ///
    /// # Errors
    /// A NUL in the value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let text = CString::new(format!("{name}={value}"))
            .map_err(|_| Error::config(format!("{name} contains nul byte (\\x00)")))?;
        self.remove(name);
        self.lacks_home &= name != "HOME";
        self.variables.push(text);
        Ok(())
    }

    /// Takes a variable out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.variables.retain(|variable| {
            let bytes = variable.as_bytes();
            !(bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&b'='))
        });
    }
}

/// The name and the value of a variable, in runc's words where there is none.
fn split(variable: &str) -> Result<(&str, &str)> {
    match variable.split_once('=') {
        None => Err(Error::config(format!(
            "process.env: invalid environment variable: missing '=' in {variable:?}"
        ))),
        Some(("", _)) => Err(Error::config(format!(
            "process.env: invalid environment variable: name cannot be empty in {variable:?}"
        ))),
        Some(parts) => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(env: &[&str]) -> Result<Environment> {
        let env: Vec<String> = env.iter().map(|&s| s.to_owned()).collect();
        Environment::plan(Some(&env))
    }

    #[test]
    fn last_duplicate_wins_and_home_is_noticed() {
        for (env, expected, lacks_home) in [
            (vec![], vec![], true),
            (vec!["A=1", "B=2", "A=3"], vec!["B=2", "A=3"], true),
            (vec!["HOME=/h", "A="], vec!["HOME=/h", "A="], false),
            (vec!["A=1", "HOME=", "B=1"], vec!["A=1", "B=1"], true),
            (vec!["HOME=/h", "HOME="], vec!["HOME=/h"], false),
            (vec!["HOMER=x", "A=b=c"], vec!["HOMER=x", "A=b=c"], true),
            (vec!["ß=1", "A=\n"], vec!["ß=1", "A=\n"], true),
        ] {
            let planned = plan(&env).unwrap();
            let got: Vec<_> = planned
                .variables
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect();
            assert_eq!(got, expected, "{env:?}");
            assert_eq!(planned.lacks_home, lacks_home, "{env:?}");
        }
        assert!(!Environment::plan(None).unwrap().lacks_home);
    }

    #[test]
    fn nonsense_is_refused() {
        for (variable, text) in [
            ("A", "missing '='"),
            ("", "missing '='"),
            ("=x", "name cannot be empty"),
            ("A=\0", "nul byte"),
            ("\0=", "nul byte"),
        ] {
            let error = plan(&["B=1", variable]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn variables_are_found_and_changed() {
        let mut env = plan(&["PATHS=/x", "PATH=/bin", "A=1"]).unwrap();
        assert_eq!(env.get("PATH"), Some(&b"/bin"[..]));
        assert_eq!(env.get("HOME"), None);
        env.set("HOME", "/root").unwrap();
        env.set("PATH", "/sbin").unwrap();
        env.remove("A");
        assert_eq!(env.get("PATH"), Some(&b"/sbin"[..]));
        assert_eq!(env.get("PATHS"), Some(&b"/x"[..]));
        assert_eq!((env.get("A"), env.variables.len()), (None, 3));
        assert!(!env.lacks_home);
        assert!(env.set("B", "\0").is_err());
    }
}
