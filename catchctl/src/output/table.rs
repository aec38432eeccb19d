//! Tables and lists of facts for people: aligned columns, numbers at the right, text cut where the terminal ends.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::printable;

/// Cells between two columns.
const GAP: usize = 2;
/// A column that may be cut keeps so many cells.
const LEAST: usize = 8;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    head: &'static str,
    right: bool,
    cuttable: bool,
}

impl Column {
    /// Text.
    pub(crate) const fn text(head: &'static str) -> Self {
        Self { head, right: false, cuttable: false }
    }

    /// Text that may be cut where the terminal is narrow.
    pub(crate) const fn wide(head: &'static str) -> Self {
        Self { head, right: false, cuttable: true }
    }

    /// A number.
    pub(crate) const fn number(head: &'static str) -> Self {
        Self { head, right: true, cuttable: false }
    }
}

/// Rows under heads.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    if_empty: &'static str,
}

impl Table {
    /// Without rows yet; `if_empty` is said where none comes.
    pub(crate) fn new(columns: &[Column], if_empty: &'static str) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), if_empty }
    }

    /// One more row, a text for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// As text, lines no wider than `width` where that can be had by cutting.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.if_empty);
        }
        let widths = self.widths(width);
        let mut text = String::new();
        let heads = self.columns.iter().map(|column| column.head);
        self.line(&mut text, &widths, heads);
        for row in &self.rows {
            self.line(&mut text, &widths, row.iter().map(String::as_str));
        }
        text
    }

    /// As text, indented and with a title.
    pub(crate) fn section(&self, title: &str, width: Option<usize>) -> String {
        let mut text = format!("\n{title}\n");
        for line in self.render(width.map(|width| width.saturating_sub(GAP))).lines() {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let Some(limit) = width else { return widths };
        let gaps = GAP * (widths.len() - 1);
        // The widest column that may be cut gives way first, cell by cell.
        while widths.iter().sum::<usize>() + gaps > limit {
            let cuttable = self
                .columns
                .iter()
                .zip(&mut widths)
                .filter(|(column, width)| column.cuttable && **width > LEAST);
            let Some((_, widest)) = cuttable.max_by_key(|(_, width)| **width) else { break };
            *widest -= 1;
        }
        widths
    }

    fn line<'a>(&self, text: &mut String, widths: &[usize], cells: impl Iterator<Item = &'a str>) {
        let mut line = String::new();
        for ((cell, width), column) in cells.zip(widths).zip(&self.columns) {
            let cell = cut(cell, *width);
            let padding = " ".repeat(width - cell.width());
            if column.right {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
            line.push_str(&" ".repeat(GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// At most `width` cells of `text`; the last of them says where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let cells = c.width().unwrap_or(0);
        if used + cells + 1 > width {
            break;
        }
        used += cells;
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// Names with what is known under them, one on a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// One more.
    pub(crate) fn add(&mut self, name: &'static str, fact: impl Into<String>) -> &mut Self {
        self.0.push((name, printable(&fact.into())));
        self
    }

    /// One more, where there is something to say.
    pub(crate) fn add_some(&mut self, name: &'static str, fact: impl Into<String>) -> &mut Self {
        let fact = fact.into();
        if !fact.is_empty() {
            self.add(name, fact);
        }
        self
    }

    /// One more that may have several texts, each on a line of its own.
    pub(crate) fn add_each(&mut self, name: &'static str, facts: &[String]) -> &mut Self {
        for (at, fact) in facts.iter().enumerate() {
            self.add(if at == 0 { name } else { "" }, fact.as_str());
        }
        self
    }

    /// As text.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let names = self.0.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, fact) in &self.0 {
            let room = width.map_or(usize::MAX, |width| width.saturating_sub(names + GAP).max(LEAST));
            let line = format!("{name}{}{}", " ".repeat(names + GAP - name.width()), cut(fact, room));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table =
            Table::new(&[Column::text("NAME"), Column::number("REC/S"), Column::wide("REASON")], "no nodes");
        table.row([
            "node-1".to_owned(),
            "12.3k".to_owned(),
            "output: no broker has answered for 12 s".to_owned(),
        ]);
        table.row(["é".to_owned(), "0".to_owned(), String::new()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let wanted = "NAME    REC/S  REASON\n\
                      node-1  12.3k  output: no broker has answered for 12 s\n\
                      é           0\n";
        assert_eq!(table().render(None), wanted);
        assert_eq!(Table::new(&[Column::text("NAME")], "no nodes").render(None), "no nodes\n");
    }

    #[test]
    fn text_is_cut_where_the_terminal_ends_and_numbers_never() {
        let shown = table().render(Some(30));
        assert_eq!(shown.lines().nth(1), Some("node-1  12.3k  output: no bro…"));
        let narrow = table().render(Some(5));
        assert_eq!(narrow.lines().nth(1), Some("node-1  12.3k  output:…"), "8 cells are kept");
    }

    #[test]
    fn wide_characters_take_two_cells() {
        assert_eq!(cut("東京大阪", 5), "東京…");
        assert_eq!(cut("東京大阪", 4), "東…");
        assert_eq!(cut("東京", 4), "東京");
    }

    #[test]
    fn facts_stand_under_each_other() {
        let mut facts = Facts::default();
        facts
            .add("name", "node-1")
            .add_some("zone", "")
            .add_each("wrong", &["a".to_owned(), "b\u{7}".to_owned()]);
        assert_eq!(facts.render(None), "name   node-1\nwrong  a\n       b\\u{7}\n");
    }
}
