//! Settings that can be served with: every default filled in, every value checked. [boot]

mod admin;
mod observability;
mod outbound;
mod proxy;
mod redis;
mod source;
mod tls;
