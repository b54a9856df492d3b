//! A cluster as one Prometheus has it: what `web` answers from.
//!
//! `index` is the core: one view, made ready once to be searched, sorted and cut into pages. `looker` keeps the last index, and
//! `past` asks Prometheus for periods.

mod cache;
mod flights;
mod index;
mod list;
mod looker;
mod nodes;
pub mod past;
mod promql;
mod rows;
mod users;

pub use flights::Unanswered;
pub use index::Index;
pub use list::{Page, Words};
pub use looker::{Looked, Looker, Now};
pub use nodes::State;
pub use rows::{Filter, Idle};
pub use users::{Asked as AskedUsers, check_order};
