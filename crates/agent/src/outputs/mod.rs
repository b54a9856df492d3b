//! Outputs: each reads the snapshot and is one file.

pub mod http;
pub mod limited;
pub mod table;
pub mod textfile;
