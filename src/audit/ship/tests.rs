//! Shipping to sinks that fail, stop and come back.
