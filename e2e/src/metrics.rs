//! Prometheus' text format, as far as counters and gauges go.

use anyhow::{Context as _, Result};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Scrape(Vec<Series>);

#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    /// Reads the text of `/metrics`.
    ///
    /// # Errors
    /// Where a line is no comment and no series.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| series(line).with_context(|| format!("no series: {line}")));
        series.collect::<Result<_>>().map(Self)
    }

    /// The sum of the series of this name that have all these labels; `None` where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &&Series| {
            let has_label = |(name, value): &(&str, &str)| {
                series.labels.iter().any(|(its_name, its_value)| its_name == name && its_value == value)
            };
            series.name == name && labels.iter().all(has_label)
        };
        self.0.iter().filter(has).map(|series| series.value).reduce(|sum, value| sum + value)
    }

    /// As [`Scrape::sum`], for series that must be there and count whole things.
    ///
    /// # Errors
    /// Where there is none.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let sum = self.sum(name, labels).with_context(|| format!("/metrics has no {name} {labels:?}"))?;
        Ok(sum as u64)
    }
}

/// `name{label="value",...} number`; no value of ours holds a quote or a comma.
fn series(line: &str) -> Option<Series> {
    let (key, value) = line.rsplit_once(' ')?;
    let (name, labels) = match key.split_once('{') {
        None => (key, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
    };
    let label = |text: &str| {
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    let labels = labels.split(',').filter(|text| !text.is_empty()).map(label).collect::<Option<_>>()?;
    Some(Series { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"b\"} 2\na{x=\"2\",y=\"b\"} 3\n\nb 0.5\n";
        let scrape = Scrape::parse(text).unwrap();
        assert_eq!(scrape.count("a", &[]).unwrap(), 5);
        assert_eq!(scrape.count("a", &[("x", "2"), ("y", "b")]).unwrap(), 3);
        assert_eq!(scrape.sum("b", &[]), Some(0.5));
        assert_eq!(scrape.sum("a", &[("x", "3")]), None);
    }
}
