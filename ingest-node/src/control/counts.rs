//! Calls of `NodeControl`, by method and answer.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tonic::{Code, Status};

macro_rules! methods {
    ($($name:ident),* $(,)?) => {
        /// The methods, by the names of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Method {
            $(#[doc = stringify!($name)] $name,)*
        }

        impl Method {
            /// All methods.
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// The metric label.
            pub(super) fn label(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

methods! {
    GetHealth, GetStatistics, ListListeners, ListExporters, ListTemplates, GetConfig, SetConfig, Pause, Resume, Drain,
    SpoolStatus, Tail,
}

/// How many calls there were.
#[derive(Debug, Default)]
pub struct Calls([[AtomicU64; 2]; Method::ALL.len()]);

/// Calls of one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CallCounts {
    /// The method.
    pub method: &'static str,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were refused: arguments, or what the node is doing.
    pub refused: u64,
}

impl Calls {
    /// Counts one call and hands on its result.
    pub(super) fn count<T>(&self, method: Method, result: Result<T, Status>) -> Result<T, Status> {
        let refused = result.as_ref().is_err_and(|status| status.code() != Code::Ok);
        self.0[method as usize][usize::from(refused)].fetch_add(1, Ordering::Relaxed);
        result
    }

    /// The counts now.
    pub fn counts(&self) -> Vec<CallCounts> {
        let count = |method: &Method| {
            let [answered, refused] = &self.0[*method as usize];
            CallCounts {
                method: method.label(),
                answered: answered.load(Ordering::Relaxed),
                refused: refused.load(Ordering::Relaxed),
            }
        };
        Method::ALL.iter().map(count).collect()
    }
}
