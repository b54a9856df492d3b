//! The pictures of the documents, drawn from the screen cell by cell; `UPDATE_GOLDEN=1` writes them anew.

use super::replayed::demo;
use super::screens::watched;
use super::{buffer, press};
use crate::node::workspace;
use gpu_session_monitor::top::State;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;

/// Width and height of a cell.
const CELL: (u16, u16) = (8, 17);

/// Classes of a cell's style.
fn class(cell: &Cell) -> String {
    let color = match cell.fg {
        Color::Green => "green",
        Color::Cyan => "cyan",
        Color::Magenta => "magenta",
        Color::Red => "red",
        _ => "plain",
    };
    let bold = if cell.modifier.contains(Modifier::BOLD) { " bold" } else { "" };
    let line = if cell.modifier.contains(Modifier::UNDERLINED) { " line" } else { "" };
    format!("{color}{bold}{line}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A screen as SVG. Each word has the place and the width that it has on a terminal, whatever the font.
fn svg(buffer: &Buffer) -> String {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let (w, h) = CELL;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"monospace\" font-size=\"13\">\n\
         <style>\n\
         rect.page {{ fill: #fff }} rect.on {{ fill: #d8dee9 }} .plain {{ fill: #222 }} .green {{ fill: #1a7f37 }}\n\
         .cyan {{ fill: #0b7285 }} .magenta {{ fill: #9c36b5 }} .red {{ fill: #c92a2a }}\n\
         .bold {{ font-weight: bold }} .line {{ text-decoration: underline }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         rect.page {{ fill: #16181d }} rect.on {{ fill: #3b4252 }} .plain {{ fill: #d8dee9 }} .green {{ fill: #8ce99a }}\n\
         .cyan {{ fill: #66d9e8 }} .magenta {{ fill: #e599f7 }} .red {{ fill: #ff8787 }} }}\n\
         </style>\n\
         <rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
        (width + 2) * w,
        (height + 1) * h
    );
    for y in 0..height {
        let top = y * h + h / 2;
        if buffer[(0, y)].modifier.contains(Modifier::REVERSED) {
            let _ = writeln!(
                out,
                "<rect class=\"on\" x=\"{w}\" y=\"{top}\" width=\"{}\" height=\"{h}\"/>",
                width * w
            );
        }
        let cell = |x: u16| &buffer[(x, y)];
        let mut x = 0;
        while x < width {
            // Word by word, for spaces are as wide as the font likes.
            let class = class(cell(x));
            let run =
                (x..width).map(cell).take_while(|cell| cell.symbol() != " " && self::class(cell) == class);
            let run: String = run.map(Cell::symbol).collect();
            let length = u16::try_from(run.chars().count()).unwrap();
            if length > 0 {
                let (from, base, long) = ((x + 1) * w, top + h - 4, length * w);
                let text = escaped(&run);
                let _ = writeln!(
                    out,
                    "<text class=\"{class}\" x=\"{from}\" y=\"{base}\" textLength=\"{long}\">{text}</text>"
                );
            }
            x += length.max(1);
        }
    }
    out + "</svg>\n"
}

#[test]
fn pictures_are_the_golden_ones() {
    let mut grouped = demo();
    press(&mut grouped, "g");
    let pictures: [(&str, State, (u16, u16)); 2] =
        [("top", grouped, (112, 32)), ("top-detail", watched("\tjj\n"), (112, 20))];
    for (name, state, size) in pictures {
        let text = svg(&buffer(&state, size, true));
        let file = workspace().join("docs/images").join(format!("{name}.svg"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == kept, "{} differs (UPDATE_GOLDEN=1 writes it anew)", file.display());
    }
}
