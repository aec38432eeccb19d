//! Log lines on standard error: level and form from the configuration, the level changeable while the process runs.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use catchment_settings::{choice, section};

section! {
    /// Log lines, on standard error.
    Log {
        /// The least important messages that are written.
        level: LogLevel = "info",
        /// The form of a line.
        format: LogFormat = "text",
    }
}

choice! {
    /// The least important log messages that are written.
    LogLevel {
        /// A person is needed or data is lost.
        Error = "error",
        /// Doubtful, no data lost.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// The form of log lines.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

/// The process's log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
}

impl Logging {
    /// Starts logging. Where the process logs already (tests), that is left as it is.
    pub fn start(settings: &Log) -> Self {
        let (filter, level) = reload::Layer::new(filter(settings.level));
        let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
        let lines = match settings.format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        };
        // An error means that the process has a log: it stays.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self { level }
    }

    /// Changes the least important level that is written.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(filter(level)) {
            tracing::warn!(%error, "log level not changed");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
