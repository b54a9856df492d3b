//! `ps`: who is where, here, by a running agent, and in the whole cluster.

mod agent;
mod cluster;
mod filters;
mod kubectl;
mod terminal;
