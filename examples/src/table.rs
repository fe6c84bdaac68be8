//! Tables of results: numbers to the right, text to the left.

use comfy_table::{Cell as Inner, CellAlignment, ContentArrangement, presets};

/// A table with a header line.
///
/// ```
/// use fire_assay_examples::table::{Style, Table, percent, text};
///
/// let mut shares = Table::new(["category", "share"]);
/// shares.row([text("code"), percent(0.0625, 1)]);
/// let expected = "| category | share |\n|----------|-------|\n| code     | 6.2 % |";
/// assert_eq!(shares.render(Style::Markdown), expected);
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One entry of a table: see [`text`], [`integer`], [`decimal`], [`scientific`], [`percent`] and [`missing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    content: String,
    number: bool,
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With box-drawing characters, for terminals.
    Lines,
    /// As a Markdown table, for files, pipes and documents.
    Markdown,
}

impl Table {
    /// An empty table with these column heads.
    pub fn new<H: Into<String>>(header: impl IntoIterator<Item = H>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells at its end are left empty; cells beyond the header get columns without a head.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text without a line end. A column whose first cell is a number has its head to the right too.
    pub fn render(&self, style: Style) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(match style {
                Style::Lines => presets::UTF8_FULL_CONDENSED,
                Style::Markdown => presets::ASCII_MARKDOWN,
            })
            .set_content_arrangement(ContentArrangement::Disabled);
        let first = self.rows.first();
        table.set_header(self.header.iter().enumerate().map(|(column, head)| {
            let number = first
                .and_then(|row| row.get(column))
                .is_some_and(|cell| cell.number);
            inner(&clean(head, style), number)
        }));
        for row in &self.rows {
            table.add_row(
                row.iter()
                    .map(|cell| inner(&clean(&cell.content, style), cell.number)),
            );
        }
        table.to_string()
    }
}

/// Text, on the left.
pub fn text(content: impl Into<String>) -> Cell {
    Cell {
        content: content.into(),
        number: false,
    }
}

/// A whole number with its thousands grouped: `28,810`. Takes every integer that fits 128 bits with sign.
pub fn integer(value: impl TryInto<i128>) -> Cell {
    let Ok(value) = value.try_into() else {
        return missing();
    };
    let digits = value.unsigned_abs().to_string();
    let mut content = String::from(if value < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            content.push(',');
        }
        content.push(digit);
    }
    number(content)
}

/// A number with so many decimal places: `-7.66`.
pub fn decimal(value: f64, places: usize) -> Cell {
    number(format!("{value:.places$}"))
}

/// A number with an exponent and so many decimal places: `3.1e-9`.
pub fn scientific(value: f64, places: usize) -> Cell {
    number(format!("{value:.places$e}"))
}

/// A share between 0 and 1 in percent: `62.6 %`.
pub fn percent(share: f64, places: usize) -> Cell {
    number(format!("{:.places$} %", 100.0 * share))
}

/// A number that does not exist for this row.
pub fn missing() -> Cell {
    number("-".to_owned())
}

fn number(content: String) -> Cell {
    Cell {
        content,
        number: true,
    }
}

fn inner(content: &str, number: bool) -> Inner {
    Inner::new(content).set_alignment(if number {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    })
}

/// Token texts may hold anything: control characters would break the layout, bars the Markdown.
fn clean(content: &str, style: Style) -> String {
    let mut clean = String::with_capacity(content.len());
    for c in content.chars() {
        match c {
            c if c.is_control() => clean.extend(c.escape_default()),
            '|' if style == Style::Markdown => clean.push_str("\\|"),
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["name", "rows"]);
        table.row([text("a"), integer(1)]);
        table.row([text("long name"), integer(28_810_usize)]);
        table.row([text("none"), missing()]);
        table
    }

    #[test]
    fn numbers_end_and_texts_begin_in_one_column() {
        for style in [Style::Lines, Style::Markdown] {
            let drawn = sample().render(style);
            let lines: Vec<&str> = drawn
                .lines()
                .filter(|line| line.contains(char::is_alphabetic))
                .collect();
            let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
            assert!(widths.iter().all(|width| *width == widths[0]), "{drawn}");
            for (line, end) in lines.iter().zip(["rows", "1", "28,810", "-"]) {
                let body = line.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '-');
                assert!(body.ends_with(end), "{drawn}");
            }
        }
    }

    #[test]
    fn markdown_has_no_character_outside_ascii_of_its_own() {
        assert!(sample().render(Style::Markdown).is_ascii());
        assert!(!sample().render(Style::Lines).is_ascii());
    }

    #[test]
    fn hostile_texts_do_not_break_the_layout() {
        let mut table = Table::new(["token"]);
        table.row([text("a\nb|c\u{1b}[31m")]);
        let drawn = table.render(Style::Markdown);
        assert_eq!(drawn.lines().count(), 3, "{drawn}");
        assert!(drawn.contains("a\\nb\\|c\\u{1b}[31m"), "{drawn}");
    }

    #[test]
    fn numbers_read_as_they_should() {
        let content = |cell: Cell| cell.content;
        for (value, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-100, "-100"),
            (-1000, "-1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(content(integer(value)), expected);
        }
        assert_eq!(content(decimal(-7.664, 2)), "-7.66");
        assert_eq!(content(scientific(3.14e-9, 1)), "3.1e-9");
        assert_eq!(content(percent(0.6257, 1)), "62.6 %");
    }

    #[test]
    fn ragged_rows_and_empty_tables_render() {
        let mut table = Table::new(["a"]);
        assert!(table.render(Style::Markdown).contains('a'));
        table.row([]);
        table.row([text("x"), text("beyond")]);
        assert!(table.render(Style::Markdown).contains("beyond"));
    }
}
