//! The flags that checkpoint and restore have in common.

use std::path::PathBuf;

use clap::Args;
use vzrun::{CriuOptions, Error, ErrorKind, ManageCgroups, NetworkLock, Result};

use crate::args::path;
use crate::cmd::absolute;

/// What CRIU is told in both.
#[derive(Debug, Args)]
#[rustfmt::skip]
pub(crate) struct CriuFlags {
    /// directory of CRIU's image files (default: ./checkpoint)
    #[arg(long, value_parser = path, value_name = "DIR")] image_path: Option<PathBuf>,
    /// directory of CRIU's log and temporary files (default: that of the images)
    #[arg(long, value_parser = path, value_name = "DIR")] work_path: Option<PathBuf>,
    /// save and restore established TCP connections
    #[arg(long)] tcp_established: bool,
    /// allow unix sockets that are connected to the outside
    #[arg(long)] ext_unix_sk: bool,
    /// allow a session or terminal of the outside
    #[arg(long)] shell_job: bool,
    /// save and restore file locks
    #[arg(long)] file_locks: bool,
    /// what to do about cgroups: soft, full, strict or ignore (default: soft)
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)] manage_cgroups_mode: String,
    /// leave the content of this namespace to others (network, which is so in any case)
    #[arg(long, value_name = "NAMESPACE")] empty_ns: Vec<String>,
    /// free the space of pages in the images that are there a second time, or have been restored
    #[arg(long)] auto_dedup: bool,
    /// move memory only when it is used, through userfaultfd
    #[arg(long)] lazy_pages: bool,
    /// how to lock the network meanwhile: iptables, nftables or skip (default: CRIU's choice)
    #[arg(long, value_name = "METHOD", default_value = "", hide_default_value = true)] network_lock: String,
}

impl CriuFlags {
    pub(crate) fn options(self) -> Result<CriuOptions> {
        if let Some(other) = self.empty_ns.iter().find(|name| *name != "network") {
            return Err(refuse(format!("namespace {other:?} is not supported")));
        }
        Ok(CriuOptions {
            image_path: absolute(self.image_path)?.map_or_else(default_image_path, Ok)?,
            work_path: absolute(self.work_path)?,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            manage_cgroups: ManageCgroups::parse(&self.manage_cgroups_mode)?,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            network_lock: NetworkLock::parse(&self.network_lock)?,
        })
    }
}

fn default_image_path() -> Result<PathBuf> {
    absolute(Some("checkpoint".into())).map(Option::unwrap_or_default)
}

fn refuse(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}

/// The value of `--page-server`.
pub(crate) fn page_server(text: &str) -> Result<Option<(String, u16)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let usage = || refuse("Use --page-server ADDRESS:PORT to specify page server".into());
    let (address, port) = text.rsplit_once(':').ok_or_else(usage)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address);
    if address.is_empty() || port.is_empty() {
        return Err(usage());
    }
    let port = port
        .parse()
        .map_err(|_| refuse("Invalid port number".into()))?;
    Ok(Some((address.to_owned(), port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers() {
        for (text, expected) in [
            ("", Ok(None)),
            ("127.0.0.1:80", Ok(Some(("127.0.0.1", 80)))),
            ("[::1]:65535", Ok(Some(("::1", 65535)))),
            (
                "host",
                Err("Use --page-server ADDRESS:PORT to specify page server"),
            ),
            (
                ":80",
                Err("Use --page-server ADDRESS:PORT to specify page server"),
            ),
            ("host:65536", Err("Invalid port number")),
        ] {
            let found = page_server(text).map_err(|error| error.to_string());
            let expected = expected.map(|it| it.map(|(address, port)| (address.to_owned(), port)));
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }
}
