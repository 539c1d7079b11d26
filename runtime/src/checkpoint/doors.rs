//! For the fuzz targets (feature `fuzz`): what CRIU says, and what it leaves behind.

use prost::Message as _;

use super::rpc::{Request, Response};
use super::{client, reason, streams};
use crate::error::{Error, ErrorKind, Result};

/// The error that an answer comes to, if it is taken for a refusal, and the answer written anew.
///
/// # Errors
/// It is no answer.
pub fn answer(bytes: &[u8]) -> Result<(String, Vec<u8>)> {
    let wrong = |text: String| Error::new(ErrorKind::Process, text);
    let answer = Response::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    let text = client::refused(answer.kind(), &answer).to_string();
    Ok((text, answer.encode_to_vec()))
}

/// Reads a request and writes it anew.
pub fn request(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(Request::decode(bytes).ok()?.encode_to_vec())
}

/// Why CRIU has failed, by its log.
pub fn reason(log: &str) -> Option<String> {
    reason::in_log(log)
}

/// What takes the places of the standard streams that were so named at the checkpoint: names and descriptors.
pub fn streams(names: &[String]) -> Vec<(String, i32)> {
    let inherited = streams::inherited(names, 3, |_| true)
        .unwrap_or_default()
        .into_iter();
    inherited.map(|one| (one.key, one.fd)).collect()
}
