//! Outputs: each reads the snapshot and is one file.

pub mod http;
pub mod limited;
pub mod otlp;
pub mod table;
pub mod textfile;
