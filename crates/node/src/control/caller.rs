//! Who is at the other end of a connection, and what that account may do (threat L1).

use axum::extract::ConnectInfo;
use axum::{
    extract::{Request, connect_info::Connected},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::IncomingStream,
};
use demarche_control::{Code, Problem};

use super::{places::Placing, problems::Refused};

/// The account of whoever connected, as the kernel states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Its user; `None` when the kernel would not say.
    pub(super) uid: Option<u32>,
    /// Its process, for the log.
    pub(super) pid: Option<i32>,
}

impl Connected<IncomingStream<'_, Placing>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Placing>) -> Self {
        let credentials = stream.io().peer_credentials();
        Self {
            uid: credentials.as_ref().map(tokio::net::unix::UCred::uid),
            pid: credentials.and_then(|credentials| credentials.pid()),
        }
    }
}

impl Caller {
    /// Whether this account may administer a node that runs as `node`.
    pub(super) fn may_administer(self, node: u32) -> bool {
        self.uid.is_some_and(|uid| uid == node || uid == 0)
    }
}

/// Logs who calls, and refuses what an account may not do.
pub(super) async fn check(
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let node = rustix::process::geteuid().as_raw();
    if administers(&path) && !caller.may_administer(node) {
        tracing::warn!(uid = caller.uid, pid = caller.pid, %method, path, "refused: not the node's own account");
        let problem = Problem::new(Code::Forbidden, "this is for the node's own account alone")
            .with_help(format!("run it as the node's user: sudo -u '#{node}' demarche …"));
        return Refused(problem).into_response();
    }
    // Whoever makes a backup takes all that was said along.
    let acts = method != Method::GET || path == "/v1/backup";
    let response = next.run(request).await;
    let status = response.status().as_u16();
    // Who records, opens, installs and backs up is told always; who only reads, on request.
    if acts {
        tracing::info!(uid = caller.uid, pid = caller.pid, %method, path, status, "request");
    } else {
        tracing::debug!(uid = caller.uid, pid = caller.pid, %method, path, status, "request");
    }
    response
}

fn administers(path: &str) -> bool {
    path == "/v1/install" || path.starts_with("/v1/backup")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L1: an officer's account reads and sends; it does not administer.
    #[test]
    fn l1_only_the_nodes_own_account_or_root_administers() {
        let caller = |uid| Caller { uid, pid: None };
        assert!(caller(Some(1000)).may_administer(1000));
        assert!(caller(Some(0)).may_administer(1000));
        assert!(!caller(Some(1001)).may_administer(1000));
        assert!(!caller(None).may_administer(1000));
        assert!(administers("/v1/install"));
        assert!(administers("/v1/backup") && administers("/v1/backup/journal"));
        assert!(!administers("/v1/status"));
    }
}
