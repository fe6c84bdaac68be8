//! The trainer: its update rules against PyTorch's numbers, its schedules and losses against closed forms, and its
//! checkpoints against interruption and damage.

#![cfg(feature = "flex")]

mod augment;
mod checkpoints;
mod losses;
mod nets;
#[cfg(any(feature = "lm", feature = "vision"))]
mod networks;
mod optimizers;
mod resume;
mod schedules;
mod spans;
mod training;
