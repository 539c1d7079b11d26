//! A failure of the command, as `main` ends with it.

/// Why the command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What went wrong, for the log and for stderr.
    pub(crate) text: String,
    /// What to print on stdout first: how the command is used.
    pub(crate) usage: Option<String>,
    pub(crate) code: u8,
}

impl From<vzrun::Error> for Failure {
    fn from(error: vzrun::Error) -> Failure {
        Failure {
            text: error.to_string(),
            usage: None,
            code: 1,
        }
    }
}
