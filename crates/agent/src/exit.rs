//! Exit codes, the same for all commands.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All was measured.
    Ok,
    /// It ran, but some source or device could not be read; the output is written, and says so.
    Partial,
    /// It failed.
    Failed,
    /// It was used wrongly.
    Usage,
}

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partial => 3,
        }
    }
}

/// A command that cannot go on.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What, where and the remedy.
    pub error: anyhow::Error,
}

impl Failure {
    /// Wrong usage.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}
