//! A real server on a loopback port, asked through the typed client and, where bytes matter, through plain HTTP.

mod artifacts;
mod begun_before;
mod callers;
mod conditions;
mod contract;
mod ended_keys;
mod etags;
mod gate;
mod history;
mod identities;
mod labels;
mod lies;
mod metrics;
mod moved;
mod page;
mod permits;
mod problems;
mod restart;
mod several;
mod signed;
mod sources;
mod support;
mod waiting;
mod webhooks;
