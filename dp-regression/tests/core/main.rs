//! The method itself: plans, filters, stability, numerics, noise, releases, audits.

mod audit;
mod baselines;
mod filter;
mod noise;
mod numerics;
mod plan;
mod read;
mod release;
mod stability;
mod support;
