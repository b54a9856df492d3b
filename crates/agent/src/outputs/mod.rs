//! Outputs: each reads the snapshot and is one file.

pub mod http;
pub mod otlp;
pub mod server;
pub mod table;
pub mod terminal;
pub mod textfile;
