//! Where asynchronous steps run: one thread is enough for a tool that waits for one node.

use std::future::Future;

use crate::error::{Result, failed};

/// Runs a step to its end.
pub fn block_on<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| failed(format!("this process cannot wait for the node: {why}")))?.block_on(step)
}
