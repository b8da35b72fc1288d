//! The web page, as browsers ask for it: signing in, roles, forms, what nodes may not smuggle in.

mod acts;
mod browser;
mod large;
mod live;
mod nodes;
mod sessions;
mod smuggling;
