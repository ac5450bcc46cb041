//! The Sluice AI gateway.
