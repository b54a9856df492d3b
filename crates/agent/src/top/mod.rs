//! `top`: how things stand, on a terminal. What is selected, sorted and filtered is [`State`], what the screen shows is
//! [`draw`]: neither has a clock or a terminal. [`io`] has both.

mod columns;
mod cursor;
mod detail;
mod devices;
mod draw;
mod help;
mod history;
pub mod io;
mod lines;
mod sessions;
mod state;
mod text;
mod totals;

pub use columns::Column;
pub use draw::{SMALLEST, Theme, draw};
pub use state::{Group, State, Wish};
