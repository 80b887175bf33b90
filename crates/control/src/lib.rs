//! The local API between officers' tool and node: its types and its client.
