//! A table that fits: where there is too little room, columns are shortened, and the least important ones left out.

use crate::outputs::terminal::shortened;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use gpu_session_core::text::clean_value;
use unicode_width::UnicodeWidthStr;

/// Blanks around each cell.
const PADDING: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    title: &'static str,
    right: bool,
    /// The least goes first.
    importance: u8,
    /// Down to this width its cells may be shortened; `None` where half a cell says something wrong.
    least: Option<usize>,
}

impl Column {
    /// Figures, to the right; whole or not there.
    pub(super) const fn figure(title: &'static str, importance: u8) -> Self {
        Self { title, right: true, importance, least: None }
    }

    /// What is whole or not there.
    pub(super) const fn word(title: &'static str, importance: u8) -> Self {
        Self { title, right: false, importance, least: None }
    }

    /// A name, which may be shortened down to this width.
    pub(super) const fn name(title: &'static str, importance: u8, least: usize) -> Self {
        Self { title, right: false, importance, least: Some(least) }
    }
}

/// Columns and rows.
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        // What another program says of its sessions was not made harmless here.
        self.rows.push(cells.iter().map(|cell| clean_value(cell)).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, none wider than `width`; as wide as they are where that is `None`.
    pub(super) fn fit(&self, width: Option<usize>) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|index| self.natural(index)).collect();
        let widths = match width {
            None => natural.into_iter().map(Some).collect(),
            Some(width) => self.widths(&natural, width),
        };
        let shown: Vec<(usize, usize)> =
            widths.iter().enumerate().filter_map(|(index, width)| Some((index, (*width)?))).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|(index, width)| {
            Cell::new(shortened(self.columns[*index].title, *width)).add_attribute(Attribute::Bold)
        }));
        for row in &self.rows {
            table.add_row(shown.iter().map(|(index, width)| shortened(&row[*index], *width)));
        }
        for (place, (index, _)) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| self.columns[*index].right) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    fn natural(&self, index: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[index].width());
        cells.chain([self.columns[index].title.width()]).max().unwrap_or(0)
    }

    /// Widths of the columns, `None` for those that are left out: as many as fit at their least width, the most important
    /// first, which then share what room is left.
    fn widths(&self, natural: &[usize], width: usize) -> Vec<Option<usize>> {
        let least = |index: usize| {
            self.columns[index].least.map_or(natural[index], |least| least.min(natural[index]))
        };
        let mut by_importance: Vec<usize> = (0..self.columns.len()).collect();
        by_importance.sort_by_key(|index| std::cmp::Reverse(self.columns[*index].importance));
        let mut left = width;
        let mut widths = vec![None; natural.len()];
        for (place, index) in by_importance.iter().enumerate() {
            let needed = least(*index) + PADDING;
            if needed > left && place > 0 {
                break;
            }
            // The most important one is cut where nothing fits.
            widths[*index] = Some(least(*index).min(left.saturating_sub(PADDING).max(1)));
            left = left.saturating_sub(needed);
        }
        for index in by_importance {
            if let Some(own) = &mut widths[index] {
                let more = (natural[index] - *own).min(left);
                *own += more;
                left -= more;
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(vec![
            Column::word("GPU", 9),
            Column::name("USER", 8, 4),
            Column::figure("BUSY %", 7),
            Column::name("WHERE", 5, 6),
        ]);
        grid.row(&["0", "alexandra", "75", "team-a/training-0"].map(str::to_owned));
        grid.row(&["0_1_0", "김철수이영희", "-", "unit:\u{1b}[31m.service"].map(str::to_owned));
        grid
    }

    #[test]
    fn every_width_holds_whole_rows() {
        for width in 1..100 {
            let text = grid().fit(Some(width));
            let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(widest <= width.max(3), "{width}:\n{text}");
            assert_eq!(text.lines().count(), 3, "{width}:\n{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn the_least_important_goes_first_and_names_are_shortened_before() {
        let header = |width| {
            grid().fit(Some(width)).lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(header(80), "GPU USER BUSY % WHERE");
        assert_eq!(header(30), "GPU USER BUSY % WHERE");
        assert_eq!(header(24), "GPU USER BUSY %");
        assert_eq!(header(14), "GPU USER");
        assert!(grid().fit(Some(30)).contains('…') && !grid().fit(None).contains('…'));
    }
}
