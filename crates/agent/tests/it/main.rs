//! The program as its users run it: a process, on the simulated driver, with a synthetic /proc and a clock that
//! the test moves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod accounting;
mod accuracy;
mod api;
mod astrago;
mod browser;
mod captures;
mod chain;
mod chart;
mod cli;
#[allow(dead_code, reason = "load is the measurements'")]
#[path = "../../benches/serve/client.rs"]
mod client;
mod cluster;
mod cluster_page;
mod conservation;
mod containers;
mod dcgm;
mod demo;
mod deploy;
mod devices;
mod doctor;
mod faults;
mod gpu_check;
mod hostile;
mod image;
mod kubernetes;
mod node;
mod package;
mod page;
mod placed;
mod pods;
mod process_events;
mod ps;
mod receiver;
mod recovery;
mod reliability;
mod removal;
mod report;
mod secrets;
mod seed;
mod serve;
mod state;
mod textfile;
mod top;
mod web;
mod who;
mod witness;
