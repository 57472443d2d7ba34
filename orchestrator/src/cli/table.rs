//! A table of text: each column is as wide as its widest cell.

use std::fmt;

/// Rows of cells. Rows may have different lengths.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column| self.0.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(formatter, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.row(vec!["a".to_owned(), "µs".to_owned(), "x".to_owned()]);
        table.row(vec!["long".to_owned(), "m".to_owned()]);
        assert_eq!(table.to_string(), "a     µs  x\nlong  m\n");
    }
}
