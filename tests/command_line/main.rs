//! The command line as programs and people meet it: the real binary, its exit codes, its output.

mod broken_bundles;
mod bundles;
mod components;
mod doctor;
mod endings;
mod forgetting;
mod given_tokens;
mod help;
mod identities;
mod issuer;
mod key_folders;
mod keys;
mod lenses;
mod logs;
mod monitoring;
mod page;
mod plans;
mod publishing;
mod readers;
mod system;
mod terminals;
mod tokens;
mod upstart;
mod webhooks;
