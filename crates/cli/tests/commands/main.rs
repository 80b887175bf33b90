//! Every command against a small node of our own making: what it prints, what it sends, and how it fails.

mod alarms;
mod answering;
mod dialogue;
mod failing;
mod following;
mod lying;
mod node;
mod profiling;
mod reading;
mod reference_page;
mod reporting;
mod retyping;
mod scene;
